"The page that a run leaves: self-contained, small, safe, and the same twice."
import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plotly.offline import get_plotlyjs

from firebot import plots, reports
from firebot.metrics import buy_and_hold, monthly_returns, summary
from firebot.models import Bars, RunError

EVIL = "<script>alert('x')</script>\"&</figure>"
LOADERS = {"src", "href", "srcset", "data", "poster", "action", "formaction", "background", "xlink:href"}


class Page(HTMLParser):
    "What a browser would see: elements, text outside scripts, addresses, scripts"
    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.ids, self.scripts, self.handlers, self.open = [], [], [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in reports.VOID | {"meta", "link"}: self.open.append(tag)
        for k, v in attrs:
            if k in LOADERS: self.addresses.append((tag, v))
            if k == "id": self.ids.append(v)
            if k.startswith("on"): self.handlers.append((tag, k))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (tag, self.open)
        self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] == "script": self.scripts.append(data)


def run(n=2500, symbol="GOOG", step="1D"):
    rng = np.random.default_rng(20130301)
    if step == "1D": days = pd.bdate_range("2004-08-19", periods=n, tz="America/New_York") + pd.Timedelta(hours=9.5)
    else: days = pd.date_range("2013-10-04 09:30", periods=n, freq=step, tz="America/New_York")
    t = days.as_unit("ns").asi8
    close = (100 * np.exp(np.cumsum(rng.normal(0.0005, 0.018, n) * min(1, 2500 / n)))).round(2)
    bars = Bars(symbol, "1d" if step == "1D" else "1m", t, close, close * 1.01, close * 0.99, close, close)
    trades = []
    for a in range(20, n - 60, 50):
        gain = close[a + 30] / close[a] - 1
        trades.append(dict(strategy_id="s", symbol=symbol, direction=1 if a % 100 == 20 else -1, quantity=100,
                           entry_time=int(t[a]), exit_time=int(t[a + 30]), entry_price=close[a],
                           exit_price=close[a + 30], pnl=1e5 * gain, return_pct=gain, commission=1.0, bars_held=30,
                           open=a + 60 > n - 60))
    return bars, (100_000 * close / close[0]).round(2), trades


def notebook(bars, equity, trades):
    held = buy_and_hold(bars.close[::-1], 100_000)
    metrics = summary(bars.timestamp, equity, trades, held, zone="America/New_York")
    charts = [plots.equity_chart(bars.timestamp, equity, held, bars.symbol),
              plots.drawdown_chart(bars.timestamp, equity, held, bars.symbol), plots.candle_chart(bars, trades),
              plots.months_chart(monthly_returns(bars.timestamp, equity)), plots.pnl_chart(trades)]
    things = [reports.headline(metrics, benchmark_name=bars.symbol), *charts, reports.trades_table(trades),
              reports.metrics_table(metrics)]
    def shown(x):
        if hasattr(x, "_repr_mimebundle_"): return x._repr_mimebundle_()
        return {"text/html": x._repr_html_(), "text/markdown": x._repr_markdown_(), "text/plain": repr(x)}
    code = [dict(cell_type="code", source=["x = 1\n", f"y = {bars.symbol!r}"], outputs=[
        dict(output_type="display_data", data=json.loads(json.dumps(shown(x))))]) for x in things]
    prose = dict(cell_type="markdown", source=f"# A run of {bars.symbol}\n\n## Equity\n"
                 "![x](https://example.org/x.png)\n\n## Equity")
    frame = pd.DataFrame({"symbol": [bars.symbol]})
    tail = dict(cell_type="code", source="frame", outputs=[
        dict(output_type="stream", name="stdout", text=[f"\x1b[31m{bars.symbol}\x1b[0m\n"]),
        dict(output_type="execute_result", data={"text/html": frame.to_html(), "text/plain": str(frame)}),
        dict(output_type="error", ename="E", evalue="e", traceback=[f"E: {bars.symbol}"])])
    return dict(cells=[prose, *code, tail], metadata={}, nbformat=4, nbformat_minor=5)


@pytest.fixture(scope="module")
def nb(): return notebook(*run(symbol=EVIL))


@pytest.fixture(scope="module")
def page(nb): return reports.report_html(nb)


