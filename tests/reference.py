"""The rules of the kernel once more, slowly: dictionaries, Decimal and Fraction, no arrays, no scaled integers.

It shares no arithmetic with the package. Written from the pages on orders, fills and the kernel, not from their code; where the two disagree one of
them is wrong.
"""
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any


@dataclass
class Rest:
    "An order that waits"
    strategy: str
    symbol: str
    side: int
    quantity: Fraction = Fraction(0)
    money: Decimal | None = None
    kind: str = "market"
    tif: str = "gtc"
    limit: Fraction | None = None
    stop: Fraction | None = None
    trail: Fraction | None = None
    rate: Fraction | None = None
    until: int = 0
    group: int = 0 # above 0 a person's, below the exits of that order
    parent: int = 0
    closes: bool = False
    then: Fraction | int = 0 # Side times confidence of the position to open afterwards
    bracket: tuple | str | None = None # (stop, target, trail) as prices, or "rates"
    number: int = 0
    reserved: Decimal = Decimal(0)
    closing: Fraction = Fraction(0)
    accepted: int = 0
    latency: int = 0
    best: Fraction | None = None
    day: int | None = None
    triggered: bool = False
    born: int | None = None # row in whose range it came to life
    view: bool = False
    done: Fraction = Fraction(0)
    done_amount: Decimal = Decimal(0)
    done_fee: Decimal = Decimal(0)
    skip: int = -1 # row that its limit has met
    alive: bool = True


def nearest(x: Fraction, step: Decimal | Fraction) -> Any:
    "x rounded half to even to a multiple of step."
    return round(x / Fraction(step)) * step


def plain(x: Any) -> str:
    text = f"{Decimal(x.numerator) / Decimal(x.denominator):f}" if isinstance(x, Fraction) else f"{x:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def mix(seed: int, number: int, low: int, high: int) -> int:
    m = 2**64
    z = (seed * 0xD1342543DE82EF95 + number * 0x9E3779B97F4A7C15) % m
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % m
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % m
    return low + (z ^ (z >> 31)) % (high - low + 1)


