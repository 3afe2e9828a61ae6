"Statements of every broker beside the fills they were written from: clean as they are, and each planted difference found with its type"
import dataclasses
import json
import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal as D
from functools import cache
from typing import Any

import brokers
import numpy as np
import pyarrow as pa
import pytest
from brokers import Fill
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from firebot.cli import app
from firebot.lots import make_legs, read_trades, settlement
from firebot.models import ConfigError, DataError
from firebot.reconcile import KINDS, Report, reconcile
from firebot.sources import read_csv
from firebot.statements import SCALE, amounts, read_day, read_statement
from firebot.wash_sales import fold, lots, realized

OPEN_DAYS = [d for d in (date(2024, 1, 2) + timedelta(i) for i in range(360)) if d.weekday() < 5 and d.day not in (1, 4, 15, 19, 25, 27, 28, 29)]
WRITERS = {"schwab": brokers.schwab, "fidelity": brokers.fidelity, "alpaca": brokers.alpaca, "ibkr": brokers.ibkr, "flex": brokers.flex}


def history(seed: int = 1, size: int = 60, step: int = 6) -> list[Fill]:
    "A random history of orders in one to four fills; nothing is sold that is not held"
    r, held, fills, order = random.Random(seed), Counter[str](), [], 0
    for i in range(size):
        symbol = r.choice(["AAA", "BRK.B", "CCC"])
        day = OPEN_DAYS[min(i * step // 2, len(OPEN_DAYS) - 1)]
        selling = held[symbol] > 0 and r.random() < 0.5
        order += 1
        left = r.randint(1, held[symbol]) if selling else r.randint(4, 400)
        held[symbol] += -left if selling else left
        while left:
            part = left if r.random() < 0.5 else r.randint(1, left)
            left -= part
            when = datetime(day.year, day.month, day.day, 15, r.randint(0, 59), r.randint(0, 59), tzinfo=UTC)
            price, fee = D(r.randint(2000, 3000)) / 100, D(r.randint(1, 200)) / 100
            fills.append(Fill(when, symbol, "sell" if selling else "buy", D(part), price, fee, f"o{order}"))
    return sorted(fills, key=lambda f: f.when)

@cache
def plain() -> tuple[Fill, ...]: return tuple(history())

def table(fills: list[Fill]) -> pa.Table: return read_csv(brokers.fills_csv(fills), "fills.csv")

def compare(fills: list[Fill], statement: bytes, **options: Any) -> Report:
    return reconcile(table(fills), read_statement(statement, "statement.csv"), "fills.csv", **options)

def sold(fills: list[Fill], **options: Any) -> list[dict[str, Any]]:
    "Realised rows as a broker groups them: one for each lot and term of a sale"
    rows: dict[Any, dict[str, Any]] = {}
    for r in realized(fold(make_legs(read_trades(table(fills))), **options)).to_pylist():
        key = (r["sell_id"], r["lot_id"], r["open_date_original"], r["term"])
        if key not in rows: rows[key] = r
        else:
            for k in ("quantity", "proceeds", "cost_basis", "disallowed_loss"): rows[key][k] += r[k]
    return list(rows.values())

def held(fills: list[Fill]) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for r in lots(fold(make_legs(read_trades(table(fills))))).to_pylist():
        p = rows.setdefault(r["symbol"], dict(symbol=r["symbol"], quantity=D(0), cost_basis=D(0)))
        p["quantity"] += r["quantity"]
        p["cost_basis"] += r["cost_basis"]
    return list(rows.values())


@pytest.mark.parametrize("broker", WRITERS)
def test_trades_round_trip(broker: str) -> None:
    fills = list(plain())
    report = compare(fills, WRITERS[broker](fills))
    assert report.clean, str(report)
    assert not [d for d in report.differences if d.reason != "rounding"], str(report)
    assert report.compared["trades"][0] == len(fills)

@pytest.mark.parametrize("writer", [brokers.schwab_gains, brokers.fidelity_gains, brokers.form_1099b])
def test_gains_round_trip(writer: Callable[[list[dict[str, Any]]], bytes]) -> None:
    rows = sold(list(plain()))
    assert any(r["disallowed_loss"] for r in rows), "the history should have wash sales"
    report = compare(list(plain()), writer(rows))
    assert not report.differences, str(report)
    assert report.compared["realized"][1] == len(rows)

def test_activity_statement_with_lots_and_positions() -> None:
    fills = list(plain())
    report = compare(fills, brokers.ibkr(fills, sold(fills), held(fills)))
    assert report.clean and set(report.compared) == {"trades", "realized", "positions"}, str(report)

def test_symbols_are_compared_without_punctuation() -> None:
    fills = list(plain())
    for spelling in (b"BRK B", b"BRK/B", b"BRKB"):
        assert compare(fills, brokers.schwab(fills).replace(b"BRK.B", spelling)).clean


def at_sale(fills: list[Fill]) -> int: return next(i for i, f in enumerate(fills) if f.side == "sell" and sum(g.order == f.order for g in fills) == 1)

def changed(fills: list[Fill], i: int, **new: Any) -> list[Fill]:
    return [*fills[:i], dataclasses.replace(fills[i], **new), *fills[i + 1:]]

PLANTED: dict[str, Callable[[list[Fill], int], list[Fill]]] = {
    "missing": lambda f, i: f[:i] + f[i + 1:],
    "extra": lambda f, i: [*f, dataclasses.replace(f[i], price=f[i].price + 7, quantity=D(3), order="odd")],
    "quantity": lambda f, i: changed(f, i, quantity=f[i].quantity + 1),
    "price": lambda f, i: changed(f, i, price=f[i].price + D("0.37")),
    "fee": lambda f, i: changed(f, i, fee=f[i].fee + D("0.50")),
    "date": lambda f, i: [dataclasses.replace(x, when=x.when + timedelta(days=3)) if x.order == f[i].order else x for x in f]}

@pytest.mark.parametrize("broker", WRITERS)
@pytest.mark.parametrize("kind", PLANTED)
def test_planted_difference_of_a_trade(broker: str, kind: str) -> None:
    fills = list(plain())
    i = at_sale(fills)
    report = compare(fills, WRITERS[broker](PLANTED[kind](fills, i)))
    found = report.unexplained
    spill = {"fee"} if broker == "alpaca" else set() # its fees are one sum, so a fill that is not there has its fee missing from it
    assert kind in {d.kind for d in found} <= {kind} | spill, str(report)
    assert sum(d.kind == kind for d in found) == 1, str(report)
    if kind != "fee" or broker != "alpaca": assert fills[i].symbol in {d.symbol for d in found}
    assert all(d.lines or d.kind == "missing" for d in found) and all(d.rows or d.kind in ("extra", "fee") for d in found)

GAINS: dict[str, tuple[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "price": ("proceeds", lambda r: r | dict(proceeds=r["proceeds"] + D("1.25"))),
    "basis": ("cost basis", lambda r: r | dict(cost_basis=r["cost_basis"] + D("2.50"))),
    "wash": ("disallowed loss", lambda r: r | dict(disallowed_loss=r["disallowed_loss"] + D("0.75"))),
    "term": ("held for long", lambda r: r | dict(term="long" if r["term"] == "short" else "short")),
    "quantity": ("quantity", lambda r: r | dict(quantity=r["quantity"] + 1)),
    "date": ("opened", lambda r: r | dict(open_date_original=r["open_date_original"] - timedelta(days=40)))}

@pytest.mark.parametrize("kind", GAINS)
def test_planted_difference_of_a_sale(kind: str) -> None:
    rows = sold(list(plain()))
    field, plant = GAINS[kind]
    report = compare(list(plain()), brokers.form_1099b([plant(r) if i == 4 else r for i, r in enumerate(rows)]))
    assert [(d.kind, d.field, d.symbol) for d in report.unexplained] == [(kind, field, rows[4]["symbol"])], str(report)

def test_sale_that_one_side_lacks() -> None:
    rows = sold(list(plain()))
    first = [r for r in rows if (r["symbol"], r["close_date"]) == (rows[0]["symbol"], rows[0]["close_date"])]
    short = compare(list(plain()), brokers.form_1099b([r for r in rows if r not in first]))
    assert [d.kind for d in short.unexplained] == ["missing"], str(short)
    more = compare(list(plain()), brokers.form_1099b([*rows, rows[0] | dict(close_date=date(2024, 12, 27), symbol="ZZZ")]))
    assert [(d.kind, d.symbol) for d in more.unexplained] == [("extra", "ZZZ")], str(more)

def test_planted_difference_of_a_position() -> None:
    fills = list(plain())
    for change, kind in ((dict(quantity=D(9999)), "quantity"), (dict(cost_basis=D("9.99")), "basis"), (dict(symbol="ZZZ"), "extra")):
        rows = [p | change if i == 0 else p for i, p in enumerate(held(fills))]
        assert kind in {d.kind for d in compare(fills, brokers.ibkr(fills, positions=rows)).unexplained}


def settles(day: date) -> date:
    return date(1970, 1, 1) + timedelta(int(settlement(np.array([(day - date(1970, 1, 1)).days]))[0]))

def test_settlement_dates_are_explained() -> None:
    fills = list(plain())
    report = compare(fills, brokers.schwab([dataclasses.replace(f, when=f.when + (settles(f.when.date()) - f.when.date())) for f in fills]))
    assert report.clean and {d.reason for d in report.differences if d.kind == "date"} == {"settlement date"}, str(report)
    report = compare(fills, brokers.form_1099b([r | dict(close_date=settles(r["close_date"])) for r in sold(fills)]))
    assert report.clean and {d.reason for d in report.differences} == {"settlement date"}, str(report)

def test_days_in_another_zone_are_explained() -> None:
    late = [dataclasses.replace(f, when=f.when.replace(hour=1) + timedelta(days=1)) for f in plain()] # eight in the evening in New York
    utc = [dataclasses.replace(f, when=f.when.replace(hour=15)) for f in late]
    report = compare(late, brokers.fidelity(utc))
    assert report.clean and {d.reason for d in report.differences} == {"date in UTC"}, str(report)

def test_fee_in_the_price_is_explained() -> None:
    fills = list(plain())
    inside = [dataclasses.replace(f, price=(abs(f.net) / f.quantity).quantize(D("0.000001")), fee=D(0)) for f in fills]
    report = compare(fills, brokers.fidelity(inside))
    assert report.clean and Counter(d.reason for d in report.differences)["fee in the price"] > len(fills) // 2, str(report)

def test_other_lots_are_told_as_such() -> None:
    fills = list(plain())
    report = compare(fills, brokers.form_1099b(sold(fills, method="lifo")))
    assert not report.clean and ("date", "opened") in {(d.kind, d.field) for d in report.unexplained}
    assert compare(fills, brokers.form_1099b(sold(fills, method="lifo")), method="lifo").clean

def test_split_restated_by_the_broker_is_explained() -> None:
    ours = (b"date,symbol,side,quantity,price,commission\n2024-02-01,AAA,buy,100,40.00,1.00\n2024-03-01,AAA,split,2,,\n"
            b"2024-04-01,AAA,sell,50,21.00,1.00\n")
    theirs = (b'"Date","Action","Symbol","Description","Quantity","Price","Fees & Comm","Amount"\n'
              b'"04/01/2024","Sell","AAA","AAA INC","50","$21.00","$1.00","$1,049.00"\n"03/01/2024","Stock Split","AAA","AAA INC","100","","",""\n'
              b'"02/01/2024","Buy","AAA","AAA INC","200","$20.00","$1.00","-$4,001.00"\n')
    report = reconcile(read_csv(ours, "fills.csv"), read_statement(theirs, "schwab.csv"))
    assert report.clean and [d.reason for d in report.differences] == ["restated for a later split"], str(report)

def test_purchase_in_another_account_explains_a_wash_sale() -> None:
    ours = (b"date,symbol,side,quantity,price,account\n2024-02-01,AAA,buy,100,40.00,one\n2024-03-01,AAA,sell,100,30.00,one\n"
            b"2024-03-05,AAA,buy,100,31.00,two\n")
    form = (b"Symbol,Quantity,Date Acquired,Date Sold,Proceeds,Cost Basis,Wash Sale Loss Disallowed,Term\n"
            b"AAA,100,02/01/2024,03/01/2024,3000,4000,0,Short\n")
    report = reconcile(read_csv(ours, "fills.csv"), read_statement(form, "1099.csv"), account="one")
    assert [(d.kind, d.reason) for d in report.differences] == [("wash", "replaced in another account")], str(report)
    same = reconcile(read_csv(ours.replace(b"two", b"one"), "fills.csv"), read_statement(form, "1099.csv"))
    assert [(d.kind, d.explained) for d in same.differences] == [("wash", False)], str(same)
    with pytest.raises(ConfigError, match="--account is 'three'.*'one', 'two'"):
        reconcile(read_csv(ours, "fills.csv"), read_statement(form, "1099.csv"), account="three")

def test_only_the_year_asked_for() -> None:
    fills = [dataclasses.replace(f, when=f.when.replace(year=2023)) for f in history(2, 8)] + history(3, 20)
    this = [f for f in fills if f.when.year == 2024]
    assert not compare(fills, brokers.fidelity(this)).clean
    assert compare(fills, brokers.fidelity(this), year=2024).clean
    covered = brokers.schwab(this).replace(b"as of 12/31/2024", b"from 01/01/2024 to 12/31/2024 as of 12/31/2024")
    assert compare(fills, covered).clean

def test_a_row_may_join_fills_of_several_orders() -> None:
    fills = [f for f in plain() if f.symbol == "AAA"]
    for rest in (2, 3): # the broker joins every second or third pair of neighbours of one day and side
        joined = [dataclasses.replace(f, order=f"j{f.local.date()}{f.side}") if i % rest else f for i, f in enumerate(fills)]
        report = compare(fills, brokers.schwab(joined))
        assert report.clean, str(report)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), broker=st.sampled_from(sorted(WRITERS)), kind=st.sampled_from(sorted(PLANTED)), at=st.integers(0, 10**6))
def test_any_history_is_clean_and_no_change_goes_unseen(seed: int, broker: str, kind: str, at: int) -> None:
    fills = history(seed, 24)
    clean = compare(fills, WRITERS[broker](fills))
    assert clean.clean, str(clean)
    i = at % len(fills)
    report = compare(fills, WRITERS[broker](PLANTED[kind](fills, i)))
    assert not report.clean and all(d.kind in KINDS for d in report.differences), f"{kind} at {i}: {report}"
    r = random.Random(seed)
    mixed = fills[:]
    r.shuffle(mixed)
    if broker != "alpaca": # whose order of rows is its order of time
        again = compare(fills, WRITERS[broker](sorted(mixed, key=lambda f: f.local.date())))
        assert again.clean, str(again)

@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(sorted(GAINS)), at=st.integers(0, 10**6))
def test_no_change_of_a_sale_goes_unseen(seed: int, kind: str, at: int) -> None:
    fills = history(seed, 24)
    rows = sold(fills)
    assert not compare(fills, brokers.form_1099b(rows)).differences
    if not rows: return
    i = at % len(rows)
    report = compare(fills, brokers.form_1099b([GAINS[kind][1](r) if j == i else r for j, r in enumerate(rows)]))
    assert not report.clean, f"{kind} at {i}: {report}"

