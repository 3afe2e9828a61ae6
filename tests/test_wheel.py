"""The built wheel is complete: installed into an empty environment, it runs the main job from any folder."""
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
UV = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])) or "uv"
# Nothing of this environment reaches the other one.
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COV", "VIRTUAL_ENV", "PYTEST", "FIREBOT"))}


def run(*cmd: object, cwd: Path) -> str:
    "What a command prints; it must succeed"
    done = subprocess.run([str(c) for c in cmd], cwd=cwd, env=CLEAN, capture_output=True, text=True)
    assert done.returncode == 0, f"{cmd}\n{done.stdout}\n{done.stderr}"
    return done.stdout

def empty(folder: Path) -> Path:
    "The interpreter of an empty environment"
    venv.create(folder, symlinks=True)
    return folder/"bin"/"python"

@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    "The wheel, built from the source archive, built from this tree"
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, root, cwd=out)
    [path] = out.glob("*.whl")
    return path

def test_books_and_sample_are_inside(wheel: Path, root: Path) -> None:
    "Every run book, dashboard, configuration and sample file has its place in the wheel, and every module"
    inside = set(zipfile.ZipFile(wheel).namelist())
    places = {"firebot": "firebot", "nbs/runs": "firebot/_books/runs", "nbs/dashboards": "firebot/_books/dashboards",
              "data/sample": "firebot/_sample"}
    skip = {"__pycache__", ".ipynb_checkpoints"}
    files = {p: f"{there}/{p.relative_to(root/here).as_posix()}" for here, there in places.items()
             for p in (root/here).rglob("*")}
    want = {name for p, name in files.items() if p.is_file() and not skip & set(p.parts)}
    assert "firebot/_books/runs/backtest.ipynb" in want
    assert want <= inside, want - inside

def test_backtest_from_another_folder(wheel: Path, root: Path, tmp_path: Path) -> None:
    "Lock, wheel, a configuration and an empty folder are enough; the run verifies there too"
    python, here = empty(tmp_path/"env"), tmp_path/"elsewhere"
    here.mkdir()
    install = (UV, "pip", "install", "--quiet", "--python", python)
    run(*install, "--require-hashes", "-r", root/"requirements.lock", cwd=here)
    run(*install, "--no-deps", wheel, cwd=here)
    run(UV, "pip", "check", "--python", python, cwd=here)
    shutil.copyfile(root/"nbs"/"runs"/"backtest.yaml", here/"mine.yaml")
    run(python.parent/"firebot", "backtest", "mine.yaml", cwd=here)
    [folder] = [p for p in (here/"reports").iterdir() if (p/"manifest.json").exists()]
    promised = {"run.ipynb", "report.html", "config.yaml", "journal.sqlite", "signals.csv", "orders.csv", "fills.csv",
                "equity.csv", "daily_pnl.csv", "positions.csv", "metrics.json"}
    assert promised <= {p.name for p in folder.iterdir()}
    run(python.parent/"firebot", "verify", folder, cwd=here)

def test_editable_install_with_every_tool_resolves(root: Path, tmp_path: Path) -> None:
    "`pip install -e \".[dev]\"` finds a consistent set, outside the locks"
    python = empty(tmp_path/"env")
    run(UV, "pip", "install", "--quiet", "--dry-run", "--python", python, "--editable", f"{root}[dev]", cwd=tmp_path)
