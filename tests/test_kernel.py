"The kernel against its slow double, on random orders, bars and corporate actions; batch against bar by bar; identities."
import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference import Reference

from firebot.config import RiskConfig, StrategyRiskConfig
from firebot.engine import Account, Seat, Setup, backtest, finalize_intents, make_window, one_bar, signal_intents, stepwise, to_events
from firebot.feed import Panel, make_panel
from firebot.fills import PROFILES, Costs, get_profile
from firebot.models import ActionKind, Bars, CorporateAction, Instrument, MoneyError, OrderError, Quotes, session_open, to_ns
from firebot.money import LIMIT, to_int
from firebot.orders import (
    ACTION,
    ARM,
    CANCEL,
    E_BORROW,
    E_DIVIDEND,
    E_FILL,
    E_SPLIT,
    I_B_STOP,
    I_B_TARGET,
    I_B_TRAIL,
    I_CLOSES,
    I_CONFIDENCE,
    I_GROUP,
    I_KIND,
    I_LIMIT,
    I_NOTIONAL,
    I_ORDER,
    I_QUANTITY,
    I_RATE,
    I_ROW,
    I_SIDE,
    I_STOP,
    I_STRATEGY,
    I_SYMBOL,
    I_TIF,
    I_TRAIL,
    I_TYPE,
    I_UNTIL,
    INTENT,
    INTENT_COLUMNS,
    MODIFY,
    ORDER,
    PLEDGED,
    RESTING,
    SIGNAL,
    TIFS,
    TYPES,
    V_AMOUNT,
    V_FEE,
    V_KIND,
    V_SIDE,
    State,
)
from firebot.synthetic import SyntheticSource

DAYS = [d for d in (date(2024, 1, 2) + timedelta(days=i) for i in range(180)) if d.weekday() < 5]


MENU = (None, None, None, Costs(spread_bps=Decimal(7), participation=Decimal("0.05"), latency_ms=(Decimal(20), Decimal(900))),
        Costs(per_share=Decimal("0.01"), minimum=Decimal(2), maximum=Decimal("0.005"), fixed=Decimal("0.35")),
        Costs(tiers=((Decimal(0), Decimal("0.003")), (Decimal(5000), Decimal("0.002")), (Decimal(90000), Decimal(0)))),
        Costs(tiers=((Decimal(0), Decimal(0)), (Decimal(700), Decimal("0.002"))), tier_by="size"),
        Costs(relative=Decimal("0.002"), maker=Decimal("0.0005"), slippage_bps=Decimal(3)))


LIMITS = [f"max_{x}_pct" for x in ("position_size", "concentration", "sector_exposure", "gross_exposure", "net_exposure", "loss_per_trade")]


def an_order(rng: np.random.Generator, level: float, thing: Instrument, end: int) -> dict:
    "The terms of an order near `level`; now and then impossible ones."
    tick, terms = Fraction(thing.tick), {}
    def price(spread: float = 0.06) -> Fraction:
        return Fraction(max(1, round(level * (1 + rng.uniform(-spread, spread)) / float(tick)))) * tick + (tick / 2 if rng.random() < 0.02 else 0)
    terms["side"] = int(rng.choice([1, -1]))
    terms["kind"] = str(rng.choice(["market", "limit", "limit", "stop", "stop_limit", "take_profit", "trailing_stop"]))
    terms["tif"] = str(rng.choice(["gtc", "gtc", "gtc", "day", "ioc", "fok", "gtd"]))
    if terms["tif"] == "gtd": terms["until"] = end + int(rng.integers(-1, 6)) * 86_400_000_000_000
    if rng.random() < 0.15: terms["money"] = Decimal(int(rng.choice([0, 100, 5000, 60_000])))
    else: terms["quantity"] = Fraction(thing.lot) * int(rng.choice([0, 1, 7, 10, 100, 1000, 123_000]))
    if terms.get("money") == 0: del terms["money"]
    if terms["kind"] in ("limit", "stop_limit", "take_profit"): terms["limit"] = price()
    if terms["kind"] in ("stop", "stop_limit"): terms["stop"] = price()
    if terms["kind"] == "trailing_stop":
        if rng.random() < 0.5: terms["trail"] = price(0) * int(rng.integers(1, 8)) // 100 // tick * tick or tick
        else: terms["rate"] = Fraction(int(rng.integers(1, 80)), 1000)
    if rng.random() < 0.3: terms["group"] = int(rng.integers(1, 4))
    if rng.random() < 0.1: terms["closes"] = True
    if rng.random() < 0.35:
        stop, target, trail = (price() if rng.random() < p else None for p in (0.7, 0.7, 0.0))
        if rng.random() < 0.3: trail = tick * int(rng.integers(1, 30))
        if stop or target or trail: terms["bracket"] = (stop, target, trail)
    return terms


