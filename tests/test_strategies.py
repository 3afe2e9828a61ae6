"Strategies against plain double-checks of their rules, and against themselves in both clocks; what they say as the journal has it."
import csv
import io
import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from test_ideas import panel_of, panels, walk

from firebot.config import load_config
from firebot.engine import Seat, Setup, backtest, stepwise, to_events
from firebot.feed import Panel, load_panel, make_panel, replay
from firebot.fills import PROFILES, get_profile
from firebot.journal import Event, canonical, plain_json, read, signal_rows, signals_csv, write
from firebot.models import (
    Bar,
    Bars,
    ConfigError,
    Direction,
    Instrument,
    JournalError,
    Order,
    OrderError,
    OrderStatus,
    Signal,
    session_open,
    to_ns,
)
from firebot.rules import PairsStrategy, RuleStrategy, make_strategy
from firebot.runs import execute, make_job, result_files
from firebot.sources import SampleSource
from firebot.strategies import STRATEGIES, Strategy, StreamRunner, batch_signals, groups, register, shift

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from backtesting.lib import crossover
    from backtesting.test import GOOG

PAIR = {"first": "S1", "second": "S0"}
EAGER: dict[str, list[dict[str, Any]]] = {
    "BuyAndHoldStrategy": [{}],
    "MomentumStrategy": [{"lookback_window": 2, "threshold": 0.01}, {"lookback_window": 3, "threshold": 0.0, "allow_short": True}],
    "SmaCrossStrategy": [{"fast": 2, "slow": 4}, {"fast": 1, "slow": 3, "allow_short": True}],
    "MeanReversionStrategy": [{"lookback_window": 4, "entry": 0.8}, {"lookback_window": 3, "entry": 1.0, "exit": 0.3, "allow_short": True}],
    "BreakoutStrategy": [{"entry_window": 3, "exit_window": 2}, {"entry_window": 2, "exit_window": 2, "allow_short": True}],
    "PairsStrategy": [{**PAIR, "lookback_window": 4, "entry": 0.9},
                      {**PAIR, "lookback_window": 5, "hedge": "regression", "entry": 0.8, "allow_short": True}],
    "RuleStrategy": [{"fast_window": 2, "slow_window": 4, "rsi_window": 3},
                     {"fast": "ema", "slow": "sma", "fast_window": 2, "slow_window": 3, "rsi": "veto", "rsi_window": 2, "allow_short": True,
                      "volatility": True, "volatility_window": 3, "volume": True, "volume_window": 2, "min_volume": 0.9},
                     {"cross": False, "rsi_window": 2, "volume": True, "volume_window": 3}]}


@pytest.mark.parametrize(("params", "says"), [
    ({"fast": 0}, "cross.fast is 0"), ({"fast": 20, "slow": 20}, "smaller than slow"), ({"fast": 50}, "smaller than slow"),
    ({"fsat": 5}, "did you mean 'fast'"), ({"slow": "20"}, "cross.slow is '20'")])
def test_cross_refuses(params: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says): make_strategy("cross", "SmaCrossStrategy", params)


# ---------------------------------------------------------------- strategies

class Dip(Strategy):
    "Per bar, listens, remembers, and has opinions of every kind"
    def __init__(self, strategy_id: str, config: Mapping[str, Any] | None = None) -> None:
        super().__init__(strategy_id, config)
        self.seen: dict[str, float] = {}
    def features(self) -> Mapping[str, Any]: return {"change": ("returns", {"window": 1}), "mean": ("sma", {"window": 3})}
    def on_data(self, data: Bar) -> None: self.seen[data.symbol] = float(data.close)
    def generate_signal(self, features: dict[str, float]) -> Signal | None:
        others = sum(self.seen.values()) / len(self.seen)
        if features["change"] == 0: return None
        if self.bar.close < others: return self.signal("SELL", 0.25, mean=features["mean"])
        return self.signal("BUY", min(1.0, abs(features["change"]) + 0.01)) if features["change"] < 0 else self.signal("FLAT")
    def state(self) -> dict[str, Any]: return dict(self.seen)
    def restore(self, state: Mapping[str, Any]) -> None: self.seen = dict(state)


class Turn(Strategy):
    "Vectorised, three rows deep"
    window = 3
    def features(self) -> Mapping[str, Any]: return {"x": ("last",), "strength": ("rsi", {"window": 2})}
    def signals(self, features: dict[str, np.ndarray]) -> np.ndarray:
        x, before, first = features["x"], shift(features["x"]), shift(features["x"], 2)
        return np.where((before < first) & (x > before), 0.5, np.where((before > first) & (x < before), -1.0, np.nan))


