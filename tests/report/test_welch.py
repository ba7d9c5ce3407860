"""Differences of means that the seeds carry, against closed forms."""

import math
from itertools import pairwise

import pytest

from bnn_train.report import interval
from bnn_train.report.welch import Difference, Sample, carried, difference

MANY = 10**9  # test images: no rounding to see


def test_the_mass_beyond_t_has_closed_forms_with_one_and_two_degrees_of_freedom():
    for t in (0.0, 0.3, 1.0, 4.0, 60.0):
        assert interval.beyond(t, 1) == pytest.approx(1 - 2 / math.pi * math.atan(t), abs=1e-12)
        assert interval.beyond(-t, 2) == pytest.approx(1 - t / math.sqrt(2 + t * t), abs=1e-12)
    for freedom in range(1, 40):
        assert interval.beyond(interval.quantile(freedom), freedom) == pytest.approx(0.05, abs=1e-12)


def test_equal_deviations_have_all_degrees_of_freedom_and_a_constant_sample_has_the_others():
    a, b = Sample([0.90, 0.92], MANY), Sample([0.80, 0.82], MANY)
    error = math.sqrt(2 * 0.0002 / 2)  # each variance of the mean is 0.0002 / 2
    found = difference(a, b)
    assert found.mean == pytest.approx(0.1)
    assert found.half_width == pytest.approx(interval.quantile(2) * error)
    assert found.chance == pytest.approx(interval.beyond(0.1 / error, 2))

    four, constant = Sample([0.90, 0.92, 0.90, 0.92], MANY), Sample([0.5] * 9, MANY)
    assert difference(four, constant).half_width == pytest.approx(
        four.half_width, rel=1e-6
    )  # three degrees, those of the one that varies


def test_degrees_of_freedom_need_not_be_whole():
    a, b = Sample([0.0, 0.2], MANY), Sample([0.5, 0.6], MANY)
    u, v = 0.02 / 2, 0.005 / 2
    freedom = (u + v) ** 2 / (u * u + v * v)
    assert freedom == pytest.approx(25 / 17)
    assert difference(a, b).half_width == pytest.approx(interval.quantile(freedom) * math.sqrt(u + v))
    assert interval.quantile(1) > interval.quantile(25 / 17) > interval.quantile(2)
    assert interval.beyond(interval.quantile(25 / 17), 25 / 17) == pytest.approx(0.05, abs=1e-9)


def test_the_integral_is_the_closed_form_where_degrees_are_whole():
    for freedom in (1, 2, 3, 4, 7, 30, 1000):
        for angle in (0.01, 0.3, 1.0, 1.5):
            assert interval.integrated(angle, freedom) == pytest.approx(interval.closed(angle, freedom), abs=1e-7)


def test_a_difference_is_minus_the_other_way_round():
    a, b = Sample([0.9, 0.91, 0.95], 100), Sample([0.8, 0.84], 100)
    there, back = difference(a, b), difference(b, a)
    assert there.mean == -back.mean
    assert (there.half_width, there.chance) == (back.half_width, back.chance)


def test_runs_that_agree_to_the_last_image_may_still_differ_by_less_than_one():
    sample = Sample([0.98, 0.98, 0.98], 50)
    assert sample.deviation == 0
    assert sample.half_width == pytest.approx(interval.quantile(2) / (50 * math.sqrt(12 * 3)))
    one_image = difference(Sample([0.98, 0.98], 50), Sample([0.96, 0.96], 50))
    assert one_image.half_width > one_image.mean
    assert difference(sample, Sample([0.98] * 3, 50)) == Difference(0, pytest.approx(one_image.half_width, rel=0.5), 1)


def test_one_value_has_no_interval():
    single, several = Sample([0.9], 100), Sample([0.8, 0.9], 100)
    assert (single.deviation, single.half_width) == (None, None)
    for found in (difference(single, several), difference(several, single), difference(single, single)):
        assert (found.half_width, found.chance) == (None, None)


def test_holm_compares_with_a_share_that_grows_and_stops_at_the_first_that_is_above():
    assert carried([0.04]) == [True]
    assert carried([0.04, 0.04]) == [False, False]  # the smallest is held against a half
    assert carried([0.04, 0.02]) == [True, True]  # and then the other against all
    assert carried([0.017, 0.5, 0.001]) == [True, False, True]
    assert carried([0.03, 0.5, 0.001]) == [False, False, True]
    assert carried([]) == []
    for few, more in pairwise([[0.02], [0.02, 0.9], [0.02, 0.9, 0.9]]):
        assert carried(few)[0] >= carried(more)[0]
