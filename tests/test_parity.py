"Paper does what the backtest did: every shipped strategy and profile, every resolution, random strategies and bars; and faults are found."
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_kernel import scenarios
from test_runs import firebot as command

import firebot.rules
from firebot.config import RiskConfig
from firebot.engine import Seat, Setup, to_events
from firebot.ensembles import SEAT, Ensemble
from firebot.feed import Panel, load_panel, make_panel
from firebot.fills import PROFILES, get_profile
from firebot.indicators import Param
from firebot.models import ConfigError, OrderError, Slicing
from firebot.orders import E_FILL, E_RISK, V_KIND
from firebot.paper import PaperSession, take
from firebot.parity import STAGES, Parity, forked, history_of, parity
from firebot.sources import SampleSource
from firebot.strategies import STRATEGIES, Strategy
from firebot.synthetic import SyntheticSource

SHIPPED = sorted(name for name, cls in STRATEGIES.items() if cls.__module__ == firebot.rules.__name__)


def shipped(panel: Panel) -> list[Strategy]:
    "Every strategy that the package brings, with short memories where that makes sense."
    out = []
    for name in SHIPPED:
        params = STRATEGIES[name].params
        if "first" in params and len(panel.symbols) < 2: continue
        pair = dict(zip(("first", "second"), panel.symbols)) if "first" in params else {}
        short = {k: 5 for k, p in params.items() if type(p.default) is int and p.default > 5}
        try: out.append(STRATEGIES[name](name, pair | short))
        except ConfigError: out.append(STRATEGIES[name](name, pair))
    return out


def proven(panel: Panel, ideas: list[Strategy], profile: str, **more: object) -> Parity:
    seats = tuple(Seat(s.strategy_id, size_value=Decimal(5)) for s in ideas)
    setup = Setup(seats, panel.instruments, profile=get_profile(profile), slippage_bps=Decimal(5), relative=Decimal("0.001"))
    return parity(panel, ideas, setup, forked(ideas, setup, panel.resolution), **more)


def bars(resolution: str) -> Panel:
    if resolution == "1d": return load_panel(SampleSource(), ["AAPL", "FB", "IBM"], date(2012, 3, 1), date(2012, 9, 28))
    source = SyntheticSource(["ALPHA", "BRAVO"], "2019-03-04", "2019-03-29", seed=4, splits=20)
    return load_panel(source, None, date(2019, 3, 4), date(2019, 3, 4) if resolution == "1m" else date(2019, 3, 29), resolution)


@pytest.mark.parametrize("profile", sorted(PROFILES))
@pytest.mark.parametrize("resolution", ["1d", "1h", "1m"])
def test_every_shipped_strategy_and_profile(resolution: str, profile: str) -> None:
    panel = bars(resolution)
    found = proven(panel[-150:], shipped(panel), profile)
    assert found.identical and found.events > 20, str(found)


class Listens(Strategy):
    "Takes what it paid into account"
    def __init__(self, *args: object) -> None:
        super().__init__(*args) # type: ignore[arg-type]
        self.paid: dict[str, Decimal] = {}
    def features(self) -> dict[str, tuple]: return {"price": ("last",), "mean": ("sma", {"window": 3})}
    def on_fill(self, order: object) -> None: self.paid[order.symbol] = self.fill.price # type: ignore[attr-defined]
    def generate_signal(self, features: dict[str, float]) -> object:
        if self.bar.close < self.paid.get(self.bar.symbol, Decimal(0)): return self.signal("CLOSE_LONG")
        return self.signal("BUY") if features["price"] > features["mean"] else None


def test_a_strategy_that_hears_fills_and_declares_nothing() -> None:
    found = proven(bars("1d")[:80], [Listens("listens")], "next_open", kills=(20, 21, 60))
    assert found.identical and found.events > 20, str(found)


def test_shorts_stops_and_limits_on_risk() -> None:
    "Borrowing, brackets, trimmed orders and a strategy that a loss stops."
    panel = bars("1d")
    ideas = [STRATEGIES["MomentumStrategy"]("momentum", {"lookback_window": 3, "threshold": 0.001}), Dice("dice", {"seed": 5})]
    setup = Setup(tuple(Seat(s.strategy_id, size_value=Decimal(60)) for s in ideas), panel.instruments, profile=get_profile("realistic"),
                  allow_short=True, borrow_rate=Decimal("0.05"), stop_loss=Decimal("0.02"), take_profit=Decimal("0.03"),
                  risk=RiskConfig(max_position_size_pct=Decimal(30), max_drawdown_pct=Decimal(2), auto_disable_on_breach=True))
    found = parity(panel, ideas, setup, forked(ideas, setup, "1d"), kills=(15, 60))
    kinds = np.concatenate([rows[:, V_KIND] for rows in history_of(panel, ideas, setup).events])
    assert found.identical and found.events == len(kinds) and E_RISK in kinds, str(found)


