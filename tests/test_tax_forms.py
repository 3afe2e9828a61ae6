"""Forms, files and commands of the tax layer: what they add up to, what they refuse, and that a refusal leaves nothing behind."""
import csv
import json
from decimal import Decimal
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_tax import odd, trades

from firebot.cli import main
from firebot.config import TaxConfig, load_tax
from firebot.explain import explain
from firebot.forms import boxes, carried, fold_trades, form_8949, on_the_form, read_history, schedule_d, totals
from firebot.lots import settlement
from firebot.models import DataError
from firebot.tax_report import TAX_FILES

CHAIN = """date,symbol,side,quantity,amount,order_id
2024-03-01,IBM,buy,10,1000.00,a
2024-12-20,IBM,sell,10,750.00,b
2025-01-10,IBM,buy,10,800.00,c
2025-03-10,IBM,sell,10,700.00,d
"""

def command(*args: object) -> int:
    with pytest.raises(SystemExit) as stop: main([str(a) for a in args])
    return int(stop.value.code or 0)


# ---------------------------------------------------------------- what adds up
@given(st.lists(st.integers(-10**9, 10**9), min_size=1, max_size=30), st.integers(3, 8))
def test_cents_of_a_box_add_up_to_its_total(amounts: list[int], scale: int) -> None:
    start = np.zeros(len(amounts), bool)
    start[0] = True
    cents = on_the_form(np.array(amounts), scale, start)
    assert abs(int(cents.sum()) * 10**(scale - 2) - sum(amounts)) * 2 <= 10**(scale - 2)
    assert (np.abs(cents * 10**(scale - 2) - np.array(amounts)) <= 10**(scale - 2)).all()

@given(st.integers(-10**8, 10**8), st.integers(-10**8, 10**8), st.sampled_from([150_000, 300_000]))
def test_losses_are_deducted_carried_or_set_off(short: int, long: int, limit: int) -> None:
    allowed, left_short, left_long = carried(short, long, limit)
    assert allowed == min(limit, max(-(short + long), 0)) and left_short >= 0 and left_long >= 0
    assert allowed + left_short + left_long == max(-(short + long), 0)
    assert left_short <= max(-short, 0) and left_long <= max(-long, 0)

@given(st.integers(0, 2**32), st.sampled_from(["fifo", "lifo", "hifo", "lofo"]))
def test_the_form_says_what_the_ledger_says(seed: int, method: str) -> None:
    tax = TaxConfig(method=method)
    ledger = fold_trades(trades(odd(Random(seed), 30)), tax)
    form, p = form_8949(ledger, tax), ledger.pieces
    assert len(form) == len(p)
    cents = sum(form["gain_loss"].to_pylist(), Decimal(0)) * 100
    assert cents == int((p[:, 3] - p[:, 4] + p[:, 7]).sum())
    sheets = schedule_d(form, tax)
    assert sum(x["lines"]["16"] + x["carried_in"]["short"] + x["carried_in"]["long"] for x in sheets.values()) == cents
    assert sum(totals(form)["sales"].to_pylist()) == len(form)

@given(st.integers(0, 2**32), st.booleans())
def test_whole_dollars_are_whole_everywhere(seed: int, separate: bool) -> None:
    tax = TaxConfig(whole_dollars=True, filing_status="separate" if separate else "single")
    form = form_8949(fold_trades(trades(odd(Random(seed), 20)), tax), tax)
    for r in form.to_pylist():
        assert all(r[k] % 1 == 0 for k in ("proceeds", "cost_basis", "adjustment", "gain_loss"))
        assert r["gain_loss"] == r["proceeds"] - r["cost_basis"] + r["adjustment"]


# ---------------------------------------------------------------- rules
def test_boxes_of_digital_assets_begin_in_2025() -> None:
    one = np.array([True])
    assert [str(boxes(one, one, np.array([y]), k)[0]) for y in (2024, 2025) for k in ("basis", "no_basis", "none")] == list("DEFJKL")

@pytest.mark.parametrize("traded, settled", [("1994-12-30", "1995-01-09"), ("2016-12-30", "2017-01-05"), ("2022-12-30", "2023-01-04"),
                                             ("2024-12-30", "2024-12-31"), ("2024-12-31", "2025-01-02")])
