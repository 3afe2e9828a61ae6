"""The rules of the house hold here, and each speaks when a throwaway project breaks it."""
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import house
import pytest
import readme


@pytest.mark.parametrize("rule", house.RULES)
def test_rule_holds(rule: str, root: Path) -> None:
    "Nothing to say about this project"
    assert house.RULES[rule](root) == []


# ---------------------------------------------------------------- a throwaway project
def cell(id: str, source: str, kind: str = "code", **more: object) -> dict:
    "A notebook's cell"
    code = dict(execution_count=None, outputs=[]) if kind == "code" else {}
    return dict(cell_type=kind, id=id, metadata={}, source=source.splitlines(keepends=True), **code) | more

def write(path: Path, *cells: dict) -> None:
    "A notebook, in the form nbdev writes"
    from fastcore.nbio import dict2nb, write_nb
    path.parent.mkdir(parents=True, exist_ok=True)
    kernel = dict(display_name="python3", language="python", name="python3")
    write_nb(dict2nb(cells=list(cells), metadata=dict(kernelspec=kernel), nbformat=4, nbformat_minor=5), path)

def export(root: Path) -> None:
    "What `nbdev-export` and `make readme` do"
    code = "from nbdev.doclinks import nbdev_export; nbdev_export()"
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)
    for name, made in readme.render(root).items(): (root/name).write_bytes(made)

@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    "A small project that breaks no rule"
    tiny = tmp_path_factory.mktemp("sound")
    for name in ("pyproject.toml", *house.lock.LOCKS.values()): shutil.copyfile(root/name, tiny/name)
    edit(tiny/"pyproject.toml", 'plugins = ["pydantic.mypy"]\n', "")    # ten seconds a check, for nothing here
    (tiny/"firebot").mkdir()
    (tiny/"firebot"/"__init__.py").write_text('__version__ = "0.0.1"\n')
    write(tiny/"nbs"/"00_base.ipynb", cell("exp", "#| default_exp base"), cell("title", "# Base\n> Root.", "markdown"),
          cell("one", "#| export\ndef one() -> int:\n    \"One\"\n    return 1"), cell("lesson", "one()"))
    write(tiny/"nbs"/"10_top.ipynb", cell("exp", "#| default_exp top"), cell("title", "# Top\n> Above.", "markdown"),
          cell("take", "#| export\nfrom firebot.base import one"),
          cell("two", "#| export\ndef two() -> int:\n    \"Two\"\n    return one() + one()"))
    write(tiny/"nbs"/"index.ipynb", cell("title", "# Tiny\n\nSee [the base](00_base.ipynb).", "markdown"))
    write(tiny/"nbs"/"runs"/"go.ipynb", cell("front", "---\nskip_exec: true\n---", "raw"),
          cell("conf", "x = 1", metadata=dict(tags=["parameters"])), cell("show", "x"))
    export(tiny)
    return tiny

@pytest.fixture
def project(sound: Path, tmp_path: Path) -> Path:
    "A copy of the sound project, to break"
    return Path(shutil.copytree(sound, tmp_path/"tiny"))

def edit(path: Path, old: str, new: str) -> None:
    "Replace `old`, which must be there, by `new`"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))

@pytest.mark.parametrize("rule", house.RULES)
def test_sound_project_has_no_findings(rule: str, sound: Path) -> None:
    "So a finding below comes from the break, and from it alone"
    assert house.RULES[rule](sound) == []


# ---------------------------------------------------------------- one break each
def add(source: str, nb: str = "10_top") -> Callable[[Path], None]:
    "A break: one more code cell in a library notebook"
    def broken(root: Path) -> None:
        path = root/"nbs"/f"{nb}.ipynb"
        write(path, *json.loads(path.read_text())["cells"], cell("added", source))
    return broken

def swap(name: str, old: str, new: str) -> Callable[[Path], None]:
    "A break: `old` in a file becomes `new`"
    return lambda root: edit(root/name, old, new)

def put(name: str, text: str) -> Callable[[Path], None]:
    "A break: one more file"
    return lambda root: [(root/name).parent.mkdir(exist_ok=True), (root/name).write_text(text)] and None

