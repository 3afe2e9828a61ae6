"Every indicator: against TA-Lib, pandas and exact fractions, and against itself in both clocks."
import json
import sys
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

from firebot.indicators import (
    INDICATORS,
    Indicator,
    Stream,
    adx,
    all_outputs,
    atr,
    bollinger,
    find,
    indicator,
    inputs,
    macd,
    obv,
    run,
    sma,
    stochastic,
)
from firebot.models import COLUMNS, ConfigError, DataError
from firebot.sources import SampleSource

SMALL: dict[str, dict[str, Any]] = {"macd": {"fast": 3, "slow": 5, "signal": 4}, "stochastic": {"window": 4, "smooth": 2, "signal": 3},
                                    "last": {}, "obv": {}, "true_range": {}}


def bars_of(n: int, seed: int = 0) -> dict[str, np.ndarray]:
    "Bars that wander in whole cents"
    rng = np.random.default_rng(seed)
    close = np.round(100 * np.exp(np.cumsum(rng.normal(0, 0.02, n))), 2).clip(1)
    return {"open": close, "high": close + rng.integers(0, 50, n) / 100, "low": close - rng.integers(0, 50, n) / 100,
            "close": close, "volume": rng.integers(0, 10**6, n).astype(float)}


def taken(spec: Indicator, bars: dict[str, np.ndarray]) -> list[np.ndarray]: return [bars[c or "close"] for c in spec.inputs]
def params_of(name: str, window: int = 5) -> dict[str, Any]: return INDICATORS[name].check(name, SMALL.get(name, {"window": window}))


def real_bars(root: Path) -> dict[str, dict[str, np.ndarray]]:
    "Every real series at hand: the sample, and the shared files where they are"
    sample = SampleSource()
    found = {s: {c: getattr(sample.bars(s), c) for c in COLUMNS} for s in sample.get_symbols()}
    for file in sorted((root.parent / "shared" / "data").glob("*/*.parquet")):
        names = pq.read_schema(file).names
        if set(COLUMNS) <= set(names):
            frame = pq.read_table(file, columns=list(COLUMNS))
            found[f"{file.parent.name} {file.stem}"] = {c: frame[c].to_numpy().astype(float)[:100_000] for c in COLUMNS}
    return found


# ---------------------------------------------------------------- TA-Lib

