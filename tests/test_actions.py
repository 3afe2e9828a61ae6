"""Instruments, calendars and corporate actions beyond their pages: corpora of broken tables, properties, other publishers' data."""
import random
import subprocess
import sys
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from firebot import calendars
from firebot.adjusted import back_adjusted, forward_adjusted
from firebot.calendars import hours, is_open, next_session, previous_session, sessions
from firebot.engine import Seat, Setup, backtest
from firebot.events import derive, read_factors, simplest_decimal, simplest_fraction
from firebot.feed import (
    Stitched,
    daily_rows,
    days_per_year,
    follow,
    forward_factor,
    lives,
    load_panel,
    main_exchange,
    make_panel,
)
from firebot.models import (
    EXCHANGES,
    ActionKind,
    AssetClass,
    Bars,
    CorporateAction,
    DataError,
    Instrument,
    from_ns,
    session_close,
    session_open,
    to_ns,
)
from firebot.sources import CsvSource, DataSource, ParquetSource, actions_csv, read_actions, read_csv, read_instruments, sort_actions
from firebot.validate import BarsRefused, bar_ends, session_days, session_starts

SHARED = Path(__file__).resolve().parent.parent.parent/"shared"/"data"
real = pytest.mark.skipif(not SHARED.is_dir(), reason="the folder of real market data is not there")

SPLIT, DIVIDEND, RENAME = ActionKind


def split(symbol: str, day: date, new: int, old: int = 1) -> CorporateAction: return CorporateAction(symbol, day, SPLIT, new, old)
def dividend(symbol: str, day: date, amount: str) -> CorporateAction:
    return CorporateAction(symbol, day, DIVIDEND, amount=Decimal(amount))
def rename(old: str, day: date, new: str) -> CorporateAction: return CorporateAction(old, day, RENAME, new_symbol=new)


def make_bars(symbol: str, days: list[date], closes: list[float], exchange: str = "XNYS") -> Bars:
    "Daily bars whose four prices are the close"
    starts = session_starts(np.array([d.toordinal() - 719163 for d in days], np.int64), exchange)
    return Bars(symbol, "1d", starts, *[np.array(closes, float)]*4, np.full(len(days), 100.0))


# ---------------------------------------------------------------- exchanges and calendars

@pytest.mark.parametrize("exchange", EXCHANGES)
def test_exchanges_are_the_library_s(exchange: str) -> None:
    "Zone, opening and close of the regular session: those of nearly every day since 2025, in winter and in summer"
    import exchange_calendars as xcals
    days, opens, closes = hours(date(2025, 1, 1), date(2026, 6, 30), exchange)
    x = EXCHANGES[exchange]
    assert str(xcals.get_calendar(exchange, start="2025-01-01", end="2026-06-30").tz) == x.zone
    plain = Counter((to_ns(session_open(d, exchange)) == o, to_ns(session_close(d, exchange)) == c)
                    for d, o, c in zip(days.tolist(), opens.tolist(), closes.tolist()))
    assert plain[True, True] >= 0.97*len(days) and plain[False, False] == 0


def test_half_days_only_end_late() -> None:
    "The regular close is the library's or later, on the days that are known to be short, over all years of the shared data"
    days, opens, closes = hours(date(1998, 1, 1), date(2021, 12, 31))
    starts = session_starts(days.astype(np.int64))
    late = bar_ends(starts, "1d") - closes
    odd = [d for d, o in zip(days, opens - starts) if o]
    assert (late >= 0).all() and 45 <= (late > 0).sum() <= 60 and len(odd) <= 3
    assert np.array_equal(session_days(closes - 1), session_days(bar_ends(starts, "1d") - 1))