def test_the_same_every_time() -> None:
    fills = list(plain())
    wrong = brokers.ibkr(PLANTED["price"](fills, 3), sold(fills, method="hifo"), held(fills))
    first, second = (compare(fills, wrong).json() for _ in range(2))
    assert first == second and json.loads(first)["unexplained"] > 0


SCHWAB = '''"Date","Action","Symbol","Description","Quantity","Price","Fees & Comm","Amount"
"03/28/2024","Buy","IBM","IBM INC","{0}","{1}","$1.00","{2}"
'''
ALPACA = "id,activity_type,transaction_time,type,price,qty,side,symbol\n"
BROKEN = [
    (SCHWAB.format("12O", "$1.00", "-$1.00"), r"line 2, Quantity '12O' is no amount that can be held; write it as"),
    (SCHWAB.format("1,20", "$1.00", "-$1.00"), r"line 2, Quantity '1,20' is no amount"),
    (SCHWAB.format("", "$1.00", "-$1.00"), r"line 2, Quantity '' is missing"),
    (SCHWAB.format("1", "$1.00", "-$99,999,999,999,999.00"), r"line 2, Amount .* is no amount that can be held"),
    (SCHWAB.format("1", "$1.00", "-$1.00").replace("03/28/2024", "28/03/2024"), r"line 2, Date '28/03/2024' is no day; write it as 2024-03-28"),
    (SCHWAB.format("1", "$1.00", "-$1.00").replace('"Amount"', '"Amount","Colour"').replace('-$1.00"', '-$1.00","red"'),
     r"line 1, column 'Colour' is not known in a table of schwab transactions; remove it, or say with --passing"),
    (SCHWAB.format("1", "$1.00", "-$1.00").replace(',"$1.00","-$1.00"', ""), r"line 2 has 6 cells and its header has 8"),
    (SCHWAB.format("1", "$1.00", "-$1.00").replace("Buy", "Teleport"), r"line 2, Action 'Teleport' moves shares in a way that is not known"),
    (SCHWAB.format("1", "$1.00", "-$1.00").replace('"Price"', '"Amount ($)"'), r"no header of a broker statement is known here"),
    ("date,symbol\n2024-01-02,IBM\n", r"no header of a broker statement is known here; line 1 is the widest"),
    ("", r"is empty"), ("PK\x03\x04", r"a zip archive or a spreadsheet"),
    ('"Date","Action"\n"03/28/2024","Bu', r"cannot be read as CSV"),
    ("Trades,Header,DataDiscriminator,Asset Category,Currency,Symbol,Date/Time,Quantity,T. Price,Proceeds,Comm/Fee,Code\n"
     'Trades,Data,Order,Stocks,EUR,SAP,"2024-03-01, 09:00:00",1,1,-1,-1,O\n', r"line 2, Currency 'EUR' is not USD"),
    ("Trades,Header,DataDiscriminator,Asset Category,Currency,Symbol,Date/Time,Quantity,T. Price,Proceeds,Comm/Fee,Code\n"
     'Trades,Data,Guess,Stocks,USD,SAP,"2024-03-01, 09:00:00",1,1,-1,-1,O\n', r"line 2, DataDiscriminator 'Guess' is no level of detail"),
    ("Trades,Header,Asset Category,Symbol,Date/Time,Quantity\nTrades,Datum,Stocks,IBM,2024-03-01,1\n", r"line 2 is 'Trades, Datum"),
    ("Trades,Data,Order,Stocks,USD,IBM,2024-03-01,1\n", r"section 'Trades' has no header above it"),
    (ALPACA + "1,FILL,yesterday,fill,1,1,buy,IBM\n", r"line 2, transaction_time 'yesterday' is no time"),
    (ALPACA + "1,FILL,2024-03-01T15:00:00Z,fill,1,1,bye,IBM\n", r"line 2, side 'bye' is no side"),
    ("Date Sold,Proceeds,Cost Basis,Quantity,Description\n03/01/2024,1,1,1,shares of something\n",
     r"symbol '' is missing; say --name 'shares of something=SYMBOL' or add a column Symbol"),
    ("Symbol,Date Sold,Proceeds,Cost Basis,Quantity,Term\nIBM,03/01/2024,1,1,1,middling\n",
     r"line 2, Term 'middling' is no term; write long or short")]

