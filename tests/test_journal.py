"The journal under interruption, damage and rewriting, and its tables for people."
import csv
import hashlib
import io
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firebot.journal import (
    FILL_COLUMNS,
    ORDER_COLUMNS,
    Event,
    Journal,
    csv_text,
    digest,
    fill_rows,
    fills_csv,
    lines,
    order_rows,
    orders_csv,
    quotient,
    read,
    signals_csv,
    write,
)
from firebot.models import JournalError

START = datetime(2012, 1, 4, 14, 30, tzinfo=UTC)
WHOLE, BATCH = 7, 5


def fill(n: int, bar: int = 0) -> Event:
    data = dict(fill_id=f"F{n:06d}", side="buy", quantity="100", price="185.57", amount="18557.00", commission="1.00")
    return Event(n, START + timedelta(minutes=bar), bar, "fill", "momentum_v1", "IBM", f"O{n:06d}", data)


def nth(n: int) -> Event:
    "A session, then fills, `BATCH` to a bar."
    return fill(n, n // BATCH) if n else Event(0, START, -1, "session", data=dict(cash="100000.00", currency="USD"))


def run(count: int) -> list[Event]: return [nth(n) for n in range(count)]


def batches(events: list[Event], size: int = BATCH) -> list[list[Event]]:
    return [events[i:i + size] for i in range(0, len(events), size)]


words = st.text(st.characters(codec="utf-8"), max_size=8)
plain = st.none() | st.booleans() | st.integers() | words
values = st.recursive(plain, lambda x: st.lists(x, max_size=3) | st.dictionaries(words, x, max_size=3), max_leaves=5)
payloads = st.dictionaries(words, values, max_size=4)
zones = st.sampled_from([UTC, timezone(timedelta(hours=-5))])
moments = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=zones)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(moments, st.integers(-1, 2**40), words, words, words, words, payloads), max_size=6))
def test_what_goes_in_comes_out(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple]) -> None:
    path = tmp_path_factory.mktemp("journal") / "a b#c?d%20.sqlite"
    events = [Event(n, *row) for n, row in enumerate(rows)]
    assert write(path, events) == digest(events) == digest(path) == digest(read(path))
    assert list(read(path)) == events
    assert list(lines(path)) == list(lines(events))
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("data", [{"x": 1.5}, {"x": float("nan")}, {"x": [{"y": float("inf")}]}, {1: "x"}, {"x": (1,)},
                                  {"x": Decimal(1)}, {"x": START}, {"x": "\ud800"}, [], None])
def test_what_would_not_come_back_is_refused(tmp_path: Path, data: object) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    journal.append(run(2))
    with pytest.raises(JournalError): journal.append([fill(2), Event(3, START, 0, "signal", data=data)])  # type: ignore[arg-type]
    with pytest.raises(JournalError, match="has ended"): journal.append([fill(2)])
    with pytest.raises(JournalError, match="has ended"): journal.close()
    assert list(read(tmp_path / "journal.sqlite", partial=True)) == run(2)


@pytest.mark.parametrize("event", [Event(2, START.replace(tzinfo=None), 0, "fill"), Event("2", START, 0, "fill"),
                                   Event(2, START, 0.0, "fill"), Event(2, START, 0, None),
                                   Event(True, START, 0, "fill")])
def test_malformed_events_are_refused(tmp_path: Path, event: Event) -> None:
    with pytest.raises(JournalError), Journal(tmp_path / "journal.sqlite") as journal: journal.append([*run(2), event])
    assert list(read(tmp_path / "journal.sqlite", partial=True)) == []


@pytest.mark.parametrize("numbers", [[0, 2], [1], [0, 0], [0, 1, 1], [0, -1]])
def test_gaps_and_repetitions_are_refused(tmp_path: Path, numbers: list[int]) -> None:
    with pytest.raises(JournalError, match="cannot follow"), Journal(tmp_path / "j.sqlite") as journal:
        journal.append([fill(n) for n in numbers])
    with pytest.raises(JournalError, match="not whole"): list(read(tmp_path / "j.sqlite"))


def test_the_digest_is_that_of_the_canonical_form() -> None:
    "Written out once by hand, so that the form cannot change unnoticed."
    line = ('{"bar":0,"data":{"amount":"18557.00","commission":"1.00","fill_id":"F000001","price":"185.57",'
            '"quantity":"100","side":"buy"},"kind":"fill","order_id":"O000001","seq":1,"strategy_id":"momentum_v1","symbol":"IBM",'
            '"timestamp":"2012-01-04T14:30:00.000000+00:00"}\n')
    assert list(lines([fill(1)])) == [line.encode()]
    assert digest([fill(1)]) == hashlib.sha256(line.encode()).hexdigest()