class Leader(Strategy):
    "All of the first two, side by side: long the one that did better over two rows"
    window, together = 2, ("S1", "S0")
    def features(self) -> Mapping[str, Any]: return {"change": ("returns", {"window": 1})}
    def signals(self, features: dict[str, np.ndarray]) -> np.ndarray:
        both = features["change"] + shift(features["change"])
        return np.where(both == both.max(axis=1, keepdims=True), 1.0, -0.5)


def ideas(panel: Panel) -> list[Strategy]:
    "Everything that can judge `panel`, several times where it has switches"
    made = [make_strategy(f"{name}{i}", name, params) for name, sets in EAGER.items() for i, params in enumerate(sets)]
    return [s for s in [*made, Dip("dip"), Turn("turn"), Leader("leader")] if set(s.together) <= set(panel.symbols)]


def test_all_shipped_strategies_are_tested() -> None:
    assert set(EAGER) == {name for name, cls in STRATEGIES.items() if cls.__module__ == "firebot.rules"}


@settings(max_examples=60)
@given(panel=panels(), cut=st.integers(0, 50))
def test_both_clocks_think_the_same_also_after_a_resume(panel: Panel, cut: int) -> None:
    for idea, again in zip(ideas(panel), ideas(panel)):
        there: list[Signal] = []
        here: list[Signal] = []
        batch = batch_signals(idea, panel, there)
        first, second = StreamRunner(idea, len(panel.symbols)), StreamRunner(again, len(panel.symbols))
        rows = [first.update(row.panel, here) for row in replay(panel[:cut])]
        second.restore(json.loads(json.dumps(first.state(), allow_nan=False)))
        rows += [second.update(row.panel, here) for row in replay(panel[cut:])]
        assert_array_equal(np.array(rows), batch, err_msg=idea.strategy_id)
        assert here == there and len(here) == np.isfinite(batch).sum()
        assert not np.isfinite(batch[np.isnan(panel.close)]).any()


@settings(max_examples=60)
@given(panel=panels(), cut=st.integers(1, 50))
def test_nothing_looks_ahead(panel: Panel, cut: int) -> None:
    for idea in ideas(panel): assert_array_equal(batch_signals(idea, panel[:cut]), batch_signals(idea, panel)[:cut])


def test_nothing_looks_ahead_on_real_bars() -> None:
    panel = load_panel(SampleSource(), ["AAPL", "GOOG", "IBM"], date(2004, 1, 2), date(2006, 12, 29))
    for name in EAGER:
        params = {"first": "GOOG", "second": "IBM"} if name == "PairsStrategy" else {}
        whole = batch_signals(make_strategy(name, name, params), panel)
        for end in (1, 30, 289, 290, 500): assert_array_equal(batch_signals(make_strategy(name, name, params), panel[:end]), whole[:end])
        assert np.isfinite(whole).any()


@settings(max_examples=60)
@given(panel=panels())
def test_a_symbol_is_judged_by_its_own_bars(panel: Panel) -> None:
    for idea in ideas(panel):
        if isinstance(idea, Dip) or idea.together: continue # which look at the others, and may
        together = batch_signals(idea, panel)
        for s in range(len(panel.symbols)):
            alone = make_panel([panel.bars(s)], panel.instruments[s:s + 1])
            assert_array_equal(batch_signals(idea, alone)[:, 0], together[~np.isnan(panel.close[:, s]), s])


def test_who_is_asked_and_when() -> None:
    asked, seen = [], []

    class Curious(Strategy):
        def features(self) -> Mapping[str, Any]: return {"mean": ("sma", {"window": 2})}
        def on_data(self, data: Bar) -> None: seen.append((data.symbol, float(data.close)))
        def generate_signal(self, features: dict[str, float]) -> Signal | None:
            asked.append((self.bar.symbol, float(self.bar.close), features["mean"], len(seen)))
            return self.signal(Direction.LONG)

    nan, records = np.nan, []
    out = batch_signals(Curious("c"), panel_of([[1, 2, nan, 4], [nan, 20, 30, 40]]), records)
    assert asked == [("S0", 2, 1.5, 3), ("S1", 30, 25, 4), ("S0", 4, 3, 6), ("S1", 40, 35, 6)]
    assert_array_equal(out, [[nan, nan], [1, nan], [nan, 1], [1, 1]])
    assert [s.timestamp.hour for s in records] == [2, 3, 4, 4] and records[0].strategy_id == "c"