def test_delivery_by_the_rule_of_its_time(traded: str, settled: str) -> None:
    day = np.array([traded], "datetime64[D]").astype(np.int64)
    assert str(settlement(day).astype("datetime64[D]")[0]) == settled

def test_sales_in_a_retirement_account_are_on_no_form(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("date,symbol,side,quantity,amount,account\n2024-01-02,M,buy,1,10,roth\n2024-02-02,M,sell,1,20,roth\n")
    tax = load_tax("tax: {ira_accounts: [roth]}\n")
    assert len(form_8949(fold_trades(read_history(tmp_path / "f.csv"), tax), tax)) == 0


# ---------------------------------------------------------------- the command
def test_firebot_tax_leaves_the_forms_and_explain_tells_the_story(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "fills.csv").write_text(CHAIN)
    assert command("tax", tmp_path / "fills.csv", "--out", tmp_path / "out") == 0
    assert {f.name for f in (tmp_path / "out").iterdir()} == set(TAX_FILES)
    sheet = json.loads((tmp_path / "out" / "schedule_d.json").read_text())
    assert {y: x["lines"]["16"] for y, x in sheet["years"].items()} == {"2024": "0.00", "2025": "-350.00"}
    first = {f.name: f.read_bytes() for f in (tmp_path / "out").iterdir()}
    assert command("tax", tmp_path / "fills.csv", "--out", tmp_path / "out") == 0
    assert first == {f.name: f.read_bytes() for f in (tmp_path / "out").iterdir()}
    capsys.readouterr()
    assert command("explain", tmp_path / "out", "b") == 0
    told = capsys.readouterr().out
    assert "lot c, bought 2025-01-10, 21 days after the sale" in told and "the sale d took 10 of them, and 250.00 with them" in told
    with pytest.raises(DataError, match="no sale or lot is called 'zz'"): explain(tmp_path / "out", "zz")

def test_one_year_and_other_choices(tmp_path: Path) -> None:
    (tmp_path / "fills.csv").write_text(CHAIN)
    (tmp_path / "me.yaml").write_text("tax: {holding_period: date, filing_status: separate, loss_carried_long: 5000}\n")
    assert command("tax", tmp_path / "fills.csv", "--out", tmp_path / "o", "--year", 2025, "--method", "hifo", "--profile", tmp_path / "me.yaml",
                   "--no-older-lots-replace") == 0
    sheet = json.loads((tmp_path / "o" / "schedule_d.json").read_text())
    assert list(sheet["years"]) == ["2025"] and sheet["years"]["2025"]["carried_in"]["long"] == "3500.00"
    assert [sheet["options"][k] for k in ("method", "holding_period", "older_lots_replace", "filing_status")] == ["hifo", "date", False, "separate"]
    page = (tmp_path / "o" / "report.html").read_text()
    assert "not tax advice" in page and "hifo" in page
    rows = list(csv.DictReader((tmp_path / "o" / "form_8949.csv").open()))
    assert [(r["tax_year"], r["gain_loss"]) for r in rows] == [("2025", "-350.00")]

@pytest.mark.parametrize("change, code, says", [
    (("IBM,sell,10,750.00", "IBM,sell,11,750.00"), 1, "fills.csv: row 2, sell of IBM on 2024-12-20 closes more than is held (10); correct"),
    (("2024-12-20", "2024-13-20"), 1, "row 2, date '2024-13-20' is not a time"), (("750.00", ""), 1, "row 2, amount '' is missing"),
    (("symbol", "symbl"), 1, "fills.csv: no column symbol; there are 'date', 'symbl', 'side'"),
    (("750.00", "750.00,extra"), 1, "7 cells where the header has 6"), (("sell", "give"), 1, "row 2, side 'give' is no side")])
def test_bad_files_are_refused_and_nothing_is_written(change: tuple[str, str], code: int, says: str, tmp_path: Path,
                                                      capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "fills.csv").write_text(CHAIN.replace(*change, 1))
    assert command("tax", tmp_path / "fills.csv", "--out", tmp_path / "out") == code
    assert says in capsys.readouterr().err
    assert [f.name for f in tmp_path.iterdir()] == ["fills.csv"]

@pytest.mark.parametrize("text, says", [
    ("date,symbol,side,quantity,price,currency\n2024-01-02,IBM,buy,1,160,USD\n2024-01-03,SAP,buy,1,140,EUR\n",
     "f.csv: rows are in EUR and USD; a return"),
    ("date,symbol,side,quantity,price,order_id,lot_id\n2024-01-02,M,buy,1,10,a,\n2024-02-02,M,sell,1,20,b,z\n",
     "f.csv: row 2, sale of M on 2024-02-02 names the lot 'z', which is not there"),
    ("date,symbol,side,quantity,price\n2024-01-02,M,buy,1,\n", "f.csv: row 1, price '' is missing"),
    ("date;symbol;side;quantity;price\n2024-01-02;M;buy;1;2\n", "f.csv: the cells are not parted by commas")])
def test_what_no_return_can_be_made_of_leaves_nothing(text: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "f.csv").write_text(text)
    assert command("tax", tmp_path / "f.csv", "--out", tmp_path / "out", "--method", "specific") == 1
    assert says in capsys.readouterr().err and [f.name for f in tmp_path.iterdir()] == ["f.csv"]

@pytest.mark.parametrize("args", [("--method", "average"), ("--holding-period", "long"), ("--year", "24")])
def test_options_that_are_none(args: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "fills.csv").write_text(CHAIN)
    assert command("tax", tmp_path / "fills.csv", "--out", tmp_path / "out", *args) == 2
    assert not (tmp_path / "out").exists()

def test_lots_named_in_vain_are_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "f.csv").write_text("date,symbol,side,quantity,amount,order_id,lot_id\n2024-01-02,M,buy,1,10,a,\n2024-02-02,M,sell,1,20,b,a\n")
    assert command("tax", tmp_path / "f.csv", "--out", tmp_path / "out") == 0
    assert "warning: lot_id names shares in 1 rows, and under fifo it is not read" in capsys.readouterr().err

