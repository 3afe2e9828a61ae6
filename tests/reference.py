"""The rules of the kernel once more, slowly: dictionaries, Decimal and Fraction, no arrays, no scaled integers.

It shares no arithmetic with the package. Written from the page of the engine, not from its code; where the two disagree one of them is wrong.
"""
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any


@dataclass
class Rest:
    "An order that waits"
    number: int
    strategy: str
    symbol: str
    side: str
    quantity: Fraction | None
    money: Decimal | None
    reserved: Decimal
    accepted: int


def nearest(x: Fraction, step: Decimal) -> Decimal:
    "x rounded half to even to a multiple of step."
    return Decimal(round(x / Fraction(step))) * step


def plain(x: Any) -> str:
    text = f"{Decimal(x.numerator) / Decimal(x.denominator):f}" if isinstance(x, Fraction) else f"{x:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


class Reference:
    def __init__(self, setup: Any) -> None:
        self.setup, p = setup, setup.profile
        self.cent = Decimal(1).scaleb(-setup.cash_scale)
        self.cash, self.equity = setup.cash, setup.cash
        self.held: dict[tuple[str, str], Fraction] = {}
        self.orders: list[Rest] = []
        self.last: dict[str, Fraction] = {}
        self.opened: dict[str, tuple[int, int, Fraction]] = {}
        self.events: list[tuple] = []
        self.curve: list[Decimal] = []
        self.now = self.row = self.number = self.fills = 0
        self.row = -1
        self.at_close = p.fill_at == "close"
        self.seats = {s.strategy_id: s for s in setup.seats}
        self.things = {i.symbol: i for i in setup.instruments}

    # ------------------------------------------------------------ words
    def say(self, kind: str, time: int, strategy: str, symbol: str, order: int, **data: Any) -> None:
        self.events.append((kind, time, self.row, strategy, symbol, f"O{order:06d}" if order else "", data))

    def money(self, x: Decimal) -> str: return f"{x.quantize(self.cent):f}"

    # ------------------------------------------------------------ rules
    def price(self, symbol: str, base: Fraction, side: str) -> Fraction:
        i, sign = self.things[symbol], 1 if side == "buy" else -1
        fine = Decimal(1).scaleb(-self.setup.price_scale(i))
        moved = Fraction(nearest(base * (1 + sign * Fraction(self.setup.slippage_bps) / 10_000), fine))
        if not self.setup.profile.snap: return moved
        tick = Fraction(i.tick)
        whole = moved // tick
        if whole * tick == moved: return moved
        return (whole + 1) * tick if side == "buy" else max(whole * tick, tick)

    def fee(self, quantity: Fraction, amount: Decimal) -> Decimal:
        s = self.setup
        return s.fixed + nearest(quantity * Fraction(s.per_share), self.cent) + nearest(Fraction(amount) * Fraction(s.relative), self.cent)

    def amount(self, quantity: Fraction, price: Fraction) -> Decimal: return nearest(quantity * price, self.cent)

    def cost(self, quantity: Fraction, price: Fraction) -> Decimal:
        amount = self.amount(quantity, price)
        return amount + self.fee(quantity, amount)

    def affordable(self, money: Decimal, symbol: str, price: Fraction) -> Fraction:
        "By bisection over whole lots."
        lot = Fraction(self.things[symbol].lot)
        if self.setup.profile.strictly_below: money -= self.cent
        low, high = 0, 1
        while self.cost(high * lot, price) <= money: high *= 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.cost(middle * lot, price) <= money else (low, middle)
        return low * lot

    @property
    def reserved(self) -> Decimal: return sum((o.reserved for o in self.orders), Decimal(0))

    def resting(self, strategy: str, symbol: str, side: str) -> list[Rest]:
        return [o for o in self.orders if (o.strategy, o.symbol, o.side) == (strategy, symbol, side)]

    def worth(self) -> Decimal:
        total = self.cash
        for symbol in self.things:
            held = sum((q for (_, s), q in self.held.items() if s == symbol), Fraction(0))
            if held: total += self.amount(held, self.last[symbol])
        return total

    # ------------------------------------------------------------ what can happen
    def fill(self, o: Rest, base: Fraction, time: int) -> None:
        self.orders.remove(o)
        price, key = self.price(o.symbol, base, o.side), (o.strategy, o.symbol)
        free, why, quantity = self.cash - self.reserved, "", o.quantity
        if o.side == "buy" and o.money is not None:
            quantity = self.affordable(min(o.money, free), o.symbol, price)
            if not quantity: why = "less than one lot"
        elif o.side == "buy":
            if not quantity: why = "less than one lot"
            elif self.cost(quantity, price) > free: why = "no cash"
        else:
            quantity = min(quantity, self.held.get(key, Fraction(0)))
            if not quantity: why = "nothing to sell"
            elif free + self.amount(quantity, price) < self.fee(quantity, self.amount(quantity, price)): why = "no cash"
        if why: return self.say("cancel", time, o.strategy, o.symbol, o.number, reason=why)
        amount = self.amount(quantity, price)
        fee, sign = self.fee(quantity, amount), 1 if o.side == "buy" else -1
        self.cash -= sign * amount + fee
        self.held[key] = self.held.get(key, Fraction(0)) + sign * quantity
        self.fills += 1
        self.say("fill", time, o.strategy, o.symbol, o.number, fill_id=f"F{self.fills:06d}", side=o.side, quantity=plain(quantity), price=price,
                 amount=self.money(amount), commission=self.money(fee))

    def submit(self, strategy: str, symbol: str, side: str, quantity: Fraction | None, money: Decimal | None) -> Rest | None:
        self.number += 1
        free, reserve, why, note = self.cash - self.reserved, Decimal(0), "", ""
        lot = Fraction(self.things[symbol].lot)
        if money is not None:
            if money > free: money, note = free, "trimmed to the available cash"
            reserve = money
            if money <= 0: why = "no cash"
        elif side == "buy":
            if quantity > 0: reserve = self.cost(quantity, self.price(symbol, self.last[symbol], "buy"))
            if reserve > free: why = "no cash"
        else:
            promised = sum((o.quantity for o in self.resting(strategy, symbol, "sell")), Fraction(0))
            if quantity > self.held.get((strategy, symbol), Fraction(0)) - promised: why = "nothing to sell"
        if money is None and not why and (quantity <= 0 or quantity % lot): why = "quantity is no multiple of the lot"
        data = dict(side=side, quantity=plain(quantity) if quantity else None, notional=self.money(money) if money else None)
        if why:
            self.say("reject", self.now, strategy, symbol, self.number, **data, reason=why)
            return None
        o = Rest(self.number, strategy, symbol, side, quantity, money, reserve, self.now)
        self.orders.append(o)
        self.say("order", self.now, strategy, symbol, self.number, **data, reserved=self.money(reserve), reason=note)
        return o

    def withdraw(self, gone: list[Rest], why: str) -> None:
        for o in gone:
            self.orders.remove(o)
            self.say("cancel", self.now, o.strategy, o.symbol, o.number, reason=why)

    def signal(self, strategy: str, symbol: str, x: float) -> Rest | None:
        seat, outcome, gone, order = self.seats[strategy], "already there", [], None
        held = self.held.get((strategy, symbol), Fraction(0))
        buys, sells = self.resting(strategy, symbol, "buy"), self.resting(strategy, symbol, "sell")
        free = held - sum((o.quantity for o in sells), Fraction(0))
        if symbol not in self.last: outcome = "no price yet"
        elif x > 0:
            if sells: outcome, gone = "resting order withdrawn", sells
            elif not held and not buys: outcome, order = "ordered", "buy"
        elif buys: outcome, gone = "resting order withdrawn", buys
        elif free > 0: outcome, order = "ordered", "sell"
        elif x < 0: outcome = "short selling is off"
        self.say("signal", self.now, strategy, symbol, 0, direction="long" if x > 0 else "short" if x < 0 else "flat", outcome=outcome)
        self.withdraw(gone, "resting order withdrawn")
        if order == "sell": return self.submit(strategy, symbol, "sell", free, None)
        if order == "buy" and seat.size_rule == "fixed_units":
            lot = Fraction(self.things[symbol].lot)
            return self.submit(strategy, symbol, "buy", Fraction(seat.size_value) // lot * lot, None)
        if order == "buy":
            base = max(self.cash - self.reserved, Decimal(0)) if seat.size_rule == "all_cash" else self.equity
            return self.submit(strategy, symbol, "buy", None, nearest(Fraction(base) * Fraction(seat.size_value) / 100, self.cent))
        return None

    # ------------------------------------------------------------ the two halves of a bar
    def bar(self, row: int, start: int, end: int, opens: dict[str, Fraction], closes: dict[str, Fraction], actions: list[tuple]) -> None:
        self.row = row
        for symbol, kind, up, down, per_share in actions:
            for seat in self.setup.seats:
                key = seat.strategy_id, symbol
                held = self.held.get(key, Fraction(0))
                if not held: continue
                if kind == "dividend":
                    paid = nearest(held * Fraction(per_share), self.cent)
                    self.say("dividend", start, *key, 0, per_share=plain(per_share), quantity=plain(held), cash=self.money(paid))
                else:
                    lot = Fraction(self.things[symbol].lot)
                    new = held * up / down // lot * lot
                    paid = nearest((held * up / down - new) * self.last[symbol] * down / up, self.cent)
                    self.held[key] = new
                    self.say("split", start, *key, 0, numerator=up, denominator=down, quantity_before=plain(held), quantity_after=plain(new),
                             cash=self.money(paid))
                self.cash += paid
            if kind == "split":
                lot = Fraction(self.things[symbol].lot)
                for o in self.orders:
                    if o.symbol == symbol and o.quantity: o.quantity = o.quantity * up / down // lot * lot
                if symbol in self.last:
                    fine = Decimal(1).scaleb(-self.setup.price_scale(self.things[symbol]))
                    self.last[symbol] = Fraction(nearest(self.last[symbol] * down / up, fine))
        for o in list(self.orders):
            market = closes if self.at_close else opens
            if o.symbol in market and start >= o.accepted: self.fill(o, market[o.symbol], end if self.at_close else start)
        for symbol, close in closes.items():
            self.last[symbol], self.opened[symbol] = close, (row, start, opens[symbol])
        self.equity, self.now = self.worth(), end
        self.curve.append(self.equity)

    def accept(self, intents: list[tuple]) -> None:
        filled = False
        for kind, strategy, symbol, x in intents:
            o = None
            if kind == "signal": o = self.signal(strategy, symbol, x)
            elif kind == "cancel":
                gone = [r for r in self.orders if r.number == x]
                if gone: self.withdraw(gone, "by request")
                else: self.say("reject", self.now, strategy, symbol, x, reason="no such order")
            elif kind == "finalize":
                rests = [r for r in self.orders if (r.strategy, r.symbol) == (strategy, symbol)]
                held = self.held.get((strategy, symbol), Fraction(0))
                if not rests and held: rests = [self.submit(strategy, symbol, "sell", held, None)]
                for r in rests:
                    row, start, opened = self.opened[symbol]
                    self.fill(r, *((opened, start) if row == self.row else (self.last[symbol], self.now)))
                filled = True
            elif symbol not in self.last:
                self.number += 1
                self.say("reject", self.now, strategy, symbol, self.number, reason="no price yet")
            else: o = self.submit(strategy, symbol, "buy" if x >= 0 else "sell", abs(x), None)
            if o and self.at_close and self.opened[symbol][0] == self.row:
                self.fill(o, self.last[symbol], self.now)
                filled = True
        if filled:
            self.equity = self.worth()
            self.curve[-1] = self.equity