def test_a_strategy_can_be_asked_by_hand() -> None:
    momentum = make_strategy("m", "firebot.strategies.MomentumStrategy", {"threshold": Decimal("0.05")})
    with pytest.raises(OrderError, match="has not seen a bar"): momentum.generate_signal({"change": 0.1})
    batch_signals(momentum, panel_of([walk(40).tolist()]))
    bar = Bar(session_open(date(2012, 1, 3)), "IBM", *[Decimal("186.3")] * 5)
    momentum.on_data(bar)
    got = momentum.generate_signal({"change": 0.1})
    assert got == Signal(datetime(2012, 1, 3, 21, tzinfo=UTC), "IBM", Direction.LONG, 1.0, "m", {"change": 0.1})
    assert momentum.generate_signal({"change": -0.1}).direction == Direction.FLAT
    assert momentum.generate_signal({"change": 0.05}) is None and momentum.generate_signal({"change": -0.05}) is None


def answers(got: Any, vectorised: bool) -> Strategy:
    class Answers(Strategy):
        def features(self) -> Mapping[str, Any]: return {"x": ("last",)}
    setattr(Answers, "signals" if vectorised else "generate_signal", lambda self, features: got(self, features))
    return Answers("odd")


@pytest.mark.parametrize(("vectorised", "got", "says"), [
    (True, lambda self, f: f["x"][1:] * 0, "of shape"), (True, lambda self, f: 1.0, "of shape"),
    (True, lambda self, f: f["x"] * 0 + 1.5, "odd gave the signal 1.5"), (True, lambda self, f: f["x"] * np.inf, "signal inf"),
    (False, lambda self, f: 1.0, "answered 1.0"), (False, lambda self, f: self.signal("BUY", 0.0), "confidence 0"),
    (False, lambda self, f: self.signal("BUY", 1.5), "between 0 and 1"), (False, lambda self, f: self.signal("HODL"), "HODL"),
    (False, lambda self, f: self.signal("BUY", float("nan")), "between 0 and 1"),
    (False, lambda self, f: Signal(self.bar.timestamp, "S9", Direction.LONG), "of that symbol")])
def test_an_opinion_that_is_none(vectorised: bool, got: Any, says: str) -> None:
    panel = panel_of([[5.0, 6.0, 7.0]])
    with pytest.raises(OrderError, match=says): batch_signals(answers(got, vectorised), panel)
    with pytest.raises(OrderError, match=says): StreamRunner(answers(got, vectorised), 1).update(panel[:1])


def test_what_is_no_strategy() -> None:
    class Neither(Strategy): pass
    class Both(Turn):
        def generate_signal(self, features: dict[str, float]) -> Signal | None: return None
    class Blind(Strategy):
        def signals(self, features: dict[str, np.ndarray]) -> np.ndarray: return np.zeros((1, 1))
    class Waits(Dip):
        def on_fill(self, order: Any) -> None: pass
    for cls in (Neither, Both):
        with pytest.raises(ConfigError, match="one of generate_signal and signals"): cls("x")
    with pytest.raises(ConfigError, match="needs a feature"): batch_signals(Blind("x"), panel_of([[5.0]]))
    with pytest.raises(ConfigError, match="bar by bar"): batch_signals(Waits("x"), panel_of([[5.0]]))


@pytest.mark.parametrize("name", ["Momentum", "momentumstrategy", "os.system", "evil.MomentumStrategy", "OracleStrategy", "", "."])
def test_a_class_is_looked_up_and_never_imported(name: str) -> None:
    with pytest.raises(ConfigError, match="strategy m: class .* is not known"): make_strategy("m", name, {})


def test_a_name_is_given_once() -> None:
    class MomentumStrategy(Turn): pass
    with pytest.raises(ConfigError, match="taken by firebot.rules.MomentumStrategy"): register(MomentumStrategy)
    assert STRATEGIES["MomentumStrategy"].__module__ == "firebot.rules"


def test_history_leaves_no_trace_in_a_strategy() -> None:
    idea, panel = Dip("dip"), panel_of([walk(40).tolist(), walk(40, 1).tolist()])
    assert_array_equal(batch_signals(idea, panel), batch_signals(idea, panel))
    assert idea.seen == {}


# ---------------------------------------------------------------- a cross that nobody here wrote

