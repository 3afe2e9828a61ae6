"""The store beyond its pages: killed at every write, out of disk, two writers, contradictions, and closed bars only."""
import builtins
import os
import resource
import shutil
import signal
import subprocess
import sys
import time as clock
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import firebot.files
from firebot.backup import backup, backups, damaged, load_backup, object_path, restore
from firebot.calendars import hours
from firebot.feed import load_panel
from firebot.history import HOURS, StoreSource, resample, take
from firebot.models import (
    COLUMNS,
    QUOTE_COLUMNS,
    RESOLUTIONS,
    TICK,
    ActionKind,
    Bars,
    ConfigError,
    CorporateAction,
    DataError,
    Instrument,
    Quotes,
    from_ns,
    session_open,
    to_ns,
)
from firebot.sources import CsvSource, DataSource, ParquetSource, SampleSource
from firebot.store import (
    PERIODS,
    Key,
    Origin,
    Store,
    StoreBusy,
    add,
    add_all,
    dataset,
    encode,
    locked,
    periods,
    provenance,
    read,
    stored_actions,
    to_table,
    verify,
)

SHARED = Path(__file__).resolve().parent.parent.parent/"shared"/"data"
real = pytest.mark.skipif(not SHARED.is_dir(), reason="the folder of real market data is not there")

MINUTE, HOUR = RESOLUTIONS["1m"], RESOLUTIONS["1h"]
WHEN = datetime(2013, 11, 1, tzinfo=UTC)
ORIGIN = Origin("made.csv", "0"*64, WHEN)


def minutes(first: datetime, n: int, symbol: str = "SPY", seed: int = 1, step: int = 1) -> Bars:
    "A random walk of `n` minute bars"
    rng = np.random.default_rng(seed)
    close = np.round(100 + np.cumsum(rng.normal(0, 0.05, n)), 2)
    opening = np.append(close[:1], close[:-1])
    late = (np.arange(n) % 10 == 9) * (step > 2) # else the steps would be those of coarser bars
    return Bars(symbol, "1m", to_ns(first) + (np.arange(n)*step + late)*MINUTE, opening, np.maximum(opening, close) + 0.01,
                np.minimum(opening, close) - 0.01, close, rng.integers(1, 900, n)*100.0)


def pick(b: Bars, rows: np.ndarray) -> Bars:
    "Some rows"
    return Bars(b.symbol, b.resolution, b.timestamp[rows], *(getattr(b, c)[rows] for c in COLUMNS))


def same(a: Bars | Quotes, b: Bars | Quotes) -> bool:
    "Equal to the last bit"
    names = COLUMNS if isinstance(a, Bars) else QUOTE_COLUMNS
    return (a.symbol, a.resolution) == (b.symbol, b.resolution) and all(
        getattr(a, c).tobytes() == getattr(b, c).tobytes() for c in ("timestamp", *names))


def visible(store: Store) -> dict[str, bytes]:
    "What the index names, and what lies beside it"
    names = [f"{f}/_{d}.json" for f, d in store.index().items()]
    names += [s.file(p) for s in store.catalogue() for p in s.parts]
    names += [n for n in ("index.json", "actions.csv", "instruments.csv") if (store.path/n).exists()]
    return {n: (store.path/n).read_bytes() for n in sorted(names)}


def lying(store: Store) -> set[str]:
    "The files that are there, locks and cache apart"
    files = {f.relative_to(store.path).as_posix() for f in store.path.rglob("*") if f.is_file()}
    return {f for f in files if not f.startswith("cache/")} - {"lock", "keep"}


OCTOBER = minutes(datetime(2013, 10, 28, 13, 30, tzinfo=UTC), 200, step=45)  # goes over into November
FIRST, SECOND, ONE = OCTOBER[:120], OCTOBER[100:], OCTOBER[:60]
SPLIT = CorporateAction("SPY", date(2013, 10, 30), ActionKind.SPLIT, numerator=2)


# ---------------------------------------------------------------- death and disks

class Guard:
    "Stands before every call that changes the disk, and strikes at the nth"
    def __init__(self, n: int, strike: Callable[[], None]) -> None: self.n, self.strike, self.count = n, strike, 0

    def __call__(self, real: Callable) -> Callable:
        def call(*args: object, **more: object) -> object:
            self.tick()
            return real(*args, **more)
        return call

    def tick(self) -> None:
        self.count += 1
        if self.count == self.n: self.strike()

    def open(self, file: object, mode: str = "r", **more: object) -> object:
        "A file that is written in two halves, either of which may be the last"
        if "w" not in mode: return builtins.open(file, mode, **more)
        self.tick()
        f, guard = builtins.open(file, mode, **more), self
        class Halves:
            def __enter__(self) -> "Halves": return self
            def __exit__(self, *e: object) -> None: f.close()
            def __getattr__(self, name: str) -> object: return getattr(f, name)
            def write(self, data: bytes) -> None:
                half = len(data)//2
                f.write(data[:half]); f.flush(); guard.tick()
                f.write(data[half:]); f.flush(); guard.tick()
        return Halves()


@contextmanager
def guarded(guard: Guard) -> Iterator[None]:
    "Between here and the disk"
    with pytest.MonkeyPatch.context() as m:
        for name in ("fsync", "replace", "mkdir", "unlink", "rmdir", "pwrite", "truncate"): m.setattr(os, name, guard(getattr(os, name)))
        m.setattr(firebot.files, "open", guard.open, raising=False)
        yield


