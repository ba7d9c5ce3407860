import math
import statistics

import pytest

from bnn_train.lab import means


def test_a_mean_of_networks_has_the_interval_of_students_t():
    mean, half = means.of([1.0, 2.0, 4.0])
    assert mean == pytest.approx(7 / 3)
    assert half == pytest.approx(4.302653 * statistics.stdev([1, 2, 4]) / math.sqrt(3), rel=1e-6)
    assert means.of([3.0]) == [3.0, None]


def test_every_number_of_equal_trees_becomes_a_figure():
    trees = [{"a": {"b": 1.0}, "c": [1.0, 2.0]}, {"a": {"b": 1.0}, "c": [1.0, 2.0]}]
    assert means.over(trees) == {"a": {"b": [1.0, 0.0]}, "c": [[1.0, 0.0], [2.0, 0.0]]}


def test_the_chance_of_a_paired_difference_is_that_of_students_t():
    # t = mean sqrt(n) / s = 1 for two values 0 and 2: Cauchy's distribution has half of its mass beyond 1.
    assert means.chance([0.0, 2.0]) == pytest.approx(0.5)
    assert means.chance([0.0, 0.0]) == 1.0
    assert means.chance([0.1, 0.1]) == 0.0


def test_a_verdict_needs_more_where_more_estimators_are_compared():
    clear, slight, none = [0.5, 0.51, 0.49], [0.1, 0.13, 0.17], [0.1, -0.1, 0.02]
    assert 0.02 < means.chance(slight) < 0.05
    alone = means.verdicts({"slight": slight})
    assert alone["slight"]["verdict"] == "better"
    found = means.verdicts({"clear": [-value for value in clear], "slight": slight, "none": none, "same": [0.0] * 3})
    assert [each["verdict"] for each in found.values()] == ["worse", "no difference", "no difference", "no difference"]
    assert found["slight"]["difference"] == pytest.approx(0.4 / 3)
    assert means.verdicts({"single": [0.5]})["single"]["verdict"] is None
