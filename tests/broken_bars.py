"""Broken files of bars and quotes, one entry each: the bytes, the verdict they must get, and words that a finding must say.

The benchmark book counts how many of them an ordinary reader loads without a word.
"""
import gzip
import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

HEADER = "date,open,high,low,close,volume"
ROWS = ["2012-01-03,186.73,188.71,186.00,186.30,5646000", "2012-01-04,185.57,186.33,184.94,185.54,4346500",
        "2012-01-05,184.81,185.03,183.10,184.66,4465200", "2012-01-06,184.39,184.66,182.31,182.54,3899000"]
SYMBOLS = HEADER + ",symbol"
QUOTES = "timestamp,bid_open,bid_high,bid_low,bid_close,bid_size,ask_open,ask_high,ask_low,ask_close,ask_size"
TICKS = "timestamp,bid,ask,bid_size,ask_size"


@dataclass(frozen=True)
class Case:
    "A file, and what is to be said of it"
    data: bytes
    verdict: str  # `refused`, `warned` or `accepted`
    words: str  # Stand in a finding
    suffix: str = ".csv"
    stem: str = "IBM"
    options: dict[str, Any] = field(default_factory=dict)  # Of `check_paths`
    actions: str = ""  # Rows of an `actions.csv` beside it


CORPUS: dict[str, Case] = {}


def add(name: str, verdict: str, words: str, data: bytes, **more: Any) -> None:
    "One more case; keywords that a case has no field for are options of the check"
    assert name not in CORPUS, name
    own = {k: more.pop(k) for k in ("suffix", "stem", "actions") if k in more}
    CORPUS[name] = Case(data, verdict, words, **own, options=more)


def rows(*lines: str, header: str = HEADER) -> bytes:
    "A file of these lines"
    return "\n".join([header, *lines]).encode() + b"\n"


def changed(row: int, old: str, new: str) -> bytes:
    "The good file with something changed in one row, counted from 1"
    assert old in ROWS[row - 1]
    return rows(*ROWS[:row - 1], ROWS[row - 1].replace(old, new), *ROWS[row:])


def weekdays(n: int, first: date = date(2012, 2, 21)) -> list[date]:
    "Sessions without a holiday among them (to 5 April 2012)"
    days = [first + timedelta(i) for i in range(2*n)]
    return [d for d in days if d.weekday() < 5][:n]


def series(days: list[date], price: Callable[[int], float] = lambda i: 190 + i % 3, volume: Callable[[int], float] = lambda i: 1000 + i,
           stamp: Callable[[date], str] = str) -> list[str]:
    "Daily rows of a made-up share"
    return [f"{stamp(d)},{price(i):.2f},{price(i) + 1:.2f},{price(i) - 1:.2f},{price(i):.2f},{volume(i):g}" for i, d in enumerate(days)]


def minutes(n: int = 30, start: datetime = datetime(2013, 10, 4, 13, 30, tzinfo=UTC), step: int = 1, form: str = "%Y-%m-%dT%H:%M:%SZ",
            skip: tuple[int, ...] = ()) -> list[str]:
    "Intraday rows of SPY, from the opening in New York"
    def row(i: int) -> str:
        price = 167 + i % 5/100
        return f"{start + timedelta(minutes=i*step):{form}},{price:.2f},{price + 0.1:.2f},{price - 0.1:.2f},{price:.2f},{200 + i}"
    return [row(i) for i in range(n) if i not in skip]


def parquet(**columns: Any) -> bytes:
    "A Parquet file of the good bars with other columns"
    cells = [r.split(",") for r in ROWS]
    good = {"date": pa.array([date.fromisoformat(c[0]) for c in cells]),
            **{name: pa.array([float(c[i]) for c in cells]) for i, name in enumerate(HEADER.split(",")[1:], 1)}}
    out = io.BytesIO()
    pq.write_table(pa.table({k: v for k, v in (good | columns).items() if v is not None}), out)
    return out.getvalue()


GOOD, R = rows(*ROWS), "refused"

