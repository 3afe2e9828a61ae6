"""Every library notebook, tutorial and the index, run top to bottom in a process of its own as `nbdev-test` does it.

One run serves two questions: do its own tests pass, and are its saved outputs what it produces now? Notebooks whose
front matter says `skip_exec: true` (run books, dashboards) are executed elsewhere.
"""
import json
import re
import subprocess
import sys
from pathlib import Path

import house
import pytest

ROOT = Path(__file__).resolve().parent.parent


def executed(path: Path, root: Path) -> dict | None:
    "The notebook with fresh outputs, cleaned as `nbdev-clean` does; None when it is not to be executed"
    from nbdev.clean import clean_nb
    cmd = [sys.executable, str(ROOT/"scripts"/"execute.py"), str(path), str(root)]
    run = subprocess.run(cmd, cwd=root, capture_output=True, text=True)
    if run.returncode: pytest.fail(f"{path.name} did not run to its end:\n{run.stderr}", pytrace=False)
    if not run.stdout: return None
    nb = json.loads(run.stdout)
    clean_nb(nb, allowed_cell_metadata_keys=["tags"])
    return nb


def outputs(nb: dict) -> dict[str, list]:
    "Outputs by cell id, text joined: how it is split into lines says nothing"
    def flat(o: object) -> object:
        if isinstance(o, dict): return {k: flat(v) for k, v in o.items()}
        if isinstance(o, list): return "".join(o) if all(isinstance(x, str) for x in o) else [flat(x) for x in o]
        return o
    return {c["id"]: [flat(o) for o in c["outputs"]] for c in nb["cells"] if c["cell_type"] == "code"}


def stale(path: Path, root: Path) -> list[str]:
    "Cells whose saved output is not what they give now"
    fresh = executed(path, root)
    if fresh is None: return []
    saved, now = outputs(json.loads(path.read_text())), outputs(fresh)
    show = lambda outs: json.dumps(outs, ensure_ascii=False)[:600]
    return [f"{path.relative_to(root)}: cell {cell} was saved with {show(saved[cell])}\n  and gives {show(now[cell])}"
            for cell in saved if saved[cell] != now[cell]]


def runs(path: Path) -> bool:
    "Is the notebook to be executed here?"
    return not any(c["cell_type"] == "raw" and "skip_exec: true" in c["source"] for c in house.cells(path))


def needed(path: Path) -> list[str]:
    "The packages of an extra outside the lock that the notebook's front matter names"
    return [m for c in house.cells(path) if c["cell_type"] == "raw" for m in re.findall(r"^needs: (\w+)$", c["source"], re.M)]


@pytest.mark.parametrize("path", [p for p in house.notebooks(ROOT) if runs(p)],
                         ids=lambda p: p.relative_to(ROOT).as_posix())
def test_notebook(path: Path) -> None:
    "It passes, and its saved outputs are fresh; a page that says what it `needs` waits for it"
    for module in needed(path): pytest.importorskip(module)
    bad = stale(path, ROOT)
    assert not bad, "saved outputs are stale, run `make prepare`:\n" + "\n".join(bad)


def tiny(folder: Path, source: str, saved: list) -> Path:
    "A project with one notebook of one code cell"
    (folder/"pyproject.toml").write_text('[project]\nname = "tiny"\n[tool.nbdev]\n')
    (folder/"nbs").mkdir()
    path = folder/"nbs"/"00_a.ipynb"
    cell = dict(cell_type="code", id="one", metadata={}, execution_count=None, outputs=saved, source=[source])
    path.write_text(json.dumps(dict(cells=[cell], metadata={}, nbformat=4, nbformat_minor=5)))
    return path


def value(text: str) -> list:
    "The saved output of a cell that ends in a value"
    return [dict(output_type="execute_result", execution_count=None, metadata={}, data={"text/plain": [text]})]


def test_a_fresh_output_passes(tmp_path: Path) -> None:
    "What a cell gives is what was saved"
    assert stale(tiny(tmp_path, "1 + 1", value("2")), tmp_path) == []


def test_a_stale_output_is_named_by_notebook_and_cell(tmp_path: Path) -> None:
    "An output from before an edit, and one that was never saved"
    (tmp_path/"missing").mkdir()
    for folder, saved in ((tmp_path, value("3")), (tmp_path/"missing", [])):
        [said] = stale(tiny(folder, "1 + 1", saved), folder)
        assert said.startswith("nbs/00_a.ipynb: cell one")


def test_a_failing_notebook_fails(tmp_path: Path) -> None:
    "An assertion in a lesson ends the run with its traceback"
    with pytest.raises(pytest.fail.Exception, match="AssertionError"):
        stale(tiny(tmp_path, "assert 1 == 2", []), tmp_path)
