"Deep learners: one example at a time, the same bits; files of PyTorch are converted and never opened as programs."
import json
import os
import pickle
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

pytest.importorskip("torch")
import torch

from firebot.audit import audit_subject, subjects_of, warm_up
from firebot.config import load_config
from firebot.deep import LSTMStrategy, TransformerStrategy, convert_pt, lstm, transformer
from firebot.feed import Panel, load_panel, replay
from firebot.labels import make_labels
from firebot.learners import LEARNERS, Model, RidgeStrategy, fit_model, make_samples, train_model
from firebot.model_store import load_model, save_model
from firebot.models import ConfigError, DataError
from firebot.sources import SampleSource
from firebot.strategies import StreamRunner, batch_signals
from firebot.studies import convert

DECLARED: dict[str, Any] = {"day": ("returns",), "week": ("returns", {"window": 5}), "calm": ("volatility", {"window": 10}),
                            "rank": {"indicator": "returns", "across": "rank"}}
SMALL = {"sequence_length": 6, "width": 4, "epochs": 1}
KINDS: list[Any] = [LSTMStrategy, TransformerStrategy]


@pytest.fixture(scope="module")
def panel() -> Panel:
    "Two shares, of which one begins late"
    return load_panel(SampleSource(), ["GOOG", "IBM"], date(2004, 1, 2), date(2005, 6, 30))


@pytest.fixture(scope="module")
def stored(panel: Panel, tmp_path_factory: pytest.TempPathFactory) -> dict[Any, Path]:
    "A model of each kind"
    folder, labels = tmp_path_factory.mktemp("deep"), make_labels(panel)
    return {cls: save_model(train_model(cls(cls.__name__, SMALL), panel, DECLARED, labels, seed=3), folder, cls.__name__) for cls in KINDS}


@pytest.mark.parametrize("cls", KINDS)
def test_batch_and_stream_are_bit_equal(cls: Any, panel: Panel, stored: dict[Any, Path]) -> None:
    "Around the first day of the share that begins late, and from a state in the middle; whatever PyTorch's threads are set to"
    strategy, some = cls("x", {"model_path": str(stored[cls]), "enter": 0.5, "leave": 0.5}), panel[140:200]
    assert strategy.window == 6
    said, runner, later, threads = batch_signals(strategy, some), StreamRunner(strategy, 2), StreamRunner(strategy, 2), torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        for row in replay(some):
            if row.t == 30: later.restore(json.loads(json.dumps(runner.state())))
            assert runner.update(row.panel).tobytes() == said[row.t].tobytes()
            if row.t >= 30: assert later.update(row.panel).tobytes() == said[row.t].tobytes()
        assert torch.get_num_threads() == 2
    finally: torch.set_num_threads(threads)
    assert (~np.isnan(said)).sum() > 40


@pytest.mark.slow
@pytest.mark.parametrize("cls", KINDS)
def test_an_audit_passes_every_network_with_its_weights(cls: Any, panel: Panel, stored: dict[Any, Path]) -> None:
    "As a strategy"
    strategy, part = cls("x", {"model_path": str(stored[cls])}), panel[-120:]
    warm_up(strategy, part)
    assert audit_subject(subjects_of(strategy, part)[-1], part, cuts=3).findings == ()


@pytest.mark.parametrize("cls", KINDS)
def test_any_part_of_a_batch_says_the_same(cls: Any, panel: Panel, stored: dict[Any, Path]) -> None:
    "One, three, or all in another order; and the generator of the process is left alone"
    model, x = Model(load_model(stored[cls])), make_samples(panel, DECLARED, window=6).x(6)[:80]
    before = torch.random.get_rng_state()
    whole, order = model.probability(x), np.random.default_rng(0).permutation(len(x))
    assert_array_equal(model.probability(x[order]), whole[order])
    for i in range(0, 80, 7): assert_array_equal(model.probability(x[i:i + 3]), whole[i:i + 3])
    assert torch.equal(before, torch.random.get_rng_state())


AGAIN = """
import sys; sys.path.insert(0, {tests!r})
from datetime import date
from test_deep import DECLARED, KINDS, SMALL, SampleSource, load_panel, make_labels, train_model
panel = load_panel(SampleSource(), ["GOOG", "IBM"], date(2004, 1, 2), date(2005, 6, 30))
for cls in KINDS: print(cls.__name__, train_model(cls(cls.__name__, SMALL), panel, DECLARED, make_labels(panel), seed=3).digest)
"""

def test_training_again_elsewhere_gives_the_same_bytes(stored: dict[Any, Path]) -> None:
    "Another process, more threads on offer"
    env = {**os.environ, "PYTHONHASHSEED": "77", "OMP_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", AGAIN.format(tests=str(Path(__file__).parent))], capture_output=True, text=True, env=env, check=True)
    digests = dict(line.split() for line in done.stdout.splitlines() if line.startswith(("LSTM", "Transformer")))
    assert digests == {cls.__name__: load_model(path).digest for cls, path in stored.items()}


