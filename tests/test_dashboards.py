"""The dashboards in a real browser: every page opens on real folders, every control works, and what it shows is what the files say.

Screenshots of every page, at both widths and in both themes, go to the folder that FIREBOT_SCREENSHOTS names, else to pytest's own.
"""
import csv
import fcntl
import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, FIREBOT, FLAGS, PATIENCE, ROOT, SETTLED, TOKEN, dashboards, firebot

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("dashboards")]

CONFIG = """
data_sources: [{type: sample}]
app: {name: first idea}
strategies: [{name: cross, class: firebot.strategies.SmaCrossStrategy, params: {fast: 20, slow: 100}}]
portfolio: {initial_capital: 100000, currency: USD}
execution: {fill_model: next_open, slippage_bps: 5, commission: {per_share: 0.005}, stop_loss_pct: 8, take_profit_pct: 40}
run: {start: 2006-01-01}
tax: {filing_status: single, federal_short_pct: 32, federal_long_pct: 15, payment_date: "04-15"}
"""
MINUTES = """
data_sources: [{type: synthetic, symbols: [ACME, ZYX], params: {seed: 5, start: 2024-03-04, end: 2024-03-15}}]
strategies: [{name: quick, class: firebot.strategies.SmaCrossStrategy, params: {fast: 20, slow: 60}}]
portfolio: {initial_capital: 100000, currency: USD}
execution: {fill_model: next_open, slippage_bps: 1}
run: {resolution: 1m}
"""
SWEEP = "sweep: {params: {fast: [10, 20, 30], slow: [60, 140]}, search: grid, validate: walk_forward}\n"


# ---------------------------------------------------------------- a workspace, a server, a browser
def furnish(root):
    "Two runs and a spoilt copy of one, a paper session that is over, a sweep, a store with a gap, and a refused import."
    root.mkdir()
    shutil.copy(ROOT/"settings.ini", root/"settings.ini")
    (root/"run.yaml").write_text(CONFIG)
    (root/"sweep.yaml").write_text(CONFIG.replace(", stop_loss_pct: 8, take_profit_pct: 40", "").partition("tax:")[0] + SWEEP)
    days = [f"2024-01-{d:02d}" for d in (2, 3, 4, 8, 9)]
    text = "date,open,high,low,close,volume\n" + "".join(f"{d},10,11,9,10.5,1000\n" for d in days)
    (root/"ACME.csv").write_text(text)
    (root/"BAD.csv").write_text(text.replace("2024-01-04,10,11,9,10.5", "2024-01-04,10,8,9,10.5"))
    def data():
        firebot("data", "import", "ACME.csv", cwd=root)
        firebot("data", "import", "BAD.csv", cwd=root, ok=(1,))
    firebot("backtest", "run.yaml", cwd=root) # first and alone: it compiles what the others use
    with ThreadPoolExecutor(2) as at_once:
        work = [at_once.submit(firebot, "backtest", "run.yaml", "--set", "execution.slippage_bps=20", "--set", "app.name=FireBot",
                               "--set", "execution.trailing_stop_pct=12", cwd=root),
                at_once.submit(firebot, "paper", "run.yaml", "--name", "done", "--set", "run.start=2011-06-01",
                               "--set", "risk.max_drawdown_pct=50", cwd=root),
                at_once.submit(firebot, "sweep", "sweep.yaml", cwd=root), at_once.submit(data)]
        for w in work: w.result()
    (root/"minutes.yaml").write_text(MINUTES)
    firebot("backtest", "minutes.yaml", "--out", root/"more", cwd=root)
    shutil.copytree(runs(root)[0], root/"reports/spoilt")
    with (root/"reports/spoilt/fills.csv").open("a") as f: f.write("\n")


