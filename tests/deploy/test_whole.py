"""Products of signs up to their signs: borders, turned channels, pools, ends of the range; every engine."""

import numpy as np
import pytest

from bnn_train.deploy import reference
from bnn_train.deploy.infer import result_of
from bnn_train.deploy.layout import Layout
from bnn_train.deploy.packed import Op, Packed, Value, packed_bits
from bnn_train.deploy.plan import plan
from bnn_train.deploy.whole import regions
from bnn_train.kernels.products import installed

ENGINES = installed()


def settings(outputs, kernel=(3, 3), stride=(1, 1), padding=(1, 1), pad_value=0, dilation=(1, 1)):
    pairs = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    return {"outputs": outputs, "groups": 1, "pad_value": pad_value, **{key: list(pair) for key, pair in pairs.items()}}


def network(shape, *layers):
    """Signs of a random table of the pixels, and layers one behind the other, before a real head."""
    table = np.random.default_rng(3).normal(size=(shape[0], 256)).astype(np.float32)
    ops = [Op("normalise", "", (0,), {}, {"table": table}), Op("sign", "", (1,), {}, {"threshold": np.zeros(shape[0], np.float32)})]
    for kind, given, tensors in layers:
        ops.append(Op(kind, kind, (len(ops),), given, tensors))
    ops.append(Op("flatten", "", (len(ops),)))
    values = [Value("bytes", shape)]
    for op in ops:
        values.append(result_of(op, values))
    head = np.random.default_rng(4).normal(size=(2, values[-1].size)).astype(np.float32)
    ops.append(Op("linear", "", (len(ops),), {"outputs": 2}, {"weight": head}))
    return Packed(shape, tuple(ops))


def same_as_reference(packed, count=5):
    images = np.random.default_rng(0).integers(0, 256, (count, *packed.image_shape), dtype=np.uint8)
    scores = reference.run(packed, images)[-1].astype(np.float32)
    for engine in (None, *ENGINES):
        assert np.array_equal(plan(packed, engine).run(images), scores), engine
    return reference.run(packed, images)


def tensors(outputs, inputs, seed=0, pruned=0.0, **more):
    random = np.random.default_rng(seed)
    signs, mask = random.choice([-1, 1], (outputs, inputs)), random.random((outputs, inputs)) >= pruned
    given = {"weight": packed_bits(signs * mask), **more}
    return {**given, "mask": packed_bits(mask)} if pruned else given


@pytest.mark.parametrize("pad_value", [0, 1, -1])
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 2), (4, 3)])
@pytest.mark.parametrize("pruned", [0.0, 0.4])
def test_borders_are_right_down_to_one_pixel_with_a_sign_and_without(size, pad_value, pruned):
    given = settings(12, pad_value=pad_value)
    product = ("conv2d", given, tensors(12, 45, pruned=pruned))
    sign = ("sign", {}, {"threshold": np.arange(-6, 6, dtype=np.int16), "flip": packed_bits(np.arange(12)[None] % 3 == 0)})
    same_as_reference(network((5, *size), product, sign))
    same_as_reference(network((5, *size), product))


@pytest.mark.parametrize("value", [-(2**31), -46, -45, 0, 45, 46, 2**31 - 1])
@pytest.mark.parametrize("flip", [0, 1])
def test_thresholds_at_and_beyond_the_ends_give_constants(value, flip):
    threshold = {"threshold": np.full(8, value, np.int32), "flip": packed_bits(np.full((1, 8), flip))}
    offset = np.array([-3, 3, 0, 0, 2**20, -(2**20), 1, -1], np.int32)
    for pad_value in (0, 1):
        product = ("conv2d", settings(8, pad_value=pad_value), tensors(8, 45, offset=offset))
        signs = same_as_reference(network((5, 3, 3), product, ("sign", {}, threshold)))[4]
        if abs(value) > 2**21:
            assert (signs == (1 if (value < 0) != bool(flip) else -1)).all()