@pytest.mark.parametrize("text, says", BROKEN, ids=range(len(BROKEN)))
def test_broken_files_are_refused_by_name(text: str, says: str) -> None:
    with pytest.raises(DataError, match=r"broken\.csv.*" + says): read_statement(text.encode(), "broken.csv")

def test_unknown_column_may_be_passed_over() -> None:
    text = SCHWAB.format("1", "$1.00", "-$1.00").replace('"Amount"', '"Amount","Colour"').replace('-$1.00"', '-$1.00","red"')
    assert len(read_statement(text.encode(), "x.csv", passing=["colour"]).trades or []) == 1

def test_a_format_may_be_forced() -> None:
    text = SCHWAB.format("1", "$1.00", "-$1.00").encode()
    assert read_statement(text, "x.csv", broker="schwab").format == "schwab transactions"
    with pytest.raises(DataError, match="no header of a ibkr statement"): read_statement(text, "x.csv", broker="ibkr")
    with pytest.raises(ConfigError, match="--broker is 'etrade'; choose one of ibkr, alpaca"): read_statement(text, "x.csv", broker="etrade")

def test_passed_over_knowingly_and_counted() -> None:
    said = {b: read_statement(w(list(plain())), b).ignored for b, w in WRITERS.items()}
    assert said["schwab"] == {"qualified dividend": 1, "totals": 1}
    assert said["fidelity"] == {"money market": 1}
    assert said["alpaca"] == {"DIV": 1}
    assert said["ibkr"]["Dividends"] == 1 and said["ibkr"]["order"] > 0

