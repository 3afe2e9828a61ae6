"""The audit catches every planted cheater, by name and bar, and passes everything that is shipped."""
import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import cheaters
import numpy as np
import pytest

import firebot.audit
from firebot import labels, studies, walk_forward
from firebot.audit import (
    CHECKS,
    Finding,
    Subject,
    audit,
    audit_fit,
    audit_subject,
    digest,
    label_subject,
    moved,
    poisoned,
    renamed,
    reversed_columns,
    subjects_of,
    warm_up,
)
from firebot.config import load_config
from firebot.features import FeaturePipeline
from firebot.feed import load_panel
from firebot.learners import make_samples
from firebot.models import DataError
from firebot.rules import SmaCrossStrategy, make_strategy
from firebot.runs import make_job
from firebot.sources import SampleSource
from firebot.strategies import STRATEGIES, Strategy, batch_signals
from firebot.studies import suspects

PANEL = load_panel(SampleSource(), ["AAPL", "IBM", "MSFT"], date(2012, 4, 2), date(2012, 12, 31))
HIDDEN = cheaters.hidden(PANEL)


@pytest.fixture(scope="module", autouse=True)
def compiled(): warm_up(cheaters.OneAhead("x"), PANEL)


def judged(answer, name="x", **claims): return audit_subject(Subject(name, "feature", answer, **claims), PANEL, cuts=10)


@pytest.mark.parametrize("name", cheaters.FEATURES)
def test_a_cheating_feature_is_caught(name):
    verdict = judged(cheaters.FEATURES[name], name)
    assert not verdict.passed and verdict.first.check in CHECKS
    if name not in ("unseeded_noise", "counts_its_calls"): assert verdict.first.row >= 0 and verdict.first.time.startswith("2012")


@pytest.mark.parametrize("name", HIDDEN)
def test_history_that_was_brought_along_is_found_in_disguise(name):
    verdict = audit_subject(HIDDEN[name], PANEL, cuts=10)
    assert {f.check for f in verdict.findings} & {"names", "dates", "memory", "files"}
    if name == "from_a_file": assert any("tomorrow.npy" in f.how for f in verdict.findings)


@pytest.mark.parametrize("name", cheaters.HONEST)
def test_an_honest_feature_passes(name): assert judged(cheaters.HONEST[name], name).findings == ()


@pytest.mark.parametrize("cls", cheaters.STRATEGIES)
def test_a_cheating_strategy_is_named_and_its_features_are_not(cls):
    report = audit(PANEL, [cls("guilty")], cuts=10)
    assert report.guilty == ["guilty"]


def test_reading_one_bar_ahead_is_caught_at_the_first_bar_that_shows_it():
    first = audit(PANEL, [cheaters.OneAhead("x")], cuts=10).verdicts[-1].first
    prices = PANEL.close[:, 0]
    assert first.row == next(t for t in range(4, len(PANEL)) if (PANEL.close[t + 1] > PANEL.close[t]).any()) and prices[first.row] > 0


def test_the_rare_day_is_named():
    assert judged(cheaters.on_one_day_only).first.time.startswith("2012-10-26")


def test_the_one_symbol_is_named():
    found = {f.check: f for f in judged(cheaters.in_one_symbol_only).findings}
    assert found["prefix"].symbol == found["lived"].symbol == "IBM"


@pytest.mark.parametrize("name", cheaters.LABELS)
def test_a_label_that_looks_further_than_it_says_is_caught(name): assert not audit_subject(cheaters.LABELS[name], PANEL, cuts=10).passed


def test_an_honest_label_passes_and_is_no_feature():
    assert audit_subject(label_subject("rise", cheaters.rise, 5), PANEL, cuts=10).passed
    assert not judged(lambda p: cheaters.rise(p).value).passed


@pytest.mark.parametrize("name", cheaters.FITS)
def test_a_fit_that_knows_the_test_is_caught(name):
    first = audit_fit(cheaters.FITS[name], PANEL, [120]).first
    assert first.check == "fit" and 120 <= first.row < len(PANEL)


@pytest.mark.parametrize("name", cheaters.HONEST_FITS)
def test_an_honest_fit_passes(name): assert audit_fit(cheaters.HONEST_FITS[name], PANEL, [120]).passed