def test_a_calendar_is_looked_up_only_if_it_must_be(root: Path) -> None:
    "An exchange's own costs nothing; an alias of the library is known; nonsense is refused"
    code = ("import sys; from firebot.models import EXCHANGES, Instrument\n"
            "for x in EXCHANGES: Instrument('A', x)\n"
            "print('pandas' in sys.modules); Instrument('A', 'XNYS', 'CME'); print('exchange_calendars' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.split() == ["False", "True"]
    with pytest.raises(DataError, match="unknown calendar 'MOON'"): Instrument("A", "XNYS", "MOON")
    with pytest.raises(DataError, match="unknown exchange 'MOON'"): Instrument("A", "MOON")
    for bad in ("0", "-1", "NaN", "Infinity"):
        with pytest.raises(DataError, match="must be positive"): Instrument("A", lot=Decimal(bad))


@given(st.dates(date(1990, 1, 1), date(2024, 12, 1)), st.sampled_from(["XNYS", "XLON", "XASX", "XTSE", "24/5", "24/7"]))
@settings(max_examples=60)
def test_neighbouring_sessions(day: date, exchange: str) -> None:
    "No session lies between a day and its neighbours, which are sessions"
    after, before = next_session(day, exchange), previous_session(day, exchange)
    assert before < day < after
    found = sessions(before, after, exchange).tolist()
    assert found in ([before, after], [before, day, after])
    assert previous_session(after, exchange) in (before, day) and next_session(before, exchange) in (day, after)


def test_what_a_calendar_cannot_say(monkeypatch: pytest.MonkeyPatch) -> None:
    "Years without facts, names that nobody has, a market that does not open again"
    with pytest.raises(DataError, match="no calendar for the years 1980"): sessions(date(1980, 1, 1), date(1981, 1, 1), "XTKS")
    assert len(sessions(date(1997, 1, 1), date(1997, 1, 31), "XTKS"))  # facts that begin inside a decade
    monkeypatch.setattr(calendars, "_REACH", timedelta(days=2))
    with pytest.raises(DataError, match="no session within 2 days after 2024-03-28"): next_session(date(2024, 3, 28))
    with pytest.raises(DataError, match="no session within 2 days before 2024-04-01"): previous_session(date(2024, 4, 1), "XLON")
    assert is_open(np.array([], np.int64)).shape == (0,)


@pytest.mark.parametrize("exchange", ["XNYS", "XTKS", "XHKG", "XASX", "24/5", "24/7"])
def test_open_minutes_are_the_library_s(exchange: str) -> None:
    "Random minutes of a year, and each side of every opening and close"
    import exchange_calendars as xcals
    import pandas as pd
    calendar = xcals.get_calendar(exchange, start="2012-01-01", end="2013-12-31", side="left")
    rng, year = random.Random(1), to_ns(datetime(2012, 6, 1, tzinfo=UTC))
    minutes = [year + rng.randrange(300*1440)*60_000_000_000 for _ in range(150)]
    _, opens, closes = hours(date(2012, 7, 1), date(2012, 7, 20), exchange)
    minutes += [int(t) + k*60_000_000_000 for x in (opens, closes) for t in x for k in (-1, 0)]
    expected = [bool(calendar.is_open_on_minute(pd.Timestamp(t, tz="UTC"), ignore_breaks=False)) for t in minutes]
    assert is_open(np.array(minutes), exchange).tolist() == expected
    assert exchange == "24/7" or {True, False} == set(expected)


# ---------------------------------------------------------------- instruments from a table

HEAD = "symbol,exchange,calendar,sector,currency,asset_class,tick,lot"
BAD_INSTRUMENTS = {  # name: (lines below the header or the whole file, what the refusal must say)
    "unknown column": ("symbol,lott\nIBM,1", "column 'lott' is not known here; did you mean 'lot'"),
    "column of another case": ("Symbol\nIBM", "column 'Symbol' is not known here; did you mean 'symbol'"),
    "column twice": ("symbol,tick,tick\nIBM,1,1", "'tick' comes twice"),
    "no symbol column": ("exchange\nXNYS", "column 'symbol' is missing"),
    "missing symbol": (",XNYS,,,,,,", "row 1, symbol '' is no symbol"),
    "symbol twice": ("IBM,,,,,,,\nIBM,,,,,,,", "row 2, symbol 'IBM' comes twice"),
    "case": ("IBM,,,,,,,\nibm,,,,,,,", "row 2, symbol 'ibm' looks like 'IBM'"),
    "l for I": ("IBM,,,,,,,\nlBM,,,,,,,", "row 2, symbol 'lBM' looks like 'IBM'"),
    "1 for I": ("IBM,,,,,,,\nMSFT,,,,,,,\n1BM,,,,,,,", "row 3, symbol '1BM' looks like 'IBM'"),
    "0 for O": ("GOOG,,,,,,,\nG0OG,,,,,,,", "row 2, symbol 'G0OG' looks like 'GOOG'"),
    "full width": ("ＩＢＭ,,,,,,,", "row 1, symbol 'ＩＢＭ' is no symbol"),
    "Cyrillic": ("IВM,,,,,,,", "row 1, symbol 'IВM' is no symbol"),
    "path": ("../IBM,,,,,,,", "is no symbol"), "formula": ("=IBM,,,,,,,", "is no symbol"),
    "space": ("IBM ,,,,,,,", "row 1, symbol 'IBM ' is no symbol"),
    "unknown exchange": ("IBM,NYSE,,,,,,", "row 1, exchange 'NYSE' is no exchange; there are XNYS"),
    "unknown calendar": ("IBM,,MOON,,,,,", "row 1, calendar 'MOON' is no calendar"),
    "sector formula": ("IBM,,,=1+1,,,,", "row 1, sector '=1+1' is no plain label"),
    "currency": ("IBM,,,,usd,,,", "row 1, currency 'usd' is no currency code"),
    "class": ("IBM,,,,,share,,", "row 1, asset_class 'share' is none of equity, etf"),
    "class of another case": ("IBM,,,,,Equity,,", "row 1, asset_class 'Equity'"),
    "tick zero": ("IBM,,,,,,0.00,", "row 1, tick '0.00' is no positive number"),
    "tick negative": ("IBM,,,,,,-0.01,", "row 1, tick '-0.01'"), "tick word": ("IBM,,,,,,cent,", "row 1, tick 'cent'"),
    "tick nan": ("IBM,,,,,,nan,", "row 1, tick 'nan'"), "tick exponent": ("IBM,,,,,,1e-2,", "row 1, tick '1e-2'"),
    "tick comma": ('IBM,,,,,,"0,01",', "row 1, tick '0,01'"), "lot infinite": ("IBM,,,,,,,inf", "row 1, lot 'inf'"),
    "lot zero": ("IBM,,,,,,,0", "row 1, lot '0'"), "short row": ("IBM,,", "row 1, cells"),
}

def table(text: str) -> bytes: return (text if text.startswith(("symbol", "Symbol", "exchange")) else f"{HEAD}\n{text}").encode() + b"\n"


@pytest.mark.parametrize("name", BAD_INSTRUMENTS)
def test_broken_instruments(name: str) -> None:
    "Refused whole, with file, row, column and value"
    text, says = BAD_INSTRUMENTS[name]
    with pytest.raises(BarsRefused) as e: read_instruments(read_csv(table(text), "instruments.csv"), "instruments.csv")
    assert says in str(e.value) and str(e.value).startswith("instruments.csv: ")


def test_instruments_beside_the_bars(tmp_path: Path) -> None:
    "CSV and typed Parquet say the same; a configured record wins; two tables are one too many; provenance names them"
    lines = ["date,open,high,low,close,volume", "2012-01-03,1,1,1,1,1"]
    for symbol in ("SAP", "BTC-USD", "XOM"): (tmp_path/f"{symbol}.csv").write_text("\n".join(lines) + "\n")
    (tmp_path/"instruments.csv").write_text(f"{HEAD}\nSAP,XETR,,Software,EUR,,0.02,\nBTC-USD,24/7,,,,crypto,,0.00000001\nIBM,,NYSE,,,,,\n")
    source = CsvSource(tmp_path)
    assert source.get_symbols() == ["BTC-USD", "SAP", "XOM"] and source.instrument("XOM") == Instrument("XOM")
    assert source.instrument("SAP") == Instrument("SAP", "XETR", "XETR", "Software", "EUR", tick=Decimal("0.02"))
    coin = source.instrument("BTC-USD")
    assert (coin.calendar, coin.asset_class, coin.lot) == ("24/7", AssetClass.CRYPTO, Decimal("1e-8"))
    assert from_ns(source.bars("SAP").timestamp[0]).isoformat() == "2012-01-03T08:00:00+00:00"  # nine o'clock in Frankfurt
    assert [f.name for f in source.provenance("SAP")] == ["SAP.csv", "instruments.csv"]
    assert CsvSource(tmp_path, instruments=[Instrument("SAP")]).instrument("SAP") == Instrument("SAP")
    typed = pa.table(dict(symbol=["SAP", "BTC-USD"], exchange=["XETR", "24/7"], currency=["EUR", None], tick=[0.02, None],
                          lot=pa.array([None, Decimal("0.00000001")]), asset_class=[None, "crypto"], sector=["Software", None]))
    pq.write_table(typed, tmp_path/"instruments.parquet")
    with pytest.raises(DataError, match="two tables of instruments"): source.__class__(tmp_path).instrument("SAP")
    (tmp_path/"instruments.csv").unlink()
    again = CsvSource(tmp_path)
    assert [again.instrument(s) for s in ("SAP", "BTC-USD")] == [source.instrument(s) for s in ("SAP", "BTC-USD")]
    assert ParquetSource(tmp_path).get_symbols() == []


# ---------------------------------------------------------------- actions from a table

ACTION_HEAD = "symbol,ex_date,kind,ratio,amount,new_symbol"
BAD_ACTIONS = {
    "rename without name": ("FB,2022-06-09,rename,,,", "row 1, new_symbol '' does not fit"),
    "rename to itself": ("FB,2022-06-09,rename,,,FB", "row 1, new_symbol 'FB' is the old symbol again"),
    "rename to a path": ("FB,2022-06-09,rename,,,../META", "row 1, new_symbol '../META' is no symbol"),
    "rename with a ratio": ("FB,2022-06-09,rename,2:1,,META", "row 1, ratio '2:1' does not fit: a rename has new_symbol only"),
    "dividend with a name": ("FB,2022-06-09,dividend,,1,META", "row 1, new_symbol 'META' does not fit: a dividend has amount only"),
    "split with a name": ("FB,2022-06-09,split,2:1,,META", "row 1, new_symbol 'META' does not fit"),
    "split of nothing": ("FB,2022-06-09,split,3:3,,", "row 1, ratio '3:3' is nothing; it must change the shares"),
    "decimal split": ("FB,2022-06-09,split,1.5:1,,", "row 1, ratio '1.5:1' is not a ratio"),
    "capital kind": ("FB,2022-06-09,Split,2:1,,", "row 1, kind 'Split' is none of split, dividend, rename"),
    "two new names": ("FB,2022-06-09,rename,,,META\nFB,2022-06-09,rename,,,MVRS", "row 2, ex_date '2022-06-09' comes twice for FB"),
    "one name for two": ("FB,2022-06-09,rename,,,META\nMETV,2022-06-09,rename,,,META", "row 2, new_symbol 'META' is taken twice"),
    "split twice": ("FB,2022-06-09,split,2:1,,\nFB,2022-06-09,split,2:1,,", "row 2, ex_date '2022-06-09' comes twice"),
    "no such day": ("FB,2022-06-31,split,2:1,,", "row 1, ex_date '2022-06-31' is not a date"),
    "full-width digits": ("FB,2022-06-09,split,２:1,,", "row 1, ratio '２:1' is not a ratio"),
    "amount in words": ("FB,2022-06-09,dividend,,$1,", "row 1, amount '$1' is not an amount"),
    "unknown column": ("symbol,ex_date,kind,ratio,amount,note\nFB,2022-06-09,split,2:1,,x", "column 'note' is not known here"),
    "missing column": ("symbol,ex_date,kind,ratio\nFB,2022-06-09,split,2:1", "column 'amount' is missing"),
}

@pytest.mark.parametrize("name", BAD_ACTIONS)
def test_broken_actions(name: str) -> None:
    "Refused whole, with file, row, column and value"
    text, says = BAD_ACTIONS[name]
    data = text if text.startswith("symbol") else f"{ACTION_HEAD}\n{text}"
    with pytest.raises(BarsRefused) as e: read_actions(data.encode() + b"\n", "actions.csv")
    assert says in str(e.value)


def test_all_findings_are_listed_in_the_order_of_the_file() -> None:
    "Not only the first"
    text = f"{ACTION_HEAD}\nFB,2022-06-09,split,2:1,,\nFB,x,split,2:1,,\nFB,2022-06-09,split,2:1,,\nFB,2022-06-10,merger,,,\n"
    with pytest.raises(BarsRefused) as e: read_actions(text.encode(), "actions.csv")
    assert [(f.row, f.column) for f in e.value.findings] == [(2, "ex_date"), (3, "ex_date"), (4, "kind")]


@pytest.mark.parametrize("bad", [dict(kind=SPLIT, numerator=0), dict(kind=SPLIT, amount=Decimal(1)), dict(kind=DIVIDEND),
                                 dict(kind=DIVIDEND, amount=Decimal("nan")), dict(kind=DIVIDEND, amount=Decimal(-1)),
                                 dict(kind=DIVIDEND, amount=Decimal(1), numerator=2), dict(kind=RENAME), dict(kind=RENAME, new_symbol="A"),
                                 dict(kind=RENAME, new_symbol="B", amount=Decimal(1)), dict(kind=DIVIDEND, amount=Decimal("Infinity"))])
def test_what_is_no_action(bad: dict) -> None:
    "The record itself says no"
    with pytest.raises(DataError, match="is no action"): CorporateAction("A", date(2012, 1, 3), **bad)


ANY_ACTION = st.builds(lambda s, d, k, n, o, a: split(s, d, n, o) if k == "split" else dividend(s, d, str(Decimal(a)/1000)) if k == "dividend"
                       else rename(s, d, s + "X"), st.sampled_from("ABC"), st.dates(date(2000, 1, 1), date(2001, 1, 1)),
                       st.sampled_from(["split", "dividend", "rename"]), st.integers(1, 60), st.integers(61, 99), st.integers(1, 10**6))

@given(st.lists(ANY_ACTION, max_size=12, unique_by=lambda a: (a.symbol, a.ex_date, a.kind)), st.randoms(use_true_random=False))
def test_order_of_rows_says_nothing(actions: list[CorporateAction], rng: random.Random) -> None:
    "Written, shuffled and read again the events are the same, in the same order"
    header, *lines = actions_csv(actions).splitlines()
    rng.shuffle(lines)
    assert read_actions("\n".join([header, *lines, ""]).encode(), "a") == sort_actions(actions)


# ---------------------------------------------------------------- on the timeline

WEEK = [date(2012, 1, d) for d in (3, 4, 5, 6, 9)]

def test_actions_around_the_bars() -> None:
    "A day without a bar waits for the next one; before the first and after the last nothing happens; strangers are refused"
    bars = make_bars("A", WEEK, [10, 20, 10, 30, 30])
    def factor(*actions: CorporateAction) -> list[float]: return forward_factor(make_panel([bars], [Instrument("A")], actions))[:, 0].tolist()
    assert factor(split("A", date(2012, 1, 7), 3)) == [1, 1, 1, 1, 3]  # a Saturday
    assert factor(split("A", date(2011, 12, 30), 3)) == factor(split("A", date(2012, 1, 10), 3)) == [1]*5
    assert factor(split("A", WEEK[0], 3)) == [1]*5  # nothing before to be adjusted
    assert factor(split("A", WEEK[1], 3, 2)) == [1, 1.5, 1.5, 1.5, 1.5] and factor(split("A", WEEK[2], 1, 20))[2] == 1/20
    assert factor(split("A", WEEK[1], 21, 20))[1] == 21/20  # a stock dividend of 5 %
    assert factor(dividend("A", WEEK[2], "19.99"))[2] == pytest.approx(1/(1 - 19.99/20))  # special, but less than the price
    assert factor(rename("A", WEEK[2], "B")) == [1]*5
    for much in ("20", "20.01", "1000"):
        with pytest.raises(DataError, match="leaves nothing"): factor(dividend("A", WEEK[2], much))
    with pytest.raises(DataError, match="leaves nothing"):  # per new share: 5 after the split
        factor(split("A", WEEK[2], 4), dividend("A", WEEK[2], "5"))
    with pytest.raises(DataError, match="B 2012-01-04: a split of a symbol without bars"): factor(split("B", WEEK[1], 2))


EVENTS = st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.sampled_from([(2, 1), (3, 2), (1, 20), (21, 20), (7, 1), (1, 3)]),
                            st.integers(1, 9999)), max_size=8, unique_by=lambda e: (e[0], e[1]))
