"Integer arithmetic against Python's unbounded integers."
from decimal import Decimal
from fractions import Fraction

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from firebot.money import LIMIT, MISSING, OVERFLOW, SMALL, from_int, muldiv, muldiv_floor, muldiv_small, snap, snap_columns, to_int

wide = st.integers(0, 61).flatmap(lambda k: st.integers(-(2**k), 2**k))
positive = st.integers(0, 61).flatmap(lambda k: st.integers(1, 2**k))


@settings(max_examples=2000, deadline=None)
@given(wide, wide, positive)
@example(2**55 - 1, 2**55 - 1, 2**55 + 1)  # as large as the float guess is trusted with
@example(2**61 - 1, 2**48 + 1, 2**48 - 1)
@example(2**55 + 1, 2**55 + 1, 2**59 - 1)  # ... and beyond
@example(2**61 - 1, 2**61 - 1, 2**61 - 3)
@example(10**16 + 1, 10**16 - 1, 10**17)
def test_muldiv_is_exact_or_says_overflow(a: int, b: int, d: int) -> None:
    want = round(Fraction(a) * b / d)  # Fraction rounds half to even
    assert muldiv(a, b, d) == (want if abs(Fraction(a) * b / d) < LIMIT else OVERFLOW)


@settings(max_examples=1000, deadline=None)
@given(positive, positive, positive)
def test_floor_is_exact_or_says_overflow(a: int, b: int, d: int) -> None:
    want = a * b // d
    assert muldiv_floor(a, b, d) == (want if want < LIMIT else OVERFLOW)


narrow = st.integers(0, 20).flatmap(lambda k: st.integers(1, 2**k))


@settings(max_examples=600, deadline=None)
@given(narrow, narrow, st.integers(0, 48).flatmap(lambda k: st.integers(-(2**k), 2**k)), st.integers(-1, 1), st.integers(0, 1))
@example(2**20, 2**19, 2**48 - 1, 0, 0)  # as large as it goes
@example(1, 1, 2**49 - 1, 0, 1)
@example(3, 7, -(2**48), 1, 0)
def test_the_product_without_a_branch_is_the_same(a: int, m: int, j: int, aside: int, whole: int) -> None:
    "At a half and next to it, whatever the size, and at random."
    b, d = m * (2 * j + 1) + aside, 2 * a * m
    if whole: b, d = j * m + aside, m
    if abs(Fraction(a) * b / d) >= SMALL or abs(b) >= 2**60: return
    assert muldiv_small(a, b, d, 1 / d) == muldiv(a, b, d) == round(Fraction(a) * b / d)
    assert muldiv_small(-a, b, d, 1 / d) == -muldiv(a, b, d)


@settings(max_examples=400, deadline=None)
@given(wide, wide, positive)
def test_the_product_without_a_branch_is_the_same_at_random(a: int, b: int, d: int) -> None:
    if max(abs(a), abs(b), d) >= 2**60 or abs(Fraction(a) * b / d) >= SMALL: return
    assert muldiv_small(a, b, d, 1 / d) == round(Fraction(a) * b / d)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(st.just(float("nan")), st.floats(0.001, 1e7), st.decimals("0.01", "9999.99", places=3).map(float)), min_size=1),
       st.integers(2, 6), st.integers(4070, 4100))
def test_prices_in_blocks_are_the_prices_one_by_one(prices: list[float], scale: int, before: int) -> None:
    x = np.array([100.25] * before + prices)
    grid = np.array([scale, scale]), np.array([1, 5])  # two grids: each price on its own
    apart = snap_columns(np.stack([x, x], axis=1), *grid)[0]
    for j in range(2): assert snap_columns(x[:, None], grid[0][j:j + 1], grid[1][j:j + 1])[0][:, 0].tolist() == apart[:, j].tolist()


@given(st.integers(-LIMIT + 1, LIMIT - 1), st.integers(0, 12))
def test_the_border_loses_nothing(i: int, scale: int) -> None:
    assert to_int(from_int(i, scale), scale) == i


@settings(max_examples=1000, deadline=None)
@given(st.decimals("0.000001", "999999", places=6), st.sampled_from(["0.01", "0.05", "0.0001", "0.25"]))
def test_a_price_goes_to_the_nearest_tick_and_halves_to_the_even_one(price: Decimal, tick: str) -> None:
    want = round(Fraction(price) / Fraction(tick)) * Fraction(tick)
    assert snap(np.array([float(price)]), 4, Decimal(tick)).tolist() == [want * 10**4]
    half = (Fraction(price) // Fraction(tick) + Fraction(1, 2)) * Fraction(tick)
    assert snap(np.array([float(half)]), 4, Decimal(tick)).tolist() == [round(half / Fraction(tick)) * Fraction(tick) * 10**4]


@given(st.lists(st.decimals("0.01", "99999.99", places=2), min_size=1), st.integers(2, 6))
def test_prices_on_the_tick_are_unchanged(prices: list[Decimal], scale: int) -> None:
    x = np.array([float(p) for p in prices] + [np.nan])
    assert snap(x, scale, Decimal("0.01")).tolist() == [to_int(p, scale) for p in prices] + [MISSING]
