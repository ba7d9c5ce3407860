"""Networks that the runner's fast ways must not take for what they are not."""

import numpy as np
import pytest
from fuzz_networks import small_networks

from bnn_train.deploy import reference
from bnn_train.deploy.packed import Op, Packed
from bnn_train.deploy.runner import Network
from bnn_train.kernels.products import installed


def assert_as_the_reference(packed):
    images = np.random.default_rng(1).integers(0, 256, (5, *packed.image_shape), np.uint8)
    expected = reference.run(packed, images)[-1].astype(np.float32)
    for engine in installed():
        np.testing.assert_array_equal(Network(packed, threads=1, engine=engine).logits(images), expected)


@pytest.mark.parametrize("which", range(3))
def test_the_fuzzers_networks_have_the_references_scores(which):
    assert_as_the_reference(small_networks()[which])


def test_a_sign_behind_a_product_in_groups_is_not_lost():
    pair = {name: [size, size] for name, size in (("kernel", 1), ("stride", 1), ("padding", 0), ("dilation", 1))}
    bits = np.array([[0x80], [0], [0x80]], np.uint8)
    ops = (
        Op("conv2d", "depthwise", (0,), {"outputs": 3, "groups": 3, "pad_value": 0, **pair}, {"weight": bits}),
        Op("sign", "sign", (1,), {}, {"threshold": np.array([100, -100, 50], np.int16)}),
        Op("flatten", "flatten", (2,)),
        Op("linear", "head", (3,), {"outputs": 1}, {"weight": np.array([[1, 2, 4]], np.float32)}),
    )
    assert_as_the_reference(Packed((3, 1, 1), ops, {"classes": ["one"]}))


def test_a_mean_with_padding_is_not_that_of_the_whole_image():
    pool = {"kernel": [2, 2], "stride": [3, 1], "padding": [1, 0], "ceil": False, "count_padding": False}
    ops = (
        Op("normalise", "normalise", (0,), {}, {"table": np.arange(256, dtype=np.float32)[None]}),
        Op("avg_pool", "mean", (1,), pool),
        Op("flatten", "flatten", (2,)),
        Op("linear", "head", (3,), {"outputs": 1}, {"weight": np.ones((1, 1), np.float32)}),
    )
    assert_as_the_reference(Packed((1, 2, 2), ops, {"classes": ["one"]}))