# ---- bytes
add("empty file", R, "it is empty (0 bytes)", b"")
add("only blank lines", R, "it is empty", b"\n\n\r\n")
add("only a mark", R, "it is empty (3 bytes)", b"\xef\xbb\xbf")
add("header only", R, "holds no bars", rows())
add("no header", R, "column 'timestamp' is missing", "\n".join(ROWS).encode())
add("utf-16", R, "begins as UTF-16", GOOD.decode().encode("utf-16"))
add("utf-16 without a mark", R, "begins as UTF-16", GOOD.decode().encode("utf-16-le"))
add("utf-32", R, "begins as UTF-16", GOOD.decode().encode("utf-32"))
add("latin-1", R, "not UTF-8 in row 2", changed(2, "4346500", "4346500,é").decode().encode("latin-1"))
add("latin-1 header", R, "not UTF-8", rows(*(r + ",1" for r in ROWS), header=HEADER + ",Börse").decode().encode("latin-1"))
add("windows-1252", R, "Latin-1 or Windows-1252", changed(2, "185.57", "€185.57").decode().encode("cp1252"))
add("one bad byte", R, "row 2, bytes", GOOD.replace(b"185.57", b"185\xff57"))
add("nul byte", R, "row 3, open '184.81\\x00' is not a plain number: it holds a control character", changed(3, "184.81", "184.81\0"))
add("a block of nul bytes", R, "are 7 of 6", GOOD[:150] + b"\0"*40 + GOOD[190:])
add("gzip", R, "begins as gzip", gzip.compress(GOOD, mtime=0))
archive = io.BytesIO()
with zipfile.ZipFile(archive, "w") as z: z.writestr(zipfile.ZipInfo("IBM.csv"), GOOD)
add("zip", R, "a zip archive or a spreadsheet", archive.getvalue())
add("parquet named csv", R, "begins as Parquet", parquet())
add("old spreadsheet", R, "an old spreadsheet", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500))
add("web page", R, "a web page", b"<!DOCTYPE html><html><body>429 Too Many Requests</body></html>\n")
add("json", R, "begins as JSON", b'{"error": "rate limit"}\n')
add("pickle", R, "a Python pickle", b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00.")
add("semicolons", R, "parted by ';'", GOOD.replace(b",", b";"))
add("tabs", R, "parted by '\\t'", GOOD.replace(b",", b"\t"))
add("continental", R, "parted by ';'", GOOD.replace(b",", b";").replace(b".", b","))
add("sep line", R, "a line for a spreadsheet", b"sep=,\n" + GOOD)
add("comment on top", R, "begins as a comment", b"# source: exchange\n" + GOOD)
add("title on top", R, "is missing; there are 'IBM daily prices'", b"IBM daily prices\n" + b"\n".join(b"x" for _ in ROWS) + b"\n")

# ---- rows
add("short row", R, "row 4, cells '2012-01-06,184.39,184.66' are 3 of 6", rows(*ROWS[:3], "2012-01-06,184.39,184.66"))
add("long row", R, "row 2, cells", changed(2, "4346500", "4,346,500"))
add("torn in the middle", R, "are 3 of 6", GOOD[:100])
add("comment in the middle", R, "row 3, cells '# halted' are 1 of 6", rows(*ROWS[:2], "# halted", *ROWS[2:]))
add("comment with commas", R, "is a comment", rows(*ROWS[:2], "# halted,,,,,", *ROWS[2:]))
add("header in the middle", R, "row 3, date 'date' is not a time like the others: it repeats the header",
    rows(*ROWS[:2], HEADER, *ROWS[2:]))
add("totals line", R, "row 5, date 'Total' is not a time like the others: it is a line of totals", rows(*ROWS, "Total,,,,,18356700"))
add("line of commas", R, "row 5, date '' is missing", rows(*ROWS, ",,,,,"))
add("line of blanks", R, "are 1 of 6", rows(*ROWS[:2], "   ", *ROWS[2:]))
add("blank lines are counted", R, "row 5, close '-1' is not a positive price",
    rows(ROWS[0], "", ROWS[1], "", ROWS[2].replace("184.66", "-1"), ROWS[3]))
add("open quote", R, "close the quote", rows(*(r + ',"x' for r in ROWS[:1]), *(r + ",y" for r in ROWS[1:]), header=HEADER + ",note"))
add("quote inside", R, "row 2, close '185\"54'", changed(2, "185.54", '185"54'))
add("quoted line end", R, "close the quote", rows(ROWS[0], ROWS[1].replace("185.54", '"185\n.54"'), *ROWS[2:]))
add("two files in one", R, "repeats the header", GOOD + GOOD)
add("error page at the end", R, "cells '<html>", GOOD + b"<html>502</html>\n")

# ---- columns
add("missing column", R, "column 'volume' is missing", rows(*(r.rpartition(",")[0] for r in ROWS), header=HEADER[:-7]))
add("column twice", R, "column 'Close' comes twice", rows(*(r + ",1" for r in ROWS), header=HEADER + ",Close"))
add("column twice, alike", R, "column 'close' comes twice", rows(*(r + ",1" for r in ROWS), header=HEADER + ",close"))
add("date and timestamp", R, "comes twice", rows(*(r + ",2012-01-03" for r in ROWS), header=HEADER + ",timestamp"))
add("wrong names", R, "column 'open' is missing; there are 'date', 'o', 'h'", rows(*ROWS, header="date,o,h,l,c,v"))
add("translated names", R, "column 'open' is missing", rows(*ROWS, header="date,ouverture,haut,bas,cloture,volume"))
add("look-alike name", R, "column 'close' is missing", rows(*ROWS, header=HEADER.replace("close", "сlose")))
add("high and low exchanged", R, "row 1, high '186.00' is below the low", rows(*ROWS, header="date,open,low,high,close,volume"))
add("columns shifted", R, "row 1", rows(*ROWS, header="open,high,low,close,volume,date"))

# ---- numbers
for name, cell, words in (
        ("word for a price", "n/a", "stands for nothing"), ("null", "null", "stands for nothing"), ("N/A", "N/A", "stands for nothing"),
        ("dash", "-", "stands for nothing"), ("spreadsheet error", "#DIV/0!", "an error of a spreadsheet"),
        ("empty price", "", "is missing"),
        ("nan", "nan", "is not a finite number"), ("infinite", "inf", "is not a finite number"),
        ("minus infinity", "-Infinity", "is not a finite number"),
        ("overflow", "1e999", "is not a finite number"), ("overflow-sized", "1e300", "larger than any market shows"),
        ("denormal", "4.9e-324", "next to zero"), ("underflow", "1e-400", "is not a positive price"),
        ("decimal comma", '"185,54"', "has a decimal comma"), ("thousands", '"1,185.54"', "has thousands separators"),
        ("thousands by dots", '"1.185,54"', "thousands separators and a decimal comma"),
        ("thousands by quotes", "1'185.54", "thousands separators"),
        ("currency", "$185.54", "carries a currency"), ("currency behind", "185.54 EUR", "carries a currency"),
        ("full-width digits", "１８５.54", "digits of another script"), ("arabic digits", "١٨٥", "digits of another script"),
        ("blank before", " 185.54", "blanks around it"), ("blank behind", "185.54 ", "blanks around it"),
        ("hard blank", "\u00a0185.54", "blanks around it"),
        ("hexadecimal", "0xB9", "is hexadecimal"), ("underscore", "1_85.54", "has an underscore"), ("percent", "18554%", "is a percentage"),
        ("brackets", "(185.54)", "is in brackets"), ("unit", "0.18554k", "has a unit"), ("fraction", "185 1/2", "is a fraction"),
        ("fraction of a bond", "185'16", "is a fraction"), ("long minus", "\u2212185.54", "a dash that is no minus"),
        ("apostrophe", "'185.54", "a quote inside"),
        ("two points", "185.5.4", "two decimal points"), ("formula", "=185+0.54", "is a formula"), ("truth value", "true", "truth value"),
        ("backwards writing", "\u202e45.581", "is not a plain number"), ("colours of a terminal", "\x1b[31m185.54", "control character"),
        ("zero width", "185\u200b.54", "is not a plain number"), ("broken exponent", "1.8554e", "is not a plain number"),
        ("zero price", "0", "is not a positive price"), ("negative price", "-185.54", "is not a positive price"),
        ("minus zero", "-0", "is not a positive price"),
        ("close below low", "184.00", "is below the low"), ("close above high", "187.00", "is above the high"),
        ("decimal point lost", "18554", "is above the high")):
    add(name, R, words, changed(2, "185.54", cell))
add("high below low", R, "row 2, high '183.33' is below the low", changed(2, "186.33", "183.33"))
add("open above high", R, "row 2, open '195.57' is above the high", changed(2, "185.57", "195.57"))
add("negative volume", R, "row 4, volume '-1' is negative", changed(4, "3899000", "-1"))
add("volume overflow", R, "larger than any market shows", changed(4, "3899000", "18446744073709551615"))
add("volume in words", R, "has a unit", changed(4, "3899000", "3.9M"))
add("volume denormal", R, "next to zero", changed(4, "3899000", "1e-310"))
add("forged log line", R, "\\nIBM.csv: accepted", changed(4, "3899000", "1\\nIBM.csv: accepted"))

# ---- times
for name, cell, words in (
        ("day first", "04/01/2012", "day first or month first"), ("day first with dots", "04.01.2012", "day first or month first"),
        ("two-digit year", "12-01-04", "year of two digits"), ("two-digit year, us", "1/4/12", "year of two digits"),
        ("no such day", "2012-02-30", "no day of the calendar"), ("month 13", "2012-13-04", "no day of the calendar"),
        ("slashes", "2012/01/04", "no dashes"), ("no dashes", "20120104", "no dashes"), ("no leading zero", "2012-1-4", "leading zero"),
        ("another era", "0012-01-04", "outside the years"), ("far future era", "9999-12-31", "outside the years"),
        ("epoch seconds", "1325635200", "count of seconds"), ("epoch milliseconds", "1325635200000", "count of milliseconds"),
        ("epoch nanoseconds", "1325635200000000000", "count of nanoseconds"), ("spreadsheet day", "40912", "spreadsheet's number"),
        ("month in words", '"Jan 4, 2012"', "month in words"), ("noon", "2012-01-04 12:00", "does not say its time zone"),
        ("no date", "", "is missing"), ("blank before a date", " 2012-01-04", "blanks around it"),
        ("full-width date", "２０１２-01-04", "another script"),
        ("repeated", "2012-01-03", "repeats the row above"), ("earlier", "2011-01-04", "is earlier than the row above")):
    add(f"time: {name}", R, words, changed(2, "2012-01-04", cell), resolution="1d")
add("unordered", R, "row 3, date '2012-01-04' is earlier than the row above", rows(ROWS[0], ROWS[2], ROWS[1], ROWS[3]))
add("newest first", R, "row 2, date '2012-01-05' is earlier than the row above", rows(*ROWS[::-1]))
add("duplicate", R, "row 3, date '2012-01-04' repeats the row above", rows(*ROWS[:2], *ROWS[1:]))
add("duplicate that disagrees", R, "repeats the row above", rows(*ROWS[:2], ROWS[1].replace("185.54", "185.60"), *ROWS[2:]))
add("mixed day and month first", R, "row 1, date '13/01/2012' is not a time",
    rows(*(r.replace(r[:10], d) for r, d in zip(ROWS, ("13/01/2012", "01/16/2012", "17/01/2012", "18/01/2012")))))
add("epochs in changing units", R, "count of milliseconds",
    rows(*(r.replace(r[:10], d) for r, d in zip(ROWS, ("1325635200", "1325721600", "1325808000000", "1326067200000")))))
add("midnight of another place", R, "midnight UTC, which is the evening before", rows(*(r.replace(",", "T00:00:00Z,", 1) for r in ROWS)))
add("dates as minutes", R, "row 1, date '2012-01-03' is a date where", GOOD, resolution="1m")
add("no zone", R, "does not say its time zone", rows(*minutes(form="%Y-%m-%d %H:%M")))
add("minutes as hours", R, "begins before the bar above has ended", rows(*minutes()), resolution="1h")
add("skipped hour", R, "does not exist: the clock was put forward",
    rows(*minutes(3, datetime(2013, 3, 10, 2, 30), form="%Y-%m-%d %H:%M")), resolution="1m", zone="America/New_York")
add("double hour", R, "came twice: the clock was put back",
    rows(*minutes(3, datetime(2013, 11, 3, 1, 30), form="%Y-%m-%d %H:%M")), resolution="1m", zone="America/New_York")
add("zones mixed", R, "row 2, date '2013-10-04T13:31:00Z' is not a time",
    rows(*[m.replace("T", " ").replace(":00Z", "") if i != 1 else m for i, m in enumerate(minutes(5))]),
    zone="America/New_York")
add("offsets mixed", R, "in another time zone than the first row",
    rows(*minutes(5), *minutes(5, datetime(2013, 10, 4, 9, 35), form="%Y-%m-%dT%H:%M:%S-04:00")))
add("date among minutes", R, "is a date where an intraday bar needs a time",
    rows(*minutes(3, form="%Y-%m-%d %H:%M"), "2013-10-05" + minutes(1)[0][20:]),
    zone="America/New_York", resolution="1m")
add("leap second", R, "is a leap second", rows(*minutes(2), "2013-12-31T23:59:60Z" + minutes(1)[0][20:]), resolution="1m")
add("hour 24", R, "counted as hour 24", rows(*minutes(2), "2013-10-04T24:00:00Z" + minutes(1)[0][20:]), resolution="1m")
add("clock of twelve hours", R, "clock of twelve hours", rows(*minutes(2), "2013-10-04 01:32 PM" + minutes(1)[0][20:]), resolution="1m")
add("zone in letters", R, "names its zone by letters", rows(*minutes(2), "2013-10-04 09:32 EST" + minutes(1)[0][20:]), resolution="1m")
add("finer than a nanosecond", R, "finer than a nanosecond", rows(*minutes(2), "2013-10-04T13:32:00.0000000001Z" + minutes(1)[0][20:]),
    resolution="1m")
add("future", R, "row 4, date '2012-01-06' is later than the file", GOOD, as_of=datetime(2012, 1, 5, 22, tzinfo=UTC))

# ---- resolutions
add("hours as minutes", R, "steps are those of 1h bars, not of 1m", rows(*minutes(12, step=60)), resolution="1m")
add("fives as minutes", R, "steps are those of 5m bars, not of 1m", rows(*minutes(12, step=5)), resolution="1m")
add("weeks as days", R, "steps are those of 1w bars, not of 1d", rows(*series([date(2012, 1, 9) + timedelta(7*i) for i in range(12)])),
    resolution="1d")
add("months as days", R, "steps are those of months", rows(*series([date(2012, m, 28 if m != 4 else 27) for m in range(1, 13)])),
    resolution="1d")
add("days as weeks", R, "begins before the bar above has ended", rows(*series(weekdays(12))), resolution="1w")
add("minutes then hours", R, "a stretch of bars of a coarser resolution",
    rows(*minutes(60), *minutes(14, datetime(2013, 10, 4, 14, 30, tzinfo=UTC), 5)), resolution="1m")
add("hours then minutes", R, "begins before the bar above has ended",
    rows(*minutes(3, step=60), *minutes(9, datetime(2013, 10, 4, 16, 31, tzinfo=UTC))), resolution="1h")
add("days then weeks", R, "a stretch of bars of a coarser resolution",
    rows(*series(weekdays(30)), *series([date(2012, 4, 9) + timedelta(7*i) for i in range(14)])), resolution="1d")
add("resolution unknown", R, "does not show its resolution", rows(*minutes(1)))

# ---- symbols
add("another symbol", R, "row 4, symbol 'MSFT' is another", rows(*(r + ",IBM" for r in ROWS[:3]), ROWS[3] + ",MSFT", header=SYMBOLS),
    symbol="IBM")
add("no symbol", R, "row 4, symbol '' is no symbol", rows(*(r + ",IBM" for r in ROWS[:3]), ROWS[3] + ",", header=SYMBOLS))
for name, symbol, words in (("path", "../../etc/passwd", "is no symbol"), ("absolute path", "/etc/passwd", "is no symbol"),
    ("windows path", "..\\IBM", "is no symbol"),
                            ("formula", "=cmd()", "is no symbol"), ("at", "@SUM(A1)", "is no symbol"),
                            ("greek", "ΙBM", "GREEK CAPITAL LETTER IOTA"),
                            ("cyrillic", "IВM", "CYRILLIC CAPITAL LETTER VE"), ("zero width", "IBM\u200b", "ZERO WIDTH SPACE"),
                            ("log line", "IBM\\n", "is no symbol"),
                            ("terminal", "\x1b[2JIBM", "is no symbol"), ("blank", " IBM", "is no symbol"),
                            ("endless", "I"*33, "is no symbol"),
                            ("markup", "<script>", "is no symbol"), ("shell", "IBM;ls", "is no symbol"), ("sql", "IBM'--", "is no symbol")):
    add(f"symbol: {name}", R, words, rows(*ROWS[:3] and (r + ",IBM" for r in ROWS[:3]), f"{ROWS[3]},{symbol}", header=SYMBOLS))
add("name is no symbol", R, "is no symbol", GOOD, stem="IBM (1)")
add("name is a look-alike", R, "GREEK CAPITAL LETTER IOTA", GOOD, stem="ΙBM")

# ---- Parquet
add("parquet: torn", R, "cannot be read as Parquet", parquet()[:-9], suffix=".parquet")
add("parquet: empty", R, "it is empty (0 bytes)", b"", suffix=".parquet")
add("parquet: csv inside", R, "cannot be read as Parquet", GOOD, suffix=".parquet")
add("parquet: zeros", R, "it is empty", bytes(4096), suffix=".parquet")
add("parquet: damaged", R, "cannot be read as Parquet", parquet()[:-8] + b"\xff\xff\xff\x7fPAR1", suffix=".parquet")
add("parquet: no rows", R, "holds no bars", parquet(**{c: pa.array([], pa.float64()) for c in HEADER.split(",")}), suffix=".parquet")
add("parquet: nested", R, "has type list<", parquet(close=pa.array([[1.0]]*4)), suffix=".parquet")
add("parquet: struct", R, "has type struct<", parquet(close=pa.array([{"x": 1.0}]*4)), suffix=".parquet")
add("parquet: booleans", R, "has type bool", parquet(volume=pa.array([True]*4)), suffix=".parquet")
add("parquet: bytes", R, "has type binary", parquet(close=pa.array([b"1"]*4)), suffix=".parquet")
add("parquet: integer times", R, "does not say its unit", parquet(date=pa.array([1325635200 + 86400*i for i in range(4)])),
    suffix=".parquet")
add("parquet: null", R, "row 2, close '' is missing", parquet(close=pa.array([186.3, None, 184.66, 182.54])), suffix=".parquet")
add("parquet: nan", R, "row 2, close 'nan' is not a finite number", parquet(close=pa.array([186.3, float("nan"), 184.66, 182.54])),
    suffix=".parquet")
add("parquet: all null", R, "row 1, close '' is missing", parquet(close=pa.nulls(4)), suffix=".parquet")
add("parquet: unsigned overflow", R, "row 2, volume '18446744073709551615'", parquet(volume=pa.array([1, 2**64 - 1, 2, 3], pa.uint64())),
    suffix=".parquet")
add("parquet: wrapped volume", R, "is negative", parquet(volume=pa.array(np.array([1, 2**31, 2, 3], np.uint32).astype(np.int32))),
    suffix=".parquet")
add("parquet: too exact", R, "too large to be exact", parquet(volume=pa.array([1, 2**53 + 1, 2, 3])), suffix=".parquet")
add("parquet: text that is no number", R, "has a decimal comma", parquet(close=pa.array(["186.3", "185,54", "184.66", "182.54"])),
    suffix=".parquet")
add("parquet: another midnight", R, "neither midnight nor the opening",
    parquet(date=pa.array([datetime(2012, 1, 3 + i, 12) for i in range(4)], pa.timestamp("us", "Europe/Berlin"))), suffix=".parquet",
        resolution="1d")
add("parquet: year 9999", R, "is not a time", parquet(date=pa.array([datetime(2012, 1, 3), datetime(2012, 1, 4), datetime(2012, 1, 5),
    datetime(9999, 1, 1)], pa.timestamp("s"))),
    suffix=".parquet", resolution="1d")
add("parquet: symbols of two", R, "is another symbol", parquet(symbol=pa.array(["IBM", "IBM", "MSFT", "IBM"]).dictionary_encode()),
    suffix=".parquet", symbol="IBM")

# ---- quotes
Q = [f"2013-10-04T13:3{i}:00Z,167.42,167.58,167.42,167.56,200,167.47,167.61,167.46,167.60,300" for i in range(5)]
T = [f"2013-10-04T13:30:0{i}Z,167.42,167.44,300,500" for i in range(5)]
add("quotes: good", "accepted", "", rows(*Q, header=QUOTES))
add("quotes: crossed", R, "row 2, ask_close '167.50' is below the bid", rows(Q[0], Q[1].replace("167.60", "167.50"), *Q[2:], header=QUOTES))
add("quotes: bid high below low", R, "bid_high '167.40' is below the low", rows(Q[0].replace("167.58", "167.40"), *Q[1:], header=QUOTES))
add("quotes: ask open above high", R, "ask_open '167.70' is above the high", rows(Q[0].replace("167.47", "167.70"), *Q[1:], header=QUOTES))
add("quotes: negative size", R, "bid_size '-200' is negative", rows(Q[0].replace(",200,", ",-200,"), *Q[1:], header=QUOTES))
add("quotes: no ask", R, "column 'ask_close' is missing",
    rows(*(q.rpartition(",")[0].rpartition(",")[0] for q in Q), header=",".join(QUOTES.split(",")[:-2])))
add("quotes: repeated", R, "repeats the row above", rows(Q[0], *Q, header=QUOTES))
add("quotes: locked", "warned", "equals the bid", rows(Q[0].replace("167.60", "167.56"), *Q[1:], header=QUOTES))
add("quotes: stub", "warned", "more than one and a half times the bid",
    rows(Q[0].replace("167.61", "999.00").replace("167.60", "999.00"), *Q[1:], header=QUOTES))
add("ticks: good", "accepted", "", rows(*T, header=TICKS))
add("ticks: one instant", "accepted", "", rows(T[0], T[0], *T, header=TICKS))
add("ticks: crossed", R, "row 3, ask '167.41' is below the bid", rows(*T[:2], T[2].replace("167.44", "167.41"), *T[3:], header=TICKS))
add("ticks: unordered", R, "is earlier than the row above", rows(T[1], T[0], header=TICKS))
add("ticks: zero bid", R, "is not a positive price", rows(T[0].replace("167.42", "0"), header=TICKS))
add("ticks: negative size", R, "ask_size '-500' is negative", rows(T[0].replace("500", "-500"), header=TICKS))
add("ticks: locked", "warned", "equals the bid", rows(T[0].replace("167.42", "167.44"), *T[1:], header=TICKS))

# ---- odd, and accepted with a warning
W = "warned"
DAYS = weekdays(30)
add("split-like jump", W, "looks like a split of 2:1 without an event", rows(*series(DAYS, lambda i: 190 if i < 9 else 95)))
add("reverse split-like jump", W, "looks like a split of 1:10 without an event", rows(*series(DAYS, lambda i: 19 if i < 9 else 190)))
add("jump", W, "is 0.6 times the close before", rows(*series(DAYS, lambda i: 190 if i < 9 else 114)))
add("another split", W, "looks like a split of 3:1", rows(*series(DAYS, lambda i: 190 if i < 9 else 190/3)),
    actions=f"IBM,{DAYS[20]},split,3:1,")
add("adjusted already", W, "were the prices adjusted already", rows(*series(DAYS)), actions=f"IBM,{DAYS[9]},split,2:1,")
add("spike", W, "far from open and close", changed(2, "186.33", "1863.3"))
add("spike below", W, "far from open and close", changed(2, "184.94", "18.494"))
add("stuck", W, "row 10, close '190.00' begins 12 bars that repeat the same four prices",
    rows(*series(DAYS, lambda i: 190 if 9 <= i < 21 else 191 + i % 3)))
add("no volume", W, "row 10, volume '0' begins 12 bars without volume", rows(*series(DAYS, volume=lambda i: 0 if 9 <= i < 21 else 5)))
add("missing session", W, "row 6, date '2012-02-29' follows 1 session without a bar, the first 2012-02-28",
    rows(*series(DAYS[:5] + DAYS[6:])))
add("missing year", W, "follows 249 sessions without a bar", rows(*ROWS, ROWS[0].replace("2012-01-03", "2013-01-07")))
add("saturday", W, "is a day on which the exchange was closed", rows(*ROWS, ROWS[3].replace("2012-01-06", "2012-01-07")))
add("holiday", W, "is a day on which the exchange was closed", rows(ROWS[0].replace("2012-01-03", "2012-01-02"), *ROWS))
add("missing stretch", W, "follows 0 h 45 min of trading without a bar", rows(*minutes(120, skip=tuple(range(40, 85)))))
add("missing afternoon", W, "follows 3 h 30 min of trading without a bar",
    rows(*minutes(180), *minutes(60, datetime(2013, 10, 7, 13, 30, tzinfo=UTC))))
add("extended hours", W, "is the first of 30 bars outside regular hours", rows(*minutes(60, datetime(2013, 10, 4, 13, 0, tzinfo=UTC))))
add("clock of the exchange called UTC", W, "is the time zone right?", rows(*minutes(390, datetime(2013, 10, 4, 9, 30, tzinfo=UTC))))
add("sunday bars", W, "is a day on which the exchange was closed",
    rows(*minutes(30), *minutes(30, datetime(2013, 10, 6, 13, 30, tzinfo=UTC))))
add("seconds of a minute bar", W, "does not begin on a full step", rows(*minutes(30, datetime(2013, 10, 4, 13, 30, 7, tzinfo=UTC))))
add("unfinished", W, "had not ended when the file was taken", GOOD, as_of=datetime(2012, 1, 6, 18, tzinfo=UTC))
add("cut off", W, "was it cut off?", GOOD[:-4])
add("column of no bar", W, "column 'Adj Close' is not part of a bar and is ignored",
    rows(*(r + ",1" for r in ROWS), header=HEADER + ",Adj Close"))
add("comma behind every row", W, "is ignored", rows(*(r + "," for r in ROWS), header=HEADER + ","))

# ---- fine
A = "accepted"
add("plain", A, "", GOOD)
add("one bar", A, "", rows(ROWS[0]))
add("byte-order mark", A, "", b"\xef\xbb\xbf" + GOOD)
add("blank lines on top", A, "", b"\n\n" + GOOD)
add("blank lines inside", A, "", rows(*ROWS[:2], "", "", *ROWS[2:], ""))
add("windows line ends", A, "", GOOD.replace(b"\n", b"\r\n"))
add("old line ends", A, "", GOOD.replace(b"\n", b"\r"))
add("mixed line ends", A, "", GOOD.replace(b"\n", b"\r\n", 2))
add("quoted", A, "", rows(*(",".join(f'"{c}"' for c in r.split(",")) for r in ROWS)))
add("capitals", A, "", rows(*ROWS, header=HEADER.title()))
add("blanks around names", A, "", rows(*ROWS, header=HEADER.replace(",", ", ")))
add("other order", A, "", rows(*(",".join(reversed(r.split(","))) for r in ROWS), header=",".join(reversed(HEADER.split(",")))))
add("exponents and signs", A, "", changed(2, "185.54", "+1.8554e2"))
add("openings", A, "", rows(*(r.replace(",", "T14:30:00Z,", 1) for r in ROWS)))
add("midnights", A, "", rows(*(r.replace(",", " 00:00:00,", 1) for r in ROWS)))
add("known split", A, "", rows(*series(DAYS, lambda i: (190 if i < 9 else 95) + i % 3)), actions=f"IBM,{DAYS[9]},split,2:1,")
add("no volume for a day", A, "", changed(2, "4346500", "0"))
add("fractions of shares", A, "", changed(2, "4346500", "4346500.25"))
add("four prices in one", A, "", changed(2, "185.57,186.33,184.94,185.54", "185.54,185.54,185.54,185.54"))
add("hurricane", A, "", rows(*series([date(2012, 10, 25), date(2012, 10, 26), date(2012, 10, 31)])))
add("quiet market", A, "", rows(*minutes(90, skip=(3, 4, 9, 20, 21, 22, 50, 51, 52, 53, 54, 70))))
add("summer time", A, "", rows(*minutes(2, datetime(2013, 11, 1, 15, 58), form="%Y-%m-%dT%H:%M:%S-04:00"),
    *minutes(2, datetime(2013, 11, 4, 9, 30), form="%Y-%m-%dT%H:%M:%S-05:00")),
    resolution="1m")
add("crypto on a sunday", A, "", rows(*series([date(2012, 1, 7), date(2012, 1, 8), date(2012, 1, 9)])), exchange="24/7")
add("two symbols", A, "", rows(*(f"{r},{s}" for r in ROWS for s in ("IBM", "MSFT")), header=SYMBOLS))
add("parquet: good", A, "", parquet(), suffix=".parquet")
add("parquet: dictionary", A, "", parquet(symbol=pa.array(["IBM"]*4).dictionary_encode()), suffix=".parquet")
add("parquet: decimals", A, "", parquet(close=pa.array([Decimal("186.30"), Decimal("185.54"), Decimal("184.66"), Decimal("182.54")])),
    suffix=".parquet")
add("parquet: small integers", A, "", parquet(volume=pa.array([1, 2, 3, 4], pa.uint8())), suffix=".parquet")
add("parquet: opening in another zone", A, "",
    parquet(date=pa.array([datetime(2012, 1, 3 + i, 14, 30) for i in range(4)], pa.timestamp("us", "Europe/Berlin"))), suffix=".parquet")
