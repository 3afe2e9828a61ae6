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
from firebot.portfolio import ACCOUNT, fills
from firebot.runs import execute, make_job, strategies_table

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
