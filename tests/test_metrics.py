"Metrics against empyrical on shared definitions, and against their own policy on odd input."
import itertools
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
from scipy import stats

from firebot import metrics as M
from firebot.glossary import DEFINITIONS, format_metric
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
    "Every definition shared with empyrical, and what a conversion makes shared."
    r, e = np.asarray(r, dtype=float), curve(r)
    got = M.figures(r, p, rate)
    bar = dict(annualization=p)
    same(got["sharpe"], empyrical.sharpe_ratio(r, risk_free=rate / p, **bar))
    same(got["sortino"], empyrical.sortino_ratio(r, required_return=rate / p, **bar))
    same(got["downside_deviation"], empyrical.downside_risk(r, required_return=rate / p, **bar))
    same(got["volatility"], empyrical.annual_volatility(r, **bar))
    same(got["max_drawdown"], empyrical.max_drawdown(r))
    same(got["total_return"], empyrical.cum_returns_final(r))
    same(got["omega"], empyrical.omega_ratio(r, risk_free=rate / p))
    same(got["value_at_risk"], empyrical.value_at_risk(r))
    same(got["conditional_value_at_risk"], empyrical.conditional_value_at_risk(r))
    same(M.value_at_risk(r, 0.01), empyrical.value_at_risk(r, 0.01))
    same(M.expected_shortfall(r, 0.2), empyrical.conditional_value_at_risk(r, 0.2))
    same(got["tail_ratio"], empyrical.tail_ratio(r))
    if got["volatility"] > 1e-12:
        same(got["skew"], stats.skew(r))
        same(got["kurtosis"], stats.kurtosis(r))
        if np.std(np.log1p(r).cumsum()) > 1e-12: same(got["stability"], empyrical.stability_of_timeseries(r))
    growth = empyrical.annual_return(r, annualization=p)
    if growth < 1e6:  # beyond, a last digit of the curve is worth more than 1e-9
        same(got["cagr"], growth)
        if got["max_drawdown"] < -1e-12: same(got["calmar"], empyrical.calmar_ratio(r, annualization=p))
    alone(r, e, p, rate, got)


def alone(r, e, p, rate, got):
    "The functions give the bits of the pass, and the pass those of the batch."
    one = dict(total_return=M.total_return(e), cagr=M.cagr(e, p), volatility=M.volatility(r, p), sharpe=M.sharpe(r, p, rate),
               downside_deviation=M.downside_deviation(r, p, rate), sortino=M.sortino(r, p, rate), omega=M.omega(r, p, rate),
               gain_to_pain=M.gain_to_pain(r), stability=M.stability(r), skew=M.skew(r), kurtosis=M.kurtosis(r),
               value_at_risk=M.value_at_risk(r), conditional_value_at_risk=M.conditional_value_at_risk(r),
               gaussian_value_at_risk=M.value_at_risk(r, method="gaussian"),
               gaussian_conditional_value_at_risk=M.expected_shortfall(r, method="gaussian"), tail_ratio=M.tail_ratio(r),
               best_bar=r.max(), worst_bar=r.min())
    chained = np.cumprod([1.0, *(1 + r)])
    one |= dict(total_return=M.total_return(chained), cagr=M.cagr(chained, p), calmar=M.calmar(chained, p),
                max_drawdown=M.max_drawdown(chained), longest_drawdown=M.longest_drawdown(chained),
                ulcer_index=M.ulcer_index(chained), pain_index=M.pain_index(chained),
                recovery_factor=M.recovery_factor(chained))
    assert set(one) == set(M.Figures._fields)
    trials = M.many(np.stack([r[::-1], r, -r], axis=1), p, rate)
    for k in M.Figures._fields:
        np.testing.assert_array_equal(one[k], got[k], err_msg=k)
        np.testing.assert_array_equal(trials[k][1], got[k], err_msg=k)


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


