"Sessions that are killed, starved and damaged: no lost fill, no duplicate order, the fold is the account, the digest is the same."
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import tracing

from firebot.config import RiskConfig
from firebot.engine import Seat, Setup
from firebot.feed import Panel, load_panel
from firebot.indicators import Param
from firebot.journal import digest, last_step, order_keys, read, steps
from firebot.models import JournalError, RunError
from firebot.money import from_int
from firebot.paper import PaperSession, account_digest, command, finish, heed, run, snapshot, take
from firebot.portfolio import fold
from firebot.rules import make_strategy
from firebot.sources import SampleSource
from firebot.strategies import Strategy

PANEL = load_panel(SampleSource(), ["AAPL", "IBM"], date(2012, 1, 3), date(2012, 2, 3))
IDEAS = [make_strategy("momentum", "MomentumStrategy", {"lookback_window": 3, "threshold": 0.005}),
         make_strategy("cross", "SmaCrossStrategy", {"fast": 2, "slow": 4})]
SETUP = Setup(tuple(Seat(s.strategy_id, size_value=Decimal(20)) for s in IDEAS), PANEL.instruments, slippage_bps=Decimal(5))


def trade(folder: Path, panel: Panel = PANEL, **more: object) -> None:
    "The whole session, from where it is, a snapshot after every fourth bar."
    with PaperSession(folder, IDEAS, SETUP, **more) as session:
        for t in range(len(panel)):
            if (int(panel.end[t]), int(panel.start[t])) <= session.end: continue
            take(session, panel[t:t + 1])
            if t % 4 == 3: snapshot(session)
        if not session.done: finish(session)


def holds(folder: Path, wanted: tuple[str, str]) -> None:
    "The invariant, after the session was brought to its end."
    trade(folder)
    with PaperSession(folder, IDEAS, SETUP) as session:
        assert session.done
        events = list(read(session.path))
        orders = [e.order_id for e in events if e.kind == "order"]
        assert len(set(orders)) == len(orders) and sorted(order_keys(session.path).values()) == sorted(orders)
        account, portfolio = session.live.account.state, fold(events)
        assert portfolio.cash == from_int(int(account.cash[0]), SETUP.cash_scale)
        held = {k: p.quantity for k, p in portfolio.positions.items() if p.quantity}
        assert held == {(IDEAS[k].strategy_id, PANEL.symbols[s]): Decimal(int(account.held[k, s])) for k, s in np.argwhere(account.held).tolist()}
        assert (digest(session.path), account_digest(session.live)) == wanted


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    "Digests of the session that nothing happened to."
    folder = tmp_path_factory.mktemp("whole") / "s"
    trade(folder)
    with PaperSession(folder, IDEAS, SETUP) as session: return digest(session.path), account_digest(session.live)


def sweep(tmp_path: Path, whole: tuple[str, str], every: int, error: int = 0) -> int:
    "The session is stopped at every so many of its writes, and brought to its end; how many points there were."
    made, left = tracing.traced(lambda: trade(tmp_path / "count"), tmp_path)
    assert left == 0 and {"pwrite64", "rename", "write", "fsync"} <= set(made)
    for at in range(0, len(made), every):
        folder = tmp_path / f"at{at}"
        _, left = tracing.traced(lambda folder=folder: trade(folder), tmp_path, at, error)
        assert left == (2 if error else -signal.SIGKILL) or error and left == 0, (at, made[at], left)
        holds(folder, whole)
    return len(made)


needs_ptrace = pytest.mark.skipif(not tracing.SUPPORTED, reason="counts system calls of Linux on x86-64")


@needs_ptrace
def test_killed_at_some_writes(tmp_path: Path, whole: tuple[str, str]) -> None: assert sweep(tmp_path, whole, 67) > 100


@needs_ptrace
@pytest.mark.slow
def test_killed_at_every_write(tmp_path: Path, whole: tuple[str, str]) -> None: sweep(tmp_path, whole, 1)


