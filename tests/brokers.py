"Brokers' statements as the brokers write them, from fills and a folded history: invented data, real forms"
import csv
import io
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal as D
from typing import Any
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
CENT = D("0.01")


@dataclass(frozen=True)
class Fill:
    "One fill, as fills.csv has it"
    when: datetime # Aware
    symbol: str
    side: str
    quantity: D
    price: D
    fee: D
    order: str

    @property
    def amount(self) -> D: return (self.quantity * self.price).quantize(CENT)
    @property
    def way(self) -> int: return 1 if self.side in ("buy", "cover") else -1
    @property
    def net(self) -> D: return -self.way * self.amount - self.fee
    @property
    def local(self) -> datetime: return self.when.astimezone(NEW_YORK)


def write(rows: list[list[Any]], quote: bool = False) -> bytes:
    "Rows as CSV"
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL if quote else csv.QUOTE_MINIMAL, lineterminator="\n").writerows(rows)
    return out.getvalue().encode()

def fills_csv(fills: list[Fill]) -> bytes:
    "Our side"
    head = ["fill_id", "order_id", "timestamp", "symbol", "side", "quantity", "price", "amount", "commission"]
    return write([head, *([f"f{i}", f.order, f.when.isoformat(), f.symbol, f.side, f.quantity, f.price, f.amount, f.fee]
                          for i, f in enumerate(fills))])

def orders(fills: list[Fill]) -> list[list[Fill]]:
    "Fills of one order together"
    found: dict[str, list[Fill]] = defaultdict(list)
    for f in fills: found[f.order].append(f)
    return list(found.values())

def dollars(x: D) -> str: return f"-${-x:,.2f}" if x < 0 else f"${x:,.2f}"

def average(fills: list[Fill]) -> D:
    "Price of an order, to four decimals"
    return (sum((f.quantity * f.price for f in fills), D(0)) / sum((f.quantity for f in fills), D(0))).quantize(D("0.0001")).normalize()


def schwab(fills: list[Fill]) -> bytes:
    "Transactions: an order is a row, newest first, a title and a total"
    words = {"buy": "Buy", "sell": "Sell", "short": "Sell Short", "cover": "Buy to Cover"}
    rows = [[f"{o[0].local:%m/%d/%Y}", words[o[0].side], o[0].symbol, f"{o[0].symbol} INC", f"{sum(f.quantity for f in o):,f}",
             f"${average(o):f}", dollars(sum((f.fee for f in o), D(0))), dollars(sum((f.net for f in o), D(0)))] for o in orders(fills)]
    title = ["Transactions  for account XXXX-1234 as of 12/31/2024 21:16:49 ET"]
    dividend = ["12/16/2024 as of 12/13/2024", "Qualified Dividend", "AAA", "AAA INC", "", "", "", "$12.40"]
    return write([title, ["Date", "Action", "Symbol", "Description", "Quantity", "Price", "Fees & Comm", "Amount"], *rows[::-1], dividend,
                  ["Transactions Total", "", "", "", "", "", "", "$1.00"]], quote=True)

def fidelity(fills: list[Fill]) -> bytes:
    "History: a fill is a row, blank lines above, a disclaimer below, a mark before the bytes"
    words = {"buy": "YOU BOUGHT", "sell": "YOU SOLD", "short": "YOU SOLD SHORT SALE", "cover": "YOU BOUGHT SHORT COVER"}
    rows = [[f" {f.local:%m/%d/%Y}", f" {words[f.side]} {f.symbol} INC COM ({f.symbol}) (Cash)", f" {f.symbol}", f"{f.symbol} INC COM", "Cash",
             f.way * f.quantity, f.price, "", f.fee, "", f.net, ""] for f in fills]
    head = "Run Date,Action,Symbol,Description,Type,Quantity,Price ($),Commission ($),Fees ($),Accrued Interest ($),Amount ($),Settlement Date"
    core = [" 01/02/2024", " REINVESTMENT FIDELITY GOVERNMENT MONEY MARKET (SPAXX) (Cash)", " SPAXX", "FIDELITY GOVERNMENT MONEY MARKET", "Cash",
            "5.42", "1", "", "", "", "-5.42", ""]
    tail = '\n\n"The data and information in this spreadsheet is provided to you solely for your use."\nDate downloaded 01/05/2025 5:31 pm\n'
    return b"\xef\xbb\xbf\n\n" + write([head.split(","), *rows[::-1], core]) + tail.encode()

