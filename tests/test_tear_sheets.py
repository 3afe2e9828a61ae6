"""Tear sheets: the figures of the run folder and no others, the same bytes twice, and no cell that is a formula."""
import csv
import io
import json
import os
import re
import shutil
import zipfile
from decimal import Decimal

import pyarrow as pa
import pytest
from openpyxl import load_workbook
from pypdf import PdfReader

from firebot.books import home
from firebot.config import load_config
from firebot.files import write_whole
from firebot.forms import csv_bytes
from firebot.glossary import METRICS, format_metric, money
from firebot.journal import csv_text
from firebot.models import ConfigError, RunError
from firebot.runs import execute, inputs, make_job, manifest, result_files
from firebot.tear_sheets import KINDS, export_run, marked_up, open_run, plain_text, tear_pdf, tear_xlsx, unguarded, wall

CONFIG = """
data_sources: [{type: sample}]
assets: [{symbol: AAPL}, {symbol: IBM}]
run: {start: 2010-01-04, end: 2012-03-30}
strategies:
  - {name: cross, class: SmaCrossStrategy, params: {fast: 10, slow: 40}}
  - {name: momentum, class: MomentumStrategy, params: {lookback_window: 60, threshold: 0.05}}
execution: {slippage_bps: 5, commission: {per_share: 0.005}, FILL}
tax: {federal_short_pct: 32, federal_long_pct: 15}
"""
HARM = ["=1+1", "=HYPERLINK(\"http://x.example\",\"y\")", "+1", "-1", "-A1", "@SUM(1)", "\t=1", "\r=1", "=cmd|' /C calc'!A0", "-1.23", "'=1", "'x",
        "{=1}", "a=1", "<b>&amp;", "Ünïcode 港", "x" * 200, "=\x41\u202e1"]


def make(folder, text=CONFIG.replace(", FILL", "")):
    "A run folder without notebook and journal"
    outcome = execute(make_job(load_config(text)))
    folder.mkdir(parents=True)
    for name, body in result_files(outcome).items(): (folder/name).write_text(body, newline="")
    told = manifest(inputs(outcome.job), outcome.job, folder, folder, home())
    (folder/"manifest.json").write_text(json.dumps(told, indent=1, sort_keys=True))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory): return make(tmp_path_factory.mktemp("reports")/"backtest-1")

@pytest.fixture(scope="module")
def book(folder): return load_workbook(io.BytesIO(tear_xlsx(open_run(folder))))

@pytest.fixture(scope="module")
def pages(folder): return [p.extract_text() for p in PdfReader(io.BytesIO(tear_pdf(open_run(folder)))).pages]

def read(folder, name):
    with (folder/name).open(newline="") as f: return list(csv.DictReader(f))

def column(page, head):
    "The cells below `head` until the first that is empty"
    where = next(c for c in page[1] if c.value == head)
    found = [row[where.column - 1].value for row in page.iter_rows(min_row=2)]
    return found[:found.index(None)] if None in found else found


def test_every_figure_of_the_workbook_is_that_of_metrics_json(folder, book):
    told = json.loads((folder/"metrics.json").read_text())
    found = {row[1].value: (row[2].value, row[3].value) for row in book["Figures"].iter_rows(min_row=2, max_row=1 + len(told))}
    assert {METRICS[k].label: (v, METRICS[k].definition) for k, v in told.items()} == found


def test_the_account_row_by_row(folder, book):
    rows, page = read(folder, "equity.csv"), book["Equity"]
    assert column(page, "Equity") == [float(r["equity"]) for r in rows]
    assert column(page, "Equal parts, held") == [float(r["benchmark"]) for r in rows]
    assert column(page, "After taxes paid") == [float(r["after_tax"]) for r in read(folder, "after_tax.csv")]
    assert [f"{d:%Y-%m-%d}" for d in column(page, "Day")] == [r["timestamp"][:10] for r in rows]
    assert column(page, "Drawdown") == pytest.approx([float(r["drawdown"]) for r in rows], abs=5e-7)
    assert min(column(page, "Drawdown")) == json.loads((folder/"metrics.json").read_text())["max_drawdown"]


