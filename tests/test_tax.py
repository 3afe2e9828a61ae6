"""Lots and wash sales against a slow oracle, and the identities that hold for any history."""
import io
import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tax_reference import reference

from firebot.lots import CLOSE, OPEN, Trades, eras, long_from, make_legs, part, ratio, read_trades
from firebot.models import DataError
from firebot.wash_sales import HOLDING, METHODS, Ledger, fold, lots, realized, wash_sales

START = date(2020, 1, 1)
COLUMNS = ("date", "symbol", "side", "quantity", "amount", "account", "order_id", "acquired", "asset_class")


def trades(rows: list[dict[str, Any]]) -> Trades:
    "Rows as a table of text, read as a file would be"
    text = ",".join(COLUMNS) + "\n" + "".join(",".join(str(r.get(c, "")) for c in COLUMNS) + "\n" for r in rows)
    kinds = pa_csv.ConvertOptions(column_types=dict.fromkeys(COLUMNS, pa.string()))
    return read_trades(pa_csv.read_csv(io.BytesIO(text.encode()), convert_options=kinds))

def history(r: random.Random, size: int, shorts: bool = False) -> list[dict[str, Any]]:
    "A random history in whole dollars a share, never selling what is not held"
    style = r.random() # how orders are named: each by a name of its own, by one that comes again in other accounts and on other days, or not at all
    accounts, symbols, rows = ["a", "b", "ira"][:r.choice([1, 1, 2, 3])], ["M", "N", "BTC"][:r.choice([1, 2, 3])], []
    held: Counter[Any] = Counter()
    day, order = r.randint(0, 10), 0
    for _ in range(size):
        day += r.choice([0, 0, 0, 1, 2, 5, 12, 29, 30, 31])
        symbol, account, short = r.choice(symbols), r.choice(accounts), shorts and r.random() < 0.4
        book, u = (symbol, account, short), r.random()
        row: dict[str, Any] = dict(date=START + timedelta(day), symbol=symbol, account=account, asset_class="crypto" if symbol == "BTC" else "")
        if u < 0.05 and held[book] and not short: rows.append(row | dict(side="return_of_capital", quantity=0,
            amount=held[book] * r.randint(1, 40), order_id=""))
        elif u < 0.52 or not held[book]:
            order += r.random() < 0.85 or not order
            n, price = r.randint(1, 6), r.randint(50, 60)
            held[book] += n
            name = "" if style < 0.15 else str(order % 7) if style < 0.4 else f"{symbol}{account}{short}{order}"
            row |= dict(side="short" if short else "buy", quantity=n, amount=n * price, order_id=name)
            if r.random() < 0.08 and not short: row |= dict(side="transfer_in", acquired=row["date"] - timedelta(r.randint(0, 200)),
                                                            order_id=f"t{len(rows)}")
            rows.append(row)
        else:
            n = r.randint(1, held[book])
            held[book] -= n
            rows.append(row | dict(side="cover" if short else "sell", quantity=n, amount=n * r.randint(45, 60), order_id=f"x{len(rows)}"))
    return rows

