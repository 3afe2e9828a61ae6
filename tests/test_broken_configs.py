"""Broken configurations through the `firebot` command itself: exit 2 and one paragraph that names place, key, value and remedy.

The corpus of test_config.py, which asks the reader alone, is put through the command as well; to it come the cases that only
the command can see (bytes, names that are looked up, ranges of real data). What is tricky but right has a corpus too.
"""

import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_config import BAD, BASE, ENVIRON, MINIMAL, SPECIFIED

from firebot.cli import main
from firebot.config import load_config
from firebot.logs import silence
from firebot.models import FireBotError

SAMPLE = "data_sources: [{type: sample}]\n"
HOLD = "strategies: [{name: hold, class: BuyAndHoldStrategy}]\n"
IBM = "assets: [{symbol: IBM}]\n"


def strategy(text: str) -> str:
    return f"{SAMPLE}{IBM}strategies: [{{name: m, {text}}}]\n"


def source(text: str) -> str:
    return f"data_sources: [{{{text}}}]\n{HOLD}"


def key(text: str) -> str:
    return f"{SAMPLE}{HOLD}{IBM}{text}\n"


# name, the file, what the refusal must contain: place, key path, value, remedy
BROKEN: list[tuple[str, str | bytes, tuple[str, ...]]] = [
    # bytes
    ("no byte", b"", ("is empty; write data_sources:",)),
    ("UTF-16", MINIMAL.encode("utf-16"), ("byte 1 is not UTF-8; save the file as UTF-8",)),
    ("UTF-16 without a mark", MINIMAL.encode("utf-16-le"), ("special characters",)),
    ("UTF-32", MINIMAL.encode("utf-32"), ("not UTF-8",)),
    ("Latin-1", (MINIMAL + "app: {name: café}\n").encode("latin-1"), ("is not UTF-8; save the file as UTF-8",)),
    ("Windows-1252 quotes", (MINIMAL + "app: {name: “x”}\n").encode("cp1252"), ("is not UTF-8",)),
    ("NUL bytes", b"\0" * 64, ("special characters",)),
    ("NUL inside", MINIMAL.encode() + b"app: {name: a\0b}\n", ("line 3", "special characters")),
    ("an image", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), ("not UTF-8",)),
    ("an archive", b"PK\x03\x04\x14\0\0\0", ("special characters",)),
    ("5 MB", b"# x\n" * 1_300_000, ("bytes; keep it to 262,144",)),
    ("300 kB", b"# x\n" * 75_000, ("300,000 characters; keep it to 262,144",)),
    ("a form feed", MINIMAL.encode() + b"\x0capp: {}\n", ("special characters",)),
    ("an escape sequence", MINIMAL.encode() + b"\x1b[31mapp: {}\n", ("special characters",)),
    ("JSON lines", b'{"data_sources": []}\n{"strategies": []}\n', ("line 2", "not readable as YAML")),
    ("TOML", b"[run]\nseed = 7\n", ("line 2", "not readable as YAML")),
    ("INI", b"[run]\n", ("no block of keys",)),
    ("an anchor at the top", b"&a {data_sources: *a}\n", ("anchor",)),
    (
        "billion laughs",
        b"a: &a [x,x,x,x]\n" + b"".join(b"%c: &%c [*%c,*%c]\n" % (98 + i, 98 + i, 97 + i, 97 + i) for i in range(20)),
        ("line 1", "anchor"),
    ),
    ("an object", b"!!python/object/apply:os.system ['touch /tmp/firebot-was-here']\n", ("tag", "remove it")),
    ("a binary value", (MINIMAL + "app: {name: !!binary aGk=}\n").encode(), ("app.name", "tag", "remove it")),
    ("a set", (MINIMAL + "assets: !!set {IBM, AAPL}\n").encode(), ("assets", "tag")),
    # look-alikes
    ("Cyrillic key", key("ехecution: {slippage_bps: 1}"), ("line 4", "ехecution is not a known key", "did you mean execution?")),
    ("full-width key", key("run: {ｓeed: 1}"), ("run.ｓeed", "did you mean run.seed?")),
    ("key with a space", key("run: {'seed ': 1}"), ("run['seed '] is not a known key", "did you mean run.seed?")),
    ("name with a space", strategy("class: 'BuyAndHoldStrategy '"), ("strategies[0].class is 'BuyAndHoldStrategy '",)),
    ("ticker with a space", SAMPLE + HOLD + "assets: [{symbol: 'IBM '}]\n", ("assets[0].symbol is 'IBM '", "a ticker")),
    ("zero-width space", SAMPLE + HOLD + 'assets: [{symbol: "IBM\\u200b"}]\n', ("assets[0].symbol", "unprintable")),
    ("non-breaking space", SAMPLE + HOLD + 'assets: [{symbol: "IBM\\u00a0"}]\n', ("assets[0].symbol", "unprintable")),
    (
        "name that is a path",
        strategy("class: BuyAndHoldStrategy").replace("name: m", "name: ../../m"),
        ("strategies[0].name is '../../m'", "a name"),
    ),
    ("name with a line", strategy("class: BuyAndHoldStrategy").replace("name: m", 'name: "m\\nx"'), ("strategies[0].name", "line break")),
    # strategies
    ("unknown strategy", strategy("class: Momentum"), ("line 3: strategies[0].class is 'Momentum'", "did you mean 'MomentumStrategy'?")),
    ("strategy of a system", strategy("class: os.system"), ("line 3: strategies[0].class is 'os.system'", "known are")),
    ("strategy by another path", strategy("class: os.MomentumStrategy"), ("strategies[0]", "firebot.strategies.MomentumStrategy")),
    ("builtin", strategy("class: builtins.eval"), ("strategies[0].class is 'builtins.eval'",)),
    ("dunder path", strategy("class: firebot.strategies.__builtins__"), ("strategies[0].class",)),
    (
        "unknown parameter",
        strategy("class: MomentumStrategy, params: {treshold: 1}"),
        ("line 3: strategies[0].params.treshold is 1", "did you mean 'threshold'?"),
    ),
    (
        "word for a parameter",
        strategy("class: MomentumStrategy, params: {threshold: high}"),
        ("strategies[0].params.threshold is 'high'", "a number from 0 to 10"),
    ),
    (
        "list for a parameter",
        strategy("class: MomentumStrategy, params: {threshold: [1]}"),
        ("strategies[0].params.threshold is a list", "a number"),
    ),
    (
        "true for a parameter",
        strategy("class: MomentumStrategy, params: {lookback_window: true}"),
        ("strategies[0].params.lookback_window is true",),
    ),
    (
        "nothing for a parameter",
        strategy("class: MomentumStrategy, params: {lookback_window: }"),
        ("strategies[0].params.lookback_window",),
    ),
    (
        "octal parameter",
        strategy("class: MomentumStrategy, params: {lookback_window: 0o17}"),
        ("params.lookback_window is '0o17'", "whole number"),
    ),
    (
        "leading zero",
        strategy("class: MomentumStrategy, params: {lookback_window: 0123}"),
        ("params.lookback_window is '0123'", "whole number"),
    ),
    (
        "sexagesimal parameter",
        strategy("class: MomentumStrategy, params: {lookback_window: 12:30:00}"),
        ("params.lookback_window is '12:30:00'", "whole number"),
    ),
    ("half a bar", strategy("class: MomentumStrategy, params: {lookback_window: 2.5}"), ("params.lookback_window is 2.5", "whole number")),
    (
        "negative window",
        strategy("class: MomentumStrategy, params: {lookback_window: -3}"),
        ("params.lookback_window is -3", "from 1 to 100,000"),
    ),
    (
        "fast above slow",
        strategy("class: SmaCrossStrategy, params: {fast: 50, slow: 20}"),
        ("strategies[0].params.fast is 50", "smaller than slow, which is 20"),
    ),
    (
        "variable in a parameter",
        strategy('class: MomentumStrategy, params: {threshold: "${BARS}"}'),
        ("strategies[0]", "${NAME} is not read in its params"),
    ),
    # sources
    ("unknown source", source("type: parket, path: x"), ("line 1: data_sources[0].type is 'parket'", "did you mean 'parquet'?")),
    (
        "folder that is not there",
        source("type: csv, path: no/such/folder"),
        ("line 1: data_sources[0].path is 'no/such/folder'", "there is no such file or folder"),
    ),
    ("folder without a file", source("type: csv, path: ."), ("data_sources[0].path is '.'", "there is no symbol in it")),
    ("path too long", source(f"type: csv, path: {'x' * 400}"), ("data_sources[0]", "too long")),
    (
        "unknown setting",
        source("type: sample, params: {exchang: XNYS}"),
        ("data_sources[0].params.exchang is 'XNYS'", "no setting 'exchang'"),
    ),
    (
        "setting of another source",
        source("type: sample, zone: Europe/Berlin"),
        ("data_sources[0].zone is 'Europe/Berlin'", "no setting 'zone'"),
    ),
    (
        "setting among the params",
        source("type: csv, path: ., params: {zone: UTC}"),
        ("data_sources[0].params.zone is 'UTC'", "write data_sources[0].zone"),
    ),
    (
        "setting of a wrong type",
        source("type: csv, path: ., params: {exchange: 5}"),
        ("data_sources[0].params.exchange is 5", "cannot be made of this"),
    ),
    (
        "unknown exchange of a source",
        source("type: csv, path: ., params: {exchange: NYSE}"),
        ("data_sources[0].params.exchange is 'NYSE'", "did you mean 'XNYS'?"),
    ),
    ("unknown zone", source("type: csv, path: ., zone: Mars/Olympus"), ("data_sources[0].zone is 'Mars/Olympus'", "America/New_York")),
    (
        "zone that is a path",
        source("type: csv, path: ., zone: ../../etc/passwd"),
        ("data_sources[0].zone is '../../etc/passwd'", "America/New_York"),
    ),
    ("zone that is an offset", source("type: csv, path: ., zone: '+05:00'"), ("data_sources[0].zone is '+05:00'", "America/New_York")),
    ("symbol the source lacks", source("type: sample, symbols: [IMB]"), ("line 1: data_sources[0].symbols", "did you mean 'IBM'?")),
    ("password in a path", source('type: csv, path: "ftp://me:hunter2@x"'), ("data_sources[0].path is ***", "environment")),
    (
        "token in a setting",
        source("type: csv, path: ., params: {api-key: hunter2}"),
        ("data_sources[0].params.api-key is ***", "environment"),
    ),
    (
        "unset variable",
        source('type: csv, path: "${NO_SUCH}/bars"'),
        ("data_sources[0].path is '${NO_SUCH}/bars'", "NO_SUCH is not set; set it"),
    ),
    # symbols, days, rules that are looked up
    (
        "unknown symbol",
        SAMPLE + HOLD + "assets: [{symbol: IBM}, {symbol: APPL}]\n",
        ("line 3: assets[1].symbol is 'APPL'", "did you mean 'AAPL'?"),
    ),
    ("symbol in small letters", SAMPLE + HOLD + "assets: [{symbol: ibm}]\n", ("assets[0].symbol is 'ibm'", "did you mean 'IBM'?")),
    ("number for a symbol", SAMPLE + HOLD + "assets: [{symbol: 660}]\n", ("assets[0].symbol is 660", "put it in quotes")),
    (
        "start after the data",
        key("run: {start: 2020-01-01}"),
        ("line 4: run.start is 2020-01-01", "2000-03-01 to 2013-03-01", "change run.start"),
    ),
    ("end before the data", key("run: {end: 1999-01-01}"), ("line 4: run.end is 1999-01-01", "2000-03-01 to 2013-03-01", "change run.end")),
    (
        "before one share was listed",
        SAMPLE + HOLD + "run: {start: 2010-01-04, end: 2011-12-30}\n",
        ("run.end is 2011-12-30", "FB has bars from 2012-05-18", "without FB"),
    ),
    ("a weekend", key("run: {start: 2012-01-07, end: 2012-01-08}"), ("run.end is 2012-01-08", "IBM", "none in the range")),
    ("start in another century", key("run: {start: 0212-01-01}"), ("run.start is '0212-01-01'", "YYYY-MM-DD")),
    ("a leap day that was none", key("run: {start: 2011-02-29}"), ("run.start is '2011-02-29'", "YYYY-MM-DD")),
    ("week date", key("run: {start: 2011-W05-1}"), ("run.start is '2011-W05-1'", "YYYY-MM-DD")),
    ("epoch", key("run: {start: 1325376000}"), ("run.start is 1325376000", "YYYY-MM-DD")),
    ("time zone in a day", key("run: {start: '2012-01-03T00:00:00Z'}"), ("run.start is '2012-01-03T00:00:00Z'", "YYYY-MM-DD")),
    (
        "range shorter than the warm-up",
        strategy("class: SmaCrossStrategy, params: {fast: 20, slow: 50}") + "run: {start: 2012-12-03, end: 2012-12-31}\n",
        ("line 4: run.start is 2012-12-03", "m has to see 51 bars", "there are 20 of IBM"),
    ),
    (
        "warm-up longer than the data",
        strategy("class: MomentumStrategy, params: {lookback_window: 90000}"),
        ("line 3: strategies[0].name is 'm'", "90,001 bars", "3,270 of IBM"),
    ),
    (
        "unknown fill profile",
        key("execution: {fill_model: nextopen}"),
        ("line 4: execution.fill_model is 'nextopen'", "did you mean 'next_open'?"),
    ),
    ("unknown sizing rule", key("sizing: {rule: kelly}"), ("line 4: sizing.rule is 'kelly'", "percent_of_equity")),
    ("benchmark that is not traded", key("run: {benchmark: SPY}"), ("line 4: run.benchmark is 'SPY'", "choose one of IBM")),
    ("unknown currency", key("portfolio: {currency: XXX}"), ("line 4: portfolio.currency is 'XXX'", "known are USD")),
    ("unknown calendar", key("instruments: [{symbol: IBM, calendar: NYSE}]"), ("instruments[0].calendar is 'NYSE'", "did you mean XNYS?")),
    ("capital of 1e30", key("portfolio: {initial_capital: 1e30}"), ("portfolio.initial_capital", "below 10^15")),
    ("capital below a unit", key("portfolio: {initial_capital: -0.0}"), ("portfolio.initial_capital is", "more than 0")),
    ("key that would be truth", key("run: {y: 1}"), ("run.y is not a known key",)),
    ("key that is a number", key("run: {1: 1}"), ("run.1 is not a known key",)),
    ("key that is null", key("run: {~: 1}"), ("run['~'] is not a known key",)),
    ("key that is a block", key("? {a: 1}\n: 2"), ("a key that is not plain text",)),
]
RANKED = [*((name, change(BASE), needed) for name, change, needed in BAD), *BROKEN]


