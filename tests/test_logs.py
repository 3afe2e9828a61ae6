"""Logs: any value is one honest line, secrets never show, nothing raises, and the level comes from the nearest place."""

import io
import json
import logging
import os
import pickle
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firebot.config import Secret, dump_config, load_config, redact, reveal
from firebot.logs import Log, _handler, bind, level, plain, setup, silence
from firebot.models import FireBotError

MOMENT = datetime(2012, 1, 4, 14, 30, tzinfo=UTC)
log = Log("test")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    yield
    silence()


def begun(level: str = "DEBUG", json: bool | None = None) -> io.StringIO:
    setup(level, json, out := io.StringIO(), lambda: MOMENT, strict=True)
    return out


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


# ---------------------------------------------------------------- a line


def test_a_line_is_json_with_sorted_keys_and_a_utc_time() -> None:
    out = begun()
    with bind(run_id="backtest-1", session="s"), bind(strategy_id="m", order_id="o"):
        log.info("order filled", symbol="IBM", price=Decimal("1E+2"))
    text = out.getvalue()
    line = json.loads(text)
    assert list(line) == sorted(line) and text.count("\n") == 1
    assert line == {
        "event": "order filled",
        "level": "info",
        "logger": "test",
        "order_id": "o",
        "price": "100",
        "run_id": "backtest-1",
        "session": "s",
        "strategy_id": "m",
        "symbol": "IBM",
        "timestamp": "2012-01-04T14:30:00Z",
    }


def test_a_terminal_gets_a_readable_line_and_a_pipe_json() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    setup("INFO", None, out := Terminal(), lambda: MOMENT)
    log.warning("bars refused", file="my file.csv", findings=3)
    assert out.getvalue() == 'warning: 14:30:00 test: bars refused file="my file.csv" findings=3\n'
    setup("INFO", None, pipe := io.StringIO(), lambda: MOMENT)
    log.warning("bars refused", findings=3)
    assert lines(pipe)[0]["findings"] == 3


def test_levels_filter_and_setup_begins_anew() -> None:
    for name, seen in {"DEBUG": 4, "INFO": 3, "WARNING": 2, "ERROR": 1}.items():
        out = begun(name)
        for write in (log.debug, log.info, log.warning, log.error):
            write("event")
        assert len(lines(out)) == seen and level() == name
    silence()
    log.error("nobody hears")
    assert len(lines(out)) == 1 and level() is None


def test_an_event_s_own_field_comes_before_a_bound_one_and_no_field_takes_a_line_s_own() -> None:
    out = begun()
    with bind(run_id="outer", event="bound", self=1):
        log.info("event", run_id="own", level="x", timestamp=1, logger="y", event="z", self=2, name=3)
    line = lines(out)[0]
    assert (line["event"], line["level"], line["logger"], line["run_id"]) == ("event", "info", "test", "own")
    assert (line["event_"], line["level_"], line["timestamp_"], line["logger_"], line["self"], line["name"]) == ("z", "x", 1, "y", 2, 3)


def test_bound_fields_end_with_their_block_also_after_an_error_and_stay_in_their_thread() -> None:
    out = begun()
    with suppress(ValueError), bind(run_id="a"):
        raise ValueError
    log.info("after")

    def other() -> None:
        log.info("elsewhere")

    with bind(run_id="b"):
        (thread := threading.Thread(target=other)).start()
        thread.join()
    assert [line.get("run_id") for line in lines(out)] == [None, None]


# ---------------------------------------------------------------- values


@dataclass
class Account:
    name: str
    password: str