def lines_of_talib(b: dict[str, np.ndarray], n: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    "Ours and theirs"
    hlc, c, v = (b["high"], b["low"], b["close"]), b["close"], b["volume"]
    m, s, bands = macd(c, n, 2 * n + 2, n), stochastic(*hlc, n, 3, 3), bollinger(c, n)
    theirs, k_d, fast_k_d = talib.MACD(c, n, 2 * n + 2, n), talib.STOCH(*hlc, n, 3, 0, 3, 0), talib.STOCHF(*hlc, n, 3, 0)
    fast = stochastic(*hlc, n, 1, 3)
    one = {f"talib.{name}": (indicator(ours, c, window=n), getattr(talib, name)(c, n)) for name, ours in
           (("MOM", "change"), ("ROCP", "returns"), ("MAX", "max"), ("MIN", "min"), ("SUM", "sum"), ("SMA", "sma"), ("EMA", "ema"))}
    return one | {
        "macd": (m.macd, theirs[0]), "signal": (m.signal, theirs[1]), "histogram": (m.histogram, theirs[2]),
        "k": (s.k, k_d[0]), "d": (s.d, k_d[1]), "fast k": (fast.k, fast_k_d[0]), "fast d": (fast.d, fast_k_d[1]),
        **{f"band {i}": pair for i, pair in enumerate(zip(bands, talib.BBANDS(c, n, 2, 2, 0)))},
        "std": (indicator("std", c, window=n, ddof=0), talib.STDDEV(c, n)), "range": (indicator("true_range", *hlc), talib.TRANGE(*hlc)),
        "atr": (atr(*hlc, n), talib.ATR(*hlc, n)), "adx": (adx(*hlc, n).adx, talib.ADX(*hlc, n)),
        "+di": (adx(*hlc, n).plus_di, talib.PLUS_DI(*hlc, n)), "-di": (adx(*hlc, n).minus_di, talib.MINUS_DI(*hlc, n)),
        "obv": (obv(c, v), talib.OBV(c, v))}


@pytest.mark.parametrize("n", [2, 5, 14, 50])
def test_every_line_is_talibs_after_warm_up(n: int, root: Path) -> None:
    for what, b in {"random": bars_of(4000), **real_bars(root)}.items():
        for name, (ours, theirs) in lines_of_talib(b, n).items():
            both = ~np.isnan(theirs)
            assert both.sum() > 20 and not np.isnan(ours[both]).any(), f"{what} {name}"
            size = max(1.0, float(np.abs(theirs[both]).max())) if name in ("std", "range") or "band" in name else 1.0
            # TA-Lib's own deviation is the difference of running float sums and loses digits where the window hardly moves
            keep = both & (theirs > 1e-5 * np.nanmean(np.abs(b["close"]))) if name == "std" else both
            assert_allclose(ours[keep], theirs[keep], rtol=1e-9 if name != "std" else 1e-6, atol=1e-9 * size, err_msg=f"{what} {name}")


def test_first_bars_are_talibs_except_where_the_page_says_so() -> None:
    for name, (ours, theirs) in lines_of_talib(bars_of(300), 14).items():
        early = {"macd": 13, "k": 2, "fast k": 2}.get(name, 0)
        assert np.flatnonzero(~np.isnan(ours))[0] == np.flatnonzero(~np.isnan(theirs))[0] - early, name


def test_flat_prices_read_as_talibs() -> None:
    x = np.r_[np.linspace(5, 9, 30), np.full(60, 9.0)]
    for ours, theirs in ((adx(x, x, x).adx, talib.ADX(x, x, x)), (stochastic(x, x, x).k, talib.STOCH(x, x, x, 14, 3, 0, 3)[0]),
                         (atr(x, x, x), talib.ATR(x, x, x)), (adx(x, x, x).minus_di, talib.MINUS_DI(x, x, x))):
        assert_allclose(ours[~np.isnan(theirs)], theirs[~np.isnan(theirs)], rtol=1e-9, atol=1e-9)


# ---------------------------------------------------------------- pandas, numpy and exact fractions

def test_what_talib_has_not_is_pandas() -> None:
    b = bars_of(2000)
    x, n = pd.Series(b["close"]), 20
    logs = np.log(x).diff()
    for got, want in ((indicator("std", x, window=n), x.rolling(n).std()), (indicator("skew", x, window=n), x.rolling(n).skew()),
                      (indicator("zscore", x, window=n), (x - x.rolling(n).mean()) / x.rolling(n).std()),
                      (indicator("volatility", x, window=n), logs.rolling(n).std() * np.sqrt(252)),
                      (indicator("log_returns", x, window=3), np.log(x / x.shift(3))),
                      (bollinger(x).percent_b, (x - x.rolling(n).mean()) / (4 * x.rolling(n).std(ddof=0)) + 0.5),
                      (bollinger(x).bandwidth, 4 * x.rolling(n).std(ddof=0) / x.rolling(n).mean()),
                      (sma(b["volume"], n, scale=1e4), pd.Series(b["volume"]).rolling(n).mean())):
        assert_allclose(got, want.to_numpy(), rtol=1e-7, atol=1e-9)


def exact_moments(ticks: list[int]) -> tuple[Fraction, Fraction, Fraction]:
    "Mean, and second and third central moments, in ticks"
    n, mean = len(ticks), Fraction(sum(ticks), len(ticks))
    return mean, sum((t - mean) ** 2 for t in ticks) / n, sum((t - mean) ** 3 for t in ticks) / n


def test_a_million_values_do_not_wear_the_deviation_down() -> None:
    "A drift through five orders of magnitude and a spike; each late window is as exact as an early one"
    T, n = 1_000_000, 50
    rng = np.random.default_rng(5)
    x = np.round(np.geomspace(1, 100_000, T) + rng.normal(0, 0.05, T), 8)
    x[500_000] = 1e8
    std, skew, z, bands = (all_outputs(INDICATORS[name], [x], INDICATORS[name].check(name, {"window": n}))
                           for name in ("std", "skew", "zscore", "bollinger"))
    for t in (n - 1, 1000, 499_999, 500_060, 750_000, 999_000, T - 1):
        ticks = [int(np.rint(v * 1e8)) for v in x[t - n + 1:t + 1]]
        mean, m2, m3 = exact_moments(ticks)
        deviation = float(m2 * n / (n - 1)) ** 0.5
        assert std[0, t] == pytest.approx(deviation / 1e8, rel=4e-16), t
        assert bands[0, t] - bands[1, t] == pytest.approx(2 * float(m2) ** 0.5 / 1e8, abs=4e-16 * x[t] * 4), t
        assert skew[0, t] == pytest.approx((n * (n - 1)) ** 0.5 / (n - 2) * float(m3) / float(m2) ** 1.5, rel=1e-11, abs=1e-12), t
        assert z[0, t] == pytest.approx(float(ticks[-1] - mean) / deviation, rel=1e-9, abs=1e-9), t


@settings(max_examples=150)
@given(x=st.lists(st.integers(-2**52, 2**52), min_size=2, max_size=40), window=st.integers(2, 12), skip=st.integers(0, 10))
def test_the_deviation_is_the_exact_one_wherever_it_began(x: list[int], window: int, skip: int) -> None:
    "Whole numbers at a scale of one, up to where a window of them reaches the bound"
    got = indicator("std", np.array(x, float), window=window, ddof=0, scale=1.0)
    for t in range(window - 1, len(x)):
        D = window * sum(v * v for v in x[t - window + 1:t + 1]) - sum(x[t - window + 1:t + 1]) ** 2
        assert got[t] == pytest.approx(float(Fraction(D)) ** 0.5 / window, rel=6e-16)
    assert_array_equal(indicator("std", np.array(x[skip:], float), window=window, ddof=0, scale=1.0)[window - 1:], got[skip + window - 1:])


def test_the_deviation_never_wraps() -> None:
    limit = 2.0**61 / (4 * 1e8)
    edge = np.nextafter(limit, 0)
    assert indicator("std", np.tile([edge, -edge], 9), window=4, ddof=0)[-1] == pytest.approx(edge, rel=1e-15)
    assert indicator("std", np.full(9, edge), window=4)[-1] == 0
    for name in ("std", "zscore", "bollinger"):
        with pytest.raises(DataError, match=rf"{name}: the value .* in row 2, column 0 is too large"):
            indicator(name, [1.0, 2.0, limit], window=4)


@settings(max_examples=100)
@given(x=st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=60), window=st.integers(1, 20))
def test_highest_and_lowest_are_numpys(x: list[float], window: int) -> None:
    for name, numpys in (("max", np.max), ("min", np.min)):
        got = indicator(name, x, window=window)
        assert np.isnan(got[:window - 1]).all()
        assert_array_equal(got[window - 1:], [numpys(x[t - window + 1:t + 1]) for t in range(window - 1, len(x))])