def before_numpy(line: str) -> Callable[[Path], None]:
    "A break: one more line in the lock"
    return swap("requirements.lock", "\nnumpy==", f"\n{line}\nnumpy==")

def rename(old: str, new: str) -> Callable[[Path], None]:
    "A break: a file under another name"
    return lambda root: (root/old).rename(root/new) and None

def both(*breaks: Callable[[Path], None]) -> Callable[[Path], None]:
    "Several steps that make one break"
    return lambda root: [b(root) for b in breaks] and None

BREAKS = [
    ("exported", swap("firebot/base.py", "return 1", "return 2"), "firebot/base.py: differs"),
    ("exported", swap("nbs/00_base.ipynb", "return 1", "return 2"), "firebot/base.py: differs"),
    ("exported", put("firebot/stray.py", "x = 1\n"), "firebot/stray.py: no notebook makes it"),
    ("exported", lambda root: (root/"firebot"/"top.py").unlink(), "firebot/top.py: missing"),
    ("exported", swap("firebot/_modidx.py", "firebot.base.one", "firebot.base.uno"), "firebot/_modidx.py: differs"),
    ("pages", swap("README.md", "Tiny", "Huge"), "README.md: differs"),
    ("pages", swap("nbs/index.ipynb", "Tiny", "Huge"), "README.md: differs"),
    ("pages", both(swap("nbs/index.ipynb", "00_base.ipynb", "01_none.ipynb"), export), "links to nbs/01_none.ipynb"),
    ("clean", swap("nbs/00_base.ipynb", '"execution_count": null', '"execution_count": 7'), "00_base.ipynb: not clean"),
    ("clean", swap("nbs/runs/go.ipynb", '"tags": [', '"slideshow": {}, "tags": ['), "nbs/runs/go.ipynb: not clean"),
    ("clean", swap("nbs/runs/go.ipynb", '"kernelspec": {', '"widgets": {}, "kernelspec": {'), "nbs/runs/go.ipynb: keeps the state of widgets"),
    ("clean", put("nbs/tutorials/half.ipynb", '{"cells": ['), "nbs/tutorials/half.ipynb: not a notebook"),
    ("direction", add("from firebot.top import two", "00_base"), "cell added imports firebot.top, number 10"),
    ("direction", add("def later():\n    import firebot.top as t\n    return t", "00_base"), "imports firebot.top"),
    ("direction", add("from firebot import top", "00_base"), "imports firebot.top"),
    ("direction", add("from . import top", "00_base"), "imports firebot.top"),
    ("direction", add("from .top import two", "00_base"), "imports firebot.top"),
    ("direction", add("from .top.deep import two", "00_base"), "imports firebot.top"),
    ("direction", add("import importlib\nimportlib.import_module('firebot.top')", "00_base"), "imports firebot.top"),
    ("direction", add("%time\nfrom firebot.top import two", "00_base"), "imports firebot.top"),
    ("direction", add("from firebot.top import two"), "imports firebot.top, number 10"),
    ("direction", add("from firebot.nowhere import x"), "firebot.nowhere, which no notebook makes"),
    ("direction", add("from firebot.base import *"), "by star"),
    ("direction", add("def ("), "does not parse"),
    ("names", rename("nbs/10_top.ipynb", "nbs/top.ipynb"), "nbs/top.ipynb: a library notebook is called NN_name"),
    ("names", rename("nbs/10_top.ipynb", "nbs/10_roof.ipynb"), "must say `#| default_exp roof`"),
    ("names", rename("nbs/10_top.ipynb", "nbs/00_top.ipynb"), "has the number 00 already"),
    ("names", lambda root: write(root/"nbs"/"tutorials"/"t.ipynb", cell("a", "#| export\nx = 1")), "t.ipynb: exports"),
    ("books", swap("nbs/runs/go.ipynb", '"x"', '"def f(): return 1"'), "cell show defines a function"),
    ("books", swap("nbs/runs/go.ipynb", "skip_exec: true", "skip_exec: false"), "must say `skip_exec: true`"),
    ("books", swap("nbs/runs/go.ipynb", "parameters", "other"), "one cell must be tagged `parameters`, 0 are"),
    ("locks", swap("pyproject.toml", '"numpy>=', '"numpy>=1'), "made from other dependencies"),
    ("locks", swap("requirements.lock", "numpy==", "numpi=="), "numpy>=2.1 is not in it"),
    ("locks", swap("requirements-dev.lock", "numpy==", "numpy==9"), "numpy 2"),
    ("locks", before_numpy("--index-url http://wheels.example/simple"), "names a place"),
    ("locks", before_numpy("--find-links wheels"), "names a place"),
    ("locks", before_numpy("numpy @ file:///wheels/numpy.whl"), "names a place"),
    ("locks", before_numpy("loose==1.0"), "loose is not pinned by digest"),
    ("secrets", lambda root: put("notes.md", f"data in {root.parent}/data\n")(root), "notes.md, line 1: names"),
    ("secrets", put("notes.md", "see /home/" + "ann/bars.csv\n"), "notes.md, line 1: names"),
    ("secrets", put("notes.md", "from https://" + "py" + "pi.org/simple\n"), "notes.md, line 1: names"),
    ("secrets", swap("README.md", "Tiny", "/tmp/" + "x1"), "README.md, line"),
    ("style", add("import os"), "F401"),
    ("style", put("firebot/base.py", "x = undefined\n"), "F821"),
    ("types", put("firebot/base.py", "def one(): return 1\n"), "no-untyped-def"),
    ("types", put("firebot/base.py", "def one() -> int: return 'one'\n"), "return-value"),
    ("types", add("nowhere"), "nbs/10_top.ipynb:cell_4:1: error"),
]

