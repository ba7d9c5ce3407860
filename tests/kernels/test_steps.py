import math

import numpy as np
import pytest

numba = pytest.importorskip("numba")

from bnn_train.kernels import steps  # noqa: E402
from bnn_train.kernels.marks import CONNECTED, FREE  # noqa: E402

SIZES = (1, steps.BLOCK - 1, steps.BLOCK + 1)
UNBOUNDED = math.inf
NO_SIGNS = np.zeros(0, np.int8)


def arrays(size, count, seed=0):
    generator = np.random.default_rng(seed)
    return [generator.standard_normal(size).astype(np.float32) for _ in range(count)]


def some_marks(size):
    """Free, frozen and pruned edges in turns."""
    return np.resize(np.array([FREE | CONNECTED, CONNECTED, 0], np.uint8), size)


def adam(p, g, mean, square, signs=NO_SIGNS, marks=None, bound=UNBOUNDED, t=1, l2=0.0, shrink=0.0):
    numbers = (0.1, 0.99, 0.01, 1 / math.sqrt(1 - 0.99**t), 0.05 / (1 - 0.9**t), 1e-3, l2, shrink, bound)
    steps.adam(p, g, mean, square, signs, marks, *map(np.float32, numbers))


def sgd(p, g, step, signs=NO_SIGNS, marks=None, bound=UNBOUNDED, nesterov=False, l2=0.0):
    steps.sgd(p, g, step, signs, marks, np.float32(0.9), nesterov, *map(np.float32, (0.1, l2, bound)))


def bop(p, g, mean, signs=NO_SIGNS, marks=None, gamma=0.25, threshold=0.1):
    steps.bop(p, g, mean, signs, marks, np.float32(gamma), np.float32(threshold))


@pytest.mark.parametrize("size", SIZES)
def test_adam_equals_its_formula_in_float64(size):
    p, g1, g2 = arrays(size, 3)
    mean, square = np.zeros_like(p), np.zeros_like(p)
    w, m, v = p.astype(np.float64), 0.0, 0.0
    for t, g in enumerate((g1, g2), start=1):
        adam(p, g, mean, square, t=t, l2=0.3, shrink=0.02)
        gradient = g + 0.3 * w
        m, v = 0.9 * m + 0.1 * gradient, 0.99 * v + 0.01 * gradient**2
        corrected = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.99**t)) + 1e-3)
        w = w - 0.02 * w - 0.05 * corrected
    np.testing.assert_allclose(p, w, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_equals_its_formula_in_float64(nesterov):
    p, g1, g2 = arrays(steps.BLOCK + 1, 3)
    step = np.zeros_like(p)
    w, b = p.astype(np.float64), 0.0
    for g in (g1, g2):
        sgd(p, g, step, nesterov=nesterov, l2=0.2)
        gradient = g + 0.2 * w
        b = 0.9 * b + gradient
        w = w - 0.1 * (gradient + 0.9 * b if nesterov else b)
    np.testing.assert_allclose(p, w, rtol=1e-5, atol=1e-6)


def test_sgd_without_momentum_is_plain_descent():
    p, g = arrays(5, 2)
    expected = p - np.float32(0.1) * g
    sgd(p, g, None)
    np.testing.assert_array_equal(p, expected)


def test_bop_flips_where_the_mean_gradient_is_large_and_has_the_weights_sign():
    p = np.array([1, 1, 1, -1, -1, 1], np.float32)
    g = np.array([0.8, -0.8, 0.2, -0.8, 0.8, 0], np.float32)  # means a quarter of it: 0.2, -0.2, 0.05, -0.2, 0.2, 0
    mean, signs = np.zeros(6, np.float32), np.zeros(6, np.int8)
    bop(p, g, mean, signs)
    assert p.tolist() == signs.tolist() == [-1, 1, 1, 1, -1, 1]
    bop(p, g, mean, gamma=1.0, threshold=0.0)
    np.testing.assert_array_equal(mean, g)  # the whole of the new gradient, to the last bit
    assert p.tolist() == [-1, 1, -1, 1, -1, 1]  # where the mean is 0 nothing flips


@pytest.mark.parametrize("kernel", [lambda p, g, **k: adam(p, g, 0 * p, 0 * p, **k), lambda p, g, **k: sgd(p, g, 0 * p, **k)])
def test_values_end_within_the_bound_and_signs_are_theirs(kernel):
    p, g = arrays(steps.BLOCK + 1, 2)
    p[:2], g[:2] = (0.0, -0.0), 0.0
    signs = np.zeros(len(p), np.int8)
    kernel(p, g, signs=signs, bound=0.25)
    assert np.abs(p).max() == np.float32(0.25)
    assert (np.abs(p) < 0.25).any()
    np.testing.assert_array_equal(signs, np.where(p >= 0, 1, -1))  # 0 and -0 are +1


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kernel", ["adam", "sgd", "bop"])
def test_what_is_held_keeps_every_bit_and_sees_no_gradient(kernel, size):
    """Beyond the bound, under weight decay, with gradients that are no numbers; what is free moves as it would without marks."""
    p, g, mean, square = arrays(size, 4)
    p, square = (np.sign(p) if kernel == "bop" else 3 * p), np.abs(square)
    marks = some_marks(size)
    held = marks & FREE == 0
    mean[held], square[held] = 0, 0
    g[held] = np.resize(np.array([np.nan, np.inf], np.float32), held.sum())
    before, means = p.copy(), [mean.copy(), square.copy()]
    signs = np.ones(size, np.int8)

    def run(p, g, mean, square, signs, marks):
        if kernel == "adam":
            adam(p, g, mean, square, signs, marks, bound=0.5, l2=0.1, shrink=0.1)
        elif kernel == "sgd":
            sgd(p, g, mean, signs, marks, bound=0.5, l2=0.1)
        else:
            bop(p, g, mean, signs, marks)

    free = [p.copy(), np.where(held, 0, g), *means, NO_SIGNS, None]
    run(p, g, mean, square, signs, marks)
    run(*free)
    np.testing.assert_array_equal(p[held], before[held])
    np.testing.assert_array_equal(p[~held], free[0][~held])
    assert not mean[held].any()
    assert size == 1 or not np.array_equal(p, before)
    np.testing.assert_array_equal(signs, np.where(marks & CONNECTED, np.where(p >= 0, 1, -1), 0))


def test_a_gradient_that_is_no_number_reaches_the_weight():
    p, g = np.ones(3, np.float32), np.array([np.nan, np.inf, 1], np.float32)
    other = p.copy()
    adam(p, g, np.zeros_like(p), np.zeros_like(p), bound=1.0)
    sgd(other, g, np.zeros_like(p), bound=1.0)
    assert np.isnan(p).tolist() == [True, True, False]
    assert np.isnan(other).tolist() == [True, False, False]  # an infinite one reaches the bound


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="needs two processors")
def test_one_thread_and_two_give_the_same_bits():
    before = numba.get_num_threads()
    results = []
    for threads in (1, 2):
        numba.set_num_threads(threads)
        p, g, mean, square = arrays(3 * steps.BLOCK + 5, 4)
        signs = np.zeros(len(p), np.int8)
        adam(p, g, mean, np.abs(square), signs, bound=1.0)
        results.append((p.tobytes(), signs.tobytes()))
    numba.set_num_threads(before)
    assert results[0] == results[1]
