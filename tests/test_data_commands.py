"`firebot data`: judging, importing, fetching, copying and bringing back, as a person would, with the exit codes that scripts rely on."
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from firebot.cli import main
from firebot.history import StoreSource
from firebot.sources import sample_dir

Run = Callable[..., tuple[int, str, str]]
GOOD = "date,open,high,low,close,volume\n2012-01-03,186.73,188.71,186.0,186.3,5646000\n2012-01-04,185.57,186.33,184.94,185.54,4346500\n"


@pytest.fixture
def firebot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    "The command in a workspace of its own: exit code, stdout, stderr"
    (tmp_path/"settings.ini").write_text("[firebot]\ndata = data\n")
    monkeypatch.chdir(tmp_path)
    def run(*args: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop: main(["data", *args])
        said = capsys.readouterr()
        return int(stop.value.code or 0), said.out, said.err
    return run


def test_good_files_are_accepted_and_bad_ones_refused_with_every_finding(firebot: Run, tmp_path: Path) -> None:
    (tmp_path/"IBM.csv").write_text(GOOD)
    assert firebot("check", "IBM.csv")[0] == 0
    (tmp_path/"BAD.csv").write_text(GOOD.replace("188.71", '"18,871"').replace("184.94", "-1"))
    code, out, _ = firebot("check", "IBM.csv", "BAD.csv")
    assert code == 1 and "accepted: IBM.csv" in out and "refused: BAD.csv" in out
    code, out, _ = firebot("check", "BAD.csv", "--json")
    found = json.loads(out)
    assert code == 1 and {(f["row"], f["column"], f["verdict"]) for f in found} >= {(1, "high", "refuse")}
    assert all(set(f) == {"file", "row", "column", "value", "reason", "verdict"} for f in found)

def test_later_than_asked_for_is_the_future(firebot: Run, tmp_path: Path) -> None:
    (tmp_path/"IBM.csv").write_text(GOOD)
    assert firebot("check", "IBM.csv", "--as-of", "2012-01-04")[0] == 0
    assert firebot("check", "IBM.csv", "--as-of", "2012-01-03")[0] == 1
    code, _, err = firebot("check", "IBM.csv", "--as-of", "tomorrow")
    assert code == 2 and err.startswith("error: --as-of is 'tomorrow'")

def test_what_is_imported_is_a_source_and_importing_again_changes_nothing(firebot: Run, tmp_path: Path) -> None:
    (tmp_path/"IBM.csv").write_text(GOOD)
    assert firebot("import", "IBM.csv")[1] == "IBM 1d bars: 2 rows new, 0 there already\n"
    def kept() -> dict[Path, bytes]:
        return {f: f.read_bytes() for f in (tmp_path/"data"/"store").rglob("*") if f.is_file() and f.parent.name != "imports"}
    before = kept()
    assert firebot("import", "IBM.csv")[1] == "IBM 1d bars: 0 rows new, 2 there already\n"
    assert kept() == before
    assert StoreSource(tmp_path/"data"/"store").bars("IBM").close.tolist() == [186.3, 185.54]

def test_a_refused_file_among_good_ones_leaves_the_store_as_it_was(firebot: Run, tmp_path: Path) -> None:
    (tmp_path/"in").mkdir()
    (tmp_path/"in"/"IBM.csv").write_text(GOOD)
    (tmp_path/"in"/"BAD.csv").write_text(GOOD.replace("186.3,", "0,"))
    code, out, _ = firebot("import", "in")
    assert code == 1 and "refused: in/BAD.csv" in out
    assert [p.name for p in (tmp_path/"data"/"store").iterdir()] == ["imports"] # the report on what was refused

def test_a_bar_that_contradicts_a_stored_one_is_refused(firebot: Run, tmp_path: Path) -> None:
    (tmp_path/"IBM.csv").write_text(GOOD)
    assert firebot("import", "IBM.csv")[0] == 0
    (tmp_path/"IBM.csv").write_text(GOOD.replace("185.54", "185.55"))
    code, _, err = firebot("import", "IBM.csv")
    assert code == 1 and "185.55" in err and "185.54" in err and "row 2" in err

def test_quotes_and_minutes_of_a_real_week(firebot: Run, root: Path) -> None:
    real = root.parent/"shared"/"data"/"minute"
    if not real.is_dir(): pytest.skip("real minute bars are not there")
    code, out, _ = firebot("import", str(real), "--zone", "America/New_York")
    assert code == 0 and "SPY 1m bars: 4,839 rows new" in out and "SPY 1m quotes: 5,412 rows new" in out
    source = StoreSource(Path("data/store"))
    assert len(source.quotes("SPY", date(2013, 10, 4), date(2013, 10, 11))) == 5412 and len(source.bars("SPY", resolution="1h")) > 30

def test_a_copy_comes_back_as_it_was(firebot: Run, tmp_path: Path) -> None:
    assert firebot("import", str(sample_dir()/"bars.parquet"))[0] == 0
    code, out, _ = firebot("backup", "copies")
    name = out.split(":")[0]
    assert code == 0 and firebot("restore", "copies", "--list")[1].split() == [name]
    assert firebot("backup", "copies")[1].split(", ")[-1].startswith("0 of them new")
    assert firebot("restore", "copies", "again")[0] == 0
    here, there = ({f.relative_to(d): f.read_bytes() for f in d.rglob("*") if f.is_file() and f.name != "lock"}
                   for d in (tmp_path/"data"/"store", tmp_path/"again"))
    assert there == {k: v for k, v in here.items() if k in there} and len(there) > 5
    assert firebot("restore", "copies")[0] == 2
    damaged = next((tmp_path/"copies").rglob("*.parquet"), None) or max((p for p in (tmp_path/"copies").rglob("*") if p.is_file()),
        key=lambda p: p.stat().st_size)
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\0")
    shutil.rmtree(tmp_path/"again")
    code, _, err = firebot("restore", "copies", "again")
    assert code == 1 and damaged.name[:12] in err and not (tmp_path/"again").exists()

def test_fetching_takes_what_is_missing_into_the_store(firebot: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    "The fetch itself is tested against a server elsewhere; here it is the commands around it"
    import firebot.yahoo as yahoo
    asked: list[Any] = []
    def fetch(symbols: list[str], first: date, last: date, resolution: str, folder: Path, clock: Any, **more: Any) -> tuple[Any, ...]:
        asked.append((symbols, first, last, resolution, more["chunk"]))
        return tuple(yahoo.Fetched(s, resolution, folder, error="Yahoo answers nothing") for s in symbols)
    monkeypatch.setattr(yahoo, "fetch", fetch)
    monkeypatch.setenv("YFINANCE_BACKFILL_CHUNK", "1mo")
    code, out, err = firebot("fetch", "IBM", "--start", "2012-01-03", "--end", "2012-01-31")
    assert code == 1 and "Yahoo answers nothing" in err and not out and not (tmp_path/"data"/"store").exists()
    assert asked == [(["IBM"], date(2012, 1, 3), date(2012, 1, 31), "1d", "1mo")]
    assert firebot("fetch", "IBM", "--start", "03/01/2012")[0] == 2

def test_nobody_listens_and_the_import_goes_on(tmp_path: Path, root: Path) -> None:
    "The reader of a real pipe has gone before the first warning; the bars are in the store all the same"
    gone = GOOD + "2012-01-09,180.1,183.0,180.0,181.59,5000000\n"  # two sessions are missing: a warning
    (tmp_path/"settings.ini").write_text("[firebot]\ndata = data\n")
    for name in ("AAA", "BBB"): (tmp_path/f"{name}.csv").write_text(gone)
    env = os.environ | {"PYTHONPATH": str(root)}
    command = [sys.executable, "-c", "import sys; from firebot.cli import main; main(sys.argv[1:])", "data"]
    for verb, files, codes in (("import", ["AAA.csv", "BBB.csv"], {0}), ("check", ["AAA.csv"], {1})):
        reading, writing = os.pipe()
        os.close(reading)
        try: done = subprocess.run([*command, verb, *files], cwd=tmp_path, env=env, stdout=writing, stderr=writing)
        finally: os.close(writing)
        assert done.returncode in codes
    store = StoreSource(tmp_path/"data"/"store")
    assert [len(store.bars(s)) for s in ("AAA", "BBB")] == [3, 3]

def test_a_damaged_list_is_said_to_be_one(firebot: Run, tmp_path: Path) -> None:
    (tmp_path/"IBM.csv").write_text(GOOD)
    firebot("import", "IBM.csv")
    name = firebot("backup", "copies")[1].split(":")[0]
    (tmp_path/"copies"/"backups"/f"{name}.json").write_text("{}")
    assert firebot("restore", "copies", "--list")[1] == f"{name}: its list is damaged, nothing can be restored from it\n"

def test_other_files_beside_what_was_restored_are_told(firebot: Run, tmp_path: Path) -> None:
    (tmp_path/"IBM.csv").write_text(GOOD)
    firebot("import", "IBM.csv")
    firebot("backup", "copies")
    assert firebot("restore", "copies", "again")[1].endswith("every file of the backup as it was\n")
    (tmp_path/"again"/"notes.txt").write_text("mine")
    assert firebot("restore", "copies", "again")[1].endswith("every file of the backup as it was; 1 other file there is not of it\n")

def test_a_file_that_is_none_is_unreadable(firebot: Run, tmp_path: Path) -> None:
    (tmp_path/"IBM.csv").write_bytes(b"PK\x03\x04 a spreadsheet")
    assert "1 unreadable" in firebot("check", "IBM.csv")[1]

def test_another_symbol_is_said_once(firebot: Run, tmp_path: Path) -> None:
    head, *rows = GOOD.splitlines()
    (tmp_path/"x.csv").write_text("\n".join([head + ",symbol", *(r + ",MSFT" for r in rows)]) + "\n")
    code, out, _ = firebot("check", "x.csv", "--symbol", "IBM")
    assert code == 1 and out.count("another symbol") == 1 and "MSFT" in out
