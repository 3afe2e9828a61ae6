"""`firebot --help` answers at once because nothing heavy is imported for it."""
import subprocess
import sys

import pytest

HEAVY = {"duckdb", "IPython", "ipykernel", "matplotlib", "nbconvert", "numba", "numpy", "pandas", "papermill", "plotly",
         "polars", "pyarrow", "scipy", "sqlalchemy", "torch", "vectorbt"}
ASK = """
import sys
from firebot.cli import main
sys.argv = ["firebot", *{args}]
try: main()
except SystemExit as e: code = e.code
else: code = 0
print("\\nMODULES", code, *sorted({{m.split(".")[0] for m in sys.modules}}))
"""

@pytest.mark.parametrize("args", [["--help"], ["backtest", "--help"], ["verify", "--help"]], ids=" ".join)
def test_help_imports_nothing_heavy(args: list[str]) -> None:
    "Which modules are loaded is what decides how soon it answers"
    run = subprocess.run([sys.executable, "-c", ASK.format(args=args)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    code, *modules = run.stdout.split("MODULES")[-1].split()
    assert code in ("0", "None") and "Usage" in run.stdout
    assert not HEAVY & set(modules)


PAGES = dict.fromkeys(("home", "tax", "sweep", "run"), HEAVY - {"numpy"}) | {"data": {"numba", "pandas", "plotly"}} # which reads Parquet

def test_a_page_imports_what_it_shows() -> None:
    "A dashboard's first sight waits for what its module imports: nothing that computes, and nothing that draws"
    for page, heavy in PAGES.items():
        code = f"import sys, firebot.{page}_page; print(*{{m.split('.')[0] for m in sys.modules}})"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert not heavy & set(run.stdout.split()), page
