"""What scripts/bench_growth.py takes for the least time of a step."""

import bench_growth
import pytest
from bench_growth import CLASSES, INPUTS, product_seconds

from bnn_train import models


def test_with_one_rate_for_all_products_a_step_is_three_of_them_but_for_the_pixels_gradient():
    width, batch = 32, 8
    products = 3 * bench_growth.weights(width) - INPUTS * width
    rates = dict.fromkeys(("float32", "int8", "packed"), 1e6)
    assert product_seconds(width, batch, "float32", rates) == pytest.approx(2 * batch * products / 1e6)


def test_fast_gradients_take_two_int8_products_or_one_of_float32():
    """Where all but them takes no time: int8 saves what it is faster than twice float32, and is left where it is not."""
    width, batch = 32, 8
    real = 2 * batch * 3 * CLASSES * width  # the last layer's products, at 1 operation a second in both
    for int8, times in ((4.0, 2.0), (1.0, 1.0)):
        rates = {"float32": 1.0, "int8": int8, "packed": float("inf")}
        pixels = 2 * batch * INPUTS * width / max(1.0, int8)
        slow, fast = (product_seconds(width, batch, precision, rates) - real - pixels for precision in ("float32", "fast"))
        assert slow == pytest.approx(2 * batch * (INPUTS * width + 4 * width * width))
        assert slow / fast == pytest.approx(times)


def test_the_weights_are_those_of_the_network_that_is_trained(compose):
    config = compose("experiment=mnist_mlp", "model.hidden=[16,16,16]", "model.dropout=0")
    model = models.build(config, bench_growth.PIXELS, CLASSES)
    assert bench_growth.weights(16) == sum(p.numel() for p in model.parameters() if p.ndim == 2)


@pytest.mark.parametrize("precision", bench_growth.PRECISIONS)
def test_a_step_is_timed_on_random_pixels(precision, monkeypatch):
    monkeypatch.setattr(bench_growth, "SECONDS", 0.0)
    assert 0 < bench_growth.step_seconds(4, 2, precision) < 60
