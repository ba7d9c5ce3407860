import math
import struct
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bnn_train.deploy.sums import is_exact, lowest_bit, real_sums

SINGLES = st.floats(width=32, allow_nan=False, allow_infinity=False)
NEAR_ONE = st.integers(-(2**24), 2**24).map(lambda n: n * 2.0**-24)
TERMS = st.lists(st.tuples(SINGLES | NEAR_ONE, SINGLES | NEAR_ONE), min_size=1, max_size=12)


def nearest(exact, bits, least):
    """The float of `bits` bits whose unit is at least `least` that is nearest to a fraction, ties to even; as a fraction."""
    if exact == 0:
        return exact
    power = math.floor(math.log2(abs(exact.numerator)) - math.log2(exact.denominator))
    power += (abs(exact) >= Fraction(2) ** (power + 1)) - (abs(exact) < Fraction(2) ** power)
    unit = Fraction(2) ** max(power - bits + 1, least)
    return round(exact / unit) * unit  # Python rounds a fraction that is between two to the even one


def defined(products, bias=0):
    """What docs/format.md says of a real sum."""
    exact = sum((Fraction(x) * Fraction(w) for x, w in products), Fraction(bias))
    single = nearest(nearest(exact, 53, -1074), 24, -149)
    return math.copysign(math.inf, single) if abs(single) >= 2**128 else float(single)


def summed(products, bias=None, order=None):
    x, w = (np.array(numbers, np.float64)[None] for numbers in zip(*products, strict=True))
    order = np.arange(len(products)) if order is None else order
    (sums,) = real_sums(x[:, order], w[:, order], None if bias is None else np.array([bias], np.float64))
    assert sums.dtype == np.float32
    return float(sums[0])


@given(TERMS, SINGLES | NEAR_ONE, st.randoms())
def test_a_real_sum_is_rounded_as_defined_in_any_order(products, bias, random):
    order = list(range(len(products)))
    random.shuffle(order)
    assert summed(products) == defined(products)
    assert summed(products, bias) == summed(products, bias, order) == defined(products, bias)


BIG, SMALL = 2.0**127, 2.0**-149
ADVERSARIES = {
    "what cancels": [(2.0**60, 1.0), (1.0, 1.0), (-(2.0**60), 1.0)],
    "what cancels in products": [(1 + 2.0**-23, 1 - 2.0**-23), (-1.0, 1.0)],
    "a tie to an even number below": [(1.0, 1.0), (2.0**-24, 1.0)],
    "a tie to an even number above": [(1 + 2.0**-23, 1.0), (2.0**-24, 1.0)],
    "a little more than a tie": [(1.0, 1.0), (2.0**-24, 1.0), (2.0**-50, 1.0)],
    "a little more than a tie, which float64 does not see": [(1.0, 1.0), (2.0**-24, 1.0), (2.0**-100, 1.0)],
    "a tie of float64 that makes one of float32": [(1.0, 1.0), (2.0**-24, 1.0), (2.0**-53, 1.0)],
    "a little less than a tie": [(1.0, 1.0), (2.0**-24, 1.0), (-(2.0**-52), 1.0)],
    "the smallest number": [(SMALL, 1.0)],
    "half of the smallest number": [(SMALL, 0.5)],
    "three quarters of it": [(SMALL, 0.75)],
    "products far below float32": [(SMALL, SMALL)] * 5,
    "the largest number": [(BIG, 2 - 2.0**-23)],
    "half a unit more than the largest": [(BIG, 2 - 2.0**-23), (2.0**103, 1.0)],
    "a little less than that": [(BIG, 2 - 2.0**-23), (2.0**103, 1.0), (-1.0, 1.0)],
    "huge products that cancel": [(BIG, BIG), (1.0, 1.0), (-BIG, BIG)],
    "nothing but zeros": [(0.0, 1.0), (-0.0, 3.0)],
}


@pytest.mark.parametrize("products", ADVERSARIES.values(), ids=ADVERSARIES)
def test_sums_on_the_edge_are_rounded_as_defined(products):
    for sign in (1, -1):
        terms = [(sign * x, w) for x, w in products]
        assert summed(terms) == summed(terms[::-1]) == defined(terms)


def test_two_roundings_are_the_definition_and_not_one():
    just_above_a_tie = [(1.0, 1.0), (2.0**-24, 1.0), (2.0**-60, 1.0)]
    assert summed(just_above_a_tie) == 1.0  # one rounding alone would give 1 + 2^-23


def test_every_sum_of_a_product_is_of_its_own_row_and_output():
    generator = np.random.default_rng(0)
    x, weight, bias = (generator.normal(size=shape).astype(np.float32).astype(np.float64) for shape in ((7, 33), (5, 33), (5,)))
    x[3], weight[1, ::2], bias[2] = 0, 2.0**100, -(2.0**-140)
    sums = real_sums(x, weight, bias)
    assert sums.shape == (7, 5)
    for m in range(7):
        for o in range(5):
            assert sums[m, o] == defined(zip(x[m], weight[o], strict=True), bias[o])


