"""The tax rules once more, share by share and slowly, from their text: an oracle for `firebot.wash_sales`.

Every share is an object of its own; nothing is shared with the package. Amounts must divide evenly among shares.
"""
import itertools
from collections import defaultdict
from typing import Any

Row = dict[str, Any] # kind (open, close, return), lane, book, day, quantity, cash, order, acquired, bought, short, exempt, ira


def _leaving(method: str, dates: str, washed: str | None, rows: list[Row]) -> Any:
    "Sort key of the shares of one book: who leaves first"
    def age(s: Row) -> tuple[int, int]: return rows[s["row"]]["acquired"], s["row"]
    def half(s: Row, begin: str) -> tuple[Any, ...]:
        return (s["washed"] == 0, s["washed"]) if (washed or begin) == "first" else (s["washed"] > 0, -s["washed"])
    def first(s: Row) -> Any: return age(s), half(s, "first")
    def last(s: Row) -> Any: return tuple(-x for x in age(s)), half(s, "last")
    def counted(s: Row) -> Any: return s["day"], s["row"], s["made"]
    by_day = {"fifo": counted, "lifo": lambda s: tuple(-x for x in counted(s))} if dates == "adjusted" else {}
    return {"fifo": first, "lifo": last, "hifo": lambda s: (-s["cost"], s["row"], s["made"]), "lofo": lambda s: (s["cost"], s["row"], s["made"]),
            **by_day}[method]

def _each(cash: int, quantity: int) -> int:
    each, rest = divmod(cash, quantity)
    assert not rest
    return each

def reference(rows: list[Row], method: str, holding: str, older: bool, dates: str = "actual",
              leave: str | None = None) -> tuple[list[tuple], list[tuple], list[tuple]]:
    "Sold shares, washes and shares still held, each share a tuple"
    held: dict[Any, list[Row]] = defaultdict(list)
    promises: dict[int, list[tuple[int, int, bool]]] = defaultdict(list)
    sold, washes, made = [], [], itertools.count(1)
    for i, row in enumerate(rows):
        way = -1 if row["short"] else 1
        if row["kind"] == "open":
            for n in range(row["quantity"]):
                loss, day, gone = promises[i][n] if n < len(promises[i]) else (0, row["acquired"], True)
                washed = n < len(promises[i])
                cost = _each(row["cash"], row["quantity"]) + (0 if gone else way * loss)
                held[row["book"]].append(dict(row=i, cost=cost, day=row["acquired"] if gone else day, free=row["bought"] and not washed,
                                              washed=next(made) if washed else 0, made=next(made), deferred=0 if gone else loss))
        elif row["kind"] == "return":
            each = _each(row["cash"], len(held[row["book"]]))
            for s in held[row["book"]]:
                if each > s["cost"]: sold.append((i, s["row"], 0, each - s["cost"], 0, s["day"], 0, 0, 0))
                s["cost"] -= min(each, s["cost"])
        else:
            held[row["book"]].sort(key=_leaving(method, dates, leave, rows))
            leaves, held[row["book"]] = held[row["book"]][:row["quantity"]], held[row["book"]][row["quantity"]:]
            for s in sorted(leaves, key=lambda s: s["row"]):
                each = _each(row["cash"], row["quantity"])
                proceeds, cost = (s["cost"], each) if row["short"] else (each, s["cost"])
                lost = gone = 0
                if cost > proceeds and not row["exempt"] and not row["ira"]:
                    j, x = _replacement(rows, i, s, held, promises, older)
                    if j is not None:
                        lost, other = cost - proceeds, rows[j]
                        tack, same = other["acquired"] - (row["day"] - s["day"]), min(s["day"], other["acquired"])
                        day, gone = {"tack": tack, "date": same, "nodouble": max(tack, same)}[holding], lost * other["ira"]
                        washes.append((i, s["row"], j, lost, day, other["ira"]))
                        if x is None: promises[j].append((lost, day, other["ira"]))
                        else:
                            x["free"], x["washed"], x["made"] = False, next(made), next(made)
                            if not other["ira"]: x["cost"], x["day"], x["deferred"] = x["cost"] + way * lost, day, lost
                sold.append((i, s["row"], 1, proceeds, cost, s["day"], s["deferred"], lost, gone))
    return sold, washes, [(s["row"], s["cost"], s["day"], s["deferred"]) for b in held.values() for s in b]

def _lot(row: Row) -> Any: return row["order"], row["book"], row["day"]

def _replacement(rows: list[Row], i: int, s: Row, held: dict[Any, list[Row]], promises: dict[int, list[Any]],
                 older: bool) -> tuple[int | None, Row | None]:
    "The row, and the share if it is there already, that replaces the share `s` sold by row `i`"
    for j, other in enumerate(rows):
        if other["kind"] != "open" or not other["bought"] or other["lane"] != rows[i]["lane"]: continue
        if abs(other["day"] - rows[i]["day"]) > 30 or _lot(other) == _lot(rows[s["row"]]) or (j < s["row"] and not older): continue
        if j > i:
            if len(promises[j]) < other["quantity"]: return j, None
            continue
        free = [x for x in held[other["book"]] if x["row"] == j and x["free"]]
        if free: return j, free[0]
    return None, None
