"Indicators against TA-Lib and against exact fractions; features against themselves, in both clocks."
import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from firebot.features import FeaturePipeline
from firebot.feed import Panel, load_panel, make_panel, replay
from firebot.indicators import Param, Stream, ema, indicator, rsi, sma
from firebot.models import Bars, ConfigError, DataError, Instrument, to_ns
from firebot.sources import SampleSource

HOUR = 3_600_000_000_000
PEERS = {"sma": talib.SMA, "ema": talib.EMA, "rsi": talib.RSI, "returns": talib.ROCP}


def walk(n: int, seed: int = 0, start: float = 100.0) -> np.ndarray:
    "A price in whole cents"
    return np.round(start * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.02, n))), 2).clip(0.01)


def closes(root: Path) -> dict[str, np.ndarray]:
    "Every real series at hand: the sample, and the shared files where they are"
    sample = SampleSource()
    found = {s: sample.bars(s).close for s in sample.get_symbols()}
    for file in sorted((root.parent / "shared" / "data").glob("*/*.parquet")):
        if "quotes" not in file.name: found[f"{file.parent.name} {file.stem}"] = pq.read_table(file)["close"].to_numpy()
    return found


# ---------------------------------------------------------------- indicators

@pytest.mark.parametrize("name", PEERS)
def test_indicators_equal_talib(name: str, root: Path) -> None:
    for what, x in {"random": walk(5000), **closes(root)}.items():
        for window in (2, 5, 14, 20, 50, 200):
            got, want = indicator(name, x, window=window), PEERS[name](x.astype(float), window)
            assert_array_equal(np.isnan(got), np.isnan(want), err_msg=f"{what} {window}")
            assert_allclose(got, want, rtol=1e-9, atol=1e-9, err_msg=f"{what} {window}")


def test_rsi_at_its_edges_is_talibs() -> None:
    for x in (np.full(40, 7.25), np.arange(1.0, 41), np.arange(40.0, 0, -1), np.r_[5.0, 6.0, np.full(60, 6.0)]):
        assert_allclose(rsi(x), talib.RSI(x), rtol=1e-9)


SERIES = st.lists(st.one_of(st.just(np.nan), st.integers(1, 50_000).map(lambda c: c / 100)), min_size=1, max_size=120)


@pytest.mark.parametrize("name", [*PEERS, "last"])
@settings(max_examples=60)
@given(data=st.data(), x=SERIES, window=st.integers(2, 30))
def test_batch_stream_and_resumed_stream_are_bit_equal(name: str, data: st.DataObject, x: list[float], window: int) -> None:
    params = {"window": window} if name != "last" else {}
    batch, cut = indicator(name, x, **params), data.draw(st.integers(0, len(x)))
    first, second = Stream(name, **params), Stream(name, **params)
    out = [first.update(v) for v in x[:cut]]
    second.restore(json.loads(json.dumps(first.state(), allow_nan=False)))
    assert_array_equal(np.array(out + [second.update(v) for v in x[cut:]]), batch)
    assert_array_equal(indicator(name, np.array([x, x]).T, **params), np.array([batch, batch]).T)
    gaps = np.isnan(x)
    assert np.isnan(batch[gaps]).all()
    assert_array_equal(batch[~gaps], indicator(name, np.array(x)[~gaps], **params))


@settings(max_examples=100)
@given(x=st.lists(st.decimals(0, 10**9, places=8), min_size=1, max_size=60), window=st.integers(1, 20), skip=st.integers(0, 10))
def test_the_average_is_the_exact_one_wherever_it_began(x: list[Decimal], window: int, skip: int) -> None:
    floats = np.array([float(v) for v in x])
    ticks = [round(Fraction(v) * 10**8) if v < 10**7 else int(np.rint(float(v) * 1e8)) for v in x]
    got = sma(floats, window)
    for t in range(window - 1, len(x)):
        exact = Fraction(sum(ticks[t - window + 1:t + 1]), window * 10**8)
        assert abs(Fraction(got[t]) - exact) <= abs(exact) * Fraction(1, 2**51)
    assert_array_equal(sma(floats[skip:], window)[window - 1:], got[skip + window - 1:])