def against(r, b, p, rate):
    "Every definition of the comparison with a benchmark that is shared with empyrical."
    r, b = np.asarray(r, dtype=float), np.asarray(b, dtype=float)
    got = M.relative(r, b, p, rate)
    if np.ptp(b) > 1e-12:
        same(got.beta, empyrical.beta(r, b, rate / p))
        found = empyrical.alpha(r, b, rate / p, annualization=p)
        if abs(found) < 1e6: same(got.alpha, found)
        if np.ptp(r) > 1e-12: same(got.correlation, np.corrcoef(r, b)[0, 1])
    if np.ptp(r - b) > 1e-12:
        same(M.information_ratio(r, b, 1), empyrical.excess_sharpe(r, b))
        same(got.information_ratio, empyrical.excess_sharpe(r, b) * p**0.5)
        same(got.tracking_error, np.std(r - b, ddof=1) * p**0.5)
    for ours, f, mask in ((got.up_capture, empyrical.up_capture, b > 0), (got.down_capture, empyrical.down_capture, b < 0)):
        growths = [empyrical.annual_return(x[mask]) for x in (r, b)]
        if p == 252 and mask.any() and max(map(abs, growths)) < 1e6: same(ours, f(r, b))
        if not mask.any(): assert math.isnan(ours)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(*[st.integers(-400_000, 600_000).map(lambda i: i / 1e6)] * 2), min_size=2, max_size=300), years,
       st.sampled_from([0.0, 0.02]))
@example([(0.01, 0.0)] * 4, 252, 0.0)
@example([(0.01, 0.02), (0.03, 0.01)] * 100, 252, 0.02)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_benchmark_equals_empyrical(pairs, p, rate): against(*zip(*pairs), p, rate)


@pytest.mark.skipif(not DAILY, reason="no real bars beside the checkout")
def test_benchmark_equals_empyrical_on_real_returns():
    close = {f.stem: pd.read_parquet(f).set_index("timestamp")["close"] for f in DAILY}
    both = pd.concat([close["IBM"], close["SPY"]], axis=1).dropna()
    against(*(M.returns(both.iloc[:, i].to_numpy()) for i in (0, 1)), 252, 0.02)


