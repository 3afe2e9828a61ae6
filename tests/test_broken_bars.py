"""The corpus of broken files, each with the verdict it must get, and properties: one corruption is found, none is invented."""
import json
import logging
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from broken_bars import CORPUS, GOOD, HEADER, ROWS, TICKS, Case, minutes, parquet, rows
from hypothesis import given, settings
from hypothesis import strategies as st

from firebot.check import check_paths
from firebot.models import COLUMNS, QUOTE_COLUMNS, ConfigError, DataError
from firebot.sources import CsvSource, ParquetSource, read_csv, read_parquet
from firebot.validate import MOST, RULES, BarsRefused, Findings, check, examine, examine_quotes, validate

SHARED = Path(__file__).resolve().parent.parent.parent/"shared"/"data"
real = pytest.mark.skipif(not SHARED.is_dir(), reason="the folder of real market data is not there")


def placed(case: Case, folder: Path) -> Path:
    "The case as a file"
    file = folder/f"{case.stem}{case.suffix}"
    file.write_bytes(case.data)
    if case.actions: (folder/"actions.csv").write_text(f"symbol,ex_date,kind,ratio,amount\n{case.actions}\n")
    return file


@pytest.mark.parametrize("name", CORPUS)
def test_each_file_gets_its_verdict(name: str, tmp_path: Path) -> None:
    "And a finding with its words, in one line, in text and in JSON"
    case = CORPUS[name]
    report = check_paths([placed(case, tmp_path)], **case.options)
    assert report.files[0].verdict == case.verdict, str(report)
    assert report.refused == (case.verdict == "refused")
    said = list(map(str, report.findings))
    assert any(case.words in s for s in said) or case.verdict == "accepted", said
    assert all(c.isprintable() for s in said for c in s) and all(c.isprintable() or c == "\n" for c in str(report))
    told = json.loads(report.json())
    assert len(told) == len(said) and all(set(f) == {"file", "row", "column", "value", "reason", "verdict"} for f in told)
    assert report.counts.total() >= len(said)


@pytest.mark.parametrize("name", [n for n, c in CORPUS.items() if c.verdict == "refused" and not n.startswith(("quotes", "ticks"))
                                  and not {"as_of", "symbol"} & set(c.options)])
def test_sources_refuse_what_the_check_refuses(name: str, tmp_path: Path) -> None:
    "By an error of our own, whole and in one line; a source has to be told the resolution"
    case = CORPUS[name]
    file = placed(case, tmp_path)
    kind = ParquetSource if case.suffix == ".parquet" else CsvSource
    source = kind(file, zone=case.options.get("zone"))
    intraday = case.data.count(b"2013-10") > 1
    with pytest.raises(DataError) as e:
        for symbol in source.get_symbols(): source.bars(symbol, resolution=case.options.get("resolution", "1m" if intraday else "1d"))
        if name == "resolution unknown": raise DataError("a source is told the resolution")
    assert str(e.value).isprintable()


def test_the_corpus_is_large_enough() -> None:
    "At least 80 kinds of broken bars, and each rule of the table has a case that meets it"
    assert sum(c.verdict == "refused" for n, c in CORPUS.items() if not n.startswith(("quotes", "ticks"))) >= 80
    assert sum(c.verdict == "warned" for c in CORPUS.values()) >= 20 <= sum(c.verdict == "accepted" for c in CORPUS.values())


def test_every_rule_is_met(tmp_path: Path) -> None:
    "A rule that no file of the corpus breaks would be a rule that nobody has seen work"
    met = set()
    for name, case in CORPUS.items():
        (tmp_path/name.replace("/", " ")).mkdir()
        met |= set(check_paths([placed(case, tmp_path/name.replace("/", " "))], **case.options).counts)
    assert {r.name for r in RULES} <= met


# ---------------------------------------------------------------- counts, logs and what is said of many

def test_a_file_that_is_bad_in_every_row_is_counted_truly() -> None:
    "The work is capped, the count is not"
    n = 20_000
    table = {c: ["1,5"]*n for c in COLUMNS} | {"date": ["04/01/2012"]*n}
    with pytest.raises(BarsRefused) as e: validate(table, "X")
    assert e.value.counts == {"unread time": n, "unread number": 5*n} and len(e.value.findings) == 6*MOST
    assert f"{6*n - 1} more findings" in str(e.value)