CENTS = st.lists(st.integers(100, 200_000), min_size=2, max_size=30)


def scene(cents: list[int], events: list) -> tuple[Bars, list[CorporateAction]]:
    "Bars of a share on consecutive days, and events among them; dividends below the last price in new shares"
    days = [date(2012, 1, 2) + timedelta(i) for i in range(len(cents))]
    actions, ratios = [], {i: r for i, is_split, r, _ in events if is_split}
    for i, is_split, ratio, part in events:
        if not 0 < i < len(days): continue
        if is_split: actions.append(split("A", days[i], *ratio))
        else:
            last = Fraction(cents[i - 1], 100) / Fraction(*ratios.get(i, (1, 1)))
            amount = (Decimal(last.numerator)/Decimal(last.denominator)*part/10_000).quantize(Decimal("0.0001"))
            if 0 < amount < last: actions.append(dividend("A", days[i], str(amount)))
    return make_bars("A", days, [c/100 for c in cents], "24/7"), actions


@given(CENTS, EVENTS)
def test_a_holder_s_wealth_is_the_forward_series(cents: list[int], events: list) -> None:
    "Shares and cash through any chain of events, dividends reinvested, in exact fractions"
    bars, actions = scene(cents, events)
    adjusted = forward_adjusted(make_panel([bars], [Instrument("A", "24/7")], actions))
    shares, cash = Fraction(1), Fraction(0)
    for i in range(len(cents)):
        today = sorted((a for a in actions if (a.ex_date - date(2012, 1, 2)).days == i), key=lambda a: a.kind != SPLIT)
        last = Fraction(cents[i - 1], 100)
        for a in today:
            before = shares * last + cash
            if a.kind == SPLIT: shares, last = shares * Fraction(a.numerator, a.denominator), last * Fraction(a.denominator, a.numerator)
            else: cash, last = cash + shares * Fraction(a.amount), last - Fraction(a.amount)
            assert shares * last + cash == before  # an event makes nobody richer
        if cash: shares, cash = shares + cash / last, Fraction(0)
        wealth = shares * Fraction(cents[i], 100)
        assert float(wealth) == pytest.approx(adjusted.close[i, 0], rel=1e-12)


