"Whole runs: through the command, through bare papermill, verified, refused, broken."
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import nbformat
import pytest

from firebot.books import book, load_manifest, tampered, verify
from firebot.config import config_from_blocks
from firebot.journal import digest, read
from firebot.runs import make_job

CONFIG = """
data_sources: [{type: sample}]
strategies:
  - {name: cross, class: firebot.strategies.SmaCrossStrategy, params: {fast: 20, slow: 50}}
  - {name: momentum, class: firebot.strategies.MomentumStrategy, params: {lookback_window: 60, threshold: 0.05}}
assets: [{symbol: AAPL}, {symbol: IBM}]
run: {start: 2004-06-01, end: 2006-06-30}
execution: {slippage_bps: 5, commission: {per_share: 0.005}}
"""
FILES = {"run.ipynb", "report.html", "config.yaml", "manifest.json", "journal.sqlite", "signals.csv", "orders.csv", "fills.csv", "equity.csv",
         "band.csv", "daily_pnl.csv", "positions.csv", "trades.csv",
         "metrics.json", "tax_history.csv", "realized.csv", "lots.csv", "wash_sales.csv", "form_8949.csv",
         "schedule_d.json"}


def firebot(*args: str, cwd: Path, **env: str) -> subprocess.CompletedProcess:
    code = "import sys; from firebot.cli import main; main(sys.argv[1:])"
    return subprocess.run([sys.executable, "-c", code, *args], cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True)


def folder(reports: Path) -> Path:
    made = [f for f in reports.iterdir() if (f / "manifest.json").exists()]
    assert len(made) == 1 and not [f for f in reports.iterdir() if f.name.startswith(".")], list(reports.iterdir())
    return made[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    "A run made by the command."
    root = tmp_path_factory.mktemp("workspace")
    (root / "config.yaml").write_text(CONFIG)
    done = firebot("backtest", "config.yaml", "--out", "out", cwd=root)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "quiet in a pipe"
    made = folder(root / "out")
    assert f"out/{made.name}/report.html" in done.stdout and "firebot verify" in done.stdout
    return made


def test_the_folder_is_whole_and_says_what_it_holds(run: Path) -> None:
    assert {f.name for f in run.iterdir()} == FILES
    manifest = json.loads((run / "manifest.json").read_text())
    assert set(manifest["results"]) == FILES - {"manifest.json"}
    assert manifest["run_id"] == run.name
    assert set(manifest["inputs"]) == {"config", "bars", "code", "book", "lock", "seed", "python", "packages"}
    assert set(manifest["sources"]) == {"AAPL", "IBM"}
    report = (run / "report.html").read_text()
    assert len(report.encode()) < 6_000_000 and "http-equiv=\"Content-Security-Policy\"" in report
    assert str(Path.home()) not in report + (run / "run.ipynb").read_text() + (run / "manifest.json").read_text()


def test_files_are_folds_of_the_journal(run: Path) -> None:
    import csv
    from decimal import Decimal
    events = list(read(run / "journal.sqlite"))
    assert json.loads((run / "manifest.json").read_text())["results"]["journal.sqlite"] == digest(run / "journal.sqlite")
    fills = list(csv.DictReader((run / "fills.csv").open()))
    assert list(fills[0]) == ["fill_id", "order_id", "timestamp", "symbol", "side", "quantity", "price", "amount", "commission", "strategy_id"]
    assert len(fills) == sum(e.kind == "fill" for e in events) > 20
    equity = list(csv.DictReader((run / "equity.csv").open()))
    pnl = [r for r in csv.DictReader((run / "daily_pnl.csv").open()) if r["strategy_id"] == "*"]
    assert len(pnl) == len(equity)
    assert sum(Decimal(r["total"]) for r in pnl) == Decimal(equity[-1]["equity"]) - 100_000
    held = list(csv.DictReader((run / "positions.csv").open()))
    assert Decimal(pnl[-1]["cash"]) + sum(Decimal(r["market_value"]) for r in held) == Decimal(equity[-1]["equity"])
    assert float(equity[-1]["equity"]) == json.loads((run / "metrics.json").read_text())["final_equity"]


def test_bare_papermill_runs_it_again_and_agrees(run: Path, tmp_path: Path) -> None:
    "Into the same reports: the same inputs name the same run, which must come out the same; the recorded notebook is papermill's."
    (tmp_path / "config.yaml").write_text(CONFIG)
    command = [sys.executable, "-m", "papermill", str(book()), "out.ipynb", "-f", "config.yaml", "-k", "python3", "--no-progress-bar"]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, "FIREBOT_REPORTS": str(run.parent)}, capture_output=True, text=True)
    assert done.returncode == 0 and folder(run.parent) == run, done.stderr
    ours, theirs = nbformat.read(run / "run.ipynb", 4), nbformat.read(tmp_path / "out.ipynb", 4)
    nbformat.validate(ours)
    def bare(cells: list) -> list:
        return [(c.cell_type, c.source, [(o.output_type, o.get("data")) for o in c.get("outputs", [])]) for c in cells
                if c.cell_type != "raw" and "injected-parameters" not in c.metadata.get("tags", [])]
    assert bare(ours.cells) == bare(theirs.cells[:-1])


