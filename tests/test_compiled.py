"The machine-code cache must never be older than any source it was made from."
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import firebot.compiled

PACKAGE = Path(firebot.compiled.__file__).parent
CALLEE = "from {how}\n@{name}\ndef fee(x): return x * {rate}\n"
CALLER = "from {how}\nfrom {package}.callee import fee\n@{name}\ndef cost(x): return x + fee(x)\n"


def answer(root: Path, package: str, cache: Path) -> str:
    "What the caller returns in a fresh process."
    code = f"from {package}.caller import cost; print(cost(100))"
    env = {**os.environ, "PYTHONPATH": str(root), "FIREBOT_CACHE": str(cache), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, "-c", code], env=env, cwd=root, capture_output=True, text=True, check=True).stdout.strip()


def make(root: Path, how: str, name: str, rate: int, package: str) -> None:
    folder = root / package
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "__init__.py").touch()
    (folder / "callee.py").write_text(CALLEE.format(how=how, name=name, rate=rate))
    (folder / "caller.py").write_text(CALLER.format(how=how, name=name, package=package))


def test_an_edited_callee_changes_the_caller(tmp_path: Path) -> None:
    how, name = "firebot.compiled import compiled", "compiled"
    (tmp_path / "firebot").mkdir()
    for module in ("models.py", "compiled.py"): shutil.copy(PACKAGE / module, tmp_path / "firebot" / module)
    make(tmp_path, how, name, 2, "firebot")
    assert answer(tmp_path, "firebot", tmp_path / "cache") == "300"
    made = sorted((tmp_path / "cache").rglob("*.nbc"))
    assert answer(tmp_path, "firebot", tmp_path / "cache") == "300"
    assert sorted((tmp_path / "cache").rglob("*.nbc")) == made, "the second process compiles nothing"
    make(tmp_path, how, name, 3, "firebot")
    assert answer(tmp_path, "firebot", tmp_path / "cache") == "400"


def test_numba_alone_would_have_been_fooled(tmp_path: Path) -> None:
    "The reason for the decorator: numba's own cache goes on with the old callee."
    how, name = "numba import njit", "njit(cache=True)"
    make(tmp_path, how, name, 2, "plain")
    assert answer(tmp_path, "plain", tmp_path / "cache") == "300"
    make(tmp_path, how, name, 3, "plain")
    assert answer(tmp_path, "plain", tmp_path / "cache") == "300"


def test_without_a_private_folder_it_still_works(tmp_path: Path) -> None:
    how, name = "firebot.compiled import compiled", "compiled"
    (tmp_path / "firebot").mkdir()
    for module in ("models.py", "compiled.py"): shutil.copy(PACKAGE / module, tmp_path / "firebot" / module)
    make(tmp_path, how, name, 2, "firebot")
    (tmp_path / "file").write_text("not a folder")
    assert answer(tmp_path, "firebot", tmp_path / "file") == "300"
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "compiled").mkdir()
    assert answer(tmp_path, "firebot", shared) == "300"


@pytest.mark.slow
def test_a_first_run_finds_its_code_compiled(tmp_path: Path) -> None:
    "Two processes leave the machine code of the kernel, the features, the tax fold and the metrics in an empty cache"
    code = """
from pathlib import Path
from firebot.config import load_config
from firebot.first_run import compile_ahead, is_compiled
config = load_config(Path("nbs/runs/backtest.yaml"))
print(is_compiled(), compile_ahead(config), is_compiled())
"""
    (cache := tmp_path / "cache").mkdir(mode=0o700)
    env = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "FIREBOT_CACHE": str(cache)}
    done = subprocess.run([sys.executable, "-c", code], env=env, cwd=PACKAGE.parent, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "False [0, 0] True"
    names = {f.name.partition("-")[0] for f in cache.rglob("*.nbc")}
    assert names >= {"kernel.advance", "indicators.run", "wash_sales._fold", "metrics._relative"}
