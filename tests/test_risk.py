"The limits against a slow double in Decimal, on random books, orders and days; identities; the road from configuration to refusal."
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firebot.config import RiskConfig, load_config
from firebot.models import ConfigError, Instrument
from firebot.money import LIMIT, from_int, to_int
from firebot.risk import (
    CONCENTRATION,
    DAILY,
    DRAWDOWN,
    GROSS,
    L_DRAWDOWN,
    LOSS,
    NET,
    OK,
    POSITION,
    SECTOR,
    STOPPED,
    W_BLOCKED,
    W_FLOW,
    W_STOPPED,
    arm,
    breached,
    check,
    lots_for,
    make_limits,
    make_watch,
    observe,
    standing,
)

CENT, TENTHS = Decimal("0.01"), [Decimal(x) / 10 for x in (1, 5, 33, 100, 250, 500, 1000)]
cents = st.integers(-10**11, 10**11)


def cash(x: int) -> Decimal: return Decimal(x) / 100


def nearest(x: Decimal) -> Decimal: return x.quantize(CENT, ROUND_HALF_EVEN)


def slow_check(config, sectors, s, side, money, distance, price, equity, own, values):
    "Room by room, in decimals, from the page's table."
    after = {POSITION: max(side * own, Decimal(0)), CONCENTRATION: side * values[s], NET: side * sum(values), GROSS: sum(map(abs, values)),
             SECTOR: sum(abs(v) for v, sector in zip(values, sectors) if sector == sectors[s]), LOSS: Decimal(0)}
    percent = {POSITION: config.max_position_size_pct, CONCENTRATION: config.max_concentration_pct, SECTOR: config.max_sector_exposure_pct,
               GROSS: config.max_gross_exposure_pct, NET: config.max_net_exposure_pct, LOSS: config.max_loss_per_trade_pct}
    found = []
    for rule, p in percent.items():
        if p is None: continue
        bound = nearest(max(equity, Decimal(0)) * p / 100)
        room, more = max(bound - after[rule], Decimal(0)), money
        if rule == LOSS and distance: more, room = nearest(money * distance / price), (bound * price / distance).quantize(CENT, ROUND_DOWN)
        elif rule == LOSS and side < 0: room = Decimal(0)
        if room < money: found.append((room, rule, after[rule] + more, bound))
    if not found: return money, OK, Decimal(0), Decimal(0)
    room, rule, at, bound = min(found)
    return (room if config.on_limit == "trim" else Decimal(0)), rule, at, bound


