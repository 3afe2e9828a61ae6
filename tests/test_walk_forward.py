"Walk-forward: nothing of the future, by planted leaks and by cutting history; runs that reproduce."
import csv
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from firebot.books import run_book
from firebot.books import verify as verify_run
from firebot.config import load_config
from firebot.events import read_factors
from firebot.feed import Panel, load_panel
from firebot.labels import Labels, make_labels
from firebot.learners import LightGBMStrategy, LogisticStrategy, Model, RidgeStrategy, fit_model, make_samples, reweighed
from firebot.models import ConfigError, DataError, RunError
from firebot.runs import execute, make_job
from firebot.sources import SampleSource, actions_csv
from firebot.studies import path_sharpes, run_study, study, study_files, verdict
from firebot.walk_forward import Plan, combinatorial, make_folds, purged, walk_forward

DECLARED: dict[str, Any] = {"week": ("returns", {"window": 5}), "calm": ("volatility", {"window": 20}),
                            "rank": {"indicator": "returns", "params": {"window": 20}, "across": "rank"}}
PLAN = Plan(300, 90, 3)


@pytest.fixture(scope="module")
def panel() -> Panel:
    "Three shares, of which one begins late"
    return load_panel(SampleSource(), ["AAPL", "GOOG", "IBM"], date(2003, 6, 2), date(2005, 12, 30))


@settings(max_examples=200, deadline=None)
@given(st.integers(30, 900), st.integers(2, 400), st.integers(1, 200), st.booleans())
def test_folds_cover_the_rest_once(rows: int, train: int, test: int, anchored: bool) -> None:
    "Tests follow each other without a gap to the last row; training ends where the test begins"
    if rows < train + 2:
        with pytest.raises(ConfigError, match="walk_forward.train"): make_folds(rows, Plan(train, test))
        return
    folds = make_folds(rows, Plan(train, test, anchored=anchored))
    assert [t for f in folds for t in range(*f.test)] == list(range(train, rows))
    assert all(f.train[1] == f.test[0] and f.train[0] == (0 if anchored else f.test[0] - train) for f in folds)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 500), st.integers(1, 120), st.integers(0, 30), st.sampled_from(["forward_return", "triple_barrier"]))
def test_purging_leaves_no_overlap(first: int, length: int, embargo: int, kind: str) -> None:
    "No label that is learned from spans a row, or shares a bar with a label, that is asked about; the embargo is kept"
    panel = _panel()
    samples = make_samples(panel, DECLARED, make_labels(panel, kind))
    last = min(first + length, len(panel)) - 1
    keep = purged(samples, first, last, embargo)
    asked = samples.take((samples.row >= first) & (samples.row <= last))
    ends = max(last, asked.end.max(initial=-1))
    for row, end in zip(samples.row[keep], samples.end[keep]): assert end < first - embargo or row > ends + embargo
    assert not keep[(samples.row >= first) & (samples.row <= last)].any()


def _panel(found: list[Panel] = []) -> Panel:  # noqa: B006 (kept between examples)
    if not found: found.append(load_panel(SampleSource(), ["AAPL", "IBM"], date(2003, 6, 2), date(2005, 12, 30)))
    return found[0]


@pytest.mark.parametrize(("strategy", "kind"), [(RidgeStrategy("x"), "forward_return"), (LightGBMStrategy("x", {"trees": 8}), "triple_barrier"),
                                                (LogisticStrategy("x", {"rule": "SmaCrossStrategy", "rule_fast": 1, "rule_slow": 3}), "sign")])
def test_the_future_changes_nothing(strategy: Any, kind: str, panel: Panel) -> None:
    "History cut at a test's first row, and history with everything from there on shuffled: models and answers before are the same"
    def walked(p: Panel, plan: Plan = PLAN) -> Any: return walk_forward(p, strategy, DECLARED, make_labels(p, kind), plan, 7, importance=False)
    whole = walked(panel)
    t = whole.folds[2].tests[0][0]
    order = np.r_[np.arange(t), t + np.random.default_rng(0).permutation(len(panel) - t)]
    shuffled = replace(panel, **{c: getattr(panel, c)[order] * np.where(np.arange(len(panel)) < t, 1.0, 3.0)[:, None]
                                 for c in ("open", "high", "low", "close", "volume")})
    for other in (walked(panel[:t]), walked(shuffled)):
        assert_array_equal(other.probability[:t], whole.probability[:t])
        assert_array_equal(other.signals[:t], whole.signals[:t])
        assert [f.digest for f in other.folds[:2]] == [f.digest for f in whole.folds[:2]]
    assert all(f.last_answer < f.tests[0][0] - PLAN.embargo for f in whole.folds)


