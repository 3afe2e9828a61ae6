"""The data layer beyond its pages: broken files, alignment as a property, the sample rebuilt and checked."""
import importlib
import os
import subprocess
import sys
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import make_sample
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firebot.catalog import make_source
from firebot.feed import Adjuster, forward_factor, load_panel, make_panel, replay, slice_dates
from firebot.models import (
    COLUMNS,
    RESOLUTIONS,
    ActionKind,
    Bars,
    ConfigError,
    CorporateAction,
    DataError,
    Instrument,
    from_ns,
    session_open,
    to_ns,
)
from firebot.sources import CsvSource, ParquetSource, SampleSource, read_actions, sample_dir
from firebot.validate import RULES, BarsRefused, check, session_days, session_starts, validate

SHARED = Path(__file__).resolve().parent.parent.parent/"shared"/"data"
real = pytest.mark.skipif(not SHARED.is_dir(), reason="the folder of real market data is not there")

HEADER = "date,open,high,low,close,volume"
ROWS = ["2012-01-03,186.73,188.71,186.00,186.30,5646000", "2012-01-04,185.57,186.33,184.94,185.54,4346500",
        "2012-01-05,184.81,185.03,183.10,184.66,4465200", "2012-01-06,184.39,184.66,182.31,182.54,3899000"]


# ---------------------------------------------------------------- validation; the corpus of broken files is in test_broken_bars.py

def rows(*lines: str, header: str = HEADER) -> bytes:
    "A file of these lines"
    return "\n".join([header, *lines]).encode() + b"\n"


def test_typed_columns() -> None:
    "Wrong types are refused, right ones of every width are read"
    good = dict(timestamp=np.array(["2012-01-03", "2012-01-04"], "datetime64[D]"),
                **{c: np.array([1.5, 1.5]) for c in COLUMNS})
    assert len(validate(good, "X")) == 2
    for kind in (np.float32, np.int16, np.uint64):
        assert validate(good | {"volume": np.array([3, 4], kind)}, "X").volume.tolist() == [3, 4]
    assert validate(good | {"close": pa.array([Decimal("1.5"), Decimal("1.5")])}, "X").close.tolist() == [1.5, 1.5]
    for column, value in dict(open=[True, False], close=[date(2012, 1, 3)]*2, timestamp=[1325635200, 1325721600],
                              low=[[1.0], [1.0]]).items():
        with pytest.raises(BarsRefused, match=f"column '{column}' has type"): validate(good | {column: value}, "X")
    with pytest.raises(BarsRefused, match="row 2, close '' is missing"): validate(good | {"close": [1.5, None]}, "X")
    with pytest.raises(BarsRefused, match="row 1, open '' is missing"): validate(good | {"open": [None, None]}, "X")
    with pytest.raises(BarsRefused, match="row 2, volume '9007199254740993' is not a plain"):
        validate(good | {"volume": [1, 2**53 + 1]}, "X")
    with pytest.raises(DataError, match="make no table"): validate(good | {"open": np.array([1.5])}, "X")
    with pytest.raises(DataError, match="unknown resolution '2d'"): validate(good, "X", "2d")
    with pytest.raises(DataError, match="unknown exchange 'XMAS'"): validate(good, "X", exchange="XMAS")


def test_every_finding_is_listed_in_the_order_of_the_file() -> None:
    "Several rows, several columns; the error counts the rest"
    text = [r.split(",") for r in ROWS]
    text[1][4], text[3][5], text[2][2] = "", "-1", "0"
    findings = check(dict(zip(HEADER.split(","), zip(*text))), "IBM", file="IBM.csv")
    assert [(f.row, f.column, f.value) for f in findings] == [
        (2, "close", ""), (3, "high", "0"), (3, "high", "0"), (3, "open", "184.81"), (3, "close", "184.66"),
        (4, "volume", "-1")]
    assert "5 more findings" in str(BarsRefused(findings))