def test_schwab_without_lots_and_with_older_columns() -> None:
    for head, row in (
        ('"Symbol","Name","Closed Date","Quantity","Closing Price","Cost Basis Method","Proceeds","Cost Basis (CB)","Total Gain/Loss ($)",'
         '"Total Gain/Loss (%)","Long Term (LT) Gain/Loss ($)","Long Term (LT) Gain/Loss (%)","Short Term (ST) Gain/Loss ($)",'
         '"Short Term (ST) Gain/Loss (%)","Wash Sale?","Disallowed Loss"',
         '"AAA","AAA INC","03/15/2024","100","$32.00","FIFO","$3,200.00","$4,000.00","-$800.00","-20%","--","--","-$800.00","-20%","No",""'),
        ('"Symbol","Name","Closed Date","Quantity","Proceeds","CostBasis","Total Gain/Loss ($)","Wash Sale?","Disallowed Loss"',
         '"AAA","AAA INC","03/15/2024","100","$3,200.00","$4,000.00","-$800.00","No","--"')):
        ours = b"date,symbol,side,quantity,price\n2024-02-01,AAA,buy,60,40.00\n2024-02-02,AAA,buy,40,40.00\n2024-03-15,AAA,sell,100,32.00\n"
        text = f'"Realized Gain/Loss for ...482 for 01/01/2024 to 12/31/2024 as of Sat Mar 14"\n{head}\n{row}\n'
        report = reconcile(read_csv(ours, "fills.csv"), read_statement(text.encode(), "s.csv"))
        assert not report.differences, str(report)

