"Attribution adds up to the account, and rolling metrics are the metrics of their windows."
import pathlib
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firebot import attribution as A
from firebot import metrics as M
from firebot import rolling as R
from firebot.config import load_config
from firebot.models import DataError
from firebot.portfolio import ACCOUNT, fills
from firebot.runs import execute, make_job, sectors_table, strategies_table

CONFIG = pathlib.Path(__file__).resolve().parent.parent / "nbs" / "runs" / "backtest.yaml"


@pytest.fixture(scope="module")
def outcome(): return execute(make_job(load_config(CONFIG.read_text())))


def test_strategies_add_up_to_the_account(outcome):
    o = outcome
    p = A.strategy_performance(o.daily, o.trades, o.job.setup.cash)
    r = o.result
    assert p.loc[ACCOUNT, "pnl"] == Decimal(int(r.equity[-1, 0])).scaleb(-r.setup.cash_scale) - o.job.setup.cash
    assert p["pnl"].iloc[:-1].sum() == p.loc[ACCOUNT, "pnl"] == sum(t.pnl for t in o.trades)
    assert p["trades"].iloc[:-1].sum() == p.loc[ACCOUNT, "trades"] == o.metrics["trades"]
    assert p.loc[ACCOUNT, "sharpe"] == pytest.approx(o.metrics["sharpe"], rel=5e-3)  # its first day has a return too
    assert p.loc[ACCOUNT, "max_drawdown"] == pytest.approx(o.metrics["max_drawdown"], rel=1e-12)
    parts = A.contributions(o.daily, o.job.setup.cash)
    np.testing.assert_allclose(parts.iloc[:, :-1].sum(axis=1), parts[ACCOUNT], rtol=0, atol=1e-15)
    for by in ("symbol", "direction", "strategy_id"):
        split = A.split_trades(o.trades, by)
        assert split["pnl"].iloc[:-1].sum() == split.loc[ACCOUNT, "pnl"] == p.loc[ACCOUNT, "pnl"]
    for name in p.index[:-1]: assert A.split_trades(o.trades, "strategy_id").loc[name, "pnl"] == p.loc[name, "pnl"]
    days = A.daily_summary(o.daily)
    assert (days["total"] == p["pnl"]).all() and (days["realized"] + days["unrealized"] == days["total"]).all()
    assert len(strategies_table(o).rows) == len(p)


def test_history_ends_where_the_whole_does(outcome):
    o = outcome
    p = A.strategy_performance(o.daily, o.trades, o.job.setup.cash)
    h = A.strategy_history(o.daily, o.trades, o.events, o.job.setup.cash)
    for name, rows in h.groupby("strategy_id"):
        last = rows.iloc[-1]
        assert rows["pnl"].sum() == p.loc[name, "pnl"] and rows["trades"].sum() == p.loc[name, "trades"]
        assert last["sharpe"] == p.loc[name, "sharpe"] and last["max_drawdown"] == p.loc[name, "max_drawdown"]
        assert last["win_rate"] == p.loc[name, "win_rate"]
    assert h["signals"].sum() == sum(e.kind == "signal" for e in o.events) > 0


def test_positions_and_cash_are_the_equity(outcome):
    o = outcome
    values = o.position_values
    cash = {x.date: float(x.cash) for x in o.daily if x.strategy_id == ACCOUNT}
    assert len(cash) == len(o.equity)  # daily bars
    np.testing.assert_allclose(values.sum(axis=1) + np.array(list(cash.values())), o.equity, rtol=0, atol=0.05)
    stats = M.exposure_stats(values, o.equity)
    assert {k: o.metrics[k] for k in stats} == stats
    amounts = [float(f.amount) for f in fills(o.events)]
    assert o.metrics["turnover"] == pytest.approx(M.turnover(amounts, o.equity), rel=1e-5)


lists = st.lists(st.tuples(*[st.integers(-90_000, 90_000).map(lambda i: i / 1e6)] * 2), min_size=3, max_size=60)


