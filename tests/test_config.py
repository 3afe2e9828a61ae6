"Configurations that must be refused, with the words each refusal needs, and those that must come back unchanged."

import json
import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from firebot import config as module
from firebot.config import (
    NOT_YET,
    Config,
    Secret,
    config_from_blocks,
    dump_config,
    load_config,
    read_yaml,
    reveal,
    scalar,
    unsupported,
)
from firebot.models import AssetClass, ConfigError, Instrument

MINIMAL = """\
data_sources: [{type: sample}]
strategies: [{name: fast, class: firebot.strategies.MomentumStrategy}]
"""

BASE = """\
data_sources:
  - type: sample
strategies:
  - name: momentum_v1
    class: firebot.strategies.MomentumStrategy
    enabled: true
    params:
      lookback_window: 20
      threshold: 0.02
assets:
  - symbol: IBM
  - symbol: AAPL
    data_source: sample
run: {start: 2005-01-03, end: 2012-12-31, resolution: 1d, seed: 7, benchmark: IBM}
portfolio: {initial_capital: 100000.0, currency: USD}
sizing: {rule: percent_of_equity, value: 50}
execution:
  slippage_bps: 1.5
  commission: {fixed: 1, per_share: 0.0035, relative: 0.001}
instruments: [{symbol: IBM, sector: Technology, tick: 0.01, lot: 1}]
metrics:
  influxdb: {url: "http://localhost:8086", token: "${INFLUXDB_TOKEN}"}
"""

SPECIFIED = """\
# Every key of the specification's example
app:
  name: "FireBot"
  log_level: "INFO"
  data_dir: "./data"
  model_dir: "./models"

data_sources:
  - type: "csv"
    path: "./data/historical"
    symbols: ["AAPL", "GOOGL", "MSFT"]
  - type: "parquet"
    path: "./data/parquet"

strategies:
  - name: "momentum_v1"
    class: "firebot.strategies.MomentumStrategy"
    enabled: true
    params:
      lookback_window: 20
      threshold: 0.02
  - name: "ml_transformer_v1"
    class: "firebot.strategies.TransformerStrategy"
    enabled: true
    params:
      model_path: "./models/transformer_v1.pt"
      sequence_length: 60

assets:
  - symbol: "AAPL"
    data_source: "csv"
  - symbol: "GOOGL"
    data_source: "csv"

risk:
  max_position_size_pct: 5.0
  max_drawdown_pct: 10.0
  max_daily_loss_pct: 3.0
  auto_disable_on_breach: true

portfolio:
  initial_capital: 100000.0
  currency: "USD"

execution:
  fill_model: "instant"  # or "realistic"
  slippage_bps: 0  # basis points
  commission_per_trade: 0.0

metrics:
  export_to: "influxdb"  # or "prometheus"
  influxdb:
    url: "http://localhost:8086"
    token: "${INFLUXDB_TOKEN}"
    org: "firebot"
    bucket: "trading_metrics"

parallel:
  enabled: true
  backend: "ray"
  num_workers: 4
"""

ENVIRON = {"INFLUXDB_TOKEN": "s3cr3t-t0ken", "EMPTY": "", "LINES": "a\nb", "BARS": "/srv/bars"}


def change(old: str, new: str) -> Callable[[str], str]:
    "BASE with `old`, which stands there once, replaced"

    def changed(text: str) -> str:
        assert text.count(old) == 1, old
        return text.replace(old, new)

    return changed


def more(text: str) -> Callable[[str], str]:
    return lambda base: base + text


def only(text: str) -> Callable[[str], str]:
    return lambda base: text


