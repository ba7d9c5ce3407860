"""Thresholds against torch's own signs, at every number there is or at the neighbours of the one where it flips."""

import numpy as np
import pytest
import torch
from torch import nn

from bnn_train.deploy.packing import layers, thresholds
from bnn_train.deploy.packing.graph import Elementwise, Node
from bnn_train.deploy.packing.thresholds import of_real_numbers, of_whole_numbers, turning_points


def norm(gamma, beta=0.0, mean=0.0, variance=1.0):
    """BatchNorm of channels with these numbers; each one value or one for each channel."""
    values = [np.broadcast_to(np.asarray(v, np.float32), np.shape(gamma)) for v in (gamma, beta, mean, variance)]
    layer = nn.BatchNorm1d(len(gamma)).eval()
    for tensor, value in zip((layer.weight.data, layer.bias.data, layer.running_mean, layer.running_var), values, strict=True):
        tensor.copy_(torch.tensor(value))
    return layers.batch_norm(layer, "norm", image(len(gamma)), torch.empty(0)).function


def image(channels):
    return Node("linear", "x", [], (channels,))


def prelu(slopes):
    layer = nn.PReLU(len(slopes))
    layer.weight.data = torch.tensor(slopes, dtype=torch.float32)
    return layers.prelu(layer, "prelu", image(len(slopes)), torch.empty(0)).function


def shifted(shift):
    return layers.affine("shift", image(len(shift)), np.ones(len(shift)), np.asarray(shift)).function


def signs(chain, x):
    """torch's signs of float32 numbers (N, channels)."""
    y = torch.from_numpy(np.asarray(x, np.float32))
    with torch.no_grad():
        for function in chain:
            y = function.run(y)
    return (y >= 0).numpy()


def by_threshold(found, x):
    return (x >= found.value) != found.flip


GAMMAS = [1.0, -1.0, 0.0, -0.0, 0.0, 3e-7, -3e-7, 5e4, -5e4, 1.0]
BETAS = [0.3, 0.3, 0.5, -0.5, -0.0, 1e-7, -1e-8, 1e3, -7.0, 0.0]
MEANS = [0.5, -7.0, 3.0, 3.0, 2.0, 4.0, -4.0, 11.0, 11.0, -11.0]
VARIANCES = [1.0, 50.0, 1.0, 1.0, 1.0, 1e-30, 1e-12, 1e30, 1e12, 0.0]


@pytest.mark.parametrize("rows", [1, 7, 2**22])
def test_thresholds_of_whole_numbers_are_torchs_signs_at_each_of_them(rows, monkeypatch):
    monkeypatch.setattr(thresholds, "_AT_A_TIME", rows * len(GAMMAS))
    chain = [norm(GAMMAS, BETAS, MEANS, VARIANCES)]
    low, high = np.arange(-30, -20), np.arange(12, 22)
    found = of_whole_numbers(chain, low, high)
    for channel in range(len(GAMMAS)):
        x = np.repeat(np.arange(low[channel], high[channel] + 1)[:, None], len(GAMMAS), axis=1)
        assert np.array_equal(by_threshold(found, x)[:, channel], signs(chain, x)[:, channel]), channel


def test_random_norms_flip_where_torch_flips():
    random = np.random.default_rng(0)
    n = 300
    chain = [norm(random.normal(size=n), random.normal(size=n), random.integers(-9, 9, n), random.uniform(0, 40, n))]
    found = of_whole_numbers(chain, np.full(n, -64), np.full(n, 64))
    x = np.repeat(np.arange(-64, 65)[:, None], n, axis=1)
    assert np.array_equal(by_threshold(found, x), signs(chain, x))


def test_halving_finds_what_trying_all_finds(monkeypatch):
    random = np.random.default_rng(1)
    n = 200
    chain = [norm(random.normal(size=n), 9 * random.normal(size=n), random.integers(-99, 99, n), random.uniform(0, 4000, n))]
    low, high = random.integers(-400, -10, n), random.integers(10, 400, n)
    tried = of_whole_numbers(chain, low, high)
    monkeypatch.setattr(thresholds, "EVERY", 1)
    halved = of_whole_numbers(chain, low, high)
    assert np.array_equal(tried.value, halved.value)
    assert np.array_equal(tried.flip, halved.flip)


def test_one_possible_sum_is_a_constant():
    for found in (
        of_whole_numbers([], np.array([0, -3, 4]), np.array([0, -3, 4])),
        thresholds._halved([], np.array([0, -3, 4]), np.array([0, -3, 4])),
    ):
        assert found.value.tolist() == [0, -2, 4]
        assert not found.flip.any()


def test_a_threshold_beyond_float32s_whole_numbers_is_torchs():
    """Above 2^24 sums become float32 by rounding."""
    chain = [shifted([-(2.0**24 + 2), 2.0**25 + 4])]
    found = of_whole_numbers(chain, np.full(2, -(2**26)), np.full(2, 2**26))
    at = np.concatenate([np.arange(v - 4, v + 5) for v in found.value])[:, None].repeat(2, axis=1)
    assert np.array_equal(by_threshold(found, at), signs(chain, at))


