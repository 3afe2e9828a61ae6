"Features of several columns and lines, of coarser bars and of pandas-ta: both clocks, no future, refusals without a trace."
import json
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from firebot.calendars import hours
from firebot.features import NO_BUCKET, FeaturePipeline, buckets
from firebot.feed import Panel, forward_factor, load_panel, make_panel, replay
from firebot.indicators import INDICATORS, all_outputs, indicator
from firebot.models import (
    COLUMNS,
    MINUTE,
    RESOLUTIONS,
    ActionKind,
    Bars,
    ConfigError,
    CorporateAction,
    DataError,
    Instrument,
    to_ns,
)
from firebot.sources import SampleSource

OWN: dict[str, Any] = {
    "line": ("macd", {"fast": 2, "slow": 4, "signal": 3}), "histogram": ("macd.histogram", {"fast": 2, "slow": 4, "signal": 3}),
    "upper": ("bollinger.upper", {"window": 3}), "b": ("bollinger.percent_b", {"window": 3}), "range": ("atr", {"window": 3}),
    "up": ("adx.plus_di", {"window": 2}), "trend": ("adx", {"window": 2}), "k": ("stochastic", {"window": 3}), "obv": ("obv",),
    "d": ("stochastic.d", {"window": 3}), "flow": ("sum", {"window": 3}, "volume"), "high": ("max", {"window": 3}, "high"),
    "z": {"indicator": "zscore", "params": {"window": 3}, "column": "volume"}}
COARSE: dict[str, Any] = {
    "slow": ("sma", {"window": 2}, "close", "1h"), "wide": {"indicator": "atr", "params": {"window": 2}, "resolution": "1h"},
    "day": ("last", {}, "high", "1d"), "hours": ("last", {}, "volume", "4h"), "week": ("last", {}, "open", "1w"),
    "fast": ("sma", {"window": 2})}


def panel_of(n: int, draw: np.random.Generator, resolution: str = "30m", exchanges: tuple[str, ...] = ("XNYS", "24/7"), gaps: float = 0.2,
             first: date = date(2012, 11, 20), split: bool = True) -> Panel:
    "Bars around the half day after Thanksgiving, some missing, one stock split on the way"
    bars, step = [], RESOLUTIONS[resolution]
    for s, exchange in enumerate(exchanges):
        if exchange == "24/7": starts = to_ns(datetime(first.year, first.month, first.day, tzinfo=UTC)) + step * np.arange(4 * n)
        else:
            _, opens, closes = hours(first, first + timedelta(days=30), exchange)
            starts = np.concatenate([np.arange(o, c, step) for o, c in zip(opens, closes)])
        there = draw.random(min(n, len(starts))) >= gaps
        there[0] = True
        starts = starts[:n][there]
        p = np.round(50 + np.cumsum(draw.normal(0, 0.5, len(starts))), 2).clip(1)
        up, down = draw.integers(0, 30, (2, len(starts))) / 100
        bars.append(Bars(f"S{s}", resolution, starts, p, p + up, p - down, p + (up - down) / 2, draw.integers(0, 99, len(starts)) * 100.0))
    action = [CorporateAction("S0", first + timedelta(days=1), ActionKind.SPLIT, 2, 1)] if split else []
    return make_panel(bars, [Instrument(f"S{s}", x, x) for s, x in enumerate(exchanges)], action)


def equal_in_both_clocks(pipeline: FeaturePipeline, panel: Panel, cut: int) -> dict[str, np.ndarray]:
    S = len(panel.symbols)
    batch, first, second = pipeline.transform(panel), pipeline.stream(S), pipeline.stream(S)
    rows = [first.update(row.panel) for row in replay(panel[:cut])]
    second.restore(json.loads(json.dumps(first.state(), allow_nan=False)))
    rows += [second.update(row.panel) for row in replay(panel[cut:])]
    for name, values in batch.items(): assert_array_equal(np.array([row[name] for row in rows]), values, err_msg=name)
    third = pipeline.stream(S)
    third.restore(json.loads(json.dumps(first.state(), allow_nan=False)))
    for name, values in third.over(panel[cut:]).items(): assert_array_equal(values, batch[name][cut:], err_msg=name)
    assert third.state() == second.state()
    return batch