@st.composite
def books(draw):
    count = draw(st.integers(1, 5))
    percent = st.none() | st.sampled_from(TENTHS)
    keys = "position_size", "concentration", "sector_exposure", "gross_exposure", "net_exposure", "loss_per_trade"
    config = RiskConfig(**{f"max_{k}_pct": draw(percent) for k in keys}, on_limit=draw(st.sampled_from(["trim", "reject"])))
    sectors = [draw(st.sampled_from(["Energy", "Technology"])) for _ in range(count)]
    values, s = draw(st.lists(cents, min_size=count, max_size=count)), draw(st.integers(0, count - 1))
    price = draw(st.integers(1, 10**8))
    return config, sectors, s, draw(st.sampled_from([1, -1])), draw(st.integers(0, 10**11)), draw(st.integers(0, price)), price, \
        draw(cents), draw(st.sampled_from([0, values[s], -values[s], values[s] // 3])), values


@given(books())
@settings(max_examples=400)
def test_check_is_the_slow_one(book):
    config, sectors, s, side, money, distance, price, equity, own, values = book
    things = [Instrument(f"S{i}", sector=x) for i, x in enumerate(sectors)]
    got = check(make_limits(config, ["one"], things), 0, s, side, money, distance, price, equity, own, np.array(values))
    want = slow_check(config, sectors, s, side, cash(money), Decimal(distance), Decimal(price), cash(equity), cash(own), [cash(v) for v in values])
    assert [from_int(got[i], 2) for i in (0, 2, 3)] == [want[i] for i in (0, 2, 3)], (got, want)
    assert got[1] == want[1]


@given(books())
@settings(max_examples=200)
def test_what_is_allowed_passes(book):
    "After a trim every limit holds, or nothing was allowed; and asking again for what was allowed changes nothing."
    config, sectors, s, side, money, distance, price, equity, own, values = book
    limits = make_limits(config, ["one"], [Instrument(f"S{i}", sector=x) for i, x in enumerate(sectors)])
    allowed, code, at, bound = check(limits, 0, s, side, money, distance, price, equity, own, np.array(values))
    assert 0 <= allowed <= money and (code == OK) == (allowed == money and at == 0 == bound or code == OK)
    again = check(limits, 0, s, side, allowed, distance, price, equity, own, np.array(values))
    assert again[:2] == (allowed, OK)


@pytest.mark.parametrize("value", [[LIMIT - 1] * 3, [1 - LIMIT] * 3, [LIMIT - 1, 1 - LIMIT, 5]])
def test_nothing_wraps(value):
    config = RiskConfig(max_gross_exposure_pct=Decimal(300), max_net_exposure_pct=Decimal(300), max_concentration_pct=Decimal(100),
                        max_loss_per_trade_pct=Decimal(100), max_sector_exposure_pct=Decimal(1000))
    limits = make_limits(config, ["one"], [Instrument(x, sector="all") for x in "ABC"])
    for side in (1, -1):
        for equity in (LIMIT - 1, 1 - LIMIT, 100):
            allowed, _, at, bound = check(limits, 0, 0, side, LIMIT - 1, 1, LIMIT - 1, equity, value[0], np.array(value))
            assert 0 <= allowed < LIMIT and abs(at) < LIMIT and 0 <= bound < LIMIT


@given(st.integers(0, 10**13), st.integers(1, 10**9), st.sampled_from([1, 100, 10**6]), st.sampled_from([1, 10, 1000]))
def test_lots(money, price, divisor, lot):
    quantity = lots_for(money, price, divisor, lot)
    assert quantity % lot == 0 and quantity * price <= money * divisor < (quantity + lot) * price


@given(st.integers(-10**12, 10**12), st.integers(1, 10**12), st.integers(1, 10**12), st.sampled_from([-1, 10**6, 3 * 10**6, 10**8]),
       st.sampled_from([-1, 10**7, 10**8]))
def test_breached_is_the_slow_one(level, opened, peak, daily, drawdown):
    code, lost, bound = breached(level, opened, peak, daily, drawdown)
    want = OK
    for rule, base, rate in ((DRAWDOWN, peak, drawdown), (DAILY, opened, daily)):
        if rate >= 0 and cash(base - level) > nearest(cash(base) * rate / 10**8): want = rule
    assert code == want
    if code: assert lost > bound


@st.composite
def weeks(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    bars, strategies = draw(st.integers(1, 30)), draw(st.integers(1, 3))
    percent = st.none() | st.sampled_from(TENTHS[:5])
    config = RiskConfig(max_daily_loss_pct=draw(percent), max_drawdown_pct=draw(percent), auto_disable_on_breach=draw(st.booleans()))
    return config, np.cumsum(rng.integers(0, 2, bars)), np.cumsum(rng.integers(-4_000_00, 4_000_00, (bars, strategies)), axis=0)


@given(weeks())
@settings(max_examples=150)
def test_observe_is_the_slow_one(week):
    config, days, gains = week
    names = [f"K{k}" for k in range(gains.shape[1])]
    limits, watch = make_limits(config, names, [Instrument("S")]), make_watch(100_000_00, 1, len(names))
    who = ["account", *names]
    now, eve, peak, stopped = ({w: Decimal(100_000) for w in who} for _ in range(4))
    stopped, before = dict.fromkeys(names, False), None
    for day, gain in zip(days.tolist(), gains.tolist()):
        watch[1:-1, W_FLOW] = np.array(gain) + 100_000_00
        observe(watch, limits, np.zeros(len(names), np.int64), np.array([100_000_00 + sum(gain)]), np.zeros((len(names), 1), np.int64), np.array([1]),
                np.array([1]), before is not None and day != before)
        if before is not None and day != before: eve = dict(now)
        before, now = day, {w: 100_000 + cash(g) for w, g in zip(who, [sum(gain), *gain])}
        peak = {w: max(peak[w], now[w]) for w in who}
        def lost(w, now=now, eve=eve, peak=peak):
            return any(p is not None and base - now[w] > nearest(base * p / 100)
                       for p, base in ((config.max_daily_loss_pct, eve[w]), (config.max_drawdown_pct, peak[w])))
        for k, name in enumerate(names):
            blocked = lost("account") or lost(name)
            stopped[name] |= blocked and config.auto_disable_on_breach
            assert bool(watch[1 + k, W_BLOCKED]) == blocked and bool(standing(watch, 1 + k)) == (blocked or stopped[name])
            assert (standing(watch, 1 + k) == STOPPED) == stopped[name]


def test_armed_goes_on():
    limits = make_limits(RiskConfig(max_drawdown_pct=Decimal(5), auto_disable_on_breach=True), ["a", "b"], [Instrument("S")])
    watch, args = make_watch(1000_00, 1, 2), (np.zeros((2, 1), np.int64), np.array([1]), np.array([1]))
    def bar(a, b, day):
        watch[1:-1, W_FLOW] = 1000_00 + a, 1000_00 + b
        return observe(watch, limits, np.zeros(2, np.int64), np.array([1000_00 + a + b]), *args, day > 0)
    assert bar(0, -30_00, 0) == 0 and bar(0, -60_00, 1) == 1
    assert watch[1:-1, W_STOPPED].tolist() == [DRAWDOWN, DRAWDOWN] # the account has one and a half limits' worth of loss: both stop
    arm(watch, 1, 0)
    assert [standing(watch, i) for i in (1, 2)] == [OK, STOPPED]
    bar(-40_00, -60_00, 2)
    assert [standing(watch, i) for i in (1, 2)] == [OK, STOPPED] # 4 % below where it was armed; b itself is still under
    bar(-60_00, -60_00, 3)
    assert standing(watch, 1) == STOPPED


def test_sector_must_be_known():
    config = RiskConfig(max_sector_exposure_pct=Decimal(30))
    with pytest.raises(ConfigError, match="needs the sector of IBM; add it under instruments"):
        make_limits(config, ["a"], [Instrument("AAPL", sector="Technology"), Instrument("IBM")])
    assert make_limits(config, ["a"], [Instrument("IBM", sector="Technology")]).symbols[:, 0].tolist() == [0]


def test_configuration():
    text = "data_sources: [{type: sample}]\nstrategies: [{name: m, class: MomentumStrategy}]\n"
    c = load_config(text, [f"risk.{x}" for x in ("max_gross_exposure_pct=150", "strategies.m.max_drawdown_pct=4", "max_drawdown_pct=10",
                                                 "on_limit=reject")])
    limits = make_limits(c.risk, ["m"], [Instrument("IBM")])
    assert (limits.gross, limits.own[:, L_DRAWDOWN].tolist(), limits.trim) == (to_int(Decimal("1.5"), 8), [10**7, 4 * 10**6], 0)
    with pytest.raises(ConfigError, match="on_limit"): load_config(text, ["risk.on_limit=cut"])
