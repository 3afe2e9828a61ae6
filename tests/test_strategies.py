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
from firebot.models import Bar, Bars, ConfigError, DataError, Direction, Instrument, JournalError, Order, OrderError, OrderStatus, Signal, session_open, to_ns
from firebot.rules import BreakoutStrategy, MeanReversionStrategy, PairsStrategy, RuleStrategy, make_strategy
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
    "PairsStrategy": [{**PAIR, "lookback_window": 4, "entry": 0.9}, {**PAIR, "lookback_window": 5, "hedge": "regression", "entry": 0.8, "allow_short": True}],
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


@pytest.mark.parametrize("name", ["Momentum", "momentumstrategy", "os.system", "evil.MomentumStrategy", "TransformerStrategy", "", "."])
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
