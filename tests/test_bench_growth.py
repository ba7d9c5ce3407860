"""What scripts/bench_growth.py takes for the least time of a step."""

import bench_growth
import pytest
from bench_growth import CLASSES, INPUTS, product_seconds

from bnn_train import models


def test_with_one_rate_for_all_products_a_step_is_three_of_them_but_for_the_pixels_gradient():
    width, batch = 32, 8
    products = 3 * bench_growth.weights(width) - INPUTS * width
    rates = dict.fromkeys(("float32", "counted", "tables"), 1e6)
    assert product_seconds(width, batch, rates) == pytest.approx(2 * batch * products / 1e6)


def test_products_of_signs_count_at_the_better_rate():
    width, batch = 32, 8
    real = 2 * batch * (2 * INPUTS + 3 * CLASSES) * width  # at 1 operation a second
    for tables, times in ((4.0, 4.0), (0.5, 1.0)):
        rates = {"float32": 1.0, "counted": float("inf"), "tables": tables}
        assert product_seconds(width, batch, rates) == pytest.approx(real + 2 * batch * 4 * width * width / times)


def test_the_weights_are_those_of_the_network_that_is_trained(compose):
    config = compose("experiment=mnist_mlp", "model.hidden=[16,16,16]", "model.dropout=0")
    model = models.build(config, bench_growth.PIXELS, CLASSES)
    assert bench_growth.weights(16) == sum(p.numel() for p in model.parameters() if p.ndim == 2)


def test_a_step_is_timed_on_random_pixels(monkeypatch):
    monkeypatch.setattr(bench_growth, "SECONDS", 0.0)
    assert 0 < bench_growth.step_seconds(4, 2) < 60
