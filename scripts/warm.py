"""Have the code of a run compiled before the tests begin: once and without a tracer, not in each of their processes beside the other."""
from pathlib import Path

from firebot.config import load_config
from firebot.runs import execute, make_job, result_files

ROOT = Path(__file__).resolve().parent.parent

if __name__ == "__main__": result_files(execute(make_job(load_config(ROOT/"nbs"/"runs"/"backtest.yaml"), ROOT)))