def test_a_warning_does_not_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    "A rule whose verdict is `warn` is listed and lets the bars pass"
    import firebot.validate as v
    shy = v.Rule("round", "size", lambda p, c: np.flatnonzero(p.numbers[c] % 100 == 0), "is round", "warn")
    monkeypatch.setattr(v, "RULES", (*RULES, shy))
    columns = dict(zip(HEADER.split(","), zip(*(r.split(",") for r in ROWS))))
    assert {f.verdict for f in check(columns, "IBM")} == {"warn"} and len(validate(columns, "IBM")) == 4


prices = st.lists(st.floats(1e-3, 1e6), min_size=4, max_size=4).map(sorted)


@st.composite
def columns(draw: st.DrawFn, size: st.SearchStrategy = st.integers(1, 20)) -> dict[str, list]:
    "Bars without a fault, as text"
    n = draw(size)
    days = np.cumsum(draw(st.lists(st.integers(1, 9), min_size=n, max_size=n))) + draw(st.integers(0, 20_000))
    bars = [(o, h, low, c) for low, o, c, h in draw(st.lists(prices, min_size=n, max_size=n))]
    volume = draw(st.lists(st.integers(0, 10**9), min_size=n, max_size=n))
    text = {c: [repr(b[k]) for b in bars] for k, c in enumerate(COLUMNS[:4])}
    return {"date": np.datetime_as_string(days.astype("datetime64[D]")).tolist(), **text,
            "volume": list(map(str, volume))}


@given(columns())
def test_good_bars_pass_unchanged(good: dict[str, list]) -> None:
    "Validation changes no number, and says the same of text and of floats"
    bars = validate(good, "X")
    typed = {c: np.array(list(map(float, good[c]))) for c in COLUMNS} | {"date": np.array(good["date"],
                                                                                          "datetime64[D]")}
    again = validate(typed, "X")
    for c in COLUMNS:
        assert getattr(bars, c).tobytes() == typed[c].tobytes() == getattr(again, c).tobytes()
    days = session_days(bars.timestamp)
    assert days.astype("datetime64[D]").astype(str).tolist() == good["date"]
    assert session_starts(days).tolist() == bars.timestamp.tolist() == again.timestamp.tolist()


@given(columns(), st.data())
def test_one_bad_cell_is_found(good: dict[str, list], data: st.DataObject) -> None:
    "Whatever the place, the finding names it"
    column, i = data.draw(st.sampled_from(["date", *COLUMNS])), data.draw(st.integers(0, len(good["date"]) - 1))
    good[column] = list(good[column])
    good[column][i] = data.draw(st.sampled_from(["", "-", "nan", "-inf", "-1", "1,5", "٣", "=1+1", "2012-13-01"]))
    assert (i + 1, column) in {(f.row, f.column) for f in check(good, "X") if f.verdict == "refuse"}


# ---------------------------------------------------------------- sources

def test_symbols_that_are_paths(tmp_path: Path) -> None:
    "No symbol leads out of the folder"
    (tmp_path/"in").mkdir()
    (tmp_path/"IBM.csv").write_bytes(rows(*ROWS))
    (tmp_path/"in"/"MSFT.csv").write_bytes(rows(*ROWS))
    source = CsvSource(tmp_path/"in")
    for symbol in ("../IBM", str(tmp_path/"IBM"), "IBM\0", "..", ".", "", "=cmd()", "IBM\nok", "A"*33, "ΙΒΜ"):
        with pytest.raises(DataError, match="is no symbol"): source.bars(symbol)
    with pytest.raises(DataError, match="did you mean 'MSFT'"): source.bars("msft")