def test_values_are_plain() -> None:
    east = timezone(timedelta(hours=-5))
    for value, shown in [
        (Decimal("0.10"), "0.10"),
        (Decimal("1E-7"), "0.0000001"),
        (Decimal("NaN"), "NaN"),
        (datetime(2012, 1, 3, 16, tzinfo=east), "2012-01-03T21:00:00Z"),
        (datetime(2012, 1, 3), "2012-01-03T00:00:00"),
        (date(2012, 1, 3), "2012-01-03"),
        (np.float64(1.5), 1.5),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.array([1, 2]), [1, 2]),
        (np.zeros((200, 3)), "array of shape (200, 3)"),
        (float("inf"), "inf"),
        (2**70, str(2**70)),
        (1 << 5000, "a number of 5,001 bits"),
        ({1: (2, None)}, {"1": [2, None]}),
        ({"b", "a"}, ["a", "b"]),
        (Path("a/b"), "a/b"),
        (b"\n", "b'\\\\n'"),
        (Account("me", "hunter2"), {"name": "me", "password": "***"}),
        (
            {"apiKey": 1, "auth_token": [2], "Authorization": "x", "n": 3},
            {"apiKey": "***", "auth_token": "***", "Authorization": "***", "n": 3},
        ),
        (list(range(102)), [*range(100), "2 more"]),
        ("x" * 3000, "x" * 2000 + "... (3,000 characters)"),
    ]:
        assert plain(value) == (shown.replace("\\\\", "\\") if isinstance(shown, str) and isinstance(value, bytes) else shown), value


def test_an_exception_is_fields_without_locals() -> None:
    out = begun()
    try:
        password = "hunter2" + str(1)
        try:
            raise KeyError("inner")
        except KeyError as inner:
            raise FireBotError(f"outer\n{len(password)}") from inner
    except FireBotError as error:
        log.error("failed", error=error)
    found = lines(out)[0]["error"]
    assert found["type"] == "FireBotError" and found["message"] == "outer\\n8" and found["cause"]["type"] == "KeyError"
    assert found["at"][0].startswith("test_logs.py:") and "hunter2" not in out.getvalue()


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__


class Trap:
    @property
    def tolist(self) -> Any:
        raise ZeroDivisionError

    def __hash__(self) -> int:
        return 1


def test_nothing_raises() -> None:
    endless: list[Any] = []
    endless.append(endless)
    wide = io.TextIOWrapper(raw := io.BytesIO(), encoding="ascii")
    setup("DEBUG", True, wide, lambda: MOMENT)
    for value in (Hostile(), Trap(), endless, {Hostile(): 1}, FireBotError(Hostile()), float("nan"), object, Secret, "é\ud800", lambda: 1):
        log.info("event", value=value)
    log.info(Hostile())  # type: ignore[arg-type]
    text = raw.getvalue().decode("ascii")
    assert text.count("\n") >= 10 and "raises RuntimeError" in text
    wide.close()
    log.info("to nowhere")
    setup("DEBUG", True, out := io.StringIO(), lambda: MOMENT)
    _handler.emit(logging.LogRecord("lib", logging.WARNING, "x.py", 1, "%d %d", ("x",), None))  # pytest's own handler would raise
    assert lines(out)[0]["event"] == "%d %d"


def test_with_strict_a_mistake_shows() -> None:
    setup("INFO", True, out := io.StringIO(), lambda: 1 / 0, strict=True)  # type: ignore[arg-type,return-value]
    with pytest.raises(ZeroDivisionError):
        log.info("event")
    setup("INFO", True, out, lambda: 1 / 0)  # type: ignore[arg-type,return-value]
    log.info("event")
    assert not out.getvalue()


simple = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.decimals()
    | st.datetimes(timezones=st.none() | st.just(UTC))
    | st.binary()
)
anything = st.recursive(
    simple,
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text() | st.integers(), x, max_size=3) | st.sets(st.integers()),
    max_leaves=8,
)


@given(st.text(), st.dictionaries(st.text(), anything, max_size=4), st.booleans())
def test_any_event_is_one_printable_line(event: str, given_: dict[str, Any], as_json: bool) -> None:
    out = begun(json=as_json)
    with bind(**given_):
        log.info(event, **given_)
    text = out.getvalue()
    assert text.count("\n") == 1 and text[:-1].isprintable()
    if as_json:
        line = json.loads(text)
        assert line["level"] == "info" and line["logger"] == "test" and list(line) == sorted(line)
    else:
        assert text.startswith("info: 14:30:00 test: ")


