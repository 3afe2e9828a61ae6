"Forms that brokers' exports really have, as public samples of them show: every sample here is invented, its shape is not"
from collections.abc import Sequence
from datetime import date
from decimal import Decimal as D
from typing import Any

import pytest

from firebot.models import DataError
from firebot.statements import Statement, read_day, read_statement


def read(text: str | bytes, **options: Any) -> Statement:
    return read_statement(text if isinstance(text, bytes) else text.encode(), "statement.csv", **options)

def trades(said: Statement, *columns: str) -> list[tuple[Any, ...]]:
    assert said.trades is not None
    return rows(said.trades, columns or ("day", "symbol", "side", "quantity", "price", "fee", "net"))

def rows(table: Any, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    return list(zip(*(table[c].to_pylist() for c in columns)))


SCHWAB = '''"Transactions  for account Investing ...482 as of 05/03/2024 02:21:05 PM ET"
"Date","Action","Symbol","Description","Quantity","Price","Fees & Comm","Amount"
"04/30/2024","Sell to Open","IBM 06/21/2024 190.00 C","CALL INTL BUSINESS","1","$3.00","$0.65","$299.35"
"04/29/2024","Buy","SWVXX","SCHWAB VALUE ADVANTAGE MONEY INV","5,000","$1.00","","-$5,000.00"
"04/26/2024 as of 04/25/2024","Stock Split","NVDA","NVIDIA CORP","90","","",""
"04/18/2024","Sell","IBM","INTL BUSINESS","10.065","$183.4049","$0.01","$1845.96"
"04/17/2024 as of 04/15/2024","Bank Interest","","BANK INT 031624-041524 SCHWAB BANK","","","","$0.03"
"04/12/2024","Cancel Buy","MSFT","MICROSOFT CORP","5","$421.10","","$2105.50"
"04/12/2024","Buy","MSFT","MICROSOFT CORP","5","$421.10","","-$2105.50"
"04/10/2024","Reinvest Shares","IBM","INTL BUSINESS","0.0249","$187.10","","-$4.66"
"04/10/2024","Stock Div Dist","AMC","AMC ENTERTAINMENT","4","","",""
"04/09/2024","ADR Mgmt Fee","IBN","ICICI BANK LTD","","","","-$0.50"
"Transactions Total","","","","","","","-$1,574.04",
'''

def test_schwab_transactions() -> None:
    "A total with a cell too many, dates as of, options, money funds, a cancelled purchase, splits, a fee of its own"
    said = read(SCHWAB)
    assert trades(said) == [(date(2024, 4, 18), "IBM", "sell", D("10.065"), D("183.4049"), D("0.01"), D("1845.96")),
                            (date(2024, 4, 10), "IBM", "buy", D("0.0249"), D("187.1"), D(0), D("4.66"))]
    assert said.ignored == {"options": 1, "money market": 1, "stock split": 1, "bank interest": 1, "cancelled": 2, "stock div dist": 1, "totals": 1}
    assert said.fees is not None and said.fees["fee"].to_pylist() == [D("0.5")]

def test_schwab_cancels_what_is_not_there() -> None:
    lone = SCHWAB.replace('"04/12/2024","Buy","MSFT"', '"04/12/2024","Buy","AAPL"')
    with pytest.raises(DataError, match="line 8, Symbol 'MSFT' is cancelled here, and the trade itself is not in the statement"): read(lone)

LOTS = '''"Realized Gain/Loss - Lot Details for Joint as of Sun May 03  13:18:19 EDT 2026 from 01/01/2026 to 05/03/2026",""
"Joint ...999"
"Symbol","Name","Closed Date","Opened Date","Quantity","Proceeds Per Share","Cost Per Share","Proceeds","Cost Basis (CB)","Gain/Loss ($)",\
"Gain/Loss (%)","Long Term Gain/Loss","Short Term Gain/Loss","Term","Unadjusted Cost Basis","Wash Sale?","Disallowed Loss",\
"Transaction Closed Date","Transaction Cost Basis"
"VUG","VANGUARD GROWTH ETF","04/21/2026","11/23/2016","0.03","$82.73","$18.48","$2.73","$0.61","$2.12","347.54%","$2.12","","Long Term","$0.61","No",\
"","04/21/2026",""
"IBM","INTL BUSINESS","01/13/2026","01/12/2026","200","$15.00","$17.00","$3,000.00","$3,400.00","-$400.00","-11.76%","","-$400.00","Short Term",\
"$3,350.00","Yes","-$50.00","01/13/2026","$3,350.00"
"IBM 01/16/2026 190.00 C","CALL INTL BUSINESS","01/16/2026","01/12/2026","1","$0.67","$0.54","$67.34","$53.66","$13.68","25.49%","","$13.68",\
"Short Term","$53.66","No","","01/16/2026",""
"Total","","","","","","","$3,070.07","","","","","","","","","","",""
'''

def test_schwab_lot_details() -> None:
    said = read(LOTS)
    assert said.realized is not None and said.ignored == {"options": 1, "totals": 1}
    assert rows(said.realized, ("symbol", "quantity", "opened", "proceeds", "basis", "wash", "term")) == [
        ("VUG", D("0.03"), date(2016, 11, 23), D("2.73"), D("0.61"), D(0), "long"),
        ("IBM", D(200), date(2026, 1, 12), D(3000), D(3400), D(50), "short")]
    assert said.span == (date(2026, 1, 1), date(2026, 5, 3))

HISTORY = ",,,,,\r\nBrokerage,,,,,\r\n\r\n" + '''Run Date,Account,Account Number,Action,Symbol,Description,Type,Exchange Quantity,Exchange Currency,\
Currency,Price,Quantity,Exchange Rate,Commission,Fees,Accrued Interest,Amount,Settlement Date
02/05/2026,"ROTH IRA","269990001","YOU SOLD OPENING TRANSACTION PUT (IBM) FEB 27 26 $180 (100 SHS) (Cash)", -IBM260227P180,"PUT",Cash,0,,USD,0.85,\
-10,0,6.5,0.24,,843.26,02/06/2026
02/04/2026,"TOD","X65110001","YOU BOUGHT INTL BUSINESS (IBM) (Margin)",IBM,"INTL BUSINESS",Margin,0,,USD,190.19,50,0,,,,-9509.5,02/05/2026
02/03/2026,"TOD","X65110001","BUY CANCEL CXL DESCRIPTION CANCELLED TRADE (MSFT) (Cash)",MSFT,"MS",Cash,0,,USD,421.1,-5,0,,,,2105.5,
02/03/2026,"TOD","X65110001","YOU BOUGHT MICROSOFT (MSFT) (Cash)",MSFT,"MICROSOFT",Cash,0,,USD,421.1,5,0,,,,-2105.5,02/04/2026
02/02/2026,"TOD","X65110001","YOU SOLD SHORT SALE NEBIUS (NBIS) (Short)",NBIS,"NEBIUS",Short,0,,USD,90.5,-70,0,,0.12,,6334.88,02/03/2026
02/02/2026,"TOD","X65110001","YOU BOUGHT SHORT COVER NEBIUS (NBIS) (Short)",NBIS,"NEBIUS",Short,0,,USD,88,70,0,,,,-6160,02/03/2026
02/01/2026,"TOD","X65110001","YOU SOLD PROSHARES SHORT S&P500 (SH) (Cash)",SH,"SHORT S&P500",Cash,0,,USD,40,-1,0,,,,40,02/03/2026
01/30/2026,"TOD","X65110001","REINVESTMENT CASH (315994103) (Cash)",315994103,"CASH",Cash,0,,USD,1,1.96,0,,,,-1.96,
01/30/2026,"TOD","X65110001","REDEMPTION FROM CORE ACCOUNT FDIC INSURED DEPOSIT AT BANK (QPCTQ) (Cash)",QPCTQ,"FDIC",Cash,0,,USD,1,-25,0,,,,25,
01/28/2026,"TOD","X65110001","REINVESTMENT as of 01/26/2026 INTL BUSINESS (IBM) (Cash)",IBM,"INTL BUSINESS",Cash,0,,USD,188,0.034,0,,,,-6.39,
01/27/2026,"TOD","X65110001","SHORT VS MARGIN MARK TO MARKET (Margin)",,"No Description",Margin,0,,USD,,0.000,0,,,,-105.96,


"The data and information in this spreadsheet is provided to you solely for your use, and is not for distribution."
"Date downloaded" 02/06/2026, 9:11 AM
'''

def test_fidelity_history_of_all_accounts() -> None:
    "A nickname and a number of the account, prices before quantities, shorts by type, cancelled trades, cash, a last line with a broken quote"
    said = read(HISTORY)
    assert trades(said, "day", "symbol", "side", "quantity", "fee", "net", "account") == [
        (date(2026, 2, 4), "IBM", "buy", D(50), D(0), D("9509.5"), "X65110001"),
        (date(2026, 2, 2), "NBIS", "short", D(70), D("0.12"), D("6334.88"), "X65110001"),
        (date(2026, 2, 2), "NBIS", "cover", D(70), D(0), D(6160), "X65110001"),
        (date(2026, 2, 1), "SH", "sell", D(1), D(0), D(40), "X65110001"),
        (date(2026, 1, 26), "IBM", "buy", D("0.034"), D(0), D("6.39"), "X65110001")]
    assert said.ignored == {"options": 1, "cancelled": 2, "money market": 2, "short vs": 1}

def test_fidelity_history_of_one_account_with_spaces() -> None:
    text = ("\n\n\nBrokerage\n\nRun Date,Account,Action,Symbol,Security Description,Security Type,Quantity,Price ($),Commission ($),Fees ($),"
            "Accrued Interest ($),Amount ($),Settlement Date\n"
            " 05/20/2021,INDIVIDUAL X7, YOU BOUGHT SOARING EAGLE (SRNG) (Cash), SRNG, SOARING EAGLE,Cash,1,9.88,,,,(9.88),05/24/2021\n"
            "Date downloaded 06/02/2022,9:51 PM,,,,,,,,,,,\n")
    assert trades(read(text), "symbol", "net", "account") == [("SRNG", D("9.88"), "INDIVIDUAL X7")]

def test_fidelity_closed_lots() -> None:
    "A cell too many in every row, words in lower case, two dashes, a short sale by its dates, an option, a symbol that is not known"
    text = ("\ufeffSymbol(CUSIP),Security description,Date acquired,Date sold,Quantity,Cost basis,Proceeds,Short-term gain/loss,Long-term gain/loss\n"
            'IBM(459200101),INTL BUSINESS,2024-01-03,2026-02-04,3,"$1,206.07","$1,306.01", --,$99.94,\n'
            "NBIS(N97284108),NEBIUS,2026-02-04,2026-02-02,70,$6160.00,$6334.88,$174.88, --,\n"
            "IBM260102P190(8265299PN),PUT (IBM) INTL JAN 02 26 $190 (100 SHS),2026-01-02,2025-12-26,3,$6.07,$106.01,$99.94, --,\n"
            'undefined(3135G0V75),FEDL NATL MTG ASSN 1.75000% 07/02/2024,2022-04-14,2024-07-02,"10,000","$9,846.30","$10,000.00", --,$153.70,\n')
    said = read(text)
    assert said.realized is not None and said.ignored == {"options": 1}
    assert rows(said.realized, ("symbol", "opened", "closed", "quantity", "term")) == [
        ("IBM", date(2024, 1, 3), date(2026, 2, 4), D(3), "long"), ("NBIS", date(2026, 2, 2), date(2026, 2, 4), D(70), "short"),
        ("3135G0V75", date(2022, 4, 14), date(2024, 7, 2), D(10000), "long")]

POSITIONS = {
    "schwab": '''"Positions for account Individual ...123 as of 12:33 PM ET, 2025/05/04","","","",""

"Symbol","Description","Qty (Quantity)","Price","Mkt Val (Market Value)","Cost Basis","Ratings","% of Acct (% of Account)","Asset Type",
"IBM","INTL BUSINESS","1,347","268.26","$361,346.22","$24,759.91","C","100%","Equity",
"IBM 05/16/2025 255.00 C","CALL INTL BUSINESS","-1","$0.50","-$50.00","--","--","0%","Option",
"Cash & Cash Investments","--","--","--","$0.95","--","--","0%","Cash and Money Market",
"Positions Total","","--","--","$361,347.17","$24,759.91","--","--","--",
''',
    "fidelity": '''\ufeffAccount Number,Account Name,Symbol,Description,Quantity,Last Price,Last Price Change,Current Value,Today's Gain/Loss Dollar,\
Cost Basis Total,Average Cost Basis,Type
X12345678,Individual,IBM,INTL BUSINESS,1347,$268.26,+$3.10,"$361,346.22",+$55.80,"$24,759.91",$18.38,Cash
X12345678,Individual, -IBM250516C255,IBM MAY 16 2025 $255 CALL,-1,$0.50,,-$50.00,,$12.00,$0.12,Margin
X12345678,Individual,SPAXX**,HELD IN MONEY MARKET,412.15,$1.00,$0.00,$412.15,$0.00,,,Cash
X12345678,Individual,Pending Activity,,,,,"$250.00",,,,

"The data and information in this spreadsheet is provided to you solely for your use."
"Date downloaded May-04-2025 at 2:22 a.m ET"
'''}

@pytest.mark.parametrize("broker", POSITIONS)
def test_positions(broker: str) -> None:
    said = read(POSITIONS[broker])
    assert said.positions is not None and said.format == f"{broker} positions"
    assert rows(said.positions, ("symbol", "quantity", "basis")) == [("IBM", D(1347), D("24759.91"))]
    assert said.span is not None and said.span[1] == date(2025, 5, 4)

IBKR_HISTORY = '''Statement,Header,Field Name,Field Value
Statement,Data,Title,Transaction History
Statement,Data,Period,"January 1, 2025 - December 31, 2025"
Summary,Header,Field Name,Field Value
Summary,Data,Base Currency,USD
Transaction History,Header,Date,Account,Description,Transaction Type,Symbol,Quantity,Price,Price Currency,Gross Amount ,Commission,Net Amount
Transaction History,Data,2025-11-03,U***00000,IBM Cash Dividend USD 0.50 per Share,Dividend,IBM,-,-,-,20.0,-,20.0
Transaction History,Data,2025-10-01,U***00000,Net Amount in Base: 0.8 GBP.USD,Forex Trade Component,GBP.USD,0.8,1.32,USD,-2.6E-4,-,-2.6E-4
Transaction History,Data,2025-08-15,U***00000,INTL BUSINESS,Sell,IBM,-2.0,240.1,USD,480.2,-1.0,479.17
Transaction History,Data,2025-08-14,U***00000,IBM 16JAN26 240 C,Buy,IBM   260116C00240000,1.0,3.0,USD,-300.0,-0.7,-300.7
Transaction History,Data,2025-03-15,U***00000,INTL BUSINESS,Buy,IBM,4.0,230.0,USD,-920.0,-1.0,-921.0
'''

def test_ibkr_transaction_history() -> None:
    "Deposits and the like have a dash for a symbol and a currency; a tax stands between the amounts and in no column"
    said = read(IBKR_HISTORY)
    assert trades(said, "day", "side", "quantity", "amount", "fee", "net") == [
        (date(2025, 8, 15), "sell", D(2), D("480.2"), D("1.03"), D("479.17")), (date(2025, 3, 15), "buy", D(4), D(920), D(1), D(921))]
    assert said.ignored == {"dividend": 1, "forex trade component": 1, "options": 1} and said.span == (date(2025, 1, 1), date(2025, 12, 31))
    with pytest.raises(DataError, match="line 5, Base Currency is 'GBP', and a transaction history is written in it"):
        read(IBKR_HISTORY.replace("Base Currency,USD", "Base Currency,GBP"))
    with pytest.raises(DataError, match="line 11, Price Currency 'SGD' is not USD"): read(IBKR_HISTORY.replace("230.0,USD", "230.0,SGD"))

def test_ibkr_flex_with_codes_and_without_a_side() -> None:
    "Sections told apart by their codes, a message above them, a query that leaves the side to the sign of the quantity"
    text = ('"MSG","Realized P/L is not ready and has been disabled for this statement."\n"BOF","U1"\n"BOS","TRNT","Trades; trade date basis"\n'
            '"HEADER","TRNT","Symbol","Description","CurrencyPrimary","AssetClass","Quantity","TradePrice","TradeDate","IBCommission"\n'
            '"DATA","TRNT","IBM","INTL BUSINESS","USD","STK","-100","190.5","20260106","-1.02"\n'
            '"DATA","TRNT","EUR.USD","EUR.USD","USD","CASH","-100","1.08","20260106","-2"\n"EOS","TRNT","1","10"\n'
            '"HEADER","CTRN","Symbol","Description","Amount","Type","SettleDate"\n"DATA","CTRN","IBM","DIVIDEND","-0.72","Dividends","20240215"\n"EOF"\n')
    said = read(text)
    assert trades(said, "day", "symbol", "side", "quantity", "fee") == [(date(2026, 1, 6), "IBM", "sell", D(100), D("1.02"))]
    assert said.ignored == {"cash rows": 1, "rows of other tables": 1}

def test_ibkr_totals_written_as_data() -> None:
    text = ("Trades,Header,DataDiscriminator,Asset Category,Currency,Symbol,Date/Time,Exchange,Quantity,T. Price,Proceeds,Comm/Fee,Basis,"
            "Realized P/L,Code\n"
            "Trades,Data,Trade,Stocks,USD,IBM,2024-01-15 10:30:42,NASDAQ,100,170.50,-17050.00,-1.00,,,\n"
            "Trades,Data,SubTotal,Stocks,USD,IBM,,,100,,-17050.00,,,,\n")
    said = read(text)
    assert trades(said, "day", "quantity") == [(date(2024, 1, 15), D(100))] and said.ignored == {"subtotal": 1}

def test_alpaca_as_its_own_library_writes_it() -> None:
    "An index without a name in front, words as members of an enumeration, a space in the time"
    text = (",id,activity_type,transaction_time,type,price,qty,side,symbol,leaves_qty,order_id,cum_qty,order_status\n"
            "0,20210510::8,ActivityType.FILL,2021-05-10 14:01:04.650275+00:00,fill,128.33,0.38962051,OrderSide.SELL_SHORT,IBM,0,fe06,1,filled\n")
    assert trades(read(text), "day", "side", "quantity", "price") == [(date(2021, 5, 10), "short", D("0.38962051"), D("128.33"))]

FORMS = {
    "schwab": '''Account,XXXX-X482
Tax Year,2025

"Form 1099DIV",
"Box","Description","Amount","Total","Details",
"1a","Total Ordinary Dividends","","$9596.58","",
"Form 1099 B",
"1a","1b","1c","1d","1e","1f","1g","2","","3","4","5","6","7","8","9","10","11","12","13","14","15","16"
"Description of property (Example 100 sh. XYZ Co.)","Date acquired","Date sold or disposed","Proceeds","Cost or other basis",\
"Accrued market discount","Wash sale loss disallowed","Short-Term gain loss Long-term gain or loss Ordinary","Form 8949 Code",\
"Check if proceeds from collectibles QOF","Federal income tax withheld","Check if noncovered security",\
"Reported to IRS: Gross proceeds Net proceeds",\
"Check if loss is not allowed based on amount in 1d","Profit or (loss) realized in 2025 on closed contracts",\
"Unrealized profit or (loss) on open contracts-12/31/2024","Unrealized profit or (loss) on open contracts-12/31/2025",\
"Aggregate profit or (loss) on contracts","Check if basis reported to IRS","Bartering","State name","State identification no","State Tax Withheld",
"100.00 INTL BUSINESS MACHINES            CLASS A","06/07/2024","02/21/2025","1699.15","1900.00","$0.00","$200.85","Short Term","A","","0.00",\
"Covered","Gross proceeds","","","","","","Yes","","","","",
''',
    "apex": '''1099-DIV,ACCOUNT NUMBER,TAX YEAR,ORDINARY DIV
1099-DIV,X1,2025,10.00
1099-B,ACCOUNT NUMBER,TAX YEAR,DATE ACQUIRED,SALE DATE,DESCRIPTION,SHARES,COST BASIS,SALES PRICE,TERM,ORDINARY,FED TAX WITHHELD,WASH AMT DISALLOWED,\
ACCRDMKTDISCOUNT,FORM8949CODE,GROSSPROCEEDSINDICATOR,LOSSNOTALLOWED,NON COVERED,BASIS NOT SHOWN,FORM 1099 NOT REC,COLLECTIBLE,QOF,PROFIT
1099-B,X1,2025,20240607,20250221,INTL BUSINESS MACHINES CLASS A,100,1900.00,1699.15,SHORT,N,,200.85,,A,,,,,,N,N,
1099-INT,ACCOUNT NUMBER,TAX YEAR,INT INCOME
1099-INT,X1,2025,5.00
''',
    "fidelity": '1099-B-Detail,1099-B-1a Description of property Stock or Other symbol CUSIP,Quantity,1099-B-1b Date Acquired,'
    '1099-B-1c Date Sold or Disposed,1099-B-1d Proceeds,1099-B-1e Cost or Other Basis,'
    '1099-B-1f Accrued Market Discount,1099-B-1g-Wash sale loss Disallowed,Term,Covered/Uncovered\r'
    '1099-B-Detail  ,INTL BUSINESS MACHINES CLASS A IBM 459200101,100.0000,06/07/24,02/21/25,0000000000001699.15,0000000000001900.00,,'
    '0000000000000200.85,SHORT TERM,COVERED\r'}

@pytest.mark.parametrize("broker", FORMS)
def test_forms_1099b_that_name_no_symbol(broker: str) -> None:
    said = read(FORMS[broker], names={"Intl Business": "IBM"})
    assert said.realized is not None
    assert rows(said.realized, ("symbol", "quantity", "opened", "closed", "proceeds", "basis", "wash", "term")) == [
        ("IBM", D(100), date(2024, 6, 7), date(2025, 2, 21), D("1699.15"), D(1900), D("200.85"), "short")]
    with pytest.raises(DataError, match="is missing; say --name 'INTL BUSINESS MACHINES CLASS A.*=SYMBOL' or add"): read(FORMS[broker])

def test_a_form_of_several_brokers_may_name_both() -> None:
    text = ("Symbol,Description,Quantity,Date Acquired,Date Sold,Proceeds,Cost Basis,Wash Sale Loss Disallowed,Gain/Loss,Term\n"
            "IBM,3M CO,100,01/10/2024,03/15/2025,15000.00,12000.00,0.00,3000.00,Long\n")
    said = read(text)
    assert said.realized is not None and rows(said.realized, ("symbol", "quantity", "term")) == [("IBM", D(100), "long")]

def test_days_with_two_digits() -> None:
    assert [read_day(t) for t in ("01-16-24", "1/16/24", "05/12/99", "2025/05/04")] == [date(2024, 1, 16)] * 2 + [date(1999, 5, 12), date(2025, 5, 4)]