def test_one_file_many_symbols(tmp_path: Path) -> None:
    "Interleaved symbols are told apart, and one bad row refuses them all under its own number"
    lines = [f"{r},{s}" for r in ROWS for s in ("IBM", "MSFT")]
    (tmp_path/"all.csv").write_bytes(rows(*lines, header=HEADER + ",symbol"))
    source = CsvSource(tmp_path/"all.csv")
    assert source.get_symbols() == ["IBM", "MSFT"] and len(source.bars("MSFT")) == 4
    lines[5] = lines[5].replace("184.81", "-184.81")
    (tmp_path/"all.csv").write_bytes(rows(*lines, header=HEADER + ",symbol"))
    with pytest.raises(BarsRefused, match="row 6, open '-184.81'"): CsvSource(tmp_path/"all.csv").bars("IBM")
    (tmp_path/"all.csv").write_bytes(rows(ROWS[0] + ",IBM", ROWS[1] + ",../x", header=HEADER + ",symbol"))
    with pytest.raises(BarsRefused,
                       match="row 2, symbol '../x' is no symbol"): CsvSource(tmp_path/"all.csv").get_symbols()


def test_parquet_folder_round_trip(tmp_path: Path) -> None:
    "What comes out of one source goes into another and comes out the same"
    source = SampleSource()
    for symbol in source.get_symbols():
        b = source.bars(symbol)
        stamps = pa.array(b.timestamp).cast(pa.timestamp("ns", "UTC"))
        pq.write_table(pa.table({"timestamp": stamps, **{c: getattr(b, c) for c in COLUMNS}}),
                       tmp_path/f"{symbol}.parquet")
    folder = ParquetSource(tmp_path, instruments=[source.instrument(s) for s in source.get_symbols()])
    assert load_panel(folder).close.tobytes() == load_panel(source).close.tobytes()
    (tmp_path/"FB.parquet").write_bytes((tmp_path/"FB.parquet").read_bytes()[:-9])
    with pytest.raises(DataError, match="cannot be read as Parquet"): folder.bars("FB")


def test_provenance_is_the_digest_of_what_was_parsed(tmp_path: Path) -> None:
    "A file that changes after it was read keeps the digest of what was read"
    from hashlib import sha256
    (tmp_path/"IBM.csv").write_bytes(rows(*ROWS))
    source = CsvSource(tmp_path)
    source.bars("IBM")
    (tmp_path/"IBM.csv").write_bytes(rows(*ROWS[:2]))
    assert source.provenance("IBM")[0].sha256 == sha256(rows(*ROWS)).hexdigest()
    assert [f.name for f in SampleSource().provenance("IBM")] == ["bars.parquet", "actions.csv"]


@pytest.mark.parametrize(("line", "says"), [
    ("../x,2005-02-28,split,2:1,", "row 1, symbol '../x' is no symbol"), ("AAPL,28.2.2005,split,2:1,",
                                                                          "row 1, ex_date '28.2.2005'"),
    ("AAPL,2005-02-28,merger,2:1,", "row 1, kind 'merger'"), ("AAPL,2005-02-28,split,2,", "row 1, ratio '2'"),
    ("AAPL,2005-02-28,split,0:1,", "row 1, ratio '0:1' is nothing"), ("AAPL,2005-02-28,split,,", "row 1, ratio ''"),
    ("AAPL,2005-02-28,split,2:1,0.1", "row 1, amount '0.1' does not fit"), ("AAPL,2012-08-09,dividend,,-1",
                                                                            "row 1, amount '-1'"),
    ("AAPL,2012-08-09,dividend,,0.00", "row 1, amount '0.00' is nothing"), ("AAPL,2012-08-09,dividend,,1e3",
                                                                            "row 1, amount '1e3'"),
    ("AAPL,2012-08-09,dividend,,1\nAAPL,2012-08-09,dividend,,2", "row 2, ex_date '2012-08-09' comes twice")])
def test_broken_actions(line: str, says: str) -> None:
    "Events are refused as strictly as bars"
    with pytest.raises(DataError) as e: read_actions(f"symbol,ex_date,kind,ratio,amount\n{line}\n".encode(),
                                                     "actions.csv")
    assert says in str(e.value)