def test_the_cross_is_backtesting_pys() -> None:
    starts = np.array([to_ns(session_open(d.date())) for d in GOOG.index])
    bars = Bars("GOOG", "1d", starts, *(GOOG[c].to_numpy(float) for c in ("Open", "High", "Low", "Close", "Volume")))
    got = batch_signals(make_strategy("cross", "SmaCrossStrategy"), make_panel([bars], [Instrument("GOOG")]))[:, 0]
    fast, slow = (GOOG.Close.rolling(n).mean().to_numpy() for n in (10, 20))
    up = [t for t in range(1, len(GOOG)) if crossover(fast[:t + 1], slow[:t + 1])]
    down = [t for t in range(1, len(GOOG)) if crossover(slow[:t + 1], fast[:t + 1])]
    assert np.flatnonzero(got == 1).tolist() == up and np.flatnonzero(got == 0).tolist() == down
    assert len(up) == 47 and np.isfinite(got).sum() == len(up) + len(down)


def test_averages_that_touch_have_not_crossed() -> None:
    "A flat price makes them exactly equal, in cents that no float holds; leaving there is no cross."
    flat = [186.3] * 30
    for tail in ([190.1] * 15, [180.1] * 15):
        assert np.isnan(batch_signals(make_strategy("cross", "SmaCrossStrategy"), panel_of([flat + tail]))).all()
    below = [190.1] * 10 + flat + [190.1] * 15
    assert np.isnan(batch_signals(make_strategy("cross", "SmaCrossStrategy"), panel_of([below]))).all()


# ---------------------------------------------------------------- what each rule says, once more and slowly

def frame(n: int = 400, seed: int = 3) -> tuple[Panel, pd.DataFrame]:
    panel = panel_of([walk(n, seed).tolist()])
    return panel, pd.DataFrame({c: getattr(panel, c)[:, 0] for c in ("open", "high", "low", "close", "volume")})


def said(name: str, panel: Panel, **params: Any) -> np.ndarray: return batch_signals(make_strategy("x", name, params), panel)


@pytest.mark.parametrize(("window", "entry", "leave", "short"), [(20, 2.0, 0.0, False), (5, 1.2, 0.5, False), (10, 1.5, 0.2, True)])
def test_mean_reversion_is_pandas(window: int, entry: float, leave: float, short: bool) -> None:
    panel, bars = frame()
    roll = bars.close.rolling(window)
    z = (bars.close - roll.mean()) / roll.std(ddof=0)
    out = pd.Series(np.nan, bars.index)
    out[((z.abs() <= leave) | (z * z.shift() < 0)) if short else (z >= -leave)] = 0
    out[z < -entry] = 1
    if short: out[z > entry] = -1
    out[z.shift().isna()] = np.nan
    got = said("MeanReversionStrategy", panel, lookback_window=window, entry=entry, exit=leave, allow_short=short)[:, 0]
    assert_array_equal(got, out)
    assert {1.0, 0.0} <= set(got) and (-1 in got) == short


@pytest.mark.parametrize(("entry", "leave", "short"), [(20, 10, False), (5, 5, True), (1, 1, False)])
def test_breakout_is_pandas(entry: int, leave: int, short: bool) -> None:
    panel, bars = frame()
    out = pd.Series(np.nan, bars.index)
    out[bars.close < bars.low.rolling(leave).min().shift()] = -1.0 if short else 0.0
    out[bars.close > bars.high.rolling(entry).max().shift()] = 1.0
    out[:entry] = np.nan
    assert_array_equal(said("BreakoutStrategy", panel, entry_window=entry, exit_window=leave, allow_short=short)[:, 0], out)
    assert np.isfinite(out).sum() > 20


def test_a_breakout_does_not_see_its_own_extremes() -> None:
    panel, _ = frame(60)
    wild = replace(panel, high=panel.high.copy(), low=panel.low.copy())
    wild.high[-1], wild.low[-1] = 1e6, 0.01
    assert_array_equal(said("BreakoutStrategy", wild), said("BreakoutStrategy", panel))


