"Quotes from a file to the fills: in the backtest, in a paper session that is killed, through verify and parity; and files that are refused."
import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from pathlib import Path

import numpy as np
import pytest
from test_runs import firebot, folder

from firebot.config import load_config
from firebot.journal import last_step, read
from firebot.models import ConfigError, DataError, Quotes, from_ns, to_ns
from firebot.parity import forked, parity
from firebot.runs import Job, Outcome, execute, facts, inputs, make_job, quoted_bars, quoted_fills
from firebot.sessions import outcome_of, trade
from firebot.synthetic import SyntheticSource

MS = 1_000_000
CONFIG = """
data_sources: [{type: csv, path: bars, quotes: tick}]
strategies:
  - {name: cross, class: firebot.strategies.SmaCrossStrategy, params: {fast: 3, slow: 7}}
run: {resolution: 1m, seed: 11}
sizing: {rule: fixed_units, value: 10}
execution: {fill_model: realistic}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    "A morning of minutes of two symbols; from the 20th minute on the quote of ALPHA changes at each minute's start and 70 milliseconds later."
    root = tmp_path_factory.mktemp("workspace")
    (root / "bars").mkdir()
    (root / "settings.ini").write_text("")
    source, day = SyntheticSource(["ALPHA", "BRAVO"], date(2012, 11, 1), date(2012, 11, 20), seed=7), date(2012, 11, 20)
    for symbol in ("ALPHA", "BRAVO"):
        b = source.bars(symbol, day, day, "1m")[:150]
        lines = [f"{from_ns(t).isoformat()},{o:.2f},{h:.2f},{lo:.2f},{c:.2f},{v:.0f}" for t, o, h, lo, c, v in zip(
            b.timestamp.tolist(), b.open, b.high, b.low, b.close, b.volume)]
        (root / "bars" / f"{symbol}.csv").write_text("\n".join(["timestamp,open,high,low,close,volume", *lines]) + "\n")
        if symbol == "BRAVO": continue
        ticks = [f"{from_ns(t + at * MS).isoformat()},{o - below:.2f},{o + above:.2f},300,500" for t, o in zip(b.timestamp.tolist()[20:], b.open[20:])
                 for at, below, above in ((0, 0.01, 0.01), (70, 0.05, 0.06))]
        (root / "bars" / "ALPHA_quotes.csv").write_text("\n".join(["timestamp,bid,ask,bid_size,ask_size", *ticks]) + "\n")
    (root / "config.yaml").write_text(CONFIG)
    return root


def made(root: Path, *sets: str) -> Job: return make_job(load_config(root / "config.yaml", sets), root)


@pytest.fixture(scope="module")
def outcome(root: Path) -> Outcome: return execute(made(root))


def fills(o: Outcome) -> Iterator[tuple[dict, int, int, int]]:
    "Each fill, its instant, and when its order was accepted and had arrived."
    orders = {e.order_id: e for e in o.events if e.kind == "order"}
    for e in o.events:
        if e.kind != "fill": continue
        accepted = to_ns(orders[e.order_id].timestamp)
        yield dict(e.data, symbol=e.symbol, bar=e.bar), to_ns(e.timestamp), accepted, int(Decimal(orders[e.order_id].data["latency_ms"]) * MS)


def price(base: Decimal, side: str, bps: Decimal) -> Decimal:
    "A price slipped against the trader and rounded so, from four decimals to the cent."
    up = side == "buy"
    slipped = (base * (1 + (bps if up else -bps) / 10000)).quantize(Decimal("0.0001"), ROUND_HALF_EVEN)
    return slipped.quantize(Decimal("0.01"), ROUND_CEILING if up else ROUND_FLOOR)


def test_each_fill_is_priced_by_the_quote_that_its_order_meets_or_by_the_model(root: Path, outcome: Outcome) -> None:
    rows = list(csv.DictReader((root / "bars" / "ALPHA_quotes.csv").open()))
    quotes = [(int(np.datetime64(r["timestamp"][:-6], "ns").astype(np.int64)), Decimal(r["bid"]), Decimal(r["ask"])) for r in rows]
    panel, counts, met = outcome.job.panel, [0, 0], set()
    for f, when, accepted, latency in fills(outcome):
        start, s = int(panel.start[f["bar"]]), panel.symbols.index(f["symbol"])
        arrived = max(start, accepted + latency)
        known = [q for q in quotes if q[0] <= arrived] if f["symbol"] == "ALPHA" else []
        if known: base, bps = known[-1][2 if f["side"] == "buy" else 1], Decimal(5)
        else: base, bps = Decimal(str(panel.open[f["bar"], s])), Decimal(6) # and half of the spread of the profile
        assert Decimal(f["price"]) == price(base, f["side"], bps), f
        assert when == (arrived if known else start) // 1000 * 1000, "events know microseconds"
        counts[not known] += 1
        if known: met.add((arrived - start) // MS >= 70)
    assert met == {True, False}, "some orders arrive before the quote changes, some after"
    assert quoted_fills(outcome) == tuple(counts) and min(counts) > 10
    assert quoted_bars(panel) == {"ALPHA": (130, 150)}
    assert ("Fills at", f"{counts[0]} quotes, {counts[1]} prices with the spread of the model") in facts(outcome.job, outcome).rows
    assert any("BRAVO has no quotes" in w for w in outcome.job.warnings)


def test_without_quotes_and_without_latency_other_fills(root: Path, outcome: Outcome) -> None:
    plain, quick = execute(made(root, "data_sources=[{type: csv, path: bars}]")), execute(made(root, "execution.latency_ms=[0, 0]"))
    prices = [[f["price"] for f, *_ in fills(o) if f["symbol"] == "ALPHA"] for o in (outcome, plain)]
    assert len(prices[0]) == len(prices[1]) and prices[0] != prices[1]
    assert {e.kind for e in plain.events} == {e.kind for e in outcome.events} and quoted_fills(plain)[0] == 0
    assert quoted_fills(quick)[0] and not np.array_equal(quick.equity, outcome.equity), "without the way to the exchange each meets the first quote"
    assert inputs(plain.job)["bars"] != inputs(outcome.job)["bars"] == inputs(made(root))["bars"]
    assert outcome.job.sources["ALPHA"].keys() == {"ALPHA.csv", "ALPHA_quotes.csv"} and plain.job.sources["ALPHA"].keys() == {"ALPHA.csv"}


def test_a_session_that_is_killed_meets_the_same_quotes(root: Path, outcome: Outcome, tmp_path: Path) -> None:
    job, session = made(root), tmp_path / "session"
    for after in (12, 15):
        if not (pid := os.fork()):
            left = [after]
            def told(events: list, left: list[int] = left) -> None:
                left[0] -= 1
                if not left[0]: os.kill(os.getpid(), signal.SIGKILL)
            try: trade(job, session, told=told)
            finally: os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert trade(job, session)
    done = outcome_of(job, session)
    assert [(e.kind, e.timestamp, e.data) for e in done.events[1:]] == [(e.kind, e.timestamp, e.data) for e in outcome.events[1:]]
    assert done.job.record == "" and done.job.panel.digest() == job.panel.digest() and quoted_fills(done) == quoted_fills(outcome)


def test_both_clocks_agree_and_a_wrong_quote_is_found(root: Path) -> None:
    job = made(root)
    panel = job.panel[10:60]
    found = parity(panel, job.strategies, job.setup, forked(job.strategies, job.setup, "1m"))
    assert found.identical and found.events > 20
    wrong = parity(panel, job.strategies, job.setup, forked(job.strategies, job.setup, "1m", ("quotes", 33)), ())
    assert (wrong.stage, wrong.bar) == ("quotes", 33) and wrong.history != wrong.paper


@pytest.mark.parametrize(("change", "error", "says"), [
    (lambda r: [r[0], r[1].replace(r[1].split(",")[1], "999.00"), *r[2:]], DataError, "ALPHA_quotes.csv: row 1, ask '"),
    (lambda r: [r[0], r[1].replace(r[1].split(",")[1], "-5.00"), *r[2:]], DataError, "row 1, bid '-5.00'"),
    (lambda r: [r[0], r[1].replace(r[1].split(",")[2], "nan"), *r[2:]], DataError, "row 1, ask 'nan'"),
    (lambda r: [r[0], r[2], r[1], *r[3:]], DataError, "row 2, timestamp"),
    (lambda r: [r[0].replace("ask,", "offer,"), *r[1:]], DataError, "ask"),
    (lambda r: [x.replace("2012-11-20", "2012-11-19") for x in r], ConfigError, "data_sources[0].quotes is 'tick'; ALPHA: "),
    (lambda r: [r[0], *(x.replace("T14", "T20").replace("T15", "T21").replace("T16", "T22").replace("T17", "T23") for x in r[1:])],
     ConfigError, "the time zone of both"),
])
def test_broken_quotes_are_refused(root: Path, tmp_path: Path, change, error: type, says: str) -> None:
    import shutil
    shutil.copytree(root / "bars", tmp_path / "bars")
    file = tmp_path / "bars" / "ALPHA_quotes.csv"
    file.write_text("\n".join(change(file.read_text().splitlines())) + "\n")
    with pytest.raises(error) as refused: make_job(load_config(root / "config.yaml"), tmp_path)
    assert says in str(refused.value) and str(refused.value).strip().endswith((".", ")")), refused.value


@pytest.mark.parametrize(("sets", "says"), [
    (["data_sources=[{type: csv, path: bars, quotes: 5m}]"], "data_sources[0].quotes"),
    (["data_sources=[{type: csv, path: bars, quotes: 1m}]"], "data_sources[0].quotes"),
    (["data_sources=[{type: csv, path: bars, quotes: ticks}]"], "data_sources[0].quotes is 'ticks'"),
    (["data_sources=[{type: csv, path: bars, quotes: tick, symbols: [BRAVO]}]"], "the source has no quotes of BRAVO"),
    (["data_sources=[{type: sample, quotes: 1d}]", "run.resolution=1d"], "the source has no quotes of AAPL"),
    (["execution.latency_ms=[0, 60000]"], "execution.latency_ms"),
])
def test_a_configuration_that_asks_for_impossible_quotes_is_refused(root: Path, sets: list[str], says: str) -> None:
    with pytest.raises(ConfigError) as refused: made(root, *sets)
    assert says in str(refused.value)


def test_a_stored_quote_is_that_of_the_file(root: Path, outcome: Outcome, tmp_path: Path) -> None:
    done = firebot("data", "import", str(root / "bars"), "--store", str(tmp_path / "store"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    job = made(root, f"data_sources=[{{type: store, path: {tmp_path / 'store'}, quotes: tick}}]")
    assert job.panel.digest() == outcome.job.panel.digest()
    assert any("quotes" in f for f in job.sources["ALPHA"])


@pytest.mark.slow
def test_through_the_commands(root: Path, outcome: Outcome, tmp_path: Path) -> None:
    done = firebot("backtest", "config.yaml", "--out", str(tmp_path / "a"), cwd=root)
    assert done.returncode == 0 and "BRAVO has no quotes" in done.stderr, done.stderr
    run = folder(tmp_path / "a")
    sources = json.loads((run / "manifest.json").read_text())["sources"]
    assert "quotes, " in (run / "report.html").read_text() and "ALPHA_quotes.csv" in sources["ALPHA"]
    assert sum(e.kind == "fill" for e in read(run / "journal.sqlite")) == sum(quoted_fills(outcome))
    again = firebot("verify", str(run), cwd=root)
    assert again.returncode == 0 and "reproduced" in again.stdout, again.stdout + again.stderr
    words = [sys.executable, "-c", "import sys; from firebot.cli import main; main(sys.argv[1:])", "paper", "config.yaml", "--name", "s", "--out",
             str(tmp_path / "b"), "--speed", "900"]
    running = subprocess.Popen(words, cwd=root)
    journal = tmp_path / "b" / "sessions" / "s" / "journal.sqlite"
    while running.poll() is None and not (journal.exists() and (last := last_step(journal)) and last.row > 40): time.sleep(0.1)
    running.kill()
    assert running.wait() == -signal.SIGKILL
    finished = firebot("paper", "config.yaml", "--name", "s", "--out", str(tmp_path / "b"), cwd=root)
    assert finished.returncode == 0, finished.stderr
    paper = next(f for f in (tmp_path / "b").iterdir() if f.name.startswith("paper-"))
    assert (paper / "fills.csv").read_bytes() == (run / "fills.csv").read_bytes()
    told = firebot("parity", "config.yaml", cwd=root)
    assert told.returncode == 0 and told.stdout.startswith("identical: "), told.stdout + told.stderr


def test_the_last_word_of_an_instant_counts_and_yesterdays_does_not(root: Path) -> None:
    "Two days of minutes: no quote goes over night, and of two in one instant the later holds."
    from firebot.feed import make_panel
    source = SyntheticSource(["ALPHA"], date(2012, 11, 1), date(2012, 11, 20), seed=7)
    bars, thing = source.bars("ALPHA", date(2012, 11, 19), date(2012, 11, 20), "1m"), source.instrument("ALPHA")
    t = bars.timestamp[[0, 0, 5]] + np.array([0, 0, 30 * MS])
    bid, ask, size = np.array([10.0, 11.0, 12.0]), np.array([10.5, 11.5, 12.5]), np.ones(3)
    panel = make_panel([bars], [thing], quotes={"ALPHA": Quotes("ALPHA", "tick", t, *[bid] * 4, size, *[ask] * 4, size)})
    first = panel.quotes.time == panel.start[panel.quotes.row]
    held = panel.quotes.bid[first]
    assert (held[:6] == 11).all() and (held[6:390] == 12).all() and np.isnan(held[390:]).all()
    assert panel.quotes.told()[6] == [0, int(t[2]), 12.0, 12.5]


def test_quotes_go_to_the_workers_of_a_sweep(outcome: Outcome) -> None:
    from firebot.sweeps import filled, hollow, panel_arrays
    panel = outcome.job.panel
    bare = hollow(panel)
    assert len(bare.quotes) == 0 and filled(bare, panel_arrays(panel)).digest() == panel.digest()