def test_wash_sale_marked_in_a_fidelity_date() -> None:
    text = ("Symbol(CUSIP),Security Description,Quantity,Date Acquired,Date Sold,Proceeds,Cost Basis,Short Term Gain/Loss,Long Term Gain/Loss\n"
            'AAA(009066101),AAA INC,100,02/01/2024,03/15/2024 Wash Sale,"$3,200.00 ","$4,000.00 ",($800.00),-\n')
    rows = read_statement(text.encode(), "f.csv").realized
    assert rows is not None and rows["wash"].to_pylist() == [D(800)] and rows["closed"].to_pylist() == [date(2024, 3, 15)]


WRITTEN = [("1234.56", "1234.56"), ("$1,234.56", "1234.56"), ("-$1.00", "-1"), ("$-1.00", "-1"), ("($1.00)", "-1"), ("$(20001.00)", "-20001"),
           ("(1,234,567.125)", "-1234567.125"), ("+5", "5"), (".5", "0.5"), ("1E-05", "0.00001"), ("-1.014569", "-1.014569"),
           (" 7 ", "7"), ("3 USD", "3")]

def test_numbers_as_brokers_write_them() -> None:
    value, bad = amounts(pa.array([w for w, _ in WRITTEN]))
    assert not bad.any()
    assert [D(int(v)).scaleb(-SCALE) for v in value] == [D(x) for _, x in WRITTEN]
    assert amounts(pa.array(["1,20", "1.2.3", "(1", "abc", "--5", "1,234,56", "12,34", "$"]))[1].all()