@pytest.mark.parametrize("hedge", ["ratio", "regression"])
def test_pairs_are_numpys(hedge: str) -> None:
    a, b = walk(300, 1), walk(300, 2)
    together = np.round(a * b / 100, 2).clip(0.01)
    panel, n = panel_of([a.tolist(), together.tolist(), b.tolist()]), 30
    got = said("PairsStrategy", panel, first="S1", second="S0", lookback_window=n, hedge=hedge, entry=1.5, exit=0.25, allow_short=True)
    x, y = np.log(together), np.log(a)
    z = np.full(300, np.nan)
    slope = np.ones(300)
    for t in range(n - 1, 300):
        u, v = x[t - n + 1:t + 1], y[t - n + 1:t + 1]
        slope[t] = np.polyfit(v, u, 1)[0] if hedge == "regression" else 1.0
        spread = u - slope[t] * v
        z[t] = (spread[-1] - spread.mean()) / spread.std()
    for t in range(n, 300):
        enter = 1 if z[t] < -1.5 else -1 if z[t] > 1.5 else None
        want = 0 if slope[t] <= 0 else enter if enter else 0 if abs(z[t]) <= 0.25 or z[t] * z[t - 1] < 0 else np.nan
        assert_array_equal(got[t], [np.nan if np.isnan(want) else -want, want, np.nan], err_msg=str(t))
    assert np.isnan(got[:n]).all() and {1.0, 0.0, -1.0} <= set(got[:, 1])
    long_only = said("PairsStrategy", panel, first="S1", second="S0", lookback_window=n, hedge=hedge, entry=1.5, exit=0.25)
    assert_array_equal(long_only, np.maximum(got, 0))


def test_the_rule_engine_is_talib_and_pandas() -> None:
    import talib
    panel, bars = frame(1500, 8)
    x = bars.close.to_numpy()
    fast, slow, rsi = bars.close.rolling(20).mean(), pd.Series(talib.EMA(x, 50)), pd.Series(talib.RSI(x, 14))
    up, down = (fast.shift() < slow.shift()) & (fast > slow), (fast.shift() > slow.shift()) & (fast < slow)
    wild = np.log(bars.close).diff().rolling(20).std() > 0.02
    thin = bars.volume < 1.01 * bars.volume.rolling(20).mean()
    buy, leave = up.astype(int) + (rsi < 30), down.astype(int) + (rsi > 70)
    out = pd.Series(np.nan, bars.index)
    out[(buy > 0) & (leave == 0)] = buy / 2
    out[(leave > 0) & (buy == 0)] = 0
    out[:50] = np.nan
    records: list[Signal] = []
    got = batch_signals(RuleStrategy("r"), panel, records)
    assert_array_equal(got[:, 0], out)
    assert {0.5, 0.0} <= set(got[:, 0]) and len(records) == out.notna().sum()
    for signal, t in zip(records, np.flatnonzero(out.notna())):
        names = {"cross above": up[t], "cross below": down[t], "oversold": rsi[t] < 30, "overbought": rsi[t] > 70}
        assert signal.metadata["rules"] == [name for name, on in names.items() if on]
        assert signal.metadata["close"] == Decimal(str(x[t]))
        assert_allclose([signal.metadata[k] for k in ("fast", "slow", "rsi")], [fast[t], slow[t], rsi[t]], rtol=1e-9)
    quiet = out.copy()
    quiet[(quiet > 0) & (wild | thin)] = np.nan
    filtered = said("RuleStrategy", panel, volatility=True, max_volatility=0.02, volume=True, min_volume=1.01)[:, 0]
    assert_array_equal(filtered, quiet)
    assert (filtered == 0).sum() == (out == 0).sum() and (filtered > 0).sum() < (out > 0).sum()
    veto = pd.Series(np.where(up & (rsi <= 70), 1.0, np.where(down & (rsi >= 30), 0.0, np.nan)))
    veto[:50] = np.nan
    assert_array_equal(said("RuleStrategy", panel, rsi="veto")[:, 0], veto)


def test_warmup_is_exact() -> None:
    "No opinion comes earlier than declared, and over many histories the first one comes just then."
    for name, sets in EAGER.items():
        for params in sets:
            idea, first = make_strategy("x", name, params), []
            for seed in range(60):
                columns = [walk(30, seed).tolist(), walk(30, seed + 1000).tolist()]
                spoken = np.isfinite(batch_signals(idea, panel_of(columns))).any(axis=1)
                if spoken.any(): first.append(int(np.flatnonzero(spoken)[0]))
            assert min(first) == idea.warmup, (name, params)


@settings(max_examples=40)
@given(panel=panels())
def test_nothing_is_sold_short_unless_asked(panel: Panel) -> None:
    for name, sets in EAGER.items():
        if name == "PairsStrategy" and len(panel.symbols) < 2: continue
        assert not (batch_signals(make_strategy("x", name, sets[0]), panel) < 0).any()


