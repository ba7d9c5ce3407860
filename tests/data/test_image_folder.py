import os

import numpy as np
import pytest
import torch
from PIL import Image

from bnn_train.config.data import DataConfig
from bnn_train.data import datasets, image_folder
from bnn_train.errors import ConfigError


def paint(path, seed=0, size=(8, 6)):
    """An image of (width, height) `size` in random colours; returns its pixels (H, W, 3)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def load(tmp_path):
    def function(root="pictures", **values):
        config = DataConfig("image_folder", root=str(tmp_path / root), cache_dir=str(tmp_path / "cache"), **values)
        return datasets.load(config, torch.device("cpu"))

    return function


@pytest.fixture
def pictures(tmp_path):
    for number, name in enumerate(("cat", "dog")):
        for i in range(10):
            paint(tmp_path / "pictures" / name / f"{i}.png", seed=100 * number + i)
    return tmp_path / "pictures"


def test_class_folders_are_split_into_train_and_test(load, pictures):
    data = load()
    assert (len(data.train), len(data.test), data.classes, data.image_shape) == (16, 4, ["cat", "dog"], (3, 6, 8))
    assert torch.bincount(data.test.labels).tolist() == [2, 2]
    everything = torch.cat([data.train.images, data.test.images])
    by_hand = np.stack([np.asarray(Image.open(p)).transpose(2, 0, 1) for p in pictures.rglob("*.png")])
    assert sorted(map(bytes, everything.numpy())) == sorted(map(bytes, by_hand))


@pytest.mark.parametrize("name", ["test", "val"])
def test_train_and_test_folders_are_kept_apart(load, tmp_path, name):
    for part, count in (("train", 3), (name, 2)):
        for i in range(count):
            paint(tmp_path / "pictures" / part / "a" / f"{i}.png", seed=i)
            paint(tmp_path / "pictures" / part / "b" / "deeper" / f"{i}.JPG", seed=i)
    data = load()
    assert (data.train.labels.tolist(), data.test.labels.tolist()) == ([0, 0, 0, 1, 1, 1], [0, 0, 1, 1])


def test_images_are_cropped_to_the_middle_and_resized(load, tmp_path):
    for name in ("a", "b"):
        for i in range(3):
            paint(tmp_path / "pictures" / name / f"{i}.png", size=(20 + i, 10))
    assert load(image_size=7).image_shape == (3, 7, 7)
    assert load(image_size=7, grayscale=True).image_shape == (1, 7, 7)
    pixels = np.full((10, 30, 3), 255, np.uint8)
    pixels[:, 10:20] = 7
    for name in ("a", "b"):
        for i in range(2):
            (tmp_path / "wide" / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "wide" / name / f"{i}.png")
    assert load("wide", image_size=10).train.images.unique().tolist() == [7]


def test_the_cache_serves_until_a_file_changes(load, pictures, monkeypatch):
    first = load()
    monkeypatch.setattr(image_folder, "decode", None)  # decoding again would fail
    assert torch.equal(load().train.images, first.train.images)
    monkeypatch.undo()
    changed = pictures / "cat" / "3.png"
    pixels = paint(changed, seed=999)
    os.utime(changed, (1, 1))
    data = load()
    found = torch.cat([data.train.images, data.test.images]).numpy()
    assert any(np.array_equal(image, pixels.transpose(2, 0, 1)) for image in found)
    (pictures / "dog" / "5.png").unlink()
    assert len(load().train) + len(load().test) == 19


def test_a_cut_cache_file_is_made_again(load, pictures, tmp_path):
    first = load()
    (cache,) = (tmp_path / "cache").iterdir()
    cache.write_bytes(cache.read_bytes()[:100])
    assert torch.equal(load().train.images, first.train.images)


def test_processes_decode_the_same(load, pictures, monkeypatch, tmp_path):
    first = load()
    monkeypatch.setattr(image_folder, "_FILES_WORTH_PROCESSES", 1)
    for cache in (tmp_path / "cache").iterdir():
        cache.unlink()
    assert torch.equal(load().train.images, first.train.images)
    (pictures / "dog" / "bad.png").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match=r"bad\.png is not a readable image"):
        load()


def test_a_missing_folder(load):
    with pytest.raises(ConfigError, match=r"data\.root=.*nowhere: is not a folder"):
        load("nowhere")


def test_one_class_or_none(load, tmp_path):
    paint(tmp_path / "one" / "cat" / "1.png")
    with pytest.raises(ConfigError, match="holds only the class cat"):
        load("one")
    (tmp_path / "none").mkdir()
    with pytest.raises(ConfigError, match="holds no class folder"):
        load("none")


def test_a_class_without_images(load, pictures):
    (pictures / "bird").mkdir()
    (pictures / "bird" / "notes.txt").write_text("soon")
    with pytest.raises(ConfigError, match=r"class folder .*bird holds no image"):
        load()


@pytest.mark.parametrize("content", [b"", b"not an image", "cut"])
def test_an_unreadable_image_is_named(load, pictures, content):
    path = pictures / "dog" / "4.png"
    path.write_bytes(path.read_bytes()[:-60] if content == "cut" else content)
    with pytest.raises(ConfigError, match=r"dog.4\.png is not a readable image"):
        load()


def test_images_of_different_sizes(load, pictures):
    paint(pictures / "dog" / "4.png", size=(9, 9))
    with pytest.raises(
        ConfigError, match=r"data\.image_size=null: the images differ in size, 8x6 \(cat/0\.png\) and 9x9 \(dog/4\.png\)"
    ):
        load()
    assert load(image_size=8).image_shape == (3, 8, 8)


def test_train_and_test_with_different_classes(load, tmp_path):
    for part, names in (("train", "ab"), ("test", "abc")):
        for name in names:
            paint(tmp_path / "pictures" / part / name / "1.png")
    with pytest.raises(ConfigError, match=r"must hold the same classes; only one has c"):
        load()


def test_a_cache_that_cannot_be_written(load, pictures, tmp_path):
    (tmp_path / "cache").write_text("a file, not a folder")
    with pytest.raises(ConfigError, match=r"data\.cache_dir=.*decoded images cannot be stored there"):
        load()