def quantstats():
    import warnings

    import matplotlib
    matplotlib.use("Agg")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import quantstats.stats as q
    return q


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(*[st.integers(-90_000, 90_000).map(lambda i: i / 1e6)] * 2), min_size=30, max_size=150))
@pytest.mark.filterwarnings("ignore")
def test_equals_quantstats_and_differs_as_the_page_says(pairs):
    q, n = quantstats(), len(pairs)
    days = pd.bdate_range("2004-01-01", periods=n)
    r, b = (pd.Series(np.array(x) + 1e-7, index=days) for x in zip(*pairs))  # never exactly zero, never all alike
    if np.ptp(r) < 1e-3 or np.ptp(b) < 1e-3 or (r > 0).all() or (r < 0).all() or (b > 0).all() or (b < 0).all(): return
    ours = M.figures(r, 252)
    same(ours["total_return"], q.comp(r))
    same(ours["sharpe"], q.sharpe(r))
    same(ours["sortino"], q.sortino(r))
    same(ours["volatility"], q.volatility(r))
    if abs(q.cagr(r)) < 1e6:
        same(ours["cagr"], q.cagr(r))
        same(ours["calmar"], q.calmar(r))
    same(ours["max_drawdown"], q.max_drawdown(r))
    same(ours["omega"], q.omega(r))
    same(ours["gaussian_value_at_risk"], q.value_at_risk(r))
    same(ours["gaussian_conditional_value_at_risk"], q.expected_shortfall(r))
    same(ours["tail_ratio"], q.tail_ratio(r))
    same(ours["gain_to_pain"], q.gain_to_pain_ratio(r, resolution="B"))
    same(ours["best_bar"], q.best(r))
    same(M.beta(r, b), q.greeks(r, b)["beta"])
    same(M.information_ratio(r, b, 1), q.information_ratio(r, b))
    same(M.relative(r, b).correlation ** 2, q.r_squared(r, b))
    # where the definitions differ, the conversion of the page's table
    same(ours["ulcer_index"] * (n / (n - 1)) ** 0.5, q.ulcer_index(r))
    same(ours["recovery_factor"] * abs(r.sum()) / ours["total_return"], q.recovery_factor(r))
    same(ours["skew"] * (n * (n - 1)) ** 0.5 / (n - 2), q.skew(r))
    same(((n + 1) * ours["kurtosis"] + 6) * (n - 1) / ((n - 2) * (n - 3)), q.kurtosis(r))
    rate = 0.03
    a_bar = 1.03 ** (1 / 252) - 1
    same(M.sharpe(r, 252, a_bar * 252), q.sharpe(r, rf=rate))
    same(M.sortino(r, 252, a_bar * 252), q.sortino(r, rf=rate))
    same(M.omega(r, 252, a_bar * 252), q.omega(r, required_return=rate))
    same(r.mean() * 252 - M.beta(r, b) * b.mean() * 252, q.greeks(r, b)["alpha"])
    same((ours["total_return"] - rate) / M.beta(r, b), q.treynor_ratio(r, b, rf=rate))
    k = np.sort(r)[int((n - 1) * 0.05)]
    if (r == k).sum() == 1: same(ours["conditional_value_at_risk"], q.cvar(r, method="historical"))


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
    trades = [SimpleNamespace(pnl=Decimal(p) / 100, bars_held=b - a, commission=Decimal("0.10"), open=o, return_pct=Decimal(p) / 10**8,
                              entry_time=int(bars[a]), exit_time=int(bars[b])) for p, a, b, o in rows]
    s = M.trade_stats(trades)
    closed = [p / 100 for p, _, _, o in rows if not o]
    wins, losses = [p for p in closed if p > 0], [p for p in closed if p < 0]
    assert (s["trades"], s["open_trades"]) == (len(closed), len(rows) - len(closed))
    assert (s["wins"], s["losses"]) == (len(wins), len(losses))
    assert s["commission"] == pytest.approx(0.1 * len(rows))
    order = [p for p, _, _, o in sorted(rows, key=lambda x: bars[x[2]]) if not o]
    for name, sign in (("win_streak", 1), ("loss_streak", -1)):
        runs = [len(list(g)) for hit, g in itertools.groupby(p * sign > 0 for p in order) if hit]
        assert s[name] == max(runs, default=0)
    if wins and losses:
        payoff = (sum(wins) / len(wins)) / -(sum(losses) / len(losses))
        assert s["payoff_ratio"] == pytest.approx(payoff)
        assert s["kelly"] == pytest.approx(s["win_rate"] - (1 - s["win_rate"]) / payoff)
    if len(set(closed)) > 1:
        assert s["system_quality"] == pytest.approx(len(closed) ** 0.5 * np.mean(closed) / np.std(closed, ddof=1))
    if closed:
        assert s["expectancy_pct"] == pytest.approx(sum(closed) / len(closed) / 1e6)
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
    for f in (M.total_return, M.cagr, M.max_drawdown, M.longest_drawdown, M.calmar, M.ulcer_index, M.pain_index, M.recovery_factor,
              M.volatility, M.sharpe, M.sortino, M.skew, M.kurtosis, M.omega, M.gain_to_pain, M.stability, M.value_at_risk,
              M.expected_shortfall, M.tail_ratio, M.figures, lambda x: M.relative(x, x[::-1])._asdict(),
              lambda x: M.exposure_stats([[1.0, -2.0]] * len(x), x), lambda x: M.turnover([1.0, 2.0], x)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try: got = f(e)
            except DataError: continue
        assert not any(map(math.isinf, got.values() if isinstance(got, dict) else [got])), (f, got)
        assert np.isfinite(e).all()


def test_nan_in_a_trade_is_refused():
    trade = dict(pnl=float("nan"), bars_held=1, commission=0, return_pct=0, exit_time=0, open=False)
    with pytest.raises(DataError, match="pnl is nan at position 0"): M.trade_stats([trade])
    with pytest.raises(DataError, match="no 'pnl'"): M.trade_stats([dict(open=False, commission=0, exit_time=0)])


def test_every_summary_key_is_defined():
    t = np.arange(5, dtype=np.int64) * 86_400_000_000_000
    s = M.summary(t, [100, 90, 95, 110, 105], benchmark=[1, 2, 3, 4, 5], values=np.ones((5, 1)))
    assert list(s) == list(M.METRICS) == list(DEFINITIONS)
    assert set(M.Figures._fields) | set(M.Relative._fields) <= set(s)
    for key, value in s.items(): assert format_metric(key, value)


POLICY = {  # d: a number, n: undefined, 0: zero; in the order of Figures, then of Relative
    "empty": "0nnnnnnnnnnnn00nnnnnnnnn" "nnnnnnnn",
    "one": "dddd" "n" "0nn" "nnnn" "n00" "00" "nn" "ddnn" "d" "nnnnnndn",
    "zeros": "0000" "00nn" "nnnn" "n00" "00" "nn" "0000" "n" "00nddn00",
    "steady": "dddd" "00nn" "nnnn" "d00" "00" "nn" "dddd" "d" "d0nddndd",
    "gains": "dddd" "d0dn" "nnnn" "d00" "00" "dd" "dddd" "d" "dddddddd",
    "losses": "dddd" "dddd" "d0dd" "ddd" "dd" "dd" "dddd" "d" "dddddddd",
    "ruin": "dddd" "dddd" "dddd" "ndd" "dd" "dd" "dddd" "d" "dddddddd",
    "flat benchmark": "dddd" "dddd" "dddd" "ddd" "dd" "dd" "dddd" "d" "nnnddnnn"}


def test_policy_for_poor_input():
    "The page's table, pinned."
    monthly = [0.04, -0.02, 0.05, -0.04, 0.03, 0.06, -0.01, -0.03, 0.00, 0.02, 0.04, 0.01]
    poor = {"empty": [], "one": [0.01], "zeros": [0.0] * 5, "steady": [0.01] * 5, "gains": [0.01, 0.02, 0.01, 0.03, 0.02],
            "losses": [-0.01, -0.02, -0.01, -0.03, -0.02], "ruin": [0.01, -0.02, -1.0], "flat benchmark": monthly}
    b = np.array([0.03, 0.02, -0.01, -0.02, 0.01, 0.0, 0.02, -0.03, 0.01, 0.02, -0.01, 0.02])
    found = {}
    for name, x in poor.items():
        other = np.zeros(12) if name == "flat benchmark" else b[:len(x)]
        values = [*M.figures(x, 12).values(), *M.relative(x, other, 12)]
        assert not any(map(math.isinf, values)), name
        found[name] = "".join("n" if v != v else "0" if v == 0 else "d" for v in values)
    assert found == POLICY
    assert M.figures([0.01, -0.02, -1.0, 0.5, 0.5]) == pytest.approx(M.figures([0.01, -0.02, -1.0]), nan_ok=True)
    assert M.figures([0.01, -0.02, -1.0])["max_drawdown"] == M.figures([0.01, -0.02, -1.0])["cagr"] == -1
    trials = M.many(np.array([[0.01, 0.02], [-1.0, 0.01], [0.5, 0.03]]))
    assert trials["total_return"][0] == -1 and trials["total_return"][1] == M.figures([0.02, 0.01, 0.03])["total_return"]
    for bad in (0, 0.6, -1, float("nan")):
        with pytest.raises(DataError, match="cutoff"): M.tail_ratio(monthly, bad)
    with pytest.raises(DataError, match="unknown method"): M.value_at_risk(monthly, method="modified")


@pytest.mark.parametrize("offset", [0.0, 1.0, 1000.0])
def test_a_million_returns_far_from_zero(offset):
    "Deviations of 1e-6 around a large mean keep their digits; a sum of squares would lose them all."
    x = np.random.default_rng(6).normal(0, 1e-6, 1_000_000)
    shifted = x + offset
    exact = shifted - offset  # what the floats really hold, free of the offset
    h, small = (M._of(v) for v in (shifted, exact))
    assert h.spread == pytest.approx(small.spread, rel=1e-9) == pytest.approx(float(np.std(exact, ddof=1)), rel=1e-9)
    assert h.skew == pytest.approx(small.skew, abs=1e-7) and h.kurtosis == pytest.approx(small.kurtosis, abs=1e-7)
    assert h.mean == pytest.approx(math.fsum(shifted) / 1e6, rel=1e-15, abs=1e-22)


def test_small_logs_to_a_few_units_in_the_last_place():
    r = np.concatenate([np.linspace(-1 / 16, 1 / 16, 100_001), 10.0 ** -np.arange(2, 90), -(10.0 ** -np.arange(2, 90))])
    out = np.empty(len(r))
    M._small_logs(r, out)
    assert (abs(out - np.log1p(r)) <= 4 * np.spacing(abs(out))).all()


@settings(max_examples=60, deadline=None)
@given(returns_lists)
def test_drawdowns_tile_the_time_under_water(r):
    e = curve(r)
    d, found = M.drawdown(e), M.drawdowns(e)
    assert [x.depth for x in found] == sorted(x.depth for x in found)
    below = {i for x in found for i in range(x.peak + 1, len(e) if x.recovery is None else x.recovery)}
    assert below == set(np.flatnonzero(d < 0))
    assert M.longest_drawdown(e) == max(((len(e) if x.recovery is None else x.recovery) - x.peak - 1 for x in found), default=0)
    t = np.arange(len(e)) * 86_400_000_000_000
    assert len(M.drawdown_table(t, e, top=3)) == min(3, len(found))


@settings(max_examples=60, deadline=None)
@given(returns_lists, st.integers(0, 10**6), st.sampled_from([60, 900, 3600, 86_400]), st.sampled_from(["UTC", "America/New_York"]))
def test_days_chain_to_the_whole(r, start, step, zone):
    e = curve(r)
    t = (start * 60 + np.arange(len(e)) * step) * 1_000_000_000
    days, values = M.daily_curve(t, e, zone)
    assert (np.diff(days.astype(int)) > 0).all() and len(days) == len(values)
    assert values[-1] == e[-1] and M.total_return(values) == pytest.approx(M.total_return(e), rel=1e-12, abs=1e-12)
    local = pd.DatetimeIndex(t, tz="UTC").tz_convert(zone)
    assert set(days[-len(set(local.date)):].astype(str)) == {str(d) for d in local.date}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(-300, 300), min_size=2, max_size=2), min_size=1, max_size=30))
