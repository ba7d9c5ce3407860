"""Convolutions and means by kernels of their own against the plain reference: blocks of images, processors, sums at a middle."""

import platform

import numpy as np
import pytest

from bnn_train.deploy import reference
from bnn_train.deploy.infer import result_of
from bnn_train.deploy.packed import Op, Packed, Value, packed_bits
from bnn_train.deploy.plan import plan
from bnn_train.kernels import places
from bnn_train.kernels.geometry import After, Geometry
from bnn_train.kernels.means import Mean
from bnn_train.kernels.products import installed

pytestmark = pytest.mark.skipif("llvm" not in installed(), reason="no llvmlite")


class Layers:
    """One behind the other, of random numbers; each method gives the number of the value it makes."""

    def __init__(self, *shape):
        self.random, self.shape, self.ops, self.values = np.random.default_rng(0), shape, [], [Value("bytes", shape)]

    @property
    def channels(self):
        return self.values[-1].shape[0]

    def add(self, kind, *inputs, settings=None, **tensors):
        self.ops.append(Op(kind, kind, inputs or (len(self.ops),), settings or {}, tensors))
        self.values.append(result_of(self.ops[-1], self.values))
        return len(self.ops)

    def floats(self, *size):
        return self.random.normal(size=size).astype(np.float32)

    def normalise(self):
        return self.add("normalise", table=self.floats(self.channels, 256))

    def convolution(self, outputs, x=None, real=False, pruned=False, kernel=3, stride=1, padding=1, dilation=1, pad_value=0):
        x = len(self.ops) if x is None else x
        pairs = {"kernel": [kernel] * 2, "stride": [stride] * 2, "padding": [padding] * 2, "dilation": [dilation] * 2}
        count = self.values[x].shape[0] * kernel**2
        signs, kept = self.random.choice([-1, 1], (outputs, count)), self.random.random((outputs, count)) < 0.6
        tensors = {"weight": packed_bits(signs * kept), "mask": packed_bits(kept)} if pruned else {"weight": packed_bits(signs)}
        if real:
            tensors = {"weight": self.floats(outputs, count), "bias": self.floats(outputs)}
        return self.add("conv2d", x, settings={"outputs": outputs, "groups": 1, "pad_value": pad_value, **pairs}, **tensors)

    def affine(self):
        return self.add("affine", scale=self.floats(self.channels), shift=self.floats(self.channels))

    def sign(self):
        whole = self.values[-1].kind == "whole"
        threshold = self.random.integers(-3, 4, self.channels).astype(np.int16) if whole else self.floats(self.channels)
        return self.add("sign", threshold=threshold, flip=packed_bits(self.random.choice([0, 1], (1, self.channels))))

    def pool(self, kind="max_pool", size=2, ceil=False):
        means = {} if kind == "max_pool" else {"count_padding": False}
        return self.add(kind, settings={"kernel": [size] * 2, "stride": [size] * 2, "padding": [0, 0], "ceil": ceil, **means})

    def check(self, count=3):
        self.add("flatten")
        self.add("linear", settings={"outputs": 3}, weight=self.floats(3, self.channels))
        packed = Packed(self.shape, tuple(self.ops))
        images = np.random.default_rng(9).integers(0, 256, (count, *self.shape), dtype=np.uint8)
        values = reference.run(packed, images)
        assert np.array_equal(plan(packed, "llvm").run(images), values[-1])
        return values


def block_with_shortcut(channels, **given):
    """A first layer of real weights, a residual block, a mean, a real shortcut beside a second block, a pool, a mean of all."""
    net = Layers(3, 9, 7)
    net.normalise()
    net.convolution(channels, real=True)
    first = net.affine()
    net.sign()
    net.convolution(channels, **given)
    net.affine()
    total = net.add("add", len(net.ops), first)
    signs = net.sign()
    net.add("avg_pool", total, settings={**pairs(2), "padding": [0, 0], "ceil": True, "count_padding": False})
    net.convolution(channels, real=True, kernel=1, padding=0)
    short = net.affine()
    net.convolution(channels, signs, stride=2, **given)
    net.add("add", short, net.affine())
    net.sign()
    net.convolution(channels, **given)
    net.pool(ceil=True)
    net.sign()
    net.convolution(channels, **given)
    net.affine()
    net.pool("avg_pool")
    return net


def pairs(size):
    return {"kernel": [size, size], "stride": [size, size]}


