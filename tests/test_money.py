"Integer arithmetic against Python's unbounded integers."
from decimal import Decimal
from fractions import Fraction

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from firebot.money import LIMIT, MISSING, OVERFLOW, from_int, muldiv, muldiv_floor, snap, to_int

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
