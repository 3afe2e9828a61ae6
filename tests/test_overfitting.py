"The gate holds noise back and lets skill through; its parts against plain Python, closed forms and each other."
import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firebot import metrics
from firebot.models import DataError
from firebot.overfitting import (
    Gate,
    block_length,
    deflated_sharpe,
    expected_maximum,
    join,
    judge,
    mean_correlation,
    minimum_track_record,
    overfitting_logits,
    overfitting_probability,
    probabilistic_sharpe,
    sharpe_interval,
    summarise,
)

DAYS = 2520


def judged(x: np.ndarray, **more: object) -> Gate:
    trials = summarise(x)
    return judge(trials, x[:, trials.sharpe.argmax()], **more)


def sweep(seed: int, noise: int, alike: float = 0.0, skill: float | None = None, bars: int = DAYS) -> Gate:
    "A sweep of noise trials with a mean correlation, with or without one of a true yearly Sharpe ratio."
    rng = np.random.default_rng(seed)
    x = rng.normal(0, (1 - alike) ** 0.5, (bars, noise)) + alike**0.5 * rng.normal(0, 1, (bars, 1))
    if skill is not None: x = np.hstack([x, rng.normal(skill / 252**0.5, 1, (bars, 1))])
    return judged(x / 100)


def test_noise_is_held_back() -> None:
    "At least 95 of 100 sweeps over ten years of noise."
    assert sum(sweep(seed, 100).passes for seed in range(100)) <= 5


@pytest.mark.parametrize(("noise", "alike"), [(1, 0.0), (2, 0.0), (20, 0.7)])
def test_noise_is_held_back_however_few_or_alike_the_trials(noise: int, alike: float) -> None:
    assert sum(sweep(seed, noise, alike, bars=504).passes for seed in range(100)) <= 5


def test_skill_passes() -> None:
    "A true yearly Sharpe ratio of 2 over ten years, among 100 noise trials, passes at least 90 times of 100."
    found = [sweep(seed, 100, skill=2.0) for seed in range(100)]
    assert sum(g.passes and g.best == 100 for g in found) >= 90


def test_the_same_skill_over_one_year_is_not_told_from_luck() -> None:
    assert sum(sweep(seed, 100, skill=2.0, bars=252).passes for seed in range(20)) <= 4