@pytest.mark.parametrize("channels", [8, 16, 24, 64])
@pytest.mark.parametrize("given", [{}, {"pruned": True}, {"pad_value": 1, "dilation": 2, "padding": 2}], ids=str)
def test_blocks_with_shortcuts_have_the_references_numbers(channels, given):
    block_with_shortcut(channels, **given).check()


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="code of x86-64")
@pytest.mark.parametrize("small_processor", ["x86-64-v2", "x86-64-v3", "x86-64-v4"], indirect=True)
@pytest.mark.parametrize("channels", [8, 40, 64])
def test_code_for_a_smaller_processor_is_exact_too(small_processor, channels):
    block_with_shortcut(channels).check()
    block_with_shortcut(channels, pruned=True).check()
    gated_block(channels).check()


def gated_block(channels, narrow=2, scaled=True):
    """A first layer with a ReLU, its gate through a few numbers, a residual block with every function of each number."""
    net = Layers(3, 9, 7)
    net.normalise()
    net.convolution(channels, real=True)
    first = net.add("relu")
    signs = net.sign()
    net.add(
        "avg_pool", first, settings={"kernel": [9, 7], "stride": [9, 7], "padding": [0, 0], "ceil": False, "count_padding": False}
    )
    net.convolution(narrow, real=True, kernel=1, padding=0)
    net.convolution(channels, net.add("relu"), real=True, kernel=1, padding=0)
    gate = net.add("sigmoid")
    net.convolution(channels, signs)
    sums = net.affine() if scaled else len(net.ops)
    net.add("add", net.add("multiply", gate, sums), first)
    net.add("prelu", slope=net.floats(net.channels))
    net.add("affine", scale=np.ones(net.channels, np.float32), shift=net.floats(net.channels))
    net.add("clamp", limits=np.array([-1.25, 2], np.float32))
    last = net.affine()
    net.convolution(channels, net.sign())
    net.add("relu")
    net.add("add", len(net.ops), last)
    return net


@pytest.mark.parametrize("channels", [8, 16, 24, 64])
@pytest.mark.parametrize("scaled", [True, False])
def test_gates_and_functions_of_each_number_have_the_references(channels, scaled):
    gated_block(channels, channels // 8, scaled).check(23)


@pytest.mark.parametrize("rows", [1, 40, 512])
def test_each_image_has_its_own_gate(monkeypatch, rows):
    monkeypatch.setattr(places, "ROWS", rows)
    values = gated_block(8).check(23)
    assert len(np.unique(values[9][:, 0])) == 23


@pytest.mark.parametrize("rows", [1, 40, 512])
def test_images_come_in_blocks_and_a_last_one_that_is_not_full(monkeypatch, rows):
    monkeypatch.setattr(places, "ROWS", rows)
    block_with_shortcut(8).check(23)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 4)])
@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("ceil", [False, True])
def test_a_pool_of_a_first_layer_is_part_of_it(size, real, ceil):
    net = Layers(2, 2 * size[0] + ceil, 2 * size[1] - (ceil and size[1] > 1))
    net.normalise()
    net.convolution(13, real=real, pad_value=-1)
    net.pool(ceil=ceil)
    net.sign()
    net.check()


@pytest.mark.parametrize(("last", "expected"), [(2.0**-53, 1), (2.0**-52, 1 + 2.0**-23), (2.0**-60, 1), (-(2.0**-53), 1)])
def test_sums_at_the_middle_of_two_float32_are_rounded_as_the_format_says(last, expected):
    """The nearest float64 first: 1 + 2^-24 + 2^-53 becomes 1 + 2^-24, and that becomes 1."""
    net = Layers(3, 1, 1)
    net.add("normalise", table=np.ones((3, 256), np.float32))
    pair = {name: [size] * 2 for name, size in (("kernel", 1), ("stride", 1), ("padding", 0), ("dilation", 1))}
    weight = np.array([[1, 2.0**-24, last]], np.float32).repeat(8, axis=0)
    weight[1:] *= -1
    net.add("conv2d", settings={"outputs": 8, "groups": 1, "pad_value": 0, **pair}, weight=weight)
    values = net.check()
    assert values[2][0, :, 0, 0].tolist() == [expected, *[-expected] * 7]


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize(("threshold", "expected"), [(2**24, 1), (2**24 + 2, 1), (2**24 + 4, -1), (np.inf, -1), (-np.inf, 1)])
def test_signs_of_sums_that_float32_would_round_are_those_of_the_exact_sums(threshold, expected, pooled):
    """2^24 + 1 + 1, which float32 adds to 2^24; its negative beside it."""
    net = Layers(3, 2, 2)
    net.add("normalise", table=np.repeat(np.array([[2**24], [1], [1]], np.float32), 256, axis=1))
    signs = np.ones((16, 3))
    signs[1] = -1
    pair = {name: [size] * 2 for name, size in (("kernel", 1), ("stride", 1), ("padding", 0), ("dilation", 1))}
    net.add("conv2d", settings={"outputs": 16, "groups": 1, "pad_value": 0, **pair}, weight=packed_bits(signs))
    if pooled:
        net.pool()
    net.add("sign", threshold=np.full(16, threshold, np.float32) * signs[:, 0].astype(np.float32))
    values = net.check()
    found = values[4 if pooled else 3][0, :, 0, 0]
    assert found[0] == expected
    assert found[1] == (1 if threshold == 2**24 + 2 else -expected)


