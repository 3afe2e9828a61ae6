"One command, several runs: groups of symbols, several files, one or two workers, and failures that stop nobody else."
import os
from pathlib import Path

import pytest
from test_runs import firebot

from firebot.batches import Done, Task, one, run_all, split, tasks_of
from firebot.books import load_manifest
from firebot.config import ParallelConfig, load_config
from firebot.models import ConfigError
from firebot.runs import make_job

BODY = "data_sources: [{type: sample}]\nstrategies: [{name: cross, class: SmaCrossStrategy}]\nrun: {start: 2005-01-03, end: 2005-12-30}\n"
GROUPS = "parallel: {groups: {new: [GOOG], old: [IBM, AAPL]}}\n"


def write(folder: Path, **files: str) -> list[Path]:
    (folder / "settings.ini").touch()
    for name, text in files.items(): (folder / f"{name}.yaml").write_text(text)
    return [folder / f"{name}.yaml" for name in files]


def test_a_group_is_the_configuration_with_its_assets() -> None:
    parts = split(load_config(BODY + "assets: [{symbol: IBM, data_source: sample}, {symbol: GOOG}, {symbol: AAPL}]\n" + GROUPS))
    alone = load_config(BODY + "assets: [{symbol: IBM, data_source: sample}, {symbol: AAPL}]\n")
    assert parts["old"] == alone and parts["new"].assets[0].symbol == "GOOG" and split(alone) == {"": alone}


@pytest.mark.parametrize(("text", "says"), [
    (BODY + "assets: [{symbol: IBM}]\nparallel: {groups: {a: [IBM], b: [AAPL]}}\n", "parallel.groups.b"),
    (BODY + "parallel: {groups: {a: []}}\n", "parallel.groups.a"),
    (BODY + "parallel: {groups: [IBM]}\n", "parallel.groups"),
])
def test_groups_that_cannot_be_are_refused(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused: load_config(text)
    assert says in str(refused.value)


def test_groups_are_for_backtest_only() -> None:
    with pytest.raises(ConfigError, match="parallel.groups.*`firebot backtest`"): make_job(load_config(BODY + GROUPS))


def test_what_fails_is_named_and_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    "In place of runs, which take their time, something that knows how each ends."
    paths = write(tmp_path, a="data_sources: []\n", b=BODY + GROUPS, c=BODY + "assets: [{symbol: NONE}]\n")
    monkeypatch.chdir(tmp_path)
    tasks, first = tasks_of(paths, ["run.seed=3"])
    assert [type(t) for t in tasks] == [Done, Task, Task, Task] and first.run.seed == 3 and tasks[0].bad
    monkeypatch.setattr("firebot.batches.run_book", _pretended)
    done = run_all(tasks)
    assert [Path(d.name).name for d in done] == ["a.yaml", "b.yaml new", "b.yaml old", "c.yaml"]
    assert [(d.folder, d.bad) for d in done[1:]] == [("GOOG alone", False), ("", False), ("", True)]
    assert done[2].error == "ValueError: no IBM today" and "FIREBOT_WORKSPACE" not in os.environ


def _pretended(config: object, out: Path | None, more: dict[str, str]) -> object:
    symbol = config.assets[0].symbol
    if symbol == "IBM": raise ValueError("no IBM today")
    if symbol == "NONE": raise ConfigError("NONE is unknown.")
    class Made: folder = f"{symbol} alone"
    assert more == {"FIREBOT_ALONE": "1"} and config.run.seed == 3
    return Made


def test_a_configuration_that_is_gone_by_then_is_told_of(tmp_path: Path) -> None:
    done = one(Task(str(tmp_path / "gone.yaml"), root=str(tmp_path)), {})
    assert done.bad and "there is no such file" in done.error


def test_check_looks_at_all_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    from firebot.cli import main
    write(tmp_path, a=BODY + "assets: [{symbol: NONE}]\n", b=BODY + GROUPS)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end: main(["backtest", "a.yaml", "b.yaml", "--check"])
    said = capsys.readouterr()
    assert end.value.code == 2 and said.out.splitlines() == ["b.yaml new: valid", "b.yaml old: valid"]
    assert said.err.count("error: ") == 1 and "a.yaml" in said.err and "NONE" in said.err


@pytest.mark.slow
def test_the_same_folders_for_any_number_of_workers(tmp_path: Path) -> None:
    "Two groups at a time, over processes and over Ray; and one of them written out, in a row with a file that is broken."
    write(tmp_path, groups=BODY + GROUPS, old=BODY + "assets: [{symbol: IBM}, {symbol: AAPL}]\n", broken=BODY + "assets: [{symbol: NONE}]\n")
    two = firebot("backtest", "groups.yaml", "--workers", "2", "--out", "two", cwd=tmp_path)
    assert two.returncode == 0 and [line.split()[:2] for line in two.stdout.splitlines()[1:]] == [["groups.yaml", "new"], ["groups.yaml", "old"]]
    row = firebot("backtest", "broken.yaml", "old.yaml", "--workers", "1", "--out", "row", cwd=tmp_path)
    assert row.returncode == 2 and row.stderr.count("error: ") == 1 and "broken.yaml" in row.stderr and "old.yaml" in row.stdout
    runs = {f.name: f for f in (tmp_path / "two").iterdir() if f.name != "failed"}
    again = next(f for f in (tmp_path / "row").iterdir() if f.name != "failed")
    assert len(runs) == 2 and load_manifest(again)["run_id"] == again.name
    over_ray = "parallel: {enabled: true, backend: ray, num_workers: 2, groups: {new: [GOOG], old: [IBM, AAPL]}}\n"
    write(tmp_path, ray=BODY + over_ray)
    ray = firebot("backtest", "ray.yaml", "--out", "ray", cwd=tmp_path)
    assert ray.returncode == 0, ray.stderr
    assert {f.name for f in (tmp_path / "ray").iterdir() if f.name != "failed"} == set(runs)
    for other in (again, tmp_path / "ray" / again.name):
        for file in other.iterdir(): # the journal, a database, by the digest that the manifest gives
            if file.suffix != ".sqlite": assert file.read_bytes() == (runs[again.name] / file.name).read_bytes(), file.name


def test_workers_among_workers_are_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    from firebot.parallel import Here, Workers
    monkeypatch.setenv("FIREBOT_ALONE", "1")
    with Workers(one, parallel=ParallelConfig(enabled=True, num_workers=4)) as workers: assert isinstance(workers.place, Here)
