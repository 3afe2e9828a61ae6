"Sweeps: the same as one backtest a candidate, whoever did it; every trial counted; the folder whole, and the same again."
import json
import os
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from firebot.books import run_book, verify
from firebot.catalog import make_source
from firebot.config import ParallelConfig, SweepConfig, load_config
from firebot.engine import Seat, Setup, backtest
from firebot.feed import Panel, make_panel
from firebot.models import ConfigError
from firebot.rules import SmaCrossStrategy
from firebot.strategies import batch_signals
from firebot.sweep_runs import execute_sweep, gate_json, make_sweep, trials_csv, verdict
from firebot.sweeps import Ledger, Question, choices, drawn, form, grid, learned, possible, returns_of, search, simulate, sweep, values

TWO = ParallelConfig(enabled=True, num_workers=2)
WINDOWS = {"fast": {"from": 5, "to": 30, "step": 5}, "slow": [20, 40, 90]}


def panel_of(*symbols: str) -> Panel:
    source = make_source("sample")
    return make_panel([source.bars(s, None, None, "1d") for s in symbols], [source.instrument(s) for s in symbols],
                      [a for s in symbols for a in source.actions(s)])


@pytest.fixture(scope="module")
def question() -> Question:
    panel = panel_of("AAPL", "IBM")
    setup = Setup((Seat("candidate", size_value=Decimal(50)),), panel.instruments, slippage_bps=Decimal(5), per_share=Decimal("0.005"))
    return Question(panel, "SmaCrossStrategy", {}, setup)


@pytest.mark.parametrize(("cls", "params"), [
    ("SmaCrossStrategy", {"fast": [5, 20], "slow": [50]}), ("MomentumStrategy", {"lookback_window": [20, 60], "threshold": [0.0, 0.05]}),
    ("MeanReversionStrategy", {"lookback_window": [20], "entry": [1.0, 2.0]}), ("BreakoutStrategy", {"entry_window": [20, 55]}),
    ("RuleStrategy", {"slow_window": [50, 100]})])
def test_each_candidate_is_its_own_backtest(question: Question, cls: str, params: dict) -> None:
    q = replace(question, class_name=cls)
    found = sweep(q, grid(params))
    for c, final in zip(found.candidates, found.final):
        s = q.strategy(c)
        alone = backtest(q.panel, {"candidate": batch_signals(s, q.panel)}, q.setup)
        assert alone.equity[-1, 0] == final


@pytest.mark.parametrize("symbols", [("AAPL",), ("AAPL", "IBM", "MSFT"), ("FB", "IBM")]) # FB has no bars before 2012
def test_the_wide_way_gives_the_same_signals(symbols: tuple[str, ...]) -> None:
    panel, rng = panel_of(*symbols), np.random.default_rng(4)
    pairs = [sorted(rng.choice(np.arange(1, 400), 2, replace=False).tolist()) for _ in range(40)]
    strategies = [SmaCrossStrategy("x", dict(fast=a, slow=max(b, 2), allow_short=bool(i % 2))) for i, (a, b) in enumerate(pairs)]
    for s, got in zip(strategies, form(panel, strategies)): assert np.array_equal(got, batch_signals(s, panel), equal_nan=True)


def test_workers_change_nothing(question: Question) -> None:
    candidates = possible(question, grid({"fast": {"from": 2, "to": 18}, "slow": {"from": 20, "to": 29}}))
    a, b = sweep(question, candidates), sweep(question, candidates, TWO)
    assert len(candidates) > 128 and a.candidates == b.candidates
    for name in ("final", "fills"): assert np.array_equal(getattr(a, name), getattr(b, name))
    for name in ("sharpe", "skew", "kurtosis", "sums", "squares", "together"):
        assert getattr(a.trials, name).tobytes() == getattr(b.trials, name).tobytes()


def test_optuna_proposes_the_same_over_workers(question: Question) -> None:
    pytest.importorskip("optuna")
    a, b = (learned(question, WINDOWS, 40, 3, p) for p in (None, TWO))
    assert a.candidates == b.candidates and np.array_equal(a.final, b.final)
    assert len({json.dumps(c) for c in a.candidates}) == len(a.candidates) <= 18