def plain_logits(x: np.ndarray, parts: int) -> list[float]:
    "CSCV as the paper tells it, with Sharpe ratios of the returns themselves."
    size = len(x) // parts
    blocks = [x[len(x) - (parts - b) * size:][:size] for b in range(parts)]
    ratio = lambda chosen: np.array([metrics.sharpe(c, 1) for c in np.concatenate([blocks[b] for b in chosen]).T])
    out = []
    for c in combinations(range(parts), parts // 2):
        best = ratio(c).argmax()
        after = ratio([b for b in range(parts) if b not in c])
        rank = (after < after[best]).sum() + 1
        out.append(math.log(rank / (x.shape[1] + 1 - rank)))
    return out


@pytest.mark.parametrize(("bars", "trials"), [(41, 5), (63, 2), (30, 12)])
def test_cscv_is_the_papers(bars: int, trials: int) -> None:
    x = np.random.default_rng(bars).normal(0.001, 0.01, (bars, trials))
    got = summarise(x)
    assert np.allclose(sorted(overfitting_logits(got)), sorted(plain_logits(x, len(got.sums))))


def test_ties_are_in_the_middle() -> None:
    x = np.repeat(np.random.default_rng(0).normal(0, 0.01, (100, 1)), 4, axis=1)
    assert np.allclose(overfitting_logits(summarise(x)), 0) and overfitting_probability(summarise(x)) == 1


def test_a_rule_that_fits_one_half_is_overfit() -> None:
    "Each trial shines in one block and loses in the others: the pick of a half fails in the other."
    x = np.full((160, 16), -0.001) + np.random.default_rng(0).normal(0, 1e-4, (160, 16))
    for b in range(16): x[b * 10:(b + 1) * 10, b] += 0.02
    assert overfitting_probability(summarise(x)) > 0.9


@settings(max_examples=50)
@given(st.integers(10, 300), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_summaries_are_those_of_the_metrics_however_they_are_cut(bars: int, trials: int, seed: int) -> None:
    x = np.random.default_rng(seed).normal(0.001, 0.02, (bars, trials))
    x[:, 0] = 0
    whole, parts = summarise(x), join([summarise(x[:, i:i + 1]) for i in range(trials)])
    for name in ("sharpe", "skew", "kurtosis", "sums", "squares"): assert np.array_equal(getattr(whole, name), getattr(parts, name))
    assert np.allclose(whole.together, parts.together) and whole.varying == parts.varying == trials - 1
    for i in range(1, trials):
        assert np.isclose(whole.sharpe[i], metrics.sharpe(x[:, i], 1)) and np.isclose(whole.kurtosis[i], metrics.kurtosis(x[:, i]) + 3)
        assert np.isclose(whole.skew[i], metrics.skew(x[:, i]))
    if trials > 2:
        pairs = np.corrcoef(x[:, 1:], rowvar=False)
        n = trials - 1
        assert np.isclose(mean_correlation(whole), max((pairs.sum() - n) / (n * (n - 1)), 0))


@settings(max_examples=50)
@given(st.floats(0.02, 0.5), st.floats(-3, 1), st.floats(0, 10), st.floats(0, 0.01))
def test_the_minimum_record_is_where_the_probability_reaches_the_confidence(sharpe: float, skew: float, more: float, hurdle: float) -> None:
    kurtosis = skew**2 + 1 + more
    if 1 - skew * sharpe + (kurtosis - 1) / 4 * sharpe**2 < 1e-3: return
    bars = minimum_track_record(sharpe, skew, kurtosis, hurdle)
    assert np.isclose(probabilistic_sharpe(sharpe, bars, skew, kurtosis, hurdle), 0.95)


def test_more_trials_deflate_more() -> None:
    found = [float(deflated_sharpe(0.1, 1250, -1, 6, n, 0.03)) for n in (1, 2, 10, 100, 1000)]
    assert found == sorted(found, reverse=True) and expected_maximum(1.2) == 0


def test_earlier_trials_count() -> None:
    x = np.random.default_rng(5).normal(0.0006, 0.01, (DAYS, 20))
    alone, after = judged(x), judged(x, earlier=np.random.default_rng(6).normal(0, 0.02, 10_000))
    assert (alone.trials, after.trials, after.earlier) == (20, 10_020, 10_000)
    assert after.luck > alone.luck and after.deflated_sharpe < alone.deflated_sharpe


def test_what_moves_together_in_time_widens_the_interval() -> None:
    rng = np.random.default_rng(8)
    white = rng.normal(0.0005, 0.01, DAYS)
    slow = np.convolve(white, np.ones(20) / 20, "same")
    spans = [np.diff(sharpe_interval(slow, block=b))[0] / slow.std() for b in (1, None)]
    assert block_length(slow) > 5 and spans[1] > 1.5 * spans[0]
    assert sharpe_interval(white) == sharpe_interval(white) != sharpe_interval(white, seed=1)


def test_trials_that_never_trade_count_and_never_win() -> None:
    x = np.zeros((300, 5))
    gate = judged(x)
    assert not gate.passes and gate.trials == 5 and gate.sharpe == 0
    x[:, 2] = np.random.default_rng(1).normal(0.002, 0.01, 300)
    assert judged(x).best == 2


@pytest.mark.parametrize(("x", "says"), [(np.zeros((5, 2)), "ten bars"), (np.zeros(50), "ten bars"), (np.full((50, 3), np.nan), "trial 0"),
                                         (np.full((50, 3), np.inf), "trial 0")])
def test_bad_series_are_refused(x: np.ndarray, says: str) -> None:
    with pytest.raises(DataError, match=says): summarise(x)
    with pytest.raises(DataError, match="no trials"): judge(summarise(np.zeros((50, 0))), np.zeros(50))
    with pytest.raises(DataError, match="same bars"): join([summarise(np.zeros((50, 1))), summarise(np.zeros((60, 1)))])