def alpaca(fills: list[Fill]) -> bytes:
    "Activities: fills in UTC, fees as rows of their own"
    side = {"buy": "buy", "sell": "sell", "short": "sell_short", "cover": "buy"}
    head = "id,activity_type,transaction_time,type,price,qty,side,symbol,leaves_qty,order_id,cum_qty,order_status,date,net_amount,description"
    rows = [[f"2024::{i}", "FILL", f"{f.when.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z", "fill", f.price, f.quantity, side[f.side], f.symbol, 0,
             f"a-{f.order}", f.quantity, "filled", "", "", ""] for i, f in enumerate(fills)]
    fee = ["fee::1", "FEE", "", "", "", "", "", "", "", "", "", "", "2024-12-31", -sum((f.fee for f in fills), D(0)), "TAF fee"]
    return write([head.split(","), *rows, fee, ["d::1", "DIV", *[""] * 5, "AAA", *[""] * 4, "2024-06-14", "12.40", ""]])

def ibkr_sign(f: Fill) -> D: return f.way * f.quantity

def ibkr(fills: list[Fill], realized: list[dict[str, Any]] = [], positions: list[dict[str, Any]] = []) -> bytes: # noqa: B006
    "Activity statement: orders and trades, closed lots below their sale, subtotals, a header that comes again, other sections"
    head = ("Trades,Header,DataDiscriminator,Asset Category,Currency,Symbol,Date/Time,Quantity,T. Price,C. Price,Proceeds,Comm/Fee,Basis,"
            "Realized P/L,MTM P/L,Code").split(",")
    rows: list[list[Any]] = [["Statement", "Header", "Field Name", "Field Value"], ["Statement", "Data", "BrokerName", "Interactive Brokers LLC"]]
    lots: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for r in realized: lots[r["sell_id"]].append(r)
    for symbol in sorted({f.symbol for f in fills}):
        rows.append(head)
        for o in orders([f for f in fills if f.symbol == symbol]):
            for level, part in (("Order", [o]), ("Trade", [[f] for f in o])):
                for p in part:
                    quantity = sum((ibkr_sign(f) for f in p), D(0))
                    amount, fee = sum((-f.way * f.amount for f in p), D(0)), -sum((f.fee for f in p), D(0))
                    rows.append(["Trades", "Data", level, "Stocks", "USD", symbol, f"{p[0].local:%Y-%m-%d, %H:%M:%S}", f"{quantity:,f}",
                                 average(p), "1", f"{amount:,f}", fee, "", "", "0", "O" if p[0].way > 0 else "C"])
            for lot in lots.get(o[0].order, []):
                gain = lot["proceeds"] - lot["cost_basis"]
                rows.append(["Trades", "Data", "ClosedLot", "Stocks", "USD", symbol, str(lot["open_date_original"]), lot["quantity"], "1", "", "", "",
                             lot["cost_basis"], gain, "", "LT" if lot["term"] == "long" else "ST"])
        rows.append(["Trades", "SubTotal", "", "Stocks", "USD", symbol, "", "0", "", "", "1", "2", "3", "4", "5", ""])
    rows.append("Trades,Header,DataDiscriminator,Asset Category,Currency,Symbol,Date/Time,Quantity,T. Price,,Proceeds,Comm in USD,,,"
                "MTM in USD,Code".split(","))
    rows.append(["Trades", "Data", "Order", "Forex", "EUR", "EUR.USD", "2024-02-01, 12:00:00", "-1,000", "1.08", "", "1080", "-2", "", "", "0", ""])
    rows += [["Dividends", "Header", "Currency", "Date", "Description", "Amount"],
             ["Dividends", "Data", "USD", "2024-03-11", "AAA Cash Dividend", "166"], ["Dividends", "Data", "Total", "", "", "166"]]
    if positions:
        rows.append("Open Positions,Header,DataDiscriminator,Asset Category,Currency,Symbol,Quantity,Mult,Cost Price,Cost Basis,Close Price,Value,"
                    "Unrealized P/L,Code".split(","))
        for p in positions:
            for level in ("Summary", "Lot"):
                rows.append(["Open Positions", "Data", level, "Stocks", "USD", p["symbol"], p["quantity"], "1", "1", p["cost_basis"],
                             "1", "1", "1", ""])
    return write(rows)