def test_values_and_draws() -> None:
    assert values({"from": 0.1, "to": 0.35, "step": 0.1}) == [0.1, 0.2, 0.3] and values({"from": 3, "to": 5}) == [3, 4, 5]
    big = {"a": {"from": 1, "to": 1000}, "b": {"from": 1, "to": 1000}}
    some = drawn(big, 50, 1)
    assert some == drawn(big, 50, 1) != drawn(big, 50, 2) and len({tuple(x.values()) for x in some}) == 50
    with pytest.raises(ConfigError, match="take larger steps"): grid(big | {"c": [1, 2]})


def test_what_makes_no_strategy_is_no_trial(question: Question) -> None:
    found = search(question, SweepConfig(params={"fast": [10, 50], "slow": [30]}))
    assert found.candidates == ({"fast": 10, "slow": 30},)
    for params, says in (({"fats": [1]}, "fats"), ({"fast": [50], "slow": [30]}, "smaller than slow")):
        for how in ({}, {"search": "random", "trials": 3}):
            with pytest.raises(ConfigError, match=says): search(question, SweepConfig(params=params, **how))


def test_the_ledger_counts_each_trial_once(question: Question, tmp_path: Path) -> None:
    ledger, first = Ledger(tmp_path / "ledger.sqlite"), sweep(question, possible(question, grid(WINDOWS)))
    n = len(first.candidates)
    assert len(ledger.enter(question, first)) == 0 == len(ledger.enter(question, first))
    other = replace(question, class_name="MomentumStrategy")
    momentum = sweep(other, grid({"lookback_window": [20, 60]}))
    assert len(ledger.enter(other, momentum)) == n # another strategy, the same bars
    assert sorted(ledger.enter(question, first)) == sorted(momentum.trials.sharpe)
    shorter = replace(question, panel=question.panel[200:])
    assert len(ledger.enter(shorter, first)) == n + 2 # other dates are other trials
    dear = replace(question, setup=replace(question.setup, slippage_bps=Decimal(6)))
    assert len(ledger.enter(dear, first)) == 2 * n + 2 # so are other costs
    lone = panel_of("MSFT")
    alone = replace(question, panel=lone, setup=replace(question.setup, instruments=lone.instruments))
    assert len(ledger.enter(alone, first)) == 0 # other symbols


def test_a_choice_knows_nothing_of_what_comes_after(question: Question) -> None:
    "Poisoning the bars behind a stretch's beginning changes neither what was chosen before it nor its figures."
    candidates = possible(question, grid(WINDOWS))
    found = sweep(question, candidates)
    own = lambda i: returns_of(question, simulate(question, [candidates[i]]))[:, 0]
    chosen, after = choices(found, "walk_forward", 5, own)
    assert len(chosen) == 8 and len(after) == sum(c.last - c.first for c in chosen)
    cut = chosen[3].first - 5
    close, open_ = question.panel.close.copy(), question.panel.open.copy()
    close[cut + 1:] *= 3
    open_[cut + 1:] *= 3
    poisoned = sweep(replace(question, panel=replace(question.panel, close=close, open=open_)), candidates)
    assert [c.candidate for c in choices(poisoned, "walk_forward", 5, own)[0]][:4] == [c.candidate for c in chosen][:4]
    x = own(chosen[0].candidate)
    size = len(x) // 16
    head = x[len(x) - 16 * size:][:8 * size]
    assert chosen[0].first == len(x) - 8 * size + 5 and np.isclose(chosen[0].before, head.mean() / head.std(ddof=1))
    with pytest.raises(ConfigError, match="leave out fewer"): choices(found, "holdout", 10_000, own)


# ---------------------------------------------------------------- configuration, folder, command

CONFIG = """
data_sources: [{type: sample, symbols: [IBM]}]
strategies:
  - {name: cross, class: firebot.strategies.SmaCrossStrategy}
  - {name: other, class: firebot.strategies.BuyAndHoldStrategy, enabled: false}
sweep: {params: {fast: [10, 20], slow: [50, 100]}, validate: holdout}
"""


