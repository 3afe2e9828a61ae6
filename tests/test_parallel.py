"The same results over any number of workers; failures named; nothing left behind by an interrupt."
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import parallel_work as work
import pytest

from firebot.config import ParallelConfig, load_config
from firebot.models import ConfigError, RunError
from firebot.parallel import Failure, Workers, _collect, _started, cores, worker_count

PRICE = {"price": np.random.default_rng(1).normal(100, 1, 500), "nothing": np.empty(0)}
WINDOWS = [(i, i + 40) for i in range(60)]
TWO = ParallelConfig(enabled=True, num_workers=2)
RAY = ParallelConfig(enabled=True, num_workers=2, backend="ray")


def test_results_do_not_depend_on_the_workers() -> None:
    with Workers(work.mean, PRICE) as here: wanted = here.run(WINDOWS)
    with Workers(work.mean, PRICE, ParallelConfig(enabled=True, num_workers=3)) as w: assert w.run(WINDOWS) == wanted == w.run(WINDOWS)


@pytest.mark.parametrize("parallel", [None, TWO])
def test_the_first_failure_by_order_is_named(parallel: ParallelConfig | None) -> None:
    with Workers(work.picky, parallel=parallel) as w:
        with pytest.raises(RunError, match=r"^candidate c2 failed: two is no good\.") as told: w.run(range(8), [f"candidate c{i}" for i in range(8)])
        assert "picky" in told.value.__notes__[0]
        with pytest.raises(RunError, match="task 1 of 2 failed: ValueError: five"): w.run([5, 1])
        assert w.run([1, 3]) == [1, 3]


def test_shared_arrays_cannot_be_changed() -> None:
    for parallel in (None, TWO):
        with Workers(work.change, PRICE, parallel) as w, pytest.raises(RunError, match="read-only"): w.run([1])


def test_a_worker_that_dies_is_told_of() -> None:
    with Workers(work.die, parallel=TWO, what="strategy") as w, pytest.raises(RunError, match="strategy 1 of 3 failed: a worker process died"):
        w.run([1, 2, 3])


def test_work_that_cannot_be_sent_is_refused() -> None:
    with Workers(work.picky, parallel=TWO) as w, pytest.raises(RunError, match="task 1 of 1 failed"): w.run([lambda: 0])


def test_no_work_is_done() -> None:
    with Workers(work.mean, PRICE, TWO) as w: assert w.run([]) == []


class Shuffled:
    "A place whose tasks come back in any order"
    def __init__(self, seed: int, bad: set[int]) -> None: self.rng, self.bad, self.waiting = np.random.default_rng(seed), bad, list[int]()
    def begin(self, i: int, task: object) -> None: self.waiting.append(i)
    def finished(self) -> list[tuple[int, object]]:
        if not self.waiting: return []
        i = self.waiting.pop(self.rng.integers(len(self.waiting)))
        return [(i, Failure("ValueError", str(i), "") if i in self.bad else i * i)]
    def forget(self, after: int) -> None: self.waiting = [i for i in self.waiting if i <= after]
    def close(self) -> None: ...


@pytest.mark.parametrize("seed", range(20))
def test_order_and_the_failure_named_do_not_depend_on_who_comes_first(seed: int) -> None:
    names = [str(i) for i in range(12)]
    assert _collect(Shuffled(seed, set()), range(12), names, lambda: None) == [i * i for i in range(12)]
    with pytest.raises(RunError, match="^4 failed: ValueError: 4$"): _collect(Shuffled(seed, {9, 4, 6}), range(12), names, lambda: None)


# ---------------------------------------------------------------- interrupts

SCRIPT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler) # what a shell starts in the background ignores it
import parallel_work as work
from firebot.config import ParallelConfig
from firebot.parallel import Workers
try:
    with Workers(work.wait_long, parallel=ParallelConfig(enabled=True, num_workers=2)) as w: w.run([sys.argv[1]] * 6)
