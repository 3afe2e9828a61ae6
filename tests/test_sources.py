"""Sources beyond their pages: a made-up market as properties, and Yahoo against a local server that misbehaves."""
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import firebot.synthetic
from firebot.calendars import hours
from firebot.catalog import SOURCES, make_source
from firebot.cells import session_days, to_arrow
from firebot.models import (
    COLUMNS,
    PRICES,
    QUOTE_COLUMNS,
    RESOLUTIONS,
    ActionKind,
    Bars,
    ConfigError,
    DataError,
    from_ns,
    session_open,
    to_ns,
)
from firebot.sources import DataSource, ParquetSource, SampleSource
from firebot.synthetic import UPDATES, SyntheticSource, synthetic
from firebot.validate import check
from firebot.yahoo import (
    CHART,
    GaveUp,
    Transient,
    YahooSource,
    chunk_size,
    chunks,
    fetch,
    later_splits,
    missing,
    refuse_status,
    retry,
    retry_after,
    shortest,
    yahoo_client,
)

ROOT = Path(__file__).resolve().parent.parent
DAY = timedelta(days=1)


def same(a: Bars, b: Bars) -> bool:
    "Are all columns equal to the bit?"
    return all(getattr(a, c).tobytes() == getattr(b, c).tobytes() for c in ("timestamp", *COLUMNS))


def table(b: Bars) -> dict[str, Any]:
    "Bars as the validator takes them"
    import pyarrow as pa
    return {"timestamp": to_arrow(b.timestamp, pa.timestamp("ns", "UTC"))} | {c: getattr(b, c) for c in COLUMNS}


# ---------------------------------------------------------------- a made-up market

SPAN = (date(2011, 11, 1), date(2012, 1, 31))
made = partial(SyntheticSource, start=SPAN[0], splits=4)


@given(seed=st.integers(0, 2**40), names=st.permutations(["AAA", "BBB", "CCC"]), keep=st.integers(1, 3),
       resolution=st.sampled_from(["1d", "1w", "1h", "15m"]), exchange=st.sampled_from(["XNYS", "24/7"]))
@settings(max_examples=8, deadline=None)
def test_same_seed_same_bytes(seed: int, names: list[str], keep: int, resolution: str, exchange: str) -> None:
    "Whatever the order and the company of symbols, and whichever days are asked for"
    source = made(["AAA", "BBB", "CCC"], end=SPAN[1], seed=seed, exchange=exchange)
    other = made(names[:keep], end=SPAN[1], seed=seed, exchange=exchange)
    for s in names[:keep]:
        whole = source.bars(s, resolution=resolution)
        assert same(other.bars(s, resolution=resolution), whole) and other.actions(s) == source.actions(s)
        part = other.bars(s, date(2011, 12, 5), date(2011, 12, 16), resolution)
        i = int(np.searchsorted(whole.timestamp, part.timestamp[0]))
        assert same(part, whole[i:i + len(part)])


@given(seed=st.integers(0, 2**40), days=st.integers(0, 400), resolution=st.sampled_from(["1d", "1w", "4h"]))
@settings(max_examples=15, deadline=None)
def test_a_longer_span_extends_the_shorter(seed: int, days: int, resolution: str) -> None:
    "Bars, quotes and events; the last week too"
    short, long = (made(["AAA"], end=SPAN[0] + timedelta(days=n), seed=seed) for n in (days + 10, 1000))
    a, b = short.bars("AAA", resolution=resolution), long.bars("AAA", resolution=resolution)
    assert same(a, b[:len(a)]) and len(b) > len(a)
    assert short.actions("AAA") == long.actions("AAA")[:len(short.actions("AAA"))]
    assert short.regimes() == long.regimes()[:len(short.regimes())]


@given(seed=st.integers(0, 2**40), resolution=st.sampled_from([r for r in RESOLUTIONS if r not in ("1d", "1w")]),
       exchange=st.sampled_from(["XNYS", "24/7"]), tick=st.sampled_from(["0.01", "0.05", "1", "0.0001"]))
@settings(max_examples=20, deadline=None)
def test_finer_bars_add_up(seed: int, resolution: str, exchange: str, tick: str) -> None:
    "Any intraday bars make the day, half days included, in prices on the tick and whole shares"
    source = made(["AAA"], end=date(2011, 12, 1), seed=seed, exchange=exchange, tick=tick)
    fine, day = source.bars("AAA", resolution=resolution), source.bars("AAA")
    days = session_days(fine.timestamp, exchange)
    first = np.flatnonzero(np.diff(days, prepend=-1))
    last = np.append(first[1:], len(days)) - 1
    assert (fine.open[first] == day.open).all() and (fine.close[last] == day.close).all()
    assert (np.maximum.reduceat(fine.high, first) == day.high).all() and (np.minimum.reduceat(fine.low, first) == day.low).all()
    assert (np.add.reduceat(fine.volume, first) == day.volume).all() and (fine.volume % 1 == 0).all()
    for c in PRICES: assert all(Decimal(repr(x)) % Decimal(tick) == 0 for x in getattr(fine, c)[:50].tolist())