def test_settings_of_sources(tmp_path: Path) -> None:
    "What a configuration can get wrong"
    for settings, error, says in ((dict(type="cvs"), ConfigError, "did you mean 'csv'"),
                                  (dict(type="csv"), ConfigError, "needs a `path`"),
                                  (dict(type="csv", path=tmp_path/"no"), DataError, "there is no such file or folder"),
                                  (dict(type="csv", path=tmp_path, exchange="NYSE"), ConfigError,
                                   "Unknown exchange 'NYSE'")):
        with pytest.raises(error, match=says): make_source(**settings)
    with pytest.raises(DataError, match="no symbol 'GOOGL'; did you mean 'GOOG'"): SampleSource(["GOOGL"]).get_symbols()


def test_loading_the_sample_is_light() -> None:
    "Each file is opened once, and without pandas"
    code = ("import sys; from firebot.sources import SampleSource; from firebot.feed import load_panel\nopened = []\n"
            "sys.addaudithook(lambda what, args: what == 'open' and opened.append(str(args[0])))\n"
            "load_panel(SampleSource())\nfiles = [f for f in opened if '/sample/' in f]\n"
            "print(len(files), len({*files}), 'pandas' in sys.modules)")
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          cwd=Path(__file__).parent.parent, env=os.environ).stdout.split()
    assert said == ["2", "2", "False"]  # the bars and the actions


# ---------------------------------------------------------------- the panel

STEP = RESOLUTIONS["5m"]


@st.composite
def universes(draw: st.DrawFn) -> tuple[list[Bars], list[Instrument], list[CorporateAction]]:
    "A few symbols, daily or in 5 minutes, on two exchanges, with holes and events"
    resolution = draw(st.sampled_from(["5m", "1d"]))
    bars, instruments, actions = [], [], []
    for k in range(draw(st.integers(1, 4))):
        exchange = draw(st.sampled_from(["XNYS", "24/7"]))
        ticks = np.array(sorted(draw(st.sets(st.integers(0, 40), min_size=1, max_size=20))), np.int64)
        start = session_starts(15_000 + ticks,
                               exchange) if resolution == "1d" else to_ns(session_open(date(2012, 1,
                                                                                            3))) + ticks*150*STEP
        close = np.array(draw(st.lists(st.floats(1, 1000), min_size=len(ticks), max_size=len(ticks))))
        bars.append(Bars(f"S{k}", resolution, start, close, close + 1, close - 0.5, close, np.ones(len(ticks))))
        instruments.append(Instrument(f"S{k}", exchange, exchange))
        days = session_days(start, exchange)
        for day in sorted(draw(st.sets(st.integers(int(days[0]) - 2, int(days[-1]) + 2), max_size=5))):
            ex, kind = date.fromordinal(719163 + day), draw(st.sampled_from(ActionKind))
            new, old, amount = draw(st.integers(1, 5)), draw(st.integers(1, 5)), Decimal(draw(st.integers(1, 99)))/100
            actions.append(CorporateAction(f"S{k}", ex, kind, *((new, old) if kind == ActionKind.SPLIT else (1, 1)),
                                           amount if kind == ActionKind.DIVIDEND else Decimal(0),
                                           "Z" if kind == ActionKind.RENAME else ""))
    return bars, instruments, actions


@given(universes())
def test_panel_loses_and_invents_nothing(universe: tuple) -> None:
    "Rows are unique and ordered, each bar stands on the row of its own start and end, and nowhere else"
    bars, instruments, actions = universe
    panel = make_panel(bars, instruments, actions)
    keys = list(zip(panel.end.tolist(), panel.start.tolist()))
    assert keys == sorted(set(keys)) and not np.isnan(panel.close).all(axis=1).any()
    for j, b in enumerate(bars):
        for c in ("timestamp", *COLUMNS): assert getattr(panel.bars(j), c).tobytes() == getattr(b, c).tobytes()
        assert panel.close[:, j].flags.c_contiguous == (len(bars) == 1 or len(panel) == 1)
    assert panel.close.flags.c_contiguous and panel.start.dtype == panel.actions.row.dtype == np.int64