@needs_ptrace
@pytest.mark.parametrize("error", [tracing.DISK_FULL, tracing.IO_ERROR])
def test_no_room_at_some_writes(tmp_path: Path, whole: tuple[str, str], error: int) -> None: sweep(tmp_path, whole, 151, error)


@needs_ptrace
@pytest.mark.slow
@pytest.mark.parametrize("error", [tracing.DISK_FULL, tracing.IO_ERROR])
def test_no_room_at_every_write(tmp_path: Path, whole: tuple[str, str], error: int) -> None: sweep(tmp_path, whole, 1, error)


def half(folder: Path, rows: int = 10) -> None:
    "A session whose process goes after `rows` bars, without a word."
    session = PaperSession(folder, IDEAS, SETUP)
    for t in range(rows):
        take(session, PANEL[t:t + 1])
        if t in (3, 7): snapshot(session)
    pid = os.fork() # the files as a killed process leaves them: no connection of ours checkpoints them on its way out
    if not pid: os._exit(0)
    os.waitpid(pid, 0)
    for name in ("", "-wal"):
        f = folder / f"journal.sqlite{name}"
        if f.exists(): (folder / f"kept{name}").write_bytes(f.read_bytes())
    session.ended = True
    session.release()
    for name in ("", "-wal"):
        if (folder / f"kept{name}").exists(): os.replace(folder / f"kept{name}", folder / f"journal.sqlite{name}")
    (folder / "journal.sqlite-shm").unlink(missing_ok=True)


def test_a_torn_last_record(tmp_path: Path, whole: tuple[str, str]) -> None:
    "Whatever is missing at the end of the write-ahead log, the batches before it count."
    for cut in (1, 100, 4096, 20_000):
        half(folder := tmp_path / f"torn{cut}")
        log = folder / "journal.sqlite-wal"
        log.write_bytes(log.read_bytes()[:-cut])
        holds(folder, whole)