def plainly(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    "The same rows in the oracle's words; fills of one order and day added up"
    out: list[dict[str, Any]] = []
    seen: dict[Any, dict[str, Any]] = {}
    for i, r in enumerate(rows):
        r = r | dict(order_id=r["order_id"] or i)
        short = r["side"] in ("short", "cover")
        kind = "open" if r["side"] in ("buy", "short", "transfer_in") else "return" if r["side"] == "return_of_capital" else "close"
        key = (r["order_id"], r["date"], r["symbol"], r["account"], r["side"])
        if kind == "open" and r["side"] != "transfer_in" and key in seen:
            seen[key]["quantity"] += r["quantity"]
            seen[key]["cash"] += r["amount"] * 100
            continue
        made = dict(kind=kind, lane=(r["symbol"], short), book=(r["symbol"], r["account"], short), day=(r["date"] - START).days,
                    quantity=r["quantity"],
                    cash=r["amount"] * 100, order=r["order_id"] if kind == "open" else object(), bought=r["side"] in ("buy", "short"), short=short,
                    acquired=(r.get("acquired", r["date"]) - START).days, exempt=r["symbol"] == "BTC", ira=r["account"] == "ira")
        seen[key] = made
        out.append(made)
    return out

def with_split(r: random.Random, rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    "The rows with a split of M among them, and the rows in shares of after it"
    k, when = r.choice([2, 4, 5]), r.randrange(len(rows) + 1)
    def more(row: dict[str, Any]) -> dict[str, Any]: return row | dict(quantity=row["quantity"] * k) if row["symbol"] == "M" else row
    told = [more(x) if i >= when else x for i, x in enumerate(rows)]
    told.insert(when, dict(date=rows[min(when, len(rows) - 1)]["date"], symbol="M", side="split", quantity=k))
    return told, [more(x) for x in rows]

def total(rows: Iterable[tuple], keys: int) -> dict[tuple, list[int]]:
    "Sums by the first `keys` entries"
    sums: dict[tuple, list[int]] = {}
    for r in rows:
        have = sums.setdefault(r[:keys], [0] * (len(r) - keys))
        for i, x in enumerate(r[keys:]): have[i] += int(x)
    return sums

def divisible(rows: list[dict[str, Any]]) -> bool: return all(r["cash"] % max(r["quantity"], 1) == 0 for r in plainly(rows))


# ---------------------------------------------------------------- the oracle
@pytest.mark.parametrize("block", range(8))
def test_equals_the_oracle_share_for_share(block: int) -> None:
    compared = washed = splits = 0
    for seed in range(block * 100_000, block * 100_000 + 250):
        r = random.Random(seed)
        rows = history(r, r.choice([4, 8, 14, 25]), shorts=r.random() < 0.4)
        method, holding, older = r.choice(METHODS[:4]), r.choice(HOLDING), r.random() < 0.6
        dates, half = r.choice(["actual", "actual", "adjusted"]), r.choice([None, None, "first", "last"])
        told, rows = with_split(r, rows) if seed % 3 == 0 else (rows, rows)
        if not divisible(rows): continue
        legs = make_legs(trades(told), allow_short=True, sheltered=["ira"])
        ledger = fold(legs, method, holding, older, lot_dates=dates, washed=half)
        plain = plainly(rows)
        place = numbered(legs, plain)
        start = (START - date(1970, 1, 1)).days
        sold, washes, left = reference(plain, method, holding, older, dates, half)
        p = ledger.pieces.tolist()
        assert total(((place[c], place[o], d - start, q, a, b, e, x, g) for c, o, q, a, b, d, e, x, g in p), 3) == \
               total(((i, j, d, q, a, b, e, x, g) for i, j, q, a, b, d, e, x, g in sold), 3), seed
        assert total(((place[p[w][0]], place[p[w][1]], place[to], d - start, bool(g), q, a) for w, to, q, a, d, g,
                      _ in ledger.washes.tolist()), 5) == \
               total(((i, j, to, d, g, 1, a) for i, j, to, a, d, g in washes), 5), seed
        assert total(((place[o], d - start, q, c, e) for o, q, c, d, e in ledger.slices.tolist()), 2) == total(((j, d, 1, c, e) for j, c, d,
            e in left), 2), seed
        compared, washed, splits = compared + 1, washed + len(washes), splits + (told is not rows)
    assert compared > 150 and washed > 400 and splits > 40

def numbered(legs: Any, plain: list[dict[str, Any]]) -> list[int]:
    "The oracle's row of each leg: rows that became legs stand in the same order within a lane"
    lanes: dict[Any, list[int]] = defaultdict(list)
    for i, row in enumerate(plain): lanes[row["lane"]].append(i)
    t, out = legs.trades, []
    for a, b, short in zip(legs.lane[:-1], legs.lane[1:], legs.short[legs.lane[:-1]]):
        rows = lanes[(t.symbols[t.symbol[legs.at[a]]], bool(short))]
        assert len(rows) == b - a
        out += rows
    return out


def test_a_family_of_symbols_and_the_smallest_fractions_equal_the_oracle() -> None:
    "Symbols treated as one are one lane of the oracle; shares of 1e-8 are counted like whole ones"
    washed = 0
    for seed in range(900_000, 900_150):
        r = random.Random(seed)
        rows = history(r, r.choice([8, 14, 25]), shorts=r.random() < 0.3)
        if not divisible(rows): continue
        tiny = [x | dict(quantity=f"{x['quantity'] / 10**8:.8f}") for x in rows]
        legs = make_legs(trades(tiny), allow_short=True, sheltered=["ira"], identical=[["M", "N"]])
        plain = plainly(rows)
        for x in plain: x["lane"] = ("M" if x["lane"][0] == "N" else x["lane"][0], x["lane"][1])
        sold, washes, left = reference(plain, method := r.choice(METHODS[:4]), "tack", True)
        ledger = fold(legs, method)
        assert ledger.slices[:, 1].sum() == len(left), seed
        for ours, theirs in ((ledger.pieces[:, [2, 3, 4, 6, 7, 8]].sum(axis=0), [sum(s[k] for s in sold) for k in (2, 3, 4, 6, 7, 8)]),
                             (ledger.washes[:, [2, 3]].sum(axis=0), [len(washes), sum(w[3] for w in washes)]),
                             (ledger.slices[:, [2, 4]].sum(axis=0), [sum(s[k] for s in left) for k in (1, 3)])):
            assert ours.tolist() == theirs, seed
        washed += len(washes)
    assert washed > 200

# ---------------------------------------------------------------- identities
def check(ledger: Ledger) -> None:
    p, s, w, legs = ledger.pieces, ledger.slices, ledger.washes, ledger.legs
    way = np.where(legs.short, -1, 1)
    flow = (legs.cash * np.where(legs.kind == OPEN, -1, 1) * way).sum()
    assert (p[:, 3] - p[:, 4] + p[:, 7] - p[:, 8]).sum() - (s[:, 2] * way[s[:, 0]]).sum() == flow
    assert legs.units[legs.kind == OPEN].sum() - legs.units[legs.kind == CLOSE].sum() == s[:, 1].sum()
    assert p[:, 7].sum() == w[:, 3].sum() == s[:, 4].sum() + p[:, 6].sum() + p[:, 8].sum()
    assert (p[:, 7] >= 0).all() and (p[:, 7] <= np.maximum(p[:, 4] - p[:, 3], 0)).all()
    replaced: Counter[int] = Counter()
    for to, q in w[:, 1:3].tolist(): replaced[to] += q
    assert all(q <= legs.units[to] for to, q in replaced.items())
    assert (s[:, 1] > 0).all()

def odd(r: random.Random, size: int) -> list[dict[str, Any]]:
    "A history with amounts that divide by nothing"
    rows = history(r, size)
    for row in rows: row["amount"] = f"{row['amount'] + r.random():.2f}"
    return rows

@given(st.integers(0, 2**32), st.sampled_from(METHODS), st.sampled_from(HOLDING), st.booleans())
def test_nothing_is_lost(seed: int, method: str, holding: str, older: bool) -> None:
    check(fold(make_legs(trades(odd(random.Random(seed), 40)), sheltered=["ira"]), method, holding, older))

@given(st.integers(0, 2**32), st.sampled_from(METHODS))
def test_symbols_know_nothing_of_each_other(seed: int, method: str) -> None:
    rows = odd(random.Random(seed), 40)
    for i, row in enumerate(rows): row["order_id"] = row["order_id"] or f"r{i}" # a row without a name is named by its place
    end = (max(r["date"] for r in rows) - date(1970, 1, 1)).days
    whole = realized(fold(make_legs(trades(rows)), method), end).to_pylist()
    for symbol in {r["symbol"] for r in rows}:
        alone = realized(fold(make_legs(trades([r for r in rows if r["symbol"] == symbol])), method), end).to_pylist()
        assert alone == [r for r in whole if r["symbol"] == symbol]

@given(st.integers(0, 2**32), st.sampled_from(METHODS))
def test_splitting_a_fill_of_an_order_changes_nothing(seed: int, method: str) -> None:
    r = random.Random(seed)
    rows = odd(r, 30)
    for i, row in enumerate(rows): row["order_id"] = row["order_id"] or f"r{i}"
    cut: list[dict[str, Any]] = []
    for row in rows:
        if row["side"] in ("buy", "sell") and row["quantity"] > 1:
            n, cents = r.randint(1, row["quantity"] - 1), int(row["amount"].replace(".", ""))
            half = cents // 2
            cut += [row | dict(quantity=n, amount=f"{half / 100:.2f}"), row | dict(quantity=row["quantity"] - n,
                amount=f"{(cents - half) / 100:.2f}")]
        else: cut.append(row)
    a, b = (fold(make_legs(trades(x)), method) for x in (rows, cut))
    assert (realized(a), lots(a), wash_sales(a)) == (realized(b), lots(b), wash_sales(b))

@given(st.integers(0, 2**32))
def test_a_split_is_no_event(seed: int) -> None:
    r = random.Random(seed)
    rows = [x for x in odd(r, 30) if x["side"] != "return_of_capital"]
    for i, row in enumerate(rows): row["order_id"] = row["order_id"] or f"r{i}"
    when = r.randint(0, len(rows))
    day = rows[when]["date"] if when < len(rows) else rows[-1]["date"]
    event = dict(date=day, symbol="M", side="split", quantity="3:2", amount="", account="", order_id="")
    split = [x if i < when or x["symbol"] != "M" else x | dict(quantity=f"{x['quantity'] * 1.5:g}") for i, x in enumerate(rows)]
    a, b = fold(make_legs(trades(rows))), fold(make_legs(trades(split[:when] + [event] + split[when:])))
    money = ["sell_id", "lot_id", "proceeds", "cost_basis", "gain_loss", "disallowed_loss", "term"]
    assert realized(a).select(money) == realized(b).select(money)
    assert lots(a).select(["lot_id", "cost_basis", "deferred_loss"]) == lots(b).select(["lot_id", "cost_basis", "deferred_loss"])

@given(st.integers(0, 2**32), st.sampled_from(METHODS))
def test_the_future_changes_only_what_its_window_reaches(seed: int, method: str) -> None:
    rows = odd(random.Random(seed), 40)
    cut = len(rows) // 2
    before, after = (realized(fold(make_legs(trades(x)), method)) for x in (rows[:cut], rows))
    edge = rows[cut - 1]["date"] - timedelta(30)
    past = {(r["sell_id"], r["lot_id"], r["quantity"], r["open_date_adjusted"], r["proceeds"]) for r in before.to_pylist() if r["close_date"] < edge}
    assert past <= {(r["sell_id"], r["lot_id"], r["quantity"], r["open_date_adjusted"], r["proceeds"]) for r in after.to_pylist()}


def tables(rows: list[dict[str, Any]], method: str) -> list[list[dict[str, Any]]]:
    "What a history comes to, losses open at its own end"
    ledger = fold(make_legs(trades(rows), sheltered=["ira"]), method)
    return [t.to_pylist() for t in (realized(ledger), lots(ledger), wash_sales(ledger))]

MONEY = ("proceeds", "cost_basis", "gain_loss", "disallowed_loss", "deferred_loss")

@given(st.integers(0, 2**32), st.sampled_from(METHODS), st.integers(2, 1000))
def test_more_shares_for_the_same_cash_change_nothing_but_their_number(seed: int, method: str, k: int) -> None:
    rows = odd(random.Random(seed), 30)
    many = tables([r | dict(quantity=r["quantity"] * k) for r in rows], method)
    assert many == [[r | dict(quantity=r["quantity"] * k) for r in t] for t in tables(rows, method)]

@given(st.integers(0, 2**32), st.sampled_from(METHODS), st.integers(2, 1000))
def test_prices_times_k_are_gains_times_k(seed: int, method: str, k: int) -> None:
    rows = history(random.Random(seed), 30)
    if not divisible(rows): return # a cent is a cent at any price
    dear = tables([r | dict(amount=r["amount"] * k) for r in rows], method)
    assert dear == [[{c: x * k if c in MONEY else x for c, x in r.items()} for r in t] for t in tables(rows, method)]

@given(st.integers(0, 2**32), st.sampled_from(METHODS), st.integers(-10, 10))
def test_dates_four_years_later_are_results_four_years_later(seed: int, method: str, times: int) -> None:
    rows, by = odd(random.Random(seed), 30), timedelta(1461 * times)
    def later(r: dict[str, Any]) -> dict[str, Any]: return {c: x + by if isinstance(x, date) else x for c, x in r.items()}
    assert tables([later(r) for r in rows], method) == [[later(r) for r in t] for t in tables(rows, method)]

@given(st.integers(0, 2**32), st.sampled_from(METHODS))
def test_names_say_nothing(seed: int, method: str) -> None:
    rows, called = odd(random.Random(seed), 30), {"M": "ZZZ", "N": "K", "BTC": "A"}
    for i, r in enumerate(rows): r["order_id"] = r["order_id"] or f"r{i}"
    ids = {x: f"{99 - i:03d}" for i, x in enumerate(dict.fromkeys(r["order_id"] for r in rows))}
    def renamed(r: dict[str, Any]) -> dict[str, Any]:
        return {c: called[x] if c == "symbol" else ids[x] if c.endswith("_id") and x else x for c, x in r.items()}
    new, old = tables([renamed(r) for r in rows], method), [[renamed(r) for r in t] for t in tables(rows, method)]
    for a, b in zip(new, old): assert sorted(a, key=lambda r: r["symbol"]) == sorted(b, key=lambda r: r["symbol"])

@given(st.integers(0, 2**32), st.sampled_from(METHODS))
def test_the_order_of_the_file_counts_only_within_a_day(seed: int, method: str) -> None:
    r = random.Random(seed)
    rows = odd(r, 30)
    for i, x in enumerate(rows): x["order_id"] = x["order_id"] or f"r{i}" # a row without a name is named by its place
    days = list({x["date"] for x in rows})
    r.shuffle(days)
    assert tables([x for d in days for x in rows if x["date"] == d], method) == tables(rows, method)

@given(st.integers(0, 2**32))
def test_once_all_is_sold_every_method_has_gained_the_same(seed: int) -> None:
    rows = [r for r in odd(random.Random(seed), 30) if r["account"] != "ira" and r["side"] != "return_of_capital"]
    held: Counter[Any] = Counter()
    for r in rows: held[r["symbol"], r["account"]] += r["quantity"] * (-1 if r["side"] == "sell" else 1)
    last = max((r["date"] for r in rows), default=START) + timedelta(1)
    rows += [dict(date=last, symbol=s, account=a, side="sell", quantity=q, amount=q * 50, order_id=f"end{s}{a}",
                  asset_class="crypto" if s == "BTC" else "") for (s, a), q in held.items() if q]
    if not rows: return
    sums = {sum(r["gain_loss"] + r["disallowed_loss"] for r in tables(rows, m)[0]) for m in METHODS}
    assert len(sums) == 1

@given(st.integers(0, 2**32), st.sampled_from(METHODS), st.sampled_from(HOLDING))
def test_a_replacement_only_grows_older_and_dearer(seed: int, method: str, holding: str) -> None:
    rows = [r for r in odd(random.Random(seed), 30) if r["side"] != "return_of_capital"]
    ledger = fold(make_legs(trades(rows)), method, holding)
    t, p, s = ledger.legs.trades, ledger.pieces, ledger.slices
    assert (p[:, 5] <= t.acquired[ledger.legs.at[p[:, 1]]]).all() and (s[:, 3] <= t.acquired[ledger.legs.at[s[:, 0]]]).all()
    cost = {i: 0 for i in s[:, 0].tolist()}
    for i, _, c, _, deferred in s.tolist(): cost[i] += c - deferred
    assert all(c <= ledger.legs.cash[i] for i, c in cost.items()) and (s[:, 4] >= 0).all()

@given(st.integers(1, 10**6), st.integers(1, 60))
def test_an_oversold_history_names_the_same_row_whatever_the_scale(quantity: int, n: int) -> None:
    rows = [dict(date=START + timedelta(i), symbol="M", side="buy" if i < n else "sell", quantity=quantity, amount=1, order_id=i)
            for i in range(2 * n + 1)]
    with pytest.raises(DataError, match=f"row {2 * n + 1}, sell of M"): make_legs(trades(rows))


# ---------------------------------------------------------------- rules
@pytest.mark.parametrize("names", [("", "", ""), ("1", "2", "1")])
def test_names_that_come_again_or_are_missing_hide_no_replacement(names: tuple[str, str, str]) -> None:
    "A column of names may be empty, or count from one every day, or in every account"
    for account in ("x", "y"):
        text = "date,symbol,side,quantity,amount,order_id,account\n" + "".join(
            f"{day},M,{side},10,{amount},{name},{held}\n" for day, side, amount, name, held in (
                ("2024-01-02", "buy", 1000, names[0], "x"), ("2024-02-01", "sell", 800, names[1], "x"),
                ("2024-02-10", "buy", 900, names[2], account)))
        assert [str(r["disallowed_loss"]) for r in wash_sales(fold(make_legs(read(text)))).to_pylist()] == ["200.00"]

def test_what_multiplies_without_end_is_refused() -> None:
    text = "date,symbol,side,quantity,amount,order_id\n" + "".join(
        f"{START + timedelta(i // 2)},M,{('buy', 'sell')[i % 2]},{1000 + 37 * i % 101 - 40 * (i % 2)},{(1000 + 37 * i % 101) * (300 - i)},o{i}\n"
        for i in range(300))
    legs = make_legs(read(text))
    assert len(fold(legs).pieces) > 5000
    with pytest.raises(DataError, match=r"row \d+, sale of M on \d{4}-\d\d-\d\d cuts the lots into more than 5,000 pieces"): fold(legs, most=5000)

@given(st.dates(date(1990, 1, 1), date(2090, 1, 1)))
def test_the_first_long_term_day(opened: date) -> None:
    after = opened + timedelta(1)
    try: want = after.replace(year=after.year + 1)
    except ValueError: want = date(after.year + 1, 3, 1)
    days = long_from(np.array([(opened - date(1970, 1, 1)).days]))
    assert days[0] == (want - date(1970, 1, 1)).days

@given(st.integers(0, 10**12), st.lists(st.integers(1, 10**6), min_size=1, max_size=20))
def test_parts_add_up(whole: int, pieces: list[int]) -> None:
    left, q = whole, sum(pieces)
    for m in pieces: left, q = left - part(left, m, q), q - m
    assert left == 0

@given(st.lists(st.fractions(Fraction(1, 50), 50, max_denominator=50), max_size=6))
def test_units_are_whole_and_follow_the_splits(ratios: list[Fraction]) -> None:
    per = eras(ratios)
    assert all(isinstance(p, int) and p > 0 for p in per)
    assert all(Fraction(a, b) == r for a, b, r in zip(per, per[1:], ratios))

@pytest.mark.parametrize("text, want", [("2", 2), ("0.05", Fraction(1, 20)), ("3:2", Fraction(3, 2)), ("7/1", 7), ("0.333333", Fraction(1,
    3)), ("1.5", Fraction(3, 2))])
def test_ratios(text: str, want: Fraction) -> None: assert ratio(text) == want

BASE = [dict(date=date(2024, 1, 2), symbol="M", side="buy", quantity=10, amount=1000, order_id="one"),
        dict(date=date(2024, 2, 1), symbol="M", side="sell", quantity=4, amount=500, order_id="two")]

@pytest.mark.parametrize("row, change, says", [
    (0, dict(quantity=-10), "row 1, quantity '-10' must be above zero"), (0, dict(quantity="ten"), "row 1, quantity 'ten' is not a plain number"),
    (0, dict(quantity=0), "row 1, quantity '0' must be above zero"), (1, dict(amount=""), "row 2, amount '' is missing"),
    (1, dict(amount=-5), "row 2, amount '-5' is negative"), (1, dict(side="sold"), "row 2, side 'sold' is no side"),
    (1, dict(date="2024-02-30"), "row 2, date '2024-02-30' is not a time"), (1, dict(date=""), "row 2, date '' is missing"),
    (1, dict(symbol=""), "row 2, symbol '' is missing"), (1, dict(quantity=11), "row 2, sell of M on 2024-02-01 closes more than is held"),
    (1, dict(symbol="N"), "row 2, sell of N on 2024-02-01 closes more than is held"), (1, dict(side="cover"), "is a short sale or its cover"),
    (1, dict(side="split", quantity="0"), "row 2, quantity '0' is no ratio"), (1, dict(amount="1e3"), "row 2, amount '1e3' is not a plain number"),
    (0, dict(amount="0.0000000000001"), "has more than twelve decimals"), (0, dict(quantity="999999999999999999.5"), "too large")])
def test_bad_rows_are_refused_with_their_place(row: int, change: dict[str, Any], says: str) -> None:
    rows = [r | change if i == row else r for i, r in enumerate(BASE)]
    with pytest.raises(DataError, match=says.replace("(", r"\(")): fold(make_legs(trades(rows)))

def test_a_price_alone_is_cash_to_the_cent_half_to_even() -> None:
    text = "date,symbol,side,quantity,price\n2024-01-02,M,buy,3,0.335\n2024-01-03,M,buy,1,0.125\n2024-01-04,M,buy,1.5,0.01\n"
    kinds = pa_csv.ConvertOptions(column_types=dict.fromkeys(("date", "symbol", "side", "quantity", "price"), pa.string()))
    read = read_trades(pa_csv.read_csv(io.BytesIO(text.encode()), convert_options=kinds))
    assert read.cash.tolist() == [100, 12, 2] and read.cash_scale == 2


# ---------------------------------------------------------------- what cannot be held exactly, or is not what it seems
def read(text: str) -> Trades:
    "A CSV text, every column as text"
    kinds = pa_csv.ConvertOptions(column_types=dict.fromkeys(text.splitlines()[0].split(","), pa.string()))
    return read_trades(pa_csv.read_csv(io.BytesIO(text.encode()), convert_options=kinds))

@pytest.mark.parametrize("text, says", [
    ("date,symbol,side,quantity,amount,order_id\n" + "2024-01-02,M,buy,4000000.000000000001,1,o\n" * 3, "cannot be added up exactly"),
    ("date,symbol,side,quantity,amount,commission\n2024-01-02,M,buy,1,100000000.00,0.000000000001\n", "too large beside numbers of so many decimals"),
    ("date,symbol,side,quantity,price\n2024-01-02,M,buy,1.000000000001,1.000000000001\n", "cannot be held exactly"),
    ("timestamp,symbol,side,quantity,amount\n9999-01-02T00:00:00Z,M,buy,1,1\n", "another era"),
    ("date,symbol,side,quantity,amount,acquired\n2024-01-02,M,buy,1,1,\n2024-01-02,M,transfer_in,1,1,2025-05-05\n",
     "row 2, acquired '2025-05-05' is later"),
    ("date,symbol,side,quantity,amount\n2024-01-02,M,buy,1,1\n2024-01-03,M,split,1e3000000,\n", "is no ratio"),
    ("date,symbol,side,quantity,amount\n2024-01-02,M,return_of_capital,-1,1\n", "must be above zero"),
    ("date,symbol,side,quantity,amount\n2024-01-02,M,buy,1,1\n2024-01-03,M,split,2,\n2024-01-03,M,split,2,\n",
     "row 3, split of M on 2024-01-03 comes twice")])
def test_what_cannot_be_held_is_refused(text: str, says: str) -> None:
    with pytest.raises(DataError, match=says): fold(make_legs(read(text)))

def test_a_split_that_two_accounts_tell_of_counts_once() -> None:
    rows = "".join(f"2024-01-02,M,buy,100,1000,{a}\n" for a in "xy") + "".join(f"2024-02-01,M,split,2,,{a}\n" for a in "xy")
    ledger = fold(make_legs(read("date,symbol,side,quantity,amount,account\n" + rows + "2024-03-01,M,sell,200,1500,x\n")))
    assert [(str(r["quantity"]), r["account"]) for r in lots(ledger).to_pylist()] == [("200", "y")]

def test_symbols_to_be_treated_as_one_may_split() -> None:
    "Two shares of after the split replace one of before it, or one of the other symbol"
    text = ("date,symbol,side,quantity,amount\n2024-01-02,A,buy,10,1000\n2024-01-03,B,buy,10,1000\n2024-06-01,A,split,2,\n"
            "2024-06-03,A,buy,10,400\n2024-06-10,B,sell,10,800\n")
    ledger = fold(make_legs(read(text), identical=[["A", "B"]]))
    assert [(str(r["quantity"]), str(r["disallowed_loss"])) for r in wash_sales(ledger).to_pylist()] == [("5", "100.00")]
    assert sorted((r["symbol"], str(r["quantity"]), str(r["cost_basis"])) for r in lots(ledger).to_pylist()) == [
        ("A", "10", "500.00"), ("A", "20", "1000.00")]

def test_symbols_to_be_treated_as_one_replace_each_other() -> None:
    legs = read("date,symbol,side,quantity,amount\n2024-01-02,A,buy,10,1000\n2024-02-01,A,sell,10,800\n2024-02-02,B,buy,10,900\n")
    alone, together = fold(make_legs(legs)), fold(make_legs(legs, identical=[["A", "B"]]))
    assert [str(lots(x)["cost_basis"][0]) for x in (alone, together)] == ["900.00", "1100.00"]

def test_fills_of_one_order_may_name_their_own_lots_and_a_name_may_hold_a_colon() -> None:
    text = ("date,symbol,side,quantity,amount,order_id,lot_id\n2024-01-02,M,buy,50,500,L1,\n2024-01-03,M,buy,50,600,p:7,\n"
            "2024-06-03,M,sell,50,700,S,L1\n2024-06-03,M,sell,50,700,S,p:7\n")
    found = realized(fold(make_legs(read(text)), "specific")).to_pylist()
    assert [(r["lot_id"], str(r["gain_loss"])) for r in found] == [("L1", "200.00"), ("p:7", "100.00")]

def test_a_moment_of_purchase_is_a_day_on_the_exchange() -> None:
    text = ("timestamp,symbol,side,quantity,amount,acquired\n2024-01-02T10:00:00-05:00,M,buy,1,1,\n"
            "2024-01-03T10:00:00-05:00,M,transfer_in,1,1,2020-01-01T21:00:00-05:00\n")
    assert str(lots(fold(make_legs(read(text))))["open_date_original"][1]) == "2020-01-01"

def test_the_cost_of_getting_capital_back_lowers_it() -> None:
    text = "date,symbol,side,quantity,amount,commission\n2024-01-02,M,buy,10,1000,\n2024-02-01,M,return_of_capital,0,50,10\n"
    assert str(lots(fold(make_legs(read(text))))["cost_basis"][0]) == "960.00"
