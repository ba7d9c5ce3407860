import math

import numpy as np
import pytest
from PIL import Image

from bnn_train.data import depth
from bnn_train.data.depth import Deep, Scale


def deep(bits, low, high):
    return Deep((3, 8, 8), bits, low, high)


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ([(0, 1)], (0, 1)),
        ([(0.2, 0.21)], (0, 1)),
        ([(0, 0.5), (0.5, 2)], (0, 255)),
        ([(0, 255)], (0, 255)),
        ([(0, 256)], (0, 256)),
        ([(-1, 1)], (-1, 1)),
        ([(20000, 30000), (50000, 60000)], (20000, 60000)),
        ([(math.inf, -math.inf), (0, 300)], (0, 300)),
    ],
)
def test_the_scale_of_32_bits_and_floats_follows_from_all_images(ends, expected):
    scales = depth.scales([deep(32, *pair) for pair in ends] + [deep(16, 0, 65535)])
    assert scales == {32: Scale(*expected), 16: Scale(0, 65535)}


@pytest.mark.parametrize(
    ("values", "scale", "expected"),
    [
        ([0, 0.5, 1], (0, 1), [0, 128, 255]),
        ([0, 127, 255], (0, 255), [0, 127, 255]),
        ([-1, 0, 1], (-1, 1), [0, 128, 255]),
        ([math.nan, math.inf, -math.inf], (0, 1), [0, 255, 0]),
        ([7, 7, 7], (7, 7), [0, 0, 0]),
    ],
)
def test_values_on_a_scale(values, scale, expected):
    image = Image.fromarray(np.array([values], np.float32))
    assert np.asarray(depth.to_bytes(image, Scale(*scale))).tolist() == [expected]


def test_every_value_of_16_bits():
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    eight = np.asarray(depth.to_bytes(Image.fromarray(values), depth.scales([])[16]))
    assert np.array_equal(eight, np.rint(values / 257))


@pytest.mark.parametrize(
    ("mode", "file_format", "bits"),
    [
        ("I;16", "PNG", 16),
        ("I;16B", "TIFF", 16),
        ("I", "PNG", 16),
        ("I", "PPM", 16),
        ("I", "TIFF", 32),
        ("F", "TIFF", 32),
        ("L", "PNG", 8),
    ],
)
def test_bits(mode, file_format, bits):
    assert depth.bits(mode, file_format) == bits


def test_what_is_said_of_them():
    assert depth.described([]) == []
    assert depth.described([deep(16, 0, 60000), deep(32, 0, 1), deep(32, 0.5, 0.6)]) == [
        "1 image of 16 bits on one scale: 0 is black, 65,535 white",
        "2 images of 32 bits or floats on one scale: 0 is black, 1 white",
    ]
    (line,) = depth.described([deep(16, 0, 4000)])
    assert line.endswith("their values, 0 to 4,000, use less than a 16th of it: scale them up for more contrast")