def command(*arguments: str) -> tuple[int, str, str]:
    "Exit code, stdout and stderr of `firebot`, in this process"
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as stop:
            code = int(stop.code or 0)
        finally:
            silence()
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(autouse=True)
def environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("content", "needed"), [pytest.param(c, n, id=name) for name, c, n in RANKED])
def test_a_broken_configuration_is_refused_in_one_paragraph(content: str | bytes, needed: tuple[str, ...]) -> None:
    Path("c.yaml").write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    code, out, err = command("backtest", "c.yaml", "--check")
    assert code == 2 and not out and err.startswith("error: c.yaml") and err.count("\n") == 1, err
    assert err[:-1].isprintable() and len(err) < 1000 and "Traceback" not in err and "hunter2" not in err and "s3cr3t" not in err, err
    assert not [n for n in needed if n not in err], err
    assert not Path("/tmp/firebot-was-here").exists() and not Path("reports").exists()


def test_the_corpus_is_wide() -> None:
    assert len(BROKEN) >= 80 and len({name for name, *_ in BROKEN}) == len(BROKEN)


@pytest.mark.parametrize(
    ("path", "needed"),
    [
        (".", "it is not a file"),
        ("none.yaml", "no such file"),
        ("/dev/null/x", "cannot be read|no such file"),
        ("x" * 300, "cannot be read|no such file"),
        ("c.yaml\n", "no such file"),
        ("", "not a file"),
    ],
)
def test_what_is_no_file_is_refused(path: str, needed: str) -> None:
    code, _, err = command("backtest", path, "--check")
    assert code == 2 and re.search(needed, err) and err.startswith("error: ") and err.count("\n") == 1, err