def test_who_named_a_lot_and_when_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    "A file of its own, which goes when another method no longer reads the names; a sale that nobody says when it was named is told"
    head = "date,symbol,side,quantity,amount,order_id,lot_id,identified,identified_by\n2024-01-02,M,buy,10,100,a,,,\n2024-01-03,M,buy,10,150,b,,,\n"
    def tax(rows: str, method: str) -> int:
        (tmp_path / "f.csv").write_text(head + rows)
        return command("tax", tmp_path / "f.csv", "--out", tmp_path / "out", "--method", method)
    assert tax("2024-06-03,M,sell,10,120,c,b,2024-06-04T10:00:00-04:00,A. Person\n", "specific") == 0
    assert {f.name for f in (tmp_path / "out").iterdir()} == {*TAX_FILES, "identified.csv"}
    assert list(csv.DictReader((tmp_path / "out" / "identified.csv").open())) == [dict(
        sell_id="c", lot_id="b", symbol="M", quantity="10", sold="2024-06-03", settles="2024-06-04", identified="2024-06-04",
        identified_by="A. Person", account="")]
    assert command("explain", tmp_path / "out", "c") == 0
    assert "Lot b was named for 10 of them on 2024-06-04 by A. Person; the sale settled on 2024-06-04" in capsys.readouterr().out
    assert tax("2024-06-03,M,sell,10,120,c,b,2024-06-05,A. Person\n", "specific") == 1
    assert "f.csv: row 3, sale of M on 2024-06-03 names its lots on 2024-06-05, and it settled on 2024-06-04" in capsys.readouterr().err
    assert tax("2024-06-03,M,sell,10,120,c,b,soon,\n", "specific") == 1 and "row 3, identified 'soon' is not a time" in capsys.readouterr().err
    assert tax("2024-06-03,M,sell,10,120,c,b,,\n", "specific") == 0 and "1 sales name their lots, and the columns" in capsys.readouterr().err
    assert tax("2024-06-03,M,sell,10,120,c,b,,\n", "hifo") == 0
    assert {f.name for f in (tmp_path / "out").iterdir()} == set(TAX_FILES)

def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fills.csv").write_text(CHAIN)
    def full(*args: object, **more: object) -> bytes: raise OSError(28, "No space left on device")
    monkeypatch.setattr("firebot.tax_report.form_pdf", full)
    assert command("tax", tmp_path / "fills.csv", "--out", tmp_path / "out") == 1
    assert [f.name for f in tmp_path.iterdir()] == ["fills.csv"]