# name, what is done to BASE, what the refusal must contain
BAD: list[tuple[str, Callable[[str], str], tuple[str, ...]]] = [
    # the file as a whole
    ("empty", only("\n"), ("is empty", "data_sources:")),
    ("only comments", only("# nothing\n# here\n"), ("is empty",)),
    ("a list", only("- type: sample\n"), ("no block of keys", "data_sources:")),
    ("a word", only("hello\n"), ("no block of keys",)),
    ("two documents", more("---\nrun: {}\n"), ("second document", "keep one")),
    ("empty second document", more("---\n"), ("second document",)),
    ("too long", more("#" * 300_000), ("262,144",)),
    ("unclosed bracket", change("[{symbol: IBM, sector: Technology, tick: 0.01, lot: 1}]", "[{symbol: IBM"),
     ("not readable as YAML", "line")),
    ("unclosed quote", change("class: firebot", 'class: "firebot'), ("not readable as YAML", "line")),
    ("colon in a word", change("- type: sample", "- type: sample: now"), ("line 2", "not readable as YAML")),
    ("tab", change("    enabled", "\tenabled"), ("line 6", "not readable as YAML")),
    ("indentation", change("    enabled", "  enabled"), ("line 6", "not readable as YAML")),
    ("NUL", change("Technology", "Tech\0nology"), ("line 20", "special characters")),
    ("escaped NUL", change("Technology", '"Tech\\0nology"'), ("instruments[0].sector", "unprintable", "plain text")),
    ("lone surrogate", change("Technology", '"\\ud800"'), ("instruments[0].sector", "unprintable")),
    ("impossible escape", change("Technology", '"\\UFFFFFFFF"'), ("not readable as YAML",)),
    ("right-to-left override", change("Technology", '"abc\\u202Edef"'), ("instruments[0].sector", "unprintable")),
    ("log injection", change("Technology", '"x\\nINFO all is well"'), ("instruments[0].sector", "one line")),
    ("folded text", more("app:\n  name: >\n    Fire\n    Bot\n"), ("app.name", "line break", "one line")),
    ("other YAML version", only("%YAML 2.0\n---\n" + MINIMAL), ("not readable as YAML", "version")),
    ("deep list", change("threshold: 0.02", "threshold: " + "[" * 30 + "]" * 30),
     ("strategies[0].params.threshold[0]", "deeper than 20")),
    ("very deep list", only("a: " + "[" * 100_000), ("deeper than 20",)),
    ("deep block", change("threshold: 0.02", "threshold: " + "{a: " * 30 + "1" + "}" * 30),
     ("deeper than 20", "flatten")),
    # YAML's machinery
    ("tag", change("threshold: 0.02", "threshold: !!float 0.02"),
     ("strategies[0].params.threshold", "tag", "remove it")),
    ("object tag", change("threshold: 0.02", "threshold: !!python/object/apply:os.system [ls]"), ("threshold", "tag")),
    ("own tag", change("name: momentum_v1", "name: !env momentum_v1"), ("strategies[0].name", "!env", "remove it")),
    ("anchor", change("threshold: 0.02", "threshold: &t 0.02"), ("threshold", "&t", "remove it")),
    ("alias", change("threshold: 0.02", "threshold: *t"), ("threshold", "*t", "write the value out")),
    ("alias bomb", only("a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n"), ("line 1", "anchor")),
    ("merge key", change("threshold: 0.02", "<<: {threshold: 0.02}"), ("strategies[0].params", "<<", "in full")),
    ("key given twice", change("threshold: 0.02", "threshold: 0.02\n      threshold: 0.03"),
     ("line 10", "strategies[0].params.threshold", "line 9", "keep one")),
    ("block given twice", more("run: {seed: 3}\n"), ("line 23", "run is given twice", "line 14")),
    ("key is a list", change("seed: 7", "? [seed] : 7"), ("run", "not plain text", "write a name")),
    ("key is empty", change("seed: 7", '"": 7'), ("run", "1 to 64 characters")),
    ("key with a bell", change("seed: 7", '"see\\ad": 7'), ("run", "not plain text")),
    # keys
    ("unknown key", change("slippage_bps", "slipage_bps"),
     ("line 18", "execution.slipage_bps", "did you mean execution.slippage_bps?")),
    ("unknown block", change("portfolio:", "portfolo:"), ("portfolo is not a known key", "did you mean portfolio?")),
    ("misplaced key", more("initial_capital: 5\n"), ("initial_capital", "did you mean portfolio.initial_capital?")),
    ("wrong capital letters", change("run: {", "Run: {"), ("did you mean run?",)),
    ("dash for underscore", change("slippage_bps", "slippage-bps"), ("did you mean execution.slippage_bps?",)),
    ("strange key", change("seed: 7", "zzz: 7"), ("run.zzz", "remove it", "resolution")),
    ("key that looks false", change("seed: 7", "no: 7"), ("run.no", "not a known key")),
    ("missing sources", change("data_sources:\n  - type: sample\n", ""),
     ("data_sources is missing", "[{type: sample}]")),
    ("missing strategies", only("data_sources: [{type: sample}]\n"), ("strategies is missing", "strategies: [{name")),
    ("missing class", change("    class: firebot.strategies.MomentumStrategy\n", ""),
     ("line 4", "strategies[0].class", "add it")),
    ("missing symbol", change("- symbol: IBM", "- data_source: sample"),
     ("assets[0].symbol is missing", "symbol: IBM")),
    ("missing token", change(', token: "${INFLUXDB_TOKEN}"', ""),
     ("metrics.influxdb.token is missing", "${INFLUXDB_TOKEN}")),
    ("empty block", change("portfolio: {initial_capital: 100000.0, currency: USD}", "portfolio:"),
     ("portfolio is empty", "or left out")),
    ("empty value", change("resolution: 1d", "resolution: "), ("run.resolution is empty", "left out")),
    ("empty list of strategies", only("data_sources: [{type: sample}]\nstrategies: []\n"),
     ("strategies is an empty list", "one or more")),
    ("empty list of assets", only(MINIMAL + "assets: []\n"), ("assets is an empty list",)),
    ("block for a list", only("data_sources: {type: sample}\nstrategies: [{name: a, class: B}]\n"),
     ("data_sources is a block", "a list")),
    ("word for a list", only(MINIMAL + "assets: IBM\n"), ("assets is 'IBM'", "a list")),
    ("word for a block",
     change("run: {start: 2005-01-03, end: 2012-12-31, resolution: 1d, seed: 7, benchmark: IBM}", "run: daily"),
     ("run is 'daily'", "a block of keys")),
    ("list for a block", only(MINIMAL + "run: [seed]\n"), ("run is a list", "a block of keys")),
    ("list for parameters", only(MINIMAL.replace("Strategy}", "Strategy, params: [1]}")),
     ("strategies[0].params is a list", "block of keys")),
    ("list for a value", change("seed: 7", "seed: [7]"), ("run.seed is a list", "whole number")),
    # types
    ("no for false", change("enabled: true", "enabled: no"),
     ("line 6", "strategies[0].enabled is 'no'", "write false")),
    ("on for true", change("enabled: true", "enabled: on"), ("strategies[0].enabled is 'on'", "write true")),
    ("True for true", change("enabled: true", "enabled: True"), ("strategies[0].enabled is 'True'", "write true")),
    ("quoted true", change("enabled: true", 'enabled: "true"'), ("strategies[0].enabled is 'true'", "without quotes")),
    ("1 for true", change("enabled: true", "enabled: 1"), ("strategies[0].enabled is 1", "true or false")),
    ("true for a number", change("slippage_bps: 1.5", "slippage_bps: true"),
     ("execution.slippage_bps is true", "a number in plain digits")),
    ("quoted number", change("100000.0", '"100000"'), ("portfolio.initial_capital is '100000'", "without quotes")),
    ("thousands separator", change("100000.0", "'100,000'"), ("portfolio.initial_capital", "plain digits")),
    ("underscores", change("100000.0", "100_000"), ("portfolio.initial_capital is '100_000'", "plain digits")),
    ("currency sign", change("100000.0", "$100000"), ("portfolio.initial_capital is '$100000'", "plain digits")),
    ("full-width digits", change("seed: 7", "seed: ７"), ("run.seed is '７'", "plain digits")),
    ("sexagesimal", change("seed: 7", "seed: 12:30:45"), ("run.seed is '12:30:45'", "whole number")),
    ("octal", change("seed: 7", "seed: 010"), ("run.seed is '010'", "whole number")),
    ("hexadecimal", change("seed: 7", "seed: 0x1F"), ("run.seed is '0x1F'", "whole number")),
    ("fraction for a whole number", change("seed: 7", "seed: 7.5"), ("run.seed is 7.5", "whole number")),
    ("number for a ticker", change("- symbol: IBM", "- symbol: 660"), ("assets[0].symbol is 660", "put it in quotes")),
    ("true for a ticker", change("- symbol: IBM", "- symbol: true"), ("assets[0].symbol is true", "put it in quotes")),
    ("number for a name", change("name: momentum_v1", "name: 1"), ("strategies[0].name is 1", "put it in quotes")),
    ("number for a path", change("- type: sample", "- {type: csv, path: 5}"),
     ("data_sources[0].path is 5", "put it in quotes")),
    ("decimal comma", change("slippage_bps: 1.5", "slippage_bps: '1,5'"),
     ("execution.slippage_bps is '1,5'", "plain digits")),
    # ranges
    ("NaN", change("slippage_bps: 1.5", "slippage_bps: .nan"), ("line 18", "execution.slippage_bps is .nan", "finite")),
    ("NaN as a word", change("slippage_bps: 1.5", "slippage_bps: NaN"),
     ("execution.slippage_bps is 'NaN'", "plain digits")),
    ("infinity", change("100000.0", "-.INF"), ("portfolio.initial_capital is -.INF", "finite")),
    ("NaN parameter", change("threshold: 0.02", "threshold: .NaN"), ("strategies[0].params.threshold", "finite")),
    ("overflow", change("threshold: 0.02", "threshold: 1e999"), ("strategies[0].params.threshold", "range of numbers")),
    ("underflow", change("threshold: 0.02", "threshold: 1e-999"),
     ("strategies[0].params.threshold", "range of numbers")),
    ("endless number", change("seed: 7", "seed: " + "7" * 9000), ("run.seed is 7777", "range of numbers")),
    ("nothing staked", change("100000.0", "0"), ("portfolio.initial_capital is 0", "more than 0")),
    ("negative stake", change("100000.0", "-5.50"), ("portfolio.initial_capital is -5.50", "more than 0")),
    ("vast stake", change("100000.0", "1e15"), ("portfolio.initial_capital", "below 10^15")),
    ("too fine", change("0.0035", "0.0000000035"),
     ("execution.commission.per_share is 0.0000000035", "eight decimal places")),
    ("negative slippage", change("slippage_bps: 1.5", "slippage_bps: -1"),
     ("execution.slippage_bps is -1", "0 or more")),
    ("slippage of all", change("slippage_bps: 1.5", "slippage_bps: 10000"),
     ("execution.slippage_bps is 10000", "less than 10000")),
    ("percent for a fraction", change("relative: 0.001", "relative: 1"),
     ("execution.commission.relative is 1", "less than 1")),
    ("limit of 0 %", more("risk: {max_drawdown_pct: 0}\n"), ("risk.max_drawdown_pct is 0", "more than 0")),
    ("limit over 100 %", more("risk: {max_daily_loss_pct: 100.5}\n"),
     ("risk.max_daily_loss_pct is 100.5", "100 or less")),
    ("negative seed", change("seed: 7", "seed: -7"), ("run.seed is -7", "0 or more")),
    ("vast seed", change("seed: 7", "seed: 9223372036854775808"), ("run.seed", "less than")),
    ("no workers", more("parallel: {num_workers: 0}\n"), ("parallel.num_workers is 0", "1 or more")),
    ("tick of nothing", change("tick: 0.01", "tick: 0"), ("instruments[0].tick is 0", "more than 0")),
    # words
    ("unknown resolution", change("resolution: 1d", "resolution: 2d"),
     ("run.resolution is '2d'", "1m, 5m, 15m, 30m, 1h, 4h, 1d, 1w")),
    ("resolution in capitals", change("resolution: 1d", "resolution: 1D"),
     ("run.resolution is '1D'", "did you mean 1d?")),
    ("unknown rule", change("rule: percent_of_equity", "rule: percent_equity"),
     ("sizing.rule", "did you mean percent_of_equity?")),
    ("unknown exporter", change("metrics:", "metrics:\n  export_to: influx"),
     ("metrics.export_to", "did you mean influxdb?")),
    ("unknown exchange", change("tick: 0.01", "exchange: NYSE"),
     ("instruments[0].exchange is 'NYSE'", "did you mean XNYS?")),
    ("unknown asset class", change("tick: 0.01", "asset_class: share"),
     ("instruments[0].asset_class", "equity, etf, crypto")),
    ("unknown backend", more("parallel: {backend: dask}\n"), ("parallel.backend is 'dask'", "processes, ray")),
    ("unknown log level", more("app: {log_level: info}\n"), ("app.log_level is 'info'", "did you mean INFO?")),
    ("unknown lot method", more("tax: {method: average}\n"), ("tax.method is 'average'", "fifo")),
    ("currency in words", change("currency: USD", "currency: dollars"),
     ("portfolio.currency is 'dollars'", "such as USD")),
    ("ticker that is a path", change("- symbol: IBM", "- symbol: ../IBM"),
     ("assets[0].symbol is '../IBM'", "a ticker")),
    ("ticker that is a formula", change("- symbol: IBM", '- symbol: "=1+1"'),
     ("assets[0].symbol is '=1+1'", "a ticker")),
    ("ticker that looks alike", change("- symbol: IBM", "- symbol: ІВМ"), ("assets[0].symbol is 'ІВМ'", "a ticker")),
    ("empty ticker", change("- symbol: IBM", '- symbol: ""'), ("assets[0].symbol is ''", "a ticker")),
    ("class that is code", change("class: firebot.strategies.MomentumStrategy", 'class: "os.system(1)"'),
     ("strategies[0].class is 'os.system(1)'", "it must be like firebot")),
    ("name that is a path", change("name: momentum_v1", "name: a/b"), ("strategies[0].name is 'a/b'", "a name")),
    ("fill model with spaces", change("slippage_bps: 1.5", "fill_model: next open"),
     ("execution.fill_model is 'next open'", "a name")),
    ("empty path", change("- type: sample", '- {type: csv, path: ""}'),
     ("data_sources[0].path is ''", "remove the key")),
    ("key too long", change("threshold", "t" * 65), ("line 9", "strategies[0].params", "1 to 64 characters")),
    # days
    ("day of no calendar", change("end: 2012-12-31", "end: 2012-02-30"),
     ("line 14", "run.end is '2012-02-30'", "YYYY-MM-DD")),
    ("day first", change("end: 2012-12-31", "end: 31.12.2012"), ("run.end is '31.12.2012'", "YYYY-MM-DD")),
    ("American day", change("end: 2012-12-31", "end: 12/31/2012"), ("run.end is '12/31/2012'", "YYYY-MM-DD")),
    ("day and hour", change("end: 2012-12-31", "end: 2012-12-31 10:00"),
     ("run.end is '2012-12-31 10:00'", "YYYY-MM-DD")),
    ("a year only", change("end: 2012-12-31", "end: 2012"), ("run.end is 2012", "YYYY-MM-DD")),
    ("compact day", change("end: 2012-12-31", "end: 20121231"), ("run.end is 20121231", "YYYY-MM-DD")),
    ("year of three digits", change("end: 2012-12-31", "end: 0212-12-31"), ("run.end is '0212-12-31'", "YYYY-MM-DD")),
    # the environment
    ("unset variable", change("- type: sample", '- {type: csv, name: sample, path: "${NO_SUCH}/x"}'),
     ("line 2: data_sources[0].path is '${NO_SUCH}/x'", "NO_SUCH is not set", "set it")),
    ("empty variable", change("- type: sample", '- {type: csv, name: sample, path: "${EMPTY}"}'),
     ("data_sources[0].path", "EMPTY is empty", "set it")),
    ("variable of two lines", change("- type: sample", '- {type: csv, name: sample, path: "${LINES}"}'),
     ("data_sources[0].path", "LINES", "plain text")),
    ("nameless variable", change("${INFLUXDB_TOKEN}", "${}"), ("metrics.influxdb.token", "${} names no", "${NAME}")),
    ("variable with a default", change("${INFLUXDB_TOKEN}", "${TOKEN:-x}"),
     ("metrics.influxdb.token", "names no environment variable")),
    ("unclosed variable", change("${INFLUXDB_TOKEN}", "${INFLUXDB_TOKEN"),
     ("metrics.influxdb.token", "names no environment variable")),
    ("variable for a number", change("100000.0", '"${BARS}"'), ("portfolio.initial_capital is '${BARS}'", "a number")),
    ("variable for a ticker", change("- symbol: IBM", '- symbol: "${BARS}"'),
     ("assets[0].symbol is '${BARS}'", "a ticker")),
    ("variable for a class", change("firebot.strategies.MomentumStrategy", '"${BARS}"'),
     ("strategies[0].class is '${BARS}'",)),
    ("unset variable in a parameter", change("threshold: 0.02", 'model: "${NO_SUCH}/m"'),
     ("strategies[0].params.model", "NO_SUCH is not set")),
    ("token in clear", change("${INFLUXDB_TOKEN}", "hunter2"),
     ("metrics.influxdb.token is ***", "environment", "${NAME}")),
    ("key in clear", change("threshold: 0.02", "api_key: hunter2"), ("strategies[0].params.api_key is ***", "${NAME}")),
    ("password in the wrong place", change("- symbol: IBM", '- symbol: "ftp://me:hunter2@x"'),
     ("assets[0].symbol is ***", "a ticker")),
    ("password in an address", change("http://localhost:8086", "http://me:hunter2@localhost"),
     ("metrics.influxdb.url is ***", "${NAME}")),
    # contradictions
    ("end before start", change("end: 2012-12-31", "end: 2004-12-31"),
     ("run.end is 2004-12-31", "before run.start, 2005-01-03", "exchange")),
    ("two strategies of one name",
     only("data_sources: [{type: sample}]\nstrategies: [{name: a, class: B}, {name: a, class: C}]\n"),
     ("strategies[1].name is 'a'", "strategies[0].name", "its own")),
    ("an asset twice", change("- symbol: AAPL", "- symbol: IBM"), ("assets[1].symbol is 'IBM'", "assets[0]")),
    ("an instrument twice", change("lot: 1}]", "lot: 1}, {symbol: IBM}]"),
     ("instruments[1].symbol is 'IBM'", "instruments[0]")),
    ("no strategy enabled", change("enabled: true", "enabled: false"),
     ("strategies has none enabled", "enabled: true")),
    ("csv without a path", change("- type: sample", "- type: csv"), ("data_sources[0].path is missing", "./data/csv")),
    ("sample with a path", change("- type: sample", "- {type: sample, path: data}"),
     ("data_sources[0].path is 'data'", "remove the key")),
    ("unknown source of an asset", change("data_source: sample", "data_source: csv"),
     ("assets[1].data_source is 'csv'", "use one of sample")),
    ("ambiguous source",
     only("data_sources: [{type: csv, path: a}, {type: csv, path: b}]\n"
          "strategies: [{name: a, class: B}]\nassets: [{symbol: IBM, data_source: csv}]\n"),
     ("assets[0].data_source is 'csv'", "2 data sources", "a name")),
    ("asset that no source lists", change("- type: sample", "- {type: sample, symbols: [AAPL]}"),
     ("assets[0].symbol is 'IBM'", "symbols of one")),
    ("two currencies", change("lot: 1", "currency: EUR"),
     ("instruments[0].currency is 'EUR'", "use the portfolio's, USD")),
    ("commission said twice", change("slippage_bps: 1.5", "commission_per_trade: 2"),
     ("execution.commission_per_trade is 2", "keep one")),
    ("all cash with a value", change("rule: percent_of_equity", "rule: all_cash"),
     ("sizing.value is 50", "takes no value")),
    ("units without a value", change("rule: percent_of_equity, value: 50", "rule: fixed_units"),
     ("sizing.value is missing", "value: 100")),
    ("half a unit", change("percent_of_equity, value: 50", "fixed_units, value: 0.5"),
     ("sizing.value is 0.5", "sizing.fractional: true")),
    ("more than all", change("value: 50", "value: 120"), ("sizing.value is 120", "no leverage")),
]