def test_each_fold_is_the_model_it_would_be_alone(panel: Panel) -> None:
    "Trained apart on the purged window, it says the same of the test"
    labels, ridge = make_labels(panel), RidgeStrategy("x")
    walk = walk_forward(panel, ridge, DECLARED, labels, PLAN, 7, importance=False)
    samples, everything = make_samples(panel, DECLARED, labels), make_samples(panel, DECLARED)
    fold = make_folds(len(panel), PLAN)[1]
    window = samples.take((samples.row >= fold.train[0]) & (samples.end < fold.test[0] - 3))
    window = reweighed(window)
    model = Model(fit_model(window, ["ridge"], seed=7))
    asked = everything.take((everything.row >= fold.test[0]) & (everything.row < fold.test[1]))
    assert_array_equal(walk.probability[asked.row, asked.symbol], model.probability(asked.x()))
    assert walk.folds[1].digest == model.artefact.digest and walk.folds[1].examples == len(window)


def test_noise_is_worth_nothing_and_a_planted_truth_is_found(panel: Panel) -> None:
    "Labels of pure chance: no area beyond chance out of sample; labels that a feature knows: nearly one"
    draw, base = np.random.default_rng(5), make_labels(panel)
    values = make_samples(panel, DECLARED)
    chance = Labels(np.where(base.end >= 0, draw.choice([-1.0, 1.0], base.value.shape), np.nan), base.end)
    known = np.full(base.value.shape, np.nan)
    known[values.row, values.symbol] = np.sign(values.x()[:, 0])
    truth = Labels(np.where(base.end >= 0, known, np.nan), np.where(np.isnan(known), -1, base.end))
    trees = LightGBMStrategy("x", {"trees": 20})
    def area(labels: Labels) -> float:
        walk = walk_forward(panel, trees, DECLARED, labels, PLAN, 7, importance=False)
        return float(np.average([f.metrics["auc"] for f in walk.folds], weights=[f.metrics["examples"] for f in walk.folds]))
    assert abs(area(chance) - 0.5) < 0.06
    assert area(truth) > 0.97


def test_combinatorial_paths_cover_every_row_once(panel: Panel) -> None:
    "Each path asks about every bar; each choice is purged on both sides; the number of paths is that of the book"
    labels = make_labels(panel)
    found = combinatorial(panel, RidgeStrategy("x"), DECLARED, labels, Plan(groups=5, tests=2, embargo=4), 7)
    assert len(found.folds) == 10 and len(found.probability) == 4
    asked = make_samples(panel, DECLARED)
    for path in found.probability:
        there = ~np.isnan(path)
        assert there[asked.row, asked.symbol].all() and there.sum() == len(asked)
    assert len({path.tobytes() for path in found.probability}) == 4
    with pytest.raises(ConfigError, match="walk_forward.tests is 5"):
        combinatorial(panel, RidgeStrategy("x"), DECLARED, labels, Plan(groups=5, tests=5))


def test_a_fold_with_too_little_is_named(panel: Panel) -> None:
    "By its number"
    with pytest.raises(DataError, match="Fold 1 of"): walk_forward(panel, RidgeStrategy("x"), DECLARED, make_labels(panel), Plan(40, 90), 7)


# ---------------------------------------------------------------- as runs
TEXT = """
data_sources: [{type: sample, symbols: [AAPL, IBM]}]
run: {start: 2004-01-02, end: 2005-12-30, seed: 3}
strategies:
  - {name: ridge, class: firebot.strategies.RidgeStrategy, params: {enter: 0.55}}
  - {name: hold, class: firebot.strategies.BuyAndHoldStrategy}
features: {week: [returns, {window: 5}], calm: [volatility, {window: 20}]}
label: {kind: forward_return, params: {horizon: 5}}
walk_forward: {train: 250, test: 60, embargo: 2, groups: 4}
execution: {slippage_bps: 5}
"""