# ---------------------------------------------------------------- several columns, several lines

@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), n=st.integers(2, 60), cut=st.integers(0, 60))
def test_lines_are_bit_equal_in_both_clocks_and_after_a_resume(seed: int, n: int, cut: int) -> None:
    panel = panel_of(n, np.random.default_rng(seed))
    batch = equal_in_both_clocks(FeaturePipeline(OWN), panel, cut)
    for name, values in FeaturePipeline(OWN).transform(panel[:cut]).items() if cut else (): assert_array_equal(values, batch[name][:cut])


def test_a_line_is_the_indicator_on_adjusted_columns() -> None:
    panel = panel_of(60, np.random.default_rng(1))
    f, got = forward_factor(panel), FeaturePipeline(OWN).transform(panel)
    bars = [getattr(panel, c) * f for c in ("high", "low", "close")]
    assert_array_equal(got["range"], indicator("atr", *bars, window=3))
    assert_array_equal(got["up"], indicator("adx.plus_di", *bars, window=2))
    assert_array_equal(got["obv"], indicator("obv", bars[2], panel.volume))
    assert_array_equal(got["z"], indicator("zscore", panel.volume, window=3, scale=1e4))


def test_what_is_asked_twice_is_computed_once() -> None:
    pipeline = FeaturePipeline(OWN | {"again": ("sma", {"window": 2}), "same": ("sma", {"window": 2}, "close"),
                                      "other": ("sma", {"window": 2}, "open"), "coarse": ("sma", {"window": 2}, "close", "1h")})
    kinds = sorted(f.spec.name for f in pipeline.jobs.values())
    assert kinds == sorted(["macd", "bollinger", "atr", "adx", "stochastic", "obv", "sum", "max", "zscore", "sma", "sma", "sma"])


@pytest.mark.parametrize("name", sorted({f"{n}.{o}" if o else n for n, spec in INDICATORS.items() for o in spec.outputs}))
def test_warm_up_is_exact(name: str) -> None:
    panel = panel_of(120, np.random.default_rng(2), gaps=0.0, exchanges=("24/7",))
    pipeline = FeaturePipeline({"x": (name,)})
    assert np.flatnonzero(~np.isnan(pipeline.transform(panel)["x"][:, 0]))[0] == pipeline.warmup


def test_a_mapping_needs_only_the_columns_that_are_used() -> None:
    panel = panel_of(30, np.random.default_rng(3), gaps=0.0, exchanges=("XNYS",), split=False)
    pipeline = FeaturePipeline({"range": ("atr", {"window": 3})})
    data = {c: getattr(panel, c)[:, 0] for c in ("high", "low", "close")}
    assert_array_equal(pipeline.transform(data)["range"], pipeline.transform(panel)["range"][:, 0])
    stream = pipeline.stream()
    got = [stream.update({c: x[t:t + 1] for c, x in data.items()})["range"][0] for t in range(30)]
    assert_array_equal(got, pipeline.transform(data)["range"])
    with pytest.raises(DataError, match="needs the column 'high'"): pipeline.transform({"close": data["close"]})


@pytest.mark.parametrize(("declaration", "says"), [
    (("macd.histgram",), "did you mean 'histogram'"), (("atr", {}, "close"), "takes high, low, close; leave the column out"),
    (("sma", {}, "close", "2h"), "resolution '2h' is not known"), ({"params": {}}, "write a name"), (("sma", 3), "write a name"),
    ({"indicator": "sma", "colum": "close"}, "did you mean 'column'"), (("macd", {"fast": 50}), "smaller than slow"),
    (("ta.obv",), "feature x: ta.obv: no window"), (("ta.dpo",), "feature x: ta.dpo"), ((3,), "write a name")])
def test_what_a_declaration_refuses(declaration: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says): FeaturePipeline({"x": declaration})


# ---------------------------------------------------------------- coarser bars

