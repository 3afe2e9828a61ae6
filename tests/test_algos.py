"Slices against a slow double, step by step and at once; what is asked, got and left over always comes to the parent."
from decimal import Decimal
from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from firebot.algos import ALGOS, Slicing, child, make_plan, schedule, volume_profile


@st.composite
def parents(draw):
    n, lot = draw(st.integers(1, 12)), draw(st.sampled_from([1, 10, 1000]))
    rate = Decimal(draw(st.integers(1, 100))) / 1000
    most, finish = min(rate * draw(st.integers(1, 5)), Decimal(1)), draw(st.sampled_from([None, True, False]))
    slicing = Slicing(draw(st.sampled_from(ALGOS)), n, rate, most, finish)
    total = lot * draw(st.integers(1, 10**6))
    numbers = st.lists(st.integers(0, 10**7), min_size=n, max_size=n)
    return slicing, total, lot, [w + 1 for w in draw(numbers)], draw(numbers), [x // lot * lot for x in draw(numbers)]


def slow_child(slicing, total, lot, weights, i, filled, volume):
    "By the table of the page, in fractions."
    def lots(x: Fraction) -> int: return int(x // lot) * lot
    if filled == total: return 0
    if i == slicing.bars - 1 and slicing.finishes: return total - filled
    if slicing.algo != "vwap": weights = [1] * slicing.bars
    due = lots(Fraction(total) * sum(weights[:i + 1]) / sum(weights))
    if slicing.algo != "participation": return max(due - filled, 0)
    step = Fraction(1, 10**8)
    rate = Fraction(slicing.rate) + Fraction(slicing.most - slicing.rate) * max(due - filled, 0) / total // step * step
    return min(lots(volume * rate), total - filled)


@given(parents())
@settings(max_examples=300)
def test_schedule_is_the_slow_one_and_the_stepwise_one(parent):
    slicing, total, lot, weights, volume, room = parent
    plan = make_plan(slicing, total, lot, np.array(weights))
    asked, got = schedule(plan, np.array(volume), np.array(room))
    filled = 0
    for i in range(slicing.bars):
        assert asked[i] == child(plan, i, filled, volume[i]) == slow_child(slicing, total, lot, weights, i, filled, volume[i])
        assert asked[i] % lot == 0 and 0 <= got[i] == min(asked[i], room[i]) and filled + asked[i] <= total
        filled += int(got[i])
    assert filled == got.sum() <= total
    if slicing.finishes and room[-1] >= total: assert filled == total
    assert child(plan, slicing.bars, filled, 10**7) == 0


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(2, 5), st.integers(1, 3))
def test_profile_knows_the_past_only(seed, days, slots, look):
    rng = np.random.default_rng(seed)
    volume, day = rng.integers(1, 1000, days * slots).astype(float), np.repeat(np.arange(days), slots)
    row = int(rng.integers(0, days * slots))
    got = volume_profile(volume, day, row, slots, look)
    changed = np.where(day >= day[row], rng.integers(1, 1000, days * slots), volume)
    assert (volume_profile(changed, day, row, slots, look) == got).all()
    past = volume.reshape(days, slots)[max(day[row] - look, 0):day[row]].sum(axis=0)
    want = [past[(row % slots + 1 + j) % slots] for j in range(slots)] if day[row] else [1] * slots
    assert got.tolist() == want