def refusal(text: str, overrides: tuple[str, ...] = ()) -> str:
    "The one paragraph that refuses `text`"
    with pytest.raises(ConfigError) as caught:
        load_config(text, overrides, ENVIRON)
    message = str(caught.value)
    assert message.isprintable() and message.endswith((".", "?")) and not message.endswith(".."), message
    assert message.startswith("configuration"), message
    return message


@pytest.mark.parametrize(("change", "needed"), [pytest.param(c, n, id=name) for name, c, n in BAD])
def test_bad_configurations_are_refused(change: Callable[[str], str], needed: tuple[str, ...]) -> None:
    message = refusal(change(BASE))
    assert needed and not [n for n in needed if n not in message], message
    assert "hunter2" not in message and "s3cr3t" not in message


def test_the_corpus_is_wide() -> None:
    assert len(BAD) >= 80 and len({name for name, *_ in BAD}) == len(BAD)


def test_all_that_is_wrong_is_said_at_once() -> None:
    message = refusal(
        BASE.replace("seed: 7", "seed: x").replace("slippage_bps", "slipage").replace("currency: USD", "currency: usd")
    )
    assert "line 18: execution.slipage is not a known key" in message
    assert "And 2 more to mend: run.seed is 'x'; portfolio.currency is 'usd'." in message