def test_exposure_of_long_and_short(rows):
    v, e = np.array(rows, float), np.full(len(rows), 1000.0)
    gross, net = M.exposures(v, e)
    assert (abs(net) <= gross + 1e-15).all() and gross == pytest.approx(abs(v).sum(axis=1) / 1000)
    s = M.exposure_stats(v, e)
    assert s["max_gross_exposure"] == gross.max() and s["average_net_exposure"] == pytest.approx(net.mean())


@pytest.mark.parametrize("kind", ["fat", "ties", "constant", "sorted", "misleading"])
@pytest.mark.parametrize("cutoff", [0.0001, 0.01, 0.05, 0.3, 0.5])
def test_tails_of_a_long_series_are_exact_whatever_the_sample_says(kind, cutoff):
    n = 4 * M.SAMPLE + 7
    x = np.random.default_rng(5).standard_t(4, n).clip(-8, 8) * 0.004
    if kind == "ties": x = x.round(3)
    if kind == "constant": x = np.full(n, 0.001)
    if kind == "sorted": x = np.sort(x)
    if kind == "misleading": x[::n // M.SAMPLE] = 0.05  # every value that is sampled
    found, ranked = M._tails(x[None], cutoff), np.sort(x)
    assert found.low[0] == pytest.approx(np.quantile(x, cutoff), rel=1e-12) and found.worst[0] == ranked[:int((n - 1) * cutoff) + 1].mean()
    assert found.high[0] == pytest.approx(np.quantile(x, 1 - cutoff), rel=1e-12)
    assert [v.tolist() for v in M._tails(np.stack([x, x]), cutoff)] == [v.tolist() * 2 for v in found]