@pytest.mark.parametrize(("rule", "broken", "says"), BREAKS, ids=[f"{r}-{n}" for n, (r, _, _) in enumerate(BREAKS)])
def test_rule_speaks(rule: str, broken: Callable[[Path], None], says: str, project: Path) -> None:
    "The break is named"
    broken(project)
    found = house.RULES[rule](project)
    assert any(says in line for line in found), found

def test_every_rule_is_broken_once() -> None:
    "No rule without a proof that it can speak"
    assert {rule for rule, _, _ in BREAKS} == set(house.RULES)

@pytest.mark.parametrize("line", ["from firebot.base import one", "from firebot import base", "import firebot",
                                  "from firebot import __version__", "from firebots.top import x", "import x.firebot"])
def test_direction_lets_lower_numbers_pass(line: str, project: Path) -> None:
    "What may be imported, and what is not ours"
    add(line)(project)
    assert house.direction(project) == []

def test_run_books_and_tutorials_may_import_anything(project: Path) -> None:
    "Only library notebooks have a direction"
    write(project/"nbs"/"tutorials"/"t.ipynb", cell("a", "from firebot.top import two"))
    assert house.direction(project) == []


# ---------------------------------------------------------------- CI forgives no skip
@pytest.mark.parametrize(("ci", "workers", "code"), [("true", "0", 1), ("", "0", 0), ("true", "2", 1)])
def test_a_skip_fails_ci(ci: str, workers: str, code: int, root: Path, tmp_path: Path) -> None:
    "The same tests pass at a desk and fail in CI, with the skip named"
    shutil.copyfile(root/"tests"/"conftest.py", tmp_path/"conftest.py")
    (tmp_path/"test_it.py").write_text(
        "import pytest\ndef test_ok(): pass\n@pytest.mark.skip(reason='no server')\ndef test_no(): pass\n")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "COV", "CI"))} | {"CI": ci}
    run = subprocess.run([sys.executable, "-m", "pytest", "-n", workers, "-p", "no:cacheprovider", "."],
                         cwd=tmp_path, env=env, capture_output=True, text=True)
    assert run.returncode == code, run.stdout
    assert ("test_no: Skipped: no server" in run.stdout) == bool(code)
    assert "1 passed, 1 skipped" in run.stdout