def flex(fills: list[Fill]) -> bytes:
    "Flex query with control lines, executions only"
    head = ("ClientAccountID,AccountAlias,CurrencyPrimary,FXRateToBase,AssetClass,Symbol,Description,Conid,TradeID,DateTime,TradeDate,"
            "SettleDateTarget,Quantity,TradePrice,TradeMoney,Proceeds,Taxes,IBCommission,IBCommissionCurrency,NetCash,Open/CloseIndicator,Notes/Codes,CostBasis,"
            "FifoPnlRealized,Buy/Sell,IBOrderID,LevelOfDetail").split(",")
    rows = [["U1234567", "", "USD", "1", "STK", f.symbol, f"{f.symbol} INC", "1", f"t{i}", f"{f.local:%Y%m%d;%H%M%S}", f"{f.local:%Y%m%d}", "",
             ibkr_sign(f), f.price, f.way * f.amount, -f.way * f.amount, "0", -f.fee, "USD", f.net, "O", "", "", "",
             "BUY" if f.way > 0 else "SELL", f.order, "EXECUTION"] for i, f in enumerate(fills)]
    return write([["BOF", "U1234567", "trades", "1"], ["BOA", "U1234567"], ["BOS", "TRNT", "Trades; trade date basis"], head, *rows,
                  ["EOS", "TRNT"], ["EOA", "U1234567"], ["EOF"]], quote=True)


def schwab_gains(rows: list[dict[str, Any]]) -> bytes:
    "Realised gains, lot details"
    head = ("Symbol,Name,Closed Date,Opened Date,Quantity,Proceeds Per Share,Cost Per Share,Proceeds,Cost Basis (CB),Gain/Loss ($),Gain/Loss (%),"
            "Long Term Gain/Loss,Short Term Gain/Loss,Term,Unadjusted Cost Basis,Wash Sale?,Disallowed Loss,Transaction Closed Date,"
            "Transaction Cost Basis,Total Transaction Gain/Loss ($)").split(",")
    out = []
    for r in rows:
        gain, long = r["proceeds"] - r["cost_basis"], r["term"] == "long"
        out.append([r["symbol"], f"{r['symbol']} INC", f"{r['close_date']:%m/%d/%Y}", f"{r['open_date_original']:%m/%d/%Y}", r["quantity"],
                    "$1.00", "$1.00", dollars(r["proceeds"]), dollars(r["cost_basis"]), dollars(gain), "1.5%",
                    dollars(gain) if long else "", "" if long else dollars(gain),
                    "Long Term" if long else "Short Term", dollars(r["cost_basis"]), "Yes" if r["disallowed_loss"] else "No",
                    dollars(-r["disallowed_loss"]) if r["disallowed_loss"] else "", f"{r['close_date']:%m/%d/%Y}", "", ""])
    title = ["Realized Gain/Loss - Lot Details for ...482 as of Sat Mar 14  09:23:17 EDT 2026", *[""] * (len(head) - 1)]
    return write([title, head, *out, ["Total", *[""] * (len(head) - 1)]], quote=True)

def fidelity_gains(rows: list[dict[str, Any]]) -> bytes:
    "Closed positions"
    def bracket(x: D) -> str: return f"(${-x:,.2f})" if x < 0 else f"${x:,.2f} "
    out = []
    for r in rows:
        gain, long = bracket(r["proceeds"] - r["cost_basis"]), r["term"] == "long"
        out.append([f"{r['symbol']}(009066101)", f"{r['symbol']} INC COM", r["quantity"], f"{r['open_date_original']:%m/%d/%Y}",
                    f"{r['close_date']:%m/%d/%Y}",
                    f"${r['proceeds']} ", f"${r['cost_basis']} ", "-" if long else gain, gain if long else "-"])
    head = "Symbol(CUSIP),Security Description,Quantity,Date Acquired,Date Sold,Proceeds,Cost Basis,Short Term Gain/Loss,Long Term Gain/Loss"
    return write([head.split(","), *out])

def form_1099b(rows: list[dict[str, Any]]) -> bytes:
    "The boxes of Form 1099-B"
    head = ("1a Description,1b Date Acquired,1c Date Sold,1d Proceeds,1e Cost or Other Basis,1f Accrued Market Discount,"
            "1g Wash Sale Loss Disallowed,Term")
    return write([head.split(","), *([f"{r['quantity']} sh. {r['symbol']}", f"{r['open_date_original']:%m/%d/%Y}", f"{r['close_date']:%m/%d/%Y}",
                                      f"${r['proceeds']:,.2f}", f"${r['cost_basis']:,.2f}", "$0.00", f"${r['disallowed_loss']:,.2f}",
                                      r["term"].title()] for r in rows)])