def test_a_sum_never_wraps() -> None:
    limit = 2.0**62 / (4 * 1e8)
    edge = np.nextafter(limit, 0)
    assert sma(np.full(9, edge), 4)[-1] == pytest.approx(edge, rel=1e-15)
    assert sma(np.tile([edge, -edge], 9), 4)[-1] == 0
    for bad in (limit, -limit, 1e300, np.inf, -np.inf):
        with pytest.raises(DataError, match=r"sma: the value .* in row 2, column 0 is too large"): sma([1.0, 2.0, bad], 4)
        stream = Stream("sma", window=4)
        stream.update(1.0)
        before = stream.state()
        with pytest.raises(DataError, match="too large"): stream.update(bad)
        assert stream.state() == before


@pytest.mark.parametrize("name", ["ema", "rsi", "returns", "last"])
def test_infinities_are_refused(name: str) -> None:
    with pytest.raises(DataError, match="row 1, column 0"): indicator(name, [1.0, np.inf, 2.0])


def test_any_array_of_numbers_will_do() -> None:
    x = walk(50)
    frozen = x.copy()
    frozen.flags.writeable = False
    for same in (frozen, x.tolist(), pd.Series(x), np.repeat(x, 2)[::2], np.asfortranarray(np.stack([x, x], 1))[:, 0]):
        assert_array_equal(ema(same, 5), ema(x, 5))
    assert sma([]).shape == (0,) and rsi(np.empty((0, 3))).shape == (0, 3)
    with pytest.raises(DataError, match="no series"): sma(np.zeros((2, 2, 2)))


def test_returns_on_a_price_of_zero_are_undefined() -> None:
    assert_array_equal(indicator("returns", [1.0, 0.0, 2.0, 3.0]), [np.nan, -1, np.nan, 0.5])


# ---------------------------------------------------------------- parameters

@pytest.mark.parametrize(("default", "value"), [
    (20, 0), (20, -1), (20, 2.5), (20, "20"), (20, True), (20, None), (20, float("nan")), (20, float("inf")), (20, 10**9),
    (20, Decimal("2.5")), (20, [20]), (0.5, "0.5"), (0.5, True), (0.5, float("nan")), (0.5, Decimal("Infinity")), (0.5, 0.0),
    (True, 1), (True, "true"), ("mean", 1), ("mean", None)])
def test_what_a_parameter_refuses(default: Any, value: Any) -> None:
    with pytest.raises(ConfigError, match=r"^idea\.knob is .*; it must be "): Param(default, 0.1, 1000).check("idea.knob", value)


@pytest.mark.parametrize(("default", "value", "want"), [
    (20, 5, 5), (20, np.int64(5), 5), (20, Decimal(5), 5), (20, 5.0, 5), (0.5, 1, 1.0), (0.5, Decimal("0.25"), 0.25),
    (True, False, False), ("mean", "median", "median")])
def test_what_a_parameter_takes(default: Any, value: Any, want: Any) -> None:
    got = Param(default, 0.1, 1000).check("idea.knob", value)
    assert got == want and type(got) is type(default)


# ---------------------------------------------------------------- features

FEATURES: dict[str, tuple] = {
    "a": ("sma", {"window": 3}), "b": ("ema", {"window": 4}, "high"), "c": ("rsi", {"window": 2}), "d": ("returns", {"window": 3}),
    "e": ("sma", {"window": 2}, "volume"), "f": ("last", {}, "open")}


def panel_of(columns: list[list[float]], actions: tuple = ()) -> Panel:
    "Hourly bars from a column of closes for each symbol, nan where there is none"
    bars, start = [], to_ns(datetime(2013, 10, 7, tzinfo=UTC))
    for s, column in enumerate(columns):
        x = np.array(column, float)
        here = np.flatnonzero(~np.isnan(x))
        p = x[here]
        bars.append(Bars(f"S{s}", "1h", start + HOUR * here, p, p + 0.25, p - 0.005, p, p * 100))
    return make_panel(bars, [Instrument(b.symbol, "24/7", "24/7") for b in bars], actions)