@given(universes(), st.data())
def test_slices_of_a_panel(universe: tuple, data: st.DataObject) -> None:
    "Two halves make the whole, actions and digests included; the clock says the same bars in the same order"
    panel = make_panel(*universe)
    cut = data.draw(st.integers(0, len(panel)))
    left, right = panel[:cut], panel[cut:]
    assert np.r_[left.close, right.close].tobytes() == panel.close.tobytes()
    assert np.r_[left.actions.row, right.actions.row + cut].tolist() == panel.actions.row.tolist()
    assert left.actions.amount + right.actions.amount == panel.actions.amount
    assert panel[:].digest() == panel.digest()
    assert (left.digest() == panel.digest()) == (cut == len(panel))
    told = [(row.t, row.end, s, b.timestamp, float(b.close)) for row in replay(panel) for s, b in row.bars.items()]
    expected = [(t, int(panel.end[t]), s, from_ns(panel.start[t]), panel.close[t, j]) for t in range(len(panel))
                for j, s in enumerate(panel.symbols) if not np.isnan(panel.close[t, j])]
    assert told == expected


@given(universes())
def test_actions_stand_on_the_first_bar_that_is_not_before_them(universe: tuple) -> None:
    "Against the definition, searched row by row"
    bars, instruments, actions = universe
    panel = make_panel(bars, instruments, actions)
    expected = []
    for a in actions:
        if a.kind == ActionKind.RENAME: continue  # no position changes
        j = panel.symbols.index(a.symbol)
        days = session_days(panel.start, instruments[j].exchange).astype("datetime64[D]")
        here = [t for t in range(len(panel)) if not np.isnan(panel.close[t, j])]
        after = [t for t in here if days[t] >= np.datetime64(a.ex_date)]
        if after and days[here[0]] <= np.datetime64(a.ex_date):
            expected.append((after[0], j, a.kind == ActionKind.DIVIDEND, a.amount))
    got = list(zip(panel.actions.row.tolist(), panel.actions.symbol.tolist(), panel.actions.kind.tolist(),
                   panel.actions.amount))
    assert sorted(got) == sorted(expected) and [g[:3] for g in got] == sorted(g[:3] for g in got)


@given(universes())
def test_forward_factor_never_looks_ahead(universe: tuple) -> None:
    "Each prefix gives the prefix, to the bit, and the stream gives the batch"
    panel = make_panel(*universe)
    def stream() -> np.ndarray:
        adjuster = Adjuster(len(panel.symbols))
        return np.array([adjuster.step(panel.close[row.t], row.actions) for row in replay(panel)])
    try: factor = forward_factor(panel)
    except DataError:  # a dividend above the last close
        with pytest.raises(DataError, match="leaves nothing"): stream()
        return
    assert stream().tobytes() == factor.tobytes()
    for t in range(1, len(panel)): assert forward_factor(panel[:t]).tobytes() == factor[:t].tobytes()


def test_split_and_dividend_on_one_day() -> None:
    "The split comes first: the dividend is per new share, against the last close in new shares"
    bars = Bars("X", "1d", session_starts(np.array([15_000, 15_001])), *[np.array([100.0, 49.0])]*4, np.ones(2))
    day = date.fromordinal(719163 + 15_001)
    both = [CorporateAction("X", day, ActionKind.DIVIDEND, amount=Decimal(1)),
            CorporateAction("X", day, ActionKind.SPLIT, 2)]
    panel = make_panel([bars], [Instrument("X")], both)
    assert panel.actions.kind.tolist() == [0, 1]
    assert forward_factor(panel)[:, 0].tolist() == [1.0, 2/(1 - 1/50)] and 49*2/(1 - 1/50) == pytest.approx(100)