def runs(workspace): return sorted((workspace/"reports").glob("backtest-*"), key=lambda f: f.stat().st_mtime)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, worker_id):
    "One workspace, made by whichever worker comes first."
    base = tmp_path_factory.getbasetemp() if worker_id == "master" else tmp_path_factory.getbasetemp().parent
    root = base/"dashboards"
    with (base/"dashboards.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root/"reports/spoilt").exists(): furnish(root)
    return root


@pytest.fixture(scope="module")
def server(workspace, worker_id):
    "The dashboards' address, served as `firebot dashboard` does."
    log = workspace/f"server-{worker_id}.log"
    with dashboards(workspace, log) as address: yield address
    assert TOKEN not in log.read_text().partition("stop them")[2]


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None: pytest.skip("no Chromium here")
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        found = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


# Text that is cut off or lies on other text, in words. What scrolls by itself may be wider than the page.
CUT = """() => {
  const out = [], wide = document.documentElement.scrollWidth;
  if (wide > innerWidth) out.push(`the page is ${wide} px wide in ${innerWidth}`);
  for (const e of document.querySelectorAll('.fb h1,.fb h2,.fb p,.fb dt,.fb dd,.fb label,.fb select,.fb button,.fb .fb-badge')) {
    const r = e.getBoundingClientRect();
    if (!r.width || e.closest('.fb-scroll,pre,[role=tablist],nav,.fb-sr,.fb-skip')) continue;
    if (r.right > innerWidth + 1 || r.left < -1 || e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== 'inline')
      out.push(`cut off: ${e.textContent.slice(0, 40)}`);
  }
  for (const plot of document.querySelectorAll('.fb-plot')) {
    const boxes = css => [...plot.querySelectorAll(css)].map(t => [t.textContent, t.getBoundingClientRect()]).filter(([, r]) => r.width);
    const meet = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
    const ticks = boxes('.xtick text').filter(([, r]) => r.height < 20), legend = boxes('.legend .legendtext');
    for (const of of [ticks, legend])
      of.forEach(([s, a], i) => of.slice(i + 1).forEach(([t, b]) => { if (meet(a, b)) out.push(`${s} lies on ${t}`); }));
    for (const [s, a] of [...ticks, ...legend]) if (a.right > innerWidth + 1) out.push(`cut off: ${s}`);
  }
  return out;
}"""

class Visit:
    "A page in the browser, and what it complained of."
    def __init__(self, browser, server, name, shots, **state):
        self.name, self.server, self.shots = name, server, shots
        self.wrong, self.outside, self.bytes = [], [], 0
        self.context = browser.new_context(viewport={"width": 1280, "height": 900})
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.page.on("console", lambda m: self.wrong.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda e: self.wrong.append(str(e)))
        self.page.on("request", lambda r: None if r.url.startswith((server, "data:", "blob:")) else self.outside.append(r.url))
        self.page.on("websocket", lambda ws: ws.on("framereceived", self.count))
        query = "&".join(f"{k}={v}" for k, v in ({"token": TOKEN} | state).items())
        self.page.goto(f"{server}/voila/render/{name}.ipynb?{query}")
        self.settle()
        assert "token" not in self.page.url

    def count(self, payload): self.bytes += len(payload)

    def settle(self):
        "Wait until the last question is answered and every chart drawn."
        self.page.wait_for_function(SETTLED, timeout=PATIENCE)

    def tab(self, name):
        self.page.get_by_role("tab", name=name, exact=True).click()
        self.page.wait_for_selector(f"[role=tab][aria-selected=true]:text-is('{name}')")
        self.settle()

    def choose(self, label, value):
        self.control(label).select_option(value)
        self.settle()

    def control(self, label): return self.page.locator(f".fb-controls label:has(span:text-is('{label}')) select")

    def text(self, css): return self.page.locator(css).all_inner_texts()
    def cards(self, block): return dict(zip(self.text(f"[data-id={block}] dt"), self.text(f"[data-id={block}] dd:first-of-type")))
    def column(self, block, j): return self.text(f"[data-id={block}] tbody td:nth-child({j})")
    def traces(self, block): return self.page.evaluate("id => document.querySelector(`[data-id=${id}] .fb-plot`).data.map(t => t.name)", block)
    def drawn(self, block, i=0):
        return self.page.evaluate("([id, i]) => [...document.querySelector(`[data-id=${id}] .fb-plot`)._fullData[i].y]", [block, i])

    def looked_at(self, part=""):
        "The page as it stands, at both widths and in both themes: nothing cut off, and a picture of each."
        for width in (1280, 390):
            self.page.set_viewport_size({"width": width, "height": 900})
            for theme in ("light", "dark"):
                self.page.emulate_media(color_scheme=theme)
                self.page.wait_for_function("t => document.documentElement.dataset.theme === t", arg=theme)
                self.settle()
                self.page.wait_for_timeout(250) # a chart follows the width a moment later
                self.page.screenshot(path=self.shots/f"{self.name}{part and '-' + part}-{width}-{theme}.png", full_page=True)
            assert self.page.evaluate(CUT) == [], f"{self.name} {part} at {width} px"
        self.page.set_viewport_size({"width": 1280, "height": 900})
        self.page.emulate_media(color_scheme="light")
        self.settle()

    def close(self):
        self.context.close()
        assert self.wrong == [] and self.outside == []
        assert 0 < self.bytes < 2e6, f"{self.name}: {self.bytes:,} bytes"


@pytest.fixture
def visit(browser, server, tmp_path):
    shots, made = Path(os.environ.get("FIREBOT_SCREENSHOTS", tmp_path)), []
    shots.mkdir(parents=True, exist_ok=True)
    def go(name, **state):
        made.append(Visit(browser, server, name, shots, **state))
        return made[-1]
    yield go
    for v in made: v.close()


def rows(path):
    with path.open(newline="") as f: return list(csv.DictReader(f))


def money(x): return f"{'-' * (Decimal(x) < 0)}${abs(Decimal(x)):,.2f}"


# ---------------------------------------------------------------- the pages
def test_home(visit, workspace):
    whole = {f.parent.name for f in (workspace/"reports").glob("*/manifest.json")} - {"spoilt"}  # a session of another test may end meanwhile
    v = visit("home")
    assert dict(zip(v.column("sessions", 1), v.column("sessions", 2)))["done"] == "done"
    listed = v.page.locator("[data-id=runs] tbody tr").all()
    assert len(whole) >= 3 and whole <= set(v.column("runs", 2))
    for row in listed:
        cells = row.locator("td").all_inner_texts()
        metrics = json.loads((workspace/"reports"/cells[1]/"metrics.json").read_text())
        assert cells[8] == f"{metrics['total_return']:.2%}" and cells[10] == f"{metrics['sharpe']:.2f}" and cells[12] == f"{metrics['trades']:,}"
    v.looked_at()
    v.choose("Tag", "first idea")
    named = {n: "first idea" in (workspace/"reports"/n/"config.yaml").read_text() for n in v.column("runs", 2)}
    assert len(named) >= 2 and all(named.values()) and not {r.name for r in runs(workspace)} <= set(named)
    v.choose("Tag", "")
    v.choose("Kind", "paper")
    assert (papers := v.column("runs", 2)) and all(name.startswith("paper-") for name in papers)
    v.choose("Kind", "")
    v.choose("Strategy", "cross")
    v.page.locator("[data-id=runs]").get_by_role("button", name="Sharpe").click()
    sharpe = [float(x) for x in v.column("runs", 11)]
    assert sharpe == sorted(sharpe, reverse=True)
    for run in runs(workspace):
        v.page.get_by_label(f"Compare {run.name}").check()
        v.settle()
    v.page.wait_for_function("document.querySelector('[data-id=growth] .fb-plot').data.length === 2")
    changed = {r[0]: sorted(r[1:]) for r in (row.locator("td").all_inner_texts() for row in v.page.locator("[data-id=differences] tbody tr").all())}
    assert changed.pop("execution.trailing_stop_pct")[1] == "12"
    assert changed == {"app.name": ["FireBot", "first idea"], "execution.slippage_bps": ["20", "5"]}
    assert "compare=" in v.page.url
    v.looked_at("compared")
    v.page.locator(".fb-theme").click()
    v.page.locator(".fb-theme").click()
    assert v.page.evaluate("document.documentElement.dataset.theme") == "dark"
    v.page.locator(f"[data-id=runs] a:text-is('{runs(workspace)[0].name}')").click()
    v.page.wait_for_selector("[data-id=cards]")
    v.settle()
    assert runs(workspace)[0].name == v.text("h1")[0]
    assert v.page.evaluate("document.documentElement.dataset.theme") == "dark" # the theme stays chosen


def test_run(visit, workspace):
    run = runs(workspace)[0]
    v = visit("run", run=run.name)
    metrics = json.loads((run/"metrics.json").read_text())
    cards = v.cards("cards")
    assert cards["Sharpe ratio"] == f"{metrics['sharpe']:.2f}" and cards["Final equity"] == f"${metrics['final_equity']:,.2f}"
    equity = [float(r["equity"]) for r in rows(run/"equity.csv")]
    drawn = v.drawn("equity")
    assert drawn[0] == equity[0] and drawn[-1] == equity[-1] and min(drawn) == min(equity) and max(drawn) == max(equity)
    band, line = rows(run/"band.csv")[-1], dict(zip(v.traces("band"), range(9)))
    for name, column in (("As run", "as_run"), ("At once and free", "instant"), ("Free of cost", "costless"), ("Harsh", "harsh")):
        assert v.drawn("band", line[name])[-1] == float(band[column])
    day = [r for r in rows(run/"daily_pnl.csv") if r["strategy_id"] == "*"][-1]
    assert v.drawn("exposure")[-1] == pytest.approx(1 - float(day["cash"]) / equity[-1], abs=1e-4)
    v.page.locator("[data-id=cards] [data-tip]").first.focus()
    tip = "getComputedStyle(document.activeElement, '::after').content"
    v.page.keyboard.press("Shift+Tab")
    v.page.keyboard.press("Tab")
    assert len(v.page.evaluate(tip)) > 10 # its definition is seen, by those too who have no mouse
    v.page.evaluate("document.activeElement.blur()")
    v.looked_at("overview")
    # the keyboard is enough
    v.page.locator("[role=tab][aria-selected=true]").focus()
    v.page.keyboard.press("ArrowRight")
    v.page.wait_for_selector("[role=tab][aria-selected=true]:text-is('Prices')")
    v.settle()
    assert v.page.evaluate("document.activeElement.textContent") == "Prices"
    # prices, with stops, targets and what the strategy looked at
    v.page.wait_for_selector("[data-id=candles] .main-svg")
    assert {"Entry, long", "Stop", "Target", "fast", "slow"} <= set(filter(None, v.traces("candles")))
    with closing(sqlite3.connect(run/"journal.sqlite")) as db:
        stops = [float(json.loads(d)["stop"]) for d, in db.execute("select data from events where kind = 'order' and symbol = 'IBM' order by seq")
                 if json.loads(d).get("stop")]
    v.choose("Symbol", "IBM")
    v.page.wait_for_selector("[data-id=candles] .main-svg")
    seen = dict(zip(v.traces("candles"), range(99)))
    assert [y for y in v.drawn("candles", seen["Stop"])[::3]] == pytest.approx(stops) # IBM never split: as ordered
    counted = Counter(r["symbol"] for r in rows(run/"trades.csv"))
    for symbol in [*counted, *reversed(counted)]: # there, and back to those that are kept
        v.choose("Symbol", symbol)
        title, note = v.text("[data-id=candles] h2")[0], v.text("[data-id=candles] .fb-note")[0]
        assert title == f"Where did it trade {symbol}?" and f"; {counted[symbol]} trade" in note
        assert symbol in v.page.evaluate("document.querySelector('[data-id=candles] .fb-plot').data.map(t => t.name)")
    v.choose("Symbol", "IBM")
    v.choose("Indicators of", "none")
    v.page.wait_for_function("!document.querySelector('[data-id=candles] .fb-plot').data.some(t => t.name === 'slow')")
    v.looked_at("prices")
    # trades
    v.tab("Trades")
    trades = rows(run/"trades.csv")
    assert f"{len(trades):,} trades" in v.text("[data-id=trades] .fb-note")[-1]
    v.page.get_by_role("button", name="P&L").click()
    best = max(trades, key=lambda t: float(t["pnl"]))
    first = v.page.locator("[data-id=trades] tbody tr").first.locator("td").all_inner_texts()
    assert first[7] == money(best["pnl"])
    assert set(v.column("trades", 11)) & {"stop", "take profit"}
    v.looked_at("trades")
    v.page.locator("[data-id=trades] input[type=search]").fill("AAPL")
    assert v.text("[data-id=trades] .fb-note")[-1].startswith(f"{sum(t['symbol'] == 'AAPL' for t in trades)} of {len(trades)}")
    # a trade leads to its bar
    v.page.locator("[data-id=trades] tbody .fb-link").first.click()
    v.page.wait_for_selector("[data-id=candles] .main-svg")
    v.settle()
    script = "(p => p.layout.xaxis.range.map(x => typeof x === 'number' ? x : Date.parse(x + 'Z')))(document.querySelector('.fb-plot'))"
    left, right = v.page.evaluate(script)
    said = re.search(r"zoom=(-?\d+)(?:~|%7E)(-?\d+)", v.page.url)
    assert abs(left - int(said[1])) < 864e5 and abs(right - int(said[2])) < 864e5
    assert "Daily candles" in v.text("[data-id=candles] .fb-note")[0]
    # orders, and the life of one
    v.tab("Orders")
    orders = rows(run/"orders.csv")
    assert v.cards("order-cards")["Orders"] == f"{len(orders):,}"
    v.page.locator("[data-id=orders] tbody .fb-link").first.click()
    v.page.wait_for_selector("[data-id=life]")
    v.settle()
    assert {"order", "fill"} <= set(v.column("life", 3))
    v.looked_at("orders")
    v.tab("Figures")
    figures = dict(zip(v.column("figures", 1), v.column("figures", 3)))
    assert figures["Sharpe ratio"] == f"{metrics['sharpe']:.2f}" and all(v.column("figures", 4))
    v.looked_at("figures")
    v.tab("Record")
    assert "every file is what the manifest says" in v.text("[data-id=whole] dd")
    assert "firebot verify reports/" in " ".join(v.text("[data-id=whole] dd"))
    files = len(json.loads((run/"manifest.json").read_text())["results"])
    firebot("verify", f"reports/{run.name}", cwd=workspace)
    v.page.reload()
    v.settle()
    assert f": {files} files equal byte for byte" in " ".join(v.text("[data-id=whole] dd"))
    v.looked_at("record")


def test_run_of_minutes(visit, workspace):
    run = next((workspace/"more").glob("backtest-*"))
    shutil.copytree(run, workspace/"reports/minutes", dirs_exist_ok=True)
    try:
        v = visit("run", run="minutes")
        equity = rows(run/"equity.csv")
        drawn = v.drawn("equity")
        assert len(equity) > 3000 > len(drawn) and drawn[-1] == float(equity[-1]["equity"]) # thinned for the screen
        v.looked_at("minutes")
        day = [r for r in equity if r["timestamp"].startswith("2024-03-07")]
        first = int(np.datetime64("2024-03-07T00:00", "ms").astype(int)) # on the exchange's wall
        v.page.goto(f"{v.server}/voila/render/run.ipynb?run=minutes&span={first + 34_200_000}~{first + 57_600_000}")
        v.settle()
        seen = v.drawn("equity")
        at = seen.index(float(day[0]["equity"]))
        assert [float(r["equity"]) for r in day] == seen[at:at + len(day)] # exact where it is looked at
        v.tab("Trades")
        v.page.locator("[data-id=trades] tbody .fb-link").first.click()
        v.page.wait_for_selector("[data-kind=chart] .main-svg")
        v.settle()
        assert "inute candles" in v.text("[data-kind=chart] .fb-note")[0]
        v.looked_at("minutes-prices")
    finally: shutil.rmtree(workspace/"reports/minutes")


def test_run_with_a_stop_that_follows(visit, workspace):
    run = runs(workspace)[1]
    v = visit("run", run=run.name, tab="prices", symbol="IBM", looks="none")
    line = v.traces("candles").index("Trailing stop")
    ways, way = [], []
    for y in v.drawn("candles", line):
        if y is None or y != y: ways, way = [*ways, way], []
        else: way.append(y)
    orders = [o for o in rows(run/"orders.csv") if o["symbol"] == "IBM" and o["type"] == "trailing_stop"]
    assert len(ways) == len(orders) and all(w == sorted(w) for w in ways) # it never goes back
    filled = [(float(o["average_price"]), w[-1]) for o, w in zip(orders, ways) if o["status"] == "filled"]
    assert filled and sum(abs(price / (level * 0.998) - 1) < 2e-4 for price, level in filled) >= len(filled) / 2 # the others gapped


def test_run_notices_what_is_wrong(visit):
    v = visit("run", run="spoilt", tab="record")
    assert "fills.csv" in " ".join(v.text("[data-id=whole] dd"))
    v.page.goto(f"{v.server}/voila/render/run.ipynb?run=..%2F..%2Fetc")
    v.settle()
    assert "there is no run" in v.page.locator(".fb-empty").inner_text()
    v.looked_at("empty")


def test_taxes(visit, workspace):
    run = runs(workspace)[0]
    v = visit("taxes", of=run.name)
    sheet = json.loads((run/"schedule_d.json").read_text())["years"]
    for year in (max(sheet), "2008"):
        v.choose("Tax year", year)
        cards = v.cards("cards")
        assert cards["Net short-term"] == money(sheet[year]["lines"]["7"]) and cards["Net long-term"] == money(sheet[year]["lines"]["15"])
    gone = sum(Decimal(r["disallowed_loss"]) for r in rows(run/"wash_sales.csv") if r["sold"][:4] == "2008")
    assert cards["Losses disallowed"] == money(gone)
    after = rows(run/"after_tax.csv")
    assert v.drawn("after-tax")[-1] == float(after[-1]["equity"]) and v.drawn("after-tax", 1)[-1] == float(after[-1]["after_tax"])
    v.looked_at("overview")
    v.tab("Lots and windows")
    v.choose("Symbol", "IBM")
    v.page.wait_for_selector("[data-id=timeline-ibm] .main-svg")
    lots = rows(run/"lots.csv")
    assert sorted(v.column("lots", 1)) == sorted(r["lot_id"] for r in lots) and v.column("harvest", 1) == sorted({r["symbol"] for r in lots})
    assert len(v.column("washes", 1)) == sum(r["symbol"] == "IBM" for r in rows(run/"wash_sales.csv"))
    v.looked_at("windows")
    v.tab("Form 8949")
    form = [r for r in rows(run/"form_8949.csv") if r["tax_year"] == "2008"]
    assert f"{len(form)} rows" in v.text("[data-id=form] .fb-note")[-1]
    assert v.column("boxes", 6) == [money(sum(Decimal(r["gain_loss"]) for r in form))]
    v.looked_at("form")
    other = runs(workspace)[1]
    v.choose("Folder", other.name)
    assert other.name in v.text(".fb-lede")[0]


def test_sweep(visit, workspace):
    folder = next((workspace/"reports/sweeps").glob("*/gate.json")).parent
    gate, trials = json.loads((folder/"gate.json").read_text()), rows(folder/"trials.csv")
    v = visit("sweep")
    cards = v.cards("verdict")
    assert cards["Best Sharpe ratio"] == f"{gate['sharpe']:.2f}" and cards["Deflated Sharpe"] == f"{gate['deflated_sharpe']:.3f}"
    assert v.text(".fb-lede") == [gate["verdict"]]
    drawn = v.page.evaluate("document.querySelector('[data-id=map] .fb-plot')._fullData[0].z.map(r => [...r])")
    assert sorted(z for r in drawn for z in r) == pytest.approx(sorted(float(t["sharpe"]) for t in trials), abs=1e-3)
    assert len(v.column("trials", 1)) == len(trials) and len(v.column("windows", 1)) == len(gate["choices"])
    v.looked_at()
    v.choose("Down", "slow")
    assert v.control("Across").input_value() == "fast"
    v.choose("Picture", "lines")
    v.page.wait_for_selector("[data-id=parallel] .main-svg")
    v.looked_at("lines")
    kept = [t for t in trials if t["slow"] == "140"]
    v.choose("slow", "140")
    assert v.text("[data-id=parallel] .fb-note")[0].startswith(f"{len(kept)} of {len(trials)} trials kept")
    shown = v.page.evaluate("document.querySelector('[data-id=parallel] .fb-plot').data.at(-1).text")
    assert sorted(float(x.rpartition(": ")[2]) for x in shown) == pytest.approx(sorted(float(t["sharpe"]) for t in kept), abs=0.006)
    v.looked_at("lines-kept")
    v.choose("Sweep", folder.name)


def test_data(visit):
    v = visit("data")
    v.looked_at("series")
    v.page.get_by_role("button", name="ACME").click()
    v.page.wait_for_selector("[data-id=gaps]")
    v.settle()
    assert v.text("[data-id=gaps] tbody td") == ["2024-01-05", "2024-01-05", "1"]
    assert v.drawn("closes") == [10.5] * 5
    v.looked_at("one")
    v.tab("Imports and refused rows")
    v.page.wait_for_selector("[data-id=findings] tbody tr")
    assert {"BAD.csv"} <= set(v.column("findings", 2)) and any("below the low" in x for x in v.text("[data-id=findings] tbody td"))
    v.looked_at("imports")


def test_paper(visit, workspace):
    v = visit("paper", session="done")
    with closing(sqlite3.connect(workspace/"reports/sessions/done/journal.sqlite")) as db:
        events, fills = (db.execute(f"select count(*) from events {w}").fetchone()[0] for w in ("", "where kind = 'fill'"))
    status = json.loads((workspace/"reports/sessions/done/status.json").read_text())
    cards = v.cards("cards")
    assert cards["Equity"] == money(status["equity"][0]) and cards["Events on record"] == f"{events:,}" and cards["Fills"] == f"{fills:,}"
    assert "Drawdown" in v.cards("limits")
    v.looked_at("done")
    # one that runs while it is looked at: the page follows it without being asked
    live = subprocess.Popen([FIREBOT, "paper", "run.yaml", "--name", "live", "--speed", "1000000", "--set", "run.start=2007-01-01"], cwd=workspace,
                            env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not (workspace/"reports/sessions/live/status.json").exists():
            assert live.poll() is None
            time.sleep(0.2)
        v.page.goto(f"{v.server}/voila/render/paper.ipynb?session=live")
        v.settle()
        assert v.text(".fb-badge")[0] == "running"
        bars = "+document.querySelector('[data-id=feed] dl').innerText.match(/Bars\\s+([\\d,]+)/)[1].replace(',', '')"
        seen = v.page.evaluate(bars)
        v.page.wait_for_function(f"{bars} > {seen}")
        v.looked_at("running")
        firebot("paper", "stop", "live", cwd=workspace)
        live.wait(60)
        v.page.wait_for_selector(".fb-badge:text-is('stopped')") # it sees that too
        assert v.page.evaluate("!location.search.includes('token')")
        v.choose("Session", "done")
        v.page.wait_for_selector("h1:text-is('done')")
        assert v.text(".fb-badge")[0] == "done"
    finally:
        live.kill()
        live.wait(30)


def test_a_kernel_that_waited_shows_nothing_stale(browser, workspace, tmp_path):
    log = workspace/"server-warm.log"
    with dashboards(workspace, log, warm=True) as address:
        time.sleep(10) # its rehearsal saw the workspace as it was
        name = runs(workspace)[0].name
        shutil.copytree(workspace/"reports"/name, workspace/"reports/new")
        try:
            v = Visit(browser, address, "home", tmp_path)
            assert "new" in v.column("runs", 2)
            v.page.goto(f"{address}/voila/render/run.ipynb?run=new")
            v.settle()
            assert v.text("h1") == ["new"] and v.cards("cards")
            v.close()
        finally: shutil.rmtree(workspace/"reports/new")
    assert TOKEN not in log.read_text().partition("stop them")[2]


# ---------------------------------------------------------------- the doors
def fetch(url):
    "Status and body, redirects not followed."
    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_): return None
    try:
        with urllib.request.build_opener(Stay).open(url, timeout=120) as answer: return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error: return error.code, error.read().decode(errors="replace")


def test_one_visitor_too_many(browser, workspace, tmp_path):
    with dashboards(workspace, workspace/"server-full.log", most=2) as address:
        first, second = (Visit(browser, address, name, tmp_path) for name in ("home", "data"))
        late, outside = browser.new_page(), []
        late.on("request", lambda r: None if r.url.startswith((address, "data:", "blob:")) else outside.append(r.url))
        assert late.goto(f"{address}/voila/render/sweep.ipynb?token={TOKEN}").status == 503
        assert late.locator("h1").inner_text() == "Too many pages are open" and "2 pages are open already" in late.locator("p").first.inner_text()
        late.screenshot(path=Path(os.environ.get("FIREBOT_SCREENSHOTS", tmp_path))/"too-many.png")
        second.tab("Imports and refused rows") # those who are in notice nothing
        first.page.goto("about:blank") # its kernel goes, and there is room
        first.close()
        while late.reload().status != 200: late.wait_for_timeout(200)
        late.wait_for_function(SETTLED, timeout=PATIENCE)
        assert outside == []
        late.close()
        second.close()


def test_who_is_gone_without_a_word_leaves_no_kernel(workspace):
    with dashboards(workspace, workspace/"server-gone.log", most=2, idle=2) as address:
        def visited(): return fetch(f"{address}/voila/render/data.ipynb?token={TOKEN}")[0]
        assert [visited(), visited()] == [200, 200] # a kernel each, and nobody talks to them
        while visited() != 200: time.sleep(0.5)
    assert "Culling" in (workspace/"server-gone.log").read_text()


def test_the_doors_are_shut(server):
    assert fetch(f"{server}/voila/render/home.ipynb")[0] in (302, 403)
    assert fetch(f"{server}/voila/render/home.ipynb?token=a-wrong-one-of-some-length")[0] in (302, 403)
    assert fetch(f"{server}/api/kernels")[0] in (302, 403, 404)
    for path in ("static/page.js", "home.ipynb", "../../settings.ini", "..%2F..%2Fsettings.ini", "template/conf.json"):
        assert fetch(f"{server}/voila/files/{path}?token={TOKEN}")[0] in (400, 403, 404), path
        assert fetch(f"{server}/voila/files/{path}")[0] in (302, 400, 403, 404), path
    status, page = fetch(f"{server}/voila/render/home.ipynb?token={TOKEN}&voila-template=classic")
    assert status == 200 and "home_look" not in page and "firebot.home_page" not in page and "voila/templates/firebot" in page
    assert len(page.encode()) < 2e6
    port, own = int(server.rpartition(":")[2]), socket.gethostbyname(socket.gethostname())
    with socket.socket() as s: assert own.startswith("127.") or s.connect_ex((own, port)) != 0 # this machine only
