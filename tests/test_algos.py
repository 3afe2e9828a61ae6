"Slices against a slow double, step by step and at once; what is asked, got and left over always comes to the parent."
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from firebot.algos import ALGOS, Slicing, child, make_plan, schedule, volume_profile
from firebot.desk import ExecutionEngine
from firebot.engine import Account, Seat, Setup
from firebot.feed import make_panel
from firebot.fills import Costs
from firebot.journal import order_rows
from firebot.models import ActionKind, Bars, CorporateAction, Instrument, Order, OrderSide, OrderStatus, from_ns, session_open, to_ns


@st.composite
def parents(draw):
    n, lot = draw(st.integers(1, 12)), draw(st.sampled_from([1, 10, 1000]))
    rate = Decimal(draw(st.integers(1, 100))) / 1000
    most, finish = min(rate * draw(st.integers(1, 5)), Decimal(1)), draw(st.sampled_from([None, True, False]))
    slicing = Slicing(draw(st.sampled_from(ALGOS)), n, rate, most, finish)
    total = lot * draw(st.integers(1, 10**6))
    numbers = st.lists(st.integers(0, 10**7), min_size=n, max_size=n)
    return slicing, total, lot, [w + 1 for w in draw(numbers)], draw(numbers), [x // lot * lot for x in draw(numbers)]


def slow_child(slicing, total, lot, weights, i, filled, volume):
    "By the table of the page, in fractions."
    def lots(x: Fraction) -> int: return int(x // lot) * lot
    if filled == total: return 0
    if i == slicing.bars - 1 and slicing.finishes: return total - filled
    if slicing.algo != "vwap": weights = [1] * slicing.bars
    due = lots(Fraction(total) * sum(weights[:i + 1]) / sum(weights))
    if slicing.algo != "participation": return max(due - filled, 0)
    step = Fraction(1, 10**8)
    rate = Fraction(slicing.rate) + Fraction(slicing.most - slicing.rate) * max(due - filled, 0) / total // step * step
    return min(lots(volume * rate), total - filled)


@given(parents())
@settings(max_examples=300)
def test_schedule_is_the_slow_one_and_the_stepwise_one(parent):
    slicing, total, lot, weights, volume, room = parent
    plan = make_plan(slicing, total, lot, np.array(weights))
    asked, got = schedule(plan, np.array(volume), np.array(room))
    filled = 0
    for i in range(slicing.bars):
        assert asked[i] == child(plan, i, filled, volume[i]) == slow_child(slicing, total, lot, weights, i, filled, volume[i])
        assert asked[i] % lot == 0 and 0 <= got[i] == min(asked[i], room[i]) and filled + asked[i] <= total
        filled += int(got[i])
    assert filled == got.sum() <= total
    if slicing.finishes and room[-1] >= total: assert filled == total
    assert child(plan, slicing.bars, filled, 10**7) == 0


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(2, 5), st.integers(1, 3))
def test_profile_knows_the_past_only(seed, days, slots, look):
    rng = np.random.default_rng(seed)
    volume, day = rng.integers(1, 1000, days * slots).astype(float), np.repeat(np.arange(days), slots)
    row = int(rng.integers(0, days * slots))
    got = volume_profile(volume, day, row, slots, look)
    changed = np.where(day >= day[row], rng.integers(1, 1000, days * slots), volume)
    assert (volume_profile(changed, day, row, slots, look) == got).all()
    past = volume.reshape(days, slots)[max(day[row] - look, 0):day[row]].sum(axis=0)
    want = [past[(row % slots + 1 + j) % slots] for j in range(slots)] if day[row] else [1] * slots
    assert got.tolist() == want


DAYS = [d for d in (date(2024, 1, 2) + timedelta(days=i) for i in range(18)) if d.weekday() < 5]


def market(rng, split=None):
    "Twelve days of one share, some of them without a bar."
    there = np.flatnonzero(rng.random(len(DAYS)) < 0.9) if rng.random() < 0.5 else np.arange(len(DAYS))
    starts = np.array([to_ns(session_open(DAYS[t])) for t in there])
    o = np.round(rng.uniform(90, 110, len(there)), 2)
    bars = Bars("IBM", "1d", starts, o, o + 1, o - 1, o, rng.integers(0, 5000, len(there)).astype(float))
    other = Bars("KO", "1d", np.array([to_ns(session_open(d)) for d in DAYS]), *[np.full(len(DAYS), 50.0)] * 4, np.full(len(DAYS), 100.0))
    things = [Instrument("IBM"), Instrument("KO")]
    return make_panel([bars, other], things, [CorporateAction("IBM", split, ActionKind.SPLIT, 2, 1)] if split else []), tuple(things)


def bought(desk, slicing, quantity):
    return desk.submit_order(Order("", from_ns(0), "IBM", OrderSide.BUY, quantity=Decimal(quantity), strategy_id="hand", algo=slicing))


@given(st.integers(0, 2**32 - 1), st.sampled_from(ALGOS), st.integers(1, 6), st.sampled_from([None, True, False]), st.integers(1, 2000))
@settings(max_examples=60, deadline=None)
def test_parent_and_children_tie_out_in_the_journal(seed, algo, slices, finish, quantity):
    rng = np.random.default_rng(seed)
    panel, things = market(rng)
    setup = Setup((Seat("hand"),), things, Decimal(10**6), slippage_bps=Decimal(5), costs=Costs(participation=Decimal("0.05")))
    desk, sent, do = ExecutionEngine(panel, setup), [], ExecutionEngine._do
    desk._do = lambda *rows: (sent.extend(r.copy() for r in rows), do(desk, *rows))
    while desk.row < 0 or np.isnan(panel.close[:desk.row + 1, 0]).all(): desk.bar()
    name, plan = bought(desk, Slicing(algo, slices, finish=finish), quantity), make_plan(Slicing(algo, slices, finish=finish), quantity)
    begun = desk.row
    while desk.row + 1 < len(panel): desk.bar()
    whole, parts, events = desk.get_order_status(name), desk.children(name), desk.events
    told = [e for e in events if e.kind in ("order", "reject")]
    assert [e.order_id for e in told] == [c.order_id for c in parts] and {e.data["parent"] for e in told} <= {name}
    fills = {c.order_id: sum(Decimal(e.data["quantity"]) for e in events if e.kind == "fill" and e.order_id == c.order_id) for c in parts}
    assert [c.filled for c in parts] == list(fills.values()) and whole.filled == sum(fills.values()) <= quantity
    assert whole.status == OrderStatus.FILLED if whole.filled == quantity else whole.status != OrderStatus.FILLED
    ends = [e.data for e in events if e.kind == "parent"][1:]
    assert [(e["status"], Decimal(e["filled"])) for e in ends] == ([(whole.status.value, whole.filled)] if whole.reason else [])
    rows = {r["order_id"]: r for r in order_rows(events)}
    assert rows[name]["filled_quantity"] == whole.filled and rows[name]["type"] == algo
    assert sum(r["filled_quantity"] for r in rows.values() if r["parent"] == name) == whole.filled
    asked, filled = [], 0 # what the page on slices asks for, given what was got
    got = iter([int(c.filled) for c in parts])
    turns = [t for t in range(begun, len(panel)) if not np.isnan(panel.close[t, 0])][:slices]
    if algo != "vwap":
        for i, t in enumerate(turns):
            if q := child(plan, i, filled, int(panel.volume[t, 0])):
                asked.append(q)
                filled += next(got)
        assert [int(c.quantity) for c in parts] == asked
    batch = Account(setup, len(panel)) # the children's intents, all of history at once
    batch.walk(desk._window, desk._actions, np.array(sent).reshape(len(sent), -1), 0, len(panel))
    assert (batch.events == desk.account.events).all() and (batch.equity == desk.account.equity).all()


def test_a_split_and_a_person_end_a_parent():
    rng = np.random.default_rng(3)
    panel, things = market(rng, DAYS[4])
    setup = Setup((Seat("hand"),), things, costs=Costs(participation=Decimal("0.01")))
    for ends in ("a split", "by request"):
        desk = ExecutionEngine(panel, setup)
        for _ in range(3): desk.bar()
        name = bought(desk, Slicing(bars=8), 400)
        if ends == "by request": assert desk.cancel_order(name) and not desk.cancel_order(name)
        while desk.row + 1 < len(panel): desk.bar()
        o, sent = desk.get_order_status(name), len(desk.children(name))
        assert (o.status, o.reason) == (OrderStatus.CANCELLED, ends) and sent < 8
        assert o.filled == sum(c.filled for c in desk.children(name))
