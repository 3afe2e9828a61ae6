"A session that follows its sources: a file that grows, bars that come late, a stop on the way, and the same end as without it."
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from firebot.books import load_manifest, tampered, verify
from firebot.cli import app
from firebot.config import config_from_blocks, load_config
from firebot.engine import stepwise
from firebot.journal import digest, steps
from firebot.live import replayed
from firebot.models import ConfigError
from firebot.paper import take
from firebot.runs import Job, make_job
from firebot.sessions import begin, follow, outcome_of, supervised
from firebot.sources import SampleSource
from firebot.strategies import StreamRunner

BARS = SampleSource().bars("IBM", None, None, "1d")
DAYS, BEGUN = 120, 80


def write(file: Path, until: int) -> None:
    rows = ["timestamp,open,high,low,close,volume"]
    for i in range(until):
        day = datetime.fromtimestamp(BARS.timestamp[i] / 1e9, UTC).date()
        rows.append(f"{day},{BARS.open[i]},{BARS.high[i]},{BARS.low[i]},{BARS.close[i]},{BARS.volume[i]:.0f}")
    file.write_text("\n".join(rows) + "\n")


def job(folder: Path, **run: str) -> Job:
    return make_job(config_from_blocks(dict(
        data_sources=[dict(type="csv", path=str(folder))], run=run,
        strategies=[{"name": "cross", "class": "firebot.strategies.SmaCrossStrategy", "params": {"fast": 5, "slow": 20}}])))


class Cut(Exception):
    "The process is gone"


def followed(tmp_path: Path, name: str, cut: tuple[int, ...] = ()) -> Path:
    "The folder of a session that sees three more bars at each look, and is cut off where there are so many as `cut` says"
    bars, folder = tmp_path / "bars", tmp_path / name
    bars.mkdir(exist_ok=True)
    write(bars / "IBM.csv", DAYS)
    ends, have = job(bars).panel.end, BEGUN
    write(bars / "IBM.csv", BEGUN)

    def more() -> None:
        nonlocal have
        have = min(have + 3, DAYS)
        write(bars / "IBM.csv", have)
        if have in cut: raise Cut

    begun = job(bars)
    for _ in range(len(cut) + 1):
        try: done = follow(begun, folder, int(ends[-1]), now=lambda: int(ends[have - 1]), wait=more, every=1e9)
        except Cut: continue
        assert done
    return folder


def test_what_was_there_warms_up_and_what_comes_is_traded(tmp_path: Path) -> None:
    folder = followed(tmp_path, "whole")
    kinds = [s.kind for s in steps(folder / "journal.sqlite")]
    assert (kinds.count("warm"), kinds.count("bar")) == (BEGUN, DAYS - BEGUN)
    all_of_it = job(tmp_path / "bars")
    runner, panel = StreamRunner(all_of_it.strategies[0], 1), all_of_it.panel
    for t in range(BEGUN): runner.update(panel[t:t + 1])
    wanted, got = stepwise(panel[BEGUN:], {"cross": runner}, all_of_it.setup), outcome_of(all_of_it, folder).result
    assert len(got.events) >= 4 and (got.events == wanted.events).all() and (got.equity == wanted.equity).all()


def test_cut_off_on_the_way_it_is_the_same_session(tmp_path: Path) -> None:
    whole, cut = (followed(tmp_path, n, c) / "journal.sqlite" for n, c in (("whole", ()), ("cut", (BEGUN + 3, BEGUN + 15, DAYS - 3))))
    assert digest(whole) == digest(cut)


def test_it_needs_a_run_without_an_end(tmp_path: Path) -> None:
    write(tmp_path / "IBM.csv", BEGUN)
    with pytest.raises(ConfigError, match="leave run.end out"): follow(job(tmp_path, end="2000-06-01"), tmp_path / "session")