except KeyboardInterrupt: sys.exit(130)
"""


def until(true: Callable[[], bool], seconds: float = 240) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end: time.sleep(0.05)
    return true()


def alive(pid: int) -> bool:
    try: return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError: return False


def interrupted(tmp_path: Path, root: Path, how: Callable[[subprocess.Popen], None]) -> tuple[int, str, list[str]]:
    "Start long work, end it in the way `how`, and see that no worker stays; the exit code, what it said, its temporary files"
    pids = tmp_path / "pids"
    pids.mkdir()
    with tempfile.TemporaryDirectory(prefix="fb-") as temporary: # short: sockets stand in it, whose paths may have 107 bytes
        env = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}", "TMPDIR": temporary}
        child = subprocess.Popen([sys.executable, "-c", SCRIPT, str(pids)], env=env, stderr=subprocess.PIPE, text=True, start_new_session=True)
        assert until(lambda: child.poll() is not None or len(list(pids.iterdir())) == 2)
        how(child)
        _, said = child.communicate(timeout=60)
        assert len(list(pids.iterdir())) == 2, said
        assert until(lambda: not any(alive(int(f.stem)) for f in pids.iterdir()), 20)
        return child.returncode, said, [f.name for f in Path(temporary).glob("firebot-*")]


def test_ctrl_c_ends_cleanly(tmp_path: Path, root: Path) -> None:
    "The whole foreground group gets the signal, as from a terminal: no traceback of a worker, no file, no process left."
    code, said, left = interrupted(tmp_path, root, lambda child: os.killpg(child.pid, signal.SIGINT))
    assert code == 130 and said == "" and not left


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path, root: Path) -> None:
    interrupted(tmp_path, root, lambda child: child.kill())


# ---------------------------------------------------------------- configuration

def test_the_block_of_a_configuration() -> None:
    base = "data_sources: [{type: sample}]\nstrategies: [{name: a, class: SmaCrossStrategy}]\n"
    assert worker_count(load_config(base).parallel) == 1
    assert worker_count(load_config(base + "parallel: {enabled: true}").parallel) == cores()
    with pytest.raises(ConfigError, match="processes have no address"): load_config(base + "parallel: {address: 'localhost:6379'}")


def test_no_folder_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Workers(work.mean, PRICE, TWO) as w: w.run(WINDOWS[:3])
    assert list(tmp_path.glob("firebot-*")) == []


# ---------------------------------------------------------------- Ray

@pytest.mark.slow
def test_ray_gives_the_same(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", f"{root}{os.pathsep}{root / 'tests'}")
    with Workers(work.mean, PRICE) as here: wanted = here.run(WINDOWS)
    with Workers(work.mean, PRICE, RAY) as w:
        assert w.run(WINDOWS) == wanted
        with Workers(work.change, PRICE, RAY) as v, pytest.raises(RunError, match="read-only"): v.run([1])
        with Workers(work.picky, PRICE, RAY) as v, pytest.raises(RunError, match="task 3 of 8 failed: two is no good"): v.run(range(8))
        with Workers(work.die, PRICE, RAY) as v, pytest.raises(RunError, match="a Ray worker died"): v.run([0])


class Late:
    "A Ray whose node is late a number of times."
    def __init__(self, times: int) -> None: self.times, self.calls = times, list[str]()
    def init(self, **settings: object) -> None:
        self.calls.append("init")
        if len(self.calls) <= 2 * self.times: raise Exception("The current node timed out during startup.")  # noqa: TRY002 (as Ray does)
    def shutdown(self) -> None: self.calls.append("shutdown")


def test_a_node_that_is_late_is_asked_once_more() -> None:
    _started(once := Late(1), num_cpus=2)
    assert once.calls == ["init", "shutdown", "init"]
    with pytest.raises(RunError, match="did not start .*timed out.*; try again"): _started(always := Late(2), num_cpus=2)
    assert always.calls == ["init", "shutdown"] * 2


@pytest.mark.slow
def test_a_cluster_that_does_not_answer() -> None:
    pytest.importorskip("ray")
    with pytest.raises(ConfigError, match="no Ray cluster answers"): Workers(work.mean, PRICE, RAY.model_copy(update={"address": "127.0.0.1:1"}))