def convolution_of(weight, is_exact=False):
    """1 x 1 over a pixel of 8 float32, the last ones 0; outputs of one weight each time."""
    one = Geometry(1, 1, 8, (1, 1), (1, 1), (0, 0), (1, 1), 1, 1)
    full = np.zeros((8, 1, 1, 8))
    full[..., : len(weight)] = weight
    return places.real(one, full, np.zeros(8), None, After(numbers=True), 0.0, is_exact)


def test_a_kernel_says_where_it_is_not_certain_of_a_sum():
    ones = np.ones((1, 1, 1, 8), np.float32)
    for last, certain in ((2.0**-53, False), (2.0**-60, True), (2.0**-50, True), (0, True)):
        found = convolution_of([1, 2.0**-24, last])(ones)
        assert (found is not None) == certain, last
    assert convolution_of([1, 1])(np.full((1, 1, 1, 8), np.nan, np.float32)) is None
    numbers, bits = convolution_of([1, 1])(ones)
    assert numbers.tolist() == [[[[2.0] * 8]]]
    assert bits is None


def test_a_mean_says_where_it_is_not_certain():
    mean = Mean(np.full((1, 1), 4, np.float32), (1, 3), 8, (1, 3), (1, 1))
    for last, certain in ((2.0**-53, False), (2.0**-60, True), (0, True)):
        x = np.array([1, 2.0**-24, last], np.float32)[None, None, :, None].repeat(8, axis=3)
        found = mean(x)
        assert (found is not None) == certain, last
        assert found is None or found.tolist() == [[[[0.25] * 8]]]
    assert mean(np.full((1, 1, 3, 8), np.inf, np.float32)) is None


def test_means_over_windows_of_any_place():
    """Of the numbers 0, 1, 2 ... in 5 x 4 places of 8 channels, 2 x 3 with strides 3 and 1."""
    x = np.arange(5 * 4, dtype=np.float32).reshape(1, 5, 4, 1).repeat(8, axis=3) + np.arange(8, dtype=np.float32) * 100
    counts = np.array([[6, 6], [6, 6]], np.float32)
    found = Mean(counts, (5, 4), 8, (2, 3), (3, 1))(x)
    middles = np.array([[3, 4], [15, 16]])  # of the first window 0, 1, 2, 4, 5, 6
    assert np.array_equal(found[0], (middles[..., None] + 100 * np.arange(8)).astype(np.float32))


def test_places_of_a_pool_come_window_by_window():
    geometry = Geometry(3, 4, 1, (1, 1), (1, 1), (0, 0), (1, 1), 3, 4)
    assert geometry.order(None).tolist() == list(range(12))
    assert geometry.order((1, 2)).tolist() == [0, 1, 4, 5, 2, 3, 6, 7]
    assert geometry.order((2, 2)).tolist()[8:] == [8, 9, 8, 9, 10, 11, 10, 11]  # the last line twice


def test_what_lies_under_a_kernel_is_found_by_bytes():
    """4 pixels of 2 bytes with 1 around them are a line of 12."""
    geometry = Geometry(3, 4, 2, (2, 3), (2, 1), (1, 1), (1, 1), 2, 4)
    assert geometry.line == 12
    assert geometry.padded_bytes == 5 * 12
    assert geometry.taps().tolist() == [[0, 2, 4], [12, 14, 16]]
    assert geometry.segments()[0].tolist() == [0, 12]
    assert geometry.segments()[1] == 3
    assert geometry.beginnings(np.arange(8)).tolist() == [0, 2, 4, 6, 24, 26, 28, 30]
    wide = geometry._replace(dilation=(1, 2))
    assert wide.segments()[0].tolist() == [0, 4, 8, 12, 16, 20]
    assert wide.segments()[1] == 1