def test_verify_reproduces_under_another_hash_seed_zone_locale_and_folder(run: Path) -> None:
    verdict = verify(run)
    assert verdict.reproduced and set(verdict.same) == FILES - {"manifest.json"}, verdict


def changed_copy(run: Path, to: Path, name: str, change: Mapping[str, str] | str, fix: bool) -> Path:
    copy = to / run.name
    shutil.copytree(run, copy)
    text = (copy / name).read_text()
    (copy / name).write_text(text + change if isinstance(change, str) else text.replace(*next(iter(change.items()))))
    if fix:
        from firebot.books import file_digest
        manifest = json.loads((copy / "manifest.json").read_text())
        manifest["results"][name] = file_digest(copy / name)
        (copy / "manifest.json").write_text(json.dumps(manifest))
    return copy


def test_a_changed_missing_or_added_file_is_found(run: Path, tmp_path: Path) -> None:
    copy = changed_copy(run, tmp_path, "fills.csv", "F999999,O000001\n", fix=False)
    (copy / "orders.csv").unlink()
    (copy / "notes.txt").touch()
    assert tampered(copy, load_manifest(copy)) == ["fills.csv", "orders.csv", "notes.txt"]


@pytest.mark.slow
def test_a_forged_manifest_does_not_help(run: Path, tmp_path: Path) -> None:
    copy = changed_copy(run, tmp_path, "metrics.json", {'"trades": ': '"trades": 1'}, fix=True)
    done = firebot("verify", str(copy), cwd=tmp_path)
    assert done.returncode == 1 and "results that differ: metrics.json" in done.stdout, done