@st.composite
def panels(draw: st.DrawFn) -> Panel:
    "A few symbols that wander in steps, come late and miss bars"
    n, columns = draw(st.integers(6, 50)), []
    for _ in range(draw(st.integers(1, 4))):
        steps = draw(st.lists(st.integers(-3, 3), min_size=n, max_size=n))
        x = 50 + np.cumsum(steps) / 2
        x[draw(st.lists(st.booleans(), min_size=n, max_size=n))] = np.nan
        x[:draw(st.integers(0, n - 1))] = np.nan
        x[-1] = 50.0
        columns.append(np.abs(x).clip(0.5))
    return panel_of(columns)


@settings(max_examples=60)
@given(panel=panels(), cut=st.integers(0, 50))
def test_features_are_bit_equal_in_both_clocks_and_after_a_resume(panel: Panel, cut: int) -> None:
    pipeline, S = FeaturePipeline(FEATURES), len(panel.symbols)
    batch, first, second = pipeline.transform(panel), pipeline.stream(S), pipeline.stream(S)
    rows = [first.update(row.panel) for row in replay(panel[:cut])]
    second.restore(json.loads(json.dumps(first.state(), allow_nan=False)))
    rows += [second.update(row.panel) for row in replay(panel[cut:])]
    for name in FEATURES: assert_array_equal(np.array([row[name] for row in rows]), batch[name], err_msg=name)


def test_features_of_ten_years_with_splits_and_dividends() -> None:
    panel = load_panel(SampleSource())
    pipeline = FeaturePipeline(FEATURES | {"slow": ("ema", {"window": 200})})
    batch, first, second = pipeline.transform(panel), pipeline.stream(5), pipeline.stream(5)
    assert len(panel.actions) > 50 and pipeline.warmup == 199
    rows = [first.update(row.panel) for row in replay(panel[:1500])]
    second.restore(json.loads(json.dumps(first.state(), allow_nan=False)))
    rows += [second.update(row.panel) for row in replay(panel[1500:])]
    for name in batch:
        assert_array_equal(np.array([row[name] for row in rows]), batch[name], err_msg=name)
        assert_array_equal(pipeline.transform(panel[:2000])[name], batch[name][:2000], err_msg=name)
    split = panel.close[1:, 0] / panel.close[:-1, 0]
    assert split.min() < 0.5 and np.nanmin(FeaturePipeline({"r": ("returns", {})}).transform(panel)["r"][:, 0]) > -0.55


def test_records_columns_and_panel_agree() -> None:
    panel = panel_of([walk(40).tolist()])
    pipeline, bars = FeaturePipeline(FEATURES), list(panel.bars(0))
    whole, listed = pipeline.transform(panel), pipeline.transform(bars)
    arrays = pipeline.transform({c: getattr(panel, c) for c in ("open", "high", "low", "close", "volume")})
    for name in FEATURES:
        assert_array_equal(whole[name][:, 0], listed[name])
        assert_array_equal(whole[name], arrays[name])
    with pytest.raises(DataError, match="one symbol"): pipeline.transform([*bars, replace(bars[-1], symbol="S1")])
    with pytest.raises(DataError, match="in order of time"): pipeline.transform(bars[::-1])


@pytest.mark.parametrize(("declaration", "says"), [
    (("smaa",), "did you mean 'sma'"), (("sma", {"windw": 3}), "did you mean 'window'"), (("sma", {"window": 0}), "feature x"),
    (("sma", {}, "price"), "column 'price' is not known"), ((), "write"), ("sma", "write"), (("sma", {}, "close", "1h", 1, "rank", 2), "write")])
def test_what_a_declaration_refuses(declaration: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says): FeaturePipeline({"x": declaration})


def test_a_refused_row_changes_nothing() -> None:
    pipeline = FeaturePipeline(FEATURES)
    stream, good = pipeline.stream(2), panel_of([[5.0, 6.0], [7.0, 8.0]])
    stream.update(good[:1])
    before = stream.state()
    with pytest.raises(DataError, match="feature a: .* column 1"): stream.update(panel_of([[6.0], [1e12]]))
    with pytest.raises(DataError, match="needs the column"): stream.update({"close": [1.0, 2.0]})
    assert stream.state() == before
    with pytest.raises(ConfigError, match="no state of"): pipeline.stream(3).restore(before)
    with pytest.raises(ConfigError, match="no state of"): FeaturePipeline({"a": ("sma", {"window": 4})}).stream(2).restore(before)