def test_what_does_not_make_a_panel() -> None:
    "Other resolutions, other symbols, nothing at all"
    a = Bars("A", "1d", session_starts(np.array([15_000])), *[np.ones(1)]*5)
    b = Bars("B", "1h", a.timestamp, *[np.ones(1)]*5)
    for bars, symbols, actions, says in (([a, b], "AB", [], "bars of 1h do not fit A's of 1d"),
                                         ([a], "B", [], "give both alike"),
                                         ([], "", [], "needs bars"), ([a, a], "AA", [], "comes twice"),
                                         ([a], "A", [CorporateAction("C", date(2012, 1, 3), ActionKind.SPLIT, 2)],
                                          "without bars")):
        with pytest.raises(DataError, match=says): make_panel(bars, [Instrument(s) for s in symbols], actions)
    panel = make_panel([a], [Instrument("A")])
    with pytest.raises(DataError, match="steps of 1"): panel[::2]
    with pytest.raises(DataError, match="there are some from 2011-01-26"): slice_dates(panel, date(2012, 1, 1))


# ---------------------------------------------------------------- the sample

def test_sample_is_rebuilt_byte_for_byte(root: Path, tmp_path: Path) -> None:
    "By the script, from the package; Parquet also names its writer, so another pyarrow is held to the content"
    home = root/"data"/"sample"
    for built in make_sample.build(tmp_path):
        if built.suffix == ".parquet": assert pq.read_table(built).equals(pq.read_table(home/built.name))
        if built.suffix != ".parquet" or f"version {pa.__version__}" in pq.read_metadata(home/built.name).created_by:
            assert built.read_bytes() == (home/built.name).read_bytes(), built.name
    assert sample_dir() == home and sum(f.stat().st_size for f in home.iterdir()) < 450_000


def test_sample_is_the_package_unchanged() -> None:
    "Every raw number of the package, and none else"
    source, stocks = SampleSource(), importlib.import_module("bokeh_sampledata.stocks")
    for symbol in source.get_symbols():
        bars, table = source.bars(symbol), getattr(stocks, symbol)
        assert session_days(bars.timestamp, "XNAS").astype("datetime64[D]").astype(str).tolist() == table["date"]
        for c in COLUMNS: assert getattr(bars, c).tolist() == table[c]


def test_sample_events_are_the_known_ones() -> None:
    "Splits and the dividends that were in the papers"
    source = SampleSource()
    found = {(s, a.ex_date.isoformat()): a for s in source.get_symbols() for a in source.actions(s)}
    splits = {k: f"{a.numerator}:{a.denominator}" for k, a in found.items() if a.kind == ActionKind.SPLIT}
    assert splits == {("AAPL", "2000-06-21"): "2:1", ("AAPL", "2005-02-28"): "2:1", ("MSFT", "2003-02-18"): "2:1"}
    assert [str(found["AAPL", d].amount) for d in ("2012-08-09", "2012-11-07", "2013-02-07")] == ["2.65"]*3
    assert found["MSFT", "2004-11-15"].amount == Decimal("3.08") and found["MSFT",
                                                                           "2003-02-19"].amount == Decimal("0.08")
    ibm = [a for (s, _), a in found.items() if s == "IBM"]
    assert len(ibm) == 52 and [str(a.amount) for a in ibm][::8] == ["0.13", "0.15", "0.18", "0.3", "0.5", "0.65",
                                                                    "0.85"]
    assert all(a.amount.as_tuple().exponent >= -2 for a in found.values()) and len(found) == 95


