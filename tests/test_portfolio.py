"The fold's identities on random histories, checked against slow arithmetic in fractions."
import decimal
from collections import defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_kernel import run, scenarios

from firebot.engine import make_window, to_events
from firebot.feed import make_panel
from firebot.journal import Event, order_rows
from firebot.models import DataError, JournalError, MoneyError, Portfolio, Position, to_ns
from firebot.money import MISSING, from_int
from firebot.orders import RESTING
from firebot.portfolio import ACCOUNT, apply, daily_pnl, fills, fold, marks, positions, round_trips, share

DAY = datetime(2012, 1, 2, 14, 30, tzinfo=UTC)
SYMBOLS, STRATEGIES = ("AAPL", "IBM"), ("alpha", "beta", "")


def cents(x: Fraction, digits: int = 2) -> Decimal: return Decimal(round(x * 10**digits)).scaleb(-digits)


@dataclass
class History:
    "A journal in the making, with its own count of what is held"
    decimals: int  # Of quantities
    money: int  # Of cash
    events: list[Event] = field(default_factory=list)
    held: dict[tuple[str, str], Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    bar: int = 0

    def add(self, kind: str, who: str = "", symbol: str = "", **data: object) -> None:
        when = DAY + timedelta(days=self.bar)
        self.events.append(Event(len(self.events), when, self.bar if kind != "session" else -1, kind, who, symbol, "", data))

    def fill(self, who: str, symbol: str, signed: Decimal, price: Decimal, commission: Decimal) -> None:
        self.held[who, symbol] += signed
        self.add("fill", who, symbol, fill_id=f"F{len(self.events)}", side="buy" if signed > 0 else "sell", price=str(price),
                 quantity=str(abs(signed)), amount=str(cents(Fraction(abs(signed)) * Fraction(price), self.money)),
                 commission=str(commission))

    def split(self, symbol: str, up: int, down: int, price: Decimal) -> None:
        for (who, s), before in self.held.items():
            if s != symbol or not before: continue
            exact = Fraction(before) * up / down
            after = Decimal(int(exact * 10**self.decimals)).scaleb(-self.decimals)  # towards zero
            paid = cents((exact - Fraction(after)) * Fraction(price), self.money)
            self.held[who, s] = after
            self.add("split", who, s, numerator=up, denominator=down, quantity_before=str(before), quantity_after=str(after),
                     cash=str(paid))

    def dividend(self, symbol: str, per_share: Decimal) -> None:
        for (who, s), quantity in self.held.items():
            if s == symbol and quantity:
                self.add("dividend", who, s, per_share=str(per_share), quantity=str(quantity),
                         cash=str(cents(Fraction(quantity) * Fraction(per_share), self.money)))


@dataclass
class Case:
    history: History
    close: np.ndarray  # int64 [T, S], steps of 0.01
    shorts: bool

    @property
    def events(self) -> list[Event]: return self.history.events
    @property
    def last(self) -> dict[str, Decimal]:
        known = {}
        for s, symbol in enumerate(SYMBOLS):
            there = self.close[self.close[:, s] != MISSING, s]
            if len(there): known[symbol] = Decimal(int(there[-1])).scaleb(-2)
        return known
    @property
    def initial(self) -> Decimal: return Decimal(self.events[0].data["cash"])
    @property
    def equity(self) -> Decimal:
        "Cash and each symbol's whole quantity at its last price, rounded once."
        moved = [cash_flow(e) for e in self.events[1:]]
        total: dict[str, Fraction] = defaultdict(Fraction)
        for (_, s), q in self.history.held.items(): total[s] += Fraction(q)
        return self.initial + sum(moved) + sum(cents(q * Fraction(self.last[s]), self.history.money) for s, q in total.items() if q)
    @property
    def daily(self) -> list:
        start = np.array([to_ns(DAY + timedelta(days=t)) for t in range(len(self.close))])
        return daily_pnl(self.events, start, SYMBOLS, self.close)


def cash_flow(e: Event) -> Decimal:
    d = e.data
    if e.kind != "fill": return Decimal(d.get("cash", 0))
    return (-1 if d["side"] == "buy" else 1) * Decimal(d["amount"]) - Decimal(d["commission"])


@st.composite
def cases(draw: st.DrawFn, shorts: bool | None = None, decimals: int | None = None, actions: bool = True) -> Case:
    "Bars of two symbols, some missing after the first, and what three strategies did in them."
    bars = draw(st.integers(1, 6))
    close = draw(st.lists(st.tuples(*[st.integers(1, 30_000)] * 2), min_size=bars, max_size=bars))
    case = Case(History(draw(st.sampled_from([0, 0, 3, 8])) if decimals is None else decimals, draw(st.sampled_from([0, 2, 2, 4]))),
                np.array(close, np.int64), draw(st.booleans()) if shorts is None else shorts)
    h, step = case.history, Decimal(1).scaleb(-case.history.decimals)
    h.add("session", cash=str(cents(Fraction(100_000), h.money)), currency="USD")
    for h.bar in range(bars):
        for _ in range(draw(st.integers(0, 6))):
            who, s = draw(st.sampled_from(STRATEGIES)), draw(st.integers(0, 1))
            symbol, held = SYMBOLS[s], h.held[who, SYMBOLS[s]]
            price = Decimal(draw(st.integers(1, 40_000))).scaleb(-2)
            what = draw(st.sampled_from(["buy", "sell", "close", *(["split", "dividend"] if actions else [])]))
            if what == "split": h.split(symbol, draw(st.integers(1, 5)), draw(st.integers(1, 5)), price)
            elif what == "dividend": h.dividend(symbol, price / 100)
            else:
                most = 500 if what == "buy" or case.shorts else int(held / step)
                size = abs(held) if what == "close" else step * draw(st.integers(0, max(most, 0)))
                sign = -1 if what == "sell" or (what == "close" and held > 0) else 1
                if size: h.fill(who, symbol, sign * size, price, cents(Fraction(draw(st.integers(0, 999)), 100), h.money))
    return case


# ---------------------------------------------------------------- identities

@settings(max_examples=400, deadline=None)
@given(cases())
def test_cash_basis_and_realized_balance(case: Case) -> None:
    "The three identities, after every event."
    portfolio, cash, held = None, case.initial, defaultdict(Decimal)
    for e in case.events:
        portfolio = apply(portfolio, e)
        if e.kind != "session": cash += cash_flow(e)
        if e.kind == "fill": held[e.strategy_id, e.symbol] += (1 if e.data["side"] == "buy" else -1) * Decimal(e.data["quantity"])
        if e.kind == "split": held[e.strategy_id, e.symbol] = Decimal(e.data["quantity_after"])
        everything = portfolio.positions.values()
        assert portfolio.cash == cash
        assert cash + sum(p.cost_basis for p in everything) == case.initial + sum(p.realized_pnl for p in everything)
        assert {k: p.quantity for k, p in portfolio.positions.items()} == held
        assert all(p.cost_basis == 0 for p in everything if p.quantity == 0)
    assert {k: q for k, q in held.items() if q} == {k: q for k, q in case.history.held.items() if q}


@settings(max_examples=300, deadline=None)
@given(cases())
def test_positions_come_to_the_equity(case: Case) -> None:
    portfolio = fold(case.events)
    table = positions(portfolio, case.last)
    assert portfolio.cash + sum(h.market_value for h in table) == case.equity
    assert case.initial + sum(h.realized_pnl + h.unrealized_pnl for h in table) == case.equity
    assert [(h.symbol, h.strategy_id) for h in table] == sorted((h.symbol, h.strategy_id) for h in table)


@settings(max_examples=400, deadline=None)
@given(cases())
def test_trades_come_to_the_equity(case: Case) -> None:
    trades = round_trips(case.events, case.last)
    assert sum(t.pnl for t in trades) == case.equity - case.initial
    assert sum(t.commission for t in trades) == sum(f.commission for f in fills(case.events))
    assert all(t.quantity >= 0 and t.bars_held >= 0 and (t.exit_time is None) == t.open for t in trades)
    assert case.shorts or all(t.direction == 1 for t in trades)


@settings(max_examples=300, deadline=None)
@given(cases())
def test_trades_and_positions_agree_strategy_by_strategy(case: Case) -> None:
    "Once flat, first in first out and average cost have realized the same."
    trades, portfolio = round_trips(case.events, case.last), fold(case.events)
    for (who, symbol), p in portfolio.positions.items():
        mine = [t for t in trades if (t.strategy_id, t.symbol) == (who, symbol)]
        if p.quantity == 0: assert sum(t.pnl for t in mine) == p.realized_pnl and not any(t.open for t in mine)
        else: assert any(t.open for t in mine)


@settings(max_examples=300, deadline=None)
@given(cases())
def test_days_come_to_the_equity(case: Case) -> None:
    daily, portfolio = case.daily, fold(case.events)
    account = [r for r in daily if r.strategy_id == ACCOUNT]
    assert len(account) == len(case.close)
    assert sum(r.total for r in account) == case.equity - case.initial
    assert account[-1].cash == portfolio.cash
    assert all(r.total == r.realized + r.unrealized for r in daily)
    for day in {r.date for r in daily}:
        *strategies, whole = [r for r in daily if r.date == day]
        assert whole.strategy_id == ACCOUNT
        for column in ("realized", "unrealized", "total"):
            assert getattr(whole, column) == sum(getattr(r, column) for r in strategies)
        assert whole.cash == case.initial + sum(r.cash for r in strategies)
    for who in {k for k, _ in portfolio.positions}:
        realized = sum(p.realized_pnl for (k, _), p in portfolio.positions.items() if k == who)
        assert sum(r.realized for r in daily if r.strategy_id == who) == realized


@settings(max_examples=100, deadline=None)
@given(cases())
def test_every_day_is_what_the_shorter_history_says(case: Case) -> None:
    "Nothing of tomorrow is in today's row."
    total = Decimal(0)
    account = [r for r in case.daily if r.strategy_id == ACCOUNT]
    for t in range(len(case.close)):
        held: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        events = [e for e in case.events if e.bar <= t]
        for k, p in fold(events).positions.items(): held[k] = p.quantity
        cut = Case(History(case.history.decimals, case.history.money, events, held), case.close[:t + 1], case.shorts)
        total += account[t].total
        assert total == cut.equity - cut.initial


@settings(max_examples=100, deadline=None)
@given(cases(), st.integers(0, 40))
def test_a_fold_can_be_interrupted(case: Case, at: int) -> None:
    at = 1 + at % len(case.events)
    assert fold(case.events[at:], fold(case.events[:at])) == fold(case.events)


@settings(max_examples=100, deadline=None)
@given(cases(), st.integers(1, 6))
def test_the_precision_of_the_caller_does_not_matter(case: Case, prec: int) -> None:
    last = case.last
    want = fold(case.events), positions(fold(case.events), last), round_trips(case.events, last), case.daily
    with decimal.localcontext() as context:
        context.prec, context.rounding = prec, decimal.ROUND_UP
        got = fold(case.events), positions(fold(case.events), last), round_trips(case.events, last), case.daily
    assert got == want


@settings(max_examples=200, deadline=None)
@given(cases(decimals=0, actions=False))
def test_first_in_first_out_share_by_share(case: Case) -> None:
    "Single shares in a queue, the slow way."
    queues: dict[tuple[str, str], deque] = defaultdict(deque)
    want: dict[tuple, int] = defaultdict(int)
    for e in case.events[1:]:
        key, side = (e.strategy_id, e.symbol), 1 if e.data["side"] == "buy" else -1
        for _ in range(int(e.data["quantity"])):
            if queues[key] and queues[key][0][0] != side:
                _, bar, price = queues[key].popleft()
                want[*key, -side, price, e.data["price"], e.bar - bar] += 1
            else: queues[key].append((side, e.bar, e.data["price"]))
    for key, queue in queues.items():
        for side, bar, price in queue: want[*key, side, price, str(case.last[key[1]]), case.events[-1].bar - bar] += 1
    got: dict[tuple, Decimal] = defaultdict(Decimal)
    for t in round_trips(case.events, case.last):
        prices = (f"{x:.2f}" for x in (t.entry_price, t.exit_price))
        got[t.strategy_id, t.symbol, t.direction, *prices, t.bars_held] += t.quantity
    assert got == want


@given(st.decimals(-10**6, 10**6, places=2), st.lists(st.integers(1, 10**6), min_size=1, max_size=8))
def test_shares_add_up(amount: Decimal, parts: list[int]) -> None:
    left, whole, pieces = amount, Decimal(sum(parts)), []
    for part in map(Decimal, parts):
        pieces.append(share(left, part, whole))
        assert abs(pieces[-1] - left * part / whole) <= Decimal("0.005")
        left, whole = left - pieces[-1], whole - part
    assert sum(pieces) == amount and left == 0


@given(st.lists(st.decimals(-1000, 1000, places=5), min_size=1, max_size=8), st.decimals("0.01", 1000, places=3))
def test_marks_add_up_and_round_half_to_even(quantities: list[Decimal], price: Decimal) -> None:
    assert sum(marks(quantities, price)) == (sum(quantities) * price).quantize(Decimal("0.01"), decimal.ROUND_HALF_EVEN)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(scenarios())
def test_the_kernel_and_its_journal_tell_the_same_story(scenario: tuple) -> None:
    "Random runs of the kernel: cash, equity at every close, holdings and trades from the events alone."
    _, things, bars, actions, setup, *_ = scenario
    panel, account = make_panel(bars, things, actions), run(scenario)
    began = int(panel.start[0])
    events = list(to_events(account.events, setup, session={}, began=began))
    scales, window = [setup.price_scale(i) for i in things], make_window(panel, setup)[0]
    worth = [from_int(e, setup.cash_scale) for e in account.equity[:, 0]]
    last = {i.symbol: from_int(p, setup.price_scale(i)) for i, p in zip(things, account.state.last) if p != MISSING}

    portfolio = fold(events)
    assert portfolio.cash == from_int(account.state.cash[0], setup.cash_scale)
    for k, seat in enumerate(setup.seats):
        for j, i in enumerate(things):
            held = portfolio.positions.get((seat.strategy_id, i.symbol), Position(i.symbol))
            assert held.quantity == from_int(account.state.held[k, j], setup.quantity_scale(i))
    daily = [r for r in daily_pnl(events, panel.start, panel.symbols, window.close, scales) if r.strategy_id == ACCOUNT]
    assert list(accumulate((r.total for r in daily), initial=setup.cash))[1:] == worth
    assert sum(t.pnl for t in round_trips(events, last, len(panel) - 1)) == worth[-1] - setup.cash
    assert portfolio.cash + sum(h.market_value for h in positions(portfolio, last)) == worth[-1]
    orders = {r["order_id"]: r for r in order_rows(events)}
    live = ("pending", "submitted", "partially_filled")
    assert sum(r["status"] in live for r in orders.values()) == account.state.counters[RESTING]
    assert {r["order_id"] for r in orders.values() if Decimal(r["filled_quantity"]) > 0} == {f.order_id for f in fills(events)}


# ---------------------------------------------------------------- single cases

def history(*fills_: tuple[int, str, str, str]) -> History:
    "Fills (bar, quantity signed, price, commission) of one strategy in IBM."
    h = History(0, 2)
    h.add("session", cash="100000.00", currency="USD")
    for h.bar, quantity, price, fee in fills_: h.fill("s", "IBM", Decimal(quantity), Decimal(price), Decimal(fee))
    return h


def test_a_fill_that_turns_the_position_around() -> None:
    "Long 100 at 10.00, sell 150 at 12.00 for 1.50: a dollar of it belongs to the part that closes."
    h = history((0, "100", "10.00", "1.00"), (1, "-150", "12.00", "1.50"))
    p = fold(h.events).positions["s", "IBM"]
    assert (p.quantity, p.realized_pnl, p.cost_basis) == (-50, Decimal("198.00"), Decimal("-599.50"))
    closed, opened = round_trips(h.events, dict(IBM=Decimal("11.00")))
    assert (closed.direction, closed.quantity, closed.pnl, closed.open) == (1, 100, Decimal("198.00"), False)
    assert (opened.direction, opened.quantity, opened.pnl, opened.exit_time) == (-1, 50, Decimal("49.50"), None)
    assert closed.return_pct == Decimal("0.1978022") and closed.commission == Decimal("2.00")


def test_a_partial_sale_is_average_cost_here_and_first_in_first_out_there() -> None:
    h = history((0, "100", "10.00", "0.00"), (1, "100", "20.00", "0.00"), (2, "-100", "20.00", "0.00"))
    assert fold(h.events).positions["s", "IBM"].realized_pnl == Decimal("500.00")
    assert [(t.pnl, t.open) for t in round_trips(h.events, dict(IBM=Decimal("20.00")))] == [(Decimal("1000.00"), False), (0, True)]


def test_a_split_that_leaves_nothing_sells_for_cash() -> None:
    h = history((0, "3", "10.00", "1.00"))
    h.bar = 4
    h.split("IBM", 1, 10, Decimal("100.00"))
    p = fold(h.events).positions["s", "IBM"]
    assert (p.quantity, p.cost_basis, p.realized_pnl) == (0, 0, Decimal("-1.00"))
    trade, = round_trips(h.events, {})
    assert (trade.quantity, trade.exit_price, trade.pnl, trade.bars_held, trade.open) == (3, 10, Decimal("-1.00"), 4, False)


def test_an_entry_before_a_split_is_restated() -> None:
    h = history((0, "100", "90.00", "1.00"))
    h.bar = 1
    h.split("IBM", 3, 2, Decimal("60.00"))
    h.dividend("IBM", Decimal("0.50"))
    h.fill("s", "IBM", Decimal(-150), Decimal("61.00"), Decimal("1.00"))
    trade, = round_trips(h.events, {})
    assert (trade.quantity, trade.entry_price, trade.exit_price, trade.pnl) == (150, 60, 61, Decimal("223.00"))


def test_open_trades_are_held_until_the_last_bar() -> None:
    h = history((2, "1", "90.00", "0.00"))
    assert [t.bars_held for t in round_trips(h.events, dict(IBM=Decimal(90)), 11)] == [9]


def test_strategies_share_one_rounding() -> None:
    "0.333 shares three times at 44.12 are 44.08 together, though 14.69 each would be 44.07."
    h = History(3, 2)
    h.add("session", cash="1000.00", currency="USD")
    for who in "abc": h.fill(who, "IBM", Decimal("0.333"), Decimal("44.12"), Decimal("0.00"))
    table = positions(fold(h.events), dict(IBM=Decimal("44.12")))
    assert [str(r.market_value) for r in table] == ["14.69", "14.69", "14.70"]
    daily = daily_pnl(h.events, np.array([to_ns(DAY)]), ["IBM"], np.array([[4412]]))
    assert [str(r.unrealized) for r in daily] == ["0.00", "0.00", "0.01", "0.01"]


def test_a_day_is_the_exchanges_day() -> None:
    "A bar at 19:30 in New York and one at 09:30 on the next day, both on one UTC date."
    h = history((0, "1", "10.00", "0.00"))
    start = np.array([to_ns(datetime(2012, 7, 3, 0, 30, tzinfo=UTC)), to_ns(datetime(2012, 7, 3, 13, 30, tzinfo=UTC))])
    close = np.array([[1100], [1300]])
    account = [r for r in daily_pnl(h.events, start, ["IBM"], close) if r.strategy_id == ACCOUNT]
    assert [(r.date, r.total) for r in account] == [(date(2012, 7, 2), Decimal("1.00")), (date(2012, 7, 3), Decimal("2.00"))]
    assert [r.total for r in daily_pnl(h.events, start, ["IBM"], close, zone="UTC")] == [3, 3]


def test_a_gap_is_marked_at_the_last_price_restated_by_a_split() -> None:
    h = history((0, "10", "10.00", "0.00"))
    h.bar = 2
    h.split("IBM", 2, 1, Decimal("12.00"))
    start = np.array([to_ns(DAY + timedelta(days=t)) for t in range(4)])
    for close in (np.array([[1200], [MISSING], [MISSING], [650]]), np.array([[12.0], [np.nan], [np.nan], [6.5]])):
        daily = [r.total for r in daily_pnl(h.events, start, ["IBM"], close) if r.strategy_id == ACCOUNT]
        assert daily == [20, 0, 0, 10]


def test_strategies_without_a_trade_have_rows_too() -> None:
    h = history()
    h.add("signal", "idle", "IBM", direction="long", confidence="1", outcome="no cash")
    daily = daily_pnl(h.events, np.array([to_ns(DAY)]), ["IBM"], np.array([[1000]]))
    assert [(r.strategy_id, r.total, str(r.cash)) for r in daily] == [("idle", 0, "0.00"), (ACCOUNT, 0, "100000.00")]


def test_scales_of_prices_and_large_values() -> None:
    "Prices and quantities with eight decimals: the product needs 128 bits, the value is still exact."
    h = History(8, 2)
    h.add("session", cash="100000.00", currency="USD")
    h.fill("s", "BTC", Decimal("21000.12345678"), Decimal("64321.12345678"), Decimal("0.00"))
    close = np.array([[6_432_112_345_678]])
    account = daily_pnl(h.events, np.array([to_ns(DAY)]), ["BTC"], close, [8], "UTC")[-1]
    assert account.total == 0
    h.fill("s", "BTC", Decimal("9e8"), Decimal("64321.12345678"), Decimal("0.00"))
    with pytest.raises(MoneyError): daily_pnl(h.events, np.array([to_ns(DAY)]), ["BTC"], np.array([[2**61]]), [2], "UTC")


def test_what_cannot_be_folded_is_refused() -> None:
    h = history((0, "100", "10.00", "1.00"))
    session, fill = h.events
    start, close = np.array([to_ns(DAY)]), np.array([[1000]])
    for bad in ([], [fill], [session, session], [session, Event(1, DAY, 0, "fil")]):
        with pytest.raises(JournalError): fold(bad)
    for change in (dict(side="hold"), dict(quantity="many"), dict(amount=None), dict(price="NaN", amount="NaN")):
        with pytest.raises(JournalError, match="event 1 .fill IBM. makes no sense"):
            fold([session, Event(1, DAY, 0, "fill", "s", "IBM", "", fill.data | change)])
    for kind, data in (("dividend", dict(per_share="1", quantity="99", cash="99.00")), ("split", dict(quantity_before="1"))):
        with pytest.raises(JournalError, match="contradicts itself"): fold([*h.events, Event(2, DAY, 0, kind, "s", "IBM", "", data)])
    with pytest.raises(JournalError): fold([Event(0, DAY, -1, "session")])
    with pytest.raises(DataError, match="IBM is held"): round_trips(h.events, {})
    with pytest.raises(DataError, match="IBM is held"): positions(fold(h.events), {})
    with pytest.raises(JournalError, match="unknown kind 'fil'"):
        daily_pnl([session, Event(1, DAY, 0, "fil")], start, ["IBM"], close)
    with pytest.raises(DataError, match="no closes"): daily_pnl(h.events, start, ["AAPL"], close)
    with pytest.raises(DataError, match="before its first close"): daily_pnl(h.events, start, ["IBM"], np.array([[MISSING]]))
    with pytest.raises(DataError, match="beyond the 1 bars"): daily_pnl([*h.events, replace_bar(fill, 1)], start, ["IBM"], close)


def replace_bar(e: Event, bar: int) -> Event: return Event(e.seq + 1, e.timestamp, bar, e.kind, e.strategy_id, e.symbol, "", e.data)


def test_nothing_but_cash_and_positions_is_changed() -> None:
    "`apply` is pure: the portfolio before is as it was."
    h = history((0, "100", "10.00", "1.00"), (1, "-50", "11.00", "1.00"))
    before = fold(h.events[:2])
    copy = Portfolio(before.cash, dict(before.positions))
    after = apply(before, h.events[2])
    assert before == copy and after != before
    assert apply(after, Event(3, DAY, 1, "cancel", "s", "IBM", "O1", dict(reason=""))) is after


def test_the_daily_table_looks_at_each_event_once() -> None:
    "However many days there are; its work grows with the days plus the events, not with their product"
    h, rng = History(0, 2), np.random.default_rng(1)
    h.add("session", cash="100000.00", currency="USD")
    for h.bar in range(500):
        for j in range(4):
            who, symbol = f"s{(4 * h.bar + j) % 10}", SYMBOLS[h.bar % 2]
            h.fill(who, symbol, Decimal(-100 if h.held[who, symbol] else 100), Decimal("10.00"), Decimal("1.00"))
    start = to_ns(DAY) + 86_400_000_000_000 * np.arange(500)
    seen = []
    rows = daily_pnl((seen.append(e.seq) or e for e in h.events), start, SYMBOLS, rng.integers(900, 1100, (500, 2)))
    assert len(rows) == 500 * 11 and seen == list(range(len(h.events)))