@pytest.mark.parametrize(("config", "code", "says"), [
    ("strategies: [{name: a, class: Nope}]\ndata_sources: [{type: sample}]\n", 2, "Nope"),
    ("strategies: [{name: a, class: SmaCrossStrategy}]\ndata_sources: [{type: sample}]\nexecution: {fill_model: nextopen}\n", 2, "next_open"),
    ("strategies: [{name: a, class: SmaCrossStrategy, params: {fast: \"${HOME}\"}}]\ndata_sources: [{type: sample}]\n", 2, "params"),
    ("strategies: [{name: a, class: SmaCrossStrategy}]\ndata_sources: [{type: csv, path: nowhere}]\n", 2, "nowhere"),
    ("strategies: [{name: a, class: SmaCrossStrategy}]\ndata_sources: [{type: sample}]\nassets: [{symbol: AAPLE}]\n", 2, "AAPL"),
    ("strategies: [{name: a, class: SmaCrossStrategy}]\ndata_sources: [{type: sample}]\nexection: {}\n", 2, "execution"),
])
def test_refusals_are_one_paragraph_with_an_exit_code(config: str, code: int, says: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(config)
    done = firebot("backtest", "config.yaml", "--check", cwd=tmp_path)
    assert os.environ["HOME"] not in done.stderr.replace(str(tmp_path), "")
    assert done.returncode == code and says in done.stderr and done.stderr.startswith("error: "), done
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


def test_a_failed_run_keeps_its_notebook_and_makes_no_folder(tmp_path: Path) -> None:
    bad = "timestamp,open,high,low,close,volume\n2020-01-02,10,11,9,10,5\n2020-01-03,10,9,11,10,5\n"
    (tmp_path / "bars").mkdir()
    (tmp_path / "bars" / "X.csv").write_text(bad)
    (tmp_path / "config.yaml").write_text("strategies: [{name: a, class: SmaCrossStrategy}]\ndata_sources: [{type: csv, path: bars}]\n")
    done = firebot("backtest", "config.yaml", cwd=tmp_path)
    assert done.returncode == 1 and "X.csv" in done.stderr and "Traceback" not in done.stderr, done
    assert [f.name for f in (tmp_path / "reports").iterdir()] == ["failed"]
    kept = nbformat.read(next((tmp_path / "reports" / "failed").iterdir()), 4)
    assert any(o.output_type == "error" for c in kept.cells for o in c.get("outputs", []))


def test_csv_and_parquet_sources_and_other_exchanges_run_too(tmp_path: Path) -> None:
    import numpy as np
    rng = np.random.default_rng(5)
    close = np.round(100 * np.exp(np.cumsum(rng.normal(0, 0.03, 120))), 2)
    rows = "".join(f"2021-{1 + i // 28:02d}-{1 + i % 28:02d},{c},{c + 1},{c - 1},{c},5\n" for i, c in enumerate(close))
    (tmp_path / "bars").mkdir()
    (tmp_path / "bars" / "BTC-USD.csv").write_text("date,open,high,low,close,volume\n" + rows)
    (tmp_path / "config.yaml").write_text(
        "data_sources: [{type: csv, path: bars}]\nstrategies: [{name: a, class: SmaCrossStrategy, params: {fast: 3, slow: 8}}]\n"
        "instruments: [{symbol: BTC-USD, exchange: 24/7, asset_class: crypto}]\nsizing: {rule: all_cash, fractional: true}\n"
        "execution: {fill_model: instant, commission: {relative: 0.001}}\n")
    done = firebot("backtest", "config.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    fills = (folder(tmp_path / "reports") / "fills.csv").read_text().splitlines()
    assert len(fills) > 3 and "T00:00:00+00:00" in fills[1], "a day of the 24/7 market closes at midnight UTC"


def test_help_and_usage(tmp_path: Path) -> None:
    assert firebot("--help", cwd=tmp_path).returncode == 0
    assert firebot(cwd=tmp_path).returncode == 0
    wrong = firebot("backtest", cwd=tmp_path)
    assert wrong.returncode == 2 and "CONFIG" in wrong.stderr
    missing = firebot("backtest", "nowhere.yaml", cwd=tmp_path)
    assert missing.returncode == 2 and "nowhere.yaml" in missing.stderr
    (tmp_path / "config.yaml").write_text(CONFIG)
    nowhere = firebot("backtest", "config.yaml", "--out", "/proc/nope", cwd=tmp_path)
    assert nowhere.returncode == 1 and nowhere.stderr.startswith("error: /proc/nope") and nowhere.stderr.count("\n") == 1
    no_run = firebot("verify", str(tmp_path), cwd=tmp_path)
    assert no_run.returncode == 1 and "not a run folder" in no_run.stderr


@pytest.mark.parametrize(("folder", "resolution", "most"), [("minute", "1m", "SPY"), ("hour", "1h", "AAPL")])
def test_real_intraday_bars_run_too(folder: str, resolution: str, most: str) -> None:
    "Bars stamped in exchange time, extended hours included; a decision never fills on its own bar."
    from firebot.config import load_config
    from firebot.runs import execute, make_job
    bars = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / folder
    if not bars.is_dir(): pytest.skip("the real intraday bars are not here")
    outcome = execute(make_job(load_config(f"""
data_sources: [{{type: parquet, path: "{bars}", symbols: [{most}], zone: America/New_York}}]
strategies: [{{name: cross, class: SmaCrossStrategy, params: {{fast: 10, slow: 40}}}}]
run: {{resolution: {resolution}}}
execution: {{slippage_bps: 1}}
""")))
    fills = [e for e in outcome.events if e.kind == "fill"]
    assert len(fills) > 20
    decided = {e.order_id: e for e in outcome.events if e.kind == "order"}
    assert all(e.timestamp >= decided[e.order_id].timestamp and e.bar > decided[e.order_id].bar for e in fills)


def test_two_unnamed_sources_of_one_type_and_symbols_of_different_hours_measured_by_the_day(tmp_path: Path) -> None:
    from firebot.config import load_config
    from firebot.runs import execute, make_job
    for folder, symbol in (("one", "AAA"), ("two", "BBB")):
        (tmp_path / folder).mkdir()
        rows = "".join(f"2020-01-{d:02d},10,11,9,10,5\n" for d in (6, 7, 8))
        (tmp_path / folder / f"{symbol}.csv").write_text("date,open,high,low,close,volume\n" + rows)
    text = ("data_sources: [{type: csv, path: one}, {type: csv, path: two}]\n"
            "strategies: [{name: a, class: BuyAndHoldStrategy}]\n")
    assert make_job(load_config(text), tmp_path).panel.symbols == ("AAA", "BBB")
    job = make_job(load_config(text + "instruments: [{symbol: BBB, exchange: 24/7}]\n"), tmp_path)
    assert len(job.panel) == 6 and execute(job).metrics["bars"] == 3 # rows end at two times of each day


def test_closed_days_and_missing_sessions_are_warnings(tmp_path: Path) -> None:
    "Of a run, with their count and the first: a Sunday that has a bar, and two holes in January"
    days = [f"2012-01-{d:02}" for d in (3, 4, 8, 9, 10, 13, 17, 18, 19, 20, 23, 24)]
    rows = [f"{d},100.00,101.00,99.00,{100 + i % 2}.00,1000" for i, d in enumerate(days)]
    (tmp_path / "IBM.csv").write_text("\n".join(["date,open,high,low,close,volume", *rows]) + "\n")
    config = config_from_blocks(dict(data_sources=[dict(type="csv", path=str(tmp_path))], assets=[dict(symbol="IBM")],
                                     strategies=[{"name": "hold", "class": "BuyAndHoldStrategy"}]))
    said = make_job(config, tmp_path).warnings
    [closed], [missing] = [w for w in said if "closed" in w], [w for w in said if "sessions without a bar" in w]
    assert closed.startswith("IBM 2012-01-08:")
    assert "follows 2 sessions without a bar, the first 2012-01-05" in missing and "(1 more of this kind)" in missing
