"Metrics against empyrical on shared definitions, and against their own policy on odd input."
import math
import pathlib
from decimal import Decimal
from types import SimpleNamespace

import empyrical
import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from firebot import metrics as M
from firebot.models import DataError

DAILY = sorted((pathlib.Path(__file__).resolve().parents[2] / "shared" / "data" / "daily").glob("*.parquet"))
# Returns on a grid of 1e-6, as real ones are: a spread below 1e-15 is rounding to us and dispersion to empyrical.
returns_lists = st.lists(st.integers(-400_000, 600_000).map(lambda i: i / 1e6), min_size=2, max_size=400)
years = st.sampled_from([12, 52, 252, 365, 1638])


def curve(r): return 1000 * np.cumprod(np.concatenate([[1.0], 1 + np.asarray(r)]))


def same(ours, theirs):
    "Equal to 1e-9 relative; what empyrical calls infinite is undefined here."
    if not math.isfinite(theirs): assert math.isnan(ours), (ours, theirs)
    else: assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-9)


def agree(r, p, rate=0.0):
    r, e = np.asarray(r, dtype=float), curve(r)
    same(M.sharpe(r, p, rate), empyrical.sharpe_ratio(r, risk_free=rate / p, annualization=p))
    same(M.sortino(r, p, rate), empyrical.sortino_ratio(r, required_return=rate / p, annualization=p))
    same(M.downside_deviation(r, p, rate), empyrical.downside_risk(r, required_return=rate / p, annualization=p))
    same(M.volatility(r, p), empyrical.annual_volatility(r, annualization=p))
    same(M.max_drawdown(e), empyrical.max_drawdown(r))
    same(M.total_return(e), empyrical.cum_returns_final(r))
    growth = empyrical.annual_return(r, annualization=p)
    if growth < 1e6:  # beyond, a last digit of the curve is worth more than 1e-9
        same(M.cagr(e, p), growth)
        if M.max_drawdown(e) < -1e-12: same(M.calmar(e, p), empyrical.calmar_ratio(r, annualization=p))


@settings(max_examples=150, deadline=None)
@given(returns_lists, years, st.sampled_from([0.0, 0.02, -0.01]))
@example([0.01] * 5, 252, 0.0)
@example([0.0] * 5, 252, 0.0)
@example([-0.01] * 5, 12, 0.02)
@example([0.6] * 400, 1638, 0.0)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_equals_empyrical(r, p, rate): agree(r, p, rate)


def test_equals_empyrical_on_seeded_random():
    rng = np.random.default_rng(20120103)
    for scale in (1e-4, 0.01, 0.08): agree(rng.standard_t(3, 5000).clip(-9, 9) * scale, 252, 0.03)


@pytest.mark.skipif(not DAILY, reason="no real bars beside the checkout")
@pytest.mark.parametrize("path", DAILY, ids=lambda p: p.stem)
def test_equals_empyrical_on_real_returns(path):
    close = pd.read_parquet(path)["close"].to_numpy()
    agree(M.returns(close), 365 if "BTC" in path.stem else 252, 0.02)


@settings(max_examples=100, deadline=None)
@given(returns_lists)
def test_drawdown_by_its_definition(r):
    e = curve(r)
    slow = [v / max(e[:i + 1]) - 1 for i, v in enumerate(e)]
    np.testing.assert_allclose(M.drawdown(e), slow, atol=1e-15)
    worst = M.worst_drawdown(e)
    if worst is None: assert min(slow) == 0
    else:
        peak, low, back = worst
        assert peak < low and e[peak] == max(e[:low + 1]) and slow[low] == min(slow)
        after = [i for i in range(low, len(e)) if e[i] >= e[peak]]
        assert back == (after[0] if after else None)


@settings(max_examples=100, deadline=None)
@given(returns_lists, st.integers(0, 20_000), st.sampled_from(["UTC", "America/New_York", "Asia/Tokyo"]))
def test_months_chain_to_the_whole(r, start, zone):
    e, day = curve(r), 86_400_000_000_000
    t = (start + np.arange(len(e))) * day + day // 2
    table = M.monthly_returns(t, e, zone)
    months = table[list(range(1, 13))].to_numpy(float)
    assert np.nanprod(1 + months) == pytest.approx(e[-1] / e[0], rel=1e-9)
    np.testing.assert_allclose(np.nanprod(1 + months, axis=1) - 1, table["year"], rtol=1e-9, atol=1e-12)
    assert list(table.index) == sorted(set(pd.DatetimeIndex(t, tz="UTC").tz_convert(zone).year))


records = st.lists(st.tuples(st.integers(-10**6, 10**6), st.integers(0, 60), st.integers(1, 30), st.booleans()),
                   max_size=30)


@settings(max_examples=100, deadline=None)
@given(records)
def test_trade_stats_by_hand(rows):
    bars = np.arange(100, dtype=np.int64) * 10
    rows = [(pnl, start, start + length, still) for pnl, start, length, still in rows]
    trades = [SimpleNamespace(pnl=Decimal(p) / 100, bars_held=b - a, commission=Decimal("0.10"), open=o,
                              entry_time=int(bars[a]), exit_time=int(bars[b])) for p, a, b, o in rows]
    s = M.trade_stats(trades)
    closed = [p / 100 for p, _, _, o in rows if not o]
    wins, losses = [p for p in closed if p > 0], [p for p in closed if p < 0]
    assert (s["trades"], s["open_trades"]) == (len(closed), len(rows) - len(closed))
    assert (s["wins"], s["losses"]) == (len(wins), len(losses))
    assert s["commission"] == pytest.approx(0.1 * len(rows))
    if closed:
        assert s["win_rate"] == len(wins) / len(closed)
        assert s["expectancy"] == pytest.approx(sum(closed) / len(closed))
        assert (s["best_trade"], s["worst_trade"]) == (max(closed), min(closed))
    else: assert all(math.isnan(s[k]) for k in ("win_rate", "expectancy", "best_trade", "worst_trade"))
    if losses: assert s["profit_factor"] == pytest.approx(sum(wins) / -sum(losses))
    else: assert math.isnan(s["profit_factor"])
    held = {i for _, a, b, o in rows for i in range(a, 100 if o else b)}
    assert M.exposure(trades, bars) == len(held) / 100
    assert M.trade_stats([vars(t) for t in trades]) == pytest.approx(s, nan_ok=True)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=12))
@example([1e-90, 1e90])
@example([1.0, -1e90])
def test_never_infinite_never_silent(values):
    "Any list of floats gives finite numbers or nan, or our refusal; never infinity, another exception or a warning."
    import warnings
    e = np.array(values)
    for f in (M.total_return, M.cagr, M.max_drawdown, M.calmar, M.volatility, M.sharpe, M.sortino):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try: got = f(e)
            except DataError: continue
        assert not math.isinf(got)
        assert np.isfinite(e).all()


def test_nan_in_a_trade_is_refused():
    trade = dict(pnl=float("nan"), bars_held=1, commission=0, open=False)
    with pytest.raises(DataError, match="pnl is nan at position 0"): M.trade_stats([trade])
    with pytest.raises(DataError, match="no 'pnl'"): M.trade_stats([dict(open=False, commission=0)])


def test_every_summary_key_is_defined():
    t = np.arange(5, dtype=np.int64) * 86_400_000_000_000
    s = M.summary(t, [100, 90, 95, 110, 105], benchmark=[1, 2, 3, 4, 5])
    assert list(s) == list(M.METRICS) == list(M.DEFINITIONS)
    for key, value in s.items(): assert M.format_metric(key, value)