def test_the_command(tmp_path: Path) -> None:
    write(tmp_path / "IBM.csv", BEGUN)
    conf = tmp_path / "conf.yaml"
    conf.write_text(f"data_sources: [{{type: csv, path: {tmp_path / 'IBM.csv'}}}]\nstrategies: [{{name: cross, class: SmaCrossStrategy}}]\n")
    def said(*words: str) -> str: return str(CliRunner().invoke(app, ["paper", str(conf), "--out", str(tmp_path), *words]).exception)
    assert "--until is for --live" in said("--until", "2000-07-01")
    assert "takes the time it takes" in said("--live", "--speed", "60")
    assert "has no bars" in said("--live", "--until", "2000-07-01") # which is over: nothing came


HANGS = '''
import sys
from pathlib import Path
import numpy as np
from firebot.compiled import compiled
from firebot.config import config_from_blocks
from firebot.runs import make_job
from firebot.sessions import shared_pulse, trade
from firebot.strategies import Strategy
from dataclasses import replace

@compiled
def endless(x):
    n = np.uint64(1)
    while n: n = n * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
    return x

class Hangs(Strategy):
    seen = 0
    def features(self): return {"price": ("last",)}
    def on_data(self, data): self.seen += 1
    def generate_signal(self, features):
        if self.seen == 20: endless(1)
        return self.signal("BUY")

source = dict(type="csv", path=sys.argv[1])
job = make_job(config_from_blocks(dict(data_sources=[source], strategies=[{"name": n, "class": "SmaCrossStrategy"} for n in ("hangs", "cross")])))
job = replace(job, strategies=(Hangs("hangs"), job.strategies[1]))
sys.exit(0 if trade(job, Path(sys.argv[2]), seconds=0.5, pulse=shared_pulse()) else 3)
'''


@pytest.mark.slow
def test_machine_code_that_hangs_is_ended_and_the_rest_goes_on(tmp_path: Path) -> None:
    (tmp_path / "bars").mkdir()
    write(tmp_path / "bars" / "IBM.csv", 60)
    words = [sys.executable, "-c", HANGS, str(tmp_path / "bars"), str(tmp_path / "session")]
    assert supervised(words, tmp_path / "session", ["hangs", "cross"], 3.0) == 0
    done = list(steps(tmp_path / "session" / "journal.sqlite"))
    assert [s.kind for s in done].count("bar") == 60
    off = next(s for s in done if s.kind == "disable")
    assert (off.data["strategy"], off.row) == ("hangs", 18) and "its process was ended" in off.data["reason"]


@pytest.mark.slow
def test_a_stopped_session_closes_as_a_run_that_verifies(tmp_path: Path) -> None:
    "Stopped flat in the middle by a command: the run folder keeps what the session was given, and a fresh process comes to the same files."
    write(tmp_path / "IBM.csv", DAYS)
    conf, command_line = tmp_path / "conf.yaml", CliRunner()
    conf.write_text(f"data_sources: [{{type: csv, path: {tmp_path / 'IBM.csv'}}}]\n"
                    "strategies: [{name: cross, class: SmaCrossStrategy, params: {fast: 5, slow: 20}}]\n")
    paper = ["paper", str(conf), "--out", str(tmp_path / "reports"), "--name", "mine"]
    begun = make_job(load_config(conf))
    with begin(begun, tmp_path / "reports" / "sessions" / "mine") as session:
        for row in replayed(begun.panel[:60]): take(session, row)
    assert command_line.invoke(app, ["paper", "stop", "mine", "--out", str(tmp_path / "reports"), "--flatten"]).exit_code == 0
    said = command_line.invoke(app, paper)
    assert said.exit_code == 0 and "mine is done" in said.output, (said.output, said.exception)
    [run] = [f.parent for f in (tmp_path / "reports").glob("*/manifest.json")]
    kinds = [json.loads(line)["kind"] for line in (run / "session.jsonl").read_text().splitlines()]
    assert kinds.count("stop") == 1 and kinds[-1] == "end" and 60 <= kinds.count("bar") < DAYS
    verdict = verify(run)
    assert verdict.reproduced and "session.jsonl" in verdict.same and "journal.sqlite" in verdict.same, str(verdict)
    (run / "session.jsonl").write_text((run / "session.jsonl").read_text().replace('"kind": "stop"', '"kind": "note"'))
    assert tampered(run, load_manifest(run)) == ["session.jsonl"]