@given(CENTS, EVENTS, st.randoms(use_true_random=False))
def test_forward_series_is_final_and_backward_is_proportional(cents: list[int], events: list, rng: random.Random) -> None:
    "Every prefix to the bit, in any order of the events; both series have the same returns; volume follows splits only"
    bars, actions = scene(cents, events)
    instrument = [Instrument("A", "24/7")]
    panel = make_panel([bars], instrument, actions)
    whole = forward_adjusted(panel)
    rng.shuffle(actions)
    assert forward_adjusted(make_panel([bars], instrument, actions)).close.tobytes() == whole.close.tobytes()
    for t in range(1, len(panel)):
        known = [a for a in actions if (a.ex_date - date(2012, 1, 2)).days < t]  # nobody knew the others
        part = forward_adjusted(make_panel([bars[:t]], instrument, known))
        for c in ("open", "high", "low", "close", "volume"): assert getattr(part, c).tobytes() == getattr(whole, c)[:t].tobytes()
    back = back_adjusted(panel)
    assert np.allclose(back.close/back.close[0], whole.close/whole.close[0], rtol=1e-12)
    assert back.close[-1] == pytest.approx(panel.close[-1]) and back.volume[-1] == panel.volume[-1]
    steps = np.prod([a.numerator/a.denominator for a in actions if a.kind == SPLIT] or [1.0])
    assert whole.volume[-1, 0] == pytest.approx(100/steps)


