"The kernel against its slow double, on random orders, bars and corporate actions; batch against bar by bar; identities."
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference import Reference

from firebot.engine import (
    CANCEL,
    E_DIVIDEND,
    E_FILL,
    E_SPLIT,
    I_CONFIDENCE,
    I_KIND,
    I_QUANTITY,
    I_ROW,
    I_SIDE,
    I_STRATEGY,
    I_SYMBOL,
    INTENT_COLUMNS,
    ORDER,
    SIGNAL,
    V_AMOUNT,
    V_FEE,
    V_KIND,
    V_SIDE,
    Account,
    Seat,
    Setup,
    Window,
    backtest,
    finalize_intents,
    make_window,
    signal_intents,
    stepwise,
    to_events,
)
from firebot.feed import make_panel
from firebot.fills import PROFILES, get_profile
from firebot.models import ActionKind, Bars, CorporateAction, Instrument, MoneyError, OrderError, session_open, to_ns
from firebot.money import LIMIT, to_int

DAYS = [d for d in (date(2024, 1, 2) + timedelta(days=i) for i in range(180)) if d.weekday() < 5]


@st.composite
def scenarios(draw: st.DrawFn) -> tuple:
    "Bars of some symbols with gaps, corporate actions, strategies with sizing rules, and intents of every kind."
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, count, strategies = draw(st.integers(2, 25)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    things, bars, actions = [], [], []
    for j in range(count):
        lot = draw(st.sampled_from(["1", "0.001", "10"]))
        tick = draw(st.sampled_from(["0.01", "0.05", "0.0001"]))
        things.append(Instrument(f"S{j}", tick=Decimal(tick), lot=Decimal(lot)))
        there = np.sort(rng.choice(rows, size=rng.integers(1, rows + 1), replace=False)) if draw(st.booleans()) else np.arange(rows)
        level = 10.0 ** rng.uniform(0, 3)
        path = np.round(level * np.exp(np.cumsum(rng.normal(0, 0.05, (rows, 2)), axis=0)) / float(tick)) * float(tick) + float(tick)
        o, c = path[there, 0], path[there, 1]
        starts = np.array([to_ns(session_open(DAYS[t])) for t in there])
        bars.append(Bars(f"S{j}", "1d", starts, o, np.maximum(o, c), np.minimum(o, c), c, np.ones(len(there))))
        for _ in range(draw(st.integers(0, 2))):
            day = DAYS[int(rng.integers(0, rows))]
            ratio = map(int, rng.choice([1, 2, 3, 5, 7, 20, 1000], 2))
            if draw(st.booleans()): actions.append(CorporateAction(f"S{j}", day, ActionKind.SPLIT, *ratio))
            else: actions.append(CorporateAction(f"S{j}", day, ActionKind.DIVIDEND, amount=Decimal(int(rng.integers(1, 300))) / 100))
    rule = st.sampled_from(["all_cash", "percent_of_equity", "fixed_units"])
    seats = tuple(Seat(f"K{k}", r := draw(rule), Decimal(draw(st.integers(1, 100 if r != "fixed_units" else 500)))) for k in range(strategies))
    setup = Setup(seats, tuple(things), Decimal(draw(st.sampled_from(["100000", "500.07", "12345678.90"]))),
                  profile=get_profile(draw(st.sampled_from(sorted(PROFILES)))), slippage_bps=Decimal(draw(st.sampled_from(["0", "5", "0.5", "120"]))),
                  fixed=Decimal(draw(st.sampled_from(["0", "1", "4.95"]))), per_share=Decimal(draw(st.sampled_from(["0", "0.005"]))),
                  relative=Decimal(draw(st.sampled_from(["0", "0.001"]))))
    intents = []
    for t in range(rows):
        for k in range(strategies):
            for s in range(count):
                what = rng.random()
                if what < 0.45: intents.append((t, "signal", k, s, float(rng.choice([1.0, 0.5, 0.0, 0.0, -1.0]))))
                elif what < 0.60: intents.append((t, "order", k, s, int(rng.choice([1, -1]) * rng.choice([0, 1, 7, 10, 1000, 123_000]))))
                elif what < 0.68: intents.append((t, "cancel", k, s, int(rng.integers(1, 12))))
    return rows, things, bars, actions, setup, intents


def as_rows(intents: list[tuple], setup: Setup) -> np.ndarray:
    out = np.zeros((len(intents), INTENT_COLUMNS), np.int64)
    for i, (t, kind, k, s, x) in enumerate(intents):
        out[i, [I_ROW, I_STRATEGY, I_SYMBOL]] = t, k, s
        out[i, I_KIND] = {"signal": SIGNAL, "order": ORDER, "cancel": CANCEL}[kind]
        if kind == "signal": out[i, [I_SIDE, I_CONFIDENCE]] = np.sign(x), round(abs(x) * 1e9)
        elif kind == "cancel": out[i, I_QUANTITY] = x
        else: out[i, [I_SIDE, I_QUANTITY]] = 1 if x >= 0 else -1, abs(x)
    return out


def reference(scenario: tuple) -> Reference:
    _, things, bars, actions, setup, intents = scenario
    panel = make_panel(bars, things, actions)
    ref = Reference(setup)
    a = panel.actions
    for t in range(len(panel)):
        def seen(x: np.ndarray, t: int = t) -> dict[str, Fraction]:
            return {i.symbol: Fraction(str(round(x[t, s], 8))) for s, i in enumerate(things) if not np.isnan(x[t, s])}
        todays = [(things[int(a.symbol[j])].symbol, ["split", "dividend"][int(a.kind[j])], int(a.numerator[j]), int(a.denominator[j]), a.amount[j])
                  for j in range(len(a.row)) if a.row[j] == t]
        ref.bar(t, int(panel.start[t]), int(panel.end[t]), seen(panel.open), seen(panel.close), todays)
        wanted = []
        for row, kind, k, s, x in intents:
            if row != t: continue
            scale = Decimal(1).scaleb(-setup.quantity_scale(things[s]))
            wanted.append((kind, setup.seats[k].strategy_id, things[s].symbol, Fraction(scale) * x if kind == "order" else x))
        ref.accept(wanted)
    if setup.profile.finalize:
        ref.accept([("finalize", seat.strategy_id, i.symbol, 0) for seat in setup.seats for i in setup.instruments])
    return ref


def run(scenario: tuple) -> Account:
    _, things, bars, actions, setup, intents = scenario
    panel = make_panel(bars, things, actions)
    intents = [it for it in intents if it[0] < len(panel)]
    window, acts = make_window(panel, setup)
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
        for key, value in data.items():
            if key == "price": assert Fraction(event.data["price"]) == value
            else: assert event.data[key] == value, (event, key, value)
    assert len(got) == len(ref.events)
    scale = setup.cash_scale
    assert account.equity[:, 0].tolist() == [to_int(e, scale) for e in ref.curve]
    assert int(account.state.cash[0]) == to_int(ref.cash, scale)
    assert int(account.state.reserved[0]) == to_int(ref.reserved, scale)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(scenarios())
def test_the_kernel_agrees_with_its_slow_double(scenario: tuple) -> None: agree(scenario)


@pytest.mark.slow
@settings(max_examples=3000, deadline=None, suppress_health_check=list(HealthCheck))
@given(scenarios())
def test_the_kernel_agrees_with_its_slow_double_at_length(scenario: tuple) -> None: agree(scenario)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(scenarios())
def test_bar_by_bar_is_the_batch_and_cash_is_the_sum_of_its_flows(scenario: tuple) -> None:
    _, things, bars, actions, setup, intents = scenario
    panel, whole = make_panel(bars, things, actions), run(scenario)
    window, acts = make_window(panel, setup)
    rows = as_rows([it for it in intents if it[0] < len(panel)], setup)
    single = Account(setup, len(panel))
    for t in range(len(panel)):
        one = Window(t, *(x[t:t + 1] for x in window[1:]))
        # the intents of the last bar come with the next one, or on their own
        single.walk(one, acts, rows[rows[:, I_ROW] == t - 1], t, t + 1) if t % 2 else single.walk(one, acts, rows[:0], t, t + 1)
        if t % 2 == 1 or t == len(panel) - 1: single.walk(one, acts, rows[rows[:, I_ROW] == t], t + 1, t + 1)
    single.walk(one, acts, finalize_intents(setup, len(panel) - 1), len(panel), len(panel))
    assert np.array_equal(single.events, whole.events) and np.array_equal(single.equity, whole.equity)
    e = whole.events
    trades, paid = e[e[:, V_KIND] == E_FILL], e[(e[:, V_KIND] == E_SPLIT) | (e[:, V_KIND] == E_DIVIDEND)]
    flows = (-trades[:, V_SIDE] * trades[:, V_AMOUNT] - trades[:, V_FEE]).sum() + paid[:, V_AMOUNT].sum()
    assert int(whole.state.cash[0]) == to_int(setup.cash, setup.cash_scale) + int(flows)
    assert int(whole.state.cash[0]) >= 0, "there is no leverage"
    assert (whole.state.held >= 0).all() and (whole.state.reserved >= 0).all()


def tiny(prices: list[float], **setup: object) -> tuple:
    starts = np.array([to_ns(session_open(d)) for d in DAYS[:len(prices)]])
    x, thing = np.array(prices), Instrument("IBM")
    return make_panel([Bars("IBM", "1d", starts, x, x, x, x, np.ones(len(x)))], [thing]), Setup((Seat("K", "all_cash"),), (thing,), **setup)


def test_an_amount_beyond_the_number_model_stops_the_run() -> None:
    panel, setup = tiny([1.0, 1.0, 1.0, 40_000_000_000.0, 40_000_000_000.0], cash=Decimal(LIMIT // 200))
    signals = {"K": np.array([[1.0], [np.nan], [np.nan], [np.nan], [np.nan]])}
    with pytest.raises(MoneyError, match="row 3"): backtest(panel, signals, setup)


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
    a, b = backtest(panel, signals, setup), stepwise(panel, signals, setup)
    assert np.array_equal(a.events, b.events) and np.array_equal(a.equity, b.equity)