def test_the_curve_begins_with_the_first_question() -> None:
    "No bar that was learned from only is traded; strategies that do not learn take part over the same rows; sizes follow the run's"
    job = make_job(load_config(TEXT))
    made = study(job)
    outcome = run_study(made)
    assert len(made.job.panel) == len(job.panel) - 250 == len(outcome.equity)
    assert made.job.panel.start[0] == job.panel.start[250]
    signals = [e for e in outcome.events if e.kind == "signal" and e.strategy_id == "ridge"]
    assert signals and all(e.data["reasons"]["fold"] >= 1 if "reasons" in e.data else True for e in signals)
    assert {e.strategy_id for e in outcome.events if e.kind == "fill"} >= {"hold"}
    assert len(path_sharpes(job, made.job.strategies[0])) == 3  # type: ignore[arg-type]


@pytest.mark.parametrize(("set_", "says"), [
    ("walk_forward.train=2000", "walk_forward.train is 2,000 rows"), ("walk_forward.trian=3", "did you mean walk_forward.train"),
    ("label.kind=sgin", "did you mean 'sign'"), ("label={kind: sign, params: {horizon: 0}}", "label.params.horizon is 0"),
    ("walk_forward.train=60", "Fold 1"), ("strategies[0].params.model_path=models/x", "no folder"),
    ("strategies[0].enabled=false", "anything to learn")])
def test_what_cannot_be_walked_is_refused(set_: str, says: str) -> None:
    "By its key"
    with pytest.raises((ConfigError, DataError)) as error: study(make_job(load_config(TEXT, [set_])))
    assert says in str(error.value)


@pytest.mark.slow
def test_the_command_leaves_a_run_that_reproduces(tmp_path: Path) -> None:
    "firebot walkforward, then firebot verify in a fresh process: byte for byte; folds and importance are among the files"
    (tmp_path / "mine.yaml").write_text(TEXT)
    (tmp_path / "settings.ini").write_text("[firebot]\n")
    def firebot(*args: str) -> str:
        code = "import sys; from firebot.cli import main; main(sys.argv[1:])"
        done = subprocess.run([sys.executable, "-c", code, *args], cwd=tmp_path, capture_output=True, text=True)
        assert not done.returncode, done.stderr
        return done.stdout
    firebot("walkforward", "mine.yaml")
    [run] = [p.parent for p in (tmp_path / "reports").glob("*/manifest.json")]
    assert run.name.startswith("walk_forward-")
    rows = list(csv.DictReader((run / "folds_ridge.csv").open()))
    assert len(rows) == 5 and all(r["last_answer"] < r["test_start"] for r in rows)
    assert {"importance_ridge.csv", "report.html", "equity.csv", "gate.json"} <= {p.name for p in run.iterdir()}
    assert json.loads((run / "manifest.json").read_text())["kind"] == "walk_forward"
    assert "reproduced" in firebot("verify", str(run))
    assert "models/ridge/1" in firebot("train", "mine.yaml")
    firebot("backtest", "mine.yaml", "--set", "strategies[0].params={model_path: models/ridge/1}", "--set", "walk_forward=null")
    model = tmp_path / "models" / "ridge" / "1"
    assert "models/ridge/1 reproduced: 4 files equal" in firebot("verify", str(model))
    (model / "calibration.json").write_text((model / "calibration.json").read_text() + " ")
    found = verify_run(model)
    assert not found.reproduced and found.edited == found.differs == ("calibration.json",)
    card = json.loads((model / "card.json").read_text())
    (model / "card.json").write_text(json.dumps({k: v for k, v in card.items() if k != "config"}))
    with pytest.raises(RunError, match="was not made by `firebot train`"): verify_run(model)


