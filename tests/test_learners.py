"Learners: the same bytes from the same training, the same bits in both clocks, nothing loaded that could run or does not fit."
import json
import os
import pickle
import subprocess
import sys
import zipfile
from dataclasses import replace
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from firebot.audit import audit_subject, subjects_of, warm_up
from firebot.config import load_config
from firebot.feed import Panel, load_panel, replay
from firebot.labels import make_labels, meta_labels
from firebot.learners import (
    LEARNERS,
    LightGBMStrategy,
    LogisticStrategy,
    Model,
    Prepare,
    RandomForestStrategy,
    RidgeStrategy,
    StackedStrategy,
    XGBoostStrategy,
    calibrated,
    fit_isotonic,
    fit_model,
    fit_platt,
    inner_split,
    make_samples,
    measures,
    permutation_importance,
    shap_importance,
    train_model,
)
from firebot.model_store import Artefact, load_model, model_folder, same_features, save_model, versions
from firebot.models import ConfigError, DataError
from firebot.rules import make_strategy
from firebot.runs import execute, inputs, make_job
from firebot.sources import SampleSource
from firebot.strategies import StreamRunner, batch_signals
from firebot.studies import train

DECLARED: dict[str, Any] = {"week": ("returns", {"window": 5}), "month": ("returns", {"window": 20}), "calm": ("volatility", {"window": 20}),
                            "rank": {"indicator": "rsi", "across": "rank"}, "late": ("returns", {"window": 5}, "close", "", 5),
                            "day": ("calendar.weekday",)}
SMALL: dict[type, dict[str, Any]] = {
    LogisticStrategy: {}, RidgeStrategy: {"select": 3}, RandomForestStrategy: {"trees": 7, "depth": 4}, LightGBMStrategy: {"trees": 15, "rows": 0.7},
    XGBoostStrategy: {"trees": 15, "calibrate": "isotonic"}, StackedStrategy: {"members": "ridge, xgboost"}}


@pytest.fixture(scope="module")
def panel() -> Panel:
    "Four shares, of which one begins late"
    return load_panel(SampleSource(), ["AAPL", "GOOG", "IBM", "MSFT"], date(2003, 6, 2), date(2006, 6, 30))


@pytest.fixture(scope="module")
def stored(panel: Panel, tmp_path_factory: pytest.TempPathFactory) -> dict[type, Path]:
    "A model of each kind, trained on the first two years"
    folder, past = tmp_path_factory.mktemp("models"), panel[:500]
    labels = make_labels(past, "triple_barrier", {"horizon": 8})
    made = {cls: train_model(cls(cls.__name__, told), past, DECLARED, labels, seed=11) for cls, told in SMALL.items()}
    return {cls: save_model(artefact, folder, cls.__name__) for cls, artefact in made.items()}


@pytest.mark.parametrize("cls", SMALL)
def test_batch_and_stream_are_bit_equal(cls: Any, panel: Panel, stored: dict[type, Path]) -> None:
    "Over bars it has not seen, holes and a late beginning included; and from a state in the middle"
    told = {"model_path": str(stored[cls]), "enter": 0.52, "leave": 0.5, "allow_short": True}
    strategy, some = cls("x", told), panel[380:520]
    said, runner, later = batch_signals(strategy, some), StreamRunner(strategy, 4), StreamRunner(strategy, 4)
    for row in replay(some):
        if row.t == 100: later.restore(json.loads(json.dumps(runner.state())))
        got = runner.update(row.panel)
        assert got.tobytes() == said[row.t].tobytes()
        if row.t >= 100: assert later.update(row.panel).tobytes() == said[row.t].tobytes()
    assert (~np.isnan(said)).sum() > 100