def test_adjusted_close_is_derived_again() -> None:
    "Raw closes and events give the package's adjusted close up to a constant, within 1e-12; our factor within 0.3 %"
    source, stocks = SampleSource(), importlib.import_module("bokeh_sampledata.stocks")
    panel = load_panel(source)
    ours = panel.close * forward_factor(panel)
    for j, symbol in enumerate(panel.symbols):
        here = ~np.isnan(panel.close[:, j])
        close, adjusted = panel.close[here, j], np.array(getattr(stocks, symbol)["adj_close"])
        days = session_days(panel.start[here], "XNAS").astype("datetime64[D]")
        factor = np.ones(len(close))
        for a in source.actions(symbol):
            i = int(np.searchsorted(days, np.datetime64(a.ex_date)))
            factor[i:] *= a.numerator/a.denominator if a.kind == ActionKind.SPLIT else 1 + float(a.amount)/close[i]
        theirs = close*factor/adjusted
        assert theirs.max()/theirs.min() - 1 < 1e-12
        drift = ours[here, j]/adjusted
        assert drift.max()/drift.min() - 1 < 3e-3


# ---------------------------------------------------------------- real data of others

@real
def test_real_bars_pass() -> None:
    "Daily, hourly and minute bars of another publisher, coin included; quotes are no bars"
    coin = Instrument("BTC-USD", "24/7", "24/7", lot=Decimal("0.00000001"))
    days = ParquetSource(SHARED/"daily", instruments=[coin])
    panel = load_panel(days)
    assert panel.symbols == ("AAPL", "AIG", "BTC-USD", "IBM", "SPY") and (~np.isnan(panel.close)).sum() == 4*5849 + 1318
    assert len(slice_dates(panel, date(2018, 8, 13), date(2018, 8, 13))) == 2  # the coin's day ends at midnight UTC
    zone = "America/New_York"
    hours, minutes = (ParquetSource(SHARED/f, zone=zone) for f in ("hour", "minute"))
    assert len(hours.bars("SPY", resolution="1h")) == 40832
    spy = minutes.bars("SPY", date(2013, 10, 7), date(2013, 10, 7), "1m")
    assert next(iter(spy)).timestamp.isoformat() >= "2013-10-07T08:00:00+00:00" and len(spy) < 960
    with pytest.raises(DataError, match="does not say its time zone"): ParquetSource(SHARED/"minute").bars("SPY",
                                                                                                           resolution="1m")
    with pytest.raises(DataError, match="begins before the bar above has ended"): minutes.bars("SPY", resolution="1h")
    with pytest.raises(DataError, match="no symbol 'SPY_quotes'"): minutes.bars("SPY_quotes", resolution="1m")
    records = minutes.get_historical("SPY", datetime(2013, 10, 7), datetime(2013, 10, 7), "1m")
    assert next(records).symbol == "SPY"


@real
@pytest.mark.parametrize("symbol", ["AAPL", "IBM"])
def test_sample_agrees_with_another_publisher(symbol: str) -> None:
    "Same sessions, closes mostly within 0.1 %, the same ex-dates, and our factor is theirs"
    ours, theirs = SampleSource().bars(symbol), ParquetSource(SHARED/"daily", exchange="XNAS").bars(symbol,
                                                                                                    date(2000, 3,
                                                                                                         1), date(2013,
                                                                                                                  3, 1))
    assert ours.timestamp.tolist() == theirs.timestamp.tolist()
    assert np.median(np.abs(ours.close/theirs.close - 1)) < 1e-3
    panel = load_panel(SampleSource(), [symbol])
    days, factor = session_days(panel.start, "XNAS").astype("datetime64[D]"), forward_factor(panel)[:, 0]
    table = [line.split(",") for line in (SHARED/"corporate_actions"/f"{symbol.lower()}.csv").read_text().split()]
    last = np.array([f"{d[:4]}-{d[4:6]}-{d[6:]}" for d, *_ in table], "datetime64[D]")
    total = np.array([float(price)*float(split) for _, price, split, _ in table])
    inside = np.flatnonzero((last >= days[0]) & (last < days[-1]))
    ex = np.searchsorted(days, last[inside], side="right")
    assert days[ex].tolist() == [a.ex_date for a in SampleSource().actions(symbol)]
    np.testing.assert_allclose(factor[ex]/factor[ex - 1], total[inside + 1]/total[inside],
                               rtol=5e-5)  # their last closes differ by a cent here and there