def test_ex_close_rule_knows_the_evening() -> None:
    "The rule of the sample's publisher fails where ours holds: the ex-date's own factor moves with its close"
    def factor(close: float, rule: str) -> float:
        panel = make_panel([make_bars("A", WEEK[:2], [100, close])], [Instrument("A")], [dividend("A", WEEK[1], "2")])
        return float(back_adjusted(panel, rule).open[0, 0])
    assert factor(98, "last_close") == factor(150, "last_close") == pytest.approx(98)
    assert factor(98, "ex_close") == pytest.approx(98) and factor(150, "ex_close") == pytest.approx(100*150/152)


# ---------------------------------------------------------------- renames

class Memory(DataSource):
    "Bars and events in memory"
    def __init__(self, bars: dict[str, Bars], actions: list[CorporateAction]) -> None: self.held, self.events = bars, actions
    def get_historical(self, *_): raise NotImplementedError
    def subscribe(self, symbol: str) -> None: raise DataError("no live data")
    def get_symbols(self) -> list[str]: return list(self.held)
    def actions(self, symbol: str) -> tuple[CorporateAction, ...]:
        return sort_actions(a for a in self.events if a.symbol == symbol)
    def bars(self, symbol, start=None, end=None, resolution="1d"):
        days = session_days(self.held[symbol].timestamp).astype("datetime64[D]")
        lo = 0 if start is None else int(np.searchsorted(days, np.datetime64(start)))
        hi = len(days) if end is None else int(np.searchsorted(days, np.datetime64(end), side="right"))
        if lo >= hi: raise DataError(f"{symbol}: no bars")
        return self.held[symbol][lo:hi]


def test_lives_of_symbols() -> None:
    "A chain, a symbol that another company takes later, two names swapped, a symbol that comes back"
    d = [date(2010 + i, 1, 1) for i in range(10)]
    def names(symbol: str, renames: list, on: date = date.max) -> list[str]: return [x.symbol for x in lives(symbol, renames, on)]
    chain = [rename("A", d[1], "B"), rename("B", d[2], "C")]
    assert names("C", chain) == names("A", chain, d[0]) == names("B", chain, d[1]) == ["A", "B", "C"]
    assert names("A", chain) == ["A"]  # whoever has it after it was given up
    both = [rename("A", d[1], "B"), rename("B", d[1], "C")]  # one leaves on the day on which another comes
    assert names("C", both) == ["B", "C"] and names("B", both) == ["A", "B"]
    swap = [rename("A", d[1], "B"), rename("B", d[1], "A")]
    assert names("A", swap) == ["B", "A"] and names("B", swap) == ["A", "B"]
    back = [rename("A", d[1], "B"), rename("B", d[2], "A")]
    assert names("A", back) == ["A", "B", "A"] and names("B", back, d[1]) == ["A", "B", "A"] and names("B", back) == ["B"]
    for renames in (chain, both, swap, back):
        for symbol in "ABC":
            for on in d[:4]:
                found = lives(symbol, renames, on)
                assert all(x.end == y.start for x, y in zip(found, found[1:]))
                assert [x.symbol for x in found if x.start <= on < x.end] == [symbol]


def stitched_example(extra: list[CorporateAction] | None = None) -> Memory:
    "Facebook becomes Meta, whose symbol was a fund's; later another company takes FB"
    d = [date(2022, 6, k) for k in (6, 7, 8, 9, 10)] + [date(2025, 6, k) for k in (2, 3)]
    return Memory(dict(FB=make_bars("FB", [*d[:3], *d[5:]], [190.25, 195.65, 196.64, 5.0, 5.1]),
                       META=make_bars("META", [date(2022, 1, 27), date(2022, 1, 28), *d[3:5]], [12.0, 11.95, 184.0, 175.57])),
                  [rename("FB", d[3], "META"), split("META", date(2022, 1, 28), 2), dividend("META", d[4], "0.50"),
                   dividend("FB", d[1], "0.25"), dividend("FB", d[6], "0.01"), *(extra or [])])