@pytest.mark.parametrize(
    "forged",
    ['\n{"level": "error"}', "\r\x1b[2Kerror: x", "\x1b]0;title\x07", "\u202egnp.exe", "\u2028x", "\x85x", "\x00", "\x7f", "\u200b"],
)
def test_no_value_can_forge_a_line(forged: str) -> None:
    for as_json in (True, False):
        out = begun(json=as_json)
        log.info("a" + forged, **{"k" + forged: forged, "nested": {forged: [forged]}})
        logging.getLogger("l" + forged).warning(forged)
        assert out.getvalue().count("\n") == 2 and out.getvalue().replace("\n", "").isprintable()


# ---------------------------------------------------------------- secrets

secrets = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=12).filter(str.isprintable),
    st.sampled_from(
        [
            "a.*+?[](){}|^$\\b",
            "{0} {x!r:>{y}} %s %(a)d",
            "k: [v, !!x] # &a *b",
            "p@ss:w/rd?&=+#%20",
            "q\"u'o`te\\n",
            "<b>&amp;",
            "é ü 北京",
            "${OTHER}",
        ]
    ),
).map(lambda text: f"zQ7{text}7Xw")

PLACES = """data_sources: [{type: csv, path: "${S_E}/bars", params: {zone_file: "${S_E}"}}]
strategies: [{name: m, class: BuyAndHoldStrategy, params: {word: "${S_E}"}}]
app: {data_dir: "d/${S_E}"}
metrics: {influxdb: {url: "http://me:${S_E}@host", token: "${S_E}", org: "x${S_E}"}}
"""


@given(secrets)
def test_a_secret_never_reaches_anything_that_is_kept_or_shown(secret: str) -> None:
    from firebot.runs import make_job

    config = load_config(PLACES, environ={"S_E": secret})
    shown: list[str] = [
        str(config),
        repr(config),
        dump_config(config),
        str(config.model_dump()),
        f"{config.metrics}",
        str(plain(config)),
        str(vars(config)),
        str(pickle.dumps(config)),
        repr(deepcopy(config)),
        json.dumps(config.model_dump(), default=repr),
    ]
    assert config.metrics.influxdb and reveal(deepcopy(config).metrics.influxdb.token) == secret
    out = begun()
    try:
        load_config(PLACES + "run: {seed: x}\n", environ={"S_E": secret})
    except FireBotError as error:
        shown += [str(error), *traceback.format_exception(error)]
        log.error("refused", error=error)
    for text in (
        PLACES,
        PLACES.replace(', params: {word: "${S_E}"}', ""),
        PLACES.replace(', params: {word: "${S_E}"}', "").replace(', params: {zone_file: "${S_E}"}', ""),
    ):
        try:
            make_job(load_config(text, environ={"S_E": secret}))
        except FireBotError as error:
            shown += [str(error), *traceback.format_exception(error)]
            log.error("refused", error=error)
        else:
            raise AssertionError("a source without a folder")
    token = reveal(config.metrics.influxdb.token)
    try:
        raise ValueError(f"401 for {token!r}, {reveal(config.metrics.influxdb.url)}")
    except ValueError as error:
        log.error(f"no entry: {token}", error=error, header=token, list=[{"k": token}], secret=config, url=config.metrics.influxdb.url)
    with bind(who=token):
        log.warning("x", **{f"f {token}": {token: token}})
    logging.getLogger("lib").error("sent %s and %r", token, [token])
    assert len(lines(out)) == 7
    assert not [text for text in (*shown, out.getvalue()) if secret in text]