@pytest.mark.parametrize("kind", ["lstm", "transformer"])
def test_they_learn_what_only_a_sequence_shows(kind: str) -> None:
    "Whether the value five bars ago was above zero; a model of the last bar alone cannot know"
    from firebot.learners import Samples
    draw = np.random.default_rng(0)
    x, at = draw.normal(size=(1500, 1)), np.arange(5, 1500)
    nothing = np.ones(len(at))
    samples = Samples(("x",), x, at, at, np.zeros(len(at), int), np.sign(x[at - 5, 0]), at + 1, nothing)
    told = {"sequence_length": 6, "width": 8, "epochs": 25, "batch": 64, "learning_rate": 0.01}
    assert fit_model(samples, [kind], told, seed=1).card["metrics"]["calibration"]["auc"] > 0.9
    assert fit_model(samples, ["ridge"], seed=1).card["metrics"]["calibration"]["auc"] < 0.6


def test_weights_are_kept_as_data(stored: dict[Any, Path]) -> None:
    "safetensors, with one entry in the header; anything else is refused"
    for path in stored.values():
        [file] = path.glob("*.safetensors")
        head = json.loads(file.read_bytes()[8:8 + int.from_bytes(file.read_bytes()[:8], "little")])
        assert list(head["__metadata__"]) == ["net"]
    with pytest.raises(Exception): LEARNERS["lstm"].load(pickle.dumps({"a": 1}))  # noqa: B017 (of json or of safetensors)


# ---------------------------------------------------------------- conversion
@pytest.mark.parametrize(("cls", "net"), [(LSTMStrategy, lstm), (TransformerStrategy, transformer)])
def test_a_file_of_pytorch_is_converted(cls: Any, net: Any, tmp_path: Path) -> None:
    "The probability is the sigmoid of the network's own logit, for sequences it was never asked about"
    told = cls("x", {**SMALL, "sequence_length": 5}).config
    torch.manual_seed(1)
    made = net(4, told).eval()
    torch.save(made.state_dict(), tmp_path / "v1.pt")
    model = Model(convert_pt(tmp_path / "v1.pt", cls("x", {**SMALL, "sequence_length": 5}), DECLARED))
    x = np.random.default_rng(0).normal(size=(20, 5, 4))
    with torch.inference_mode(): want = torch.sigmoid(made(torch.from_numpy(x.astype(np.float32)))).numpy()
    assert_allclose(model.probability(x), want, atol=1e-6)


def test_a_file_that_would_run_code_does_not(tmp_path: Path) -> None:
    "It is refused, and nothing ran"
    class Bomb:
        def __reduce__(self) -> tuple: return (Path.touch, (tmp_path / "boom",))
    torch.save({"body": Bomb()}, tmp_path / "evil.pt")
    with pytest.raises(DataError, match="does not hold weights alone"): convert_pt(tmp_path / "evil.pt", LSTMStrategy("x", SMALL), DECLARED)
    assert not (tmp_path / "boom").exists()
    with pytest.raises(ConfigError, match="no such file"): convert_pt(tmp_path / "none.pt", LSTMStrategy("x", SMALL), DECLARED)
    with pytest.raises(ConfigError, match="is a RidgeStrategy"): convert_pt(tmp_path / "evil.pt", RidgeStrategy("x"), DECLARED)


def test_convert_takes_the_strategy_that_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    "The configuration of the specification, with features: its path is refused with the command, and the command makes a model that runs"
    from firebot.runs import execute, make_job
    monkeypatch.setenv("FIREBOT_WORKSPACE", str(tmp_path))
    text = """
data_sources: [{type: sample, symbols: [IBM]}]
run: {start: 2005-01-03, end: 2005-04-29}
strategies:
  - {name: momentum_v1, class: firebot.strategies.MomentumStrategy}
  - name: ml_transformer_v1
    class: firebot.strategies.TransformerStrategy
    params: {model_path: ./models/transformer_v1.pt, sequence_length: 6, width: 4}
features: {day: [returns], week: [returns, {window: 5}]}
"""
    (tmp_path / "models").mkdir()
    net = transformer(2, TransformerStrategy("x", {"sequence_length": 6, "width": 4}).config)
    torch.save(net.state_dict(), tmp_path / "models" / "transformer_v1.pt")
    with pytest.raises(ConfigError, match="firebot convert CONFIG ./models/transformer_v1.pt"): make_job(load_config(text))
    path = convert(load_config(text), tmp_path / "models" / "transformer_v1.pt")
    assert path == tmp_path / "models" / "ml_transformer_v1" / "1"
    job = make_job(load_config(text, ["strategies[1].params.model_path=models/ml_transformer_v1"]))
    assert any(e.strategy_id == "ml_transformer_v1" for e in execute(job).events)