@given(seed=st.integers(0, 2**40))
@settings(max_examples=10, deadline=None)
def test_ticks_make_the_quotes_and_quotes_stand_around_the_bars(seed: int) -> None:
    "Updates come in order; a minute's quotes are their fold; bid < ask, and the trade lies between"
    source, day = made(["AAA"], end=date(2011, 11, 30), seed=seed), date(2011, 11, 25) # A half day
    ticks, quotes, bars = source.quotes("AAA", day, day, "tick"), source.quotes("AAA", day, day), source.bars("AAA", day, day, "1m")
    assert len(bars) == 210 and len(ticks) == 210 * UPDATES and (np.diff(ticks.timestamp) > 0).all()
    assert ((ticks.timestamp - np.repeat(quotes.timestamp, UPDATES)) // 60_000_000_000 == 0).all()
    shape = lambda name: getattr(ticks, name).reshape(-1, UPDATES)
    for side in ("bid", "ask"):
        price = shape(f"{side}_close")
        fold = dict(open=price[:, 0], high=price.max(1), low=price.min(1), close=price[:, -1], size=shape(f"{side}_size")[:, -1])
        assert all((getattr(quotes, f"{side}_{k}") == x).all() for k, x in fold.items())
    assert (quotes.spread > 0).all() and (quotes.bid_close <= bars.close).all() and (bars.close <= quotes.ask_close).all()
    assert (quotes.bid_size > 0).all() and (quotes.bid_size % 100 == 0).all()
    hour = source.quotes("AAA", day, day, "1h")
    assert hour.bid_high.max() == quotes.bid_high.max() and len(hour) == 4 and all(len(getattr(hour, c)) == 4 for c in QUOTE_COLUMNS)


def test_the_validator_has_nothing_to_refuse() -> None:
    "Neither bars of any resolution nor those around splits, dividends, half days and storms"
    source = SyntheticSource([f"S{i}" for i in range(20)], "2008-01-02", "2012-12-31", seed=3, splits=2)
    for s in source.get_symbols():
        assert not [f for f in check(table(source.bars(s)), s) if f.verdict == "refuse"]
    for r in ("1m", "30m", "4h", "1w"):
        assert not [f for f in check(table(source.bars("S1", date(2012, 11, 1), date(2012, 12, 31), r)), "S1", r) if f.verdict == "refuse"]


def test_raw_prices_show_the_events() -> None:
    "Undoing splits and dividends leaves returns without a cliff; before that there is one"
    source = SyntheticSource([f"S{i}" for i in range(60)], "2000-01-03", "2019-12-31", seed=5, splits=0.5)
    kinds = set()
    for s in source.get_symbols():
        close, open_, days = source.bars(s).close, source.bars(s).open, source.sessions.days
        for a in source.actions(s):
            k = int(np.flatnonzero(days == np.datetime64(a.ex_date))[0])
            kinds.add((a.kind, a.numerator > a.denominator))
            if a.kind == ActionKind.SPLIT:
                assert abs(np.log(open_[k] * a.numerator / a.denominator / close[k-1])) < 0.35, (s, a)
                assert abs(np.log(open_[k] / close[k-1])) > 0.2
            else: assert 0 < float(a.amount) < 0.03 * close[k-1]
    assert kinds == {(ActionKind.SPLIT, True), (ActionKind.SPLIT, False), (ActionKind.DIVIDEND, False)}
    assert not SyntheticSource(splits=0, dividends=0).actions("ALPHA")


def test_the_market_has_weather_and_company() -> None:
    "Storms are wilder, symbols are correlated more in them, and volume is a U"
    source = SyntheticSource([f"S{i:02}" for i in range(30)], "2000-01-03", "2019-12-31", seed=1, splits=0, dividends=0)
    moves = np.diff(np.log([source.bars(s).close for s in source.symbols]), axis=1)
    mood = np.array(source.regimes())[1:]
    wild = {m: moves[:, mood == m].std() * 252**0.5 for m in set(mood)}
    close = {m: np.corrcoef(moves[:, mood == m])[np.triu_indices(30, 1)].mean() for m in set(mood)}
    assert wild["storm"] > 1.5 * wild["trend"] and wild["trend"] > wild["calm"] and 0.15 < wild["calm"] < 0.3
    assert close["storm"] > close["trend"] > close["calm"] > 0.1
    stay = np.diff(np.flatnonzero(np.diff((mood == "storm").astype(int)))).mean()
    assert stay > 10 # Weather lasts
    minutes = source.bars("S01", date(2018, 1, 2), date(2018, 12, 31), "1m")
    per_day = minutes.volume[:390 * 100].reshape(-1, 390).mean(0) # The first hundred days of 2018 are whole
    assert per_day[:30].mean() > 2 * per_day[180:210].mean() < per_day[-30:].mean() / 2
    assert abs(np.log(np.mean([source.bars(s).close[-1] / source.bars(s).close[0] for s in source.symbols])) / 20) < 0.25


def test_shares_and_coins_share_their_mondays() -> None:
    "The market's draws belong to calendar days, so symbols of two calendars move together"
    a, b = (SyntheticSource(["AAA"], "2005-01-03", "2012-12-31", seed=2, exchange=x, splits=0, dividends=0) for x in ("XNYS", "24/7"))
    pick = np.isin(b.sessions.days, a.sessions.days)
    with np.errstate(all="raise"): x, y = np.diff(np.log(a.bars("AAA").close)), np.diff(np.log(b.bars("AAA").close), prepend=np.nan)[pick][1:]
    assert np.corrcoef(x[1:], y[1:])[0, 1] > 0.1


@pytest.mark.parametrize(("wrong", "says"), [
    (dict(seed=-1), "seed"), (dict(seed=True), "seed"), (dict(seed="7"), "seed"), (dict(start="yesterday"), "yesterday"),
    (dict(end="2000-01-01"), "before it starts"), (dict(exchange="XNYZ"), "did you mean 'XNYS'"), (dict(splits=-1), "splits"),
    (dict(splits=float("nan")), "splits"), (dict(dividends="many"), "dividends"), (dict(symbols=["../x"]), "no symbol"),
    (dict(tick="0"), "tick"), (dict(tick="nan"), "tick"), (dict(tick="cent"), "tick"), (dict(start=5), "start"), (dict(symbols="ALPHA"), "ALPHA")])
def test_settings_that_cannot_be(wrong: dict[str, Any], says: str) -> None:
    "Each is one sentence"
    with pytest.raises((ConfigError, DataError), match=says): SyntheticSource(**wrong)


def test_requests_that_cannot_be_met() -> None:
    "Days outside the history, resolutions that are none, live data"
    source = made(["AAA"], end=SPAN[1])
    with pytest.raises(DataError, match="there are some from 2011-11-01 to 2012-01-31"): source.bars("AAA", date(2015, 1, 1), date(2015, 2, 1))
    with pytest.raises(DataError, match="unknown resolution '2m'"): source.bars("AAA", resolution="2m")
    with pytest.raises(DataError, match="unknown resolution 'tick'"): source.bars("AAA", resolution="tick")
    with pytest.raises(DataError, match="no live data"): source.subscribe("AAA")
    with pytest.raises(DataError, match="a YahooSource has no quotes"): DataSource.quotes(YahooSource.__new__(YahooSource), "IBM")
    with pytest.raises(DataError, match="IBM: no quotes"): SampleSource().quotes("IBM")


def test_a_market_asks_the_calendar_once(monkeypatch: pytest.MonkeyPatch) -> None:
    "However many symbols it has; and bars of a few days draw the minutes of these days only"
    asked, drawn = Counter[str](), Counter[str]()
    calendar, numbers = firebot.synthetic.hours, firebot.synthetic.stream
    def hours(*args: Any) -> Any: asked[""] += 1; return calendar(*args)
    def stream(seed: int, symbol: str, what: str, *more: Any) -> Any: drawn[what] += 1; return numbers(seed, symbol, what, *more)
    monkeypatch.setattr(firebot.synthetic, "hours", hours)
    monkeypatch.setattr(firebot.synthetic, "stream", stream)
    source = made([f"S{i}" for i in range(20)], end=date(2013, 12, 31), seed=77)
    for s in source.symbols: source.bars(s)
    assert asked[""] <= 1 and not drawn["minutes"]
    assert len(source.bars("S1", date(2012, 6, 4), date(2012, 6, 8), "1m")) == 5*390 and drawn["minutes"] == 5


def test_provenance_names_the_recipe() -> None:
    "Another seed is another digest, the same settings the same"
    one, two, again = (SyntheticSource(["AAA"], *SPAN, seed=s).provenance("AAA")[0] for s in (1, 2, 1))
    assert one == again and one.sha256 != two.sha256 and one.source == "synthetic" and one.fetched_at is None
    assert one.first == session_open(date(2011, 11, 1)) and one.last == session_open(date(2012, 1, 31))


# ---------------------------------------------------------------- names

def test_every_source_keeps_the_interface(tmp_path: Path) -> None:
    "By name, and refused by name"
    assert {"sample", "csv", "parquet", "store", "synthetic", "yfinance"} <= set(SOURCES)
    assert same(make_source("synthetic", symbols=["AAA"], start=SPAN[0], end=SPAN[1], seed=3).bars("AAA"),
                synthetic(["AAA"], *SPAN, seed=3)["AAA"])
    for kind, wrong, says in (("synthetik", {}, "did you mean 'synthetic'"), ("synthetic", dict(sed=1), "did you mean 'seed'"),
                              ("yfinance", {}, "needs a `path`"), ("yfinance", dict(path=tmp_path), "nothing was fetched")):
        with pytest.raises((ConfigError, DataError), match=says): make_source(kind, **wrong)


def test_files_say_which_bars_were_read(tmp_path: Path) -> None:
    "First and last bar of what was asked for, and no time of fetching"
    sample = SampleSource()
    sample.bars("IBM", date(2012, 1, 3), date(2012, 1, 31))
    origin = sample.provenance("IBM")[0]
    assert origin.source == "sample" and origin.fetched_at is None and origin.url is None
    assert (origin.first, origin.last) == (session_open(date(2012, 1, 3)), session_open(date(2012, 1, 31)))


# ---------------------------------------------------------------- retry

def test_waits_double_with_full_jitter_and_end_at_the_cap() -> None:
    "Each wait is between zero and its bound, and they are spread over it"
    def fail() -> None: raise Transient("was status 500")
    waits: list[list[float]] = []
    for seed in range(200):
        waits.append([])
        with pytest.raises(GaveUp, match="x: gave up after 6 tries; the last answer was status 500"):
            retry(fail, "x", attempts=6, base=2, cap=10, rng=Random(seed), sleep=waits[-1].append)
    w = np.array(waits)
    assert w.shape == (200, 5) and (w >= 0).all() and (w <= [2, 4, 8, 10, 10]).all()
    assert (abs(w.mean(0) / [2, 4, 8, 10, 10] - 0.5) < 0.1).all()


def test_a_wait_that_was_asked_for_is_kept_or_refused() -> None:
    "At least as long as asked; longer than the patience ends it at once"
    said = [Transient("was status 429", wait=50, limited=True)]
    waits: list[float] = []
    def work() -> str:
        if said: raise said.pop()
        return "bars"
    assert retry(work, "x", cap=1, rng=Random(1), sleep=waits.append) == "bars" and waits == [50]
    said.append(Transient("was status 429", wait=5000, limited=True))
    with pytest.raises(GaveUp, match="5000 s of patience") as e: retry(work, "x", sleep=waits.append)
    assert e.value.limited and waits == [50]
    with pytest.raises(ConfigError, match="attempts is 0"): retry(work, "x", attempts=0)


def test_what_will_not_pass_is_not_tried_again() -> None:
    "Only `Transient` is retried"
    calls = []
    def work() -> None:
        calls.append(1)
        raise DataError("no such symbol")
    with pytest.raises(DataError, match="no such symbol"): retry(work, "x")
    assert len(calls) == 1


@pytest.mark.parametrize(("value", "server", "seconds"), [
    ("0", None, 0), (" 120 ", None, 120), ("Fri, 31 Dec 1999 23:59:59 GMT", "Fri, 31 Dec 1999 23:59:29 GMT", 30),
    ("Fri, 31 Dec 1999 23:59:59 GMT", "Sat, 01 Jan 2000 23:59:29 GMT", 0), ("Fri, 31 Dec 1999 23:59:59 GMT", None, None),
    ("-5", None, None), ("1e3", None, None), ("٣", None, None), ("later", "Fri, 31 Dec 1999 23:59:29 GMT", None), (None, None, None)])
def test_retry_after(value: str | None, server: str | None, seconds: float | None) -> None:
    "Seconds, dates by the server's clock, and nothing else"
    assert retry_after(value, server) == seconds


@pytest.mark.parametrize(("status", "error"), [(200, None), (304, None), (400, DataError), (401, None), (404, DataError), (422, DataError),
                                               (429, Transient), (500, Transient), (502, Transient), (503, Transient), (999, Transient)])
def test_statuses(status: int, error: type[Exception] | None) -> None:
    "What may pass, what will not, and what is left to yfinance"
    if error is None: refuse_status(status, {}, b"")
    else:
        with pytest.raises(error) as e: refuse_status(status, {}, b"")
        assert type(e.value) is error and str(status) in str(e.value)


# ---------------------------------------------------------------- pieces

@given(first=st.dates(date(1990, 1, 1), date(2030, 1, 1)), days=st.integers(0, 3000), n=st.integers(1, 14), unit=st.sampled_from(["d", "mo", "y"]))
@settings(deadline=None)
def test_pieces_tile_the_span(first: date, days: int, n: int, unit: str) -> None:
    "Without a hole, a repetition or anything outside; they end with a month"
    last = first + timedelta(days=days)
    pieces = list(chunks(first, last, (n, unit)))
    assert pieces[0][0] == first and pieces[-1][1] == last
    assert all(b + DAY == c for (_, b), (c, _) in zip(pieces, pieces[1:])) and all(a <= b for a, b in pieces)
    if unit != "d": assert all((b + DAY).day == 1 for _, b in pieces[:-1])


@given(days=st.lists(st.dates(date(2010, 1, 1), date(2012, 1, 1)), min_size=4, max_size=4), unit=st.sampled_from(["d", "mo", "y"]))
@settings(deadline=None)
def test_what_is_missing_touches_what_is_there(days: list[date], unit: str) -> None:
    "After each piece the days covered are one span, and in the end they hold what was wanted"
    (lo, hi), (first, last) = sorted(days[:2]), sorted(days[2:])
    for a, b in missing((lo, hi), first, last, (1, unit)):
        assert b == lo - DAY or a == hi + DAY
        lo, hi = min(lo, a), max(hi, b)
    assert lo <= first and last <= hi


@pytest.mark.parametrize("text", ["", "1", "mo", "0d", "-1d", "1.5y", "1 mo", "1w", "10000d", "1MO", None, 7])
def test_pieces_that_cannot_be(text: Any) -> None:
    "A size is a number and a unit"
    with pytest.raises(ConfigError, match="write 3d, 1mo or 1y"): chunk_size(text, "1d")


@given(cents=st.integers(1, 90_000), new=st.sampled_from([2, 3, 4, 7, 20, 28]), old=st.sampled_from([1, 2, 10]))
def test_prices_come_back_from_single_precision(cents: int, new: int, old: int) -> None:
    "A price in cents, divided by a split and stored in 24 bits, is found again"
    seen = np.float32(cents / 100 * old / new).astype(float)
    assert shortest(np.array([seen * new / old]))[0] == cents / 100


# ---------------------------------------------------------------- a local Yahoo

TRUTH = SyntheticSource(["ALPHA", "BRAVO", "BRK-B"], "2010-01-04", "2012-12-31", seed=7, splits=3)
NOW = datetime(2012, 12, 31, 23, tzinfo=UTC)


def chart(symbol: str, asked: dict[str, int], interval: str, until: date = TRUTH.end) -> dict[str, Any]:
    "The chart that Yahoo would send: prices as single-precision floats, adjusted for all splits until then"
    lo, hi = (from_ns(asked[p] * 10**9, "America/New_York").date() for p in ("period1", "period2"))
    actions = [a for a in TRUTH.actions(symbol) if a.ex_date <= until]
    splits = [a for a in actions if a.kind == ActionKind.SPLIT]
    try: b = TRUTH.bars(symbol, max(lo, TRUTH.start), min(hi - DAY, until), "1d" if interval == "1mo" else interval)
    except DataError: b = TRUTH.bars(symbol)[:0]
    if interval == "1mo": b = b[::21]
    factor = later_splits(session_days(b.timestamp).astype("datetime64[D]"), splits)
    numbers: dict[str, Any] = {c: np.float32(getattr(b, c) / factor).astype(float).tolist() for c in PRICES}
    numbers["volume"] = np.rint(b.volume * factor).astype(int).tolist()
    at = lambda a: to_ns(session_open(a.ex_date)) // 10**9
    adjusted = lambda a: float(np.float32(float(a.amount) / later_splits(np.array([a.ex_date], "datetime64[D]"), splits)[0]))
    events = dict(splits={str(at(a)): dict(date=at(a), numerator=float(a.numerator), denominator=float(a.denominator), splitRatio="?") for a in splits
                          if lo <= a.ex_date < hi},
                  dividends={str(at(a)): dict(date=at(a), amount=adjusted(a)) for a in actions
                             if a.kind == ActionKind.DIVIDEND and lo <= a.ex_date < hi})
    meta = dict(symbol=symbol, currency="USD", exchangeTimezoneName="America/New_York", instrumentType="EQUITY", dataGranularity=interval,
                firstTradeDate=to_ns(session_open(TRUTH.start)) // 10**9, gmtoffset=-18000, timezone="EST", priceHint=2, validRanges=["1mo"])
    return dict(meta=meta, timestamp=(b.timestamp // 10**9).tolist(), events=events,
                indicators=dict(quote=[numbers], adjclose=[dict(adjclose=numbers["close"])]))


Reply = tuple[int, dict[str, str], bytes]


class Yahoo(ThreadingHTTPServer):
    "Answers like Yahoo, after it has misbehaved as it was told to"
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.faults: list[Callable[[Handler, dict[str, Any]], Reply | None]] = [] # One for each chart request, first come
        self.asked: list[tuple[str, str, date]] = [] # Symbol, interval, first day of each chart request
        self.until = TRUTH.end
        self.change: Callable[[dict[str, Any]], None] = lambda result: None # Of every good answer

    @property
    def url(self) -> str: return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    "One request"
    server: Yahoo
    protocol_version = "HTTP/1.1"
    def log_message(self, *args: Any) -> None: pass

    def do_GET(self) -> None:
        where = urlsplit(self.path)
        if not where.path.startswith(CHART): return self.send(200, {}, b"crumb" if "getcrumb" in where.path else b"")
        query, symbol = {k: v[0] for k, v in parse_qs(where.query).items()}, where.path.removeprefix(CHART)
        asked = {p: int(query.get(p, "1262649600")) for p in ("period1", "period2")} # yfinance asks for the time zone without them
        self.server.asked.append((symbol, query["interval"], from_ns(asked["period1"] * 10**9, "America/New_York").date()))
        result = chart(symbol, asked, query["interval"], self.server.until)
        self.server.change(result)
        good: Reply | None = (200, {}, json.dumps(dict(chart=dict(result=[result], error=None))).encode())
        reply = self.server.faults.pop(0)(self, result) if self.server.faults else good
        if reply: self.send(*reply)

    def send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for k, v in ({"Content-Length": str(len(body))} | headers).items(): self.send_header(k, v)
        self.end_headers()
        self.wfile.write(body)


def status(code: int, body: bytes = b"", **headers: str) -> Callable[..., Reply]:
    "A fault: some status"
    return lambda handler, result: (code, {k.replace("_", "-"): v for k, v in headers.items()}, body)


def wrapped(result: Any) -> Reply: return 200, {}, json.dumps(dict(chart=dict(result=[result], error=None))).encode()
def changed(how: Callable[[dict[str, Any]], object]) -> Callable[..., Reply]:
    "A fault: the right answer with something changed in it"
    def fault(handler: Handler, result: dict[str, Any]) -> Reply:
        how(result)
        return wrapped(result)
    return fault


def reset(handler: Handler, result: Any) -> None:
    "A fault: the connection is reset before a word is said"
    import socket
    import struct
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.connection.close()
    handler.wfile = handler.rfile = open(os.devnull, "r+b") # noqa: SIM115


def stall(handler: Handler, result: Any) -> None:
    "A fault: no answer for longer than anyone waits"
    handler.close_connection = True
    time.sleep(1.5)


def cut(handler: Handler, result: Any) -> Reply:
    "A fault: less comes than was announced"
    code, headers, body = wrapped(result)
    handler.close_connection = True
    return code, headers | {"Content-Length": str(len(body))}, body[:len(body) // 2]


def half(handler: Handler, result: Any) -> Reply:
    "A fault: half of the JSON, announced as the whole"
    return 200, {}, wrapped(result)[2][:300]


def spoil(column: str, value: Any, k: int = 2) -> Callable[[dict[str, Any]], None]:
    "Change one number of an answer"
    return lambda result: result["indicators"]["quote"][0][column].__setitem__(k, value)


def blank(result: dict[str, Any]) -> None:
    result.update(timestamp=[], indicators=dict(quote=[{}]))


@pytest.fixture(scope="session")
def yfinance_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    "yfinance keeps cookies in a database; not in this machine's"
    yf = pytest.importorskip("yfinance")
    yf.set_tz_cache_location(str(tmp_path_factory.mktemp("yfinance")))


@pytest.fixture
def yahoo(yfinance_cache: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yahoo]:
    "A server on this machine, and nothing between it and us"
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"): monkeypatch.delenv(name, raising=False)
    server = Yahoo()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def ask(yahoo: Yahoo, tmp_path: Path) -> Callable[..., Any]:
    "`fetch` from that server to a folder, in no time"
    def ask(symbols: list[str], start: date, end: date, resolution: str = "1d", now: datetime = NOW, timeout: float = 5, **more: Any) -> Any:
        waits: list[float] = []
        more = dict(sleep=waits.append, attempts=3, rng=Random(1)) | more
        done = fetch(symbols, start, end, resolution, tmp_path/"yahoo", lambda: now, yahoo_client(yahoo.url, timeout), **more)
        return done, waits
    return ask


Q = (date(2010, 1, 4), date(2010, 3, 31))


def test_fetched_bars_are_what_was_traded(yahoo: Yahoo, ask: Any, tmp_path: Path) -> None:
    "Three years through the real client: raw prices, volumes, splits and dividends come back exactly"
    [alpha, brk], waits = ask(["ALPHA", "BRK-B"], TRUTH.start, TRUTH.end)
    assert (alpha.error, brk.error, waits) == ("", "", []) and alpha.answers == 4 and alpha.absent == 0
    source = YahooSource(tmp_path/"yahoo")
    for s in ("ALPHA", "BRK-B"):
        assert sum(a.kind == ActionKind.SPLIT for a in TRUTH.actions(s)) >= 1
        for c in ("timestamp", *PRICES): assert (getattr(source.bars(s), c) == getattr(TRUTH.bars(s), c)).all(), (s, c)
        assert (abs(source.bars(s).volume - TRUTH.bars(s).volume) <= 10).all() # Yahoo's adjusted volumes are rounded
        assert source.actions(s) == TRUTH.actions(s)


def test_yfinance_itself_sees_the_same_numbers(yahoo: Yahoo, ask: Any, tmp_path: Path) -> None:
    "Its own table of the same days, turned back by the splits, is ours"
    import yfinance
    ask(["ALPHA"], *Q)
    frame = yfinance.Ticker("ALPHA").history(start=Q[0].isoformat(), end=(Q[1] + DAY).isoformat(), auto_adjust=False) # Through the session set last
    bars = YahooSource(tmp_path/"yahoo").bars("ALPHA")
    factor = later_splits(frame.index.tz_localize(None).to_numpy().astype("datetime64[D]"),
                          [a for a in TRUTH.actions("ALPHA") if a.kind == ActionKind.SPLIT])
    assert len(frame) == len(bars) and np.allclose(frame["Close"].to_numpy() * factor, bars.close, rtol=1e-6, atol=0)


FAULTS: dict[str, tuple[Any, str]] = {  # name: (fault, what is said when it does not stop)
    "500": (status(500), "was status 500"),
    "502 in HTML": (status(502, b"<html>Bad gateway</html>"), "was status 502"),
    "503": (status(503), "was status 503"),
    "429": (status(429, b"Too Many Requests"), "was status 429"),
    "401": (status(401), "was status 401"),
    "reset": (reset, "never came"),
    "stall": (stall, r"never came \(Timeout|never came \(ReadTimeout"),
    "cut": (cut, "never came"),
    "half of the JSON": (half, "was no chart in JSON"),
    "nothing": (status(200), "was no chart in JSON"),
    "HTML": (status(200, b"<!DOCTYPE html><html>Will be right back"), "begins with '<!DOCTYPE html><html'"),
    "a list": (status(200, b"[]"), "was JSON, but not a chart"),
    "null": (status(200, b"null"), "was JSON, but not a chart"),
    "no result": (status(200, b'{"chart": {"result": null, "error": null}}'), "was JSON, but not a chart"),
    "no results": (status(200, b'{"chart": {"result": [], "error": null}}'), "was JSON, but not a chart"),
    "another symbol": (changed(lambda r: r["meta"].update(symbol="BRAVO")), "was about BRAVO"),
    "another interval": (changed(lambda r: r["meta"].update(dataGranularity="1wk")), "in 1wk bars"),
    "no meta": (changed(lambda r: r.pop("meta")), "not a chart"),
    "empty": (changed(blank), "had no bars"),
    "no timestamps": (changed(lambda r: r.pop("timestamp")), "had no bars"),
    "ragged": (changed(lambda r: r["indicators"]["quote"][0]["close"].pop()), "columns of different lengths"),
    "no volume": (changed(lambda r: r["indicators"]["quote"][0].pop("volume")), "not a chart"),
    "null price": (changed(spoil("close", None)), "had no price in the row of 2010-"),
    "NaN price": (changed(spoil("open", float("nan"))), "had no price in the row of 2010-"),
    "null row": (changed(lambda r: [spoil(c, None)(r) for c in COLUMNS]), "had no price in the row of 2010-"),
    "price in words": (changed(spoil("low", "ten")), "was no chart in JSON|not a chart"),
    "negative price": (changed(spoil("low", -1.0)), "was refused .*low"),
    "infinite price": (changed(spoil("high", float("inf"))), "was refused .*high"),
    "crossed": (changed(spoil("high", 0.01)), "was refused .*high"),
    "unordered": (changed(lambda r: r["timestamp"].__setitem__(3, r["timestamp"][1])), "was refused .*timestamp"),
    "other days": (changed(lambda r: r.update(timestamp=[t + 400 * 86400 for t in r["timestamp"]])), "had no bars"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_misbehaviour_that_passes_leaves_no_trace(name: str, yahoo: Yahoo, ask: Any, tmp_path: Path) -> None:
    "Twice wrong and then right is right"
    fault, _ = FAULTS[name]
    count = 2 if name != "401" else 4 # yfinance asks again on its own after 401
    yahoo.faults = [yahoo_good, *[fault] * count]
    [done], waits = ask(["ALPHA"], *Q, timeout=1)
    assert not done.error and not yahoo.faults and len(waits) in ((1, 2) if name == "reset" else (2,)) # curl asks again after a reset
    assert same_prices(YahooSource(tmp_path/"yahoo").bars("ALPHA"), TRUTH.bars("ALPHA", *Q))


@pytest.mark.parametrize("name", FAULTS)
def test_misbehaviour_that_stays_is_one_sentence_and_stores_nothing(name: str, yahoo: Yahoo, ask: Any, tmp_path: Path) -> None:
    "The first piece of the year stays, the second fails, the third is not asked for; later only what is missing is asked for"
    import re
    fault, says = FAULTS[name]
    yahoo.faults = [yahoo_good, yahoo_good, *[fault] * 9]
    [done], waits = ask(["ALPHA"], *Q, chunk="1mo", timeout=1)
    assert done.error.startswith("ALPHA 1d 2010-02-01 to 2010-02-28: gave up after 3 tries; the last answer ")
    assert re.search(says, done.error), done.error
    assert "\n" not in done.error and len(waits) == 2 and (done.first, done.last) == (date(2010, 1, 4), date(2010, 1, 31))
    assert same_prices(YahooSource(tmp_path/"yahoo").bars("ALPHA"), TRUTH.bars("ALPHA", Q[0], date(2010, 1, 31)))
    assert [p.name for p in (tmp_path/"yahoo"/"1d").iterdir()] == ["ALPHA.parquet"]
    yahoo.faults, yahoo.asked = [], []
    [done], _ = ask(["ALPHA"], *Q, chunk="1mo")
    assert not done.error and [i for _, i, _ in yahoo.asked] == ["1mo", "1d", "1d"] # January is not asked for again
    assert same_prices(YahooSource(tmp_path/"yahoo").bars("ALPHA"), TRUTH.bars("ALPHA", *Q))


def yahoo_good(handler: Handler, result: dict[str, Any]) -> Reply: return wrapped(result)
def same_prices(a: Bars, b: Bars) -> bool: return all((getattr(a, c) == getattr(b, c)).all() and len(a) == len(b) for c in ("timestamp", *PRICES))


@pytest.mark.parametrize(("header", "at_least"), [
    (dict(Retry_After="17"), 17), (dict(Retry_After="Fri, 31 Dec 2100 23:59:59 GMT"), None), (dict(), 0)])
def test_retry_after_is_honoured(header: dict[str, str], at_least: float | None, yahoo: Yahoo, ask: Any) -> None:
    "Seconds are waited in full; a date far away ends it, and nothing more is asked of a server that said so"
    yahoo.faults = [status(429, **header)]
    done, waits = ask(["ALPHA", "BRAVO"], *Q)
    if at_least is None:
        assert "of patience" in done[0].error and done[1].error == "Not tried: too many requests." and len(yahoo.asked) == 1 and not waits
    else: assert not done[0].error and len(waits) == 1 and waits[0] >= at_least and not yahoo.faults


def test_a_date_to_retry_after_is_measured_by_the_servers_clock(yahoo: Yahoo, ask: Any) -> None:
    "Thirty seconds from the server's now, whatever ours says"
    from email.utils import formatdate
    yahoo.faults = [lambda handler, result: (429, {"Retry-After": formatdate(time.time() + 30, usegmt=True)}, b"")]
    _, waits = ask(["ALPHA"], *Q)
    assert len(waits) == 1 and 28 <= waits[0] <= 31


def test_429_is_asked_once_a_try(yahoo: Yahoo, ask: Any) -> None:
    "yfinance would ask again on the spot; our session does not let it"
    yahoo.faults = [status(429)] * 9
    ask(["ALPHA"], *Q, attempts=4)
    assert len(yahoo.asked) == 4


def test_a_symbol_that_is_not_there_is_refused_at_once_and_the_others_go_on(yahoo: Yahoo, ask: Any) -> None:
    "No second try; Yahoo's own words"
    yahoo.faults = [status(404, b'{"chart": {"error": {"description": "No data found, symbol may be delisted"}}}')]
    [bad, good], waits = ask(["ALPHA", "BRAVO"], *Q)
    assert bad.error == "Yahoo refuses with status 404: No data found, symbol may be delisted." and not waits and not good.error


def test_nothing_missing_asks_nothing(yahoo: Yahoo, ask: Any) -> None:
    "Neither when all is there, nor over a weekend, nor before the session has closed"
    ask(["ALPHA"], date(2010, 1, 4), date(2010, 1, 15), now=datetime(2010, 1, 15, 22, tzinfo=UTC))
    yahoo.asked.clear()
    for now in (datetime(2010, 1, 15, 23), datetime(2010, 1, 18, 22), datetime(2010, 1, 19, 20, 59)): # A Monday without trade
        [done], _ = ask(["ALPHA"], date(2010, 1, 4), date(2010, 1, 31), now=now.replace(tzinfo=UTC))
        assert (done.added, done.answers, done.error) == (0, 0, "")
    assert not yahoo.asked
    [done], _ = ask(["ALPHA"], date(2010, 1, 4), date(2010, 1, 31), now=datetime(2010, 1, 19, 21, tzinfo=UTC))
    assert (done.added, done.last) == (1, date(2010, 1, 19))


def test_updates_day_by_day_equal_one_backfill(yahoo: Yahoo, ask: Any, tmp_path: Path) -> None:
    "Across splits, which change all of Yahoo's earlier prices, and backwards too"
    split = next(a for a in TRUTH.actions("ALPHA") if a.kind == ActionKind.SPLIT)
    for k in range(-6, 7, 2):
        now = split.ex_date + timedelta(days=k)
        yahoo.until = now
        evening = datetime(now.year, now.month, now.day, 23, tzinfo=UTC)
        [done], _ = ask(["ALPHA"], split.ex_date - timedelta(days=20), split.ex_date + DAY*30, now=evening)
        assert not done.error, done.error
    yahoo.until = TRUTH.end
    [done], _ = ask(["ALPHA"], split.ex_date - timedelta(days=120), split.ex_date + DAY*30, chunk="1mo")
    assert not done.error
    bars = YahooSource(tmp_path/"yahoo").bars("ALPHA")
    assert same_prices(bars, TRUTH.bars("ALPHA", split.ex_date - timedelta(days=120), split.ex_date + DAY*30))
    assert YahooSource(tmp_path/"yahoo").actions("ALPHA") == tuple(
        a for a in TRUTH.actions("ALPHA") if split.ex_date - timedelta(days=120) <= a.ex_date <= split.ex_date + DAY*30)


@pytest.mark.parametrize(("how", "says"), [
    (lambda r: [spoil(c, r["indicators"]["quote"][0][c][k] / 2, k)(r) for c in PRICES for k in range(5)], "is stored as .* and Yahoo now says"),
    (lambda r: [r["timestamp"].pop(1), [r["indicators"]["quote"][0][c].pop(1) for c in COLUMNS]], "is stored, and not at Yahoo now")])
def test_a_changed_past_is_refused(how: Any, says: str, yahoo: Yahoo, ask: Any, tmp_path: Path) -> None:
    "Re-adjusted prices and bars that went away; the file stays as it was"
    import re
    ask(["ALPHA"], date(2010, 1, 4), date(2010, 1, 15))
    before = (tmp_path/"yahoo"/"1d"/"ALPHA.parquet").read_bytes()
    yahoo.faults = [yahoo_good, changed(how)]
    [done], waits = ask(["ALPHA"], date(2010, 1, 4), date(2010, 1, 29))
    assert re.search(says, done.error) and "Move the file away" in done.error and not waits
    assert (tmp_path/"yahoo"/"1d"/"ALPHA.parquet").read_bytes() == before


def test_a_revised_volume_is_reported_and_not_taken(yahoo: Yahoo, ask: Any, tmp_path: Path) -> None:
    "The stored one stays"
    ask(["ALPHA"], date(2010, 1, 4), date(2010, 1, 15))
    yahoo.faults = [yahoo_good, changed(spoil("volume", 1))]
    [done], _ = ask(["ALPHA"], date(2010, 1, 4), date(2010, 1, 29))
    assert done.revised == 1 and "1 volumes revised" in str(done) and YahooSource(tmp_path/"yahoo").bars("ALPHA").volume.min() > 1


def test_the_running_bar_is_left_out_and_the_last_one_is_dated(yahoo: Yahoo, ask: Any, tmp_path: Path) -> None:
    "Its stamp is that of the last trade; before the close it is no bar, after the close it is that session's"
    def live(result: dict[str, Any]) -> None: result["timestamp"][-1] += 6 * 3600
    yahoo.change, yahoo.until = live, date(2010, 1, 15)
    [done], _ = ask(["ALPHA"], date(2010, 1, 4), date(2010, 1, 15), now=datetime(2010, 1, 14, 22, tzinfo=UTC))
    assert not done.error and done.last == date(2010, 1, 14)
    assert same_prices(YahooSource(tmp_path/"yahoo").bars("ALPHA"), TRUTH.bars("ALPHA", date(2010, 1, 4), date(2010, 1, 14)))


def test_minutes(yahoo: Yahoo, ask: Any, tmp_path: Path) -> None:
    "Fetched in short pieces; minutes without a trade are left out and counted; Yahoo's reach is stated"
    first, last = date(2012, 12, 17), date(2012, 12, 31) # With half of Christmas Eve
    def gap(result: dict[str, Any]) -> None: # Nothing is traded at 11:10
        if result["meta"]["dataGranularity"] != "1m": return
        for k, t in enumerate(result["timestamp"]):
            if t % 86400 == (16 * 60 + 10) * 60: [spoil(c, None, k)(result) for c in COLUMNS]
    yahoo.change = gap
    [done], _ = ask(["ALPHA"], first, last, "1m")
    assert not done.error and done.idle >= 4 and done.absent == 0
    bars, whole = YahooSource(tmp_path/"yahoo").bars("ALPHA", resolution="1m"), TRUTH.bars("ALPHA", first, last, "1m")
    there = np.isin(whole.timestamp, bars.timestamp)
    assert (~there).sum() == len(whole) - len(bars) <= done.idle and (bars.close == whole.close[there]).all()
    [far], _ = ask(["BRAVO"], date(2012, 10, 1), last, "1m")
    assert "Yahoo keeps 1m bars for 30 days, and 2012-10-01 is before 2012-12-01; start later." in far.error
    assert all(b >= first - DAY*7 for s, i, b in yahoo.asked if i == "1m")


def test_history_begins_with_the_first_trade(yahoo: Yahoo, ask: Any) -> None:
    "Years before it are not asked for"
    [done], _ = ask(["ALPHA"], date(1990, 1, 1), date(2010, 12, 31))
    assert not done.error and done.first == TRUTH.start and [i for _, i, _ in yahoo.asked] == ["1mo", "1d"]


def test_another_clock_is_refused(yahoo: Yahoo, ask: Any) -> None:
    "A share of London in New York's calendar would be on the wrong days"
    yahoo.change = lambda result: result["meta"].update(exchangeTimezoneName="Europe/London")
    [done], waits = ask(["ALPHA"], *Q)
    assert "trades on the clock of Europe/London" in done.error and not waits


def test_origin_is_kept_without_secrets(yahoo: Yahoo, ask: Any, tmp_path: Path) -> None:
    "Address, digest and time of each answer; yfinance's token is not among it"
    ask(["ALPHA"], *Q, chunk="1mo")
    source = YahooSource(tmp_path/"yahoo")
    source.bars("ALPHA")
    [origin], fetches = source.provenance("ALPHA"), source.fetches("ALPHA")
    assert origin.name == "1d/ALPHA.parquet" and origin.source == "yfinance" and origin.fetched_at == NOW
    assert (origin.first, origin.last) == (session_open(date(2010, 1, 4)), session_open(date(2010, 3, 31)))
    there = "https://query2.finance.yahoo.com/v8/finance/chart/ALPHA?"
    assert len(fetches) == 3 and all("crumb" not in f.url and f.url.startswith(there) for f in fetches)
    raw = (tmp_path/"yahoo"/"1d"/"ALPHA.parquet").read_bytes()
    assert b"crumb" not in raw and same(ParquetSource(tmp_path/"yahoo"/"1d").bars("ALPHA"), source.bars("ALPHA"))


@pytest.mark.parametrize("damage", ["cut", "plain", "edited", "empty"])
def test_damaged_files_are_refused(damage: str, yahoo: Yahoo, ask: Any, tmp_path: Path) -> None:
    "Neither read nor extended nor replaced"
    ask(["ALPHA"], *Q)
    file = tmp_path/"yahoo"/"1d"/"ALPHA.parquet"
    content = pq.read_table(file)
    if damage == "cut": file.write_bytes(file.read_bytes()[:-100])
    elif damage == "plain": pq.write_table(content.replace_schema_metadata(None), file)
    elif damage == "edited": pq.write_table(content.replace_schema_metadata({b"firebot.yahoo": b'{"first": "2010"}'}), file)
    else: file.write_bytes(b"")
    before = file.read_bytes()
    [done], _ = ask(["ALPHA"], Q[0], date(2010, 6, 30))
    assert str(file) in done.error and file.read_bytes() == before
    with pytest.raises(DataError, match="ALPHA.parquet"): YahooSource(tmp_path/"yahoo").bars("ALPHA")


def test_killed_while_writing_leaves_the_old_file(yahoo: Yahoo, ask: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    "The new one is written beside; what is half there is never looked at"
    ask(["ALPHA"], date(2010, 1, 4), date(2010, 1, 29))
    before = (tmp_path/"yahoo"/"1d"/"ALPHA.parquet").read_bytes()
    def killed(*args: Any) -> None: raise KeyboardInterrupt
    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt): ask(["ALPHA"], *Q)
    assert (tmp_path/"yahoo"/"1d"/"ALPHA.parquet").read_bytes() == before
    assert YahooSource(tmp_path/"yahoo").get_symbols() == ["ALPHA"]


@pytest.mark.parametrize(("wrong", "says"), [
    (dict(resolution="30m"), "fetch one of 1m, 5m"), (dict(exchange="LSE"), "Unknown exchange"), (dict(chunk="2w"), "no length"),
    (dict(end=date(2000, 1, 1)), "is before the first"), (dict(symbols=["../x"]), "is no symbol")])
def test_fetches_that_cannot_be(wrong: dict[str, Any], says: str, tmp_path: Path) -> None:
    "Refused before anything is asked"
    def never(*args: Any) -> bytes: raise AssertionError("asked")
    good: dict[str, Any] = dict(symbols=["ALPHA"], start=Q[0], end=Q[1], resolution="1d", folder=tmp_path, clock=lambda: NOW, get=never)
    with pytest.raises((ConfigError, DataError), match=says): fetch(**good | wrong)
    assert not list(tmp_path.iterdir())


def test_without_yfinance_the_remedy_is_said() -> None:
    "Reading needs no yfinance, fetching says how to get it"
    code = ("import sys; sys.modules['yfinance'] = None\n"
            "from firebot.yahoo import yahoo_client\n"
            "try: yahoo_client()\nexcept Exception as e: print(type(e).__name__, e)\n"
            "print([m for m in ('curl_cffi', 'pandas', 'exchange_calendars') if m in sys.modules])")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, env=os.environ).stdout
    assert "ConfigError Fetching from Yahoo needs yfinance; install it with: pip install 'firebot[yahoo]'." in out
    code = "import sys, firebot.catalog; print([m for m in ('yfinance', 'curl_cffi', 'pandas', 'exchange_calendars') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, env=os.environ).stdout == "[]\n"


def test_half_days_are_real() -> None:
    "The calendar that the made-up market keeps is the exchange's"
    days, opens, closes = hours(date(2012, 12, 24), date(2012, 12, 24))
    bars = TRUTH.bars("ALPHA", days[0].item(), days[0].item(), "1m")
    assert len(bars) == (closes[0] - opens[0]) // 60_000_000_000 == 210


# ---------------------------------------------------------------- quotes in files

def as_table(q: Any, names: dict[str, str]) -> Any:
    "Quotes as a table, under other names"
    import pyarrow as pa
    return pa.table({"timestamp": to_arrow(q.timestamp, pa.timestamp("ns", "UTC"))} | {names[c]: getattr(q, c) for c in names})


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_quotes_beside_the_bars(kind: str, tmp_path: Path) -> None:
    "By interval with all columns, and single updates with four; windows, digests, and no symbol of their own"
    import pyarrow.csv as pa_csv
    write = pa_csv.write_csv if kind == "csv" else pq.write_table
    import pyarrow as pa
    bars, day = TRUTH.bars("ALPHA", date(2012, 11, 21), date(2012, 11, 23), "1m"), date(2012, 11, 23)
    write(pa.table(table(bars)), tmp_path/f"ALPHA.{kind}")
    quotes, ticks = (TRUTH.quotes("ALPHA", date(2012, 11, 21), day, r) for r in ("1m", "tick"))
    source = make_source(kind, path=tmp_path)
    with pytest.raises(DataError, match="ALPHA: no quotes; there is no file .*ALPHA_quotes"): source.quotes("ALPHA")
    write(as_table(quotes, {c: c for c in QUOTE_COLUMNS}), tmp_path/f"ALPHA_quotes.{kind}")
    read = source.quotes("ALPHA", day, day)
    assert source.get_symbols() == ["ALPHA"] and len(read) == 210
    assert all((getattr(read, c) == getattr(quotes, c)[-210:]).all() for c in ("timestamp", *QUOTE_COLUMNS))
    source.bars("ALPHA", resolution="1m")
    assert [f.name for f in source.provenance("ALPHA")] == [f"ALPHA.{kind}", f"ALPHA_quotes.{kind}"]
    write(as_table(ticks, dict(bid_close="bid", ask_close="ask", bid_size="bid_size", ask_size="ask_size")), tmp_path/f"ALPHA_quotes.{kind}")
    read = source.quotes("ALPHA", day, day, "tick")
    assert all((getattr(read, c) == getattr(ticks, c)[-210*UPDATES:]).all() for c in ("timestamp", *QUOTE_COLUMNS))
    for wrong in ("../ALPHA", "BRAVO"):
        with pytest.raises(DataError, match="no symbol|no quotes"): source.quotes(wrong)


def test_crossed_quotes_are_refused_whole(tmp_path: Path) -> None:
    "One ask below its bid, and no quote of the file is used"
    (tmp_path/"ALPHA_quotes.csv").write_text("timestamp,bid,ask,bid_size,ask_size\n2012-01-03T14:30:00Z,10.0,10.1,100,100\n"
                                             "2012-01-03T14:30:01Z,10.0,9.9,100,100\n")
    with pytest.raises(DataError, match="row 2, ask '9.9'"): make_source("csv", path=tmp_path).quotes("ALPHA", resolution="tick")


SHARED = ROOT.parent/"shared"/"data"/"minute"


@pytest.mark.skipif(not SHARED.is_dir(), reason="the folder of real market data is not there")
def test_real_quotes_and_real_bars() -> None:
    "SPY's minutes and quotes of 2013 through one source"
    source = make_source("parquet", path=SHARED, zone="America/New_York")
    quotes, bars = source.quotes("SPY"), source.bars("SPY", resolution="1m")
    assert source.get_symbols() == ["SPY"] and len(quotes) == 5412 and (quotes.spread > 0).mean() > 0.9
    both, i, j = np.intersect1d(quotes.timestamp, bars.timestamp, return_indices=True)
    assert len(both) > 2000 and (abs(quotes.bid_close[i] / bars.close[j] - 1) < 0.01).all()