def test_trades_positions_and_taxes(folder, book):
    trades = read(folder, "trades.csv")
    for head, name in (("P&L", "pnl"), ("Quantity", "quantity"), ("Return", "return_pct"), ("Commission", "commission")):
        assert column(book["Trades"], head)[:len(trades)] == [float(t[name]) for t in trades]
    assert column(book["Trades"], "Symbol") == [t["symbol"] for t in trades]
    held = read(folder, "positions.csv")
    assert column(book["Positions"], "Value") == [float(h["market_value"]) for h in held]
    years = json.loads((folder/"schedule_d.json").read_text())["years"]
    rows = [[c.value for c in row] for row in book["Taxes"].iter_rows()]
    at = next(i for i, r in enumerate(rows) if r[1] == "Net short-term (7)")
    for (year, sheet), row in zip(years.items(), rows[at + 1:]):
        assert row[:4] == [year, float(sheet["lines"]["7"]), float(sheet["lines"]["15"]), float(sheet["lines"]["16"])]
        lost = [float(r["disallowed_loss"]) for r in read(folder, "realized.csv") if r["close_date"].startswith(year)]
        assert row[7] == pytest.approx(sum(lost), abs=1e-6)


def test_strategies_add_up(folder, book):
    rows = [[c.value for c in row] for row in book["Strategies"].iter_rows()]
    parts = {r[0]: r[1] for r in rows[1:4]}
    m = json.loads((folder/"metrics.json").read_text())
    assert parts["cross"] + parts["momentum"] == pytest.approx(parts["All"], abs=1e-6)
    assert parts["All"] == pytest.approx(m["final_equity"] - m["starting_equity"], abs=1e-6)


def test_the_paper_names_the_figures(folder, pages):
    m, text = json.loads((folder/"metrics.json").read_text()), "\n".join(pages)
    flat = " ".join(text.split())
    first = ("total_return", "cagr", "sharpe", "sortino", "max_drawdown", "excess_return", "volatility", "win_rate")
    assert all(format_metric(k, m[k]) in pages[0] for k in first)
    assert money(m["final_equity"], places=0) in pages[0]
    for k in m: assert METRICS[k].label in flat and format_metric(k, m[k]) in flat
    heads = ("Month by month", "Year by year", "The deepest falls", "Schedule D", "Before and after tax", "Trades", "Configuration")
    assert all(head in text for head in heads)
    for name, digest in json.loads((folder/"manifest.json").read_text())["results"].items(): assert name in text and digest in text
    assert "?" not in flat and "■" not in flat


def test_the_same_folder_gives_the_same_bytes(folder, tmp_path):
    for kind, made in KINDS.items():
        once = made(open_run(folder))
        assert once == made(open_run(folder))
        for clock in ("TZ=Asia/Tokyo", "TZ=America/Lima"):
            name, _, value = clock.partition("=")
            before = os.environ.get(name)
            os.environ[name] = value
            try: assert export_run(folder, kind, tmp_path).read_bytes() == once
            finally: os.environ.pop(name) if before is None else os.environ.update({name: before})


def cells(data):
    "Kind and text of every cell, from the XML itself: openpyxl must not decide what is a formula"
    with zipfile.ZipFile(io.BytesIO(data)) as z:
        pages = {n: z.read(n).decode() for n in z.namelist() if n.startswith("xl/worksheets/sheet")}
        assert not any("externalLink" in n or "vba" in n.lower() for n in z.namelist())
    return pages


def test_no_text_becomes_a_formula(folder, tmp_path):
    bad = tmp_path/"bad"
    shutil.copytree(folder, bad)
    trades, names = read(folder, "trades.csv"), ("symbol", "strategy_id")
    assert len(trades) >= len(HARM)
    rows = [t | dict.fromkeys(names, HARM[i % len(HARM)]) for i, t in enumerate(trades)]
    kinds = {k: Decimal if k in ("quantity", "entry_price", "exit_price", "pnl", "return_pct", "commission") else str for k in trades[0]}
    (bad/"trades.csv").write_text(csv_text(list(kinds), [{k: kinds[k](v) for k, v in r.items()} for r in rows]), newline="")
    data = tear_xlsx(open_run(bad))
    for page in cells(data).values(): assert "<f>" not in page and "<f " not in page and "hyperlink" not in page
    page = load_workbook(io.BytesIO(data))["Trades"]
    assert [c.data_type for c in page["B"][1:len(trades) + 1]] == ["s"] * len(trades)
    assert all(c.data_type == "n" for c in page["I"][1:len(trades) + 1])
    said = [c.value for c in page["B"][1:len(HARM) + 1]]
    assert [x.replace("\r", "").replace("_x000D_", "") for x in said] == [unguarded(h).replace("\r", "") for h in HARM]
    assert tear_pdf(open_run(bad)).startswith(b"%PDF")


