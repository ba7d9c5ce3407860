import math
import os
import subprocess
import sys

import numpy as np
import pytest

from bnn_train.kernels import compiler, elements, steps
from bnn_train.kernels.marks import CONNECTED, FREE

pytestmark = pytest.mark.skipif(not elements.available(), reason="needs llvmlite")

SIZES = (1, 15, elements.COLUMNS + 17)  # shorter than a vector, than a row; a row and a vector and one more
UNBOUNDED = math.inf


def arrays(size, count, seed=0):
    generator = np.random.default_rng(seed)
    return [generator.standard_normal(size).astype(np.float32) for _ in range(count)]


def some_marks(size):
    """Free, frozen and pruned edges in turns."""
    return np.resize(np.array([FREE | CONNECTED, CONNECTED, 0], np.uint8), size)


def at(array):
    return None if array is None else array.ctypes.data


def weight(p, g, signs, marks, bound=UNBOUNDED, l2=0.0, threads=1):
    return steps.Weight(len(p), at(p), at(g), at(signs), at(marks), bound, l2, threads)


def adam(p, g, mean, square, signs=None, marks=None, bound=UNBOUNDED, t=1, l2=0.0, shrink=0.0, threads=1):
    numbers = (0.1, 0.99, 0.01, 1 / math.sqrt(1 - 0.99**t), 0.05 / (1 - 0.9**t), 1e-3, shrink)
    steps.adam(weight(p, g, signs, marks, bound, l2, threads), at(mean), at(square), *numbers)


def sgd(p, g, step, signs=None, marks=None, bound=UNBOUNDED, nesterov=False, l2=0.0):
    steps.sgd(weight(p, g, signs, marks, bound, l2), at(step), 0.9, nesterov, 0.1)


def bop(p, g, mean, signs=None, marks=None, gamma=0.25, threshold=0.1):
    steps.bop(weight(p, g, signs, marks), at(mean), gamma, threshold)


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
    p, g1, g2 = arrays(elements.COLUMNS + 1, 3)
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


@pytest.mark.parametrize(
    "kernel",
    [
        lambda p, g, **options: adam(p, g, np.zeros_like(p), np.zeros_like(p), **options),
        lambda p, g, **options: sgd(p, g, np.zeros_like(p), **options),
    ],
)
def test_values_end_within_the_bound_and_signs_are_theirs(kernel):
    p, g = arrays(elements.COLUMNS + 1, 2)
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

    free = [p.copy(), np.where(held, 0, g), *means, None, None]
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


@pytest.mark.parametrize("cpu", [None, "x86-64-v3"])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_bits_depend_neither_on_threads_nor_on_the_length_of_vectors(monkeypatch, cpu, threads):
    found = []
    for how in ((None, 1), (cpu, threads)):
        monkeypatch.setattr(compiler, "CPU", how[0])
        p, g, mean, square = arrays(3 * elements.WORTH_A_THREAD + 5, 4)
        signs = np.zeros(len(p), np.int8)
        adam(p, g, mean, np.abs(square), signs, bound=1.0, l2=0.1, shrink=0.1, threads=how[1])
        found.append((p.tobytes(), mean.tobytes(), signs.tobytes()))
    assert found[0] == found[1]


def test_bop_with_more_than_half_of_the_new_gradient_takes_the_share_as_float32_has_it():
    p, g, mean = np.ones(3, np.float32), *arrays(3, 2)
    gamma = np.float32(0.6)
    expected = g - (g - mean) * (np.float32(1) - gamma)
    bop(p, g, mean, gamma=0.6)
    np.testing.assert_array_equal(mean, expected)


def test_the_kernels_load_no_torch():
    script = "import sys, bnn_train.kernels.steps; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