@cache
def all_sessions(exchange: str) -> list[tuple[Any, int, int]]:
    days, opens, closes = hours(date(2012, 11, 1), date(2013, 3, 1), exchange)
    return list(zip(days.tolist(), opens.tolist(), closes.tolist()))


def slow_coarse(panel: Panel, s: int, resolution: str) -> list[tuple[int, list[float]]]:
    "Coarse bars of a symbol and the row at which each is known, by going through the bars one at a time with a list"
    x = panel.instruments[s].exchange
    factor, known, open_rows, key = forward_factor(panel), [], [], None
    sessions = all_sessions(x)

    def whole(rows: list[int]) -> list[float]:
        o, h, l, c = (getattr(panel, n)[rows, s] * factor[rows, s] for n in ("open", "high", "low", "close"))
        return [o[0], h.max(), l.min(), c[-1], panel.volume[rows, s].sum()]

    for t in np.flatnonzero(~np.isnan(panel.close[:, s])).tolist():
        found = [(d, o, c) for d, o, c in sessions if o <= panel.start[t] < c]
        if not found: continue
        day, o, c = found[0]
        if resolution == "1d": bucket, end = day, c
        elif resolution == "1w":
            bucket = day.isocalendar()[:2]
            end = max(close for d, _, close in sessions if d.isocalendar()[:2] == bucket)
        else:
            bucket = o + (panel.start[t] - o) // RESOLUTIONS[resolution] * RESOLUTIONS[resolution]
            end = min(bucket + RESOLUTIONS[resolution], c)
        if open_rows and bucket != key: known.append((t, whole(open_rows)))
        open_rows, key = ([] if bucket != key else open_rows) + [t], bucket
        if panel.end[t] >= end: known, open_rows = [*known, (t, whole(open_rows))], []
    return known


@settings(max_examples=12)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 150), cut=st.integers(0, 150), gaps=st.sampled_from([0.0, 0.2, 0.7]))
def test_coarse_features_are_bit_equal_and_know_nothing_of_the_future(seed: int, n: int, cut: int, gaps: float) -> None:
    panel = panel_of(n, np.random.default_rng(seed), gaps=gaps)
    pipeline = FeaturePipeline(COARSE)
    batch = equal_in_both_clocks(pipeline, panel, cut)
    if 0 < cut < len(panel):
        for name, values in pipeline.transform(panel[:cut]).items(): assert_array_equal(values, batch[name][:cut], err_msg=name)
    for name, resolution in (("slow", "1h"), ("day", "1d"), ("hours", "4h"), ("week", "1w"), ("wide", "1h")):
        for s in range(len(panel.symbols)):
            known = slow_coarse(panel, s, resolution)
            o, h, l, c, v = np.array([bar for _, bar in known]).reshape(-1, 5).T
            values = {"slow": indicator("sma", c, window=2), "day": h, "hours": v, "week": o,
                      "wide": indicator("atr", h, l, c, window=2)}[name]
            want = np.full(len(panel), np.nan)
            for (t, _), value in zip(known, values): want[t:] = value
            want[np.isnan(panel.close[:, s])] = np.nan
            assert_array_equal(batch[name][:, s], want, err_msg=f"{name} {s}")


@pytest.mark.parametrize(("fine", "coarse", "exchange"), [
    ("30m", "1h", "XNYS"), ("30m", "4h", "XNYS"), ("30m", "1d", "XNYS"), ("1h", "1d", "XNYS"), ("1h", "4h", "XNYS"), ("1d", "1w", "XNYS"),
    ("30m", "1w", "XNYS"), ("30m", "1h", "24/7"), ("1h", "4h", "24/7"), ("4h", "1d", "24/7"), ("1d", "1w", "24/7"), ("5m", "15m", "XNYS")])