def test_a_position_goes_on_under_the_new_symbol() -> None:
    "Bars, events and prices of the company, raw, and nothing of the two others"
    panel = load_panel(stitched_example(), ["META"])
    assert panel.close[:, 0].tolist() == [190.25, 195.65, 196.64, 184.0, 175.57]
    assert [str(a) for a in panel.actions.amount] == ["0.25", "0.50"] and panel.actions.row.tolist() == [1, 4]
    both = load_panel(stitched_example())
    assert both.symbols == ("FB", "META") and both.bars(0).close.tolist() == [5.0, 5.1]  # the company that has FB today
    assert follow(stitched_example()).bars("META", date(2022, 6, 8), date(2022, 6, 9)).close.tolist() == [196.64, 184.0]
    with pytest.raises(DataError, match="META: no bars from 2023-01-01"): follow(stitched_example()).bars("META", date(2023, 1, 1))
    plain = Memory(dict(IBM=make_bars("IBM", WEEK, [1, 2, 3, 4, 5])), [])
    assert follow(plain) is plain


def test_the_kernel_carries_the_position_over() -> None:
    "Bought as FB, worth more as META: one fill, the dividends of both names, and raw closes in the equity"
    panel = load_panel(stitched_example(), ["META"])
    setup = Setup((Seat("hold", "fixed_units", Decimal(100)),), panel.instruments)
    result = backtest(panel, {"hold": np.array([[1.0], *[[np.nan]]*4])}, setup)
    bought = 100_000_00 - 195_65*100  # at the open of the second day, on which the dividend had gone already
    worth = [100_000_00, bought + 195_65*100, bought + 196_64*100, bought + 184_00*100, bought + 175_57*100 + 50*100]
    assert result.equity[:, 0].tolist() == worth


def test_an_event_of_a_symbol_that_was_given_up() -> None:
    "Refused where nobody has the symbol any more, because it would be lost"
    source = stitched_example()
    source.held["FB"] = source.held["FB"][:3]
    source.events = [a for a in source.events if a.ex_date.year < 2025] + [dividend("FB", date(2022, 6, 10), "1")]
    with pytest.raises(DataError, match="FB 2022-06-10: a dividend after it became META on 2022-06-09; list it under META"):
        load_panel(source, ["META"])
    source.events.pop()
    stitched = follow(source)
    assert stitched.get_symbols() == ["META"] and stitched.bars("FB").close.tolist() == stitched.bars("META").close.tolist()
    with pytest.raises(DataError, match="the same company"): load_panel(source, ["META", "FB"])
    with pytest.raises(DataError, match="no live data"): stitched.subscribe("META")


def test_a_history_filed_under_the_newest_name_stays_whole() -> None:
    "Nothing to stitch if the old symbol has no bars, nor if the new one has none"
    days = [date(2022, 6, 8), date(2022, 6, 9)]
    new = Memory(dict(META=make_bars("META", days, [196.64, 184.0])), [rename("FB", days[1], "META")])
    old = Memory(dict(FB=make_bars("FB", days, [196.64, 184.0])), [rename("FB", days[1], "META")])
    assert load_panel(new).close[:, 0].tolist() == load_panel(old).close[:, 0].tolist() == [196.64, 184.0]


@given(st.lists(st.tuples(st.integers(1, 59), st.integers(0, 3), st.sampled_from("ABCDEF")), max_size=10, unique_by=lambda e: e[0]),
       st.permutations(range(60)))
@example([], list(range(60)))
def test_companies_are_put_together_again(moves: list, order: list[int]) -> None:
    "Four companies change symbols at will, files are by symbol: each comes back whole, with its own events, whatever the file's order"
    first = date(2012, 1, 2)
    day = [first + timedelta(i) for i in range(60)]
    name = {c: [s]*60 for c, s in enumerate("ABCD")}
    renames = []
    for i, c, symbol in sorted(moves):
        if symbol in (n[i] for n in name.values()): continue  # taken
        renames.append(rename(name[c][i], day[i], symbol))
        name[c][i:] = [symbol]*(60 - i)
    price = {c: [100.0*(c + 1) + i for i in range(60)] for c in name}
    held: dict[str, list[tuple[date, float]]] = {}
    for i in range(60):
        for c, n in name.items(): held.setdefault(n[i], []).append((day[i], price[c][i]))
    paid = {c: [dividend(name[c][i], day[i], f"{c + 1}.{i:02}") for i in range(5, 60, 9)] for c in name}
    events = [*renames, *(a for own in paid.values() for a in own)]
    events = [events[k] for k in sorted(range(len(events)), key=lambda k: order[k % 60])]
    bars = {s: make_bars(s, [d for d, _ in rows], [p for _, p in rows], "24/7") for s, rows in held.items()}
    class Coins(Memory):
        def instrument(self, symbol: str) -> Instrument: return Instrument(symbol, "24/7")
        def bars(self, symbol, start=None, end=None, resolution="1d"): return self.held[symbol]
    source = follow(Coins(bars, events))
    assert set(source.get_symbols()) == {n[-1] for n in name.values()}
    for c, n in name.items():
        assert source.bars(n[-1]).close.tolist() == price[c]
        assert [(a.ex_date, a.amount, a.symbol) for a in source.actions(n[-1])] == [(a.ex_date, a.amount, n[-1]) for a in paid[c]]
        assert not renames or isinstance(source, Stitched)
    panel = load_panel(source)
    assert not np.isnan(panel.close).any() and len(panel) == 60


# ---------------------------------------------------------------- what others publish