KILLED = """
import itertools, sys
from test_journal import BATCH, Journal, nth
with Journal(sys.argv[1]) as journal:
    for first in itertools.count(0, BATCH):
        journal.append([nth(n) for n in range(first, first + BATCH)])
        print(journal.count, flush=True)
"""


@pytest.mark.parametrize("acknowledged", [1, 40, 333])
def test_a_killed_writer_leaves_whole_batches(tmp_path: Path, acknowledged: int) -> None:
    path = tmp_path / "journal.sqlite"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    writer = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True, env=env)
    assert writer.stdout
    for _ in range(acknowledged): count = int(writer.stdout.readline())
    writer.send_signal(signal.SIGKILL)
    count = max([count, *map(int, writer.stdout.read().split("\n")[:-1])])
    assert writer.wait() == -signal.SIGKILL

    with pytest.raises(JournalError, match="not whole"): digest(path)
    with pytest.raises(JournalError, match="not whole"): list(read(path))
    found = list(read(path, partial=True))
    assert len(found) % BATCH == 0
    assert count <= len(found) <= count + BATCH, "what was acknowledged, and at most the batch under way"
    assert found == run(len(found))

    with Journal(path, "append") as journal: journal.append(run(len(found) + BATCH)[len(found):])
    assert digest(path) == journal.digest == digest(run(len(found) + BATCH))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_failed_batch_leaves_nothing_of_itself(tmp_path: Path) -> None:
    "A full disk in the middle of a batch."
    path = tmp_path / "journal.sqlite"
    events = run(5000)
    journal = Journal(path)
    journal.append(events[:100])
    journal._db.exec_driver_sql("PRAGMA max_page_count = 20")
    journal._db.rollback()
    with pytest.raises(JournalError, match="disk is full"): journal.append(events[100:])
    with pytest.raises(JournalError, match="has ended"): journal.append(events[100:101])
    journal.__exit__(JournalError)
    assert list(read(path, partial=True)) == events[:100]
    with Journal(path, "append") as journal: journal.append(events[100:])
    assert digest(path) == digest(events)


def test_no_journal_without_a_disk(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="No such file"): Journal(tmp_path / "nowhere" / "journal.sqlite")
    with pytest.raises(JournalError, match="is no file"): Journal(tmp_path / "journal.sqlite", "append")
    with pytest.raises(JournalError, match="is no file"): list(read(tmp_path))
    with pytest.raises(JournalError, match="File exists"): write(Path(__file__), run(2))
    for mode, sync in (("read", "normal"), ("create", "off")):
        with pytest.raises(JournalError, match="a journal opens with"): Journal(tmp_path / "journal.sqlite", mode, sync)
    for url in ("postgresql://localhost/firebot", "sqlite://", "sqlite:///:memory:"):
        with pytest.raises(JournalError): Journal(url)


def test_a_url_names_the_same_file(tmp_path: Path) -> None:
    write(f"sqlite:///{tmp_path}/journal.sqlite", run(WHOLE))
    assert digest(f"sqlite:///{tmp_path}/journal.sqlite") == digest(tmp_path / "journal.sqlite")


def test_two_writers_do_not_mix(tmp_path: Path) -> None:
    "The second to write finds its number taken, ends, and cannot seal."
    path = tmp_path / "journal.sqlite"
    write(path, run(3))
    first, second = Journal(path, "append"), Journal(path, "append")
    first.append([fill(3), fill(4)])
    with pytest.raises(JournalError, match="without gaps"): second.append([fill(3)])
    with pytest.raises(JournalError, match="has ended"): second.close()
    first.close()
    assert digest(path) == digest([*run(3), fill(3), fill(4)])


def test_closing_while_somebody_else_has_it_open(tmp_path: Path) -> None:
    "The seal is set, the error says that side files stay, and the next to close puts that right."
    path = tmp_path / "journal.sqlite"
    write(path, run(3))
    first, stale = Journal(path, "append"), Journal(path, "append", "full")
    first.append([fill(3), fill(4)])
    with pytest.raises(JournalError, match="sealed but not one file yet"): first.close()
    assert digest(path) == first.digest == digest([*run(3), fill(3), fill(4)])
    stale.close()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert digest(path) == first.digest


