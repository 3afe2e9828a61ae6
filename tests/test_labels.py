"Labels against plain double-checks: each looks no further than it says, and as far."
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from test_features import panel_of

from firebot.features import FeaturePipeline, columns
from firebot.feed import Panel, load_panel, make_panel, replay
from firebot.labels import (
    EVENTS,
    LABELS,
    Labels,
    cusum,
    forward_return,
    label_horizon,
    make_labels,
    meta_labels,
    sign,
    triple_barrier,
    uniqueness,
    volatility,
)
from firebot.models import ActionKind, Bars, ConfigError, CorporateAction, DataError, Instrument
from firebot.sources import SampleSource


@pytest.fixture(scope="module")
def gaps() -> Panel:
    "Two symbols with holes, one of them split on the way"
    return panel_of(120, np.random.default_rng(3))


def own(panel: Panel, s: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    "Rows and adjusted bars of one symbol"
    rows = np.flatnonzero(~np.isnan(panel.close[:, s]))
    return rows, {c: x[rows, s] for c, x in columns(panel).items()}


@pytest.mark.parametrize("horizon", [1, 3, 10])
def test_forward_return_is_the_trade(gaps: Panel, horizon: int) -> None:
    "In at the next own open, out at the open `horizon` own bars later"
    got = forward_return(gaps, horizon)
    for s in range(2):
        rows, bars = own(gaps, s)
        for i, row in enumerate(rows):
            j = i + 1 + horizon
            if j >= len(rows): assert np.isnan(got.value[row, s]) and got.end[row, s] == -1
            else:
                assert got.value[row, s] == bars["open"][j] / bars["open"][i + 1] - 1
                assert got.end[row, s] == rows[j]
    assert (np.isnan(got.value) == (got.end < 0)).all()


def slow_barrier(bars: dict[str, np.ndarray], i: int, horizon: int, up: float, down: float, timeout: str) -> tuple[float, int]:
    "The triple barrier of one bar, as it is told"
    wide = volatility(np.ascontiguousarray(bars["close"][:i + 1]), 5)[-1]
    n, entry = len(bars["open"]), bars["open"][i + 1] if i + 1 < len(bars["open"]) else np.nan
    if np.isnan(wide) or np.isnan(entry): return np.nan, -1
    for j in range(i + 1, min(i + 1 + horizon, n)):
        if bars["low"][j] <= entry * (1 - down * wide): return -1.0, j
        if bars["high"][j] >= entry * (1 + up * wide): return 1.0, j
    if i + 1 + horizon >= n: return np.nan, -1
    return (float(np.sign(bars["open"][i + 1 + horizon] - entry)) if timeout == "sign" else 0.0), i + 1 + horizon


@pytest.mark.parametrize(("horizon", "up", "down", "timeout"), [(4, 1.0, 1.0, "sign"), (8, 3.0, 1.5, "zero"), (2, 0.5, 4.0, "sign")])
def test_triple_barrier_is_the_one_told(gaps: Panel, horizon: int, up: float, down: float, timeout: str) -> None:
    "Bar for bar the plain loop, over own bars, prices adjusted"
    got, seen = triple_barrier(gaps, horizon, up, down, 5, timeout), set()
    for s in range(2):
        rows, bars = own(gaps, s)
        for i, row in enumerate(rows):
            value, at = slow_barrier(bars, i, horizon, up, down, timeout)
            assert_array_equal(got.value[row, s], value)
            assert got.end[row, s] == (rows[at] if at >= 0 else -1)
            seen.add(value)
    assert {-1.0, 1.0} <= seen


@pytest.mark.parametrize("kind", LABELS)
@settings(max_examples=15, deadline=None)
@given(cut=st.integers(20, 200))
def test_labels_look_as_far_as_they_say(kind: str, cut: int) -> None:
    "On a history cut anywhere the labels settled before are the same, and no others are there"
    panel = panel_of(120, np.random.default_rng(9))
    cut = min(cut, len(panel) - 1)
    whole, part = make_labels(panel, kind), make_labels(panel[:cut], kind)
    settled = (whole.end[:cut] >= 0) & (whole.end[:cut] < cut)
    assert_array_equal(part.value, np.where(settled, whole.value[:cut], np.nan))
    assert_array_equal(part.end, np.where(settled, whole.end[:cut], -1))


@pytest.mark.parametrize("events", EVENTS)
def test_events_know_the_past_only(gaps: Panel, events: str) -> None:
    "Cut anywhere, what was an event stays one"
    found = EVENTS[events][0](gaps)
    for cut in (10, 50, 51, 100): assert_array_equal(EVENTS[events][0](gaps[:cut]), found[:cut])


def test_cusum_is_the_filter_of_the_book(gaps: Panel) -> None:
    "Both sums in plain Python"
    found = cusum(gaps, 1.5, 5)
    for s in range(2):
        rows, bars = own(gaps, s)
        limit, above, below, hits = 1.5 * volatility(np.ascontiguousarray(bars["close"]), 5), 0.0, 0.0, []
        for i in range(1, len(rows)):
            r = float(np.log(bars["close"][i]) - np.log(bars["close"][i - 1]))
            if np.isnan(limit[i]): continue
            above, below = max(0.0, above + r), min(0.0, below + r)
            if max(above, -below) > limit[i]: hits, above, below = [*hits, rows[i]], 0.0, 0.0
        assert np.flatnonzero(found[:, s]).tolist() == hits
        assert hits


def test_uniqueness_counts_overlaps(gaps: Panel) -> None:
    "One over the labels alive, averaged over the bars that a label spans"
    labels = make_labels(gaps, "triple_barrier", {"window": 5}, "cusum", {"window": 5, "threshold": 0.5})
    got = uniqueness(labels)
    for s in range(2):
        spans = [(t, labels.end[t, s]) for t in np.flatnonzero(labels.end[:, s] >= 0)]
        for t, e in spans:
            alive = [sum(a < u <= b for a, b in spans) for u in range(t + 1, e + 1)]
            assert got[t, s] == pytest.approx(np.mean([1 / n for n in alive]))
    assert np.nanmax(got) <= 1 + 1e-12 and np.nanmin(got) > 0


def test_meta_labels_follow_the_side() -> None:
    "Worth it on the right side of the move, less costs; none where the rule is silent or flat"
    base = Labels(np.array([[0.02, -0.02, 0.02, 0.001, np.nan, 0.03]]).T, np.array([[1, 2, 3, 4, -1, 5]]).T)
    sides = np.array([[1.0, -0.4, -1.0, 1.0, 1.0, 0.0]]).T
    got = meta_labels(base, sides, cost=0.005)
    assert_array_equal(got.value[:, 0], [1, 1, 0, 0, np.nan, np.nan])
    assert got.end[:, 0].tolist() == [1, 2, 3, 4, -1, -1]
    with pytest.raises(DataError, match="do not fit"): meta_labels(base, sides[:3])


def test_a_split_is_no_fall() -> None:
    "Two for one on the way, and the return of the trade is what the shareholder had"
    rows = SampleSource().bars("IBM", date(2005, 1, 3), date(2005, 2, 28), "1d")
    half = Bars(rows.symbol, "1d", rows.timestamp, *(np.where(np.arange(len(rows)) < 20, x, x / 2)
                                                     for x in (rows.open, rows.high, rows.low, rows.close)), rows.volume)
    day = np.datetime64(int(rows.timestamp[20]), "ns").astype("datetime64[D]").item()
    ibm = [Instrument("IBM")]
    split = make_panel([half], ibm, [CorporateAction("IBM", day, ActionKind.SPLIT, 2, 1)])
    assert_allclose(forward_return(split, 5).value, forward_return(make_panel([rows], ibm), 5).value, rtol=1e-12)


@pytest.mark.parametrize("kind", LABELS)
def test_the_horizon_is_kept(kind: str) -> None:
    "No label is settled later than its kind says"
    panel = load_panel(SampleSource(), ["IBM"], date(2005, 1, 3), date(2005, 12, 30))
    labels = make_labels(panel, kind)
    ahead = (labels.end - np.arange(len(panel))[:, None])[labels.end >= 0]
    assert 0 < ahead.max() <= label_horizon(kind)
    assert set(np.unique(sign(panel, 5, 0.01).value[:-6])) <= {-1.0, 0.0, 1.0}


def test_bad_labels_are_refused(gaps: Panel) -> None:
    "By name"
    with pytest.raises(ConfigError, match="label.kind 'signs' is not known"): make_labels(gaps, "signs")
    with pytest.raises(ConfigError, match="label.events 'cumsum'"): make_labels(gaps, "sign", {}, "cumsum")
    with pytest.raises(ConfigError, match="label.event_params.threshold is 0"): make_labels(gaps, "sign", {}, "cusum", {"threshold": 0})


# ---------------------------------------------------------------- derived features
DERIVED = {"base": ("returns", {"window": 3}), "lag": {"indicator": "returns", "params": {"window": 3}, "lag": 2},
           "rank": {"indicator": "rsi", "params": {"window": 3}, "across": "rank"},
           "z": {"indicator": "last", "column": "volume", "across": "zscore", "lag": 1}, "coarse": ("last", {}, "high", "1d", 3, "rank"),
           **{name: (f"calendar.{name}",) for name in ("weekday", "day", "month", "minute")}, "late": {"indicator": "calendar.minute", "lag": 1}}


def test_derived_features_are_alike_in_both_clocks_and_after_a_night(gaps: Panel) -> None:
    "Lag, rank, z-score and calendar, with holes and exchanges apart; resumed from a state in the middle"
    pipeline = FeaturePipeline(DERIVED)
    whole, stream, later = pipeline.transform(gaps), pipeline.stream(2), pipeline.stream(2)
    for row in replay(gaps):
        if row.t == 60: later.restore(stream.state())
        got = stream.update(row.panel)
        resumed = later.update(row.panel) if row.t >= 60 else got
        for name, x in whole.items():
            assert_array_equal(got[name], x[row.t], err_msg=name)
            assert_array_equal(resumed[name], x[row.t], err_msg=name)
    for cut in (30, 61, 100):
        for name, x in pipeline.transform(gaps[:cut]).items(): assert_array_equal(x, whole[name][:cut], err_msg=name)


def test_derived_features_are_what_they_say(gaps: Panel) -> None:
    "By hand, from the base feature"
    found = FeaturePipeline(DERIVED).transform(gaps)
    for s in range(2):
        rows = np.flatnonzero(~np.isnan(gaps.close[:, s]))
        assert_array_equal(found["lag"][rows[2:], s], found["base"][rows[:-2], s])
    plain = FeaturePipeline({"x": ("rsi", {"window": 3})}).transform(gaps)["x"]
    for t in range(len(gaps)):
        here = np.flatnonzero(~np.isnan(plain[t]))
        for s in here:
            below, same = (plain[t, here] < plain[t, s]).sum(), (plain[t, here] == plain[t, s]).sum()
            assert found["rank"][t, s] == (below + (same - 1) / 2 + 0.5) / len(here)


def test_ranks_of_many_symbols() -> None:
    "Against scipy's, ties and holes included"
    from scipy.stats import rankdata

    from firebot.features import _across
    draw = np.random.default_rng(0)
    x = draw.integers(0, 9, (50, 30)).astype(float)
    x[draw.random(x.shape) < 0.2] = np.nan
    _across(x, True, got := np.empty_like(x))
    _across(x, False, z := np.empty_like(x))
    for t, row in enumerate(x):
        here = ~np.isnan(row)
        assert_array_equal(got[t, here], (rankdata(row[here]) - 0.5) / here.sum())
        assert_allclose(z[t, here], (row[here] - row[here].mean()) / row[here].std(), rtol=1e-12, atol=1e-12)
    assert (np.isnan(got) == np.isnan(x)).all()


@pytest.mark.parametrize(("declared", "says"), [
    ({"indicator": "rsi", "lag": -1}, "lag is -1"), ({"indicator": "rsi", "lag": True}, "lag is True"),
    ({"indicator": "rsi", "lag": 1.5}, "lag is 1.5"),
    ({"indicator": "calendar.weekday", "across": "rank"}, "takes nothing but a lag"), (("calendar.hour",), "not known")])
def test_bad_declarations_are_refused(declared: object, says: str) -> None:
    "By name"
    with pytest.raises(ConfigError, match=f"feature x.*{says}"): FeaturePipeline({"x": declared})