def test_a_long_list_of_mistakes_is_cut() -> None:
    message = refusal(MINIMAL + "assets: [" + ", ".join(f"{{symbol: {i}}}" for i in range(1, 31)) + "]\n")
    assert "And 29 more to mend" in message and message.endswith("; 21 others.") and len(message) < 600


# ---------------------------------------------------------------- overrides

BAD_OVERRIDES = [
    ("run.seed", ("key.path=value", "run.seed=7")),
    ("=7", ("key.path=value",)),
    ("run..seed=7", ("key.path=value",)),
    ("run seed=7", ("key.path=value",)),
    ("strategies[one].name=x", ("key.path=value",)),
    ("run.=7", ("key.path=value",)),
    ("strategies[1].name=x", ("strategies has 1 entries and no 1", "from 0")),
    ("strategies.name=x", ("no name", "from 0")),
    ("assets[2].symbol=IBM", ("assets has 2 entries",)),
    ("run.seed.deep=1", ("run.seed is a value", "end the path there")),
    ("run.sed=1", ("--set: run.sed is not a known key", "run.seed?")),
    ("cash=1", ("--set: cash is not a known key",)),
    ("capital.initial=1", ("capital is not a known key",)),
    ("run.seed=.nan", ("finite",)),
    ("run.seed=1e999", ("range",)),
    ("run.seed=ten", ("--set: run.seed is 'ten'", "whole number")),
    ("strategies[0].enabled=no", ("--set: strategies[0].enabled is 'no'",)),
    ("data_sources=[{type: sample", ("--set data_sources", "not readable as YAML")),
    ("assets=[]", ("assets is an empty list",)),
    ("run.benchmark=a\nb", ("line break",)),
    ("strategies[0].params={a: 1, a: 2}", ("given twice",)),
    ("run.seed=[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]", ("deeper than 20",)),
    ("run.end=2001-01-01", ("--set: run.end", "before run.start")),
]


