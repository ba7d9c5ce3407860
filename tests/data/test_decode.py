import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from bnn_train.data.decode import Unreadable, decode, refit
from bnn_train.data.depth import WHOLE, Deep, Scale
from bnn_train.data.fitting import BACKGROUND, FITS

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def saved(tmp_path):
    """saved(image, "x.png") is the path of the file."""

    def function(image, name, **options):
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return function


def noise(mode="RGB", size=(7, 5)):
    channels = len(Image.new(mode, (1, 1)).getbands())
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], channels), dtype=np.uint8)
    return Image.fromarray(values.squeeze()).convert(mode) if channels != 2 else Image.fromarray(values, "LA")


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "CMYK", "YCbCr", "HSV"])
@pytest.mark.parametrize("grayscale", [False, True])
def test_an_opaque_image_is_what_pillow_converts_it_to(saved, mode, grayscale):
    image = noise().convert(mode)
    if mode in ("CMYK", "YCbCr"):
        path = saved(image, "x.tif", compression="tiff_lzw")  # Pillow 12 cannot read its own uncompressed YCbCr
    else:
        path = saved(image.convert("RGB") if mode == "HSV" else image, "x.png")
    expected = np.asarray(Image.open(path).convert("L" if grayscale else "RGB"))
    assert np.array_equal(decode(path, grayscale=grayscale), expected[None] if grayscale else expected.transpose(2, 0, 1))


def test_a_jpeg_is_what_pillow_decodes(saved):
    path = saved(noise(size=(33, 21)), "x.jpg")
    assert np.array_equal(decode(path), np.asarray(Image.open(path)).transpose(2, 0, 1))


@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.webp", "x.tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_stands_upright(saved, name, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(noise(size=(24, 16)), name, exif=exif)
    turned = decode(path)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB")).transpose(2, 0, 1)
    assert turned.shape == ((3, 24, 16) if orientation > 4 else (3, 16, 24))
    assert np.array_equal(turned, expected)


def test_a_quarter_turn_by_hand(saved):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held so that the picture must be turned clockwise
    path = saved(Image.fromarray(np.array([[10, 20, 30], [40, 50, 60]], np.uint8)), "x.png", exif=exif)
    assert decode(path, grayscale=True).tolist() == [[[40, 10], [50, 20], [60, 30]]]


def test_a_damaged_orientation_turns_nothing(saved):
    path = saved(noise("L"), "x.png", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")
    assert np.array_equal(decode(path, grayscale=True)[0], np.asarray(noise("L")))


@pytest.mark.parametrize("ink", [0, 255])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_black_and_white_ink_on_nothing_can_be_seen(saved, ink, mode):
    image = Image.new("RGBA", (4, 1), (ink, ink, ink, 0))
    image.putpixel((1, 0), (ink, ink, ink, 255))
    path = saved(image.convert(mode), "x.png")
    assert decode(path, grayscale=True).tolist() == [[[BACKGROUND, ink, BACKGROUND, BACKGROUND]]]
    assert decode(path)[2].tolist() == [[BACKGROUND, ink, BACKGROUND, BACKGROUND]]


def test_half_transparent(saved):
    path = saved(Image.new("RGBA", (1, 1), (255, 0, 128, 128)), "x.png")
    assert decode(path).flatten().tolist() == [192, 64, 128]


@pytest.mark.parametrize(("mode", "key", "ink"), [("L", 7, 100), ("RGB", (7, 7, 7), (100, 100, 100)), ("1", 0, 1)])
def test_one_transparent_colour(saved, mode, key, ink):
    image = Image.new(mode, (2, 1), key)
    image.putpixel((1, 0), ink)
    path = saved(image, "x.png", transparency=key)
    assert decode(path, grayscale=True).tolist() == [[[BACKGROUND, 255 if mode == "1" else 100]]]


def test_a_lab_image(saved):
    path = saved(Image.new("LAB", (2, 1), (255, 128, 128)), "x.tif")  # the lightest, without colour
    assert decode(path, grayscale=True).tolist() == [[[255, 255]]]


def test_an_animation_shows_its_first_frame(saved):
    frames = [Image.new("L", (3, 2), value) for value in (10, 200)]
    for name in ("x.gif", "x.png", "x.tif"):
        path = saved(frames[0], name, save_all=True, append_images=frames[1:])
        assert np.unique(decode(path, grayscale=True)).tolist() == [10]


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.pgm"])
def test_16_bits_over_their_whole_range(saved, name):
    path = saved(Image.fromarray(np.array([[0, 20000, 65535]], np.uint16)), name)
    assert decode(path, grayscale=True) == Deep((1, 1, 3), 16, 0, 65535)
    assert decode(path, scales={16: Scale(0, 65535)}).tolist() == [[[0, 78, 255]]] * 3


def test_big_endian_16_bits(saved):
    path = saved(Image.new("I;16B", (2, 1), 257 * 9), "x.tif")
    assert decode(path, grayscale=True, scales={16: Scale(0, 65535)}).tolist() == [[[9, 9]]]


def test_16_bits_with_a_transparent_value(tmp_path):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">2I5B", 2, 1, 16, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"\0" + struct.pack(">2H", 500, 65535)))
    content = b"\x89PNG\r\n\x1a\n" + header + chunk(b"tRNS", struct.pack(">H", 500)) + pixels + chunk(b"IEND", b"")
    (tmp_path / "x.png").write_bytes(content)
    assert decode(tmp_path / "x.png", grayscale=True, scales={16: Scale(0, 65535)}).tolist() == [[[BACKGROUND, 255]]]


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_32_bits_and_floats(saved, dtype):
    path = saved(Image.fromarray(np.array([[-5, 0, 95]], dtype)), "x.tif")
    assert decode(path, grayscale=True) == Deep((1, 1, 3), 32, -5, 95)
    assert decode(path, grayscale=True, scales={32: Scale(-5, 95)}).tolist() == [[[0, 13, 255]]]


