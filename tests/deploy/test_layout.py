"""Where each feature lies, and back."""

import numpy as np
import pytest

from bnn_train.deploy.layout import Layout, features, flattened, from_plain, in_order, padded, to_plain

SHAPE = (11, 2, 3)


def plain_values(kind, shape, count=4):
    random = np.random.default_rng(0)
    if kind == "bits":
        return random.choice(np.array([-1, 1], np.int8), (count, *shape))
    if kind == "bytes":
        return random.integers(0, 256, (count, *shape), dtype=np.uint8)
    return random.integers(-99, 99, (count, *shape)).astype(np.int32 if kind == "whole" else np.float32)


@pytest.mark.parametrize("kind", ["bytes", "bits", "whole", "real"])
@pytest.mark.parametrize("channels", [1, 7, 8, 9, 16])
def test_images_and_features_come_back(kind, channels):
    for layout in (Layout(kind, (channels, 2, 3)), features(kind, channels)):
        values = plain_values(kind, layout.shape)
        back = to_plain(from_plain(values, layout), layout)
        assert np.array_equal(back, values)
        assert back.dtype == values.dtype


@pytest.mark.parametrize("kind", ["bytes", "bits", "whole", "real"])
@pytest.mark.parametrize("shape", [SHAPE, (8, 2, 2), (3, 1, 1), (16, 1, 1), (1, 4, 4)])
def test_an_image_seen_as_features_has_them_in_their_own_order_again(kind, shape):
    image = Layout(kind, shape)
    values = plain_values(kind, shape)
    flat = flattened(image)
    memory = from_plain(values, image)
    assert np.array_equal(to_plain(memory.reshape(len(values), -1), flat), values.reshape(len(values), -1))
    assert flattened(flat) is flat


def test_each_feature_is_in_the_order_once_and_padding_is_minus_one():
    order = flattened(Layout("bits", SHAPE)).order
    assert len(order) == 2 * 3 * padded(11)
    assert sorted(order[order >= 0]) == list(range(66))
    assert (order.reshape(6, 16)[:, 11:] == -1).all()
    assert order[:3].tolist() == [0, 6, 12]  # the first place's channels


@pytest.mark.parametrize(("layout", "plain"), [
    (features("bits", 5), True),
    (features("real", 5), True),
    (Layout("real", SHAPE), True),
    (flattened(Layout("bytes", SHAPE)), True),
    (flattened(Layout("real", SHAPE)), False),
    (flattened(Layout("real", (11, 1, 1))), True),
    (flattened(Layout("bits", (11, 1, 1))), True),
    (flattened(Layout("bits", (11, 2, 1))), False),
    (flattened(Layout("bits", (1, 2, 4))), False),
])  # fmt: skip
def test_plain_is_what_needs_no_other_order(layout, plain):
    assert layout.is_plain == plain


def test_weights_in_the_order_of_memory_give_the_same_product():
    values = plain_values("bits", SHAPE)
    weight = np.random.default_rng(1).choice([-1, 1], (5, 66))
    layout = flattened(Layout("bits", SHAPE))
    memory = 2 * np.unpackbits(from_plain(values, Layout("bits", SHAPE)).reshape(4, -1), axis=1).astype(int) - 1
    assert np.array_equal(memory @ in_order(weight, layout).T, values.reshape(4, -1) @ weight.T)
    assert in_order(weight, Layout("bits", SHAPE)) is weight