@pytest.fixture(scope="module")
def seen(page): return Page(page)


def test_small_and_whole(page, seen):
    assert len(page.encode()) < 6_000_000
    assert page.startswith("<!DOCTYPE html>") and seen.open == []
    assert len(page.encode()) - len(get_plotlyjs().encode()) < 600_000


def test_loads_nothing(page, seen):
    assert not {"link", "iframe", "object", "embed", "base", "form", "source", "video", "audio"} & set(seen.tags)
    assert all(v.startswith("#") for _, v in seen.addresses), seen.addresses
    assert not seen.handlers
    style = re.search(r"<style>(.*?)</style>", page, re.S)[1]
    assert "url(" not in style and "@import" not in style
    assert "default-src 'none'" in page
    assert "example.org" not in page


def test_one_script_of_plotly_and_five_charts(page, seen):
    assert page.count(get_plotlyjs()[:200]) == 1
    assert page.count('<figure class="chart"') == page.count('class="plot"') == 5
    specs = [json.loads(s) for s in seen.scripts if s.startswith("{")]
    assert len(specs) == 5
    for s in specs:
        assert not {"title", "template"} & set(s["layout"]) and s["data"]
        assert (s["config"]["showSendToCloud"], s["config"]["plotlyServerURL"]) == (False, "")


def test_names_from_data_stay_text(page, seen):
    assert "<script>alert" not in page and "</figure>\"" not in page.replace("</script></figure>", "")
    assert sum(1 for s in seen.scripts if "alert(" in s and not s.startswith("{")) == 0
    titles = [json.loads(s)["data"] for s in seen.scripts if s.startswith("{")]
    assert not any("<script" in (t.get("name") or "") for data in titles for t in data)
    assert "&lt;script&gt;alert" in page


def test_ids_are_unique_and_linked(page, seen):
    assert len(seen.ids) == len(set(seen.ids))
    assert {v[1:] for _, v in seen.addresses} == {"equity", "equity-2"}
    assert "chart-equity" in seen.ids


def test_same_bytes(nb, page, tmp_path):
    assert reports.report_html(notebook(*run(symbol=EVIL))) == page
    path = tmp_path / "run.ipynb"
    path.write_text(json.dumps(nb), encoding="utf-8")
    assert reports.report_html(path) == reports.report_html(str(path)) == page


def test_code_is_there_but_folded(page):
    assert page.count('<details class="code">') == 9 and "<details open" not in page
    assert "x = 1" in page


def test_without_charts_no_script(nb):
    page = reports.report_html(dict(cells=nb["cells"][:1] + nb["cells"][-1:]), title="Only <text>")
    assert len(page) < 20_000 and "<title>Only &lt;text&gt;</title>" in page
    assert "[31m" not in page and "\x1b" not in page


def test_refusals(tmp_path):
    for text in ("{", "[]", '{"metadata": {}}'):
        (tmp_path / "broken.ipynb").write_text(text)
        with pytest.raises(RunError, match="broken.ipynb"): reports.report_html(tmp_path / "broken.ipynb")
    with pytest.raises(RunError, match="absent.ipynb"): reports.report_html(tmp_path / "absent.ipynb")


def numbers(x):
    "A list or typed array of a spec as numbers."
    return np.frombuffer(base64.b64decode(x["bdata"]), x["dtype"]) if isinstance(x, dict) else np.array(x, dtype=float)


def test_charts_draw_the_data():
    bars, equity, trades = run(900)
    drawn = plots.equity_chart(bars.timestamp, equity, 3 * equity[::-1]).spec()["data"]
    np.testing.assert_array_equal(numbers(drawn[0]["y"]), equity)
    assert numbers(drawn[1]["y"])[0] == equity[0]
    days = pd.to_datetime(numbers(drawn[0]["x"]), unit="ms")
    assert (days == pd.bdate_range("2004-08-19", periods=900)).all()
    low = plots.drawdown_chart(bars.timestamp, equity).spec()["data"][0]
    np.testing.assert_allclose(numbers(low["y"]), equity / np.maximum.accumulate(equity) - 1, atol=1e-6)
    marks = {t.get("name"): t for t in plots.candle_chart(bars, trades).spec()["data"]}
    closed = [t for t in trades if not t["open"]]
    assert sum(len(numbers(marks[k]["x"])) for k in ("Entry, long", "Entry, short")) == len(trades)
    assert sum(len(numbers(marks[k]["x"])) for k in ("Exit with a gain", "Exit with a loss")) == len(closed)
    prices = sorted(t["entry_price"] for t in trades if t["direction"] > 0)
    assert sorted(numbers(marks["Entry, long"]["y"])) == prices


