"""Have the code of a run compiled before the tests begin: once and without a tracer, not in each of their processes beside the other."""
from pathlib import Path

from firebot.config import load_config
from firebot.first_run import compile_ahead
from firebot.runs import execute, make_job, result_files

ROOT = Path(__file__).resolve().parent.parent

if __name__ == "__main__":
    compile_ahead(config := load_config(ROOT/"nbs"/"runs"/"backtest.yaml"))
    result_files(execute(make_job(config, ROOT)))