def shipped(panel):
    told = {"PairsStrategy": {"first": panel.symbols[0], "second": panel.symbols[1], "lookback_window": 20}}
    names = [name for name, cls in STRATEGIES.items() if cls.__module__ == "firebot.rules"]
    return [make_strategy(name.lower(), name, told.get(name)) for name in names]


def test_every_shipped_rule_passes():
    report = audit(PANEL, shipped(PANEL), cuts=8)
    assert report.passed, str(report)


class Watching(Strategy):
    def features(self):
        return {name: (name,) for name in ("rsi", "macd.histogram", "bollinger.percent_b", "volatility", "skew", "atr", "adx", "stochastic.d", "obv",
                                           "max", "zscore", "returns", "log_returns", "change", "sum", "true_range")} | {
            "volume": ("sma", {}, "volume")}
    def signals(self, f): return np.where(f["rsi"] > 50, 1.0, 0.0)


class Coarse(Strategy):
    def features(self): return {"week": ("sma", {"window": 3}, "close", "1w"), "price": ("last",)}
    def signals(self, f): return np.where(f["price"] > f["week"], 1.0, 0.0)


class Library(Strategy):
    def features(self): return {"cci": ("ta.cci",), "price": ("last",)}
    def signals(self, f): return np.where(f["cci"] > 0, 1.0, 0.0)


@pytest.mark.parametrize("cls", [Watching, pytest.param(Coarse, marks=pytest.mark.slow), pytest.param(Library, marks=pytest.mark.slow)])
def test_indicators_coarse_bars_and_another_librarys_pass(cls):
    if cls is Library: pytest.importorskip("pandas_ta_classic")
    report = audit(PANEL, [cls("honest")], cuts=6)
    assert report.passed, str(report)


def test_questions_are_asked_of_a_copy_and_leave_no_trace():
    before, kept = PANEL.digest(), dict(cheaters.Cache.kept)
    def spoils(p): p.close[:] = 0; return p.close
    judged(spoils)
    assert PANEL.digest() == before and cheaters.Cache.kept.keys() == kept.keys()


def test_what_fails_or_has_the_wrong_shape_is_a_finding():
    assert judged(lambda p: 1 / 0).first.how == "ZeroDivisionError: division by zero"
    assert "needs a row for each" in judged(lambda p: p.close[1:]).first.how


def test_reports_are_the_same_again_and_readable_by_programs():
    subjects = [Subject("good", "feature", cheaters.past_week), Subject("bad", "feature", cheaters.centred_window)]
    a, b = (audit(PANEL, [], subjects, cuts=4) for _ in range(2))
    told = json.loads(a.json())
    assert a.json() == b.json() and str(a) == str(b) and told["guilty"] == ["bad"] and not told["passed"]
    assert "FAILED" in str(a) and "bad" in str(a)


def test_disguises_and_poisons_keep_what_they_must():
    assert renamed(PANEL).symbols == ("IBM", "MSFT", "AAPL") and reversed_columns(reversed_columns(PANEL)).digest() == PANEL.digest()
    assert (moved(PANEL).start - PANEL.start == 10_227 * 86_400 * 10**9).all()
    for how in ("missing", "shuffled", "scaled", "mirrored", "extreme"):
        new = poisoned(PANEL, 100, how)
        assert (new.close[:100] == PANEL.close[:100]).all() and not np.array_equal(new.close[100:], PANEL.close[100:])
        assert not (new.actions.row >= 100).any() and (new.high >= new.low)[~np.isnan(new.high)].all()
    signals = batch_signals(cheaters.Scaled("x"), poisoned(PANEL, 100, "mirrored"))
    assert signals.shape == PANEL.close.shape


def test_digests_tell_what_was_learnt_apart():
    assert digest({"a": 1.0, "b": [np.arange(3)]}) == digest({"b": [np.arange(3)], "a": 1.0}) != digest({"a": 1.0, "b": [np.arange(4)]})
    with pytest.raises(DataError, match="holds a generator"): digest(x for x in ())


def test_a_finding_says_what_and_where():
    f = judged(cheaters.shift_minus_one).first
    assert isinstance(f, Finding) and f.symbol == "AAPL" and f.whole != f.alone
    assert [s.name for s in subjects_of(cheaters.OneAhead("x"), PANEL)] == ["x.price", "x.mean", "x"]


