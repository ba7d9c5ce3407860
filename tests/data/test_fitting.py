import itertools

import numpy as np
import pytest
from PIL import Image, ImageOps

from bnn_train.data.fitting import BACKGROUND, FITS, fitted, within


def noise(width, height, mode="RGB"):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_each_way_on_two_halves(mode):
    """4 wide and 2 high, black and white: cropped to a square both halves are left, whole it has a border of grey."""
    image = Image.fromarray(np.uint8([[0, 0, 255, 255]] * 2)).convert(mode)
    found = {how: np.asarray(fitted(image, (4, 4), how).convert("L")) for how in FITS}
    assert found["pad"].tolist() == [[BACKGROUND] * 4, [0, 0, 255, 255], [0, 0, 255, 255], [BACKGROUND] * 4]
    assert found["stretch"].tolist() == [[0, 0, 255, 255]] * 4
    assert found["crop"][:, [0, 3]].tolist() == [[0, 255]] * 4
    assert np.array_equal(found["crop"], np.asarray(ImageOps.fit(image, (4, 4)).convert("L")))


@pytest.mark.parametrize("how", FITS)
def test_an_image_of_the_right_size_stays_as_it_is(how):
    image = noise(6, 4)
    assert fitted(image, (6, 4), how) is image


@pytest.mark.parametrize("how", FITS)
def test_any_image_comes_to_any_size(how):
    for (width, height), size in itertools.product([(1, 1), (500, 1), (1, 500), (7, 5)], [(1, 1), (3, 9), (9, 3), (8, 8)]):
        assert fitted(noise(width, height), size, how).size == size


def test_the_same_proportions_are_the_same_in_every_way():
    image = noise(12, 8)
    crop, pad, stretch = (np.asarray(fitted(image, (6, 4), how)) for how in FITS)
    assert np.array_equal(crop, pad)
    assert np.array_equal(pad, stretch)


def test_the_whole_image_is_as_large_as_there_is_room():
    for width, height, wide, high in itertools.product((1, 2, 3, 7, 50), repeat=4):
        found = within((width, height), (wide, high))
        assert wide in found[:1] or high in found[1:]
        assert found[0] <= wide
        assert found[1] <= high
        exact = (wide, wide * height / width) if width * high >= height * wide else (high * width / height, high)
        assert all(side == 1 or abs(side - whole) <= 0.5 for side, whole in zip(found, exact, strict=True))


def test_padding_is_pillow_s_where_no_side_vanishes():
    for width, height, size in itertools.product((5, 8, 21), (6, 8, 13), [(8, 8), (9, 5), (4, 12)]):
        image, ground = noise(width, height), (BACKGROUND,) * 3
        theirs = ImageOps.pad(image, size, color=ground, centering=(0.5, 0.5))
        inner = within(image.size, size)
        if ImageOps.contain(image, size).size == inner and not any((a - b) % 2 for a, b in zip(size, inner, strict=True)):
            assert np.array_equal(np.asarray(fitted(image, size, "pad")), np.asarray(theirs))