def test_what_is_undefined_is_nan() -> None:
    flat, hole = np.full(30, 7.25), np.array([4.0, 0.0, 2.0, 4.0, 8.0])
    assert np.isnan(indicator("zscore", flat)).all() and np.isnan(indicator("skew", flat)).all()
    assert np.isnan(bollinger(flat).percent_b).all() and bollinger(flat).bandwidth[-1] == 0 and indicator("std", flat)[-1] == 0
    assert np.isnan(indicator("log_returns", hole))[[0, 1, 2]].all()
    assert indicator("volatility", hole, window=2, periods=1)[-1] == 0  # the two returns around a price of zero are left out


# ---------------------------------------------------------------- one recurrence

@pytest.mark.parametrize("name", INDICATORS)
@pytest.mark.parametrize("window", [3, 4, 20])
def test_warmup_is_as_declared(name: str, window: int) -> None:
    spec, params = INDICATORS[name], params_of(name, window)
    lines = all_outputs(spec, taken(spec, bars_of(90)), params)
    for output, line in zip(spec.outputs, lines):
        first = np.flatnonzero(~np.isnan(line))[0]
        assert first == spec.warmup(output, **params), output
        assert not np.isnan(line[first:]).any()


@st.composite
def gappy(draw: st.DrawFn) -> dict[str, np.ndarray]:
    "Bars that wander in steps and are missing here and there"
    n = draw(st.integers(1, 90))
    step = st.lists(st.integers(-9, 9), min_size=n, max_size=n)
    close = np.abs(50 + np.cumsum(draw(step)) / 4) + 0.25
    bars = {"open": close, "high": close + np.abs(draw(step)) / 4, "low": close - np.abs(draw(step)) / 40, "close": close,
            "volume": np.abs(draw(step)) * 100.0}
    gone = np.array(draw(st.lists(st.sampled_from([False, False, True]), min_size=n, max_size=n)))
    return {c: np.where(gone, np.nan, x) for c, x in bars.items()}