@given(st.decimals(min_value=-10**9, max_value=10**9, places=2), st.sampled_from(["plain", "dollars", "bracket"]))
def test_numbers_survive_their_dress(x: D, dress: str) -> None:
    text = {"plain": f"{x:f}", "dollars": brokers.dollars(x), "bracket": f"(${-x:,.2f})" if x < 0 else f"{x:,.2f}"}[dress]
    value, bad = amounts(pa.array([text]))
    assert not bad[0] and D(int(value[0])).scaleb(-SCALE) == x

def test_days_as_brokers_write_them() -> None:
    for text in ("2024-03-08", "20240308", "03/08/2024", "3/8/2024", "03-08-2024", "3/8/24", "Mar-08-2024", "March 8, 2024"):
        assert read_day(text) == date(2024, 3, 8)
    assert [read_day(t) for t in ("2024-13-01", "31/12/2024", "soon", "2024-02-30")] == [None] * 4

def test_settlement_around_holidays_and_changes_of_the_rule() -> None:
    cases = {"2017-09-01": "2017-09-07", "2017-09-05": "2017-09-07", "2024-05-24": "2024-05-29", "2024-05-28": "2024-05-29",
             "2024-07-03": "2024-07-05", "2012-10-26": "2012-11-02", "2024-12-24": "2024-12-26",
             "2024-10-11": "2024-10-15", "2024-10-14": "2024-10-15",
             "2023-11-10": "2023-11-14", "2018-11-09": "2018-11-14"} # 2012: two days closed by a storm
    for traded, settles in cases.items():
        assert str(settlement(np.array([np.datetime64(traded).astype(np.int64)])).astype("datetime64[D]")[0]) == settles


