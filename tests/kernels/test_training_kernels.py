"""What training computes by kernels, on this processor and in the code for smaller ones: against NumPy, exactly or within
rounding."""

import itertools

import numpy as np
import pytest

from bnn_train.kernels import elements, tables, team, training
from bnn_train.kernels.geometry import Geometry
from bnn_train.kernels.products import installed

pytestmark = pytest.mark.skipif("llvm" not in installed(), reason="no llvmlite")
SMALLER = ["x86-64-v3", "x86-64-v4"]


def signs(random, *shape):
    return random.choice(np.array([-1, 1], np.int8), shape)


def linear(inputs):
    """A layer as a convolution over one pixel."""
    one = (1, 1)
    return Geometry(1, 1, inputs // 8, one, one, (0, 0), one, 1, 1)


@pytest.mark.parametrize("small_processor", SMALLER, indirect=True)
@pytest.mark.parametrize("outputs", [3, 64, 70])
@pytest.mark.parametrize("pruned", [False, True])
def test_sums_of_signs_on_smaller_processors(small_processor, outputs, pruned):
    random = np.random.default_rng(0)
    x, w = signs(random, 9, 1, 1, 136), signs(random, outputs, 1, 1, 136)
    w = w * random.integers(0, 2, w.shape, np.int8) if pruned else w
    layer = training.SignConvolution(linear(136), outputs, 0, pruned)
    layer.set(w)
    assert np.array_equal(
        layer(training.packed(x > 0), 2).reshape(9, outputs), x.reshape(9, -1).astype(int) @ w.reshape(outputs, -1).T
    )


@pytest.mark.parametrize("small_processor", SMALLER, indirect=True)
@pytest.mark.parametrize("rows", [1, 5, 8, 13])
def test_tables_on_smaller_processors(small_processor, rows):
    random = np.random.default_rng(0)
    a, b = random.integers(-99, 100, (rows, 268)).astype(np.float32), signs(random, 268, 64)  # whole numbers: nothing is rounded
    out = np.empty((rows, 64), np.float32)
    tables.product(a.ctypes.data, a.strides, rows, tables.fours(b.ctypes.data, 268, 64, 1), out.ctypes.data, 2)
    assert np.array_equal(out, a @ b)


@pytest.mark.parametrize("small_processor", SMALLER, indirect=True)
def test_fours_of_rows_are_fours_of_what_is_turned_round(small_processor):
    w = signs(np.random.default_rng(0), 32, 48)
    turned = np.ascontiguousarray(w.T)
    assert np.array_equal(tables.fours_of_rows(w.ctypes.data, 32, 48, 1), tables.fours(turned.ctypes.data, 48, 32, 1))


@pytest.mark.parametrize("small_processor", SMALLER, indirect=True)
@pytest.mark.parametrize("dilation", [1, 2])
def test_gradients_of_convolutions_on_smaller_processors(small_processor, dilation):
    """By the sums as they are defined, over every image, place and tap; of whole numbers."""
    random = np.random.default_rng(0)
    images, side, outputs, channels = 8, 6, 8, 48
    g = random.integers(-99, 100, (images, side, side, outputs)).astype(np.float32)
    x, w = signs(random, images, side, side, channels), signs(random, 3, 3, outputs, channels)
    pad, both = (dilation, dilation), (dilation, dilation)
    grid = Geometry(side, side, tables.pixel_bytes(outputs), (3, 3), (1, 1), pad, both, side, side)
    of_input = np.empty((images, side, side, channels), np.float32)
    tables.of_input(g.ctypes.data, grid, images, outputs, w.ctypes.data, channels, of_input.ctypes.data, 2)
    of_filters = tables.of_filters(g.ctypes.data, grid, images, outputs, x.ctypes.data, channels, 2)
    around = ((0, 0), pad, pad, (0, 0))
    wide_g, wide_x = np.pad(g, around), np.pad(x.astype(np.float32), around)
    for row, column in itertools.product(range(3), repeat=2):
        places = slice(row * dilation, row * dilation + side), slice(column * dilation, column * dilation + side)
        right = np.tensordot(g, wide_x[(slice(None), *places)], axes=((0, 1, 2), (0, 1, 2)))
        assert np.array_equal(of_filters[:, row, column], right)
        of_input -= wide_g[(slice(None), *places)] @ w[row, column].astype(np.float32)
    assert not of_input.any()


@pytest.mark.parametrize("count", [1, 15, 8192, 40_001, 200_000])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_element_is_met_once(count, threads):
    x = np.random.default_rng(0).normal(size=count).astype(np.float32)
    found = np.zeros(count + 1, np.int8)
    elements.run(elements.SIGN, count, (x.ctypes.data, found.ctypes.data), threads=threads)
    assert np.array_equal(found[:-1], np.where(x < 0, -1, 1))
    assert found[-1] == 0


@pytest.mark.parametrize("count", [8, 72, 8192 * 3 + 64, 300_000])
def test_bits_are_those_of_numpy(count):
    s = signs(np.random.default_rng(0), count)
    assert np.array_equal(training.pack(s.ctypes.data, count, (count // 8,), 2), np.packbits(s > 0, bitorder="little"))


@pytest.mark.parametrize("entry", [True, False], ids=["by OpenMP", "by threads of our own"])
@pytest.mark.parametrize("calls", [1, 2, 7])
def test_all_calls_are_made_once(entry, calls, monkeypatch):
    if not entry:
        monkeypatch.setattr(team, "_entry", lambda takes: None)
    x, found = np.ones(64 * calls, np.float32), np.zeros(64 * calls, np.int8)
    kernel = elements.compiler.compiled(elements.SIGN, None)
    plan = np.array([64 * calls, 64, x.ctypes.data, 256, found.ctypes.data, 64], np.int64)
    team.run(kernel, [(plan.ctypes.data, i, i + 1) for i in range(calls)])
    assert found.all()