def test_a_secret_is_known_in_its_other_spellings() -> None:
    secret = 'p@ss w/rd&"é'
    Secret("${PW_X}", {"PW_X": secret})
    out = begun()
    log.info(
        "GET http://h/?p=p%40ss+w%2Frd%26%22%C3%A9 or p%40ss%20w/rd%26%22%C3%A9",
        page="p@ss w/rd&amp;&quot;é",
        text=json.dumps(secret),
        number=1,
    )
    assert "rd" not in out.getvalue().replace("${PW_X}", "") and lines(out)[0]["event"] == "GET http://h/?p=${PW_X} or ${PW_X}"
    Secret("${PIN_X}", {"PIN_X": "90210773"})
    log.info("pin", n=90210773, d=Decimal("90210773"), f=90210773.0)
    assert "90210773" not in out.getvalue()
    Secret("${DB_X}", {"DB_X": "postgresql://me:t0p%20s3cret@db/x"})
    assert redact("password t0p s3cret, t0p%20s3cret") == "password ${DB_X}, ${DB_X}"


def test_a_short_value_is_left_alone() -> None:
    Secret("${SHORT_X}", {"SHORT_X": "run"})
    assert redact("the run ran") == "the run ran"


# ---------------------------------------------------------------- other people's logs


def test_python_s_logging_and_warnings_become_the_same_lines() -> None:
    out = begun("INFO")
    logging.getLogger("lib").info("too quiet")
    logging.getLogger("lib").warning("%s of %d", "one", 2)
    try:
        raise KeyError("k")
    except KeyError:
        logging.getLogger("lib").exception("broke")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        setup("INFO", True, out, lambda: MOMENT, strict=True)
        warnings.warn("old way", DeprecationWarning, stacklevel=1)
    said = [(line["logger"], line["level"], line["event"]) for line in lines(out)]
    assert said == [("lib", "warning", "one of 2"), ("lib", "error", "broke"), ("warnings", "warning", "old way")]
    assert lines(out)[1]["error"]["type"] == "KeyError" and lines(out)[2]["category"] == "DeprecationWarning"


def test_setting_up_twice_writes_once() -> None:
    begun()
    out = begun()
    logging.getLogger("lib").warning("once")
    assert len(lines(out)) == 1


# ---------------------------------------------------------------- the command line

RUN = "data_sources: [{type: sample}]\nstrategies: [{name: hold, class: BuyAndHoldStrategy}]\nassets: [{symbol: IBM}]\n"