@pytest.mark.parametrize("name", INDICATORS)
@settings(max_examples=25)
@given(data=st.data(), bars=gappy(), window=st.integers(3, 12))
def test_batch_stream_resumed_stream_and_prefix_are_bit_equal(name: str, data: st.DataObject, bars: dict[str, np.ndarray], window: int) -> None:
    spec, params = INDICATORS[name], params_of(name, window)
    x = taken(spec, bars)
    lines, cut = all_outputs(spec, x, params), data.draw(st.integers(0, len(x[0])))
    for output, line in zip(spec.outputs, lines):
        full = f"{name}.{output}" if output else name
        first, second = Stream(full, **params), Stream(full, **params)
        out = [first.update(*bar) for bar in zip(*(c[:cut] for c in x))]
        second.restore(json.loads(json.dumps(first.state(), allow_nan=False)))
        assert_array_equal(np.array(out + [second.update(*bar) for bar in zip(*(c[cut:] for c in x))]), line)
        assert_array_equal(indicator(full, *x, **params), line)
    assert_array_equal(all_outputs(spec, [c[:cut] for c in x], params), lines[:, :cut])
    assert_array_equal(all_outputs(spec, [np.array([c, c]).T for c in x], params), np.stack([lines, lines], axis=2))
    gaps = np.isnan(x[0])
    assert np.isnan(lines[:, gaps]).all()
    assert_array_equal(lines[:, ~gaps], all_outputs(spec, [c[~gaps] for c in x], params))


@pytest.mark.parametrize("name", INDICATORS)
@pytest.mark.parametrize(("window", "symbols"), [(3, 1), (40, 2), (1500, 1)])
def test_whole_blocks_are_bit_equal_to_single_rows(name: str, window: int, symbols: int) -> None:
    "Long enough for blocks without a gap, then with gaps; results and registers"
    spec, params = INDICATORS[name], params_of(name, window)
    rng, columns = np.random.default_rng(window), [bars_of(7000, seed) for seed in range(symbols)]
    gap = rng.random((7000, symbols)) < np.where(np.arange(7000) < 5000, 0, 0.001)[:, None]
    x = inputs(spec, [np.where(gap, np.nan, np.stack([b[c or "close"] for b in columns], axis=1)) for c in spec.inputs])
    ends = []
    for step in (7000, 1, 33, 900):
        ints, floats = spec.blank(params, symbols)
        out = np.empty((len(spec.outputs), *x[0].shape))
        for t in range(0, 7000, step):
            part = np.ascontiguousarray(out[:, t:t + step])
            run(spec.code, ints, floats, tuple(a[t:t + step] for a in x), part)
            out[:, t:t + step] = part
        ends.append((out, ints, floats))
    assert (~np.isnan(ends[0][0])).any(axis=(1, 2)).all()
    for end in ends[1:]:
        for a, b in zip(end, ends[0]): assert_array_equal(a, b)


@pytest.mark.parametrize("name", INDICATORS)
def test_a_refused_bar_changes_nothing(name: str) -> None:
    spec, params = INDICATORS[name], params_of(name)
    stream, bars = Stream(name, **params), list(zip(*taken(spec, bars_of(20))))
    for bar in bars: stream.update(*bar)
    before = stream.state()
    for k in range(len(spec.inputs)):
        for bad in (np.inf, -np.inf, 1e300):
            bar = [*bars[0]]
            bar[k] = bad
            with pytest.raises(DataError, match="too large"): stream.update(*bar)
            with pytest.raises(DataError, match="row 0, column 0"): indicator(name, *[[v] for v in bar], **params)
    assert stream.state() == before