def dies(work: Callable[[], object], n: int) -> bool:
    "Whether a child that does `work` is killed at its nth change to the disk"
    pid = os.fork()
    if pid == 0:
        try:
            with guarded(Guard(n, lambda: os.kill(os.getpid(), signal.SIGKILL))): work()
            os._exit(0)
        finally: os._exit(3)
    status = os.waitpid(pid, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
    return os.WIFSIGNALED(status)


def grow(store: Store) -> None:
    "Two series, an event: all of it or nothing"
    other = replace(SECOND, symbol="IBM")
    add_all(store, [(SECOND, ORIGIN, "XNYS"), (other, ORIGIN, "XNYS")], [SPLIT])


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    "The disk is not waited for: the kernel outlives the process that dies here"
    monkeypatch.setattr(os, "fsync", lambda fd: None)


def test_killed_at_every_write(tmp_path: Path, hasty: None) -> None:
    "The bars are the old or the new ones, the next writer finishes the work, and no trace is left"
    base = Store(tmp_path/"base")
    add(base, FIRST, ORIGIN)
    old = visible(base)
    whole = Store(shutil.copytree(base.path, tmp_path/"whole"))
    grow(whole)
    new, seen = visible(whole), set()
    for n in range(1, 500):
        store = Store(shutil.copytree(base.path, tmp_path/"killed"))
        killed = dies(lambda: grow(store), n)  # noqa: B023
        now = visible(store)
        bars = {k: v for k, v in now.items() if k != "actions.csv"}
        state = "old" if bars == old else "new" if now == new else "neither"
        assert state != "neither" and verify(store) == [], n
        seen.add(state)
        grow(store)
        assert visible(store) == new and lying(store) == set(new), n
        shutil.rmtree(store.path)
        if not killed: break
    assert seen == {"old", "new"} and 40 < n < 500


def test_an_error_of_the_disk_at_every_write(tmp_path: Path, hasty: None) -> None:
    "No space left at any point: the error comes out, the old state stands, and again it works"
    base = Store(tmp_path/"base")
    add(base, FIRST, ORIGIN)
    old = visible(base)
    whole = Store(shutil.copytree(base.path, tmp_path/"whole"))
    grow(whole)
    new = visible(whole)

    def full() -> None: raise OSError(28, "No space left on device")
    for n in range(1, 500):
        store, guard = Store(shutil.copytree(base.path, tmp_path/"full")), Guard(n, full)
        with guarded(guard), suppress(OSError): grow(store)
        bars = {k: v for k, v in visible(store).items() if k != "actions.csv"}
        assert bars == old or visible(store) == new, n
        grow(store)
        assert visible(store) == new and lying(store) == set(new) and verify(store) == [], n
        shutil.rmtree(store.path)
        if guard.count < n: break
    assert 40 < n < 500


def test_a_real_limit_of_the_system(tmp_path: Path) -> None:
    "A file that may not grow any further is an OSError, and nothing has happened"
    store = Store(tmp_path/"store")
    add(store, FIRST, ORIGIN)
    before, big = visible(store), minutes(datetime(2013, 11, 4, 14, 30, tzinfo=UTC), 5000)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))
    try:
        with pytest.raises(OSError): add(store, big, ORIGIN)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, ignored)
    assert visible(store) == before and lying(store) == set(before)
    assert add(store, big, ORIGIN).new == 5000


# ---------------------------------------------------------------- several processes

WRITER = """
import sys
from datetime import UTC, datetime
import numpy as np
from firebot.models import Bars
from firebot.store import Origin, Store, add
store, me = Store(sys.argv[1]), int(sys.argv[2])
for day in range(25):
    start = 1_380_000_000_000_000_000 // 86_400_000_000_000 * 86_400_000_000_000 + (day * 86_400 + np.arange(me, 600, 2) * 60) * 1_000_000_000
    one = np.ones(len(start))
    add(store, Bars("SPY", "1m", start, one, one, one, one, one), Origin(f"writer {me}", "0" * 64, datetime(2013, 12, 1, tzinfo=UTC)), "24/7")
"""