def test_torn_rows_are_counted_truly() -> None:
    "The same for rows of the wrong length"
    with pytest.raises(BarsRefused) as e: read_csv(rows(*["1,2"]*3000), "IBM.csv")
    assert e.value.counts == {"torn row": 3000} and len(e.value.findings) == MOST


def test_findings_are_logged_by_rule(caplog: pytest.LogCaptureFixture) -> None:
    "One line a table, with counts, and no line of the file's own"
    with caplog.at_level(logging.INFO, "firebot.validate"):
        check({"date": ["2012-01-03", "x\nIBM accepted"]} | {c: ["1.5", "1,5"] for c in COLUMNS}, "IBM", file="a\nb.csv")
    assert [r.getMessage() for r in caplog.records] == ["a\\nb.csv: refused: 1 unread time, 5 unread number"]


def test_rows_are_lines_of_the_file_also_with_two_symbols(tmp_path: Path) -> None:
    "Blank lines are counted in every road"
    lines = [f"{r},{s}" for r in ROWS for s in ("IBM", "MSFT")]
    lines[5] = lines[5].replace("184.81", "-184.81")
    (tmp_path/"all.csv").write_bytes(rows(*lines[:3], "", "", *lines[3:], header=HEADER + ",symbol"))
    assert [(f.row, f.column) for f in check_paths([tmp_path]).findings] == [(8, "open"), (8, "open")]
    with pytest.raises(BarsRefused, match="row 8, open '-184.81'"): CsvSource(tmp_path/"all.csv").bars("IBM")


def test_torn_rows_know_their_lines() -> None:
    "Blank lines above them are counted, over several blocks of the reader too"
    with pytest.raises(BarsRefused) as e: read_csv(b"a,b\n1,2\n\n\n3\n4,5\n\n6\n", "x.csv")
    assert [f.row for f in e.value.findings] == [4, 7]
    with pytest.raises(BarsRefused) as e: read_csv(b"a,b\n" + b"1,2\n"*500_000 + b"\n"*5 + b"7\n", "x.csv")
    assert [f.row for f in e.value.findings] == [500_006]


def test_all_bad_symbols_are_listed(tmp_path: Path) -> None:
    "Not only the first"
    (tmp_path/"all.csv").write_bytes(rows(ROWS[0] + ",=A1", ROWS[1] + ",../x", header=HEADER + ",symbol"))
    assert [f.row for f in check_paths([tmp_path]).findings] == [1, 2]


# ---------------------------------------------------------------- folders, links and names

def test_links_out_of_a_folder_are_refused(tmp_path: Path) -> None:
    "A file, a folder, nothing and itself; a link that stays inside is fine"
    (tmp_path/"outside").mkdir()
    (tmp_path/"outside"/"IBM.csv").write_bytes(GOOD)
    data = tmp_path/"data"
    data.mkdir()
    (data/"AAPL.csv").write_bytes(GOOD)
    (data/"MSFT.csv").symlink_to(data/"AAPL.csv")
    assert not check_paths([data]).refused and len(CsvSource(data).bars("MSFT")) == 4
    for name, target in (("IBM.csv", "../outside/IBM.csv"), ("more", "../outside"), ("gone.csv", "gone"), ("loop.csv", "loop.csv")):
        (data/name).symlink_to(target)
        report = check_paths([data])
        assert report.refused and any("is a link" in str(f) for f in report.findings), name
        if name.endswith(".csv"):
            with pytest.raises(DataError, match="is a link"): CsvSource(data).bars("AAPL")
        (data/name).unlink()


def test_paths_that_are_nothing(tmp_path: Path) -> None:
    "Said as findings, not as tracebacks; what was typed wrong is a wrong command"
    (tmp_path/"empty").mkdir()
    (tmp_path/"IBM.csv").mkdir()
    for path, words in ((tmp_path/"no.csv", "is not there"), (tmp_path/"empty", "holds no CSV"), (tmp_path/"IBM.csv", "holds no CSV")):
        report = check_paths([path])
        assert report.refused and words in str(report)
    for wrong in (dict(resolution="1min"), dict(exchange="NYSE"), dict(zone="America/Gotham"), dict(zone="../etc")):
        with pytest.raises(ConfigError): check_paths([tmp_path], **wrong)


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    "A file's name of other bytes is shown with escapes"
    import os
    name = os.fsencode(tmp_path) + b"/\xff\n.csv"
    Path(os.fsdecode(name)).write_bytes(GOOD)
    report = check_paths([tmp_path])
    assert report.refused and "\\udcff\\n.csv" in str(report)
    str(report).encode() and report.json().encode()