def test_command_line(tmp_path: Any) -> None:
    fills = list(plain())
    (tmp_path / "fills.csv").write_bytes(brokers.fills_csv(fills))
    (tmp_path / "good.csv").write_bytes(brokers.schwab(fills))
    (tmp_path / "bad.csv").write_bytes(brokers.schwab(fills[1:]))
    def run(*args: str) -> Any: return CliRunner().invoke(app, ["reconcile", str(tmp_path / "fills.csv"), *args])
    good, bad = run(str(tmp_path / "good.csv")), run(str(tmp_path / "bad.csv"), "--json", "--year", "2024", "--broker", "schwab")
    assert good.exit_code == 0 and "fills.csv beside good.csv (schwab transactions)" in good.stdout
    said = json.loads(bad.stdout)
    assert bad.exit_code == 1 and said["unexplained"] == 1 and said["differences"][0]["kind"] in ("missing", "quantity")

def test_a_run_folder_stands_for_its_fills(tmp_path: Any) -> None:
    fills = list(plain())
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "fills.csv").write_bytes(brokers.fills_csv(fills))
    (tmp_path / "good.csv").write_bytes(brokers.schwab(fills))
    said = CliRunner().invoke(app, ["reconcile", str(tmp_path / "run"), str(tmp_path / "good.csv")])
    assert said.exit_code == 0 and "fills.csv beside good.csv" in said.stdout, said.output

ACTIVITY = ("Trades,Header,DataDiscriminator,Asset Category,Currency,Symbol,Date/Time,Quantity,T. Price,Proceeds,Comm/Fee,Basis,Realized P/L,Code\n")
OURS = b"date,symbol,side,quantity,price,commission\n2024-02-01,AAA,buy,100,40.00,1.00\n2024-03-01,AAA,sell,100,42.00,1.00\n"

def test_a_cancelled_sale_takes_its_lots_with_it() -> None:
    "A sale booked, cancelled by the quantity reversed and the code Ca, and booked again: one sale is left, and its lot"
    sale, lot = ('Trades,Data,Trade,Stocks,USD,AAA,"2024-03-01, 10:00:00",-100,42,4200,-1,-4001,198,C\n',
                 "Trades,Data,ClosedLot,Stocks,USD,AAA,2024-02-01,100,40.01,,,4001,198,ST\n")
    text = (ACTIVITY + 'Trades,Data,Trade,Stocks,USD,AAA,"2024-02-01, 10:00:00",100,40,-4000,-1,4001,0,O\n' + sale + lot
            + 'Trades,Data,Trade,Stocks,USD,AAA,"2024-03-01, 10:00:00",100,42,-4200,1,4001,-198,Ca\n' + sale + lot)
    said = read_statement(text.encode(), "a.csv")
    assert said.trades is not None and said.realized is not None and (len(said.trades), len(said.realized)) == (2, 1)
    assert said.ignored["cancelled"] == 2
    report = reconcile(read_csv(OURS, "fills.csv"), said)
    assert not report.differences, str(report)

def test_one_row_may_close_and_open() -> None:
    "With the lots that it closed the gain is known; without them one basis stands for two things, and gains are not compared"
    ours = b"date,symbol,side,quantity,price,commission\n2024-02-01,AAA,buy,100,40.00,1.00\n2024-03-01,AAA,sell,150,42.00,0.00\n"
    head = ACTIVITY + 'Trades,Data,Trade,Stocks,USD,AAA,"2024-02-01, 10:00:00",100,40,-4000,-1,4001,0,O\n'
    both = 'Trades,Data,Trade,Stocks,USD,AAA,"2024-03-01, 10:00:00",-150,42,6300,0,-6101,199,C;O\n'
    for below in ("", "Trades,Data,ClosedLot,Stocks,USD,AAA,2024-02-01,100,40.01,,,4001,199,ST\n"):
        said = read_statement((head + both + below).encode(), "a.csv")
        assert (said.realized is None) == (not below) and any("close and open" in k for k in said.ignored) == (not below)
        report = reconcile(read_csv(ours, "fills.csv"), said, allow_short=True)
        assert not report.differences, str(report)

@pytest.mark.slow
def test_a_hundred_thousand_trades() -> None:
    "Work grows with the number of rows: no step of the matching is left with more than a handful of rows to compare by hand"
    fills = [dataclasses.replace(f, order=f"{k}-{f.order}", symbol=f"S{k}{f.symbol}") for k in range(1000) for f in plain()[:100]]
    report = compare(sorted(fills, key=lambda f: f.when), brokers.flex(fills))
    assert report.clean and report.compared["trades"] == (len(fills), len(fills))