def test_snapshots_that_are_wrong(tmp_path: Path, whole: tuple[str, str]) -> None:
    "A flipped bit anywhere, no snapshot, another session's, one newer and one older than the journal."
    half(tmp_path / "a", 10)
    half(tmp_path / "b", 5)
    half(tmp_path / "c", 10)
    state = (tmp_path / "a" / "snapshot.json").read_bytes()
    for at in (0, 64, 70, len(state) // 2, len(state) - 3):
        half(folder := tmp_path / f"bit{at}", 10)
        text = bytearray((folder / "snapshot.json").read_bytes())
        text[at] ^= 4
        (folder / "snapshot.json").write_bytes(text)
        holds(folder, whole)
        assert {"what": "snapshot", "why": "damaged"} in [s.data for s in steps(folder / "journal.sqlite")]
    for f in (tmp_path / "b").glob("snapshot*"): f.write_bytes(state)
    holds(tmp_path / "b", whole)
    assert any(s.data.get("why") == "of another session" for s in steps(tmp_path / "b" / "journal.sqlite"))
    newer = json.loads(state.split(b"\n")[1]) | {"number": 50}
    from firebot.paper import save
    save(tmp_path / "a" / "snapshot.json", newer)
    holds(tmp_path / "a", whole)
    assert any(s.data.get("why") == "newer than the journal" for s in steps(tmp_path / "a" / "journal.sqlite"))
    for f in (tmp_path / "c").glob("snapshot*"): f.unlink()
    holds(tmp_path / "c", whole)


def test_a_changed_journal_is_refused(tmp_path: Path) -> None:
    half(tmp_path / "s")
    with PaperSession(tmp_path / "s", IDEAS, SETUP): pass
    for f in (tmp_path / "s").glob("snapshot*"): f.unlink()
    with sqlite3.connect(tmp_path / "s" / "journal.sqlite") as raw:
        raw.execute("DROP TRIGGER events_UPDATE")
        raw.execute("""UPDATE events SET data = replace(data, '"quantity":"', '"quantity":"1') WHERE kind = 'fill'""")
    with pytest.raises((RunError, JournalError), match="on record is|changed"): PaperSession(tmp_path / "s", IDEAS, SETUP)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    "The second is refused while the first lives, and not after it was killed."
    out, into = os.pipe()
    if not (pid := os.fork()):
        session = PaperSession(tmp_path / "s", IDEAS, SETUP)
        os.write(into, b"x")
        time.sleep(60 + session.number)
        os._exit(0)
    os.read(out, 1)
    with pytest.raises(RunError, match=f"another process .{pid}. runs this session"): PaperSession(tmp_path / "s", IDEAS, SETUP)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    trade(tmp_path / "s")


def test_sigterm_in_the_middle_of_an_order(tmp_path: Path, whole: tuple[str, str]) -> None:
    "It is heeded after the step, the order is whole, and the session goes on."
    class Ask(type(IDEAS[0])): # type: ignore[misc]
        def generate_signal(self, features: dict[str, float]) -> object:
            os.kill(os.getpid(), signal.SIGTERM)
            return super().generate_signal(features)
    Ask.__name__ = type(IDEAS[0]).__name__
    if not (pid := os.fork()):
        try:
            with PaperSession(tmp_path / "s", [Ask("momentum", IDEAS[0].config), IDEAS[1]], SETUP) as session:
                os._exit(7 if not run(session, (PANEL[t:t + 1] for t in range(len(PANEL)))) and not session.ended and snapshot(session) else 1)
        finally: os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert 0 < last_step(tmp_path / "s" / "journal.sqlite").row < len(PANEL) - 1
    holds(tmp_path / "s", whole)


class Hangs(Strategy):
    "Never answers, from some bar on; catches what it can"
    params = {"row": Param(5, 0, 1000, "bar")}
    def __init__(self, *args: object) -> None:
        super().__init__(*args) # type: ignore[arg-type]
        self.seen = 0
    def features(self) -> dict[str, tuple[str]]: return {"price": ("last",)}
    def generate_signal(self, features: dict[str, float]) -> object:
        self.seen += 1
        while self.seen > self.config["row"]:
            try: time.sleep(10)
            except Exception: pass
        return self.signal("BUY")


def test_a_strategy_that_never_answers(tmp_path: Path) -> None:
    "It is disabled, the other goes on as before, a restart does not wait for it, and a person can arm it again."
    setup = replace(SETUP, seats=(*(replace(x, account=0) for x in SETUP.seats), Seat("hangs", size_value=Decimal(1), account=1)))
    ideas = [*IDEAS, Hangs("hangs")]
    def rows(begin: int, end: int) -> Iterator[Panel]: return (PANEL[t:t + 1] for t in range(begin, end))
    with PaperSession(tmp_path / "s", ideas, setup, seconds=0.3) as session:
        def feed() -> Iterator[Panel]:
            yield from rows(0, 10)
            session._interrupted = True
            yield PANEL[10:11]
        assert not run(session, feed())
        assert session.live.disabled == {"hangs": "no answer within 0.3 seconds"}
    for f in (tmp_path / "s").glob("snapshot*"): f.unlink()
    begun = time.monotonic()
    with PaperSession(tmp_path / "s", ideas, setup, seconds=0.3) as session:
        assert list(session.live.disabled) == ["hangs"] and session.live.row == 10
        command(tmp_path / "s", "arm", strategy="nobody")
        command(tmp_path / "s", "arm", strategy="hangs")
        assert run(session, rows(10, len(PANEL)))
    assert time.monotonic() - begun < 60
    kinds = [(s.kind, s.data.get("what", s.data.get("strategy"))) for s in steps(tmp_path / "s" / "journal.sqlite") if s.kind not in ("bar", "end")]
    assert kinds == [("note", "refused"), ("arm", "hangs")]
    trade(tmp_path / "alone")
    mine = [e.data for e in read(tmp_path / "s" / "journal.sqlite") if e.kind == "fill" and e.strategy_id != "hangs"]
    assert [d["price"] for d in mine] == [e.data["price"] for e in read(tmp_path / "alone" / "journal.sqlite") if e.kind == "fill"]


class Vague(Strategy):
    "Asked per bar; from its sixth question on it is sure of it to a degree that is no number, or gives a reason that is none"
    params = {"how": Param(0, 0, 2, "0 nan, 1 inf, 2 a reason")}
    seen = 0
    def state(self) -> dict[str, int]: return {"seen": self.seen}
    def restore(self, state: dict[str, int]) -> None: self.seen = state["seen"]
    def features(self) -> dict[str, tuple[str]]: return {"price": ("last",)}
    def generate_signal(self, features: dict[str, float]) -> object:
        self.seen += 1
        sure = (float("nan"), float("inf"), 0.5)[self.config["how"]] if self.seen > 5 else 0.5
        return self.signal("BUY", sure, reason=float("nan"))


class Loud(Strategy):
    "Vectorised; no opinion where the price is low, and where it is high one that is no number"
    params = {"how": Param(0, 0, 2, "0 nan, 1 inf, 2 -inf")}
    def features(self) -> dict[str, tuple[str]]: return {"price": ("last",)}
    def signals(self, features: dict[str, np.ndarray]) -> np.ndarray:
        return np.where(features["price"] > PANEL.close[5, 0] - 0.005, (np.nan, np.inf, -np.inf)[self.config["how"]], np.nan)


def test_answers_that_are_no_numbers(tmp_path: Path) -> None:
    "NaN is no opinion of a vectorised strategy; else it and infinity disable who gave them, on record; all others go on, a killed session too."
    odd = [Vague("nan"), Vague("inf", {"how": 1}), Vague("why", {"how": 2}), Loud("silent"), Loud("up", {"how": 1}), Loud("down", {"how": 2})]
    setup = replace(SETUP, seats=(*SETUP.seats, *(Seat(s.strategy_id, size_value=Decimal(1), account=k + 1) for k, s in enumerate(odd))))
    def go_on(folder: Path, until: int = len(PANEL), every: int = 99) -> tuple[str, str, dict[str, str]]:
        with PaperSession(folder, [*IDEAS, *odd], setup) as session:
            for t in range(session.live.row, until):
                take(session, PANEL[t:t + 1])
                if t % every == every - 1: assert snapshot(session)
            if until < len(PANEL): os.kill(os.getpid(), signal.SIGKILL)
            finish(session)
            return digest(session.path), account_digest(session.live), session.live.disabled
    *wanted, disabled = go_on(tmp_path / "s")
    assert disabled == {"nan": "OrderError: IBM: confidence nan is not between 0 and 1.",
                        "inf": "OrderError: IBM: confidence inf is not between 0 and 1.",
                        "up": "OrderError: up gave the signal inf; it must be between -1 and 1.",
                        "down": "OrderError: down gave the signal -inf; it must be between -1 and 1."}
    faults = {name: s.row for s in steps(tmp_path / "s" / "journal.sqlite") if s.kind == "bar" for name in s.data["faults"]}
    assert set(faults) == set(disabled) and json.loads((tmp_path / "s" / "status.json").read_text())["disabled"] == disabled
    events = list(read(tmp_path / "s" / "journal.sqlite"))
    assert all(e.bar < faults[e.strategy_id] for e in events if e.strategy_id in disabled and e.kind == "signal")
    assert not [e for e in events if e.strategy_id == "silent"]
    assert {e.data["metadata"]["reason"] for e in events if e.strategy_id == "why" and e.kind == "signal"} == {None}
    trade(tmp_path / "alone")
    def traded(folder: Path) -> list[tuple[object, ...]]:
        return [(e.bar, e.symbol, e.strategy_id, *(e.data[k] for k in ("side", "quantity", "price", "commission")))
                for e in read(folder / "journal.sqlite") if e.kind == "fill" and e.strategy_id in ("momentum", "cross")]
    assert traded(tmp_path / "s") == traded(tmp_path / "alone") != []
    for until, every in ((2, 99), (min(faults.values()) + 1, 99), (min(faults.values()) + 1, 2), (max(faults.values()) + 3, 3)):
        folder = tmp_path / f"{until}-{every}"
        if not (pid := os.fork()): go_on(folder, until, every)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        assert go_on(folder) == (*wanted, disabled)


def test_a_strategy_that_lost_too_much_is_armed(tmp_path: Path) -> None:
    "The limit stops it, a person lets it go on, and a session that is repeated from its journal agrees."
    setup = replace(SETUP, risk=RiskConfig(max_drawdown_pct=Decimal("0.05"), auto_disable_on_breach=True))
    with PaperSession(tmp_path / "s", IDEAS, setup) as session:
        for t in range(len(PANEL)):
            take(session, PANEL[t:t + 1])
            if stopped := list(session.live.stopped): break
        command(tmp_path / "s", "arm", strategy=stopped[0])
        heed(session)
        assert stopped[0] not in session.live.stopped and not session.live.disabled
        for r in range(t + 1, len(PANEL)): take(session, PANEL[r:r + 1])
        after = account_digest(session.live)
    told = [e.data["action"] for e in read(tmp_path / "s" / "journal.sqlite", partial=True) if e.kind == "risk" and e.strategy_id == stopped[0]]
    assert told[:2] == ["stopped", "released"]
    for f in (tmp_path / "s").glob("snapshot*"): f.unlink()
    with PaperSession(tmp_path / "s", IDEAS, setup) as session: assert account_digest(session.live) == after


def test_a_clock_that_is_set_back(tmp_path: Path, whole: tuple[str, str]) -> None:
    times = iter(range(10**18, 0, -10**15))
    with PaperSession(tmp_path / "s", IDEAS, SETUP, wall=lambda: next(times)) as session:
        assert run(session, (PANEL[t:t + 1] for t in range(len(PANEL))))
    assert any(s.data.get("what") == "clock" for s in steps(session.path))
    holds(tmp_path / "s", whole)


def test_commands_from_another_shell(tmp_path: Path) -> None:
    "A running session is listed, looked at and stopped flat by other processes."
    config = dict(data_sources=[dict(type="sample")], strategies=[dict(name="hold", **{"class": "firebot.strategies.BuyAndHoldStrategy"})],
                  assets=[dict(symbol="IBM")], run=dict(start="2012-01-03", end="2012-12-31"))
    (tmp_path / "c.yaml").write_text(json.dumps(config))
    def firebot(*words: str) -> list[str]:
        return [sys.executable, "-c", "import sys; from firebot.cli import main; main(sys.argv[1:])", "paper", *words, "--out", str(tmp_path)]
    def says(*words: str) -> str: return subprocess.run(firebot(*words), cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    running = subprocess.Popen(firebot("c.yaml", "--name", "mine", "--speed", "86400"), cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    while not (tmp_path / "sessions" / "mine" / "status.json").exists(): time.sleep(0.2)
    while last_step(tmp_path / "sessions" / "mine" / "journal.sqlite") is None: time.sleep(0.2)
    assert says("list").split()[:2] == ["mine", "running"] and json.loads(says("status", "mine"))["pid"] == running.pid
    says("stop", "mine", "--flatten")
    assert "mine is done" in running.communicate(timeout=120)[0]
    assert json.loads(says("status", "mine"))["state"] == "done"
    portfolio = fold(read(tmp_path / "sessions" / "mine" / "journal.sqlite"))
    assert all(p.quantity == 0 for p in portfolio.positions.values()) and portfolio.positions


def test_what_is_asked_between_two_processes_can_be_repeated(tmp_path: Path) -> None:
    "After a snapshot and before the next bar: the equity that is put on record is that of the account."
    with PaperSession(tmp_path / "s", IDEAS, SETUP) as session:
        for t in range(5): take(session, PANEL[t:t + 1])
    with PaperSession(tmp_path / "s", IDEAS, SETUP) as session: session.step("stop", {"flatten": True, "id": "x"})
    for name in ("snapshot.json", "snapshot.json.old"): (tmp_path / "s" / name).unlink(missing_ok=True)
    with PaperSession(tmp_path / "s", IDEAS, SETUP) as session: assert session.number == 5 and session.live.flattening