@pytest.mark.parametrize("text", HARM)
def test_csv_guards_texts_and_leaves_numbers(text):
    "By hand, so that the guard of the runs and that of the tax files are the same"
    ours = next(csv.reader(io.StringIO(csv_text(["a", "n"], [dict(a=text, n=Decimal("-1.23"))]).partition("\n")[2], newline="")))
    table = pa.table({"a": [text], "n": [Decimal("-1.23")]})
    theirs = next(csv.reader(io.StringIO(csv_bytes(table).decode().partition("\n")[2], newline="")))
    guarded = "'" + text if text[0] in "=+-@\t\r" else text
    assert ours == theirs == [guarded, "-1.23"]


def test_what_is_no_run_is_refused_in_one_sentence(folder, tmp_path):
    for kind in KINDS:
        with pytest.raises(RunError, match="is not a run folder"): export_run(tmp_path, kind, tmp_path)
        with pytest.raises(RunError, match="is not a run folder"): export_run(tmp_path/"none", kind, tmp_path)
    sweep = tmp_path/"sweep-1"
    sweep.mkdir()
    told = json.loads((folder/"manifest.json").read_text())
    (sweep/"manifest.json").write_text(json.dumps(told | dict(kind="sweep")))
    with pytest.raises(RunError, match="sweep without an account of its own"): export_run(sweep, "pdf", tmp_path)
    (sweep/"manifest.json").write_text("[]")
    with pytest.raises(RunError, match="not that of a run"): export_run(sweep, "pdf", tmp_path)
    with pytest.raises(ConfigError, match="pdf, xlsx"): export_run(folder, "docx", tmp_path)
    with pytest.raises(ConfigError, match="lies in the run folder"): export_run(folder, "pdf", folder)
    with pytest.raises(ConfigError, match="is not a folder"): export_run(folder, "pdf", tmp_path/"a"/"b.pdf")


def test_a_changed_file_is_told(folder, tmp_path):
    odd = tmp_path/"odd"
    shutil.copytree(folder, odd)
    (odd/"fills.csv").write_text("fill_id\n")
    text = "".join(p.extract_text() for p in PdfReader(export_run(odd, "pdf", tmp_path)).pages)
    assert "not what the run wrote: fills.csv" in text
    (odd/"trades.csv").write_text("symbol\nIBM\n")
    for kind in KINDS:
        with pytest.raises(RunError, match="trades.csv.*run it again"): export_run(odd, kind, tmp_path/f"never.{kind}")
    assert not list(tmp_path.glob("*never*"))


def test_half_written_output_never_looks_whole(folder, tmp_path, monkeypatch):
    "The write dies in the middle: what was there before stays, or nothing is there"
    path = tmp_path/"sheet.pdf"
    def dies(fd): raise OSError(28, "No space left on device")
    monkeypatch.setattr(os, "fsync", dies)
    with pytest.raises(OSError): export_run(folder, "pdf", path)
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    write_whole(path, b"before")
    monkeypatch.setattr(os, "fsync", dies)
    with pytest.raises(OSError): export_run(folder, "pdf", path)
    assert path.read_bytes() == b"before" and [f.name for f in tmp_path.iterdir()] == ["sheet.pdf"]


def test_optimistic_fills_are_labelled(tmp_path):
    folder = make(tmp_path/"instant", CONFIG.replace("FILL", "fill_model: instant").replace("2012-03-30", "2010-06-30").replace("tax:", "#"))
    assert "Optimistic" in PdfReader(io.BytesIO(tear_pdf(open_run(folder)))).pages[0].extract_text()
    book = load_workbook(io.BytesIO(tear_xlsx(open_run(folder))))
    assert "After taxes paid" not in [c.value for c in book["Equity"][1]]


def test_an_account_that_never_traded(tmp_path):
    text = CONFIG.replace(", FILL", "").replace("threshold: 0.05", "threshold: 9")
    text = re.sub(r"  - {name: cross.*\n", "", text)
    folder = make(tmp_path/"quiet", text.replace("2012-03-30", "2010-06-30"))
    assert json.loads((folder/"metrics.json").read_text())["trades"] == 0
    assert "None." in "".join(p.extract_text() for p in PdfReader(io.BytesIO(tear_pdf(open_run(folder)))).pages)
    assert load_workbook(io.BytesIO(tear_xlsx(open_run(folder))))["Trades"].max_row >= 1


def test_days_are_those_of_the_exchange():
    found = wall(["2024-01-02T16:00:00-05:00", "2024-01-03T00:00:00+00:00"]).astype("datetime64[ns]").astype("datetime64[D]").astype(str)
    assert list(found) == ["2024-01-02", "2024-01-02"]


def test_paper_shows_what_its_fonts_know():
    assert plain_text("港=<b>\n√x") == "?=<b> √x" and re.search("<sub>n</sub>", marked_up("Eₙ")) and "&lt;b" in marked_up("<b>")