@pytest.mark.parametrize(("override", "needed"), BAD_OVERRIDES, ids=[o[:30] for o, _ in BAD_OVERRIDES])
def test_bad_overrides_are_refused(override: str, needed: tuple[str, ...]) -> None:
    message = refusal(BASE, (override,))
    assert not [n for n in needed if n not in message], message


def test_overrides_change_one_key_each_in_order() -> None:
    c = load_config(
        BASE,
        [
            "strategies[0].params.lookback_window=10",
            "strategies.0.params.threshold=.5",
            "run.seed=1",
            "run.seed=2",
            "app.name=Night run",
            "assets=[{symbol: MSFT}]",
            "run.benchmark=~",
            "strategies[0].params.word='7'",
            "risk.max_drawdown_pct=12.5",
            "execution.commission={relative: 0.002}",
        ],
        ENVIRON,
    )
    assert c.strategies[0].params == {"lookback_window": 10, "threshold": 0.5, "word": "7"}
    assert (c.run.seed, c.run.benchmark, c.app.name, [a.symbol for a in c.assets or ()]) == (
        2,
        None,
        "Night run",
        ["MSFT"],
    )
    assert (c.risk.max_drawdown_pct, c.execution.commission.relative, c.execution.commission.fixed) == (
        Decimal("12.5"),
        Decimal("0.002"),
        0,
    )


def test_an_override_may_contain_equals_signs() -> None:
    assert load_config(MINIMAL, ["strategies[0].params.rule=a=b"]).strategies[0].params == {"rule": "a=b"}


# ---------------------------------------------------------------- what is valid


def test_the_specified_example_is_valid_but_asks_for_what_is_not_built() -> None:
    c = load_config(SPECIFIED, environ=ENVIRON)
    assert [s.class_name for s in c.strategies] == [
        "firebot.strategies.MomentumStrategy",
        "firebot.strategies.TransformerStrategy",
    ]
    assert (c.execution.fill_model, c.risk.max_daily_loss_pct, c.parallel.num_workers) == ("instant", Decimal(3), 4)
    assert c.data_sources[0].symbols == ("AAPL", "GOOGL", "MSFT") and c.data_sources[1].symbols is None
    refusals, warnings = unsupported(c)
    assert [r.split(" ")[0] for r in refusals] == []
    assert [w.split(" ")[0] for w in warnings] == list(NOT_YET["warn"])
    assert all("remove the key." in r for r in refusals) and "metrics.export_to is" in warnings[0]


@pytest.mark.parametrize("asked", ["execution.allow_short=true", "ensemble.method=majority", "tax.method=hifo", "risk.max_drawdown_pct=10"])
def test_what_changes_the_result_is_built(asked: str) -> None:
    assert unsupported(load_config(MINIMAL, [asked])) == ([], [])


def test_the_list_of_unbuilt_keys_is_true() -> None:
    "Each key exists, and by default asks for nothing"
    c = load_config(MINIMAL)
    assert unsupported(c) == ([], [])
    for key in (*NOT_YET["refuse"], *NOT_YET["warn"]):
        assert read_path(c, key) in (None, False)


def read_path(c: Config, key: str) -> Any:
    value: Any = c
    for part in key.split("."):
        value = getattr(value, part)
    return value