@pytest.mark.parametrize("cls", SMALL)
def test_any_part_of_a_batch_says_the_same(cls: Any, panel: Panel, stored: dict[type, Path]) -> None:
    "One, three, or all in another order"
    model, x = Model(load_model(stored[cls])), make_samples(panel[500:], DECLARED).x()
    whole, order = model.probability(x), np.random.default_rng(0).permutation(len(x))
    assert_array_equal(model.probability(np.asfortranarray(x[order])), whole[order])
    for i in range(0, 90, 3):
        assert_array_equal(model.probability(x[i:i + 3]), whole[i:i + 3])
        assert_array_equal(model.probability(x[i:i + 1]), whole[i:i + 1])
    assert ((whole >= 0) & (whole <= 1)).all()


AGAIN = """
import sys; sys.path.insert(0, {tests!r})
from datetime import date
from test_learners import DECLARED, SMALL, SampleSource, load_panel, make_labels, train_model
panel = load_panel(SampleSource(), ["AAPL", "GOOG", "IBM", "MSFT"], date(2003, 6, 2), date(2006, 6, 30))[:500]
labels = make_labels(panel, "triple_barrier", {{"horizon": 8}})
for cls, told in SMALL.items(): print(cls.__name__, train_model(cls(cls.__name__, told), panel, DECLARED, labels, seed=11).digest)
"""

def test_training_again_elsewhere_gives_the_same_bytes(stored: dict[type, Path]) -> None:
    "Another process, another hash seed, more threads on offer: the digest over card and files is the same"
    env = {**os.environ, "PYTHONHASHSEED": "77", "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", AGAIN.format(tests=str(Path(__file__).parent))], capture_output=True, text=True, env=env, check=True)
    digests = dict(line.split() for line in done.stdout.splitlines() if line.endswith(tuple("0123456789abcdef")) and len(line.split()) == 2)
    assert digests == {cls.__name__: load_model(path).digest for cls, path in stored.items()}