@pytest.mark.parametrize(
    ("option", "environ", "app", "ini", "expected"),
    [
        ((), {}, "", "", "WARNING"),
        ((), {}, "", "ERROR", "ERROR"),
        ((), {}, "app: {log_level: INFO}\n", "ERROR", "INFO"),
        ((), {"FIREBOT_LOG_LEVEL": "DEBUG"}, "app: {log_level: INFO}\n", "ERROR", "DEBUG"),
        (("--log-level", "WARNING"), {"FIREBOT_LOG_LEVEL": "DEBUG"}, "app: {log_level: INFO}\n", "ERROR", "WARNING"),
    ],
)
def test_the_level_comes_from_the_nearest_place(
    option: tuple[str, ...],
    environ: dict[str, str],
    app: str,
    ini: str,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from firebot.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FIREBOT_LOG_LEVEL", raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    Path("settings.ini").write_text(f"[firebot]\nlog_level = {ini}\n" if ini else "")
    Path("c.yaml").write_text(RUN + app)
    with pytest.raises(SystemExit) as stop:
        main([*option, "backtest", "c.yaml", "--check"])
    err = capsys.readouterr().err
    assert not stop.value.code and level() == expected
    assert ("run resolved" in err) == (expected in ("DEBUG", "INFO"))


def test_a_run_logs_through_its_kernel_and_leaves_no_secret(root: Path, tmp_path: Path) -> None:
    "Bars in a folder whose name is a secret: one run that works, one whose file is refused"
    secret = "zQ7 h&m/e é"
    (folder := tmp_path / "bars" / secret).mkdir(parents=True)
    rows = [f"2012-01-{d:02},10,11,9,10,5" for d in (3, 4, 5, 6, 9, 10)]
    (folder / "X.csv").write_text("\n".join(["timestamp,open,high,low,close,volume", *rows]) + "\n")
    (tmp_path / "c.yaml").write_text(
        'data_sources: [{type: csv, path: "bars/${H_OME}"}]\nstrategies: [{name: hold, class: BuyAndHoldStrategy}]\n'
        'metrics: {influxdb: {url: "http://x", token: "${NO_TOKEN}"}}\n'
    )

    def run() -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PYTHONPATH": str(root), "H_OME": secret}
        return subprocess.run(
            [sys.executable, "-c", "from firebot.cli import main; main()", "--log-level", "DEBUG", "backtest", "c.yaml"],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )

    good = run()
    assert good.returncode == 0, good.stderr
    said = {line["event"]: line for text in good.stderr.splitlines() if text.startswith("{") and (line := json.loads(text))}
    assert said.keys() >= {"variable not set", "run started", "run resolved", "signals formed", "run simulated", "run published"}
    made = next((tmp_path / "reports").glob("backtest-*"))
    assert (
        said["run simulated"]["run_id"] == said["signals formed"]["run_id"] == made.name and said["signals formed"]["strategy_id"] == "hold"
    )
    assert not [f.name for f in made.iterdir() if "log" in f.name]
    (folder / "X.csv").write_text("\n".join(["timestamp,open,high,low,close,volume", *rows, "2012-01-11,10,9,11,10,5"]) + "\n")
    bad = run()
    assert bad.returncode == 1 and bad.stderr.splitlines()[-1].startswith("error: "), bad.stderr
    refused = next(json.loads(t) for t in bad.stderr.splitlines() if '"bars refused"' in t)
    assert refused["findings"] >= 1 and refused["level"] == "info" and refused["symbol"] == "X" and "${H_OME}/X.csv" in refused["file"]
    kept = [f for f in (tmp_path / "reports").rglob("*") if f.is_file()]
    assert any(f.parent.name == "failed" for f in kept)
    marks = [secret.encode(), b"zQ7 h", json.dumps(secret).strip('"').encode()]
    assert not [f.name for f in kept for m in marks if m in f.read_bytes()]
    assert secret not in good.stdout + good.stderr + bad.stdout + bad.stderr


def test_help_and_silence_do_not_import_structlog(root: Path) -> None:
    code = """
import sys, firebot.logs as l
l.Log('x').error('e'); print('structlog' in sys.modules)
l.setup('INFO'); l.Log('x').info('e'); print('structlog' in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"] and '"event": "e"' in done.stderr


def test_a_disabled_line_is_not_made() -> None:
    "What is not written looks at none of its fields; what is written looks at each once and is one write"
    class Field:
        looked = 0
        def __repr__(self) -> str:
            Field.looked += 1
            return "a field"

    class Stream(io.StringIO):
        writes = 0
        def write(self, text: str) -> int:
            Stream.writes += 1
            return super().write(text)

    stream = Stream()
    setup("WARNING", True, stream)
    for _ in range(100): log.info("order filled", quantity=Field())
    assert (Field.looked, Stream.writes) == (0, 0)
    setup("INFO", True, stream)
    for _ in range(100): log.info("order filled", quantity=Field())
    assert (Field.looked, Stream.writes, stream.getvalue().count("\n")) == (100, 100, 100)


def test_every_order_can_be_followed_by_its_id(root: Path, tmp_path: Path) -> None:
    "From acceptance to its fill, under the run and the strategy; the option stands on either side of the command"
    (tmp_path / "c.yaml").write_text("data_sources: [{type: sample}]\nassets: [{symbol: IBM}]\nrun: {start: 2004-01-02, end: 2004-06-30}\n"
                                     "strategies: [{name: cross, class: SmaCrossStrategy, params: {fast: 5, slow: 10}}]\n")
    code = "import sys; from firebot.cli import main; main(sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", code, "backtest", "c.yaml", "--log-level", "DEBUG"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    of = [s for s in said if s.get("order_id") == "O000001"]
    assert {"order accepted", "order filled"} <= {s["event"] for s in of}
    assert {(s["strategy_id"], s["symbol"]) for s in of} == {("cross", "IBM")} and len({s["run_id"] for s in of}) == 1