class Reference:
    def __init__(self, setup: Any) -> None:
        self.setup, p = setup, setup.profile
        self.costs = setup.paid
        self.cent = Decimal(1).scaleb(-setup.cash_scale)
        self.cash, self.equity = setup.cash, setup.cash
        self.held: dict[tuple[str, str], Fraction] = {}
        self.pledges: dict[str, Decimal] = {}
        self.orders: list[Rest] = []
        self.last: dict[str, Fraction] = {}
        self.opened: dict[str, tuple[int, int, Fraction]] = {}
        self.events: list[tuple] = []
        self.curve: list[Decimal] = []
        self.number = self.fills = self.traded = self.now = self.day = 0
        self.row, self.month = -1, None
        self.taken: dict[str, Fraction] = {}
        self.at_close = p.fill_at == "close"
        self.seats = {s.strategy_id: s for s in setup.seats}
        self.things = {i.symbol: i for i in setup.instruments}
        self.flow = dict.fromkeys(self.seats, Decimal(0)) # cash that a strategy's trades have moved
        self.value, self.before, self.peak = ({who: setup.cash for who in ("", *self.seats)} for _ in range(3)) # "": the account
        self.blocked: dict[str, tuple] = {} # strategy -> limit, what was lost, bound
        self.stopped: dict[str, tuple] = {}
        self.told: dict[str, tuple] = {}

    # ------------------------------------------------------------ words
    def say(self, kind: str, time: int, strategy: str, symbol: str, order: int, **data: Any) -> None:
        self.events.append((kind, time, self.row, strategy, symbol, f"O{order:06d}" if order else "", data))

    def money(self, x: Decimal) -> str: return f"{x.quantize(self.cent) + 0:f}"

    def tell(self, kind: str, time: int, o: Rest, reason: str) -> None:
        terms = {k: x for k, x in (("limit", o.limit), ("stop", o.stop), ("trail", o.trail)) if x is not None}
        if isinstance(o.bracket, tuple):
            terms |= {k: x for k, x in zip(("stop_loss", "take_profit"), o.bracket) if x is not None}
        self.say(kind, time, o.strategy, o.symbol, o.number, side="buy" if o.side > 0 else "sell", type=o.kind, reason=reason,
                 quantity=plain(o.quantity) if o.quantity else None, notional=self.money(o.money) if o.money else None,
                 reserved=self.money(o.reserved), PRICES=terms)

    # ------------------------------------------------------------ rules
    @property
    def slip(self) -> Fraction: return Fraction(self.costs.slippage_bps) / 10_000
    @property
    def half(self) -> Fraction: return Fraction(self.costs.spread_bps) / 20_000

    def fine(self, symbol: str) -> Decimal: return Decimal(1).scaleb(-self.setup.price_scale(self.things[symbol]))
    def tick(self, symbol: str) -> Fraction | None: return Fraction(self.things[symbol].tick) if self.setup.profile.snap else None
    def lot(self, symbol: str) -> Fraction: return Fraction(self.things[symbol].lot)

    def on_tick(self, symbol: str, x: Fraction, up: bool) -> Fraction:
        tick = self.tick(symbol)
        if tick is None: return x
        whole = x // tick
        if whole * tick == x: return x
        return (whole + 1) * tick if up else whole * tick

    def price(self, symbol: str, base: Fraction, side: int, slip: Fraction) -> Fraction:
        moved = Fraction(nearest(base * (1 + side * slip), self.fine(symbol)))
        tick = self.tick(symbol)
        out = self.on_tick(symbol, moved, side > 0)
        return out if tick is None or side > 0 or out == moved else max(out, tick)

    def fee(self, quantity: Fraction, amount: Decimal, relative: Decimal) -> Decimal:
        c = self.costs
        shares = nearest(quantity * Fraction(c.per_share), self.cent)
        if c.maximum:
            most = nearest(Fraction(amount) * Fraction(c.maximum), self.cent)
            if shares > most: shares = max(most, c.minimum)
        return c.fixed + max(shares, c.minimum) + nearest(Fraction(amount) * Fraction(relative), self.cent)

    @property
    def top(self) -> Decimal: return max((r for _, r in self.costs.tiers), default=self.costs.relative)

    def relative(self, amount: Decimal, maker: bool) -> Decimal:
        c = self.costs
        if c.tiers: return [r for a, r in c.tiers if a <= (self.traded if c.tier_by == "volume" else amount)][-1]
        return c.maker if maker and c.maker is not None else c.relative

    def amount(self, quantity: Fraction, price: Fraction) -> Decimal: return nearest(quantity * price, self.cent)

    def cost(self, quantity: Fraction, price: Fraction, relative: Decimal) -> Decimal:
        amount = self.amount(quantity, price)
        return amount + self.fee(quantity, amount, relative)

    def affordable(self, money: Decimal, symbol: str, price: Fraction, relative: Decimal) -> Fraction:
        "By bisection over whole lots."
        lot = self.lot(symbol)
        if self.setup.profile.strictly_below: money -= self.cent
        low, high = 0, 1
        while self.cost(high * lot, price, relative) <= money: high *= 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.cost(middle * lot, price, relative) <= money else (low, middle)
        return low * lot

    # ------------------------------------------------------------ what the account has
    def rests(self) -> list[Rest]: return [o for o in self.orders if o.alive]
    def own(self, strategy: str, symbol: str) -> list[Rest]: return [o for o in self.rests() if (o.strategy, o.symbol) == (strategy, symbol)]
    def has(self, strategy: str, symbol: str) -> Fraction: return self.held.get((strategy, symbol), Fraction(0))
    def shorted(self, symbol: str) -> Fraction: return -sum((q for (_, s), q in self.held.items() if s == symbol and q < 0), Fraction(0))

    @property
    def reserved(self) -> Decimal: return sum((o.reserved for o in self.rests()), Decimal(0))
    @property
    def available(self) -> Decimal: return self.cash - self.reserved - sum(self.pledges.values(), Decimal(0))

    def pledge(self, symbol: str, price: Fraction) -> None: self.pledges[symbol] = 2 * self.amount(self.shorted(symbol), price)

    def worth(self) -> Decimal:
        total = self.cash
        for symbol in self.things:
            held = sum((q for (_, s), q in self.held.items() if s == symbol), Fraction(0))
            if held: total += self.amount(held, self.last[symbol])
            if self.shorted(symbol): self.pledge(symbol, self.last[symbol])
        return total

    # ------------------------------------------------------------ a fill
    def end(self, o: Rest, kind: str, reason: str, time: int) -> None:
        self.say(kind, time, o.strategy, o.symbol, o.number, reason=reason)
        o.alive = False

    def trade(self, o: Rest, quantity: Fraction, price: Fraction, opens: bool, time: int, relative: Decimal) -> None:
        amount = self.amount(quantity, price)
        fee = max(self.fee(o.done + quantity, o.done_amount + amount, relative) - o.done_fee, Decimal(0))
        key = o.strategy, o.symbol
        self.cash -= o.side * amount + fee
        self.flow[o.strategy] -= o.side * amount + fee
        self.held[key] = self.has(*key) + o.side * quantity
        if (o.side < 0) == opens: self.pledge(o.symbol, price)
        if self.costs.tiers and self.costs.tier_by == "volume": self.traded += amount
        o.done, o.done_amount, o.done_fee, o.quantity = o.done + quantity, o.done_amount + amount, o.done_fee + fee, o.quantity - quantity
        if o.money is not None: o.money = max(o.money - amount - fee, self.cent)
        if opens: o.reserved = max(o.reserved - amount - fee, Decimal(0))
        else: o.closing = max(o.closing - quantity, Fraction(0))
        self.fills += 1
        effect = {(-1, True): "short", (1, False): "cover"}.get((o.side, opens))
        self.say("fill", time, *key, o.number, fill_id=f"F{self.fills:06d}", side="buy" if o.side > 0 else "sell", quantity=plain(quantity),
                 price=price, amount=self.money(amount), commission=self.money(fee), effect=effect, left=plain(o.quantity) if o.quantity else None)

    def fill(self, o: Rest, base: Fraction, slip: Fraction, time: int, room: Fraction | None = None, maker: bool = False,
             inside: bool = False) -> None:
        "Execute `o` at the market price `base`, at most `room` of it."
        held, key, why = self.has(o.strategy, o.symbol), (o.strategy, o.symbol), ""
        price = self.price(o.symbol, base, o.side, slip)
        if o.limit is not None and o.side * price > o.side * o.limit: price = o.limit
        room = Fraction(10**30) if room is None else room
        kept, kept_closing = o.reserved, o.closing
        o.reserved = Decimal(0) # its own claim is not in its way
        there = abs(held) if o.side * held < 0 else Fraction(0)
        by_money, total = o.money is not None, o.quantity
        closes = min(total, there, room)
        if o.closes:
            o.quantity = total = min(total, there)
            if not total: why = "nothing to sell" if o.side < 0 else "nothing to cover"
        elif by_money and there: closes, why = Fraction(0), "a position on the other side"
        elif not total and not by_money: why = "less than one lot"
        if o.tif == "fok" and not by_money and total > room and not why: closes, why = Fraction(0), "not filled whole at once"
        relative = self.relative(o.money if by_money else self.amount(total, price), maker)
        if closes and not why and held > 0:
            amount = self.amount(closes, price)
            if self.available + amount < self.fee(closes, amount, relative): why = "no cash"
        opens, did = Fraction(0), Fraction(0)
        if closes and not why:
            o.reserved = kept
            self.trade(o, closes, price, False, time, relative)
            kept, o.reserved, did = o.reserved, Decimal(0), closes
        if not why and not o.closes and did < room and (by_money or did < total):
            money = self.available
            if self.shorted(o.symbol): money += self.pledges[o.symbol] - 2 * self.amount(self.shorted(o.symbol), price)
            if by_money:
                opens = self.affordable(min(o.money, money), o.symbol, price, relative)
                if total: opens = min(opens, total)
                if not opens: why = "less than one lot"
                elif o.tif == "fok" and opens > room: opens, why = Fraction(0), "not filled whole at once"
                o.quantity = opens
                opens = min(opens, room)
            else:
                opens = min(total, room) - did
                if self.cost(opens, price, relative) > money: opens, why = Fraction(0), "no cash"
            if opens:
                o.reserved = kept
                self.trade(o, opens, price, True, time, relative)
                kept, o.reserved = o.reserved, Decimal(0)
        over = bool(why) or not o.quantity
        if why: self.say("cancel", time, *key, o.number, reason=why)
        if not over: o.reserved = kept
        else: o.closing = Fraction(0)
        if not did and not opens and not over: o.closing = kept_closing
        self.after(o, did + opens, opens, price, over and not why, time, inside)
        if over:
            o.alive = False
            if o.then and not self.has(*key): self.open(o.strategy, o.symbol, o.then, o.number)

    def after(self, o: Rest, filled: Fraction, opened: Fraction, price: Fraction, whole: bool, time: int, inside: bool) -> None:
        if o.group and filled:
            for x in self.rests():
                if x is o: continue
                if x.group == o.group and (o.group < 0 or x.strategy == o.strategy):
                    left = x.quantity - filled
                    if whole or left <= 0: self.end(x, "cancel", "the other order of the group filled", time)
                    else: x.quantity, x.closing = left, max(x.closing - filled, Fraction(0))
                elif o.group < 0 and x.number == o.parent: self.end(x, "cancel", "the other order of the group filled", time)
        if opened and o.bracket: self.children(o, opened, price, time, inside)
        if not self.has(o.strategy, o.symbol):
            for x in self.own(o.strategy, o.symbol):
                if x is not o and x.group < 0: self.end(x, "cancel", "the position is closed", time)

    def children(self, o: Rest, quantity: Fraction, price: Fraction, time: int, inside: bool) -> None:
        grown = [x for x in self.rests() if x.group == -o.number]
        for x in grown: x.quantity += quantity
        if grown: return
        rate = None
        if o.bracket == "rates":
            def away(f: Decimal, sign: int) -> Fraction | None:
                if not f: return None
                return self.on_tick(o.symbol, price + sign * o.side * Fraction(nearest(price * Fraction(f), self.fine(o.symbol))), sign * o.side > 0)
            stop, target, trail = away(self.setup.stop_loss, -1), away(self.setup.take_profit, 1), None
            rate = Fraction(self.setup.trailing_stop) or None
        else: stop, target, trail = o.bracket
        base = Rest(o.strategy, o.symbol, -o.side, quantity, closes=True, group=-o.number, parent=o.number, accepted=time,
                    born=self.row if inside else None)
        sees = o.kind == "limit"
        if stop is not None and stop > 0: self.exit(replace(base, kind="stop", stop=stop, view=sees), time)
        if trail is not None or rate is not None:
            level = self.level(o.symbol, -o.side, price, trail, rate)
            if level > 0: self.exit(replace(base, kind="trailing_stop", stop=level, trail=trail, rate=rate, best=price, view=sees), time)
        if target is not None and target > 0: self.exit(replace(base, kind="take_profit", limit=target), time)

    def exit(self, o: Rest, time: int) -> None:
        self.number += 1
        o.number = self.number
        self.orders.append(o)
        self.tell("order", time, o, "")

    def level(self, symbol: str, side: int, best: Fraction, trail: Fraction | None, rate: Fraction | None) -> Fraction:
        off = trail if trail else Fraction(nearest(best * rate, self.fine(symbol)))
        return self.on_tick(symbol, best + side * off, side > 0)

    # ------------------------------------------------------------ limits on risk, before a trade
    def distance(self, o: Rest, price: Fraction) -> Fraction:
        "To the nearest stop that the order brings; 0: none."
        if o.bracket == "rates":
            step = Fraction(self.fine(o.symbol))
            found = [max(Fraction(nearest(price * Fraction(r), step)), step) for r in (self.setup.stop_loss, self.setup.trailing_stop) if r]
        else:
            stop, _, trail = o.bracket or (None, None, None)
            found = [abs(price - x) for x in (stop,) if x is not None] + [x for x in (trail,) if x is not None]
        return min(found, default=Fraction(0))

    def limited(self, o: Rest, money: Decimal, price: Fraction) -> Decimal:
        "What the limits leave of the money that the order opens with; what they said is remembered."
        c, side = self.setup.risk, o.side
        if o.strategy in self.stopped or o.strategy in self.blocked:
            stopped = self.stopped.get(o.strategy)
            limit, lost, most = stopped or self.blocked[o.strategy]
            self.said = ("stopped until armed" if stopped else limit, lost, most, money, Decimal(0))
            return Decimal(0)
        value = {s: Fraction(self.amount(sum((q for (_, x), q in self.held.items() if x == s), Fraction(0)), self.last.get(s, Fraction(0))))
                 for s in self.things}
        own = Fraction(self.amount(self.has(o.strategy, o.symbol), self.last[o.symbol]))
        for x in self.rests():
            if x is o: continue
            value[x.symbol] += x.side * Fraction(x.reserved)
            if (x.strategy, x.symbol) == (o.strategy, o.symbol): own += x.side * Fraction(x.reserved)
        closed = side * Fraction(self.amount(o.closing, self.last[o.symbol]))
        value[o.symbol], own = value[o.symbol] + closed, own + closed
        each = c.strategies.get(o.strategy)
        position = each.max_position_size_pct if each and each.max_position_size_pct is not None else c.max_position_size_pct
        sector = [abs(v) for s, v in value.items() if self.things[s].sector == self.things[o.symbol].sector]
        stands = {"position size": (position, max(side * own, Fraction(0))), "concentration": (c.max_concentration_pct, side * value[o.symbol]),
                  "sector exposure": (c.max_sector_exposure_pct, sum(sector)),
                  "gross exposure": (c.max_gross_exposure_pct, sum(map(abs, value.values()))),
                  "net exposure": (c.max_net_exposure_pct, side * sum(value.values())), "loss per trade": (c.max_loss_per_trade_pct, 0)}
        allowed, self.said = Fraction(money), None
        for name, (percent, now) in stands.items():
            if percent is None: continue
            bound, more, away = Fraction(nearest(Fraction(max(self.equity, Decimal(0))) * Fraction(percent) / 100, self.cent)), money, Fraction(0)
            room = max(bound - now, Fraction(0))
            if name == "loss per trade":
                away = self.distance(o, price)
                cent = Fraction(self.cent)
                if away: more, room = nearest(Fraction(money) * away / price, self.cent), bound * price / away // cent * cent
                elif side < 0: room = Fraction(0)
            if room < allowed: allowed, self.said = room, (f"limit on {name}", now + Fraction(more), bound)
        if self.said and c.on_limit != "trim": allowed = Fraction(0)
        out = nearest(allowed, self.cent)
        if self.said: self.said = (*self.said, money, out)
        return out

    def tell_limit(self, o: Rest) -> None:
        if not self.said: return
        limit, value, bound, asked, allowed = self.said
        cash = lambda x: self.money(nearest(Fraction(x), self.cent)) # noqa: E731
        self.say("risk", self.now, o.strategy, o.symbol, o.number, action="trimmed" if allowed else "rejected", limit=limit, value=cash(value),
                 threshold=cash(bound), side="buy" if o.side > 0 else "sell", asked=cash(asked), allowed=cash(allowed))

    # ------------------------------------------------------------ limits on losses, after a close
    def passed(self, who: str) -> tuple | None:
        "The first limit that the account or a strategy has passed: its name, what was lost, the bound."
        common, own = self.setup.risk, self.setup.risk.strategies.get(who)
        for name, key, base in (("daily loss", "max_daily_loss_pct", self.before[who]), ("drawdown", "max_drawdown_pct", self.peak[who])):
            percent = getattr(own, key, None) if getattr(own, key, None) is not None else getattr(common, key)
            if percent is None: continue
            lost, bound = base - self.value[who], nearest(Fraction(max(base, Decimal(0))) * Fraction(percent) / 100, self.cent)
            if lost > bound: return f"limit on {name}", lost, bound
        return None

    def guard(self, new_day: bool) -> None:
        "Block, stop or release the strategies, by what the account and each of them has lost."
        if new_day: self.before = dict(self.value)
        self.value[""] = self.equity
        for k in self.seats:
            worths = (self.amount(q, self.last[s]) for (who, s), q in self.held.items() if who == k and q)
            self.value[k] = self.setup.cash + self.flow[k] + sum(worths, Decimal(0))
        for who, level in self.value.items(): self.peak[who] = max(self.peak[who], level)
        found = {k: self.passed("") or self.passed(k) for k in self.seats}
        for k, breach in found.items():
            if breach is None: self.blocked.pop(k, None)
            else: self.blocked[k] = breach
            if breach and self.setup.risk.auto_disable_on_breach: self.stopped.setdefault(k, breach)
        for k in self.seats:
            breach = self.stopped.get(k) or self.blocked.get(k)
            if (breach and breach[0]) == (self.told.get(k) and self.told[k][0]): continue
            self.tell_loss(k, breach)
            if breach: self.cut(k, breach[0])

    def tell_loss(self, k: str, breach: tuple | None) -> None:
        if breach is None: self.told.pop(k, None)
        else: self.told[k] = breach
        limit, lost, bound = breach or ("", Decimal(0), Decimal(0))
        self.say("risk", self.now, k, "", 0, action="released" if not breach else "stopped" if k in self.stopped else "blocked", limit=limit,
                 value=self.money(lost), threshold=self.money(bound))

    def cut(self, k: str, limit: str) -> None:
        "What would open something goes; where the stopped are flattened, everything does."
        flatten = k in self.stopped and self.setup.risk.on_breach == "flatten"
        for o in [o for o in self.rests() if o.strategy == k]:
            if flatten or not o.closes: self.end(o, "cancel", limit, self.now)
            else: o.then = 0
        self.orders = self.rests()
        if not flatten: return
        first = len(self.orders)
        for symbol in self.things:
            held = self.has(k, symbol)
            if held: self.submit(Rest(k, symbol, -1 if held > 0 else 1, abs(held), closes=True))
        if self.at_close:
            self.at_once(first)
            self.orders = self.rests()
            self.equity = self.worth()
            self.curve[-1] = self.equity

    def arm(self, k: str) -> None:
        "The strategy may go on; it and the account measure losses from here."
        for who in ("", k): self.before[who] = self.peak[who] = self.value[who]
        self.blocked.pop(k, None)
        self.stopped.pop(k, None)
        self.tell_loss(k, None)

    # ------------------------------------------------------------ accepting
    def wrong(self, o: Rest) -> str:
        "What is wrong with the order, for which it also sets what it claims."
        held, last = self.has(o.strategy, o.symbol), self.last.get(o.symbol)
        o.reserved, o.closing, self.said, self.note = Decimal(0), Fraction(0), None, ""
        def off(x: Fraction | None) -> bool:
            tick = self.tick(o.symbol)
            return x is None or x <= 0 or (tick is not None and x % tick != 0)
        if last is None: return "no price yet"
        if o.kind == "trailing_stop" and o.stop is None:
            if (o.trail and o.trail >= last) or (o.rate and o.rate >= 1): return "stop is on the wrong side of the market"
            if not o.trail and not o.rate: return "price is off the tick"
            o.best, o.stop = last, self.level(o.symbol, o.side, last, o.trail, o.rate)
        if o.kind in ("limit", "take_profit", "stop_limit") and off(o.limit): return "price is off the tick"
        if o.kind in ("stop", "stop_limit") and not o.triggered:
            if off(o.stop): return "price is off the tick"
            if o.side * o.stop <= o.side * last: return "stop is on the wrong side of the market"
        if o.kind == "trailing_stop":
            if not o.rate and off(o.trail): return "price is off the tick"
            if o.stop <= 0: return "stop is on the wrong side of the market"
        if o.tif in ("ioc", "fok") and o.kind not in ("market", "limit"): return "time in force does not fit the order"
        if o.tif == "gtd" and o.until <= self.now: return "its time is over already"
        if isinstance(o.bracket, tuple):
            entry = o.limit if o.kind in ("limit", "stop_limit") else o.stop if o.kind in ("stop", "trailing_stop") else last
            if any(x is not None and off(x) for x in o.bracket): return "price is off the tick"
            stop, target, _ = o.bracket
            if stop is not None and o.side * stop >= o.side * entry: return "bracket is on the wrong side of the entry"
            if target is not None and o.side * target <= o.side * entry: return "bracket is on the wrong side of the entry"
        if o.kind == "take_profit": o.closes = True
        available = self.available
        if o.money is not None:
            if o.side * held < 0: return "a position on the other side"
            if o.side < 0 and not self.setup.allow_short: return "short selling is off"
            if o.money > available: o.money, self.note = available, "trimmed to the available cash"
            if o.money <= 0: return "no cash"
            room = self.limited(o, o.money, last)
            if not room: return self.said[0]
            if self.said: o.money, self.note = room, self.said[0]
            o.reserved = o.money
            return ""
        if o.quantity <= 0 or o.quantity % self.lot(o.symbol): return "quantity is no multiple of the lot"
        if o.side < 0 and not self.setup.allow_short: o.closes = True
        promised = sum((x.closing for x in self.own(o.strategy, o.symbol) if x is not o), Fraction(0))
        free = max(abs(held) - promised, Fraction(0)) if o.side * held < 0 else Fraction(0)
        if o.closes and o.quantity > free: return "nothing to sell" if o.side < 0 else "nothing to cover"
        if o.quantity <= free: o.closes = True
        o.closing = min(o.quantity, free)
        if o.quantity > free:
            if o.kind in ("limit", "stop_limit", "take_profit"): price = o.limit
            else: price = self.price(o.symbol, last if o.kind == "market" else o.stop, o.side, self.slip + self.half)
            room = self.limited(o, self.amount(o.quantity - free, price), price)
            if self.said:
                quantity = free + Fraction(room) / price // self.lot(o.symbol) * self.lot(o.symbol)
                if not quantity: return self.said[0]
                o.quantity, self.note = quantity, self.said[0]
                if quantity == free:
                    o.closes = True
                    return ""
            reserve = self.cost(o.quantity - free, price, self.top)
            if reserve > available: return "no cash"
            o.reserved = reserve
        return ""

    def submit(self, o: Rest) -> Rest | None:
        self.number += 1
        o.number = self.number
        why = self.wrong(o)
        o.accepted = self.now
        low, high = (int(x * 1_000_000) for x in self.costs.latency_ms)
        if not why and high: o.latency = mix(self.setup.seed, o.number, low, high)
        self.tell("reject" if why else "order", self.now, o, why or self.note)
        self.tell_limit(o)
        if why: return None
        self.orders.append(o)
        return o

    def open(self, strategy: str, symbol: str, want: Fraction, parent: int = 0) -> None:
        seat, o = self.seats[strategy], Rest(strategy, symbol, 1 if want > 0 else -1, parent=parent)
        if seat.size_rule == "fixed_units": o.quantity = Fraction(seat.size_value) // self.lot(symbol) * self.lot(symbol)
        else:
            base = max(self.available if seat.size_rule == "all_cash" else self.equity, Decimal(0))
            o.money = nearest(Fraction(base) * Fraction(seat.size_value) / 100, self.cent)
            if seat.size_rule == "confidence": o.money = nearest(Fraction(o.money) * abs(want), self.cent)
        if any(self.setup.bracket): o.bracket = "rates"
        self.submit(o)

    def signal(self, strategy: str, symbol: str, x: float) -> None:
        held, own = self.has(strategy, symbol), self.own(strategy, symbol)
        shorts, direction = self.setup.allow_short, (x > 0) - (x < 0)
        want, sure = direction if direction > 0 or shorts else 0, Fraction(max(round(abs(x) * 1e9), 1), 10**9)
        here = (held > 0) - (held < 0)
        closing = sum((o.closing for o in own), Fraction(0))
        openers = [o for o in own if not o.closes]
        closers = [o for o in own if o.closes and o.group >= 0]
        outcome, gone, act = "already there", [], ""
        if symbol not in self.last: outcome = "no price yet"
        elif want and here == want:
            if closing: outcome, gone = "resting order withdrawn", closers
        elif want and not here:
            if not [o for o in openers if o.side == want]: outcome, act, gone = "ordered", "open", openers
        elif openers: outcome, gone = "resting order withdrawn", openers
        elif abs(held) > closing: outcome, act = "ordered", "close"
        elif closing and shorts and closers:
            if want:
                if not closers[-1].then: closers[-1].then, outcome = want * sure, "to be turned round once closed"
            else:
                for o in closers:
                    if o.then: o.then, outcome = 0, "the reversal is called off"
        if direction < 0 and not shorts and outcome == "already there": outcome = "short selling is off"
        self.say("signal", self.now, strategy, symbol, 0, direction=("flat", "long", "short")[direction], outcome=outcome)
        for o in gone: self.end(o, "cancel", "resting order withdrawn", self.now)
        if act == "open": self.open(strategy, symbol, want * sure)
        if act == "close": self.submit(Rest(strategy, symbol, -here, abs(held) - closing, closes=True, then=want * sure))

    def request(self, kind: str, strategy: str, symbol: str, number: int, terms: dict[str, Any]) -> None:
        found = [o for o in self.rests() if o.number == number and (kind == "cancel" or o.symbol == symbol)]
        why = ""
        if not found: why = "no such order"
        elif found[0].strategy != strategy: why = "the order belongs to another strategy"
        elif kind == "cancel": return self.end(found[0], "cancel", "by request", self.now)
        else:
            o = found[0]
            new = replace(o)
            if terms.get("quantity"): new.quantity = terms["quantity"]
            if terms.get("limit") and o.kind in ("limit", "stop_limit", "take_profit"): new.limit = terms["limit"]
            if terms.get("stop") and o.kind in ("stop", "stop_limit") and not o.triggered: new.stop = terms["stop"]
            if new == o: why = "nothing to change"
            elif o.money is not None and terms.get("quantity"): why = "quantity is no multiple of the lot"
            else:
                o.alive = False
                why = self.wrong(new)
                o.alive = True
            if not why:
                if o.group < 0: new.closing = Fraction(0)
                self.orders[[x is o for x in self.orders].index(True)] = new
                self.tell("modify", self.now, new, "by request")
                return self.tell_limit(new)
        self.say("reject", self.now, strategy, symbol, number, reason=why)

    # ------------------------------------------------------------ the two halves of a bar
    def split(self, symbol: str, up: int, down: int, time: int) -> None:
        lot = self.lot(symbol)
        for seat in self.setup.seats:
            key = seat.strategy_id, symbol
            held = self.has(*key)
            if not held: continue
            sign = 1 if held > 0 else -1
            new = abs(held) * up / down // lot * lot
            paid = sign * nearest((abs(held) * up / down - new) * self.last[symbol] * down / up, self.cent)
            self.held[key] = sign * new
            self.say("split", time, *key, 0, numerator=up, denominator=down, quantity_before=plain(held), quantity_after=plain(sign * new),
                     cash=self.money(paid))
            self.cash += paid
            self.flow[seat.strategy_id] += paid
        step = self.tick(symbol) or Fraction(self.fine(symbol))
        for o in [x for x in self.rests() if x.symbol == symbol]:
            had, o.quantity, o.closing = o.quantity, o.quantity * up / down // lot * lot, o.closing * up / down // lot * lot
            def restated(x: Fraction | None) -> Fraction | None: return None if x is None else max(nearest(x * down / up, step), step)
            o.limit, o.stop, o.trail, o.best = map(restated, (o.limit, o.stop, o.trail, o.best))
            if isinstance(o.bracket, tuple): o.bracket = tuple(map(restated, o.bracket))
            if had and not o.quantity: self.end(o, "cancel", "less than one lot", time)
            elif o.quantity or o.kind != "market": self.tell("modify", time, o, "a split")
        if symbol in self.last:
            self.last[symbol] = Fraction(nearest(self.last[symbol] * down / up, self.fine(symbol)))
            if symbol in self.pledges: self.pledge(symbol, self.last[symbol])

    def bar(self, row: int, start: int, end: int, prices: dict[str, tuple[Fraction, Fraction, Fraction, Fraction]], actions: list[tuple],
            volumes: dict[str, Fraction], day: int, ends_day: bool, quotes: dict[str, list[tuple[int, Fraction, Fraction]]]) -> None:
        self.row, self.now, self.taken = row, start, {}
        new_day = self.day not in (0, day)
        if self.day and day > self.day:
            rate = Fraction(self.setup.borrow_rate)
            for seat in self.setup.seats if rate and self.setup.allow_short else ():
                for symbol in self.things:
                    held = self.has(seat.strategy_id, symbol)
                    if held >= 0: continue
                    fee = nearest(Fraction(self.amount(-held, self.last[symbol])) * rate * (day - self.day) / 365, self.cent)
                    self.cash -= fee
                    self.flow[seat.strategy_id] -= fee
                    self.say("borrow", start, seat.strategy_id, symbol, 0, days=day - self.day, quantity=plain(held), cash=self.money(-fee))
        self.day = day
        for symbol, kind, up, down, per_share in actions:
            if kind == "split":
                self.split(symbol, up, down, start)
                continue
            for seat in self.setup.seats:
                held = self.has(seat.strategy_id, symbol)
                if not held: continue
                paid = nearest(held * Fraction(per_share), self.cent)
                self.say("dividend", start, seat.strategy_id, symbol, 0, per_share=plain(per_share), quantity=plain(held), cash=self.money(paid))
                self.cash += paid
                self.flow[seat.strategy_id] += paid
        when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=start // 1000)
        if (when.year, when.month) != self.month: self.month, self.traded = (when.year, when.month), Decimal(0)
        self.meet(row, start, end, prices, volumes, day, ends_day, quotes)
        self.orders = self.rests()
        for symbol, (open_, _, _, close) in prices.items(): self.last[symbol], self.opened[symbol] = close, (row, start, open_)
        self.equity, self.now = self.worth(), end
        self.curve.append(self.equity)
        if self.setup.watches: self.guard(new_day)

    def meet(self, row: int, start: int, end: int, prices: dict, volumes: dict, day: int, ends_day: bool, quotes: dict) -> None:
        both = self.slip + self.half

        def execute(o: Rest, base: Fraction, slip: Fraction, time: int, maker: bool = False, inside: bool = False) -> None:
            if not self.costs.participation: return self.fill(o, base, slip, time, None, maker, inside)
            lot = self.lot(o.symbol)
            room = volumes[o.symbol] * Fraction(self.costs.participation) // lot * lot - self.taken.get(o.symbol, Fraction(0))
            if room <= 0: return
            before = o.done
            self.fill(o, base, slip, time, room, maker, inside)
            self.taken[o.symbol] = self.taken.get(o.symbol, Fraction(0)) + o.done - before

        def waits_for_stop(o: Rest) -> bool: return o.kind in ("stop", "trailing_stop") or (o.kind == "stop_limit" and not o.triggered)

        i = 0
        while i < len(self.orders): # the open
            o = self.orders[i]
            i += 1
            if not o.alive or o.symbol not in prices or start < o.accepted or (o.kind == "market" and self.at_close): continue
            if o.tif == "gtd" and start >= o.until:
                self.end(o, "expire", "its date has come", start)
                continue
            if o.tif == "day":
                if o.day is None: o.day = day
                elif day > o.day:
                    self.end(o, "expire", "the session ended", start)
                    continue
            opened, when, slip = prices[o.symbol][0], start, both
            base = opened
            if quotes:
                when = max(start, o.accepted + o.latency)
                seen = [q for q in quotes.get(o.symbol, []) if q[0] <= when]
                if seen: base, slip = seen[-1][2 if o.side > 0 else 1], self.slip
                else: when = start
            met = o.kind == "market"
            if waits_for_stop(o):
                met = o.side * opened >= o.side * o.stop
                if met and o.kind == "stop_limit":
                    o.triggered = True
                    self.say("trigger", start, o.strategy, o.symbol, o.number, price=o.stop)
            if o.kind in ("limit", "take_profit") or o.triggered: met = o.side * base <= o.side * o.limit
            if met: execute(o, base, slip, when)
            if o.alive and o.tif in ("ioc", "fok"):
                self.end(o, "cancel", "not filled at once" if o.tif == "ioc" else "not filled whole at once", when)
        for late in (False, True): # the range: stops, then limits; then those that came to life in it
            for stops in (True, False):
                i = 0
                while i < len(self.orders):
                    o = self.orders[i]
                    i += 1
                    if not o.alive or o.kind == "market" or o.symbol not in prices or (o.born == row) != late: continue
                    if (not late and start < o.accepted) or waits_for_stop(o) != stops: continue
                    _, high, low, close = prices[o.symbol]
                    if late and not o.view: high = low = close
                    if stops:
                        if o.side * (high if o.side > 0 else low) < o.side * o.stop: continue
                        base = o.stop
                        if o.kind == "stop_limit":
                            o.triggered, o.skip = True, row
                            self.say("trigger", end, o.strategy, o.symbol, o.number, price=o.stop)
                            if o.side * o.stop > o.side * o.limit:
                                if o.side * close > o.side * o.limit: continue
                                base = o.limit
                    else:
                        if o.skip == row or o.side * (low if o.side > 0 else high) > o.side * o.limit: continue
                        base = o.limit
                    execute(o, base, both, end, o.kind in ("limit", "take_profit", "stop_limit"), True)
        i = 0
        while self.at_close and i < len(self.orders):
            o = self.orders[i]
            i += 1
            if o.alive and o.kind == "market" and o.symbol in prices and start >= o.accepted:
                self.now = end
                execute(o, prices[o.symbol][3], both, end)
        for o in self.rests():
            if o.symbol not in prices or (start < o.accepted and o.born != row): continue
            _, high, low, close = prices[o.symbol]
            if o.kind == "trailing_stop":
                best = close if o.born == row else low if o.side > 0 else high
                if o.side * best < o.side * o.best:
                    o.best, level = best, self.level(o.symbol, o.side, best, o.trail, o.rate)
                    if o.side * level < o.side * o.stop: o.stop = level
            if o.tif == "day" and ends_day and o.day is not None: self.end(o, "expire", "the session ended", end)

    def at_once(self, first: int) -> None:
        "What is new meets the close."
        i = first
        while i < len(self.orders):
            o = self.orders[i]
            i += 1
            if not o.alive or o.group < 0 or self.opened[o.symbol][0] != self.row: continue
            last = self.last[o.symbol]
            if o.kind == "market" or (o.kind in ("limit", "take_profit") and o.side * last <= o.side * o.limit):
                self.fill(o, last, self.slip + self.half, self.now)
            if o.alive and o.tif in ("ioc", "fok"):
                self.end(o, "cancel", "not filled at once" if o.tif == "ioc" else "not filled whole at once", self.now)

    def accept(self, intents: list[tuple]) -> None:
        filled = self.fills
        for kind, strategy, symbol, x in intents:
            before = len(self.orders)
            if kind == "signal": self.signal(strategy, symbol, x)
            elif kind in ("cancel", "modify"): self.request(kind, strategy, symbol, x["number"], x)
            elif kind == "finalize":
                row, start, opened = self.opened.get(symbol, (None, 0, Fraction(0)))
                at = (opened, start) if row == self.row else (self.last.get(symbol), self.now)
                for o in self.own(strategy, symbol):
                    if o.kind != "market": self.end(o, "cancel", "closed at the end", self.now)
                mine = self.own(strategy, symbol)
                held = self.has(strategy, symbol)
                if not mine and held: mine = [self.submit(Rest(strategy, symbol, -1 if held > 0 else 1, abs(held), closes=True))]
                while mine:
                    for o in mine:
                        if o.kind == "market": self.fill(o, at[0], self.slip + self.half, at[1])
                        else: self.end(o, "cancel", "closed at the end", self.now)
                    mine = self.own(strategy, symbol)
                continue
            elif kind == "arm": self.arm(strategy)
            else: self.submit(Rest(strategy, symbol, **x))
            if self.at_close: self.at_once(before)
        self.orders = self.rests()
        if self.fills > filled:
            self.equity = self.worth()
            self.curve[-1] = self.equity