def test_the_forest_is_the_forest_of_scikit_learn(panel: Panel) -> None:
    "Our sum over its trees is its own probability, and no address or hour is left in its file"
    from sklearn.ensemble import RandomForestClassifier
    samples = make_samples(panel, DECLARED, make_labels(panel))
    first, _ = inner_split(samples, 0.25)
    artefact = fit_model(samples, ["forest"], {"trees": 9, "depth": 3}, seed=5)
    weight = first.weight / first.weight.mean()
    forest = RandomForestClassifier(9, max_depth=3, min_samples_leaf=50, max_features=0.5, n_jobs=1, random_state=5)
    forest.fit(first.x(), first.y > 0, weight)
    assert_allclose(LEARNERS["forest"].load(artefact.files["forest.skops"])(samples.x()), forest.predict_proba(samples.x())[:, 1], rtol=1e-12)
    inside = zipfile.ZipFile(BytesIO(artefact.files["forest.skops"]))
    assert {i.date_time for i in inside.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert max(int(i.filename[:-4]) for i in inside.infolist() if i.filename != "schema.json") < 10_000


def test_lightgbm_text_carries_no_thread_count(stored: dict[type, Path]) -> None:
    "And the features by name"
    text = (stored[LightGBMStrategy] / "lightgbm.txt").read_text()
    assert "num_threads" not in text and "feature_names=week month calm rank late day" in text


# ---------------------------------------------------------------- training looks at nothing else
def test_training_is_blind_to_what_it_was_not_given(panel: Panel) -> None:
    "Scalers, selectors, models and calibration are the same when the examples outside are poisoned"
    samples = make_samples(panel, DECLARED, make_labels(panel))
    part = samples.take(samples.end < 400)
    table = samples.table.copy()
    table[np.setdiff1d(np.arange(len(table)), part.at)] = 1e6
    for kind in ("ridge", "lightgbm"):
        told = {"select": 3}
        assert fit_model(part, [kind], told).digest == fit_model(replace(part, table=table), [kind], told).digest


def test_inner_split_is_purged(panel: Panel) -> None:
    "No answer of the fitting part was open when calibration began"
    first, last = inner_split(make_samples(panel, DECLARED, make_labels(panel, "sign", {"horizon": 20})), 0.3)
    assert first.end.max() < last.row.min()
    assert len(first) and len(last)


def test_too_little_to_learn_from_is_refused(panel: Panel) -> None:
    "Few examples, or of one kind only"
    samples = make_samples(panel, DECLARED, make_labels(panel))
    with pytest.raises(DataError, match="examples to fit"): fit_model(samples.take(np.arange(30)), ["ridge"])
    with pytest.raises(DataError, match="0 of them rises"): fit_model(samples.take(samples.y < 0), ["ridge"])
    with pytest.raises(ConfigError, match="did you mean 'forest'"): fit_model(samples, ["forrest"])


def test_prepare_keeps_the_best_and_scales() -> None:
    "By rank correlation; a constant stays finite"
    draw = np.random.default_rng(1)
    x = draw.normal(size=(400, 4))
    x[:, 3] = 2.5
    y = np.exp(2 * x[:, 1]) + 0.1 * draw.normal(size=400)
    assert Prepare.fit(x, y, 1).keep == (1,)
    assert_allclose(Prepare.fit(x, y).apply(x).mean(axis=0), 0, atol=1e-12)
    assert np.isfinite(Prepare.fit(x, y).apply(x)).all()


# ---------------------------------------------------------------- calibration and measures
def test_platt_against_scikit_learn() -> None:
    "The same optimum as an unpenalised logistic regression on Platt's targets, nearly"
    from sklearn.linear_model import LogisticRegression
    draw = np.random.default_rng(2)
    s = draw.normal(3, 2, 5000)
    up = draw.random(5000) < 1 / (1 + np.exp(-(0.4 * s - 1)))
    ours, theirs = fit_platt(s[:, None], up), LogisticRegression(C=1e9).fit(s[:, None], up)
    assert_allclose([ours["weights"][0], ours["bias"]], [theirs.coef_[0, 0], theirs.intercept_[0]], rtol=5e-3)
    assert measures(calibrated(ours, s[:, None]), up)["log_loss"] < measures(np.full(5000, up.mean()), up)["log_loss"]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_isotonic_rises_and_stays_within(seed: int) -> None:
    "Between 0 and 1, never falling, also beyond what it saw"
    draw = np.random.default_rng(seed)
    s, up = draw.normal(size=60), draw.random(60) < 0.5
    p = calibrated(fit_isotonic(s[:, None], up), np.sort(np.r_[s, -99, 99])[:, None])
    assert (np.diff(p) >= 0).all() and p.min() >= 0 and p.max() <= 1


def test_measures_against_scikit_learn() -> None:
    "Area, loss and Brier's score, ties included"
    from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score
    draw = np.random.default_rng(4)
    up, p = draw.random(500) < 0.4, draw.integers(1, 20, 500) / 20
    got = measures(p, up)
    want = [roc_auc_score(up, p), log_loss(up, np.clip(p, 1e-12, 1 - 1e-12)), brier_score_loss(up, p)]
    assert_allclose([got["auc"], got["log_loss"], got["brier"]], want, atol=1e-6)


def test_importance_finds_the_one_that_matters(panel: Panel) -> None:
    "Labels made of one feature: shuffled it costs most, and SHAP says the same for weighted sums and every kind of tree"
    draw, samples = np.random.default_rng(3), make_samples(panel, DECLARED, make_labels(panel))
    month = samples.x()[:, 1]
    y = np.where(draw.random(len(month)) < 0.9, np.sign(month), -np.sign(month))
    made = replace(samples, y=y)
    train, test = made.take(made.end < 500), made.take(made.row >= 500)
    for kind, told in (("ridge", {}), ("forest", {"trees": 10}), ("lightgbm", {"trees": 20}), ("xgboost", {"trees": 20})):
        model = Model(fit_model(train, [kind], told))
        cost, shap = permutation_importance(model, test), shap_importance(model, test)
        assert max(cost, key=cost.__getitem__) == "month" and cost["month"] > 0.05
        assert max(shap, key=shap.__getitem__) == "month"
        assert permutation_importance(model, test) == cost


def test_contributions_add_up_to_the_score(panel: Panel) -> None:
    "The SHAP values of an example come to its score, but for one constant"
    samples = make_samples(panel, DECLARED, make_labels(panel))
    for kind in ("logistic", "ridge", "lightgbm"):
        model = Model(fit_model(samples, [kind], {"trees": 10} if kind == "lightgbm" else {}))
        x = model.members[0][0].apply(samples.x()[::50])
        explain, file = LEARNERS[kind].shap, kind + LEARNERS[kind].suffix
        assert explain
        rest = model.members[0][1](x) - explain(model.artefact.files[file], x).sum(axis=1)
        assert_allclose(rest, rest[0], atol=1e-9)


# ---------------------------------------------------------------- the store
def artefact(**more: Any) -> Artefact:
    return Artefact({"learners": ["ridge"], "features": {"x": ["last"]}, **more}, {"ridge.json": b"{}\n"})

def test_versions_grow_and_the_same_is_found(tmp_path: Path) -> None:
    "By content, not by name"
    paths = [save_model(artefact(seed=s), tmp_path, "m") for s in (1, 2, 1, 3)]
    assert [p.name for p in paths] == ["1", "2", "1", "3"] and versions(tmp_path / "m") == [1, 2, 3]
    assert load_model(tmp_path / "m").card["seed"] == 3
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == ["1", "2", "3"]


def test_two_processes_store_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    "Who comes second gets the next number"
    from firebot import model_store
    save_model(artefact(seed=1), tmp_path, "m")
    monkeypatch.setattr(model_store, "versions", lambda folder: [])
    assert save_model(artefact(seed=2), tmp_path, "m").name == "2"


@pytest.mark.parametrize(("path", "says"), [
    ("m.pkl", "a pickle file, which runs code"), ("m.joblib", "a joblib file"), ("models/t.pt", r"`firebot convert CONFIG models/t.pt`"),
    ("T.PTH", "PyTorch"), ("nowhere/m", "no folder"), (".", "without a card.json")])
def test_what_could_run_is_refused(path: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    "By its name, before anything is opened"
    monkeypatch.setenv("FIREBOT_WORKSPACE", str(tmp_path))
    with pytest.raises(ConfigError, match=says): model_folder(path)


def test_a_pickle_inside_is_never_opened(tmp_path: Path) -> None:
    "Under whatever name it comes"
    class Bomb:
        def __reduce__(self) -> tuple: return (Path.touch, (tmp_path / "boom",))
    bomb = pickle.dumps(Bomb())
    path = save_model(artefact(), tmp_path, "m")
    (path / "model.pkl").write_bytes(bomb)
    with pytest.raises(DataError, match="model.pkl is not on the card"): load_model(path)
    (path / "model.pkl").unlink()
    (path / "ridge.json").write_bytes(bomb)
    with pytest.raises(DataError, match="ridge.json is not what the card says"): load_model(path)
    for name in ("forest.skops", "lightgbm.txt", "xgboost.json"):
        with pytest.raises(Exception): LEARNERS[name.split(".")[0]].load(bomb)  # noqa: B017 (each library has its own)
    assert not (tmp_path / "boom").exists()
    with pytest.raises(DataError, match="m.pkl is no file of a model"): save_model(Artefact({}, {"m.pkl": b""}), tmp_path, "n")


def test_skops_with_strange_types_is_refused() -> None:
    "A type that is not on the list is named"
    import skops.io
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF
    strange = skops.io.dumps(GaussianProcessRegressor(RBF()))
    if not skops.io.get_untrusted_types(data=strange): pytest.fail("skops trusts it; choose another type")
    with pytest.raises(DataError, match="which is not trusted"): LEARNERS["forest"].load(strange)


@pytest.mark.parametrize(("change", "says"), [
    ("{}", "not of format 1"), ("[", "cannot be read"), ('{"format": 1, "files": {"../x.json": "0"}}', "is no file of a model")])
def test_a_broken_card_is_refused(change: str, says: str, tmp_path: Path) -> None:
    "Named"
    path = save_model(artefact(), tmp_path, "m")
    (path / "card.json").write_text(change)
    if "x.json" in change: (path / "ridge.json").unlink()
    with pytest.raises(DataError, match=says): load_model(path)


# ---------------------------------------------------------------- as strategies
@pytest.fixture
def text(stored: dict[type, Path]) -> str:
    return f"""
data_sources: [{{type: sample, symbols: [AAPL, GOOG, IBM, MSFT]}}]
run: {{start: 2005-06-01, end: 2006-06-30}}
strategies: [{{name: trees, class: firebot.strategies.LightGBMStrategy, params: {{model_path: {stored[LightGBMStrategy]}, enter: 0.52}}}}]
"""

def test_a_stored_model_runs_as_any_strategy(text: str) -> None:
    "By its class and path; the model's digest is among the inputs, and its probability is the confidence"
    job = make_job(load_config(text))
    assert inputs(job)["models"]["trees"]["model"] == job.strategies[0].model.artefact.digest
    assert not any("it remembers" in w for w in job.warnings)
    events = [e for e in execute(job).events if e.kind == "signal"]
    long = [float(e.data["confidence"]) for e in events if e.data["direction"] == "long"]
    assert long and min(long) >= 0.52 and len(set(long)) > 5


def test_the_size_follows_the_probability(text: str) -> None:
    "With the rule `confidence` each opening order is for its percentage of equity times the confidence of its signal"
    job = make_job(load_config(text, ["sizing={rule: confidence, value: 20}"]))
    outcome = execute(job)
    asked = {e.seq: e for e in outcome.events if e.kind == "signal" and e.data["outcome"] == "ordered" and e.data["direction"] == "long"}
    opened = [(e, asked[e.data["signal"]]) for e in outcome.events if e.kind == "order" and e.data.get("signal") in asked]
    assert len(opened) > 5 and len({s.data["confidence"] for _, s in opened}) > 5
    for order, signal in opened:
        equity = outcome.equity[signal.bar]
        assert float(order.data["notional"]) == pytest.approx(0.2 * equity * float(signal.data["confidence"]), abs=0.02)
    with pytest.raises(ConfigError, match="no leverage"): load_config(text, ["sizing={rule: confidence, value: 120}"])


@pytest.mark.parametrize("cls", [LogisticStrategy, LightGBMStrategy, *(
    pytest.param(c, marks=pytest.mark.slow) for c in SMALL if c not in (LogisticStrategy, LightGBMStrategy))])
def test_an_audit_passes_every_learner_with_its_model(cls: Any, panel: Panel, stored: dict[type, Path]) -> None:
    "On bars that it has not learned from"
    strategy, part = cls("x", {"model_path": str(stored[cls])}), panel[500:700]
    warm_up(strategy, part)
    verdict = audit_subject(subjects_of(strategy, part)[-1], part, cuts=4)
    assert verdict.kind == "strategy" and verdict.findings == ()


def test_a_run_over_what_it_learned_from_says_so(text: str) -> None:
    "It remembers"
    job = make_job(load_config(text, ["run.start=2004-01-02"]))
    assert any("its model learned from bars up to 2005-05-" in w for w in job.warnings)


@pytest.mark.parametrize(("set_", "says"), [
    ("strategies[0].params.leaves=31", "trees.leaves is 31; its model was trained with 15"),
    ("strategies[0].params.leave=0.6", "must be at most enter"),
    ("strategies[0].class=firebot.strategies.XGBoostStrategy", "its model is of lightgbm, not of xgboost"),
    ("features={week: [returns, {window: 5}]}", "wants the feature month, which is not declared"),
    ("strategies[0].params.model_path=./models/transformer_v1.pt", "firebot convert CONFIG"),
    ("strategies[0].params.leafs=3", "did you mean 'leaves'")])
def test_what_does_not_fit_is_refused_by_name(set_: str, says: str, text: str) -> None:
    "Parameter, class, feature or file"
    with pytest.raises(ConfigError, match="strategies|features") as error: make_job(load_config(text, [set_]))
    assert says in str(error.value)


def test_features_in_another_order_or_form_are_refused(stored: dict[type, Path]) -> None:
    "The card's declaration is compared as it is meant, not as it is written"
    card = load_model(stored[RidgeStrategy]).card["features"]
    same_features("x", card, {**DECLARED, "week": {"indicator": "returns", "params": {"window": 5}}})
    with pytest.raises(ConfigError, match="in the order"): same_features("x", card, dict(reversed(DECLARED.items())))


def test_a_judge_lets_exits_pass(panel: Panel, tmp_path: Path) -> None:
    "Entries from the probability on, exits always, in both clocks; the rule's parameters come from the card"
    told = {"rule": "SmaCrossStrategy", "rule_fast": 3, "rule_slow": 8}
    judge = LogisticStrategy("judge", told)
    alone, labels = batch_signals(judge.rule, panel), make_labels(panel)
    path = save_model(train_model(judge, panel, DECLARED, meta_labels(labels, alone), seed=1), tmp_path, "judge")
    heard = make_strategy("judge", "LogisticStrategy", {"rule": "SmaCrossStrategy", "model_path": str(path), "enter": 0.55})
    said, runner = batch_signals(heard, panel[300:500]), StreamRunner(heard, 4)
    for row in replay(panel[300:500]): assert runner.update(row.panel).tobytes() == said[row.t].tobytes()
    sides = batch_signals(judge.rule, panel[300:500])
    entries, ready = sides > 0, ~np.isnan(batch_signals(make_strategy("p", "BuyAndHoldStrategy"), panel[300:500]))
    assert (np.isnan(said) | (np.nan_to_num(sides) != 0) | (said == 0)).all() and ready.any()
    assert 0 < (said > 0).sum() < entries.sum() and (said[said > 0] >= 0.55).all()
    assert heard.rule.config["fast"] == 3
    for bad, says in (({"rule": "MomentumStrategy"}, "is written with `signals`"), ({"rule_fast": 3}, "rule_fast"),
                      ({"rule": "RidgeStrategy"}, "can be judged")):
        with pytest.raises(ConfigError, match=says): LogisticStrategy("judge", bad)


def test_train_stores_every_strategy_that_learns(tmp_path: Path) -> None:
    "By name, once"
    text = """
data_sources: [{type: sample, symbols: [AAPL, IBM]}]
run: {start: 2004-01-02, end: 2005-12-30}
strategies:
  - {name: a, class: RidgeStrategy}
  - {name: b, class: LogisticStrategy, params: {rule: SmaCrossStrategy, rule_fast: 1, rule_slow: 3}}
  - {name: c, class: BuyAndHoldStrategy}
features: {week: [returns, {window: 5}]}
label: {kind: sign}
"""
    config = load_config(text)
    made = train(make_job(config), tmp_path)
    assert [p.relative_to(tmp_path).as_posix() for p, _ in made] == ["a/1", "b/1"]
    assert train(make_job(config), tmp_path)[0][0] == made[0][0]
    assert made[1][1].card["rule"] == {"rule": "SmaCrossStrategy", "rule_fast": 1, "rule_slow": 3, "rule_allow_short": False}
    for key in ("features", "label"):
        broken = config.model_copy(update={key: None})
        with pytest.raises(ConfigError, match=f"{key} is missing"): train(make_job(broken), tmp_path)
