import math
import statistics

import pytest

from bnn_train.report import interval


def mass(t, freedom, steps=4000):
    """Of Student's density between -t and t, by Simpson's rule."""
    constant = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi * freedom)
    heights = [constant * (1 + (t * i / steps) ** 2 / freedom) ** (-(freedom + 1) / 2) for i in range(steps + 1)]
    return 2 * t / steps / 3 * (heights[0] + heights[-1] + 4 * sum(heights[1:-1:2]) + 2 * sum(heights[2:-1:2]))


def test_the_quantiles_of_one_and_two_degrees_have_closed_forms():
    assert interval.quantile(1) == pytest.approx(math.tan(0.95 * math.pi / 2), rel=1e-12)
    assert interval.quantile(2) == pytest.approx(0.95 * math.sqrt(2 / (1 - 0.95**2)), rel=1e-12)


@pytest.mark.parametrize("freedom", [3, 4, 5, 8, 19, 60])
def test_ninety_five_percent_of_the_density_lie_within_the_quantile(freedom):
    assert mass(interval.quantile(freedom), freedom) == pytest.approx(0.95, abs=1e-9)


def test_with_many_runs_it_is_the_normal_distribution_s():
    assert interval.quantile(10_000) == pytest.approx(statistics.NormalDist().inv_cdf(0.975), abs=1e-3)


def test_the_half_width_is_of_the_mean_and_none_for_a_single_run():
    assert interval.half_width([0.5, 0.7]) == pytest.approx(
        math.tan(0.95 * math.pi / 2) * 0.1
    )  # deviation 0.2 / sqrt 2, over sqrt 2
    assert interval.half_width([0.5, 0.5, 0.5]) == 0
    assert interval.half_width([0.5]) is None