def test_a_study_is_the_same_over_workers_and_again(tmp_path: Path) -> None:
    first = execute_sweep(make_sweep(load_config(CONFIG)), tmp_path / "a" / "ledger.sqlite")
    again = execute_sweep(make_sweep(load_config(CONFIG, ["parallel.enabled=true", "parallel.num_workers=2"])), tmp_path / "b" / "ledger.sqlite")
    repeated = execute_sweep(make_sweep(load_config(CONFIG)), tmp_path / "a" / "ledger.sqlite")
    for x in (again, repeated):
        assert (trials_csv(x), gate_json(x), x.id_inputs) == (trials_csv(first), gate_json(first), first.id_inputs)
    more = execute_sweep(make_sweep(load_config(CONFIG, ["sweep.params.fast=[30]"])), tmp_path / "a" / "ledger.sqlite")
    assert more.gate.earlier == 4 and more.id_inputs != first.id_inputs and "No winner" in verdict(more)


@pytest.mark.parametrize(("change", "says"), [
    ("sweep.strategy=other", "no enabled strategy is called that"), ("sweep.params.fast={from: 20, to: 10}", "a range goes up"),
    ("sweep.params.fast=[]", "write a list"), ("sweep.trials=5", "a grid tries every combination"), ("sweep.search=random", "random search needs it"),
    ("sweep.validate=kfold", "none, holdout, walk_forward"), ("sweep.params.fsat=[1]", "fsat")])
def test_what_is_wrong_is_said(change: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=says): execute_sweep(make_sweep(load_config(CONFIG, [change])), tmp_path / "ledger.sqlite")


def test_the_command_leaves_a_folder_and_does_it_again(tmp_path: Path, root: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(CONFIG)
    def run(*more: str) -> subprocess.CompletedProcess:
        code = "import sys; from firebot.cli import main; main(sys.argv[1:])"
        env = {**os.environ, "PYTHONPATH": str(root), "FIREBOT_WORKSPACE": str(tmp_path)}
        return subprocess.run([sys.executable, "-c", code, "sweep", "sweep.yaml", *more], cwd=tmp_path, env=env, capture_output=True, text=True)
    done = run()
    assert done.returncode == 0 and "No winner: the result is consistent with luck" in done.stdout, done.stderr
    [folder] = [f for f in (tmp_path / "reports" / "sweeps").iterdir() if f.is_dir()]
    files = {"run.ipynb", "report.html", "config.yaml", "manifest.json", "trials.csv", "gate.json", "earlier.csv"}
    assert {f.name for f in folder.iterdir()} == files
    assert f"<p>{json.loads((folder / 'gate.json').read_text())['verdict']}</p>" in (folder / "report.html").read_text() # said in words
    before = {f.name: f.read_bytes() for f in folder.iterdir()}
    assert run("--set", "parallel.enabled=true").returncode == 0
    assert {f.name: f.read_bytes() for f in folder.iterdir()} == before
    assert len([f for f in (tmp_path / "reports" / "sweeps").iterdir() if f.is_dir()]) == 1
    wrong = run("--set", "sweep.params.slow=[5]")
    assert wrong.returncode == 2 and "smaller than slow" in wrong.stderr and "Traceback" not in wrong.stderr


@pytest.mark.slow
def test_a_sweep_is_verified_with_the_trials_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    "Elsewhere, where nothing was ever tried, the same earlier trials count; a forged one is found out"
    (tmp_path / "settings.ini").write_text("[firebot]\n")
    monkeypatch.setenv("FIREBOT_WORKSPACE", str(tmp_path))
    first, second = (run_book(load_config(CONFIG, [f"sweep.params.fast={fast}"]), None, "sweep").folder for fast in ([10, 20], [20, 30]))
    gates = [json.loads((f / "gate.json").read_text()) for f in (first, second)]
    assert [g["earlier"] for g in gates] == [0, 2] and len((second / "earlier.csv").read_text().split()) == 3
    for folder in (first, second):
        found = verify(folder)
        assert found.reproduced and set(found.same) == {f.name for f in folder.iterdir()} - {"manifest.json"}, str(found)
    rows = (second / "earlier.csv").read_text().splitlines()
    (second / "earlier.csv").write_text("\n".join(rows[:2]) + "\n") # one trial fewer, for a better verdict
    found = verify(second)
    assert not found.reproduced and found.edited == ("earlier.csv",) and "gate.json" in found.differs