def test_the_full_report(tmp_path: Path) -> None:
    "Counts and files beside the findings"
    (tmp_path/"IBM.csv").write_bytes(GOOD)
    (tmp_path/"MSFT.csv").write_bytes(GOOD.replace(b"185.54", b"-1"))
    told = json.loads(check_paths([tmp_path]).json(full=True))
    assert told["refused"] and told["counts"] == {"not positive": 1, "below low": 1}
    assert [(f["verdict"], f["kind"], f["resolution"], f["rows"]) for f in told["files"]] == [("accepted", "bars", "1d", 4),
        ("refused", "bars", "", 0)]


@real
def test_real_files_pass() -> None:
    "Extended hours and odd sessions are legal, and the known splits are found"
    folders = [SHARED/"daily", SHARED/"hour", SHARED/"minute"]
    report = check_paths(folders, zone="America/New_York", as_of=datetime(2021, 4, 1, tzinfo=UTC))
    assert not report.refused and sum(f.rows for f in report.files) == 4*5849 + 1318 + 40831 + 40832 + 4839 + 5412
    assert {f.kind for f in report.files} == {"bars", "quotes"} and {f.resolution for f in report.files} == {"1d", "1h", "1m"}
    jumps = [f.reason for f in report.findings if f.rule == "jump" and "split" in f.reason and "daily/AAPL" in f.file]
    assert sum("split of 2:1" in j for j in jumps) == 2 and sum("split of 7:1" in j for j in jumps) == 1


# ---------------------------------------------------------------- properties

CORRUPT = ["", "-", "nan", "-inf", "-1", "1,5", "٣", "=1+1", "2012-13-01", "1e300", "0x1", " 1", "null", "1 2", "\x00", "1e-320", "#N/A",
    "a\nb"]


@st.composite
def tables(draw: st.DrawFn) -> tuple[dict[str, list[str]], str]:
    "Bars or quotes without a fault, as text"
    n, kind = draw(st.integers(1, 30)), draw(st.sampled_from(["bars", "quotes", "ticks"]))
    price = st.floats(1e-3, 1e6).map(lambda x: round(x, 6))
    def side() -> list[list[float]]:
        bars = [sorted(draw(st.lists(price, min_size=4, max_size=4))) for _ in range(n)]
        return [[b[k] for b in bars] for k in (1, 3, 0, 2)]
    size = [repr(round(draw(st.floats(0, 1e9)), 6)) for _ in range(n)]
    clock = np.cumsum(draw(st.lists(st.integers(1, 4), min_size=n, max_size=n)))
    stamps = [f"{np.datetime64('2013-10-04T13:30') + np.timedelta64(int(m), 'm')}:00Z" for m in clock]
    text = lambda column: list(map(repr, column))
    if kind == "bars": values = [*map(text, side()), size]
    else:
        bid = side()
        wider = [[x*1.001 for x in c] for c in bid]
        values = [*map(text, bid), size, *map(text, wider), size] if kind == "quotes" else [text(bid[0]), text(wider[0]), size, size]
    names = {"bars": COLUMNS, "quotes": QUOTE_COLUMNS, "ticks": TICKS.split(",")[1:]}[kind]
    return {"timestamp": stamps} | dict(zip(names, values)), kind


def found(table: dict[str, list[str]], kind: str) -> Findings:
    "What the validator says of a table in minutes"
    return examine(table, "X", "1m")[1] if kind == "bars" else examine_quotes(table, "X", "tick" if kind == "ticks" else "1m")[1]


