"""Steps of one number each, and pools of numbers, channels last: the plain reference's numbers, whatever the shape and kind."""

import numpy as np
import pytest

from bnn_train.deploy import elementwise, reference, steps
from bnn_train.deploy.infer import result_of
from bnn_train.deploy.layout import Layout, features, from_plain, to_plain
from bnn_train.deploy.packed import Op, Value

IMAGE, FEATURES = (4, 3, 5), (6,)


def values(kind, shape, seed=0):
    random = np.random.default_rng(seed)
    if kind == "whole":
        return random.integers(-(2**25), 2**25, (7, *shape)).astype(np.int32)  # float32 rounds some of them
    x = random.normal(size=(7, *shape)).astype(np.float32)
    x.reshape(7, -1)[:, 0] = [0, -0.0, 1, -1, 1e-45, 3e38, -3e38]
    return x


def check(make, op, *given):
    """given: (kind, shape) of each input."""
    known = [Value(kind, shape, 2**25) for kind, shape in given]
    result = result_of(op, known)
    layouts = [Layout(kind, shape) if len(shape) == 3 else features(kind, shape[0]) for kind, shape in given]
    plain = [values(kind, shape, seed) for seed, (kind, shape) in enumerate(given)]
    step, layout = make(op, result, *layouts)
    with np.errstate(over="ignore"):
        found = step(*(from_plain(x, of) for x, of in zip(plain, layouts, strict=True)))
        expected = reference.OPERATIONS[op.kind](op, result, *plain)
    assert (layout.kind, layout.shape) == (result.kind, result.shape)
    assert np.array_equal(to_plain(found, layout), expected)
    assert found.dtype == expected.dtype


@pytest.mark.parametrize("shape", [IMAGE, FEATURES], ids=["image", "features"])
@pytest.mark.parametrize("kind", ["whole", "real"])
def test_functions_of_one_number(kind, shape):
    numbers = np.linspace(-1.5, 2, shape[0]).astype(np.float32)
    for slope in (np.abs(numbers) / 2, numbers, -np.abs(numbers), np.where(numbers < 0, 0, 0.25).astype(np.float32)):
        check(elementwise.prelu, Op("prelu", "", (0,), {}, {"slope": slope}), (kind, shape))
    for scale in (numbers, np.ones_like(numbers)):
        check(elementwise.affine, Op("affine", "", (0,), {}, {"scale": scale, "shift": numbers / 3}), (kind, shape))
    for limits in ([-1, 1], [0.1, 2**24 + 2], [-3, -3]):
        check(elementwise.clamp, Op("clamp", "", (0,), {}, {"limits": np.array(limits, np.float32)}), (kind, shape))
    check(elementwise.relu, Op("relu", "", (0,)), (kind, shape))
    check(elementwise.sigmoid, Op("sigmoid", "", (0,)), (kind, shape))


@pytest.mark.parametrize("kinds", [("real", "real"), ("whole", "real"), ("whole", "whole")], ids=" ".join)
def test_two_numbers_of_which_one_may_be_of_each_image(kinds):
    for shape in (IMAGE, (4, 1, 1), (1, 3, 5), (1, 1, 1)):
        for kind in ("add", "multiply"):
            check(elementwise.pair, Op(kind, "", (0, 1)), (kinds[0], IMAGE), (kinds[1], shape))


@pytest.mark.parametrize("kind", ["whole", "real"])
@pytest.mark.parametrize("shape", [IMAGE, FEATURES], ids=["image", "features"])
def test_parts_put_together_and_cut(kind, shape):
    check(elementwise.concatenate, Op("concatenate", "", (0, 1, 0)), (kind, shape), (kind, shape), (kind, shape))
    check(elementwise.cut, Op("slice", "", (0,), {"start": 1, "stop": 3}), (kind, shape))


@pytest.mark.parametrize("kind", ["whole", "real"])
@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("padding", [0, 1])
def test_the_largest_of_a_window(kind, ceil, padding):
    for stride in (1, 2, 3):
        settings = {"kernel": [2, 3], "stride": [stride, 2], "padding": [padding, padding], "ceil": ceil}
        check(steps.max_pool, Op("max_pool", "", (0,), settings), (kind, IMAGE))