@settings(max_examples=40, deadline=None)
@given(lists, st.integers(2, 20))
def test_rolling_is_the_metric_of_each_window(pairs, window):
    r, b = (np.array(x) for x in zip(*pairs))
    window = min(window, len(r))
    got, (alphas, betas) = R.rolling(r, window, 252, 0.02), R.rolling_alpha_beta(r, b, window, 252, 0.02)
    for t in range(window - 1, len(r)):
        x, y = r[t - window + 1:t + 1], b[t - window + 1:t + 1]
        whole, pair = M.figures(x, 252, 0.02), M.relative(x, y, 252, 0.02)
        np.testing.assert_array_equal([got[k][t] for k in R.FIGURES], [whole[k] for k in R.FIGURES])
        np.testing.assert_array_equal([alphas[t], betas[t]], [pair.alpha, pair.beta])
    assert all(np.isnan(x[:window - 1]).all() for x in (*got.values(), alphas, betas))


def test_rolling_equals_pandas():
    rng = np.random.default_rng(11)
    r, b = rng.normal(0.0005, 0.01, (2, 800))
    s, m = pd.Series(r), pd.Series(b)
    np.testing.assert_allclose(R.rolling_volatility(r, 63), s.rolling(63).std() * 252**0.5, rtol=1e-9)
    np.testing.assert_allclose(R.rolling_sharpe(r, 63), s.rolling(63).mean() / s.rolling(63).std() * 252**0.5, rtol=1e-9)
    np.testing.assert_allclose(R.rolling_beta(r, b, 63), s.rolling(63).cov(m) / m.rolling(63).var(), rtol=1e-9)
    np.testing.assert_allclose(R.rolling_return(r, 63), (1 + s).rolling(63).apply(np.prod) - 1, rtol=1e-9, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 4), st.booleans())
def test_allocation_and_selection_are_the_excess_return(seed, bars, groups, empty):
    "Whatever the weights, also of sectors that one side does not hold, effects come to the difference of the compounded returns"
    rng = np.random.default_rng(seed)
    w, v = (rng.dirichlet(np.ones(groups + 1), bars)[:, 1:] * (rng.random((bars, groups)) > 0.3 * empty) for _ in range(2))
    w, v = (np.column_stack([x, 1 - x.sum(axis=1)]) for x in (w, v))
    r, b = rng.normal(0, 0.02, (2, bars, groups + 1))
    table = A.brinson(w, w * r, v, v * b, [*map(str, range(groups)), "Cash"])
    excess = np.prod(1 + (w * r).sum(axis=1)) - np.prod(1 + (v * b).sum(axis=1))
    np.testing.assert_allclose(table.loc["*", ["excess", "allocation"]], [excess, excess - table.loc["*", "selection"]], atol=1e-12)
    np.testing.assert_allclose(table["allocation"] + table["selection"], table["excess"], atol=1e-12)
    same = A.brinson(v, v * b, v, v * b, [*map(str, range(groups)), "Cash"])
    np.testing.assert_allclose(same[["allocation", "selection"]], 0, atol=1e-12)


def test_symbols_add_up_and_sectors_tell_the_excess(outcome):
    o = outcome
    made = A.symbol_pnl(o.events, o.job.panel.symbols, o.position_values)
    np.testing.assert_allclose(float(o.job.setup.cash) + made.sum(axis=1).cumsum(), o.equity, rtol=0, atol=0.05)
    table = sectors_table(o)
    assert table.rows[-1][0] == "All" and table.rows[-2][0] == "Cash" and table.rows[-1][-1] == f"{o.metrics['excess_return']:.2%}"


def test_a_ruined_account_has_no_attribution():
    with pytest.raises(DataError, match="ruined"): A.brinson(*(np.ones((1, 1)) * x for x in (1, -1.0, 1, 0.1)), ["Tech"])