def test_a_stale_writer_cannot_seal(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with pytest.raises(ZeroDivisionError), Journal(path) as journal:
        journal.append(run(3))
        raise ZeroDivisionError
    stale = Journal(path, "append")
    other = Journal(path, "append")
    other.append([fill(3)])
    with pytest.raises(JournalError, match="a seal is set once, over the last event"): stale.close()
    other.close()
    assert digest(path) == digest([*run(3), fill(3)])


def test_readers_follow_a_growing_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        for batch in batches(run(20)):
            journal.append(batch)
            assert list(read(path, partial=True)) == run(journal.count)
            with pytest.raises(JournalError, match="not whole"): list(read(path))
    assert list(read(path)) == run(20)


def test_an_empty_batch_and_an_empty_journal(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal: journal.append([])
    assert list(read(tmp_path / "journal.sqlite")) == [] and journal.count == 0


def test_an_abandoned_block_sets_no_seal(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Journal(tmp_path / "journal.sqlite") as journal:
        journal.append(run(WHOLE))
        raise ZeroDivisionError
    with pytest.raises(JournalError, match=r"not whole \(7 events, no seal\)"): digest(tmp_path / "journal.sqlite")
    with pytest.raises(JournalError, match="has ended"): journal.append([fill(WHOLE)])


@pytest.mark.parametrize("table", ["events", "seals"])
@pytest.mark.parametrize("sql", [
    "UPDATE {t} SET rowid = rowid + 1", "DELETE FROM {t}", "REPLACE INTO {t} SELECT * FROM {t}",
    "INSERT OR IGNORE INTO {t} SELECT * FROM {t}",
    "INSERT INTO {t} SELECT * FROM {t} WHERE true ON CONFLICT DO UPDATE SET rowid = 99"])
def test_history_cannot_be_rewritten_by_sql(tmp_path: Path, table: str, sql: str) -> None:
    path = tmp_path / "journal.sqlite"
    write(path, run(WHOLE))
    with closing(sqlite3.connect(path)) as raw, pytest.raises(sqlite3.IntegrityError): raw.execute(sql.format(t=table))
    assert digest(path) == digest(run(WHOLE))


def outcome(path: Path, events: list[Event]) -> str:
    "What a reader makes of a damaged journal."
    try: found = list(read(path))
    except JournalError as e:
        assert str(path) in str(e)
        return "refused"
    assert found == events, "a damaged journal was believed"
    return "unharmed"


def test_a_changed_byte_is_never_believed(tmp_path: Path) -> None:
    path, events = tmp_path / "journal.sqlite", run(40)
    write(path, events)
    whole = path.read_bytes()
    found = []
    for at in range(0, len(whole), 97):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x15]) + whole[at + 1:])
        found.append(outcome(path, events))
    assert found.count("refused") > 50


def test_a_file_cut_short_is_never_believed(tmp_path: Path) -> None:
    path, events = tmp_path / "journal.sqlite", run(200)
    write(path, events)
    whole = path.read_bytes()
    for at in [0, 1, 50, 100, *range(1000, len(whole), 1777), len(whole) - 1]:
        path.write_bytes(whole[:at])
        assert outcome(path, events) == "refused"


def test_foreign_files_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(path)) as raw: raw.execute("CREATE TABLE trades (id)")
    for content in (path.read_bytes(), b"", b"fill_id,order_id\n" * 500, os.urandom(8192)):
        path.write_bytes(content)
        for partial in (False, True):
            with pytest.raises(JournalError, match="other.sqlite"): list(read(path, partial))
        with pytest.raises(JournalError, match="other.sqlite"): Journal(path, "append")
        assert path.read_bytes() == content, "a refused file stays as it was"


def test_a_bar_is_one_transaction(tmp_path: Path) -> None:
    "However many events it has; and what is on record is not read again for the next one"
    said: list[str] = []
    events = run(2_000)
    bars = batches(events, 100)
    with Journal(tmp_path / "journal.sqlite") as journal:
        journal._db.connection.dbapi_connection.set_trace_callback(said.append)
        for bar in bars: journal.append(bar)
        journal._db.connection.dbapi_connection.set_trace_callback(None)
    verbs = Counter(s.split()[0] for s in said if not s.startswith("--"))
    assert verbs["BEGIN"] == verbs["COMMIT"] == len(bars) and verbs["INSERT"] and not verbs["SELECT"]


# ---------------------------------------------------------------- tables

def order(n: int, kind: str, order_id: str, **data: object) -> Event:
    return Event(n, START + timedelta(minutes=n), n, kind, "=momentum", "IBM", order_id, data)


TERMS = dict(side="buy", type="market", quantity="100", notional=None, reserved="18600.00", reason="")