def test_the_suite_is_as_broad_as_it_is_said_to_be():
    assert len(cheaters.FEATURES) + len(HIDDEN) + len(cheaters.STRATEGIES) + len(cheaters.LABELS) + len(cheaters.FITS) >= 50


def test_the_command_passes_the_sample_and_fails_a_cheater(tmp_path, monkeypatch, capsys):
    from firebot.cli import main
    text = Path(__file__).parent.parent.joinpath("nbs/runs/backtest.yaml").read_text() + "\nrun: {start: 2012-01-03, end: 2012-12-31}\n"
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(SystemExit) as done: main(["audit", str(tmp_path / "a.yaml")])
    assert done.value.code == 0 and "passed" in capsys.readouterr().out
    monkeypatch.setitem(STRATEGIES, "OneAhead", cheaters.OneAhead)
    (tmp_path / "b.yaml").write_text("{data_sources: [{type: sample}], assets: [{symbol: IBM}], strategies: [{name: sly, class: OneAhead}], "
                                     "run: {start: 2012-01-03, end: 2012-12-31}}")
    with pytest.raises(SystemExit) as done: main(["audit", str(tmp_path / "b.yaml"), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert done.value.code == 1 and told["guilty"] == ["sly"]


# ---------------------------------------------------------------- what a configuration names
TEXT = """
data_sources: [{type: sample, symbols: [IBM, MSFT]}]
run: {start: 2011-06-01, end: 2012-12-31, seed: 3}
strategies:
  - {name: ridge, class: RidgeStrategy}
  - {name: judge, class: LogisticStrategy, params: {rule: SmaCrossStrategy, rule_fast: 1, rule_slow: 2}}
features: {week: [returns, {window: 5}], rank: {indicator: returns, params: {window: 10}, across: rank}}
label: {kind: forward_return, params: {horizon: 10}}
"""


def asked(text, *sets, cuts=6):
    job = make_job(load_config(text, list(sets)))
    return audit(job.panel, *suspects(job), cuts=cuts, seed=3)


def test_an_honest_configuration_of_learners_passes():
    report = asked(TEXT)
    assert report.passed, str(report)
    names = {v.name for v in report.verdicts}
    assert names == {"judge.rule.fast", "judge.rule.slow", "judge.rule", "features.week", "features.rank", "label", "ridge.fit", "judge.fit"}


def leaking_feature(monkeypatch):
    honest = FeaturePipeline.transform
    monkeypatch.setattr(FeaturePipeline, "transform", lambda self, p: {k: np.vstack([x[1:], x[-1:]]) if k == "week" else x
                                                                       for k, x in honest(self, p).items()})


def label_beyond_its_horizon(monkeypatch):
    further = labels.LABELS["forward_return"][0]
    def late(panel, horizon): return further(panel, horizon + 4)
    monkeypatch.setitem(labels.LABELS, "forward_return", (late, labels.LABELS["forward_return"][1]))


def label_settled_too_early(monkeypatch):
    honest = labels.forward_return
    def early(panel, horizon): return (lambda x: replace(x, end=np.where(x.end >= 0, x.end - 3, -1)))(honest(panel, horizon))
    monkeypatch.setitem(labels.LABELS, "forward_return", (early, labels.LABELS["forward_return"][1]))


def scaler_of_everything(monkeypatch):
    def scaled(*args): return (lambda x: replace(x, table=(x.table - np.nanmean(x.table, axis=0)) / np.nanstd(x.table, axis=0)))(make_samples(*args))
    monkeypatch.setattr(walk_forward, "make_samples", scaled)


def nothing_purged(monkeypatch): monkeypatch.setattr(walk_forward, "learnable", lambda known, train, tests, embargo=0: known.take(train))


def rule_that_peeks(monkeypatch):
    honest = SmaCrossStrategy.signals
    monkeypatch.setattr(SmaCrossStrategy, "signals", lambda self, f: (lambda x: np.vstack([x[1:], x[-1:]]))(honest(self, f)))


@pytest.mark.parametrize(("plant", "guilty", "check"), [
    (leaking_feature, "features.week", "prefix"), (label_beyond_its_horizon, "label", "horizon"), (scaler_of_everything, "ridge.fit", "fit"),
    pytest.param(label_settled_too_early, "label", "prefix", marks=pytest.mark.slow),
    pytest.param(nothing_purged, "ridge.fit", "fit", marks=pytest.mark.slow),
    pytest.param(rule_that_peeks, "judge.rule", "prefix", marks=pytest.mark.slow)])
def test_a_leak_in_what_a_configuration_names_is_caught(plant, guilty, check, monkeypatch):
    plant(monkeypatch)
    lines = TEXT.splitlines(keepends=True)
    report = asked("".join(lines[:4] + lines[5:] if plant is rule_that_peeks else lines[:5] + lines[6:]), cuts=4)
    assert guilty in report.guilty, str(report)
    found = next(v for v in report.verdicts if v.name == guilty)
    assert check in {f.check for f in found.findings} and found.first.row >= 0 and found.first.time


def test_candidates_of_a_sweep_are_asked_and_the_report_says_how_many(monkeypatch):
    monkeypatch.setitem(STRATEGIES, "OneAhead", cheaters.OneAhead)
    text = ("{data_sources: [{type: sample, symbols: [IBM]}], run: {start: 2012-01-03, end: 2012-12-31}, "
            "strategies: [{name: x, class: CLASS}], sweep: {params: PARAMS}}")
    monkeypatch.setattr(studies, "DRAWN", 0)
    told = asked(text.replace("CLASS", "OneAhead").replace("PARAMS", "{window: {from: 2, to: 9}}"), cuts=4)
    assert told.guilty == ["x(window 2)", "x(window 9)"]
    assert all(v.left_out == "2 of 8 candidates" for v in told.verdicts) and "2 of 8 candidates" in str(told)
    assert asked(text.replace("CLASS", "SmaCrossStrategy").replace("PARAMS", "{fast: [3, 5], slow: [10]}"), cuts=4).passed


def test_what_is_not_asked_about_is_said(monkeypatch):
    monkeypatch.setattr(firebot.audit, "LONG", 100)
    monkeypatch.setattr(firebot.audit, "LIVED", 20)
    report = audit(PANEL, [cheaters.OneAhead("x", {"window": 40})], [Subject("old", "feature", cheaters.past_week, warmup=10)], [
        cheaters.HONEST_FITS["inside"]], cuts=4)
    said = {v.name: v.left_out for v in report.verdicts}
    n = len(PANEL)
    assert said["x.price"] == f"last 100 of {n} rows" and said["x.mean"] == f"last 156 of {n} rows"
    assert said["old"].startswith(f"last 100 of {n} rows; 20 of ") and said["old"].endswith("one by one") and said["inside"]
    assert report.guilty == ["x"] and f"last 100 of {n} rows" in str(report)
    assert [s["left_out"] for s in json.loads(report.json())["subjects"]] == list(said.values())


def test_costly_learners_are_fitted_small_and_it_is_said():
    told = "{trees: 500, leaves: 3}"
    job = make_job(load_config(TEXT.replace("class: RidgeStrategy", f"class: LightGBMStrategy, params: {told}")))
    fits = {f.name: f.left_out for f in suspects(job)[2]}
    assert fits == {"ridge.fit": "fitted with 20 trees for 500", "judge.fit": ""}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["train", "walk_forward", "sweep", "minutes"])
def test_the_configurations_that_are_shipped_pass(name, root, capsys):
    minutes = """
data_sources: [{type: synthetic, symbols: [AAA, BBB]}]
run: {start: 2016-01-04, end: 2016-02-12, resolution: 1m, seed: 7}
strategies: [{name: trees, class: LightGBMStrategy}, {name: cross, class: SmaCrossStrategy, params: {fast: 30, slow: 240}}]
features: {quarter: [returns, {window: 15}], hour: [sma, {window: 10}, close, 1h], day: [returns, {window: 3}, close, 1d]}
label: {kind: triple_barrier, params: {horizon: 30}}
"""
    report = asked(minutes if name == "minutes" else (root / "nbs" / "runs" / f"{name}.yaml").read_text(), cuts=24)
    assert report.passed, str(report)
    parts = {"train": "fitted with 20 trees", "walk_forward": "fitted with 20 trees", "sweep": "4 of 150 candidates", "minutes": "last 10,000 of"}
    assert parts[name] in str(report)