def test_a_few_through_a_real_process(root: Path, tmp_path: Path) -> None:
    for name in ("UTF-16", "unknown parameter", "start after the data"):
        content, needed = next((c, n) for named, c, n in BROKEN if named == name)
        (tmp_path / "c.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
        done = subprocess.run(
            [sys.executable, "-c", "from firebot.cli import main; main()", "backtest", "c.yaml", "--check"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and not [n for n in needed if n not in done.stderr], done


# ---------------------------------------------------------------- what is tricky and right

RIGHT: list[tuple[str, str | bytes, Callable[..., bool]]] = [
    ("a byte-order mark", b"\xef\xbb\xbf" + key("").encode(), lambda c: True),
    ("two marks", b"\xef\xbb\xbf\xef\xbb\xbf" + key("").encode(), lambda c: True),
    ("Windows line ends", key("").replace("\n", "\r\n").encode(), lambda c: True),
    ("old Mac line ends", key("").replace("\n", "\r").encode(), lambda c: True),
    ("no line end", key("").strip().encode(), lambda c: True),
    ("a document's begin and end", "---\n" + key("") + "...\n", lambda c: True),
    ("a YAML version", "%YAML 1.1\n---\n" + key(""), lambda c: True),
    ("comments everywhere", key("# a: b\nrun: {} # c: d"), lambda c: c.run.seed == 0),
    (
        "JSON",
        '{"data_sources": [{"type": "sample"}], "strategies": [{"name": "a", "class": "BuyAndHoldStrategy"}], "assets": [{"symbol": "IBM"}]}',
        lambda c: c.strategies[0].name == "a",
    ),
    ("quoted keys", key('"run": {"seed": 3}'), lambda c: c.run.seed == 3),
    ("an accent", key("app: {name: Café 北京}"), lambda c: c.app.name == "Café 北京"),
    ("an emoji", key("app: {name: 🔥}"), lambda c: c.app.name == "🔥"),
    ("an escape that is text", key('app: {name: "caf\\u00e9"}'), lambda c: c.app.name == "café"),
    ("capital as an exponent", key("portfolio: {initial_capital: 1e5}"), lambda c: str(c.portfolio.initial_capital) == "100000"),
    ("capital with a sign", key("portfolio: {initial_capital: +2500.50}"), lambda c: str(c.portfolio.initial_capital) == "2500.5"),
    ("a tenth", key("execution: {slippage_bps: .1}"), lambda c: str(c.execution.slippage_bps) == "0.1"),
    ("a quoted day", key("run: {start: '2012-01-03'}"), lambda c: str(c.run.start) == "2012-01-03"),
    ("one day", key("run: {start: 2012-01-03, end: 2012-01-03}"), lambda c: c.run.start == c.run.end),
    ("a leap day", key("run: {end: 2012-02-29}"), lambda c: str(c.run.end) == "2012-02-29"),
    ("a range around the data", key("run: {start: 1990-01-01, end: 2099-12-31}"), lambda c: True),
    (
        "exactly the warm-up",
        strategy("class: MomentumStrategy, params: {lookback_window: 19}") + "run: {start: 2012-12-03, end: 2012-12-31}\n",
        lambda c: True,
    ),
    ("nothing for an option", key("run: {start: ~, benchmark: null, end: }"), lambda c: c.run.start is None),
    ("an empty block", key("run: {}\nparams: {}").replace("params: {}", "risk: {}"), lambda c: True),
    (
        "a name like a keyword",
        strategy("class: BuyAndHoldStrategy").replace("name: m", "name: 'null'"),
        lambda c: c.strategies[0].name == "null",
    ),
    (
        "dots in a name",
        strategy("class: BuyAndHoldStrategy").replace("name: m", "name: no.v1-2_3"),
        lambda c: c.strategies[0].name == "no.v1-2_3",
    ),
    ("a class by its last word", strategy("class: MomentumStrategy"), lambda c: True),
    (
        "a disabled strategy that is not there",
        SAMPLE + IBM + "strategies: [{name: a, class: BuyAndHoldStrategy}, {name: b, class: x.Gone, enabled: false}]\n",
        lambda c: not c.strategies[1].enabled,
    ),
    ("a variable nobody needs", key('metrics: {influxdb: {url: "http://x", token: "${NO_SUCH}"}}'), lambda c: True),
    (
        "a variable that holds YAML",
        source("type: sample").replace("{type: sample}", "{type: sample}") + 'app: {data_dir: "${YAML}"}\n',
        lambda c: True,
    ),
    ("a dollar that is text", strategy("class: BuyAndHoldStrategy") + "app: {data_dir: ./$data}\n", lambda c: c.app.data_dir == "./$data"),
    ("an instrument not traded", key("instruments: [{symbol: NO, tick: 0.5}]"), lambda c: c.instruments[0].symbol == "NO"),
    ("the block in another order", IBM + HOLD + SAMPLE, lambda c: True),
    ("a long list", key("instruments: [" + ", ".join(f"{{symbol: S{i}}}" for i in range(500)) + "]"), lambda c: len(c.instruments) == 500),
]


@pytest.mark.parametrize(("content", "holds"), [pytest.param(c, h, id=name) for name, c, h in RIGHT])
def test_what_is_tricky_but_right_is_accepted(content: str | bytes, holds: Callable[..., bool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YAML", "{a: [1, 2], b: !!x ${BARS}}")
    Path("c.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    code, out, err = command("backtest", "c.yaml", "--check")
    assert code == 0 and out == "c.yaml: valid\n" and "error" not in err, err
    assert holds(load_config(Path("c.yaml")))


@pytest.mark.parametrize("ticker", ["000660", "NO", "ON", "TRUE", "NULL", "Yes", "Off", "0x1F", "1_000"])
def test_a_ticker_is_text_unless_it_is_plainly_a_number(ticker: str) -> None:
    "It is read as it stands and refused only because the sample has no such share"
    Path("c.yaml").write_text(SAMPLE + HOLD + f"assets: [{{symbol: {ticker}}}]\n")
    code, _, err = command("backtest", "c.yaml", "--check")
    assert code == 2 and f"assets[0].symbol is '{ticker}'" in err and "there is no symbol" in err, err


def test_the_specified_example_is_refused_for_its_model_file_only() -> None:
    Path("c.yaml").write_text(SPECIFIED)
    code, _, err = command("backtest", "c.yaml", "--check")
    assert code == 2 and "c.yaml, line 26: strategies[1].params.model_path is './models/transformer_v1.pt'" in err and "firebot convert" in err, err


# ---------------------------------------------------------------- names are looked up, never imported


def test_a_class_is_never_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    "A module on the path would leave a trace"
    (tmp_path / "trap_of_firebot.py").write_text("from pathlib import Path\nPath('sprung').touch()\nclass MomentumStrategy: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("trap_of_firebot.MomentumStrategy", "trap_of_firebot.Other", "trap_of_firebot"):
        Path("c.yaml").write_text(strategy(f"class: {name}"))
        code, _, err = command("backtest", "c.yaml", "--check")
        assert code == 2 and f"'{name}'" in err, err
    assert not (tmp_path / "sprung").exists() and "trap_of_firebot" not in sys.modules
    import trap_of_firebot  # noqa: F401 (it would have been found)

    assert (tmp_path / "sprung").exists()


# ---------------------------------------------------------------- any mutation

GOOD = f"""{SAMPLE}{IBM}strategies:
  - name: m
    class: MomentumStrategy
    params: {{lookback_window: 5, threshold: 0.02}}
run: {{start: 2012-01-03, end: 2012-03-30, resolution: 1d, seed: 7, benchmark: IBM}}
portfolio: {{initial_capital: 100000.0, currency: USD}}
sizing: {{rule: percent_of_equity, value: 50}}
execution: {{fill_model: next_open, slippage_bps: 1.5, commission: {{fixed: 1, relative: 0.001}}}}
instruments: [{{symbol: IBM, tick: 0.01, lot: 1}}]
"""
WORDS = [
    "",
    "~",
    "no",
    "true",
    "[]",
    "{}",
    "[1]",
    "{a: 1}",
    "-1",
    "0",
    "1e300",
    "1e-300",
    ".nan",
    "1e14",
    "'x'",
    '"\\0"',
    "*a",
    "&a 1",
    "!!int 1",
    "${BARS}",
    "${NO}",
    "2012-01-31",
    "IBM",
    "m",
    "é",
    "../x",
    "9" * 400,
    "0.00000001",
    "999999999999999",
    "1d",
    "1h",
    "XNYS",
    "\t",
    "a: b",
    "#",
    "- 1",
]


@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_mutation_is_accepted_or_refused(data: st.DataObject) -> None:
    text = GOOD
    for _ in range(data.draw(st.integers(1, 2))):
        spans = [m.span() for m in re.finditer(r"[\w.-]+|[{}\[\]:,\n ]", text)]
        begin, end = data.draw(st.sampled_from(spans))
        text = text[:begin] + data.draw(st.sampled_from(WORDS) | st.text(max_size=4)) + text[end:]
    Path("c.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    code, _, err = command("backtest", "c.yaml", "--check")
    last = err.splitlines()[-1] if err else ""
    assert code == 0 and not last.startswith("error") or code == 2 and last.startswith("error: c.yaml") and last.isprintable(), (text, err)


def test_every_refusal_is_our_own_error() -> None:
    for _, content, _ in BROKEN:
        if isinstance(content, str):
            from firebot.runs import make_job

            with pytest.raises(FireBotError):
                make_job(load_config(content))