@pytest.mark.parametrize(("name", "params", "says"), [
    ("macd.histgram", {}, "did you mean 'histogram'"), ("macd", {"fast": 26}, "macd.fast is 26; it must be smaller than slow"),
    ("skew", {"window": 2}, "from 3"), ("std", {"ddof": 2}, "from 0 to 1"), ("bolinger", {}, "did you mean 'bollinger'"),
    ("sma.upper", {}, "is not known")])
def test_what_is_refused(name: str, params: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says): indicator(name, np.ones(3), **params)


def test_columns_must_fit() -> None:
    with pytest.raises(DataError, match="takes one column, not 2"): indicator("sma", [1.0], [2.0])
    with pytest.raises(DataError, match="shapes"): obv([1.0, 2.0], [3.0])


# ---------------------------------------------------------------- pandas-ta by name

def test_a_window_is_what_all_of_history_says() -> None:
    b = bars_of(200, 3)
    import pandas_ta_classic as ta
    c, h, l, v = (pd.Series(b[k]) for k in ("close", "high", "low", "volume"))
    for name, params, want, x in (("ta.cci", {"length": 20}, ta.cci(h, l, c, 20), ("high", "low", "close")),
                                  ("ta.willr", {}, ta.willr(h, l, c), ("high", "low", "close")),
                                  ("ta.mfi", {}, ta.mfi(h, l, c, v), ("high", "low", "close", "volume")),
                                  ("ta.aroon.AROONU", {}, ta.aroon(h, l).iloc[:, 1], ("high", "low"))):
        got = indicator(name, *[b[k] for k in x], **params)
        spec, _ = find("indicator", name)
        warm = spec.warmup(**spec.check(name, params))
        assert np.flatnonzero(~np.isnan(got))[0] == warm
        assert_allclose(got[warm:], want.to_numpy()[warm:], rtol=1e-4, atol=1e-4 * float(want.abs().mean()))


@pytest.mark.parametrize(("name", "params", "says"), [
    ("ta.obv", {}, "depends on its first bar"), ("ta.ad", {}, "depends on its first bar"), ("ta.dpo", {}, "looks ahead"),
    ("ta.vwap", {}, "cannot compute it from bars alone"), ("ta.xsignals", {}, "takes no column"), ("ta.ccii", {}, "did you mean 'cci'"),
    ("ta.", {}, "is not known"), ("ta.os", {}, "is not known"), ("ta.rsi", {"history": 20}, "rsi.history is 20; it needs 1?[0-9]{2,3} bars"),
    ("ta.rsi", {"lenght": 20}, "did you mean 'length'"), ("ta.rsi", {"length": [20]}, "give a number or text"),
    ("ta.rsi", {"history": 10**6}, "from 0 to 2,048"), ("ta.rsi", {"talib": True}, "'talib' is not known"),
    ("ta.macd.MACDx", {}, "output 'MACDx' is not known"), ("ta.ema", {"length": 1500}, "first bar")])
def test_what_pandas_ta_cannot_give(name: str, params: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        spec, _ = find("indicator", name)
        spec.check(name, params)


def test_what_else_is_installed_makes_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    import pandas_ta_classic as ta
    x, before = bars_of(60)["close"], ta.Imports["talib"]
    seen = []
    original = ta.rsi

    def spy(*args: Any, **kwargs: Any) -> Any:
        seen.append((ta.Imports["talib"], kwargs.get("talib")))
        return original(*args, **kwargs)
    find("indicator", "ta.rsi")
    from firebot import indicators
    indicators._known.cache_clear()
    monkeypatch.setattr(spy, "__signature__", __import__("inspect").signature(original), raising=False)
    monkeypatch.setattr(ta, "rsi", spy)
    indicators._ta("rsi", "", x[None], {"length": 14})
    assert seen == [(False, False)] and ta.Imports["talib"] == before


def test_without_the_library_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas_ta_classic", None)
    with pytest.raises(ConfigError, match=r"install it with: pip install 'firebot\[ta\]'"):
        from firebot.indicators import _other
        _other.__wrapped__("indicator", "ta.rsi")