@st.composite
def scenarios(draw: st.DrawFn, hours: bool = False) -> tuple:
    "Bars of some symbols with gaps, corporate actions, quotes, strategies with sizing rules, and intents of every kind."
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, count, strategies = draw(st.integers(2, 25)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    things, bars, actions, levels, quotes = [], [], [], [], {}
    quoted = draw(st.booleans()) and draw(st.booleans())
    day_bars = draw(st.sampled_from([1, 1, 3])) if hours else 1 # Bars of a day: one, or three of an hour
    opens = [to_ns(session_open(DAYS[t // day_bars])) + t % day_bars * 3_600_000_000_000 for t in range(rows)]
    for j in range(count):
        lot = draw(st.sampled_from(["1", "0.001", "10"]))
        tick = draw(st.sampled_from(["0.01", "0.05", "0.0001"]))
        things.append(Instrument(f"S{j}", tick=Decimal(tick), lot=Decimal(lot), sector="ab"[j % 2]))
        there = np.sort(rng.choice(rows, size=rng.integers(1, rows + 1), replace=False)) if draw(st.booleans()) else np.arange(rows)
        level = 10.0 ** rng.uniform(0, 3)
        step = float(tick)
        path = np.round(level * np.exp(np.cumsum(rng.normal(0, 0.03, (rows, 2)), axis=0)) / step) * step + step
        o, c = path[there, 0], path[there, 1]
        wide = np.round(level * np.abs(rng.normal(0, 0.02, (2, len(there)))) / step) * step
        starts = np.array([opens[t] for t in there])
        high, low = np.maximum(o, c) + wide[0], np.maximum(np.minimum(o, c) - wide[1], step)
        bars.append(Bars(f"S{j}", "1d" if day_bars == 1 else "1h", starts, o, high, low, c, rng.choice([0.0, 40.0, 900.0, 7000.5, 1e6], len(there))))
        levels.append(dict(zip(there.tolist(), c)))
        if quoted and rng.random() < 0.7:
            when = np.sort(rng.choice(starts, 3 * len(starts)) + rng.integers(-50, 1200, 3 * len(starts)) * 1_000_000)
            bid = np.repeat(o, 3)[:len(when)]
            columns = [np.round(bid / step) * step] * 4 + [bid] + [np.round(bid * 1.001 / step) * step + step] * 4 + [bid]
            quotes[f"S{j}"] = Quotes(f"S{j}", "tick", when, *columns)
        for _ in range(draw(st.integers(0, 2))):
            day = DAYS[int(rng.integers(0, rows)) // day_bars]
            ratio = map(int, rng.choice([1, 2, 3, 5, 7, 20, 1000], 2))
            if draw(st.booleans()): actions.append(CorporateAction(f"S{j}", day, ActionKind.SPLIT, *ratio))
            else: actions.append(CorporateAction(f"S{j}", day, ActionKind.DIVIDEND, amount=Decimal(int(rng.integers(1, 300))) / 100))
    rule = st.sampled_from(["all_cash", "percent_of_equity", "confidence", "fixed_units"])
    seats = tuple(Seat(f"K{k}", r := draw(rule), Decimal(draw(st.integers(1, 100 if r != "fixed_units" else 500)))) for k in range(strategies))
    own = {} if draw(st.booleans()) else dict(
        slippage_bps=Decimal(draw(st.sampled_from(["0", "5", "0.5", "120"]))), fixed=Decimal(draw(st.sampled_from(["0", "1", "4.95"]))),
        per_share=Decimal(draw(st.sampled_from(["0", "0.005"]))), relative=Decimal(draw(st.sampled_from(["0", "0.001"]))))
    share = st.sampled_from(["0", "0", "0.01", "0.04"]).map(Decimal)
    risk, percent = RiskConfig(), st.sampled_from([None, None, "1", "12.5", "40", "90"]).map(lambda x: x and Decimal(x))
    if draw(st.integers(0, 3)) == 0:
        limits = {key: draw(percent) for key in LIMITS}
        own_limit = {"K0": StrategyRiskConfig(max_position_size_pct=Decimal(7))} if draw(st.booleans()) else {}
        risk = RiskConfig(**limits, on_limit=draw(st.sampled_from(["trim", "reject"])), strategies=own_limit)
    if draw(st.integers(0, 2)) == 0: # and on losses
        tight = st.sampled_from([None, "0.1", "1", "5"]).map(lambda x: x and Decimal(x))
        own_limit = {"K0": StrategyRiskConfig(max_drawdown_pct=Decimal(2))} if draw(st.booleans()) else {}
        losses = dict(max_daily_loss_pct=draw(tight), max_drawdown_pct=draw(tight), strategies=dict(risk.strategies) or own_limit,
                      auto_disable_on_breach=draw(st.booleans()), on_breach=draw(st.sampled_from(["flatten", "hold"])))
        risk = risk.model_copy(update=losses)
    setup = Setup(seats, tuple(things), Decimal(draw(st.sampled_from(["100000", "500.07", "12345678.90"]))),
                  profile=get_profile(draw(st.sampled_from(sorted(PROFILES)))), costs=MENU[draw(st.integers(0, len(MENU) - 1))], **own,
                  allow_short=draw(st.booleans()), borrow_rate=Decimal(draw(st.sampled_from(["0", "0.03", "0.4"]))), stop_loss=draw(share),
                  take_profit=draw(share), trailing_stop=draw(share), seed=draw(st.integers(0, 9)), risk=risk)
    intents, talk = [], draw(st.sampled_from([0.0, 0.25, 0.45]))
    for t in range(rows):
        for k in range(strategies):
            if risk.auto_disable_on_breach and rng.random() < 0.15: intents.append((t, "arm", k, 0, None))
            for s in range(count):
                what = rng.random()
                level = levels[s].get(t, next(iter(levels[s].values())))
                end = opens[t] + (23_400_000_000_000 if day_bars == 1 else 3_600_000_000_000)
                if what < 0.45: intents.append((t, "signal", k, s, float(rng.choice([1.0, 0.37, 0.0, 0.0, -0.62]))))
                elif what < 0.45 + talk: intents.append((t, "order", k, s, an_order(rng, level, things[s], end)))
                elif what < 0.45 + 1.3 * talk: intents.append((t, "cancel", k, s, dict(number=int(rng.integers(1, 12)))))
                elif what < 0.45 + 1.7 * talk:
                    tick = Fraction(things[s].tick)
                    near = Fraction(max(1, round(level * (1 + rng.uniform(-0.05, 0.05)) / float(tick)))) * tick
                    x = dict(number=int(rng.integers(1, 20)))
                    if rng.random() < 0.6: x["quantity"] = Fraction(things[s].lot) * int(rng.choice([1, 7, 50]))
                    if rng.random() < 0.5: x["limit"] = near
                    if rng.random() < 0.5: x["stop"] = near
                    intents.append((t, "modify", k, s, x))
    return rows, things, bars, actions, setup, intents, quotes


def as_rows(intents: list[tuple], setup: Setup) -> np.ndarray:
    out = np.zeros((len(intents), INTENT_COLUMNS), np.int64)
    for i, (t, kind, k, s, x) in enumerate(intents):
        thing = setup.instruments[s]
        p, q = 10 ** setup.price_scale(thing), 10 ** setup.quantity_scale(thing)
        out[i, [I_ROW, I_STRATEGY, I_SYMBOL]] = t, k, s
        out[i, I_KIND] = dict(signal=SIGNAL, order=ORDER, cancel=CANCEL, modify=MODIFY, arm=ARM)[kind]
        if kind == "arm": continue
        if kind == "signal":
            out[i, [I_SIDE, I_CONFIDENCE]] = np.sign(x), round(abs(x) * 1e9)
            continue
        out[i, I_ORDER], out[i, I_SIDE], out[i, I_QUANTITY] = x.get("number", 0), x.get("side", 0), int(x.get("quantity", 0) * q)
        out[i, I_NOTIONAL] = int(x["money"].scaleb(setup.cash_scale)) if "money" in x else 0
        out[i, [I_TYPE, I_TIF]] = TYPES.index(x.get("kind", "market")), TIFS.index(x.get("tif", "gtc"))
        for column, key in ((I_LIMIT, "limit"), (I_STOP, "stop"), (I_TRAIL, "trail")): out[i, column] = int(x.get(key, 0) * p)
        out[i, [I_RATE, I_UNTIL, I_GROUP, I_CLOSES]] = int(x.get("rate", 0) * 10**8), x.get("until", 0), x.get("group", 0), x.get("closes", False)
        for column, y in zip((I_B_STOP, I_B_TARGET, I_B_TRAIL), x.get("bracket", (None,) * 3)): out[i, column] = int((y or 0) * p)
    return out


def reference(scenario: tuple) -> Reference:
    _, things, bars, actions, setup, intents, quotes = scenario
    panel = make_panel(bars, things, actions)
    window, _ = make_window(panel, setup, whole=True)
    ref = Reference(setup)
    a = panel.actions
    def exact(x: float) -> Fraction: return Fraction(str(round(x, 8)))
    seen = {s: list(zip(q.timestamp.tolist(), map(exact, q.bid_open), map(exact, q.ask_open))) for s, q in quotes.items()}
    for t in range(len(panel)):
        here = [s for s in range(len(things)) if not np.isnan(panel.close[t, s])]
        prices = {things[s].symbol: tuple(exact(x[t, s]) for x in (panel.open, panel.high, panel.low, panel.close)) for s in here}
        volumes = {things[s].symbol: Fraction(panel.volume[t, s]) // Fraction(things[s].lot) * Fraction(things[s].lot) for s in here}
        todays = [(things[int(a.symbol[j])].symbol, ["split", "dividend"][int(a.kind[j])], int(a.numerator[j]), int(a.denominator[j]), a.amount[j])
                  for j in range(len(a.row)) if a.row[j] == t]
        ref.bar(t, int(panel.start[t]), int(panel.end[t]), prices, todays, volumes, int(window.day[t]), bool(window.closes[t]), seen)
        wanted = []
        for row, kind, k, s, x in intents:
            if row == t: wanted.append((kind, setup.seats[k].strategy_id, things[s].symbol, dict(x) if isinstance(x, dict) else x))
        ref.accept(wanted)
    if setup.profile.finalize:
        ref.accept([("finalize", seat.strategy_id, i.symbol, 0) for seat in setup.seats for i in setup.instruments])
    return ref


def run(scenario: tuple) -> Account:
    _, things, bars, actions, setup, intents, quotes = scenario
    panel = make_panel(bars, things, actions)
    intents = [it for it in intents if it[0] < len(panel)]
    window, acts = make_window(panel, setup, True, quotes)
    account = Account(setup, len(panel))
    account.walk(window, acts, np.concatenate([as_rows(intents, setup), finalize_intents(setup, len(panel) - 1)]), 0, len(panel))
    return account


def agree(scenario: tuple) -> None:
    "Every event in words, the equity at every bar and the cash at the end."
    setup, account, ref = scenario[4], run(scenario), reference(scenario)
    got = list(to_events(account.events, setup))
    for event, (kind, time, row, strategy, symbol, order, data) in zip(got, ref.events):
        assert (event.kind, to_ns(event.timestamp), event.bar) == (kind, time // 1000 * 1000, row), event
        assert (event.strategy_id, event.symbol, event.order_id) == (strategy, symbol, order), event
        data |= data.pop("PRICES", {})
        for key, value in data.items():
            if isinstance(value, Fraction): assert Fraction(event.data[key]) == value, (event, key, value)
            else: assert event.data.get(key) == value, (event, key, value)
    assert len(got) == len(ref.events)
    scale = setup.cash_scale
    assert account.equity[:, 0].tolist() == [to_int(e, scale) for e in ref.curve]
    assert int(account.state.cash[0]) == to_int(ref.cash, scale)
    assert int(account.state.reserved[0]) == to_int(ref.reserved, scale)
    assert int(account.state.available[0]) == to_int(ref.available, scale)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(scenarios(hours=True))
def test_the_kernel_agrees_with_its_slow_double(scenario: tuple) -> None: agree(scenario)


@pytest.mark.slow
@settings(max_examples=3000, deadline=None, suppress_health_check=list(HealthCheck))
@given(scenarios(hours=True))
def test_the_kernel_agrees_with_its_slow_double_at_length(scenario: tuple) -> None: agree(scenario)


def in_single_bars(panel: Panel, setup: Setup, rows: np.ndarray, quotes: dict[str, Quotes] | None = None) -> Account:
    "An account that never sees more than one bar at once."
    window, acts = make_window(panel, setup, True, quotes)
    single = Account(setup, len(panel))
    for t in range(len(panel)):
        one = one_bar(window, t)
        # the intents of the last bar come with the next one, or on their own
        single.walk(one, acts, rows[rows[:, I_ROW] == t - 1], t, t + 1) if t % 2 else single.walk(one, acts, rows[:0], t, t + 1)
        if t % 2 == 1 or t == len(panel) - 1: single.walk(one, acts, rows[rows[:, I_ROW] == t], t + 1, t + 1)
    single.walk(one, acts, finalize_intents(setup, len(panel) - 1), len(panel), len(panel))
    return single


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(scenarios(hours=True))
def test_bar_by_bar_is_the_batch_and_cash_is_the_sum_of_its_flows(scenario: tuple) -> None:
    _, things, bars, actions, setup, intents, quotes = scenario
    panel, whole = make_panel(bars, things, actions), run(scenario)
    single = in_single_bars(panel, setup, as_rows([it for it in intents if it[0] < len(panel)], setup), quotes)
    assert np.array_equal(single.events, whole.events) and np.array_equal(single.equity, whole.equity)
    for x in (single, whole): x.state.counters[[INTENT, ACTION]] = 0 # places in arrays that were cut differently
    for name, x, y in zip(State._fields, single.state, whole.state):
        n = int(whole.state.counters[RESTING]) if name == "orders" else len(y)
        assert np.array_equal(x[:n], y[:n]), name
    e = whole.events
    trades, paid = e[e[:, V_KIND] == E_FILL], e[np.isin(e[:, V_KIND], (E_SPLIT, E_DIVIDEND, E_BORROW))]
    flows = (-trades[:, V_SIDE] * trades[:, V_AMOUNT] - trades[:, V_FEE]).sum() + paid[:, V_AMOUNT].sum()
    assert int(whole.state.cash[0]) == to_int(setup.cash, setup.cash_scale) + int(flows)
    assert (whole.state.reserved >= 0).all()
    if setup.allow_short: return
    assert int(whole.state.cash[0]) >= 0, "there is no leverage"
    assert (whole.state.held >= 0).all() and (whole.state.money[:, PLEDGED] == 0).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 3), st.booleans(), st.sampled_from([0.0, 0.1]),
       st.sampled_from([100_000, 10**9]))
def test_long_quiet_stretches_at_once_are_the_same_stretches_bar_by_bar(seed: int, S: int, K: int, apart: bool, gaps: float, cash: int) -> None:
    "Few decisions and many bars between them, by columns and by rows; with six decimals a billion does not fit the products without a branch."
    rng, T = np.random.default_rng(seed), 70
    things = [Instrument(f"S{s}", exchange="24/7", lot=Decimal("0.001")) for s in range(S)]
    bars, starts = [], 1_600_000_000_000_000_000 + np.arange(T) * 60_000_000_000
    for s in range(S):
        there = np.flatnonzero((rng.random(T) >= gaps) | (np.arange(T) == 0))
        x = np.round(50 + np.cumsum(rng.normal(0, 1, (len(there), 2)), axis=0).clip(-40, 40), 2)
        bars.append(Bars(f"S{s}", "1m", starts[there], x[:, 0], x.max(axis=1), x.min(axis=1), x[:, 1], np.ones(len(there))))
    panel = make_panel(bars, things)
    setup = Setup(tuple(Seat(f"K{k}", "percent_of_equity", Decimal(30), k if apart else 0) for k in range(K)), tuple(things), Decimal(cash),
                  profile=get_profile(str(rng.choice(["like_freqtrade", "next_open", "instant"]))), relative=Decimal("0.001"))
    signals = {f"K{k}": rng.choice([np.nan, 1.0, 0.0], (len(panel), S), p=[0.96, 0.02, 0.02]) for k in range(K)}
    a, b = backtest(panel, signals, setup), in_single_bars(panel, setup, signal_intents(list(signals.values())))
    for c in (b, stepwise(panel, signals, setup)):
        assert np.array_equal(a.events, c.events) and np.array_equal(a.equity, c.equity)
        assert np.array_equal(a.state.market, c.state.market) and np.array_equal(a.state.money, c.state.money)


def tiny(prices: list[float], **setup: object) -> tuple:
    starts = np.array([to_ns(session_open(d)) for d in DAYS[:len(prices)]])
    x, thing = np.array(prices), Instrument("IBM")
    return make_panel([Bars("IBM", "1d", starts, x, x, x, x, np.ones(len(x)))], [thing]), Setup((Seat("K", "all_cash"),), (thing,), **setup)


def test_an_amount_beyond_the_number_model_stops_the_run() -> None:
    panel, setup = tiny([1.0, 1.0, 1.0, 40_000_000_000.0, 40_000_000_000.0], cash=Decimal(LIMIT // 200))
    signals = {"K": np.array([[1.0], [np.nan], [np.nan], [np.nan], [np.nan]])}
    with pytest.raises(MoneyError, match="row 3"): backtest(panel, signals, setup)


def test_an_exit_that_cannot_pay_its_fee_leaves_the_other_exit_of_its_bracket() -> None:
    "Found by the slow double: the stop was cancelled for want of cash, and took the target with it as if it had filled."
    panel, setup = tiny([0.50, 0.50, 0.30, 0.30, 0.90], cash=Decimal("2.00"), fixed=Decimal("1.00"))
    buy = dict(side=1, quantity=Fraction(1), bracket=(Fraction("0.40"), Fraction("0.80"), None))
    account, (window, acts) = Account(setup, 5), make_window(panel, setup, True)
    account.walk(window, acts, as_rows([(0, "order", 0, 0, buy)], setup), 0, 5)
    told = [(e.kind, e.bar, e.order_id, e.data.get("reason", e.data.get("price"))) for e in to_events(account.events, setup)]
    assert told == [("order", 0, "O000001", ""), ("fill", 1, "O000001", "0.50"), ("order", 1, "O000002", ""), ("order", 1, "O000003", ""),
                    ("cancel", 2, "O000002", "no cash"), ("fill", 4, "O000003", "0.90")]
    assert int(account.state.cash[0]) == 40 and not account.state.held.any()


def test_an_order_that_trades_nothing_grows_no_bracket_and_ends_no_group() -> None:
    "The same for entries: rejected or cancelled, an order has no exits, and the other order of its group goes on."
    panel, setup = tiny([10.0, 20.0, 10.0, 10.0], cash=Decimal("105.00"))
    dear = dict(side=1, quantity=Fraction(10), group=1, bracket=(Fraction(5), Fraction(30), None)) # reserved at 10, fills at 20: no cash
    rest = dict(side=1, quantity=Fraction(1), group=1, kind="limit", limit=Fraction(4))
    wrong = dict(side=1, quantity=Fraction(1), bracket=(Fraction(11), Fraction(30), None)) # a stop above the entry
    account, (window, acts) = Account(setup, 4), make_window(panel, setup, True)
    account.walk(window, acts, as_rows([(0, "order", 0, 0, x) for x in (dear, rest, wrong)], setup), 0, 4)
    told = [(e.kind, e.order_id, e.data["reason"]) for e in to_events(account.events, setup)]
    assert told == [("order", "O000001", ""), ("order", "O000002", ""), ("reject", "O000003", "bracket is on the wrong side of the entry"),
                    ("cancel", "O000001", "no cash")]
    assert int(account.state.counters[RESTING]) == 1 and int(account.state.cash[0]) == 10500


def test_intents_that_belong_to_no_bar_are_refused_not_lost() -> None:
    panel, setup = tiny([1.0, 1.0, 1.0])
    window, acts = make_window(panel, setup)
    for rows in ([5], [1, 0]):
        wrong = np.zeros((len(rows), INTENT_COLUMNS), np.int64)
        wrong[:, I_ROW] = rows
        with pytest.raises(OrderError, match="do not belong"): Account(setup, 3).walk(window, acts, wrong, 0, 3)


def test_buffers_grow_without_changing_a_bit() -> None:
    panel, setup = tiny(list(np.linspace(50, 60, 60)))
    signals = {"K": np.where(np.arange(60) % 2, 0.0, 1.0)[:, None]}
    want = backtest(panel, signals, setup)
    window, acts = make_window(panel, setup)
    small = Account(setup, 60)
    small._events = small._events[:2]
    small.state = small.state._replace(orders=small.state.orders[:0])
    small.walk(window, acts, signal_intents([signals["K"]]), 0, 60)
    assert np.array_equal(small.events, want.events) and np.array_equal(small.equity, want.equity)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_goes_on_by_itself(copied: Callable[[Any], Any]) -> None:
    "The kernel knows where an account's arrays are; a copy's are elsewhere, also when window and actions are copied along."
    panel, setup = tiny(list(np.linspace(50, 60, 60)))
    signals = {"K": np.where(np.arange(60) % 2, 0.0, 1.0)[:, None]}
    want, intents = backtest(panel, signals, setup), signal_intents([signals["K"]])
    account, (window, acts) = Account(setup, 60), make_window(panel, setup)
    account.walk(window, acts, intents[:30], 0, 30)
    other, its_window, its_acts = copied((account, window, acts))
    before = account.events.copy()
    other.walk(its_window, its_acts, intents[30:], 30, 60)
    assert np.array_equal(account.events, before) and np.array_equal(other.events, want.events) and np.array_equal(other.equity, want.equity)
    account.walk(window, acts, intents[30:], 30, 60)
    assert np.array_equal(account.events, want.events) and np.array_equal(account.equity, want.equity)


def test_nothing_decided_on_a_bar_fills_on_it() -> None:
    rng = np.random.default_rng(3)
    panel, setup = tiny(list(rng.uniform(10, 20, 50)))
    signals = {"K": rng.choice([1.0, 0.0, np.nan], (50, 1))}
    for e in to_events(backtest(panel, signals, setup).events, setup):
        if e.kind == "order": decided = e
        if e.kind == "fill": assert e.timestamp > decided.timestamp and e.bar > decided.bar


def test_stepwise_equals_batch_on_the_golden_case() -> None:
    panel, setup = tiny(list(np.round(np.random.default_rng(9).uniform(10, 20, 80), 2)), slippage_bps=Decimal(5))
    signals = {"K": np.random.default_rng(4).choice([1.0, 0.0, np.nan], (80, 1))}
    a, b = backtest(panel, signals, setup), in_single_bars(panel, setup, signal_intents([signals["K"]]))
    for c in (b, stepwise(panel, signals, setup)): assert np.array_equal(a.events, c.events) and np.array_equal(a.equity, c.equity)


def test_latency_changes_fills_where_quotes_are_finer_and_nowhere_else() -> None:
    "Minute bars with every update of the quote: an order that arrives later meets a later quote; the same bars without quotes do not care."
    source = SyntheticSource(["ALPHA"], date(2012, 1, 3), date(2012, 12, 31), seed=7)
    day = date(2012, 11, 20)
    thing, bars, ticks = source.instrument("ALPHA"), source.bars("ALPHA", day, day, "1m"), source.quotes("ALPHA", day, day, "tick")
    panel = make_panel([bars], [thing])
    signals = {"K": np.where(np.arange(len(panel)) % 10 == 0, 1.0, np.where(np.arange(len(panel)) % 10 == 5, 0.0, np.nan))[:, None]}
    def trades(ms: str, **quotes: Quotes) -> list[tuple]:
        real = get_profile("realistic").costs
        costs = replace(real, latency_ms=(Decimal(ms), Decimal(ms)), participation=Decimal(0))
        setup = Setup((Seat("K", "fixed_units", Decimal(10)),), (thing,), profile=get_profile("realistic"), costs=costs)
        events = to_events(backtest(panel, signals, setup, {"ALPHA": quotes["quotes"]} if quotes else None).events, setup)
        return [(e.timestamp, e.data["price"]) for e in events if e.kind == "fill"]
    quick, slow = trades("0", quotes=ticks), trades("30000", quotes=ticks)
    assert len(quick) == len(slow) > 70
    assert sum(a[1] != b[1] for a, b in zip(quick, slow)) > 20 and all(a[0] < b[0] for a, b in zip(quick, slow))
    assert trades("0") == trades("30000"), "bars alone do not tell what happened in between"
    interval = source.quotes("ALPHA", day, day, "1m")
    assert [p for _, p in trades("0", quotes=interval)] == [p for _, p in trades("100", quotes=interval)]