def test_a_deep_image_is_resized_like_any(saved):
    path = saved(Image.fromarray(np.full((6, 9), 65535, np.uint16)), "x.png")
    assert decode(path, size=(4, 4)) == Deep((3, 4, 4), 16, 65535, 65535)
    assert np.unique(decode(path, size=(4, 4), scales={16: Scale(0, 65535)})).tolist() == [255]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"words", "in no format that Pillow knows"), ("cut", "truncated"), ("lost", "no such file")],
)
def test_what_is_no_image_says_why(saved, content, reason):
    path = saved(noise(size=(40, 40)), "x.png")
    if content == "lost":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-2000] if content == "cut" else content)
    result = decode(path)
    assert isinstance(result, Unreadable)
    assert reason in result.reason
    assert str(path) not in result.reason


def test_an_image_of_too_many_pixels(saved, monkeypatch):
    path = saved(noise(size=(20, 20)), "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)
    assert not isinstance(decode(path), Unreadable)  # a warning of Pillow's own, and no more than that
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 150)
    assert decode(path) == Unreadable("of more than the 300 pixels that Pillow opens")


@pytest.mark.skipif(os.name != "posix", reason="names of bytes")
def test_a_name_that_is_no_utf_8(saved):
    path = saved(noise(), "caf\udce9.png")
    assert decode(path).shape == (3, 5, 7)


def test_the_bytes_of_a_file_are_read_as_the_file_is(saved):
    path = saved(noise(size=(33, 21)), "x.jpg")
    assert np.array_equal(decode(path.read_bytes(), (16, 16)), decode(path, (16, 16)))
    assert decode(b"") == Unreadable("empty")
    assert decode(b"words") == Unreadable("in no format that Pillow knows")


def test_an_image_waits_for_the_scale_of_its_bits_alone(saved):
    path = saved(Image.fromarray(np.array([[0, 0.5, 1]], np.float32)), "x.tif")
    assert decode(path, grayscale=True, scales={16: WHOLE}) == Deep((1, 1, 3), 32, 0, 1)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("grayscale", [False, True])
def test_fitting_afterwards_is_fitting_while_decoding(saved, grayscale, fit):
    path = saved(noise(size=(33, 21)), "x.png")
    assert np.array_equal(refit(decode(path, grayscale=grayscale), (9, 9), fit), decode(path, (9, 9), grayscale, fit=fit))
    assert refit(decode(path, grayscale=grayscale), (7, 11), fit).shape == (1 if grayscale else 3, 7, 11)


def test_decoding_needs_numpy_and_pillow_alone():
    code = """
import sys
from bnn_train.data import decode, image_files
packages = {name.partition(".")[0] for name in sys.modules}
assert not packages & {"torch", "torchvision", "omegaconf", "hydra", "yaml", "tqdm"}, packages
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
