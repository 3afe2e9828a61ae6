"""The dashboards in a real browser: every page opens on real runs, every control works, and what it shows is what the files say."""
import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.draft]
ROOT = Path(__file__).resolve().parent.parent
FIREBOT = str(Path(sys.executable).parent/"firebot")
TOKEN = "a-token-for-the-tests"
CHROMIUM = next((p for p in ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome") if Path(p).exists()), None)
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
PAGES = ("home", "run", "data")


def firebot(*args, cwd, ok=(0,), **env):
    "Run the command as a user would."
    done = subprocess.run([FIREBOT, *map(str, args)], cwd=cwd, text=True, capture_output=True,
                          env=os.environ | {"PYTHONPATH": str(ROOT)} | env)
    assert done.returncode in ok, done.stderr
    return done


@pytest.fixture(scope="session")
def workspace(tmp_path_factory):
    "A workspace with two runs, a store with a gap, and a refused import."
    root = tmp_path_factory.mktemp("workspace")
    shutil.copy(ROOT/"settings.ini", root/"settings.ini")
    firebot("backtest", ROOT/"nbs/runs/backtest.yaml", cwd=root)
    firebot("backtest", ROOT/"nbs/runs/backtest.yaml", "--set", "execution.slippage_bps=20", cwd=root)
    days = [f"2024-01-{d:02d}" for d in (2, 3, 4, 8, 9)]
    text = "date,open,high,low,close,volume\n" + "".join(f"{d},10,11,9,10.5,1000\n" for d in days)
    (root/"ACME.csv").write_text(text)
    (root/"BAD.csv").write_text(text.replace("2024-01-04,10,11,9,10.5", "2024-01-04,10,8,9,10.5"))
    firebot("data", "import", "ACME.csv", cwd=root)
    firebot("data", "import", "BAD.csv", cwd=root, ok=(1,))
    return root


@pytest.fixture(scope="session")
def server(workspace):
    "The dashboards' address, served as `firebot dashboard` does."
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    log = (workspace/"server.log").open("w")
    env = os.environ | {"PYTHONPATH": str(ROOT), "FIREBOT_TOKEN": TOKEN}
    process = subprocess.Popen([FIREBOT, "dashboard", "--port", str(port), "--no-browser", "--no-warm"],
                               cwd=workspace, env=env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    for _ in range(600):
        if process.poll() is not None: pytest.fail((workspace/"server.log").read_text())
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0: break
        time.sleep(0.1)
    yield f"http://127.0.0.1:{port}"
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(30)


@pytest.fixture(scope="session")
def browser():
    if CHROMIUM is None: pytest.skip("no Chromium here")
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        found = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


class Visit:
    "A page in the browser, and what it complained of."
    def __init__(self, browser, server, name, width=1280, dark=False, **state):
        self.wrong, self.outside = [], []
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light")
        self.page = self.context.new_page()
        self.page.on("console", lambda m: self.wrong.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda e: self.wrong.append(str(e)))
        self.page.on("request", lambda r: None if r.url.startswith((server, "data:", "blob:")) else self.outside.append(r.url))
        query = "&".join(f"{k}={v}" for k, v in ({"token": TOKEN} | state).items())
        self.page.goto(f"{server}/voila/render/{name}.ipynb?{query}")
        self.page.wait_for_selector("[data-answered]", timeout=90_000)
        self.settle()

    def settle(self):
        "Wait until the last question is answered and every chart drawn."
        self.page.wait_for_function("""() => { const root = document.querySelector('.fb');
            return root && !root.hasAttribute('aria-busy') &&
                   [...document.querySelectorAll('.fb-plot')].every(p => p.querySelector('.main-svg')); }""",
                                    timeout=60_000)

    def text(self, css): return self.page.locator(css).all_inner_texts()
    def close(self):
        self.context.close()
        assert self.wrong == [] and self.outside == []


@pytest.fixture
def visit(browser, server):
    made = []
    def go(name, **more):
        made.append(Visit(browser, server, name, **more))
        return made[-1]
    yield go
    for v in made: v.close()


def runs(workspace): return sorted(p.parent for p in (workspace/"reports").glob("*/manifest.json"))


@pytest.mark.parametrize("name", PAGES)
def test_pages_open_at_both_widths_and_in_both_themes(name, visit, tmp_path):
    shots = Path(os.environ.get("FIREBOT_SCREENSHOTS", tmp_path))
    for width in (1280, 390):
        for dark in (False, True):
            v = visit(name, width=width, dark=dark)
            wide = v.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
            assert wide[0] <= wide[1], f"{name} at {width}: {wide[0]} px wide"
            assert v.page.evaluate("document.documentElement.dataset.theme") == ("dark" if dark else "light")
            assert v.page.locator("h1").inner_text()
            v.page.screenshot(path=shots/f"{name}-{width}-{'dark' if dark else 'light'}.png", full_page=True)


def test_the_list_says_what_the_files_say(visit, workspace):
    v = visit("home")
    rows = v.page.locator("[data-id=runs] tbody tr").all()
    assert len(rows) == 2
    for row in rows:
        cells = row.locator("td").all_inner_texts()
        metrics = json.loads((workspace/"reports"/cells[1]/"metrics.json").read_text())
        assert cells[9] == f"{metrics['sharpe']:.2f}" and cells[7] == f"{metrics['total_return']:.2%}"
        assert cells[11] == f"{metrics['trades']:,}"


def test_runs_stand_beside_each_other(visit, workspace):
    v = visit("home")
    for box in v.page.locator("[data-id=runs] input[type=checkbox]").all():
        box.check()
        v.settle()
    assert v.page.evaluate("document.querySelector('[data-id=growth] .fb-plot').data.length") == 2
    changed = v.page.locator("[data-id=differences] tbody td").all_inner_texts()
    assert changed[0] == "execution.slippage_bps" and sorted(changed[1:]) == ["20", "5"]
    assert "compare=" in v.page.url


def test_a_run_says_what_its_files_say(visit, workspace):
    run = runs(workspace)[0]
    v = visit("run", run=run.name)
    metrics = json.loads((run/"metrics.json").read_text())
    cards = dict(zip(v.text("[data-id=cards] dt"), v.text("[data-id=cards] dd:first-of-type")))
    assert cards["Sharpe ratio"] == f"{metrics['sharpe']:.2f}" and cards["Final equity"] == f"${metrics['final_equity']:,.2f}"
    equity = [float(r["equity"]) for r in csv.DictReader((run/"equity.csv").open())]
    drawn = v.page.evaluate("[...document.querySelector('[data-id=equity] .fb-plot')._fullData[0].y]")
    assert drawn[0] == equity[0] and drawn[-1] == equity[-1] and min(drawn) == min(equity) and max(drawn) == max(equity)
    v.page.get_by_role("tab", name="Trades").click()
    v.settle()
    trades = list(csv.DictReader((run/"trades.csv").open()))
    assert f"{len(trades):,} trades" in v.text("[data-id=trades] .fb-note")[-1]
    v.page.get_by_role("button", name="P&L").click()
    best = max(trades, key=lambda t: float(t["pnl"]))
    assert v.page.locator("[data-id=trades] tbody tr").first.locator("td").all_inner_texts()[8] == f"${float(best['pnl']):,.2f}"
    v.page.locator("[data-id=trades] input[type=search]").fill("AAPL")
    apples = sum(t["symbol"] == "AAPL" for t in trades)
    assert v.text("[data-id=trades] .fb-note")[-1].startswith(f"{apples} of {len(trades)}")


def test_a_trade_leads_to_its_bar(visit, workspace):
    run = runs(workspace)[0]
    v = visit("run", run=run.name, tab="trades")
    v.page.locator("[data-id=trades] tbody .fb-link").first.click()
    v.page.wait_for_selector("[data-kind=chart] .main-svg", timeout=60_000)
    v.settle()
    script = "(p => p.layout.xaxis.range.map(x => typeof x === 'number' ? x : Date.parse(x + 'Z')))(document.querySelector('.fb-plot'))"
    first, last = v.page.evaluate(script)
    said = re.search(r"zoom=(-?\d+)(?:~|%7E)(-?\d+)", v.page.url)
    assert abs(first - int(said[1])) < 864e5 and abs(last - int(said[2])) < 864e5
    v.page.get_by_label("Indicators of").select_option("cross")
    v.settle()
    v.page.wait_for_function("document.querySelector('.fb-plot').data.some(t => t.name === 'slow')")
    v.page.get_by_label("Symbol").select_option("IBM")
    v.page.wait_for_selector("[data-id=candles-ibm] .main-svg")


def test_an_order_tells_its_life(visit, workspace):
    run = runs(workspace)[0]
    v = visit("run", run=run.name, tab="orders")
    v.page.locator("[data-id=orders] tbody .fb-link").first.click()
    v.page.wait_for_selector("[data-id=life]")
    assert {"order", "fill"} <= set(v.text("[data-id=life] tbody td:nth-child(3)"))


def test_the_record_notices_a_changed_file(visit, workspace):
    run = runs(workspace)[1]
    assert "every file is what the manifest says" in " ".join(visit("run", run=run.name, tab="record").text("[data-id=whole] dd"))
    was = (run/"fills.csv").read_bytes()
    try:
        (run/"fills.csv").write_bytes(was + b"\n")
        assert "fills.csv" in " ".join(visit("run", run=run.name, tab="record").text("[data-id=whole] dd"))
    finally: (run/"fills.csv").write_bytes(was)


def test_what_is_not_there_is_said_plainly(visit):
    v = visit("run", run="..%2F..%2Fetc")
    assert "there is no run" in v.page.locator(".fb-empty").inner_text()


def test_the_store_shows_its_gap_and_what_it_refused(visit):
    v = visit("data")
    v.page.get_by_role("button", name="ACME").click()
    v.page.wait_for_selector("[data-id=gaps]")
    assert v.text("[data-id=gaps] tbody td") == ["2024-01-05", "2024-01-05", "1"]
    v.page.get_by_role("tab", name="Imports").click()
    v.page.wait_for_selector("[data-id=findings] tbody tr")
    assert any("BAD.csv" in cell for cell in v.text("[data-id=findings] tbody td"))


def test_the_keyboard_is_enough(visit, workspace):
    v = visit("run", run=runs(workspace)[0].name)
    v.page.keyboard.press("Tab")
    assert v.page.evaluate("document.activeElement.className") == "fb-skip"
    v.page.locator("[role=tab][aria-selected=true]").focus()
    v.page.keyboard.press("ArrowRight")
    v.page.wait_for_selector("[role=tab][aria-selected=true]:has-text('Prices')")
    v.settle()
    assert v.page.evaluate("document.activeElement.textContent") == "Prices"


def test_the_theme_stays_chosen(visit):
    v = visit("home")
    v.page.locator(".fb-theme").click()
    v.page.locator(".fb-theme").click()
    assert v.page.evaluate("document.documentElement.dataset.theme") == "dark"
    v.page.reload()
    v.page.wait_for_selector("[data-answered]", timeout=90_000)
    assert v.page.evaluate("document.documentElement.dataset.theme") == "dark"


def fetch(url):
    "Status and body, redirects not followed."
    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_): return None
    try:
        with urllib.request.build_opener(Stay).open(url, timeout=30) as answer: return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error: return error.code, error.read().decode(errors="replace")


def test_the_doors_are_shut(server, workspace):
    assert fetch(f"{server}/voila/render/home.ipynb")[0] in (302, 403)
    assert fetch(f"{server}/api/kernels")[0] in (302, 403, 404)
    for path in ("static/page.js", "home.ipynb", "../../settings.ini", "template/conf.json"):
        assert fetch(f"{server}/voila/files/{path}?token={TOKEN}")[0] in (403, 404), path
        assert fetch(f"{server}/voila/files/{path}")[0] in (302, 403, 404), path
    status, page = fetch(f"{server}/voila/render/home.ipynb?token={TOKEN}&voila-template=classic")
    assert status == 200 and "home_look" not in page and "voila/templates/firebot" in page
    assert TOKEN not in (workspace/"server.log").read_text().partition("stop them")[2]
    with socket.socket() as s: assert s.connect_ex((socket.gethostbyname(socket.gethostname()), int(server.rpartition(":")[2]))) != 0 \
        or socket.gethostbyname(socket.gethostname()).startswith("127.")