def test_the_least_configuration_and_its_defaults() -> None:
    c = load_config(MINIMAL)
    assert c.assets is None and c.run.start is None and c.run.resolution == "1d" and c.run.seed == 0
    assert (c.portfolio.initial_capital, c.portfolio.currency) == (100000, "USD")
    assert (c.execution.fill_model, c.execution.slippage_bps) == ("next_open", None)
    assert {k: v for k, v in dict(c.execution.fees).items() if v} == {"tier_by": "volume"}
    assert (c.sizing.rule, c.sizing.value, c.sizing.fractional) == ("percent_of_equity", None, False)
    assert c.strategies[0].enabled and c.strategies[0].params == {}


def test_numbers_are_the_decimals_that_were_written() -> None:
    c = load_config(BASE, environ=ENVIRON)
    assert str(c.execution.commission.relative) == "0.001" and str(c.execution.commission.per_share) == "0.0035"
    for same in ("100000", "100000.0", "1e5", "+100000.00", "10.0E4"):
        assert str(load_config(MINIMAL, [f"portfolio.initial_capital={same}"]).portfolio.initial_capital) == "100000"
    assert str(load_config(MINIMAL, ["execution.slippage_bps=-0.0"]).execution.slippage_bps) == "0"
    assert load_config(MINIMAL, ["execution.slippage_bps=0.1"]).execution.slippage_bps == Decimal("0.1")


def test_text_stays_text() -> None:
    c = load_config(
        MINIMAL
        + "assets: [{symbol: 000660}, {symbol: NO}, {symbol: ON}, {symbol: NULL}, {symbol: TRUE}, {symbol: 0x1F}]\n"
    )
    assert [a.symbol for a in c.assets or ()] == ["000660", "NO", "ON", "NULL", "TRUE", "0x1F"]
    words = "no off yes Yes y 010 0o17 0x1F 12:30 12:30:45 1_000 2005-01-03 2005-01-03T10:00:00Z 1e +.e1 = << NaN inf"
    assert [scalar(w) for w in words.split()] == words.split()


def test_either_word_for_the_fixed_commission() -> None:
    one, other = (
        load_config(MINIMAL, [f"execution.{k}=1.25", "execution.commission.relative=0.001"]).execution.fees
        for k in ("commission_per_trade", "commission.fixed")
    )
    assert one == other and (one.fixed, one.relative) == (Decimal("1.25"), Decimal("0.001"))


def test_instruments_become_records() -> None:
    c = load_config(
        MINIMAL + "portfolio: {currency: EUR}\n"
        "instruments: [{symbol: BTC-USD, exchange: 24/7, asset_class: crypto, lot: 0.00000001}]\n"
    )
    assert c.instrument("BTC-USD") == Instrument(
        "BTC-USD", "24/7", "24/7", None, "EUR", AssetClass.CRYPTO, lot=Decimal("0.00000001")
    )
    assert c.instrument("IBM") == Instrument("IBM", currency="EUR")


def test_sources_of_one_type_are_told_apart_by_name() -> None:
    c = load_config(
        MINIMAL.replace("[{type: sample}]", "[{type: csv, name: old, path: a}, {type: csv, name: new, path: b}]")
        + "assets: [{symbol: IBM, data_source: new}]\n"
    )
    assert c.assets and c.assets[0].data_source == "new"


def test_blocks_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_config(MINIMAL).run.seed = 3


# ---------------------------------------------------------------- files