def test_shorts_come_when_asked() -> None:
    panel = panel_of([walk(300, 5).tolist(), walk(300, 6).tolist()])
    for name, params in (("MomentumStrategy", {}), ("SmaCrossStrategy", {}), ("MeanReversionStrategy", {}), ("BreakoutStrategy", {"exit_window": 20}),
                         ("PairsStrategy", PAIR), ("RuleStrategy", {})):
        assert (said(name, panel, allow_short=True, **params) == -1).any() or name == "RuleStrategy"
        assert not (said(name, panel, **params) < 0).any()
    assert (said("RuleStrategy", panel, allow_short=True) == -0.5).any()


@pytest.mark.parametrize(("name", "params", "says"), [
    ("MeanReversionStrategy", {"entry": 1.0, "exit": 1.0}, "x.exit is 1.0; it must be smaller than entry, which is 1.0"),
    ("MeanReversionStrategy", {"lookback_window": 1}, "x.lookback_window is 1"), ("MeanReversionStrategy", {"entry": -1}, "x.entry is -1"),
    ("BreakoutStrategy", {"entry_window": 5}, "x.exit_window is 10; it must be at most entry_window, which is 5"),
    ("BreakoutStrategy", {"allow_short": True}, "a position is reversed"), ("BreakoutStrategy", {"exit_window": 0}, "x.exit_window is 0"),
    ("PairsStrategy", {}, "name two symbols"), ("PairsStrategy", {"first": "KO", "second": "KO"}, "name two symbols"),
    ("PairsStrategy", {"first": "KO"}, "second ''"), ("PairsStrategy", {**PAIR, "hedge": "kalman"}, "hedge 'kalman' is not known"),
    ("PairsStrategy", {**PAIR, "exit": 3}, "smaller than entry"), ("PairsStrategy", {"first": 1, "second": "KO"}, "x.first is 1; it must be text"),
    ("RuleStrategy", {"fast": "wma"}, "fast 'wma' is not known; did you mean 'sma'"),
    ("RuleStrategy", {"rsi": "vote"}, "rsi 'vote' is not known; known are signal, veto, off"),
    ("RuleStrategy", {"fast_window": 50}, "x.fast_window is 50; it must be smaller than slow_window"),
    ("RuleStrategy", {"oversold": 70}, "smaller than overbought"), ("RuleStrategy", {"overbought": 101}, "x.overbought is 101"),
    ("RuleStrategy", {"cross": False, "rsi": "off"}, "no rule that speaks"), ("RuleStrategy", {"cross": "false"}, "x.cross is 'false'"),
    ("MomentumStrategy", {"allow_short": "yes"}, "x.allow_short is 'yes'; it must be true or false"),
    ("BuyAndHoldStrategy", {"allow_short": True}, "parameter 'allow_short' is not known")])
def test_what_the_shipped_refuse(name: str, params: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says): make_strategy("x", name, params)


def test_a_pair_needs_both() -> None:
    panel = panel_of([walk(30).tolist()])
    for act in (lambda s: batch_signals(s, panel), lambda s: StreamRunner(s, 1).update(panel[:1])):
        with pytest.raises(ConfigError, match="x needs S1, which is not among the traded symbols S0; add it to assets"):
            act(PairsStrategy("x", PAIR))
    class PerBar(Dip):
        together = ("S0",)
    with pytest.raises(ConfigError, match="that needs `signals`"): groups(PerBar("x"), ("S0",))
    class Twice(Turn):
        together = ("S0", "S0")
    with pytest.raises(ConfigError, match="each symbol once"): groups(Twice("x"), ("S0",))
    config = load_config("""
data_sources: [{type: sample}]
assets: [{symbol: AAPL}, {symbol: IBM}]
strategies: [{name: p, class: PairsStrategy, params: {first: AAPL, second: MSFT}}]
""")
    with pytest.raises(ConfigError, match="p needs MSFT, which is not among the traded symbols AAPL, IBM"): make_job(config)


# ---------------------------------------------------------------- reasons, as the journal has them