@pytest.mark.parametrize("value", [-(2**31), 0, 300, 2**31 - 1])
@pytest.mark.parametrize("flip", [0, 1])
def test_sums_of_pixels_have_thresholds_at_the_ends_too(value, flip):
    sign = {"threshold": np.full(9, value, np.int32), "flip": packed_bits(np.full((1, 9), flip))}
    offset = np.arange(-4, 5, dtype=np.int32)
    ops = [
        Op("conv2d", "", (0,), settings(9, padding=(0, 0)), tensors(9, 18, pruned=0.3, offset=offset)),
        Op("sign", "", (1,), {}, sign),
        Op("flatten", "", (2,)),
        Op("linear", "", (3,), {"outputs": 3}, tensors(3, 36)),
    ]
    same_as_reference(Packed((2, 4, 4), tuple(ops)))


@pytest.mark.parametrize("pad_value", [0, -1])
@pytest.mark.parametrize(("kernel", "stride", "padding", "ceil"), [
    ([2, 2], [2, 2], [0, 0], False),
    ([2, 2], [2, 2], [0, 0], True),
    ([3, 3], [2, 2], [1, 1], True),
    ([3, 2], [1, 3], [1, 0], False),
    ([1, 1], [2, 2], [0, 0], False),
])  # fmt: skip
def test_a_pool_between_a_product_and_its_sign_of_either_direction(kernel, stride, padding, ceil, pad_value):
    pool = ("max_pool", {"kernel": kernel, "stride": stride, "padding": padding, "ceil": ceil}, {})
    sign = ("sign", {}, {"threshold": np.arange(-5, 6, dtype=np.int16), "flip": packed_bits(np.arange(11)[None] % 2)})
    product = ("conv2d", settings(11, pad_value=pad_value), tensors(11, 27))
    same_as_reference(network((3, 5, 7), product, pool, sign))
    same_as_reference(network((3, 5, 7), product, pool))
    same_as_reference(network((3, 5, 7), product, sign, pool))


def test_places_with_the_same_lost_edges_are_one_rectangle():
    """A 3x3 kernel on 4x5 pixels: corners, sides and the inside. Weights are all +1, so what is lost are the taps outside."""
    op = Op("conv2d", "", (0,), settings(1))
    found = list(regions(op, Value("whole", (1, 4, 5)), Layout("bits", (2, 4, 5)), np.ones((1, 18), np.int8)))
    lost = np.zeros((4, 5), int)
    for region in found:
        assert (lost[region.rows, region.columns] == 0).all()
        lost[region.rows, region.columns] = region.lost[0] + 100
    assert len(found) == 9
    assert (lost - 100).tolist() == [[10, 6, 6, 6, 10], [6, 0, 0, 0, 6], [6, 0, 0, 0, 6], [10, 6, 6, 6, 10]]


def test_sums_beyond_what_float32_holds_are_exact():
    """70,000 pixels of 255: 17,850,000 and its odd neighbours lie above 2^24."""
    signs = np.ones((3, 70_000))
    signs[1, 0] = -1
    ops = [Op("flatten", "", (0,)), Op("linear", "", (1,), {"outputs": 3}, {"weight": packed_bits(signs)})]
    threshold = np.array([17_850_000, 17_849_491, 17_849_999], np.int32)
    ops += [Op("sign", "", (2,), {}, {"threshold": threshold}), Op("linear", "", (3,), {"outputs": 1}, tensors(1, 3))]
    packed = Packed((1, 200, 350), tuple(ops))
    images = np.full((2, 1, 200, 350), 255, np.uint8)
    images[1, 0, -1, -1] = 254
    values = reference.run(packed, images)
    assert values[2].tolist() == [[17_850_000, 17_849_490, 17_850_000], [17_849_999, 17_849_489, 17_849_999]]
    assert values[3].tolist() == [[1, -1, 1], [-1, -1, 1]]
    for engine in (None, *ENGINES):
        assert np.array_equal(plan(packed, engine).run(images), values[-1])
