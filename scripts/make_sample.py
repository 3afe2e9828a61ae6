#!/usr/bin/env python
"""Rebuild data/sample from the `bokeh_sampledata` package, byte for byte.

    python scripts/make_sample.py [FOLDER]

The package holds raw bars and a fully adjusted close. What a company did to its shares is derived from the two by
`firebot.events.derive`; the source adjusts by close / (close + amount) with the close of the ex-date.
"""
import importlib
import sys
from datetime import date
from fractions import Fraction
from importlib import metadata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from firebot.events import derive
from firebot.models import COLUMNS, PRICES, ActionKind, CorporateAction
from firebot.sources import actions_csv
from firebot.validate import validate

SYMBOLS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")


def stocks() -> dict[str, dict[str, list]]:
    "The package's tables, by symbol."
    module = importlib.import_module("bokeh_sampledata.stocks")
    return {symbol: getattr(module, symbol) for symbol in SYMBOLS}


def events(symbol: str, table: dict[str, list]) -> tuple[CorporateAction, ...]:
    "Splits and dividends of one symbol, in order."
    return derive([date.fromisoformat(d) for d in table["date"]], table["close"], table["adj_close"], symbol, "ex_close")


def bars_table(tables: dict[str, dict[str, list]]) -> pa.Table:
    "All raw bars, symbol by symbol; each is validated on the way."
    for symbol, table in tables.items():
        validate({"date": table["date"], **{c: table[c] for c in COLUMNS}}, symbol, file="bokeh_sampledata.stocks")
    prices = [(c, pa.float64()) for c in PRICES]
    kinds = [("symbol", pa.string()), ("date", pa.date32()), *prices, ("volume", pa.int64())]
    whole = {c: [x for table in tables.values() for x in table[c]] for c in COLUMNS}
    whole["date"] = [date.fromisoformat(x) for table in tables.values() for x in table["date"]]
    whole["symbol"] = [symbol for symbol, table in tables.items() for _ in table["date"]]
    return pa.table({name: whole[name] for name, _ in kinds}, schema=pa.schema(kinds))


README = """# Sample data

Daily bars of five American shares, small enough to travel with the code. Every file here is written by
`scripts/make_sample.py` from the package `bokeh_sampledata` and is the same byte for byte each time
(`bars.parquet` also names the version of pyarrow that wrote it).

## Source and licence

Quandl WIKI Prices, as they stand in the module `bokeh_sampledata.stocks` (package `bokeh_sampledata` {version}). The
module's own documentation says: "License: Public Domain. Sourced from Quandl WIKI Prices, using an archived copy.
Quandl declared the data public domain and permitted redistribution in its publisher notice." The notice:
<https://web.archive.org/web/20150411011214/https://www.quandl.com/data/WIKI>.

## Files

`bars.parquet`: raw bars, neither adjusted for splits nor for dividends; zstd, one row group a symbol.

| column | type | what |
|---|---|---|
| symbol | text | `GOOG` is Google before its 2014 share classes |
| date | date | session date, New York |
| open, high, low, close | float64 | US dollars per share, as traded |
| volume | int64 | shares, as traded |

{bars}

`actions.csv`: what the companies did to their shares, derived as described below.

| column | what |
|---|---|
| symbol, ex_date | the first session that trades without the right |
| kind | `split` or `dividend` |
| ratio | new:old shares, of a split |
| amount | US dollars per share held on the evening before, of a dividend |

{actions}

## What was derived, and how

The package also holds a close adjusted for splits and dividends, including those after the last bar. Divided by the
raw close it gives a factor that is constant between two events. Each row allows an interval for the factor (its
adjusted close is printed with up to 17 digits), and rows whose intervals have a common point belong together. Where
the factor changes, the quotient q of old and new factor is

- a **split** if small whole numbers hit its interval and the raw close itself moved as far: q = old/new;
- else a **dividend**: amount = close * (1/q - 1) with the close of the ex-date, because the source adjusts by
  q = close / (close + amount), the total return of the day. The shortest decimal in the interval is taken; all of
  them come out in whole cents.

Adjusting the raw closes with these events by the source's formula gives its adjusted close again, up to a constant
per symbol, within {error} relative.

## Repairs

{repairs}
"""


def relative_error(table: dict[str, list], found: list[CorporateAction]) -> float:
    "How far the adjusted close, computed again from raw bars and events, is from the package's, up to a constant."
    factor, ratios = Fraction(1), []
    for day, close, adjusted in zip(table["date"], table["close"], table["adj_close"], strict=True):
        for e in (x for x in found if x.ex_date.isoformat() == day):
            factor *= Fraction(e.numerator, e.denominator) * (1 + Fraction(e.amount) / Fraction(repr(close)))
        ratios.append(float(factor * Fraction(repr(close)) / Fraction(repr(adjusted))))
    return max(ratios) / min(ratios) - 1


def readme(tables: dict[str, dict[str, list]], found: list[CorporateAction]) -> str:
    "The note on source, licence and derivation, with this build's counts."
    bars = ["| symbol | bars | first | last |", "|---|--:|---|---|"]
    bars += [f"| {s} | {len(t['date']):,} | {t['date'][0]} | {t['date'][-1]} |" for s, t in tables.items()]
    actions = ["| symbol | splits | dividends |", "|---|---|--:|"]
    for s in SYMBOLS:
        own = [e for e in found if e.symbol == s]
        splits = [f"{e.numerator}:{e.denominator} on {e.ex_date}" for e in own if e.kind == ActionKind.SPLIT]
        actions.append(f"| {s} | {', '.join(splits)} | {sum(e.kind == ActionKind.DIVIDEND for e in own)} |")
    worst = max(relative_error(t, [e for e in found if e.symbol == s]) for s, t in tables.items())
    bound = next(x for x in ("1e-14", "1e-13", "1e-12", "1e-11", "1e-10", "1e-9") if worst < float(x))
    repairs = "None. Every raw bar passes the validator as it stands in the package; the script stops if one does not."
    return README.format(version=metadata.version("bokeh_sampledata"), bars="\n".join(bars), actions="\n".join(actions),
                         error=bound, repairs=repairs)


def build(folder: Path) -> list[Path]:
    "Write the files of the sample and say which."
    tables = stocks()
    found = [e for symbol, table in tables.items() for e in events(symbol, table)]
    bars = bars_table(tables)
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder/name for name in ("bars.parquet", "actions.csv", "README.md")]
    with pq.ParquetWriter(files[0], bars.schema, version="2.6", compression="zstd", compression_level=19,
                          use_dictionary=True, store_schema=False) as writer:
        start = 0
        for table in tables.values():
            writer.write_table(bars.slice(start, len(table["date"])))
            start += len(table["date"])
    files[1].write_text(actions_csv(found), encoding="utf-8", newline="")
    files[2].write_text(readme(tables, found), encoding="utf-8", newline="")
    return files


if __name__ == "__main__":
    home = Path(__file__).resolve().parent.parent/"data"/"sample"
    for file in build(Path(sys.argv[1]) if len(sys.argv) > 1 else home):
        print(f"{file.name:14} {file.stat().st_size:>9,} bytes")