@settings(deadline=None)
@given(tables())
def test_good_tables_pass_unchanged(made: tuple) -> None:
    "Every number comes out as it went in"
    table, kind = made
    result, findings = examine(table, "X", "1m") if kind == "bars" else examine_quotes(table, "X", "tick" if kind == "ticks" else "1m")
    assert result is not None and not findings.only("refuse")
    for c in [*table][1:]:
        assert getattr(result, c if kind != "ticks" or c.endswith("size") else f"{c}_close").tolist() == list(map(float, table[c]))
    assert np.datetime_as_string(result.timestamp.astype("datetime64[ns]"), "s").tolist() == [t[:-1] for t in table["timestamp"]]


@settings(deadline=None)
@given(tables(), st.data())
def test_any_bad_cell_is_found(made: tuple, data: st.DataObject) -> None:
    "Whatever the table, the place and the fault"
    table, kind = made
    column, i = data.draw(st.sampled_from([*table])), data.draw(st.integers(0, len(table["timestamp"]) - 1))
    table[column] = [*table[column][:i], data.draw(st.sampled_from(CORRUPT)), *table[column][i + 1:]]
    assert (i + 1, column) in {(f.row, f.column) for f in found(table, kind) if f.verdict == "refuse"}


@settings(deadline=None)
@given(tables(), st.data())
def test_disorder_is_found(made: tuple, data: st.DataObject) -> None:
    "Two rows exchanged, or one doubled"
    table, kind = made
    n = len(table["timestamp"])
    i = data.draw(st.integers(0, n - 1))
    if n > 1 and data.draw(st.booleans()):
        j = data.draw(st.integers(0, n - 1).filter(lambda j: j != i))
        order = list(range(n))
        order[i], order[j] = j, i
    else: order = sorted([*range(n), i])
    moved = {c: [x[k] for k in order] for c, x in table.items()}
    refused = found(moved, kind).only("refuse")
    assert refused or kind == "ticks" and len(order) > n  # a quote may come twice in one instant


@settings(deadline=None)
@given(tables(), st.data())
def test_prices_that_contradict_are_found(made: tuple, data: st.DataObject) -> None:
    "A high put under the low, an ask under the bid"
    table, kind = made
    i = data.draw(st.integers(0, len(table["timestamp"]) - 1))
    column, under = {"bars": ("high", "low"), "quotes": ("ask_close", "bid_close"), "ticks": ("ask", "bid")}[kind]
    table[column][i] = repr(float(table[under][i])*0.999)
    assert (i + 1, column) in {(f.row, f.column) for f in found(table, kind) if f.verdict == "refuse"}


@settings(deadline=None, max_examples=200)
@given(st.one_of(st.binary(max_size=300), st.text(alphabet=",\n\r\"'0123456789.-+eE:TZ \t\0;#abdlopnghiwcsvu\ufeff１",
    max_size=300).map(lambda s: (HEADER + "\n" + s).encode())))
def test_any_bytes_are_bars_or_our_own_error(data: bytes) -> None:
    "Nothing else is raised, and what is said can be printed"
    for read in (read_csv, read_parquet):
        try: validate(read(data, "IBM"), "IBM")
        except DataError as e: assert str(e).isprintable()


PARQUET = parquet(symbol=pa.array(["IBM"]*4))


@settings(deadline=None, max_examples=200)
@given(st.sampled_from([GOOD, rows(*minutes(5)), PARQUET]),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4), st.integers(0, 400))
def test_damaged_files_are_bars_or_our_own_error(data: bytes, hits: list[tuple[int, int]], lost: int) -> None:
    "Bytes overwritten and the end torn off"
    damaged = bytearray(data)
    for at, byte in hits: damaged[at % len(damaged)] = byte
    torn = bytes(damaged[:len(damaged) - (lost if lost < len(damaged) else 0)])
    try: check((read_parquet if data is PARQUET else read_csv)(torn, "IBM"), "IBM", None)
    except DataError as e: assert str(e).isprintable()


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_one_changed_byte_is_never_silent_where_it_breaks_a_cell(data: st.DataObject) -> None:
    "A byte that is no digit, put into a number of a good CSV file, is always refused"
    at = data.draw(st.sampled_from([i for i, b in enumerate(GOOD) if chr(b).isdigit()]))
    byte = data.draw(st.sampled_from([b for b in range(256) if chr(b) not in "0123456789.eE+-" and b not in b",\n\r"]))
    damaged = GOOD[:at] + bytes([byte]) + GOOD[at + 1:]
    with pytest.raises(DataError): validate(read_csv(damaged, "IBM"), "IBM")