KNOWN = {  # Symbol: events that were in the papers
    "aapl": [split("AAPL", date(2000, 6, 21), 2), split("AAPL", date(2005, 2, 28), 2), split("AAPL", date(2014, 6, 9), 7),
             split("AAPL", date(2020, 8, 31), 4), dividend("AAPL", date(2012, 8, 9), "2.65"), dividend("AAPL", date(2014, 5, 8), "3.29"),
             dividend("AAPL", date(2014, 8, 7), "0.47"), dividend("AAPL", date(2020, 11, 6), "0.205")],
    "aig": [split("AIG", date(1998, 8, 3), 3, 2), split("AIG", date(1999, 8, 2), 5, 4), split("AIG", date(2000, 7, 31), 3, 2),
            split("AIG", date(2009, 7, 1), 1, 20), dividend("AIG", date(2008, 9, 3), "0.22"), dividend("AIG", date(2013, 9, 10), "0.1")],
    "ibm": [split("IBM", date(1999, 5, 27), 2), dividend("IBM", date(2012, 5, 8), "0.85"), dividend("IBM", date(2021, 2, 9), "1.63")],
    "spy": [dividend("SPY", date(2008, 12, 19), "0.719"), dividend("SPY", date(2012, 9, 21), "0.779"), dividend("SPY", date(2020, 12, 18), "1.58")]}


@real
@pytest.mark.parametrize("name", KNOWN)
def test_factor_files(name: str) -> None:
    "The known events, and our backward series is theirs: raw × price factor × split factor"
    data, symbol = (SHARED/"corporate_actions"/f"{name}.csv").read_bytes(), name.upper()
    actions = read_factors(data, f"{name}.csv", symbol)
    assert not set(KNOWN[name]) - set(actions)
    splits = {a for a in actions if a.kind == SPLIT}
    assert splits == {a for a in KNOWN[name] if a.kind == SPLIT} or (name == "aig" and len(splits) == 4)
    bars = ParquetSource(SHARED/"daily").bars(symbol)
    panel = make_panel([bars], [Instrument(symbol)], actions)
    days = session_days(panel.start).astype("datetime64[D]")
    assert {a.ex_date for a in actions} <= set(days.tolist())
    rows = [line.split(",") for line in data.decode().split()]
    last = np.array([f"{d[:4]}-{d[4:6]}-{d[6:]}" for d, *_ in rows], "datetime64[D]")
    factor = np.array([float(p)*float(s) for _, p, s, _ in rows])[np.searchsorted(last, days)]
    ours, theirs = back_adjusted(panel).close[:, 0], panel.close[:, 0]*factor
    assert np.abs(ours/theirs - 1).max() < 2e-5  # their files keep six or seven digits
    assert read_actions(actions_csv(actions).encode(), "actions.csv") == actions


BAD_FACTORS = {
    "cut off": (b"20200806,0.99,0.25,455.61\n", "does not end with factors of 1"), "empty": (b"", "does not end with factors of 1"),
    "dash": (b"2020-08-06,0.99,0.25,455.61\n20501231,1,1,0\n", "row 1, date '2020-08-06' is not a date such as"),
    "no such day": (b"20200231,0.99,0.25,1\n20501231,1,1,0\n", "row 1, date '20200231'"),
    "order": (b"20200806,0.99,1,1\n20200805,0.99,1,1\n20501231,1,1,0\n", "row 2, date '20200805' does not come after"),
    "day twice": (b"20200806,0.99,1,1\n20200806,0.99,1,1\n20501231,1,1,0\n", "row 2, date '20200806' does not come after"),
    "zero": (b"20200806,0,1,1\n20501231,1,1,0\n", "row 1, price factor '0' is no positive number"),
    "negative": (b"20200806,-1,1,1\n20501231,1,1,0\n", "row 1, price factor '-1'"),
    "word": (b"20200806,0.5,one,1\n20501231,1,1,0\n", "row 1, split factor 'one'"),
    "nan": (b"20200806,0.5,1,nan\n20501231,1,1,0\n", "row 1, close 'nan'"),
    "short row": (b"20200806,0.5\n20501231,1,1,0\n", "row 1, cells"),
    "rising": (b"20200806,1.5,1,100\n20501231,1,1,0\n", "no dividend does that"),
    "no close": (b"20200806,0.5,1,0\n20501231,1,1,0\n", "no dividend does that")}

@pytest.mark.parametrize("name", BAD_FACTORS)
def test_broken_factor_files(name: str) -> None:
    "Refused with the place and the reason"
    data, says = BAD_FACTORS[name]
    with pytest.raises(DataError) as e: read_factors(data, "aapl.csv", "AAPL")
    assert says in str(e.value)


def test_split_and_dividend_of_one_day_in_a_factor_file() -> None:
    "Two for one, and a dividend of a dollar per new share on a last close of 100: the fall is to half of 98"
    data = b"20200806,0.98,0.5,100\n20501231,1,1,0\n"
    assert read_factors(data, "x.csv", "X") == (split("X", date(2020, 8, 7), 2), dividend("X", date(2020, 8, 7), "1"))