def test_long_histories_stay_light():
    bars, equity, trades = run(200_000, step="1min")
    charts = [plots.equity_chart(bars.timestamp, equity, equity), plots.drawdown_chart(bars.timestamp, equity, equity),
              plots.candle_chart(bars, trades), plots.pnl_chart(trades)]
    assert sum(len(json.dumps(c.spec())) for c in charts) < 700_000
    drawn = numbers(charts[0].spec()["data"][0]["y"])
    assert (drawn.min(), drawn.max()) == (equity.min(), equity.max())


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.integers(2, 60), st.sampled_from(["1d", "1h"]))
def test_coarse_candles_are_made_of_whole_bars(n, limit, resolution):
    close = np.random.default_rng(n).uniform(50, 60, n)
    step = 86_400_000_000_000 if resolution == "1d" else 3_600_000_000_000
    t = pd.Timestamp("2012-01-02 14:30").value + np.arange(n, dtype=np.int64) * step
    bars = Bars("X", resolution, t, close, close + 1, close - 1, close + 0.5, close)
    frame, _ = plots.coarsen(bars, limit=limit)
    assert len(frame) <= max(limit, 2)
    cuts = np.searchsorted(t, frame["timestamp"])
    assert cuts[0] == 0 and set(frame["timestamp"]) <= set(t)
    for (a, b), row in zip(zip(cuts, [*cuts[1:], n]), frame.itertuples()):
        assert (row.open, row.close) == (bars.open[a], bars.close[b - 1])
        assert (row.high, row.low) == (bars.high[a:b].max(), bars.low[a:b].min())


fragments = st.lists(st.sampled_from([
    "<b>", "</b>", "<div>", "</div>", "</main>", "<script>", "</script>", "</style>", "<!--", "-->", "<![CDATA[", "<?x",
    "<script src=//x.y/z.js>", "<style>@import 'x'", "<img src=x onerror=alert(1)>", "<iframe src=//x.y>", "<td",
    "<img src='data:image/png;base64,AAAA'>", "<a href='javascript:alert(1)'>", "<a href=https://x.y>", "<", ">",
    "<svg onload=alert(1)>", "<table><tr><td style='background:url(//x.y)'>", "&lt;script&gt;", "text", "\"", "'",
    "<link rel=stylesheet href=//x.y>", "<meta http-equiv=refresh content=0>"]), max_size=14)


@settings(max_examples=300, deadline=None)
@given(fragments)
def test_safe_html_lets_nothing_in(parts):
    clean = reports.safe_html("".join(parts))
    inside = Page(f"<main>{clean}</main>")
    assert inside.open == []
    assert set(inside.tags) <= reports.TAGS | {"main"} and inside.tags.count("main") == 1
    assert not inside.handlers and not inside.scripts
    assert all(t == "a" and v.startswith("https:") or v.startswith("data:image/") for t, v in inside.addresses)
    assert "url(" not in re.sub(r">[^<]*<", "><", clean)
    assert reports.safe_html(clean) == clean


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_any_text_stays_text(text):
    "In tables, cards, prose and specs."
    for html in (reports.Table((text, "b"), ((text, text), (text,)), caption=text)._repr_html_(),
                 reports.Cards(((text, text, text, text),))._repr_html_(), reports.prose(text),
                 reports.output_html(dict(output_type="stream", name="x", text=text))):
        page = Page(html.replace(f"<style>{reports.CARDS_CSS}</style>", ""))
        assert page.open == [] and not page.handlers and "script" not in page.tags and "img" not in page.tags
    assert json.loads(reports.script_json({"a": text})) == {"a": text} and "<" not in reports.script_json(text)