def spawn(code: str, *args: object) -> subprocess.Popen:
    "A Python process of this environment"
    return subprocess.Popen([sys.executable, "-c", code, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_writers_and_a_copyist(tmp_path: Path) -> None:
    "Both write the same parts at once; nothing is lost; every backup taken meanwhile is a state that has been"
    store = Store(tmp_path/"store")
    writers = [spawn(WRITER, store.path, k) for k in (0, 1)]
    made = []
    while any(w.poll() is None for w in writers):
        if store.path.is_dir() and store.index():
            when = WHEN + timedelta(seconds=len(made))
            made.append(backup(store, tmp_path/"backup", when)[0].name)
            rows, files = read(store, "SPY", "1m")
            assert files and (np.diff(rows.timestamp) > 0).all()
        clock.sleep(0.02)
    assert [(w.wait(), w.stderr.read()) for w in writers] == [(0, "")]*2
    assert len(read(store, "SPY", "1m")[0]) == 25*600 and verify(store) == []
    assert {p.origin.source: p.rows for p in provenance(store, "SPY", "1m")} == {"writer 0": 7500, "writer 1": 7500}
    assert made and [d for name in made for d in damaged(tmp_path/"backup", name)] == []
    for name in made[::max(1, len(made)//4)]:
        again = Store(tmp_path/name)
        restore(tmp_path/"backup", again.path, name)
        assert verify(again) == [] and len(read(again, "SPY", "1m")[0]) % 300 == 0
    add(store, pick(read(store, "SPY", "1m")[0], np.arange(3)), ORIGIN, "24/7")
    assert lying(store) == set(visible(store)), "what was kept for the copyist is swept later"


def test_lock_of_the_living_and_of_the_dead(tmp_path: Path) -> None:
    "A writer that lives is waited for and named; one that was killed holds nothing"
    store = Store(tmp_path/"store", wait=0.05)
    add(store, FIRST, ORIGIN)
    code = ("import sys, time\nfrom pathlib import Path\nfrom firebot.store import locked\n"
            "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)")
    holder = spawn(code, store.path/"lock")
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(StoreBusy, match=f"process {holder.pid} is writing"): add(store, SECOND, ORIGIN)
    assert len(read(store, "SPY", "1m")[0]) == len(FIRST)
    holder.kill()
    holder.wait()
    assert (store.path/"lock").read_text() == str(holder.pid)
    assert add(store, SECOND, ORIGIN).new == 80


def test_a_copy_keeps_what_it_needs(tmp_path: Path) -> None:
    "While somebody copies, replaced parts stay; the next writer sweeps them"
    store = Store(tmp_path/"store")
    add(store, FIRST, ORIGIN)
    before = visible(store)
    with locked(store.path/"keep", shared=True): add(store, SECOND, ORIGIN)
    assert set(before) - {"index.json"} < lying(store)
    add(store, pick(FIRST, np.arange(2)), ORIGIN)
    assert lying(store) == set(visible(store))


# ---------------------------------------------------------------- what enters

@settings(max_examples=25)
@given(st.data())
def test_any_order_gives_the_same_rows(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    "Batches in any order, overlapping as they like, are the whole; every window is a slice; origins add up"
    base, resolution = data.draw(st.sampled_from([0, 1_383_200_000_000_000_000])), data.draw(st.sampled_from([*PERIODS][1:8]))
    n, step = data.draw(st.integers(1, 60)), RESOLUTIONS[resolution]*data.draw(st.sampled_from([1, 11, 13])) # no coarser bars' steps
    start = base//(7*86_400_000_000_000)*(7*86_400_000_000_000) + np.arange(n)*step
    bars = Bars("X", resolution, start, *(np.arange(n) + k for k in (2.0, 9.0, 1.0, 2.0)), np.arange(n)*1.5)
    if resolution == "1w": bars = replace(bars, timestamp=start + 4*86_400_000_000_000)
    store = Store(tmp_path_factory.mktemp("store")/"store")
    batches = data.draw(st.lists(st.sets(st.integers(0, n - 1), min_size=1), min_size=1, max_size=4)) + [set(range(n))]
    there: set[int] = set()
    for k, rows in enumerate(batches):
        done = add(store, pick(bars, np.array(sorted(rows))), replace(ORIGIN, source=f"batch {k}"), "24/7")
        assert (done.new, done.same) == (len(rows - there), len(rows & there))
        there |= rows
    assert same(read(store, "X", resolution)[0], bars) and verify(store) == []
    lo, hi = sorted(data.draw(st.integers(int(bars.timestamp[0]) - step, int(bars.timestamp[-1]) + step)) for _ in range(2))
    inside = (bars.timestamp >= lo) & (bars.timestamp < hi)
    assert same(read(store, "X", resolution, lo, hi)[0], pick(bars, np.flatnonzero(inside)))
    assert sum(p.rows for p in provenance(store, "X", resolution)) == n
    for part in store.catalogue()[0].parts: assert str(periods(np.array([part.last]), resolution)[0]) == part.period


def test_contradictions(tmp_path: Path) -> None:
    "Row and both values; nothing is written; of several arrivals none gets in"
    store = Store(tmp_path/"store")
    add(store, FIRST, ORIGIN)
    before, files = visible(store), lying(store)
    for c in COLUMNS:
        wrong = pick(SECOND, np.arange(len(SECOND)))
        value = {"high": 0.01, "low": -0.01, "volume": 1.0}.get(c, 0.0)
        getattr(wrong, c)[7] += value or (0.005 if wrong.high[7] - getattr(wrong, c)[7] > 0.006 else -0.005)
        said = f"row 8, {c} '{float(getattr(wrong, c)[7])!r}' contradicts the stored {float(getattr(SECOND, c)[7])!r}"
        with pytest.raises(DataError) as e: add_all(store, [(replace(FIRST, symbol="NEW"), ORIGIN, "XNYS"), (wrong, ORIGIN, "XNYS")])
        assert said in str(e.value) and "made.csv" in str(e.value)
        assert visible(store) == before and lying(store) == files


def test_what_is_refused(tmp_path: Path) -> None:
    "By the validator, by what is stored, by what is missing"
    store = Store(tmp_path/"store")
    add(store, FIRST, ORIGIN)
    before, files = visible(store), lying(store)
    between = replace(FIRST[:1], timestamp=FIRST.timestamp[:1] + MINUTE//2)
    nan, naive = replace(FIRST, close=FIRST.close*np.nan), replace(ORIGIN, fetched_at=datetime(2013, 1, 1))
    for bars, origin, exchange, says in (
            (nan, ORIGIN, "XNYS", "row 1, close"), (between, ORIGIN, "XNYS", "before that of"), (FIRST, naive, "XNYS", "no time zone"),
            (FIRST[:0], ORIGIN, "XNYS", "no rows"), (FIRST, ORIGIN, "24/7", "by the calendar of XNYS"),
            (FIRST, ORIGIN, "XLON", "by the calendar of XNYS"),
            (replace(FIRST, symbol="../x"), ORIGIN, "XNYS", "is no symbol"), (FIRST[::-1], ORIGIN, "XNYS", "earlier than the row above")):
        with pytest.raises(DataError, match=says): add(store, bars, origin, exchange)
    with pytest.raises(DataError, match="given twice"): add_all(store, [(FIRST, ORIGIN, "XNYS")]*2)
    assert visible(store) == before and lying(store) == files
    after = replace(FIRST[-1:], timestamp=FIRST.timestamp[-1:] + 1)
    with pytest.raises(DataError, match="before that of"): add(store, after, ORIGIN)
    assert add(store, FIRST, ORIGIN, "XNAS").same == 120  # the same hours under another name


def test_a_day_that_begins_at_midnight_is_not_stored_beside_one_that_begins_at_the_opening(tmp_path: Path) -> None:
    days = SampleSource().bars("IBM")[:3]
    midnight = replace(days, timestamp=days.timestamp - int(9.5 * HOUR))
    with pytest.raises(DataError, match=r"row 1, timestamp .*05:00:00.* is not where its bar begins, .*14:30:00"):
        add(Store(tmp_path), midnight, ORIGIN)
    assert add(Store(tmp_path), days, ORIGIN).new == 3


def test_neighbours_across_parts(tmp_path: Path) -> None:
    "The last bar of a month and the first of the next may not overlap either"
    store, edge = Store(tmp_path/"store"), datetime(2013, 10, 31, 23, 50, tzinfo=UTC)
    bar = replace(minutes(edge, 1), resolution="30m")
    add(store, bar, ORIGIN, "24/7")
    with pytest.raises(DataError, match="2013-11-01T00:10:00"):
        add(store, replace(bar, timestamp=bar.timestamp + 20*MINUTE), ORIGIN, "24/7")
    assert add(store, replace(bar, timestamp=bar.timestamp + 30*MINUTE), ORIGIN, "24/7").new == 1


def test_quotes_and_ticks(tmp_path: Path) -> None:
    "Stored beside the bars; crossed, unordered and broken ones are refused"
    n = 50
    sides = [np.full(n, x) for x in (9.0, 9.5, 8.5, 9.0, 300.0, 9.1, 9.6, 8.6, 9.1, 200.0)]
    quotes = Quotes("SPY", TICK, to_ns(WHEN) + np.arange(n)*1_000_003, *sides)
    store = Store(tmp_path/"store")
    add_all(store, [(quotes, ORIGIN, "XNYS"), (replace(quotes, resolution="1m", timestamp=FIRST.timestamp[:n]), ORIGIN, "XNYS"),
                    (FIRST, ORIGIN, "XNYS")])
    assert same(read(store, "SPY", TICK, kind="quotes")[0], quotes) and verify(store) == []
    assert StoreSource(store.path).quotes("SPY", date(2013, 10, 28), date(2013, 10, 28)).resolution == "1m"
    ask, when = quotes.ask_close.copy(), quotes.timestamp.copy()
    ask[3], when[5] = 8.9, when[4]
    for bad, says in ((replace(quotes, ask_close=ask), "row 4"),
                      (replace(quotes, timestamp=when), "row 6, timestamp"),
                      (replace(quotes, bid_size=-quotes.bid_size), "bid_size.*negative"),
                      (replace(quotes, ask_low=quotes.ask_high + 1), "ask_high.*below the low")):
        with pytest.raises(DataError, match=says): add(store, bad, ORIGIN)


def test_names_that_are_awkward(tmp_path: Path) -> None:
    "Carets and equal signs are written as in a URL and come back; digits stay text"
    store, names = Store(tmp_path/"store"), ["000660", "BRK.B", "EURUSD=X", "^GSPC"]
    add_all(store, [(replace(FIRST, symbol=s), ORIGIN, "XNYS") for s in names])
    assert StoreSource(store.path).get_symbols() == names == [k.symbol for k in store.keys()]
    assert sorted(set(dataset(store, "1m").to_table()["symbol"].to_pylist())) == names
    folder = ds.dataset(store.path/"bars", format="parquet", partitioning="hive", exclude_invalid_files=True)  # as others scan it
    assert folder.count_rows() == 4*120 and {"resolution", "symbol", "period"} <= set(folder.schema.names)


# ---------------------------------------------------------------- reading

def test_the_cache(tmp_path: Path) -> None:
    "Thrown away, torn or unwritable it changes nothing; rotten it is found; parts are held against their names"
    store = Store(tmp_path/"store")
    add(store, ONE, ORIGIN)
    assert same(read(store, "SPY", "1m")[0], ONE)
    [cached] = store.cache.iterdir()
    for spoil in (cached.unlink, lambda: cached.write_bytes(cached.read_bytes()[:-8]), lambda: cached.write_bytes(bytes(cached.stat().st_size))):
        spoil()
        assert same(read(store, "SPY", "1m")[0], ONE) and verify(store) == []
    data = bytearray(cached.read_bytes())
    data[-1] ^= 1
    cached.write_bytes(data)
    assert ["cache is damaged" in v for v in verify(store)] == [True]
    (tmp_path/"file").write_text("in the way")
    assert same(read(Store(store.path, cache=tmp_path/"file"/"cache"), "SPY", "1m")[0], ONE)
    shutil.rmtree(store.cache)
    part = store.path/store.catalogue()[0].file(store.catalogue()[0].parts[0])
    part.write_bytes(part.read_bytes().replace(b"PAR1", b"PAR2"))
    with pytest.raises(DataError, match="damaged, its bytes"): read(store, "SPY", "1m")
    assert len(verify(store)) == 1
    part.unlink()
    with pytest.raises(DataError, match="is not there; restore it"): read(store, "SPY", "1m")
    (store.path/"index.json").write_text("{")
    with pytest.raises(DataError, match="index.json: the file is damaged"): store.index()
    (store.path/"index.json").write_text('{"format": 2}')
    with pytest.raises(DataError, match="format 2 is not 1"): store.index()


def test_little_is_touched(tmp_path: Path) -> None:
    "A week opens the parts it lies in, an update rewrites one"
    store, year = Store(tmp_path/"store"), minutes(datetime(2013, 1, 1, tzinfo=UTC), 365*24*2, step=30)
    add(store, year, ORIGIN, "24/7")
    lo = to_ns(datetime(2013, 6, 3, tzinfo=UTC))
    rows, files = read(store, "SPY", "1m", lo, lo + 7*24*HOUR)
    assert len(rows) == 7*48 and [f.name.split("/")[3] for f in files] == ["period=2013-06"] and len(list(store.cache.iterdir())) == 1
    before = visible(store)
    add(store, minutes(datetime(2013, 12, 31, 23, 45, tzinfo=UTC), 1), ORIGIN, "24/7")
    assert len(before) == 14 and len(set(visible(store)) - set(before)) == 2  # a part and the list of the series


def test_a_read_copy_of_a_read_only_store(tmp_path: Path) -> None:
    "Reading makes no file but the cache's, and asks for no lock"
    store = Store(tmp_path/"store")
    add(store, FIRST, ORIGIN)
    for name in ("lock", "keep"): (store.path/name).unlink()
    files = lying(store)
    assert same(StoreSource(store.path, cache=tmp_path/"cache").bars("SPY", resolution="1m"), FIRST)
    assert lying(store) == files and not (store.path/"cache").exists() and not (store.path/"lock").exists()


def test_a_week_of_years_opens_one_month(tmp_path: Path) -> None:
    "In a fresh process: the lists, the part that the week is in, its copy in the cache; the rest of the series is not read"
    _, opens, closes = hours(date(2017, 1, 3), date(2018, 12, 31))
    start = np.concatenate([np.arange(a, b, MINUTE) for a, b in zip(opens, closes)])
    close = np.round(100 + np.cumsum(np.random.default_rng(1).normal(0, 0.01, len(start))), 2)
    store = Store(tmp_path/"store")
    add(store, Bars("SPY", "1m", start, close, close + 0.01, close - 0.01, close, np.ones(len(start))), ORIGIN)
    code = ("import sys\nfrom datetime import date\nfrom firebot.history import StoreSource\nimport pyarrow.parquet\nopened = []\n"
            "sys.addaudithook(lambda what, args: what == 'open' and opened.append(str(args[0])))\n"
            "print(len(StoreSource(sys.argv[1]).bars('SPY', date(2018, 6, 4), date(2018, 6, 8), '1m')))\n"
            "print(*sorted({f for f in opened if f.startswith(sys.argv[1])}))")
    for turn in range(2):
        n, *files = spawn(code, store.path).communicate()[0].split()
        read = [f for f in files if f.endswith((".parquet", ".i8"))]
        assert int(n) == 5*390 and len(read) == 1, files
        assert turn or "period=2018-06/" in read[0]
    assert len(store.catalogue()[0].parts) == 24


# ---------------------------------------------------------------- a store as a source

def test_the_same_answers_as_a_folder_of_files(tmp_path: Path) -> None:
    "Bars, dates, instruments, events and a panel, as the source they came from gives them"
    sample, store = SampleSource(), Store(tmp_path/"store")
    done = take(store, sample, datetime(2013, 3, 2, tzinfo=UTC))
    assert sum(a.new for a in done) == sum(len(sample.bars(s)) for s in sample.get_symbols())
    stored = StoreSource(store.path)
    for s in sample.get_symbols():
        assert same(stored.bars(s), sample.bars(s)) and stored.actions(s) == sample.actions(s) and stored.instrument(s) == sample.instrument(s)
    span = (date(2012, 5, 17), date(2012, 6, 1))
    assert same(stored.bars("FB", *span), sample.bars("FB", *span))
    a, b = load_panel(stored), load_panel(sample)
    assert a.symbols == b.symbols and a.close.tobytes() == b.close.tobytes()
    assert StoreSource(store.path, symbols=["IBM"]).get_symbols() == ["IBM"]
    assert provenance(store, "IBM")[0].origin.sha256 == sample.provenance("IBM")[0].sha256
    for make, says in ((lambda: StoreSource(tmp_path), "there is no store"),
                       (lambda: StoreSource(store.path, symbols=["X"]).get_symbols(), "no symbol 'X'"),
                       (lambda: stored.bars("IBM", resolution="2d"), "Unknown resolution"), (lambda: stored.quotes("IBM"), "no 1m quotes"),
                       (lambda: stored.subscribe("IBM"), "no live data"),
                       (lambda: StoreSource(store.path, zone="Europe/Paris"), "leave the zone out")):
        with pytest.raises((DataError, ConfigError), match=says): make()


def test_provenance_of_what_was_read(tmp_path: Path) -> None:
    "Bars that are added later do not change what a run has read"
    store, source = Store(tmp_path/"store"), SampleSource()
    take(store, source, WHEN, symbols=["IBM"], end=date(2009, 12, 31))
    stored = StoreSource(store.path)
    stored.bars("IBM", date(2003, 1, 2), date(2003, 12, 31))
    was = [f for f in stored.provenance("IBM") if "bars/" in f.name]
    take(store, source, WHEN, symbols=["IBM"], onward=True)
    again = StoreSource(store.path)
    again.bars("IBM", date(2003, 1, 2), date(2003, 12, 31))
    assert [f for f in again.provenance("IBM") if "bars/" in f.name] == was and len(was) == 1
    assert same(again.bars("IBM"), source.bars("IBM"))


class Live(DataSource):
    "Yesterday's bars and today's, which has not ended"
    def __init__(self, bars: Bars) -> None: self._bars, self.asked = bars, []
    def get_historical(self, symbol: str, start: datetime, end: datetime, resolution: str) -> Iterator: raise NotImplementedError
    def subscribe(self, symbol: str) -> None: raise NotImplementedError
    def get_symbols(self) -> list[str]: return ["SPY"]
    def bars(self, symbol: str, start: date | None = None, end: date | None = None, resolution: str = "1d") -> Bars:
        self.asked.append(start)
        return self._bars


def test_bars_that_have_not_ended_are_not_taken(tmp_path: Path) -> None:
    "The day's bar is stored once it is over; until then it may change"
    starts = np.array([to_ns(session_open(date(2013, 10, d))) for d in (28, 29)])
    one, store = np.ones(2), Store(tmp_path/"store")
    noon, source = Bars("SPY", "1d", starts, one, one*3, one, one, one), Live(Bars("SPY", "1d", starts, one, one*3, one, one*2, one))
    assert take(store, Live(noon), datetime(2013, 10, 29, 16, tzinfo=UTC))[0].new == 1
    with pytest.raises(DataError, match="contradicts"): take(store, source, datetime(2013, 10, 29, 20, tzinfo=UTC))
    source._bars.close[0] = 1.0
    assert take(store, source, datetime(2013, 10, 29, 20, tzinfo=UTC), onward=True)[0].new == 1 and source.asked[-1] == date(2013, 10, 28)
    with pytest.raises(DataError, match="had ended"): take(store, Live(noon), datetime(2013, 10, 28, 16, tzinfo=UTC))
    assert provenance(store, "SPY")[0].origin.source == "Live"


def test_a_bad_file_leaves_nothing(tmp_path: Path) -> None:
    "Of a folder with one bad cell nothing gets in, also of the files that were read before it"
    header = "date,open,high,low,close,volume\n"
    (tmp_path/"A.csv").write_text(header + "2012-01-03,1,1,1,1,1\n")
    (tmp_path/"B.csv").write_text(header + "2012-01-03,1,1,1,-1,1\n")
    store = Store(tmp_path/"store")
    with pytest.raises(DataError, match="row 1, close '-1'"): take(store, CsvSource(tmp_path), WHEN)
    assert store.index() == {} and lying(store) == set()
    with pytest.raises(DataError): take(store, CsvSource(tmp_path), WHEN, together=False)
    assert [k.symbol for k in store.keys()] == ["A"]


def test_events_and_instruments(tmp_path: Path) -> None:
    "Added to, not replaced; a contradiction is refused; what a person wrote by hand is read"
    store = Store(tmp_path/"store")
    other = replace(SPLIT, ex_date=date(2013, 11, 5), numerator=3)
    add_all(store, [], [SPLIT])
    add_all(store, [], [other, SPLIT], [Instrument("SPY", "XNAS", "XNYS", "Fund", tick=Decimal("0.005"))])
    assert stored_actions(store) == (SPLIT, other)
    before = lying(store)
    with pytest.raises(DataError, match="comes twice"): add_all(store, [(FIRST, ORIGIN, "XNYS")], [replace(SPLIT, numerator=4)])
    assert lying(store) == before and store.index() == {}
    add(store, FIRST, ORIGIN)
    assert StoreSource(store.path).instrument("SPY").tick == Decimal("0.005")
    assert StoreSource(store.path, instruments=[Instrument("SPY")]).instrument("SPY").tick == Decimal("0.01")


# ---------------------------------------------------------------- closed bars only

INTRADAY = ["5m", "15m", "30m", "1h", "4h"]


@st.composite
def traded(draw: st.DrawFn) -> tuple[Bars, str]:
    "Minutes with gaps over some days with half days, holidays and changes of the clock, extended hours included"
    day = draw(st.sampled_from([date(2013, 3, 7), date(2013, 10, 31), date(2013, 7, 2), date(2012, 11, 20), date(2012, 10, 25), date(2013, 12, 23)]))
    exchange = draw(st.sampled_from(["XNYS", "24/7"]))
    first = to_ns(datetime(day.year, day.month, day.day, 13, tzinfo=UTC))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    span = draw(st.integers(2, 8))*24*60
    at = np.sort(rng.choice(span, draw(st.integers(1, 400)), replace=False))
    if exchange == "XNYS": at = at[np.isin((at//60) % 24, range(11))]  # 13:00 to 24:00 UTC
    n = len(at)
    close = np.round(100 + np.cumsum(rng.normal(0, 0.1, n)), 2)
    bars = Bars("X", "1m", first + at*MINUTE, close, close + rng.random(n), close - rng.random(n), close, rng.random(n)*1e4)
    return bars, exchange


@given(traded(), st.sampled_from([*INTRADAY, "1d", "1w"]), st.sampled_from([None, *HOURS]), st.floats(0, 1), st.integers(-200, 200))
def test_resampling_never_looks_ahead(given_: tuple[Bars, str], to: str, how: str | None, share: float, off: int) -> None:
    "Of a prefix, and as of any instant, it is a prefix of the whole"
    bars, exchange = given_
    whole, cut = resample(bars, to, exchange, 2**62, how), int(share*len(bars))
    part = resample(bars[:cut], to, exchange, hours=how)
    assert same(part, whole[:len(part)])
    if not len(bars): return
    now = int(bars.timestamp[min(cut, len(bars) - 1)]) + off*MINUTE
    early = resample(bars, to, exchange, now, how)
    assert same(early, whole[:len(early)])
    closed = bars[:int(np.searchsorted(bars.timestamp + MINUTE, now, side="right"))]
    assert same(early, resample(closed, to, exchange, now, how)), "bars that had not ended do not matter"
    if to in INTRADAY and how != "regular" and len(early): assert early.timestamp[-1] + RESOLUTIONS[to] <= now
    if to in INTRADAY and how != "regular" and len(whole) > len(early): assert whole.timestamp[len(early)] + RESOLUTIONS[to] > now


@given(traded(), st.sampled_from([*INTRADAY, "1d"]))
def test_as_pandas_where_both_mean_the_same(given_: tuple[Bars, str], to: str) -> None:
    "A coin's buckets are those of the clock in UTC"
    bars = replace(given_[0], volume=np.round(given_[0].volume))
    frame = pd.DataFrame({c: getattr(bars, c) for c in COLUMNS}, index=pd.DatetimeIndex(bars.timestamp.view('M8[ns]'), tz='UTC'))
    rule = to.replace("m", "min").replace("d", "D")
    theirs = frame.resample(rule).agg(dict(open="first", high="max", low="min", close="last", volume="sum")).dropna()
    ours = resample(bars, to, "24/7", 2**62)
    assert ours.timestamp.tolist() == theirs.index.as_unit("ns").asi8.tolist()
    for c in COLUMNS: assert getattr(ours, c).tolist() == theirs[c].tolist()


def slowly(bars: Bars, to: str, exchange: str) -> list[tuple]:
    "Regular hours bar by bar, in dates and records"
    from zoneinfo import ZoneInfo
    zone = ZoneInfo("UTC" if exchange == "24/7" else "America/New_York")
    days, opens, closes = hours(date(2012, 1, 1), date(2014, 12, 31), exchange)
    session = {d.item(): (int(o), int(c)) for d, o, c in zip(days, opens, closes)}
    out: dict[int, list] = {}
    for t, o, h, low, c, v in zip(bars.timestamp.tolist(), *(getattr(bars, c).tolist() for c in COLUMNS)):
        begin, end = session.get(from_ns(t).astimezone(zone).date(), (0, 0))
        if not begin <= t < end: continue
        key = begin if to == "1d" else begin + (t - begin)//RESOLUTIONS[to]*RESOLUTIONS[to]
        if to == "1w":
            day = from_ns(t).astimezone(zone).date()
            monday = day - timedelta(day.weekday())
            key = next(session[monday + timedelta(k)][0] for k in range(7) if monday + timedelta(k) in session)
        if key not in out: out[key] = [o, h, low, c, 0.0]
        b = out[key]
        b[1], b[2], b[3], b[4] = max(b[1], h), min(b[2], low), c, b[4] + v
    return [(k, *b) for k, b in out.items()]


@given(traded(), st.sampled_from([*INTRADAY, "1d", "1w"]))
def test_as_a_slow_second_writing(given_: tuple[Bars, str], to: str) -> None:
    "Half days, holidays, the hurricane and the change of the clock, said again in another way"
    bars, exchange = replace(given_[0], volume=np.round(given_[0].volume)), given_[1]
    ours = resample(bars, to, exchange, 2**62, "regular")
    assert list(zip(ours.timestamp.tolist(), *(getattr(ours, c).tolist() for c in COLUMNS))) == slowly(bars, to, exchange)


def test_in_steps_and_at_once() -> None:
    "Minutes to hours by way of quarters of an hour; days to weeks as minutes to weeks"
    bars = minutes(datetime(2013, 3, 4, 14, 30, tzinfo=UTC), 2*7*24*60)
    for steps in (("5m", "15m", "30m", "1h", "4h"), ("15m", "1h"), ("5m", "30m")):
        step = bars
        for to in steps: step = resample(step, to, as_of=2**62, hours="regular")
        assert same(step, resample(bars, steps[-1], as_of=2**62, hours="regular"))
    weeks = resample(resample(bars, "1d", as_of=2**62), "1w", as_of=2**62)
    assert same(weeks, resample(bars, "1w", as_of=2**62)) and len(weeks) == 3


def test_weeks_are_known_on_friday_evening() -> None:
    "Not earlier when Friday is a holiday, and at the early close when it is a half day"
    def known(day: date, days: int) -> list[str]:
        starts = np.array([to_ns(session_open(day + timedelta(k))) for k in range(days)])
        one, found = np.ones(days), []
        for t in range(int(starts[0]), int(starts[0]) + 8*24*HOUR, HOUR//2):
            if len(resample(Bars("X", "1d", starts, one, one, one, one, one), "1w", as_of=t)): found.append(from_ns(t).strftime("%a %H:%M")); break
        return found
    assert known(date(2013, 3, 25), 4) == ["Fri 20:00"]  # Good Friday
    assert known(date(2012, 11, 19), 3) == ["Fri 18:00"]  # the day after Thanksgiving
    assert known(date(2001, 9, 10), 1) == ["Fri 20:00"]


def test_what_cannot_be_divided() -> None:
    "Hours of the wall's clock and four hours of the session"
    hourly = resample(minutes(datetime(2013, 10, 7, 13, 0, tzinfo=UTC), 420), "1h", "24/7")
    with pytest.raises(DataError, match="lies across the opening"): resample(hourly, "1d")
    with pytest.raises(DataError, match="lies across the end of a 4h bar"): resample(replace(hourly, timestamp=hourly.timestamp + 2*HOUR), "4h")
    for to, says in (("1m", "coarser"), ("1h", "coarser"), ("2h", "Unknown")):
        with pytest.raises(DataError, match=says): resample(hourly, to)
    with pytest.raises(DataError, match="hours is 'night'"): resample(hourly, "1d", hours="night")


def test_weeks_at_the_edges_of_a_window(tmp_path: Path) -> None:
    "A window of weeks is the same part of all weeks, wherever it begins"
    store = Store(tmp_path/"store")
    take(store, SampleSource(), WHEN, symbols=["IBM"])
    stored = StoreSource(store.path)
    whole = stored.bars("IBM", resolution="1w")
    for first in range(2, 12):
        lo, hi = date(2012, 1, first), date(2012, 2, first)
        stamps = [from_ns(t, "America/New_York").date() for t in whole.timestamp]
        inside = np.array([lo <= d <= hi for d in stamps])
        assert same(stored.bars("IBM", lo, hi, "1w"), pick(whole, np.flatnonzero(inside)))


# ---------------------------------------------------------------- real bars

@real
def test_real_minutes_quotes_and_hours(tmp_path: Path) -> None:
    "Stored, read back, made coarser, and held against figures taken from the files by hand"
    store, zone = Store(tmp_path/"store"), "America/New_York"
    for folder, resolution in (("minute", "1m"), ("hour", "1h")):
        take(store, ParquetSource(SHARED/folder, symbols=["SPY"], zone=zone), WHEN + timedelta(9999), resolution)
    table = pq.read_table(SHARED/"minute"/"SPY_quotes.parquet")
    frame = table.to_pandas()
    stamps = frame.timestamp.dt.tz_localize(zone).dt.tz_convert(None).to_numpy("datetime64[ns]").astype(np.int64)
    quotes = Quotes("SPY", "1m", stamps, *(frame[c].to_numpy(np.float64) for c in QUOTE_COLUMNS))
    assert add(store, quotes, ORIGIN).new == 5412 and verify(store) == []
    source = StoreSource(store.path)
    assert len(source.bars("SPY", resolution="1m")) == 4839 and len(source.bars("SPY", resolution="1h")) == 40832
    assert same(source.quotes("SPY"), quotes)
    bars = source.bars("SPY", resolution="1m")
    day = source.bars("SPY", date(2013, 10, 7), date(2013, 10, 7), "1m")
    local = frame = pd.DataFrame({c: getattr(day, c) for c in COLUMNS}, index=pd.to_datetime(day.timestamp, utc=True).tz_convert(zone))
    regular = local.between_time("09:30", "15:59")
    [daily] = list(resample(bars, "1d")[1:2])
    assert [float(x) for x in (daily.open, daily.high, daily.low, daily.close, daily.volume)] == [
        regular.open.iloc[0], regular.high.max(), regular.low.min(), regular.close.iloc[-1], regular.volume.sum()]
    theirs = ParquetSource(SHARED/"daily").bars("SPY", date(2013, 10, 4), date(2013, 10, 11))
    assert np.abs(resample(bars, "1d").close/theirs.close - 1).max() < 2e-4  # the closing auction is not among the minutes
    hourly = resample(bars, "1h")
    opening = list(hourly)[[from_ns(t, zone).strftime("%d %H:%M") for t in hourly.timestamp].index("07 09:30")]
    first = local.between_time("09:30", "10:29")
    assert (float(opening.open), float(opening.close), float(opening.volume)) == (first.open.iloc[0], first.close.iloc[-1], first.volume.sum())
    wall = source.bars("SPY", date(2013, 10, 7), date(2013, 10, 7), "1h")
    with pytest.raises(DataError, match="across the opening"): resample(wall, "1d")
    both = resample(wall, "1d", as_of=2**62, hours="all")
    assert (both.high[0], both.low[0]) == (theirs.high[1], theirs.low[1])


# ---------------------------------------------------------------- backups

def stocked(folder: Path) -> Store:
    "A store with bars and an event"
    store = Store(folder)
    add_all(store, [(FIRST, ORIGIN, "XNYS")], [SPLIT])
    return store


def test_a_backup_killed_at_every_write(tmp_path: Path, hasty: None) -> None:
    "It is there and whole, or not there; the one before it is never touched; the next one is whole"
    store, later = stocked(tmp_path/"store"), WHEN + timedelta(1)
    backup(store, tmp_path/"base", WHEN)
    add(store, SECOND, ORIGIN)
    for n in range(1, 500):
        target = shutil.copytree(tmp_path/"base", tmp_path/"target")
        killed = dies(lambda: backup(store, target, later), n)  # noqa: B023
        for name in backups(target): assert damaged(target, name) == []
        assert len(backups(target)) in (1, 2)
        backup(store, target, later)
        restore(target, tmp_path/"again")
        assert visible(Store(tmp_path/"again")) == visible(store)
        for folder in (target, tmp_path/"again"): shutil.rmtree(folder)
        if not killed: break
    assert 20 < n < 500


def test_a_restore_killed_at_every_write(tmp_path: Path, hasty: None) -> None:
    "The folder is whole or not there"
    store = stocked(tmp_path/"store")
    backup(store, tmp_path/"backup", WHEN)
    for n in range(1, 500):
        killed = dies(lambda: restore(tmp_path/"backup", tmp_path/"back"), n)
        assert not (tmp_path/"back").exists() or visible(Store(tmp_path/"back")) == visible(store)
        restore(tmp_path/"backup", tmp_path/"back")
        assert visible(Store(tmp_path/"back")) == visible(store) and verify(Store(tmp_path/"back")) == []
        shutil.rmtree(tmp_path/"back")
        if not killed: break
    assert 20 < n < 500


def test_damage_is_named(tmp_path: Path) -> None:
    "Every object, cut short, turned over or gone; the list too"
    store, target = stocked(tmp_path/"store"), tmp_path/"backup"
    made, _ = backup(store, target, WHEN)
    for e in made.folders["store"]:
        file = object_path(target, e.sha256)
        good = file.read_bytes()
        for bad in (good[:-1], bytes([good[0] ^ 1]) + good[1:], b"", None):
            file.unlink()
            if bad is not None: file.write_bytes(bad)
            assert len(damaged(target)) == 1 and e.name in damaged(target)[0]
            with pytest.raises(DataError) as said: restore(target, tmp_path/"back")
            assert e.name in str(said.value) and not (tmp_path/"back").exists() and not list(tmp_path.glob(".*"))
        assert backup(store, target, WHEN)[1] == 1 and damaged(target) == []
    listed = target/"backups"/f"{made.name}.json"
    good = listed.read_bytes()
    for bad in (good[:-5], good.replace(b"actions.csv", b"actions.cvs"), b"", b"[]", b"{}"):
        listed.write_bytes(bad)
        with pytest.raises(DataError, match="the list of this backup is damaged"): restore(target, tmp_path/"back")


def test_where_a_backup_may_not_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    "Into itself, over other files, out of its folder, through a link, from nowhere"
    store, target = stocked(tmp_path/"store"), tmp_path/"backup"
    for wrong in (store.path, store.path/"backup", tmp_path):
        with pytest.raises(DataError, match="is none"): backup(store, wrong, WHEN)
    with pytest.raises(DataError, match="no time zone"): backup(store, target, datetime(2013, 1, 1))
    with pytest.raises(DataError, match="no backups"): restore(target, tmp_path/"x")
    (tmp_path/"reports").mkdir()
    (tmp_path/"reports"/"link").symlink_to("/etc/passwd")
    with pytest.raises(DataError, match="is a link"): backup({"reports": tmp_path/"reports"}, target, WHEN)
    for gone in (Store(tmp_path/"none"), tmp_path/"none"):
        with pytest.raises(DataError, match="there is no"): backup({"x": gone}, target, WHEN)
    backup(store, target, WHEN)
    add(store, SECOND, ORIGIN)
    with pytest.raises(DataError, match="already, of other content"): backup(store, target, WHEN)
    with pytest.raises(DataError, match="holds other files"): restore(target, store.path)
    with pytest.raises(DataError, match="no folder 'reports'"): restore(target, tmp_path/"x", name="reports")
    with pytest.raises(DataError, match="no backup '2013'"): restore(target, tmp_path/"x", "2013")
    bad = load_backup(target)
    for name in ("../out", "/etc/out", "a/../../out"):
        entry = replace(bad.folders["store"][0], name=name)
        monkeypatch.setattr("firebot.backup.load_backup", lambda *_, e=entry: replace(bad, folders={"store": (e,)}))
        with pytest.raises(DataError, match="outside of its folder"): restore(target, tmp_path/"x")
    assert not (tmp_path/"x").exists() and not (tmp_path/"out").exists()


def test_an_empty_store_and_an_empty_folder(tmp_path: Path) -> None:
    "Come back empty"
    store = Store(tmp_path/"store")
    add_all(store, [])
    (tmp_path/"reports").mkdir()
    made, written = backup({"store": store, "reports": tmp_path/"reports"}, tmp_path/"backup", WHEN)
    assert written == 0 and made.bytes == 0
    (tmp_path/"back").mkdir()
    restore(tmp_path/"backup", tmp_path/"back", name="reports")
    assert list((tmp_path/"back").iterdir()) == []


def test_parts_are_the_same_bytes_whoever_writes_them() -> None:
    "No time, no name of a machine and no order of threads in a file"
    table = to_table(FIRST, ORIGIN)
    assert bytes(encode(table)) == bytes(encode(pa.table(table.to_pydict(), table.schema)))
    assert Key("bars", "1d", "^GSPC").folder == "bars/resolution=1d/symbol=%5EGSPC"