class Rests(Strategy):
    "Bids below the market"
    places_orders = True
    def features(self) -> dict[str, tuple]: return {"price": ("last",)}
    def generate_signal(self, features: dict[str, float]) -> object:
        close = self.bar.close
        if self.bar.timestamp.toordinal() % 3: return None
        return self.order("buy", Decimal(5), order_type="limit", price=(close * Decimal("0.99")).quantize(Decimal("0.01")))


def test_a_strategy_that_places_orders() -> None:
    panel, ideas = bars("1d")[:80], [Rests("rests"), Listens("listens")]
    setup = Setup(tuple(Seat(s.strategy_id, size_value=Decimal(20)) for s in ideas), panel.instruments)
    found = parity(panel, ideas, setup, forked(ideas, setup, "1d"), kills=(20, 60))
    assert found.identical and found.events > 20, str(found)


class Slices(Strategy):
    "Buys and sells in slices, by each algorithm in turn"
    places_orders, volume_days = True, 3
    params = {"finish": Param(1, 0, 1)}
    def features(self) -> dict[str, tuple]: return {"price": ("last",)}
    def __init__(self, *args: object) -> None:
        super().__init__(*args) # type: ignore[arg-type]
        self.asked, self.held = 0, Decimal(0)
    def on_fill(self, order: object) -> None: self.held += self.fill.signed_quantity
    def state(self) -> dict[str, object]: return {"asked": self.asked, "held": str(self.held)}
    def restore(self, state: dict) -> None: self.asked, self.held = state["asked"], Decimal(state["held"])
    def generate_signal(self, features: dict[str, float]) -> object:
        self.asked += 1
        if self.asked % 9: return None
        algo = ("twap", "vwap", "participation")[self.asked // 9 % 3]
        cut = Slicing(algo, 4, Decimal("0.00001"), Decimal("0.0001"), bool(self.config["finish"]), 3)
        if self.held > 300: return self.order("sell", Decimal(200), algo=cut, reduce_only=True)
        return self.order("buy", Decimal(150), algo=cut)


@pytest.mark.parametrize(("resolution", "profile"), [("1d", "realistic"), ("1m", "next_open"), ("1h", "instant")])
def test_orders_in_slices(resolution: str, profile: str) -> None:
    "Parents, their children and their ends are the same on both clocks, killed between two slices."
    panel = bars(resolution)[-170:]
    ideas = [Slices("slices"), Slices("more", {"finish": 0})]
    setup = Setup(tuple(Seat(s.strategy_id) for s in ideas), panel.instruments, profile=get_profile(profile),
                  risk=RiskConfig(max_daily_loss_pct=Decimal("0.2"), max_drawdown_pct=Decimal(1), auto_disable_on_breach=True))
    found = parity(panel, ideas, setup, forked(ideas, setup, panel.resolution), kills=(20, 22, 23, 60))
    events = list(to_events(np.concatenate(history_of(panel, ideas, setup).events), setup))
    parents = [e for e in events if e.kind == "parent"]
    assert found.identical and {e.data["algo"] for e in parents if e.data["status"] == "submitted"} == {"twap", "vwap", "participation"}, str(found)
    for end in (e for e in parents if e.data["status"] != "submitted"):
        children = {e.order_id for e in events if e.kind == "order" and e.data.get("parent") == end.order_id}
        assert Decimal(end.data["filled"]) == sum(Decimal(e.data["quantity"]) for e in events if e.kind == "fill" and e.order_id in children)


def test_stopping_flat_ends_what_is_in_slices(tmp_path: Path) -> None:
    panel = bars("1d")
    with PaperSession(tmp_path / "s", [Slices("slices")], Setup((Seat("slices"),), panel.instruments)) as session:
        for t in range(7): take(session, panel[t:t + 1])
        told = session.step("stop", {"flatten": True, "id": "a person"})
        assert session.live.row == 7 and not session.live.slicer.parents
    ends = [e.data for e in told if e.kind == "parent"]
    assert ends and {(d["status"], d["reason"]) for d in ends} == {("cancelled", "by request")} and any(Decimal(d["filled"]) for d in ends)


def test_a_profile_of_volumes_must_be_declared() -> None:
    class Forgets(Slices):
        volume_days = 2
    ideas = [Forgets("forgets")]
    setup = Setup((Seat("forgets"),), bars("1d").instruments)
    with pytest.raises(OrderError, match="volume_days = 3"): history_of(bars("1d"), ideas, setup)


@pytest.mark.parametrize("method", ["majority", "stacked"])
def test_an_ensemble(method: str) -> None:
    panel = bars("1d")
    ideas = [STRATEGIES["MomentumStrategy"]("momentum", {"lookback_window": 3, "threshold": 0.001}),
             STRATEGIES["SmaCrossStrategy"]("cross", {"fast": 2, "slow": 5}), Dice("dice", {"seed": 5})]
    votes = Ensemble(tuple(s.strategy_id for s in ideas), method, {}, 5, 1, 2, 2)
    setup = Setup((Seat(SEAT, size_value=Decimal(30)),), panel.instruments)
    found = parity(panel, ideas, setup, forked(ideas, setup, "1d", ensemble=votes), kills=(20, 60), ensemble=votes)
    assert found.identical and found.events > 20, str(found)


@pytest.mark.parametrize("stage", [s for s in STAGES if s != "quotes"]) # which test_runs_quotes.py plants
def test_a_planted_fault_is_found_at_its_bar_and_stage(stage: str) -> None:
    panel, ideas = bars("1d")[:60], [STRATEGIES["MomentumStrategy"]("momentum", {"lookback_window": 3, "threshold": 0.001})]
    setup = Setup((Seat("momentum", size_value=Decimal(20)),), panel.instruments)
    history = history_of(panel, ideas, setup)
    fits = {"fills": lambda t: E_FILL in history.events[t][:, V_KIND], "features": lambda t: True, "money": lambda t: True}
    row = next(t for t in range(25, 60) if fits.get(stage, lambda t: np.isfinite(history.signals["momentum"][t]).any())(t))
    found = parity(panel, ideas, setup, forked(ideas, setup, "1d", (stage, row)), kills=(10,))
    assert (found.stage, found.bar) == (stage, row), str(found)
    assert "history:" in str(found) and found.history != found.paper


class Dice(Strategy):
    "Says anything, from a seed and the bar"
    params = {"seed": Param(0, 0, 2**31, "seed"), "window": Param(3, 1, 50, "bars in the average")}
    def features(self) -> dict[str, tuple]:
        return {"price": ("last",), "mean": ("sma", {"window": self.config["window"]}), "rsi": ("rsi", {"window": 4})}
    def generate_signal(self, features: dict[str, float]) -> object:
        x = (self.config["seed"] * 31 + self.bar.timestamp.toordinal() * 7 + ord(self.bar.symbol[-1]) + int(1e6 * features["mean"])) % 7
        return [None, None, self.signal("BUY", 0.7), self.signal("BUY"), self.signal("FLAT"), self.signal("SELL", 0.3), None][x]


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(scenarios(), st.lists(st.tuples(st.integers(0, 2**31), st.integers(1, 9)), min_size=3, max_size=3), st.data())
def test_random_strategies_and_bars(scenario: tuple, dice: list[tuple[int, int]], data: st.DataObject) -> None:
    _, things, made, actions, setup, _, quotes = scenario
    lowest = {b.symbol: b.low.min() for b in made} # a dividend that leaves nothing of the price is bad data, refused where prices are adjusted
    held = {b.symbol: any(((quotes[b.symbol].timestamp <= t) & (quotes[b.symbol].timestamp > t - 10**9)).any() for t in b.timestamp)
            for b in made if b.symbol in quotes} # the others would be refused
    panel = make_panel(made, things, [a for a in actions if float(a.amount) < lowest[a.symbol]], {s: quotes[s] for s, there in held.items() if there})
    ideas = [Dice(seat.strategy_id, {"seed": seed, "window": window}) for seat, (seed, window) in zip(setup.seats, dice)]
    kills = data.draw(st.lists(st.integers(0, len(panel) - 1), max_size=2))
    found = parity(panel, ideas, setup, forked(ideas, setup, "1d"), kills)
    assert found.identical, str(found)


SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared market data")
@pytest.mark.parametrize("resolution", ["1m", "1h"])
def test_real_bars(resolution: str) -> None:
    from firebot.sources import ParquetSource
    folder = SHARED / {"1m": "minute", "1h": "hour"}[resolution]
    source = ParquetSource(folder, zone="America/New_York")
    panel = load_panel(source, source.get_symbols()[:3], None, None, resolution)[:1500]
    found = proven(panel, shipped(panel), "next_open")
    assert found.identical, str(found)


def test_the_command_finds_what_was_planted_and_says_when_nothing_was(tmp_path: Path) -> None:
    (tmp_path/"config.yaml").write_text(
        "data_sources: [{type: sample, symbols: [IBM]}]\nrun: {start: 2010-01-04, end: 2010-06-30}\n"
        "portfolio: {initial_capital: 100000, currency: USD}\n"
        "strategies: [{name: cross, class: SmaCrossStrategy, params: {fast: 5, slow: 20}}]\n")
    for fault, code, told in (("money:40", 1, "money"), ("quotes:40", 2, "did nothing")):
        done = command("parity", "config.yaml", "--fault", fault, cwd=tmp_path)
        assert done.returncode == code and told in done.stdout + done.stderr, (fault, done.stdout, done.stderr)