def test_what_flips_twice_has_no_threshold():
    bend = prelu([-1.0, 0.5])
    assert of_whole_numbers([bend, shifted([-2.0, -2.0])], np.full(2, -5), np.full(2, 5)) is None
    assert of_real_numbers([bend], 2) is None
    assert of_whole_numbers([bend], np.full(2, -5), np.full(2, 5)) is not None  # never below 0
    assert of_whole_numbers([bend], np.full(2, -(2**20)), np.full(2, 2**20)) is None  # too many to try


def test_thresholds_of_real_numbers_flip_between_neighbours():
    chain = [norm(GAMMAS, BETAS, MEANS, VARIANCES)]
    found = of_real_numbers(chain, len(GAMMAS))
    finite = np.isfinite(found.value)
    assert finite.sum() == np.count_nonzero(GAMMAS)
    with np.errstate(over="ignore"):
        for step in (-np.inf, np.inf):
            near = np.nextafter(found.value, np.float32(step))
            for x in (near[None], found.value[None]):
                x = np.where(finite, x, 1).astype(np.float32)
                assert np.array_equal(by_threshold(found, x), signs(chain, x))


def test_a_bare_sign_flips_at_0_and_at_minus_0():
    found = of_real_numbers([], 3)
    assert (found.value == 0).all()
    x = np.array([[0.0, -0.0, -1e-45]], np.float32)
    assert by_threshold(found, x).tolist() == [[True, True, False]]


def test_random_real_thresholds_are_torchs_signs_everywhere():
    random = np.random.default_rng(2)
    n = 200
    chain = [
        norm(random.normal(size=n), random.normal(size=n), random.normal(size=n)),
        prelu(random.uniform(0, 2, n)),
        norm(-np.ones(n), 1.0),
    ]
    found = of_real_numbers(chain, n)
    x = (random.normal(size=(200, n)) * np.exp(random.normal(size=(200, n)) * 5)).astype(np.float32)
    assert np.array_equal(by_threshold(found, x), signs(chain, x))


def hardtanh(low, high, channels):
    return layers.clamp("tanh", image(channels), low, high).function


def test_limits_leave_thresholds_whole():
    """clamp(x, -2, 2) + 1 turns at -1, and + 3, and - 3, never."""
    chain = [hardtanh(-2, 2, 3), shifted([1.0, 3.0, -3.0])]
    found = of_whole_numbers(chain, np.full(3, -9), np.full(3, 9))
    assert found.value.tolist() == [-1, -9, 10]
    assert not found.flip.any()
    assert of_whole_numbers(chain, np.full(3, -(2**20)), np.full(3, 2**20)).value.tolist() == [-1, -(2**20), 2**20 + 1]
    assert of_real_numbers(chain, 3).value.tolist() == [-1, -np.inf, np.inf]


def test_factors_of_0_behind_numbers_that_overflow_are_no_numbers_and_do_not_count():
    chain = [norm([5e4, -5e4, 5e4], variance=1e-12), norm([0.0, 0.0, -0.0], [1.0, -1.0, 0.5])]
    found = of_real_numbers(chain, 3)
    for x in (0.0, -1e6, 1e6):
        assert by_threshold(found, np.full((1, 3), x, np.float32)).tolist() == [[True, False, True]]


def test_turning_points_lie_between_the_last_sum_before_and_the_first_behind():
    chain = [shifted([0.25, -2.5, -3.0, 100.0])]
    found = of_whole_numbers(chain, np.full(4, -9), np.full(4, 9))
    assert found.value.tolist() == [0, 3, 3, -9]
    points = turning_points(chain, found)
    assert points[:3] == pytest.approx([-0.25, 2.5, 3.0], abs=1e-6)
    assert abs(points[3]) == np.inf


def test_ordinals_of_float32_numbers_are_in_their_order_and_lead_back():
    values = np.array([-np.finfo(np.float32).max, -1.0, -1e-45, 0.0, 1e-45, 1.0, 3.5, np.finfo(np.float32).max], np.float32)
    ordinals = thresholds._ordinal(values)
    assert (np.diff(ordinals) > 0).all()
    assert np.array_equal(thresholds._float(ordinals), values)
    assert thresholds._float(ordinals[3:4] + 1)[0] == np.nextafter(np.float32(0), np.float32(1))
    assert thresholds._float(ordinals[3:4] - 1)[0] == np.nextafter(np.float32(0), np.float32(-1))


def test_a_function_that_takes_float64_gets_it():
    third = Elementwise(lambda values: values - 1 / 3, rising=True, wide=True)
    seen = []
    chain = [Elementwise(lambda values: seen.append(values.dtype) or values, rising=True, wide=True), third]
    assert of_whole_numbers(chain, np.array([-2]), np.array([2])).value == [1]
    assert set(seen) == {torch.float64}