def test_warm_up_of_coarse_features_is_exact(fine: str, coarse: str, exchange: str) -> None:
    panel = panel_of(400, np.random.default_rng(4), fine, (exchange,), 0.0, date(2013, 10, 7), split=False)
    if fine == "1d":  # the hours of daily bars are the session's
        start = [to_ns(datetime(2013, 10, 7, tzinfo=UTC)) + 1440 * MINUTE * i for i in range(40)] if exchange == "24/7" else \
            hours(date(2013, 10, 7), date(2013, 11, 22))[1]
        p = np.arange(50.0, 50 + len(start))
        panel = make_panel([Bars("S0", "1d", np.array(start), p, p, p, p, p)], [Instrument("S0", exchange, exchange)])
    pipeline = FeaturePipeline({"x": ("sma", {"window": 3}, "close", coarse)})
    first = np.flatnonzero(~np.isnan(pipeline.transform(panel)["x"][:, 0]))[0]
    assert first == pipeline.warmup_in(fine, exchange)


def test_days_from_half_hours_are_the_days_themselves() -> None:
    panel = panel_of(200, np.random.default_rng(5), gaps=0.0, exchanges=("XNYS",), split=False)
    got = FeaturePipeline({c: ("last", {}, c, "1d") for c in COLUMNS}).transform(panel)
    ends = hours(date(2012, 11, 20), date(2012, 12, 20))[2]
    assert len(ends) > 14
    days = np.searchsorted(ends, panel.start, side="right")
    for d in range(13):
        rows = np.flatnonzero(days == d)
        assert (len(rows), panel.end[rows[-1]]) == (7 if d == 2 else 13, ends[d])  # the Friday is a half day
        for c, whole in (("open", panel.open[rows[0], 0]), ("high", panel.high[rows, 0].max()), ("low", panel.low[rows, 0].min()),
                         ("close", panel.close[rows[-1], 0]), ("volume", panel.volume[rows, 0].sum())):
            assert_array_equal(got[c][rows[-1]:rows[-1] + 7, 0], whole)
    assert np.isnan(got["close"][:12]).all()


def test_bars_before_and_after_the_session_build_nothing() -> None:
    start = to_ns(datetime(2013, 10, 7, 12, tzinfo=UTC)) + 30 * MINUTE * np.arange(24)  # from 08:00 to 20:00 in New York
    p = np.arange(50.0, 74)
    panel = make_panel([Bars("S0", "30m", start, p, p, p, p, p)], [Instrument("S0")])
    got = FeaturePipeline({"v": ("sum", {"window": 1}, "open", "1d"), "h": ("last", {}, "close", "1h")}).transform(panel)
    assert np.isnan(got["v"][:15]).all() and (got["v"][15:] == 53).all()
    assert np.isnan(got["h"][:4]).all() and got["h"][4, 0] == 54 and (got["h"][15:] == 65).all()
    assert buckets(start[:3], start[:3] + 30 * MINUTE, "1h")[0].tolist() == [NO_BUCKET] * 3


def test_a_weekend_bar_of_a_share_builds_nothing() -> None:
    saturday = np.array([to_ns(datetime(2013, 10, 12, 15, tzinfo=UTC))])
    for resolution in ("1h", "1d", "1w"):
        key, last = buckets(saturday, saturday + MINUTE, resolution)
        assert key[0] == NO_BUCKET and not last[0]


def test_a_week_ends_with_its_last_session() -> None:
    "Good Friday 2012 was no session, so that the week was over on Thursday"
    panel = load_panel(SampleSource(), ["IBM"], date(2012, 3, 26), date(2012, 4, 20))
    week = FeaturePipeline({"w": ("last", {}, "volume", "1w")}).transform(panel)["w"][:, 0]
    days = [str(d) for d in hours(date(2012, 3, 26), date(2012, 4, 20))[0]]
    changes = [days[t] for t in range(1, len(days)) if week[t] != week[t - 1] and not np.isnan(week[t])]
    assert changes == ["2012-03-30", "2012-04-05", "2012-04-13", "2012-04-20"]


