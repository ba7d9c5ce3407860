"""The plain operations against torch, on whole numbers that both compute exactly, and in closed form."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bnn_train.deploy import reference
from bnn_train.deploy.infer import infer
from bnn_train.deploy.packed import Op, Packed, Value, packed_bits

RANDOM = np.random.default_rng(0)


def run(op, x, result=None):
    """One operation on (N, C, H, W) or (N, F); result: its Value, where the operation asks for it."""
    return reference.OPERATIONS[op.kind](op, result, x)


def whole_numbers(*shape):
    return RANDOM.integers(-5, 6, shape).astype(np.float32)


def padded(x, padding, value):
    return F.pad(torch.from_numpy(x), (padding[1], padding[1], padding[0], padding[0]), value=float(value))


GEOMETRIES = list(itertools.product([(1, 1), (2, 3)], [(1, 1), (2, 1)], [(1, 1), (1, 2)], [(0, 0), (1, 2)], [1, 2]))


@pytest.mark.parametrize("pad_value", [0, 1, -1])
def test_convolutions_are_torchs(pad_value):
    for kernel, stride, dilation, padding, groups in GEOMETRIES:
        x, weight, bias = whole_numbers(2, 4, 6, 7), whole_numbers(6, 4 // groups, *kernel), whole_numbers(6)
        settings = {"outputs": 6, "groups": groups, "kernel": kernel, "stride": stride, "dilation": dilation}
        settings |= {"padding": padding, "pad_value": pad_value}
        op = Op("conv2d", "", (0,), settings, {"weight": weight.reshape(6, -1), "bias": bias})
        outside = padded(x, padding, pad_value)
        wanted = F.conv2d(outside, torch.from_numpy(weight), torch.from_numpy(bias), stride, 0, dilation, groups).numpy()
        y = run(op, x, Value("real", wanted.shape[1:]))
        assert y.dtype == np.float32
        assert np.array_equal(y, wanted)
        signs = np.where(weight >= 0, 1, -1)
        mask = weight != 0
        tensors = {"weight": packed_bits((signs * mask).reshape(6, -1)), "mask": packed_bits(mask.reshape(6, -1))}
        tensors["offset"] = bias.astype(np.int32)
        bits = np.where(x >= 0, 1, -1).astype(np.int8)
        outside = padded(bits.astype(np.float32), padding, pad_value)
        ternary = torch.from_numpy((signs * mask).astype(np.float32))
        wanted = F.conv2d(outside, ternary, torch.from_numpy(bias), stride, 0, dilation, groups)
        y = run(Op("conv2d", "", (0,), op.settings, tensors), bits, Value("whole", tuple(wanted.shape[1:])))
        assert y.dtype == np.int32
        assert np.array_equal(y, wanted.numpy())


def pool_settings():
    for kernel, stride, ceil in itertools.product([(2, 2), (3, 2), (1, 3)], [(1, 1), (2, 3), (4, 4)], [False, True]):
        for padding in {(0, 0), (kernel[0] // 2, kernel[1] // 2)}:
            yield {"kernel": kernel, "stride": stride, "padding": padding, "ceil": ceil}


def test_pools_are_torchs_and_have_the_inferred_shape():
    x = whole_numbers(2, 3, 5, 7)
    for settings in pool_settings():
        given = (settings["kernel"], settings["stride"], settings["padding"])
        wanted = F.max_pool2d(torch.from_numpy(x), *given, ceil_mode=settings["ceil"]).numpy()
        assert inferred("max_pool", settings) == wanted.shape[1:]
        result = Value("real", wanted.shape[1:])
        assert np.array_equal(run(Op("max_pool", "", (0,), settings), x, result), wanted)
        for count in (False, True):
            wanted = F.avg_pool2d(torch.from_numpy(x), *given, ceil_mode=settings["ceil"], count_include_pad=count).numpy()
            assert inferred("avg_pool", {**settings, "count_padding": count}) == wanted.shape[1:]
            y = run(Op("avg_pool", "", (0,), {**settings, "count_padding": count}), x, result)
            assert np.array_equal(y, wanted), (settings, count)


def inferred(kind, settings):
    """The shape that infer gives a pool of images of (3, 5, 7)."""
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()}
    table = {"table": np.zeros((3, 256), np.float32)}
    ops = [Op("normalise", "", (0,), {}, table), Op(kind, "", (1,), plain), Op("flatten", "", (2,))]
    return infer(Packed((3, 5, 7), tuple(ops)))[2].shape


def test_a_sign_is_at_or_above_its_threshold_or_the_contrary():
    x = np.array([[1, 2, 3], [2, 2, 2]], np.int32)
    tensors = {"threshold": np.array([2, 2, 2], np.int16), "flip": packed_bits(np.array([[0, 0, 1]]))}
    assert run(Op("sign", "", (0,), {}, tensors), x).tolist() == [[-1, 1, -1], [1, 1, -1]]
    numbers = np.array([[-0.0, np.inf, -np.inf]], np.float32)
    tensors = {"threshold": np.array([0.0, np.inf, -np.inf], np.float32)}
    assert run(Op("sign", "", (0,), {}, tensors), numbers).tolist() == [[1, 1, 1]]


def test_affine_functions_are_rounded_once():
    """(1 + 2^-12)^2 - 1 has 25 bits: rounding the product first would lose the last."""
    near = np.float32(1 + 2.0**-12)
    op = Op("affine", "", (0,), {}, {"scale": np.array([near]), "shift": np.array([-1], np.float32)})
    assert run(op, np.array([[near]])).item() == 2.0**-11 + 2.0**-24


def test_elementwise_functions_are_torchs():
    x = (whole_numbers(50, 3, 2, 2) / 3).astype(np.float32)
    slope = np.array([0.25, -1.5, 0.0], np.float32)
    assert np.array_equal(run(Op("relu", "", (0,)), x), torch.relu(torch.from_numpy(x)).numpy())
    wanted = torch.prelu(torch.from_numpy(x), torch.from_numpy(slope)).numpy()
    assert np.array_equal(run(Op("prelu", "", (0,), {}, {"slope": slope}), x), wanted)
    for low, high in ((-1, 1), (0.1, 6), (2, 2)):
        wanted = torch.nn.functional.hardtanh(torch.from_numpy(x), low, high + (low == high) * 1e-9).numpy()
        assert np.array_equal(run(Op("clamp", "", (0,), {}, {"limits": np.array([low, high], np.float32)}), x), wanted)
    wanted = torch.sigmoid(torch.from_numpy(x).double()).float().numpy()
    assert run(Op("sigmoid", "", (0,)), x) == pytest.approx(wanted, rel=2**-23)
    assert run(Op("sigmoid", "", (0,)), np.array([[-1e4, 1e4, 0]], np.float32)).tolist() == [[0, 1, 0.5]]


def test_pixels_become_the_numbers_of_their_channels_table():
    table = np.arange(512, dtype=np.float32).reshape(2, 256)
    x = np.array([[[[0, 255]], [[1, 2]]]], np.uint8)
    assert run(Op("normalise", "", (0,), {}, {"table": table}), x).tolist() == [[[[0, 255]], [[257, 258]]]]


def test_parts_borders_and_features():
    x = np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2)
    assert run(Op("slice", "", (0,), {"start": 1, "stop": 3}), x).tolist() == x[:, 1:3].tolist()
    around = run(Op("pad", "", (0,), {"rows": [1, 0], "columns": [0, 2], "pad_value": -1}), x)
    assert around[0, 0].tolist() == [[-1, -1, -1, -1], [0, 1, -1, -1], [2, 3, -1, -1]]
    assert run(Op("flatten", "", (0,)), x, Value("real", (12,))).tolist() == [list(range(12))]


def test_real_sums_do_not_depend_on_their_order():
    """2^60 + 1 - 2^60 in any order is 1."""
    for order in itertools.permutations([2.0**60, 1.0, -(2.0**60)]):
        op = Op("linear", "", (0,), {"outputs": 1}, {"weight": np.array([order], np.float32)})
        assert run(op, np.ones((1, 3), np.float32), Value("real", (1,))).item() == 1
