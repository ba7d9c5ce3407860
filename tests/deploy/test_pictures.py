import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from bnn_train.deploy import pictures
from bnn_train.deploy.pictures import Failure, Picture, Prepared
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


def one(name, shape=(1, 4, 4), image_size=None):
    (found,) = pictures.prepared([Picture(str(name), Path(name))], shape, image_size)
    return found


def names(given):
    return [picture.name for picture in pictures.find(given)[0]]


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
    assert pictures.find(["-"]) == ([Picture("-", content)], [])
    (found,) = pictures.prepared([Picture("-", content)], (1, 4, 4), None)
    assert np.array_equal(found.pixels[0], noise(4, 4))


def test_a_folder_without_an_image_is_a_failure_beside_others_and_an_error_alone(save):
    Path("empty").mkdir()
    Path("words").mkdir()
    Path("words/notes.txt").write_text("no image")
    save("a.png", noise(2, 2))
    found, failures = pictures.find(["empty", "words", "a.png"])
    assert [picture.name for picture in found] == ["a.png"]
    left_out = "holds no image that Pillow reads; left out: 1 file that Pillow reads no image from (notes.txt)"
    assert failures == [Failure("empty", "holds no image that Pillow reads"), Failure("words", left_out)]
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
    (failure,) = pictures.find(["closed", "a.png"])[1]
    assert failure.name == "closed"
    assert failure.reason == f"{Path('closed').absolute()} cannot be read (permission denied); make it readable, or move it away"


@pytest.mark.skipif(os.name != "posix", reason="names of bytes")
def test_a_name_that_is_no_utf_8_can_be_printed(save):
    save("caf\udce9.png", noise(2, 2))
    for given in ("caf\udce9.png", "."):
        assert names([given]) == ["caf\\udce9.png"]
        assert not isinstance(next(pictures.prepared(pictures.find([given])[0], (1, 2, 2), None)), Failure)


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


def test_the_size_of_training_is_prepared_as_in_training(save, tmp_path):
    from bnn_train.config.data import DataConfig
    from bnn_train.data.decoding import decode_all

    found = one(save("x.png", noise(9, 7, 3)), (3, 4, 4), image_size=4)
    images, _ = decode_all([tmp_path / "x.png"], DataConfig("image_folder", root=str(tmp_path), image_size=4))
    assert not found.resized  # nothing that training did not do
    assert np.array_equal(found.pixels, images[0].numpy())


def test_16_bits_go_over_their_whole_range(save):
    name = save("x.png", np.array([[0, 20000, 65535]], np.uint16))
    assert one(name, (1, 1, 3)).pixels.tolist() == [[[0, 78, 255]]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[0.0, 1.0], [0.5, 1.0]], [[0, 255], [128, 255]]),
        ([[0.0, 1.0], [100.0, 255.0]], [[0, 1], [100, 255]]),
        ([[-1.0, 1.0], [1.0, 3.0]], [[0, 128], [128, 255]]),
    ],
)
def test_floats_are_on_one_scale_for_all_pictures_and_come_last(save, values, expected):
    for number, pair in enumerate(values):
        save(f"{number}.tif", np.array([pair], np.float32))
    save("8.png", np.array([[1, 2]], np.uint8))
    found = pictures.find(["0.tif", "8.png", "1.tif"])[0]
    assert [(one.number, one.pixels.flatten().tolist()) for one in pictures.prepared(found, (1, 1, 2), None)] == [
        (1, [1, 2]),
        (0, expected[0]),
        (2, expected[1]),
    ]


def first_pixel(images):
    """Logits that say which image they are of: of class 0 its first pixel, of class 1 always 100."""
    return np.float32([[image[0, 0, 0], 100] for image in images])


def test_predictions_are_in_the_order_of_the_pictures_in_batches_and_failures_beside_them(save, monkeypatch):
    monkeypatch.setattr(pictures, "BATCH", 2)
    sizes = []
    for number, value in enumerate((10, 200, 99, 101)):
        save(f"{number}.png", np.array([[value]], np.uint8))
    save("float.tif", np.array([[255]], np.float32))
    Path("broken.png").write_bytes(b"words")
    given = ["0.png", "float.tif", "1.png", "broken.png", "2.png", "3.png"]

    def logits(images):
        sizes.append(len(images))
        return first_pixel(images)

    seen = []
    outcome = pictures.predict(logits, pictures.find(given)[0], (1, 1, 1), bar=lambda items: (seen.append(i) or i for i in items))
    assert [one.file for one in outcome.predictions] == ["0.png", "float.tif", "1.png", "2.png", "3.png"]
    assert [one.ranking for one in outcome.predictions] == [[1, 0], [0, 1], [0, 1], [1, 0], [0, 1]]
    assert sizes == [2, 2, 1]
    assert len(seen) == len(given)
    assert outcome.failures == [Failure("broken.png", "not a readable image (in no format that Pillow knows)")]
    assert outcome.resized == 0


def test_resized_pictures_are_counted(save):
    given = [save("small.png", noise(1, 1)), save("large.png", noise(5, 9)), save("other.png", noise(3, 2))]
    assert pictures.predict(first_pixel, pictures.find(given)[0], (1, 1, 1)).resized == 2


def test_probabilities_and_ranking_by_hand(save):
    found = pictures.find([save("x.png", noise(1, 1))])[0]

    def of(*logits):
        return pictures.predict(lambda images: np.float32([logits]), found, (1, 1, 1)).predictions[0]

    assert of(0, 0, 0, 0) == ("x.png", [0, 1, 2, 3], [0.25] * 4)  # of equals the first
    assert of(1000, -1000, 1000).probabilities == [0.5, 0, 0.5]
    assert of(0, np.log(3)).probabilities == pytest.approx([0.25, 0.75], rel=1e-7)
    assert of(16777216, 16777218).ranking == [1, 0]
    third = of(0, 0, 0).probabilities[0]
    assert (np.float32(third), str(third)) == (np.float32(1 / 3), "0.33333334")  # the digits of a float32, no more


def test_images_of_other_channels_are_refused():
    with pytest.raises(ConfigError, match=r"image_shape=\[4,2,2\]: pictures have 1 or 3 channels"):
        pictures.predict(first_pixel, [], (4, 2, 2))


def test_pictures_need_numpy_and_pillow_alone():
    code = """
import sys
from bnn_train.deploy import pictures
packages = {name.partition(".")[0] for name in sys.modules}
assert not packages & {"torch", "torchvision", "omegaconf", "hydra", "yaml", "tqdm"}, packages
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