def test_a_file_is_named_in_its_refusals(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(BASE.replace("seed: 7", "seed: x"))
    with pytest.raises(ConfigError) as caught:
        load_config(file, environ=ENVIRON)
    assert str(caught.value).startswith(f"{file}, line 14: run.seed is 'x'")
    with pytest.raises(ConfigError) as caught:
        load_config(file, ["run.seed=y"], ENVIRON)
    assert str(caught.value).startswith(f"{file}, --set: run.seed is 'y'")


def test_a_path_may_be_a_string_and_text_may_end_in_a_line_break(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(MINIMAL)
    assert load_config(str(tmp_path / "mine.yaml")) == load_config(tmp_path / "mine.yaml") == load_config(MINIMAL)


@pytest.mark.parametrize(
    ("content", "needed"),
    [
        (MINIMAL.encode("utf-16"), "not UTF-8"),
        (b"app: {name: caf\xe9}\n", "byte 16 is not UTF-8; save the file as UTF-8"),
        (b"#" * 2_000_000, "2,000,000 bytes"),
        (b"", "is empty"),
        (b"\x00" * 100, "special characters"),
        (b"PAR1\x15\x04", "not readable"),
        (b"\xef\xbb\xbf", "is empty"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, content: bytes, needed: str) -> None:
    (tmp_path / "mine.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=needed) as caught:
        load_config(tmp_path / "mine.yaml")
    assert str(caught.value).startswith(str(tmp_path / "mine.yaml"))


def test_a_byte_order_mark_and_windows_line_ends_are_tolerated(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes(b"\xef\xbb\xbf" + BASE.replace("\n", "\r\n").encode())
    assert load_config(tmp_path / "mine.yaml", environ=ENVIRON) == load_config(BASE, environ=ENVIRON)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path, needed in (
        (tmp_path, "not a file"),
        (tmp_path / "none.yaml", "no such file"),
        ("a\0b", "no such file"),
        ("/dev/zero", "not a file"),
        (tmp_path / ("x" * 300), "cannot be read|no such file"),
    ):
        with pytest.raises(ConfigError, match=needed) as caught:
            load_config(path)
        assert str(caught.value).isprintable()


# ---------------------------------------------------------------- secrets


def test_a_secret_never_shows(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = ENVIRON["INFLUXDB_TOKEN"]
    c = load_config(BASE, ["strategies[0].params.account=id-${INFLUXDB_TOKEN}"], ENVIRON)
    assert c.metrics.influxdb and reveal(c.metrics.influxdb.token) == secret
    assert reveal(c.strategies[0].params)["account"] == f"id-{secret}"
    logging.getLogger("test").warning("%s %r", c, c.strategies[0].params)
    shown = [
        str(c),
        repr(c),
        f"{c.metrics}",
        str(c.model_dump()),
        dump_config(c),
        caplog.text,
        json.dumps(c.model_dump(), default=str),
    ]
    with pytest.raises(Exception, match="Secret") as caught:
        c.model_dump_json()
    monkeypatch.setenv("INFLUXDB_TOKEN", secret)
    pickled = pickle.dumps(c)
    assert not [text for text in (*shown, str(caught.value), str(pickled)) if secret in text]
    assert pickle.loads(pickled) == c
    assert "${INFLUXDB_TOKEN}" in dump_config(c) and "id-${INFLUXDB_TOKEN}" in dump_config(c)


def python(code: str, root: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    "What a fresh interpreter says"
    env = {**os.environ, **environ}
    return subprocess.run([sys.executable, "-c", code], cwd=root, env=env, capture_output=True, text=True, check=False)


def test_a_secret_never_shows_in_a_traceback(root: Path) -> None:
    bad = BASE.replace("seed: 7", "seed: x")
    done = python(f"from firebot.config import load_config\nload_config({bad!r})", root, **ENVIRON)
    assert done.returncode == 1 and "run.seed is 'x'" in done.stderr and ENVIRON["INFLUXDB_TOKEN"] not in done.stderr


def test_substituted_text_is_never_parsed() -> None:
    env = {"V": "[1, 2] # ${W}: !!x", "W": "no"}
    c = load_config(MINIMAL, ["strategies[0].params.v=${V}", "strategies[0].params.w=${W}"], env)
    assert reveal(c.strategies[0].params) == {"v": env["V"], "w": "no"}


def test_secrets_are_equal_by_text_and_value() -> None:
    a, b = Secret("${A}/x", {"A": "1"}), Secret("${A}/x", {"A": "2"})
    assert a != b and a == Secret("${A}/x", {"A": "1"}) and hash(a) == hash(b) and a != "1/x"
    assert reveal(["y", a, {"k": a}]) == ["y", "1/x", {"k": "1/x"}]


# ---------------------------------------------------------------- blocks and dumps


def test_blocks_from_another_parser_mean_the_same() -> None:
    for text in (MINIMAL, BASE, SPECIFIED):
        assert config_from_blocks(yaml.safe_load(text), ENVIRON) == load_config(text, environ=ENVIRON)


@pytest.mark.parametrize(
    ("blocks", "needed"),
    [
        ({True: 1}, "the key 'True'"),
        ({"run": {1: 2}}, "run has the key '1'"),
        ({"run": {"seed": float("nan")}}, "run.seed is NaN"),
        ({"run": {"seed": object()}}, "run.seed is of type object"),
        ({"run": {"seed": b"7"}}, "of type bytes"),
        ({}, "data_sources is missing"),
        ({"portfolio": {"initial_capital": Decimal("Infinity")}}, "finite"),
        ({"app": {"name": "a\nb"}}, "app.name has a line break"),
        (
            {**yaml.safe_load(MINIMAL), "run": {"start": datetime(2005, 1, 3, 10)}},
            "run.start is 2005-01-03 10:00:00; it must be a day",
        ),
        ({**yaml.safe_load(MINIMAL), "run": {"seed": 1.5}}, "run.seed is 1.5; it must be a whole number"),
    ],
)
def test_bad_blocks_are_refused(blocks: dict[Any, Any], needed: str) -> None:
    with pytest.raises(ConfigError, match=needed):
        config_from_blocks(blocks)


def test_blocks_that_contain_themselves_are_refused() -> None:
    loop: dict[str, Any] = {}
    loop["app"] = loop
    with pytest.raises(ConfigError, match="deeper than 20"):
        config_from_blocks(loop)


def test_the_dump_is_canonical() -> None:
    "The same bytes however it was written; every default in place; equal when read again"
    for text in (MINIMAL, BASE, SPECIFIED):
        c = load_config(text, environ=ENVIRON)
        blocks = yaml.safe_load(dump_config(c))
        upside_down = yaml.safe_dump(dict(reversed(blocks.items())), sort_keys=False)
        again = load_config(upside_down, environ=ENVIRON)
        assert again == c and dump_config(again) == dump_config(c)
        assert (
            list(blocks)[:3] == ["app", "data_sources", "strategies"]
            and blocks["sizing"]["rule"] == "percent_of_equity"
        )


printable = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]) | st.just(" "), max_size=12)
keys = printable.filter(bool)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | printable.filter(lambda t: "${" not in t and "@" not in t)
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: not x or 1e-290 < abs(x) < 1e290),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(keys, v, max_size=3),
    max_leaves=8,
)


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    "Valid blocks, parsed already"
    exact = st.decimals(0, 9999, places=draw(st.integers(0, 8)))
    days = st.dates(min_value=date(1900, 1, 1), max_value=date(2199, 12, 31)).map(str)
    start, end = sorted((draw(days), draw(days)))
    symbols = draw(
        st.lists(st.from_regex(r"[A-Z0-9^][A-Z0-9.^=_-]{0,8}", fullmatch=True), min_size=1, max_size=4, unique=True)
    )
    return {
        "data_sources": [
            {"type": "sample"},
            {"type": "csv", "path": draw(printable.filter(lambda t: t and "$" not in t and "@" not in t))},
        ],
        "strategies": [
            {"name": f"s{i}", "class": "B", "params": p}
            for i, p in enumerate(draw(st.lists(st.dictionaries(keys, values, max_size=4), min_size=1, max_size=3)))
        ],
        "assets": [{"symbol": s} for s in symbols],
        "run": {"start": start, "end": end, "seed": draw(st.integers(0, 2**63 - 1))},
        "execution": {"slippage_bps": draw(exact), "commission": {"fixed": draw(exact), "per_share": draw(exact)}},
        "risk": {"max_drawdown_pct": draw(st.none() | st.decimals("0.01", 100, places=2))},
    }


@settings(max_examples=100)
@given(configs())
def test_a_dump_loads_to_an_equal_configuration(blocks: dict[str, Any]) -> None:
    c = config_from_blocks(blocks)
    text = dump_config(c)
    assert load_config(text) == c == config_from_blocks(yaml.safe_load(text)) and dump_config(load_config(text)) == text


@settings(max_examples=500)
@given(st.text(max_size=60) | st.text("[]{}:,-#&*!|>'\"%@`?~ \n\tax01.", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    for tried in (text, MINIMAL + text, f"{MINIMAL}app: {text}\n"):
        try:
            c = load_config(tried + "\n", environ=ENVIRON)
        except ConfigError as error:
            assert str(error).isprintable(), error
        else:
            assert load_config(dump_config(c), environ=ENVIRON) == c


@settings(max_examples=300)
@given(
    st.sampled_from(
        [
            f"{b}.{k}"
            for b, f in Config.model_fields.items()
            for k in getattr(module._inner(f.annotation), "model_fields", {})
        ]
    )
    | st.text("abrun.[]0=", max_size=12),
    st.text(max_size=10) | st.sampled_from(["1", "-1", "true", "[1]", "{a: 1}", "~", ".inf"]),
)
def test_any_override_is_applied_or_refused(key: str, value: str) -> None:
    try:
        load_config(BASE, [f"{key}={value}"], ENVIRON)
    except ConfigError as error:
        assert str(error).isprintable(), error


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**12), max_value=10**12))
def test_a_number_is_read_as_written(number: Decimal) -> None:
    assert scalar(str(number)) == number and read_yaml(f"a: {number}").tree == {"a": number}


# ---------------------------------------------------------------- where things live


def test_the_workspace_is_the_nearest_folder_with_settings(tmp_path: Path) -> None:
    (tmp_path / "a/b/c").mkdir(parents=True)
    (tmp_path / "a/settings.ini").write_text("")
    assert module.workspace(tmp_path / "a/b/c") == tmp_path / "a" == module.workspace(tmp_path / "a")
    assert module.workspace(tmp_path / "a/b/c/../../..") == tmp_path
    (tmp_path / "a/b/settings.ini").mkdir()
    assert module.workspace(tmp_path / "a/b/c") == tmp_path / "a"


def test_the_nearest_place_wins(tmp_path: Path) -> None:
    ini, app, env, given = (
        "[firebot]\ndata = ini\nlog_level = ERROR\n",
        "app: {data_dir: app, log_level: DEBUG}\n",
        {"FIREBOT_DATA": "env"},
        "given",
    )
    read = lambda **kw: module.settings(tmp_path, **{"environ": {}, **kw})  # noqa: E731
    assert read().data == tmp_path / "data" and read().log_level == "WARNING"
    (tmp_path / "settings.ini").write_text(ini)
    assert read().data == tmp_path / "ini" and read().log_level == "ERROR"
    c = load_config(MINIMAL + app)
    assert read(config=c).data == tmp_path / "app" and read(config=c).log_level == "DEBUG"
    assert read(config=c, environ=env).data == tmp_path / "env"
    assert read(config=c, environ=env, data=given).data == tmp_path / "given"
    assert read(config=c, environ={"FIREBOT_DATA": ""}, data=None).data == tmp_path / "app"
    assert read(data=tmp_path.parent).data == tmp_path.parent


def test_default_section_and_store(tmp_path: Path) -> None:
    (tmp_path / "settings.ini").write_text(
        "\ufeff[DEFAULT]\nmodels = m\nreports =\nstore = sqlite:///x.sqlite\n", "utf-8"
    )
    s = module.settings(tmp_path, environ={})
    assert (s.models, s.reports, s.store_url()) == (
        tmp_path / "m",
        tmp_path / "reports",
        f"sqlite:///{tmp_path}/x.sqlite",
    )
    assert s.path("data/x") == tmp_path / "data/x" and s.path("/srv/x") == Path("/srv/x")
    secret = module.settings(tmp_path, environ={"FIREBOT_STORE": "postgresql://me:hunter2@db/x"})
    assert secret.store_url() == "postgresql://me:hunter2@db/x" and "hunter2" not in repr(secret)
    for url in ("sqlite:////srv/x.sqlite", "sqlite:///:memory:", "sqlite://", "postgresql+psycopg://db/x"):
        assert module.settings(tmp_path, environ={"FIREBOT_STORE": url}).store_url() == url


@pytest.mark.parametrize(
    ("ini", "environ", "needed"),
    [
        ("[firebot]\nport = x\n", {}, "settings.ini, port is 'x'; it must be a port"),
        ("", {"FIREBOT_PORT": "0"}, "FIREBOT_PORT is '0'"),
        ("", {"FIREBOT_PORT": "65536"}, "65535"),
        ("", {"FIREBOT_LOG_LEVEL": "LOUD"}, "FIREBOT_LOG_LEVEL is 'LOUD'"),
        ("", {"FIREBOT_STORE": "hunter2"}, r"FIREBOT_STORE is \*\*\*; it must be a database URL"),
        ("[firebot]\nreport = x\n", {}, "report is not a setting; use reports"),
        ("[firebot]\nstore = postgresql://me:hunter2@db/x\n", {}, "holds a password; put .* FIREBOT_STORE"),
        ("port = 1\n", {}, "line 1: not readable.*under .firebot"),
        ("[firebot]\nport = 1\nport = 2\n", {}, "line 3: not readable"),
        ("[firebot]\nhunter2\n", {}, "line 2: not readable"),
        ("[firebot]\nmodels = ${HOME}/m\n", {}, "models has a . in it; variables .* set FIREBOT_MODELS"),
    ],
)
def test_bad_settings_are_refused(tmp_path: Path, ini: str, environ: dict[str, str], needed: str) -> None:
    (tmp_path / "settings.ini").write_text(ini)
    with pytest.raises(ConfigError, match=needed) as caught:
        module.settings(tmp_path, environ=environ)
    assert str(caught.value).isprintable() and "hunter2" not in str(caught.value)


def test_a_misspelt_setting_of_the_command_line_is_a_mistake_of_the_program(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="folder"):
        module.settings(tmp_path, environ={}, folder="x")


def test_the_project_settings_are_the_defaults(root: Path, tmp_path: Path) -> None:
    ours, bare = module.settings(root, environ={}), module.settings(tmp_path, environ={})
    assert ours.data.relative_to(root) == bare.data.relative_to(tmp_path) and (
        ours.port,
        ours.log_level,
        ours.store,
    ) == (bare.port, bare.log_level, bare.store)


def test_reading_a_configuration_loads_nothing_heavy(root: Path) -> None:
    done = python("import sys, firebot.config; print(*{m.partition('.')[0] for m in sys.modules})", root)
    assert "yaml" in done.stdout.split()
    assert not {"pandas", "pyarrow", "numba", "sqlalchemy", "plotly", "IPython", "typer"} & set(done.stdout.split())
