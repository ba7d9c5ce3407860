import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from bnn_train.data.fitting import FITS
from bnn_train.deploy import pictures
from bnn_train.deploy.pictures import Failure, Picture, Prepared, Wanted
from bnn_train.errors import ConfigError

ROOT = Path(__file__).parent.parent.parent


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def save(tmp_path):
    """save("cats/1.png", pixels) writes a file in tmp_path, the current directory; returns its path there."""

    def function(name, pixels):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        return name

    return function


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def one(name, shape=(1, 4, 4), **training):
    (found,) = pictures.prepared([Picture(str(name), Path(name))], Wanted(shape, **training))
    return found


def names(given):
    return [picture.name for picture in pictures.find(given).pictures]


def test_files_in_the_order_given_and_folders_with_all_below_them(save):
    for name in ("b.png", "a.png", "cats/2.png", "cats/deep/1.png", "cats/.hidden.png", "cats/__MACOSX/3.png"):
        save(name, noise(2, 2))
    Path("cats/notes.txt").write_text("no image")
    assert names(["b.png", "cats", "a.png", "b.png"]) == ["b.png", "cats/2.png", "cats/deep/1.png", "a.png", "b.png"]


def test_a_file_is_taken_whatever_its_name_and_whether_it_is_there(save):
    Path(save(".hidden.png", noise(2, 2))).rename(".hidden")
    assert names([".hidden", "nowhere.png"]) == [".hidden", "nowhere.png"]
    assert isinstance(one(".hidden"), Prepared)
    assert one("nowhere.png") == Failure("nowhere.png", "not a readable image (no such file or directory)")


def test_standard_input(save, monkeypatch):
    content = Path(save("x.png", noise(4, 4))).read_bytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert pictures.find(["-"]) == ([Picture("-", content)], [], [])
    (found,) = pictures.prepared([Picture("-", content)], Wanted((1, 4, 4)))
    assert np.array_equal(found.pixels[0], noise(4, 4))


def test_a_folder_without_an_image_is_a_failure_beside_others_and_an_error_alone(save):
    Path("empty").mkdir()
    Path("words").mkdir()
    Path("words/notes.txt").write_text("no image")
    save("a.png", noise(2, 2))
    found, failures, notes = pictures.find(["empty", "words", "a.png"])
    assert [picture.name for picture in found] == ["a.png"]
    left_out = "holds no image that Pillow reads; left out: 1 file that Pillow reads no image from (notes.txt)"
    assert failures == [Failure("empty", "holds no image that Pillow reads"), Failure("words", left_out)]
    assert notes == []
    with pytest.raises(ConfigError, match=r"^IMAGE=words: holds no image that Pillow reads; left out: 1 file"):
        pictures.find(["words"])
    with pytest.raises(ConfigError, match=r"^IMAGE=empty words: holds no image that Pillow reads$"):
        pictures.find(["empty", "words"])


def test_a_folder_that_may_not_be_read(save, monkeypatch):
    def forbidden(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    save("a.png", noise(2, 2))
    Path("closed").mkdir()
    monkeypatch.setattr(os, "listdir", forbidden)
    (failure,) = pictures.find(["closed", "a.png"]).failures
    assert failure.name == "closed"
    assert failure.reason == f"{Path('closed').absolute()} cannot be read (permission denied); make it readable, or move it away"


@pytest.mark.skipif(os.name != "posix", reason="names of bytes")
def test_a_name_that_is_no_utf_8_can_be_printed(save):
    save("caf\udce9.png", noise(2, 2))
    for given in ("caf\udce9.png", "."):
        assert names([given]) == ["caf\\udce9.png"]
        assert not isinstance(next(pictures.prepared(pictures.find([given]).pictures, Wanted((1, 2, 2)))), Failure)


def test_an_image_of_the_right_size_stays_as_it_is(save):
    found = one(save("x.png", noise(4, 6, 3)), (3, 4, 6))
    assert not found.resized
    assert np.array_equal(found.pixels, noise(4, 6, 3).transpose(2, 0, 1))


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_another_size_is_fitted_and_colours_converted_to_the_networks(save, channels, mode):
    name = save("x.png", noise(9, 7, 3))
    found = one(name, (channels, 4, 5))
    assert found.resized
    expected = np.asarray(ImageOps.fit(Image.open(name).convert(mode), (5, 4)))
    assert np.array_equal(found.pixels, expected[None] if channels == 1 else expected.transpose(2, 0, 1))


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [4, [4, 6]])
def test_the_size_of_training_is_prepared_as_in_training(save, tmp_path, size, fit):
    from bnn_train.config.data import DataConfig
    from bnn_train.data.decoding import decode_all

    config = DataConfig("image_folder", root=str(tmp_path), image_size=size, fit=fit)
    name = save("x.png", noise(9, 7, 3))
    images, _ = decode_all([tmp_path / "x.png"], config)
    wanted = pictures.wanted({"data": vars(config)}, tuple(images.shape[1:]))
    (found,) = pictures.prepared([Picture(name, Path(name))], wanted)
    assert not found.resized  # nothing that training did not do
    assert np.array_equal(pictures.read(name, wanted.shape, fit), found.pixels)
    assert np.array_equal(found.pixels, images[0].numpy())


def test_16_bits_go_over_their_whole_range(save):
    name = save("x.png", np.array([[0, 20000, 65535]], np.uint16))
    assert one(name, (1, 1, 3)).pixels.tolist() == [[[0, 78, 255]]]