def test_what_coarse_features_need() -> None:
    panel, pipeline = panel_of(30, np.random.default_rng(6), exchanges=("XNYS",)), FeaturePipeline(COARSE)
    with pytest.raises(DataError, match="give a panel"): pipeline.transform({c: getattr(panel, c) for c in COLUMNS})
    with pytest.raises(DataError, match="give a panel"): pipeline.transform(list(panel.bars(0)))
    with pytest.raises(DataError, match="rows of a panel"): pipeline.stream(1).update({c: getattr(panel, c)[0] for c in COLUMNS})
    same = FeaturePipeline({"x": ("sma", {}, "close", "30m")})
    with pytest.raises(ConfigError, match="needs finer bars than 30m"): same.transform(panel)
    with pytest.raises(ConfigError, match="needs finer bars than 30m"): same.stream(1).update(panel[:1])
    assert pipeline.resolutions == ["1d", "1h", "1w", "4h"]


@pytest.mark.parametrize("bad", ["volume", "close"])
def test_a_refused_row_changes_nothing_in_any_group(bad: str) -> None:
    from dataclasses import replace
    panel = panel_of(60, np.random.default_rng(7), gaps=0.0)
    pipeline = FeaturePipeline(COARSE | {"sum": ("sum", {"window": 100_000}, "volume", "1h"), "cci": ("ta.cci", {"length": 5})})
    whole, stream, other = pipeline.transform(panel), pipeline.stream(2), pipeline.stream(2)
    for t, row in enumerate(replay(panel)):
        before = stream.state()
        wrong = replace(row.panel, **{bad: row.panel.volume * 0 + (4e12 if bad == "volume" else np.inf)})
        if not np.isnan(wrong.close[0]).all():
            try: other.update(wrong)
            except DataError: other.restore(before)
            else: other.restore(before)  # volumes too large in sum are refused only by the row that ends the hour
            try: stream.update(wrong)
            except DataError: assert stream.state() == before
            else: stream.restore(before)
        got = stream.update(row.panel)
        for name in whole: assert_array_equal(got[name], whole[name][t], err_msg=name)


def test_real_minutes(root: Path) -> None:
    file = root.parent / "shared" / "data" / "minute" / "SPY.parquet"
    if not file.exists(): pytest.skip("no shared data")
    frame = pq.read_table(file).to_pandas().iloc[:3000]
    stamp = next(c for c in frame.columns if c not in COLUMNS)
    starts = frame[stamp].to_numpy("datetime64[ns]").astype(np.int64)
    panel = make_panel([Bars("SPY", "1m", starts, *(frame[c].to_numpy().astype(float) for c in COLUMNS))], [Instrument("SPY")])
    pipeline = FeaturePipeline({r: ("ema", {"window": 3}, "close", r) for r in ("5m", "1h", "1d")} | {"range": ("atr", {}, "", "15m")})
    batch = equal_in_both_clocks(pipeline, panel, 777)
    for cut in (1, 391, 1500): assert_array_equal(pipeline.transform(panel[:cut])["1h"], batch["1h"][:cut])
    assert all(np.isfinite(x[-1]).all() for x in batch.values())


# ---------------------------------------------------------------- pandas-ta

def test_pandas_ta_in_both_clocks() -> None:
    panel = panel_of(70, np.random.default_rng(8))
    pipeline = FeaturePipeline({"cci": ("ta.cci", {"length": 5}), "wma": ("ta.wma", {"length": 4}, "high"),
                                "up": ("ta.aroon.AROONU", {"length": 5}), "hour": ("ta.willr", {"length": 3}, "", "1h"), "x": ("last",)})
    assert pipeline.warmup == 15
    batch = equal_in_both_clocks(pipeline, panel, 33)
    for name, values in pipeline.transform(panel[:50]).items(): assert_array_equal(values, batch[name][:50])
    own = panel.bars(0)
    close = (own.high, own.low, own.close)
    alone = indicator("ta.cci", *(x[-20:] for x in close), length=5)
    assert_allclose(alone[-5:], batch["cci"][~np.isnan(panel.close[:, 0]), 0][-5:], rtol=0)
    stream = pipeline.stream(2)
    before = stream.state()
    with pytest.raises(DataError, match="too large"):
        FeaturePipeline({"cci": ("ta.cci", {"length": 5})}).stream(1).update({"high": [np.inf], "low": [1.0], "close": [1.0]})
    assert stream.state() == before and all_outputs(INDICATORS["last"], [[1.0]], {}).shape == (1, 1)