def test_each_strategy_that_learned_is_a_trial() -> None:
    "The gate is that of their own accounts, each as it would be had no other been named; a rule beside them is no trial"
    names = ["strategies=[{name: ridge, class: RidgeStrategy}, {name: logistic, class: LogisticStrategy}, {name: hold, class: BuyAndHoldStrategy}]"]
    made = study(make_job(load_config(TEXT, names)))
    lone = study(make_job(load_config(TEXT, ["strategies=[{name: logistic, class: LogisticStrategy}]"])))
    assert list(made.alone) == ["ridge", "logistic"] and made.gate.trials == 2
    assert_array_equal(made.alone["logistic"].equity, run_study(lone).equity)
    assert made.gate.sharpe == pytest.approx(max(o.metrics["sharpe"] for o in made.alone.values()))
    assert made.alone[made.best].metrics["sharpe"] == pytest.approx(made.gate.sharpe)
    assert lone.gate.trials == 1 and "The only trial" in verdict(lone)
    told = json.loads(study_files(made)["gate.json"])
    assert told["strategy"] == made.best and told["verdict"] == verdict(made) and (told["reasons"] == []) == made.gate.passes


# ---------------------------------------------------------------- the study that the tutorial shows
def saved(book: Path, cell: str) -> str:
    "What a cell of a notebook printed or gave when it was saved"
    [found] = [c for c in json.loads(book.read_text())["cells"] if c["id"] == cell]
    return "".join(t for o in found["outputs"] for t in (o.get("text") or o["data"].get("text/markdown") or o["data"]["text/plain"]))


@pytest.mark.slow
def test_the_tutorial_is_the_command(tmp_path: Path, root: Path) -> None:
    "The run book makes the account and the verdict that the tutorial shows, and it reproduces byte for byte"
    done = run_book(load_config(root / "nbs" / "runs" / "walk_forward.yaml"), tmp_path, "walk_forward")
    page = root / "nbs" / "tutorials" / "honest_walk_forward.ipynb"
    metrics, gate = (json.loads((done.folder / name).read_text()) for name in ("metrics.json", "gate.json"))
    assert f"${metrics['final_equity']:,.0f}" in saved(page, "stages") and gate["verdict"] == saved(page, "verdict").strip()
    assert f"<p>{gate['verdict']}</p>" in (done.folder / "report.html").read_text()
    after = float(list(csv.DictReader((done.folder / "after_tax.csv").open()))[-1]["after_tax"])
    assert metrics["final_equity"] > after > 0
    assert {f"folds_{name}.csv" for name in gate["strategies"]} <= {f.name for f in done.folder.iterdir()}
    again = verify_run(done.folder)
    assert again.reproduced and set(again.same) == {f.name for f in done.folder.iterdir()} - {"manifest.json"}, str(again)


SHARED = Path(__file__).resolve().parent.parent.parent / "shared" / "data"

@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared market data")
def test_the_study_on_longer_histories(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    "The tutorial's study on AAPL, IBM, AIG and SPY, 1998 to 2021: no leak, the stages in order, twice the same"
    names, folder = ("AAPL", "IBM", "AIG", "SPY"), tmp_path / "bars"
    folder.mkdir()
    actions = []
    for name in names:
        shutil.copy(SHARED / "daily" / f"{name}.parquet", folder)
        file = SHARED / "corporate_actions" / f"{name.lower()}.csv"
        actions += read_factors(file.read_bytes(), file.name, name)
    (folder / "actions.csv").write_bytes(actions_csv(actions).encode())
    (tmp_path / "settings.ini").write_text("[firebot]\n")
    monkeypatch.setenv("FIREBOT_WORKSPACE", str(tmp_path))
    sets = [f"data_sources=[{{type: parquet, path: bars, symbols: [{', '.join(names)}]}}]", "walk_forward={train: 1008, test: 252, embargo: 5}"]
    config = load_config(root / "nbs" / "runs" / "walk_forward.yaml", sets)
    made = study(make_job(config))
    assert set(made.job.panel.symbols) == set(names) and len(made.job.panel) > 4500
    assert all(f.last_answer < f.tests[0][0] - 5 for w in made.walks.values() for f in w.folds)
    outcome, free = run_study(made), make_job(load_config(root / "nbs" / "runs" / "walk_forward.yaml", [*sets, "execution={}"]))
    unpriced = execute(replace(made.job, config=free.config, setup=free.setup), made.spoken)
    assert outcome.taxes is not None and outcome.taxes.after is not None
    assert unpriced.equity[-1] > outcome.equity[-1] > outcome.taxes.after.final > 0
    again = study(make_job(config))
    assert [f.digest for w in again.walks.values() for f in w.folds] == [f.digest for w in made.walks.values() for f in w.folds]
    assert run_study(again).events == outcome.events and study_files(again) == study_files(made)