@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(150, 64, 64), (1, 7, 3), (1, 10_001, 2), (9, 300, 200), (64, 64, 64)])
def test_sums_made_in_parts_are_all_there(rows, inputs, outputs):
    generator = np.random.default_rng(1)
    x, weight, bias = (generator.integers(-9, 10, shape) for shape in ((rows, inputs), (outputs, inputs), (outputs,)))
    found = real_sums(x.astype(np.float64), weight.astype(np.float64), bias.astype(np.float64))
    np.testing.assert_array_equal(found, x @ weight.T + bias)


def test_no_rows_and_no_terms_are_sums_too():
    assert real_sums(np.zeros((0, 3)), np.ones((2, 3)), None).shape == (0, 2)
    assert real_sums(np.zeros((2, 0)), np.zeros((1, 0)), np.array([0.1])).tolist() == [[np.float32(0.1)], [np.float32(0.1)]]


@pytest.mark.parametrize("exact", [False, True])
def test_what_is_not_finite_stays_what_it_is(exact):
    x = np.array([[np.inf, 1.0], [np.inf, -np.inf], [np.nan, 1.0], [-np.inf, 1.0], [1.0, 2.0]])
    weight = np.array([[1.0, 1.0], [0.0, 1.0]])
    expected = np.array([[np.inf, np.nan], [np.nan, np.nan], [np.nan, np.nan], [-np.inf, np.nan], [3, 2]], np.float32)
    np.testing.assert_array_equal(real_sums(x, weight, None, exact), expected)


GRIDS = st.integers(-20, 0)


@st.composite
def on_grids(draw):
    """weight, bias, x on grids of powers of two, so wide that float64 holds their sums sometimes."""
    wide, fine, inputs = draw(st.integers(0, 29)), draw(st.integers(0, 40)), draw(st.integers(1, 6))
    grid = 2.0 ** draw(GRIDS)

    def numbers(top, unit, count):
        return np.array(draw(st.lists(st.integers(-top, top), min_size=count, max_size=count)), np.float64) * unit

    weight = numbers(2**24, 2.0**-fine, inputs)[None]
    bias = numbers(2**24, 2.0 ** -draw(st.integers(0, 60)), 1) if draw(st.booleans()) else None
    return weight, bias, numbers(2**wide, grid, inputs), 2.0**wide * grid, grid


@given(on_grids())
@example((np.array([[2.0**24, 2.0**24]]), np.array([1.0]), np.full(2, 2.0**28), 2.0**28, 1.0))  # 2^53 + 1
@example((np.array([[2.0**24 - 1]]), np.array([1.0]), np.full(1, 2.0**29), 2.0**29, 1.0))  # just below 2^53
def test_a_sum_is_called_exact_only_where_no_order_rounds_it(case):
    weight, bias, x, largest, grid = case
    if is_exact(weight, bias, largest, grid):
        terms = [Fraction(a) * Fraction(b) for a, b in zip(x, weight[0], strict=True)] + [Fraction(b) for b in bias or []]
        for size in (sum(map(abs, terms), Fraction(0)), sum(terms, Fraction(0))):  # of all partial sums the first is the largest
            assert Fraction(float(size)) == size
        assert real_sums(x[None], weight, bias, exact=True) == real_sums(x[None], weight, bias)


def test_sums_of_small_whole_numbers_are_known_to_be_exact():
    weight = np.array([[0.5, -0.25, 3.0]])
    assert is_exact(weight, None, 2048, 1.0)
    assert is_exact(weight, np.array([2.0**-30]), 2048, 1.0)
    assert is_exact(np.zeros((2, 3)), np.zeros(2), 1e30, 1.0)
    assert not is_exact(weight, np.array([2.0**-60]), 2048, 1.0)
    assert not is_exact(np.array([[1.0, 2.0**-30]]), None, 2.0**24, 1.0)
    assert not is_exact(weight, None, math.inf, 1.0)


@given(st.lists(SINGLES, max_size=5))
def test_the_lowest_bit_divides_all_and_twice_it_does_not(numbers):
    lowest = lowest_bit(np.array(numbers, np.float32))
    whole = [Fraction(n) for n in numbers if n]
    if not whole:
        assert lowest == math.inf
        return
    assert math.frexp(lowest)[0] == 0.5
    assert all((n / Fraction(lowest)).denominator == 1 for n in whole)
    assert any((n / Fraction(2 * lowest)).denominator == 2 for n in whole)


def test_the_lowest_bits_of_known_numbers():
    smallest = struct.unpack("<f", b"\x01\0\0\0")[0]
    for numbers, lowest in (([12.0], 4.0), ([0.75, 0.0, -6.0], 0.25), ([smallest, 1.0], smallest), ([2.0**127], 2.0**127)):
        assert lowest_bit(np.array(numbers, np.float32)) == lowest