@pytest.mark.parametrize(
    ("values", "scale", "expected"),
    [
        ([[0.0, 1.0], [0.5, 1.0]], (0, 1), [[0, 255], [128, 255]]),
        ([[0.0, 1.0], [100.0, 255.0]], (0, 255), [[0, 1], [100, 255]]),
        ([[-1.0, 1.0], [1.0, 3.0]], (-1, 3), [[0, 128], [128, 255]]),
    ],
)
def test_floats_are_on_one_scale_for_all_pictures_and_in_order(save, values, scale, expected):
    for number, pair in enumerate(values):
        save(f"{number}.tif", np.array([pair], np.float32))
    save("8.png", np.array([[1, 2]], np.uint8))
    save("16.png", np.array([[0, 65535]], np.uint16))
    Path("broken.tif").write_bytes(b"words")
    found = pictures.find(["8.png", "0.tif", "16.png", "8.png", "broken.tif", "1.tif"]).pictures
    eight, first, sixteen, again, broken, last = pictures.prepared(found, Wanted((1, 1, 2)))
    assert [one.pixels.flatten().tolist() for one in (first, last)] == expected
    assert [one.pixels.flatten().tolist() for one in (eight, sixteen, again)] == [[1, 2], [0, 255], [1, 2]]
    assert [one.scale for one in (eight, first, sixteen, again, last)] == [None, scale, None, None, scale]
    assert broken.name == "broken.tif"


def test_what_a_folder_leaves_out_is_said_as_in_training(save):
    save("photos/a.png", noise(2, 2))
    save("whole/a.png", noise(2, 2))
    Path("photos/notes.txt").write_text("no image")
    Path("photos/Thumbs.db").write_text("of the system")
    Path("photos/gone.png").symlink_to("nowhere.png")
    found = pictures.find(["photos", "whole"])
    assert [picture.name for picture in found.pictures] == ["photos/a.png", "whole/a.png"]
    assert found.failures == []
    left_out = "left out: 1 link to nowhere (gone.png), 1 file that Pillow reads no image from (notes.txt)"
    assert found.notes == [f"photos: {left_out}"]


@pytest.mark.parametrize(
    ("mode", "in_colour"),
    [*[(mode, False) for mode in ("1", "L", "LA", "I;16", "I", "F")], *[(mode, True) for mode in ("RGB", "RGBA", "CMYK", "LAB")]],
)
def test_a_picture_in_colours_is_made_grey_for_one_channel_unless_training_did_so(mode, in_colour):
    name = "x.png" if mode in ("LA", "RGBA") else "x.tif"
    Image.new(mode, (4, 4)).save(name)
    assert one(name).made_grey == in_colour
    assert not one(name, grayscale=True).made_grey
    assert not one(name, (3, 4, 4)).made_grey


def test_what_pillow_knows_is_an_image_whatever_its_name(save):
    Path(save("x.png", noise(2, 2))).rename("x.bnn")
    Path("words.png").write_text("words")
    Path("folder.png").mkdir()
    found = [pictures.is_image(Path(name)) for name in ("x.bnn", "words.png", "folder.png", "nowhere.png")]
    assert found == [True, False, False, False]


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 4, 4), (1, 4, 6), (3, 6, 4)])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "I;16", "F"])
def test_a_program_reads_an_image_as_bnn_predict_does(shape, mode):
    height, width = 9, 7
    image = Image.fromarray(noise(height, width)).convert("L" if mode in ("I;16", "F") else mode)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(noise(height, width, seed=1)))
    if mode == "I;16":
        image = Image.fromarray(noise(height, width).astype(np.uint16) * 257)
    if mode == "F":
        image = Image.fromarray(noise(height, width).astype(np.float32))
    image.save("x.tif")
    found = pictures.read("x.tif", shape)
    assert (found.shape, found.dtype) == (shape, np.uint8)
    assert np.array_equal(found, one("x.tif", shape).pixels)
    for given in (Path("x.tif"), Path("x.tif").read_bytes()):
        assert np.array_equal(pictures.read(given, list(shape)), found)


def test_a_program_reads_an_image_upright_and_over_grey():
    image = Image.fromarray(np.array([[0, 255]], np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees, clockwise
    image.save("x.png", exif=exif)
    assert pictures.read("x.png", (1, 2, 1)).tolist() == [[[0], [255]]]
    Image.new("RGBA", (1, 1), (255, 0, 0, 0)).save("clear.png")
    assert pictures.read("clear.png", (3, 1, 1)).flatten().tolist() == [128, 128, 128]


def test_a_program_is_told_of_what_is_no_image():
    Path("words.png").write_text("words")
    with pytest.raises(ConfigError, match=r"^image=words.png: not a readable image \(in no format that Pillow knows\)$"):
        pictures.read("words.png", (1, 2, 2))
    with pytest.raises(ConfigError, match=r"^image=bytes: not a readable image \(empty\)$"):
        pictures.read(b"", (1, 2, 2))
    with pytest.raises(ConfigError, match=r"^image_shape=\[4,2,2\]: pictures have 1 or 3 channels"):
        pictures.read("words.png", (4, 2, 2))


def test_pictures_need_numpy_and_pillow_alone():
    code = """
import sys
from bnn_train.deploy import pictures, predict
packages = {name.partition(".")[0] for name in sys.modules}
assert not packages & {"torch", "torchvision", "omegaconf", "hydra", "yaml", "tqdm"}, packages
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