def test_the_life_of_orders() -> None:
    cash = dict(TERMS, quantity=None, notional="5000.00")
    part = dict(fill_id="F1", side="buy", commission="0.00")
    events = [order(0, "order", "O1", **TERMS), order(1, "order", "O2", **cash), order(2, "order", "O3", **TERMS),
              order(3, "order", "O4", **TERMS), order(4, "reject", "O5", **dict(TERMS, reason="no cash")),
              order(5, "reject", "O1", **dict(TERMS, side="", reason="no such order")),
              order(6, "cancel", "O3", reason="by request"),
              order(7, "fill", "O2", **part, quantity="26", price="185.57", amount="4824.82"),
              order(8, "fill", "O4", **part, quantity="1", price="10.00", amount="10.00"),
              order(9, "fill", "O4", **part, quantity="2", price="10.01", amount="20.02")]
    rows = order_rows(events)
    assert [(r["order_id"], r["status"], r["filled_quantity"], r["average_price"], r["reason"]) for r in rows] == [
        ("O1", "submitted", 0, None, ""), ("O2", "filled", 26, Decimal("185.57"), ""),
        ("O3", "cancelled", 0, None, "by request"),
        ("O4", "filled", 3, Decimal("10.00666667"), ""), ("O5", "rejected", 0, None, "no cash")]
    assert [r["closed"] and r["closed"].minute - 30 for r in rows] == [None, 7, 6, 9, 4]
    text = orders_csv(events, dict(IBM="America/New_York"))
    assert text.splitlines()[2] == ("O2,2012-01-04T09:31:00-05:00,IBM,buy,market,,5000.00,filled,26,185.57,"
                                    "2012-01-04T09:37:00-05:00,,'=momentum,")
    assert next(csv.reader(io.StringIO(text))) == list(ORDER_COLUMNS)


def test_fills_as_promised() -> None:
    "The header of the contract, exactly, and the exchange's own summer and winter."
    data = fill(2).data | dict(side="sell", price="1E+2")
    summer = Event(2, datetime(2012, 7, 2, 13, 30, tzinfo=UTC), 1, "fill", "m", "IBM", "O2", data)
    text = fills_csv([*run(2), summer], dict(IBM="America/New_York"))
    assert text.splitlines() == ["fill_id,order_id,timestamp,symbol,side,quantity,price,amount,commission,strategy_id",
                                 "F000001,O000001,2012-01-04T09:30:00-05:00,IBM,buy,100,185.57,18557.00,1.00,momentum_v1",
                                 "F000002,O2,2012-07-02T09:30:00-04:00,IBM,sell,100,100,18557.00,1.00,m"]
    assert set(fill_rows([summer])[0]) == set(FILL_COLUMNS)
    assert fills_csv([summer]).splitlines()[1].split(",")[2] == "2012-07-02T13:30:00+00:00"


def test_signals_as_promised() -> None:
    event = order(1, "signal", "", direction="long", confidence="0.8", outcome="already there", metadata={"z": "-2.5", "rules": ["oversold"]})
    assert signals_csv([event]) == (
        "timestamp,symbol,strategy_id,direction,confidence,outcome,executed,order_id,metadata\n"
        "2012-01-04T14:31:00+00:00,IBM,'=momentum,long,0.8,already there,false,,\"{\"\"rules\"\":[\"\"oversold\"\"],\"\"z\"\":\"\"-2.5\"\"}\"\n")


def test_malformed_events_are_named() -> None:
    for event in (order(3, "fill", "O9", **fill(3).data), order(3, "cancel", "O9", reason=""),
                  order(3, "order", "O9", side="buy")):
        with pytest.raises(JournalError, match=f"event 3 .{event.kind} IBM. makes no sense"): order_rows([event])
    dear = order(3, "fill", "O9", **fill(3).data | dict(price="dear"))
    with pytest.raises(JournalError, match="event 3"): fill_rows([dear])


@given(st.text() | st.decimals(-10**12, 10**12, places=4))
def test_a_spreadsheet_sees_numbers_and_no_formulas(x: str | Decimal) -> None:
    cell = list(csv.reader(io.StringIO(csv_text(["a", "b"], [dict(a=x, b=1)]), newline="")))[1][0]
    if isinstance(x, Decimal): assert Decimal(cell) == x and "E" not in cell
    else: assert cell in (x, f"'{x}") and not cell.startswith(("=", "+", "-", "@", "\t", "\r"))


@given(st.decimals(-10**9, 10**9, places=3), st.decimals("0.001", 10**6, places=3))
def test_quotients_are_exact_or_rounded_at_eight(a: Decimal, b: Decimal) -> None:
    q = quotient(a, b)
    assert abs(q * b - a) <= b * Decimal("0.000000005") and -int(q.as_tuple().exponent) <= 8