@settings(max_examples=200)
@given(x=st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_comes_back_whole(x: float) -> None:
    text = plain_json(np.float64(x), "x")
    assert float(json.loads(canonical(text))) == x and float(Decimal(text)) == x


@pytest.mark.parametrize("x", [float("inf"), -float("inf"), Decimal("NaN"), {1}, b"x", object(), np.zeros(2), date(2012, 1, 3), Direction.LONG, 1j,
                               np.datetime64("2012-01-03"), {1: 2}, {"a": [{"b": {2}}]}, pd.Series([1.0])])
def test_what_has_no_plain_form(x: Any) -> None:
    with pytest.raises(JournalError, match="^who: metadata"): plain_json({"k": x}, "who: metadata")


def test_plain_forms() -> None:
    assert plain_json({"a": (1, np.int32(2), np.bool_(True)), "b": np.float32(0.5), "c": None, "d": float("nan"), "e": "x"}, "m") == {
        "a": [1, 2, True], "b": "0.5", "c": None, "d": None, "e": "x"}


def made(kind: str, seq: int, order_id: str = "", **data: Any) -> Event:
    base = dict(side="buy", type="market", quantity="10", notional=None, reserved="0.00", reason="") if kind in ("order", "reject") else {}
    base |= dict(direction="long", confidence="1", outcome="ordered", metadata={}) if kind == "signal" else {}
    return Event(seq, datetime(2012, 1, 3, 21, tzinfo=UTC), 0, kind, "m", "IBM", order_id, base | data)


def test_executed_means_that_something_of_it_traded() -> None:
    events = [made("signal", 0), made("order", 1, "O1", signal=0), made("signal", 2), made("reject", 3, "O2", signal=2, reason="no cash"),
              made("signal", 4, outcome="already there"), made("order", 5, "O3", signal=None), made("signal", 6),
              made("order", 7, "O4", signal=6), made("fill", 8, "O3"), made("fill", 9, "O1", quantity="4"),
              made("cancel", 10, "O4", reason="no cash"), made("cancel", 11, "O1", reason="by request")]
    assert [(r["executed"], r["order_id"]) for r in signal_rows(events)] == [(True, "O1"), (False, "O2"), (False, ""), (False, "O4")]
    assert [r["executed"] for r in signal_rows(events[:9])] == [False] * 4
    with pytest.raises(JournalError, match="event 1 .order IBM. makes no sense"): signal_rows([made("order", 1, "O1", signal=0)])


RUN = """
data_sources: [{type: sample}]
assets: [{symbol: AAPL}, {symbol: GOOG}, {symbol: IBM}]
strategies:
  - {name: rules, class: RuleStrategy, params: {volume: true}}
  - {name: reversion, class: MeanReversionStrategy}
  - {name: breakout, class: firebot.strategies.BreakoutStrategy}
  - {name: pair, class: firebot.rules.PairsStrategy, params: {first: GOOG, second: AAPL, hedge: regression}}
  - {name: momentum, class: MomentumStrategy}
  - {name: cross, class: SmaCrossStrategy}
  - {name: hold, class: BuyAndHoldStrategy}
run: {start: 2004-06-01, end: 2005-12-30}
execution: {slippage_bps: 5, commission: {per_share: 0.005}}
"""


def test_a_run_has_every_reason_on_record(tmp_path: Any) -> None:
    outcome = execute(make_job(load_config(RUN)))
    write(tmp_path / "journal.sqlite", outcome.events)
    events = list(read(tmp_path / "journal.sqlite"))
    assert events == list(outcome.events)
    signals = {e.seq: e for e in events if e.kind == "signal"}
    assert {e.strategy_id for e in signals.values()} == {s.strategy_id for s in outcome.job.strategies}
    assert all(e.data["metadata"] or e.strategy_id == "hold" for e in signals.values())
    orders = {e.data["signal"]: e for e in events if e.kind in ("order", "reject")}
    filled = {e.order_id for e in events if e.kind == "fill"}
    assert set(orders) == {seq for seq, e in signals.items() if e.data["outcome"] == "ordered"}
    assert all((signals[s].strategy_id, signals[s].symbol, signals[s].timestamp) == (o.strategy_id, o.symbol, o.timestamp) for s, o in orders.items())
    rows = list(csv.DictReader(io.StringIO(result_files(outcome)["signals.csv"])))
    assert len(rows) == len(signals)
    for row, (seq, e) in zip(rows, signals.items()):
        assert json.loads(row["metadata"]) == e.data["metadata"] and Decimal(row["confidence"]) == Decimal(e.data["confidence"])
        assert row["order_id"] == (orders[seq].order_id if seq in orders else "")
        assert row["executed"] == str(row["order_id"] in filled).lower()
    assert {"true", "false"} == {r["executed"] for r in rows}
    assert sum(r["executed"] == "true" for r in rows) == len(filled)


@pytest.mark.parametrize("profile", PROFILES)
def test_both_clocks_leave_the_same_journal(profile: str) -> None:
    "Events with all their reasons: signals formed at once, and bar by bar inside the run."
    panel = load_panel(SampleSource(), ["AAPL", "IBM"], date(2004, 6, 1), date(2005, 6, 30))
    params = {"PairsStrategy": {"first": "AAPL", "second": "IBM", "lookback_window": 20}}
    mine = [make_strategy(name, name, params.get(name)) for name in EAGER]
    setup = Setup(tuple(Seat(s.strategy_id, "percent_of_equity", Decimal(10)) for s in mine), panel.instruments, profile=get_profile(profile))
    there: dict[str, list[Signal]] = {s.strategy_id: [] for s in mine}
    here: dict[str, list[Signal]] = {s.strategy_id: [] for s in mine}
    a = backtest(panel, {s.strategy_id: batch_signals(s, panel, there[s.strategy_id]) for s in mine}, setup)
    b = stepwise(panel, {s.strategy_id: StreamRunner(s, 2) for s in mine}, setup, here)
    assert list(to_events(a.events, setup, records=there)) == list(to_events(b.events, setup, records=here))
    assert signals_csv(to_events(a.events, setup, records=there)) == signals_csv(to_events(b.events, setup, records=here))


# ---------------------------------------------------------------- strategies that hear of their fills

class Listener(Strategy):
    "Buys, waits for the fill, sells five bars after it; keeps a diary"
    diary: list[tuple] = []
    def __init__(self, strategy_id: str, config: Mapping[str, Any] | None = None) -> None:
        super().__init__(strategy_id, config)
        self.held: dict[str, int] = {}
        Listener.diary = []
    def on_data(self, data: Bar) -> None: self.diary.append(("bar", data.symbol, data.timestamp))
    def on_fill(self, order: Order) -> None:
        assert order.status == OrderStatus.FILLED and order.order_id == self.fill.order_id and order.quantity == self.fill.quantity
        self.diary.append((order.side.value, order.symbol, self.fill.timestamp, self.fill.price, order.timestamp))
        if order.side == "buy": self.held[order.symbol] = 0
        else: del self.held[order.symbol]
    def generate_signal(self, features: dict[str, float]) -> Signal | None:
        symbol = self.bar.symbol
        if symbol not in self.held: return self.signal("BUY", bars=0)
        self.held[symbol] += 1
        return self.signal("CLOSE_LONG", bars=self.held[symbol]) if self.held[symbol] >= 5 else None


@pytest.mark.parametrize("profile", PROFILES)
def test_a_listener_runs_and_hears_of_every_fill_once(profile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STRATEGIES, "Listener", Listener)
    config = load_config(RUN.replace("class: MomentumStrategy", "class: Listener"), [f"execution.fill_model={profile}"])
    outcome = execute(make_job(config))
    own = [e for e in outcome.events if e.strategy_id == "momentum"]
    fills = [e for e in own if e.kind == "fill"]
    accepted = {e.order_id: e.timestamp for e in own if e.kind == "order"}
    heard = [d for d in Listener.diary if d[0] != "bar"]
    assert len(fills) > 100 and heard == [(e.data["side"], e.symbol, e.timestamp, Decimal(e.data["price"]), accepted[e.order_id]) for e in fills]
    told = {d[2]: i for i, d in enumerate(Listener.diary) if d[0] != "bar"}
    shown = {d[2]: i for i, d in enumerate(Listener.diary) if d[0] == "bar"}
    if profile == "next_open": assert all(told[at] < shown[at] for at in told), "a fill at the open is told before that bar is shown"
    assert all(e.data["metadata"] for e in own if e.kind == "signal")
    others = [e.data for e in outcome.events if e.kind == "signal" and e.strategy_id == "cross"]
    alone = execute(make_job(load_config(RUN, [f"execution.fill_model={profile}"])))
    keys = "direction", "confidence", "metadata"
    assert [{k: d[k] for k in keys} for d in others] == [
        {k: e.data[k] for k in keys} for e in alone.events if e.kind == "signal" and e.strategy_id == "cross"]
    again = execute(make_job(config))
    assert again.events == outcome.events


def test_nothing_was_filled_yet() -> None:
    with pytest.raises(OrderError, match="x has not heard of a fill yet"): Listener("x").fill # noqa: B018