@given(st.integers(1, 10**9), st.integers(1, 10**9), st.integers(1, 10**6))
def test_simplest_numbers(p: int, q: int, width: int) -> None:
    "Inside the interval, and nothing with a smaller denominator or fewer digits is"
    low = Fraction(p, q)
    high = low + Fraction(1, width)
    found, short = simplest_fraction(low, high), Fraction(simplest_decimal(low, high))
    assert low <= found <= high and low <= short <= high
    assert all(-(-low*d // 1) > high*d // 1 for d in range(1, min(found.denominator, 300)))
    digits = max(0, -simplest_decimal(low, high).as_tuple().exponent)
    assert digits == 0 or -(-low*10**(digits - 1) // 1) > high*10**(digits - 1) // 1


@given(st.lists(st.integers(2_000, 60_000), min_size=30, max_size=30), st.sampled_from(["last_close", "ex_close"]), st.booleans(),
       st.dictionaries(st.integers(1, 29), st.one_of(st.sampled_from([(2, 1), (3, 2), (1, 20), (4, 1), (1, 7), (5, 4)]), st.integers(1, 300)),
                       max_size=5))
def test_derived_events_are_the_real_ones(cents: list[int], rule: str, rounded: bool, events: dict) -> None:
    "From any raw closes around any events, all digits or six of them, by both rules of adjustment"
    days = [date(2012, 1, 2) + timedelta(i) for i in range(30)]
    close = [cents[0]/100]
    for i in range(1, 30):  # the raw price moves with a split, and by at most a tenth otherwise
        ratio = events[i] if isinstance(events.get(i), tuple) else (1, 1)
        close.append(round(close[-1]*ratio[1]/ratio[0]*(1 + (cents[i] % 200 - 100)/1000), 2))
    assume(min(close) > 8 and all(isinstance(e, tuple) or e < 9*close[i - 1] for i, e in events.items()))
    actions = [split("A", days[i], *e) if isinstance(e, tuple) else dividend("A", days[i], str(Decimal(e)/100)) for i, e in events.items()]
    panel = make_panel([make_bars("A", days, close, "24/7")], [Instrument("A", "24/7")], actions)
    adjusted = back_adjusted(panel, rule).close[:, 0]
    if rounded: adjusted = adjusted.round(9)
    unit = Decimal("1e-9") if rounded else Decimal("1e-12")
    assert derive(days, close, adjusted.tolist(), "A", rule, unit) == sort_actions(actions)


def test_what_cannot_be_derived() -> None:
    "Two kinds on one day, a factor that falls, rows of another length, a rule that nobody has"
    days = WEEK[:2]
    with pytest.raises(DataError, match="A 2012-01-04: the factor changes by 0.49.*list the events by hand"):
        derive(days, [100.0, 49.0], [49.0, 49.0], "A")
    with pytest.raises(DataError, match="neither"): derive(days, [100.0, 100.0], [101.0, 100.0], "A")
    with pytest.raises(DataError, match="no rule"): derive(days, [1.0, 1.0], [1.0, 1.0], "A", "yahoo")
    with pytest.raises(ValueError, match="shorter|longer"): derive(days, [1.0, 1.0], [1.0], "A")
    assert derive(days, [100.0, 98.0], [98.0, 98.0], "A") == (dividend("A", days[1], "2"),)  # not 50 shares for 49
    assert derive(days, [33.37, 31.8], [33.37*20/21, 31.8], "A") == (split("A", days[1], 21, 20),)  # no dividend is that odd


# ---------------------------------------------------------------- different hours in one panel

@real
def test_one_row_a_day_of_shares_and_coins() -> None:
    "New York and round the clock: every day once, its last row, nothing later; or New York's sessions alone"
    source = ParquetSource(SHARED/"daily", ["SPY", "BTC-USD"], instruments=[Instrument("BTC-USD", "24/7", lot=Decimal("1e-8"))])
    panel = load_panel(source, start=date(2014, 12, 1), end=date(2018, 8, 13))
    assert main_exchange(panel) == "24/7"
    rows = daily_rows(panel)
    coin, spy = panel.symbols.index("BTC-USD"), panel.symbols.index("SPY")
    ends = panel.end[rows]
    assert (np.diff(rows) > 0).all() and rows[-1] == len(panel) - 1
    days = session_days(ends - 1, "24/7")
    assert len(set(days.tolist())) == len(days) and set(session_days(panel.end - 1, "24/7").tolist()) == set(days.tolist())
    quoted = ~np.isnan(panel.close[rows])
    assert quoted[:, coin].sum() == 1318 and (quoted[:, spy] & ~quoted[:, coin]).sum() == len(rows) - 1318
    own = daily_rows(panel, "XNYS")
    sessions_of_spy = np.unique(session_days(panel.start[~np.isnan(panel.close[:, spy])]))
    assert len(own) == len(sessions_of_spy) == 932
    for t, day in zip(own.tolist(), sessions_of_spy.tolist()):
        assert session_days(panel.end[t:t + 1] - 1)[0] == day and (t + 1 == len(panel) or session_days(panel.end[t + 1:t + 2] - 1)[0] > day)
    assert 250 < days_per_year(panel, "XNYS") < 254 and 355 < days_per_year(panel) < 366
    with pytest.raises(DataError, match="XLON: no symbol of the panel trades there; there are 24/7, XNYS|XNYS, 24/7"): daily_rows(panel, "XLON")


def test_daily_rows_of_minutes_and_of_one_exchange() -> None:
    "Within the day the last bar; with one exchange and daily bars every row"
    daily = make_panel([make_bars("A", WEEK, [1, 2, 3, 4, 5])], [Instrument("A")])
    assert daily_rows(daily).tolist() == daily_rows(daily, "XNYS").tolist() == [0, 1, 2, 3, 4]
    opening = session_starts(np.array([15_342, 15_343, 15_344], np.int64))  # three sessions, four hours each, the third torn
    starts = np.concatenate([opening[:2, None] + np.arange(4)*3_600_000_000_000, [opening[2] + np.arange(4)*3_600_000_000_000]]).ravel()[:10]
    hourly = make_panel([Bars("A", "1h", starts, *[np.ones(10)]*5)], [Instrument("A")])
    assert daily_rows(hourly).tolist() == [3, 7, 9]
    london = make_bars("L", [*WEEK[:2], WEEK[4]], [1, 2, 3], "XLON")
    mixed = make_panel([make_bars("A", WEEK, [1, 2, 3, 4, 5]), london], [Instrument("A"), Instrument("L", "XLON")])
    assert main_exchange(mixed) == "XNYS" and len(daily_rows(mixed)) == 5
    assert daily_rows(mixed, "XLON").tolist() == [1, 3, 7]  # London's three days, each with New York's evening
    assert np.isnan(days_per_year(daily[:1]))
