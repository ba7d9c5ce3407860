"""From folders to splits, through all of it: what one file does is tested beside its name."""

import numpy as np
import pytest
import torch
from PIL import Image

from bnn_train.data import datasets
from bnn_train.errors import ConfigError


def test_class_folders_are_split_into_train_and_test(load, pictures):
    data = load()
    assert (len(data.train), len(data.test), data.classes, data.image_shape) == (16, 4, ["cat", "dog"], (3, 6, 8))
    assert torch.bincount(data.test.labels).tolist() == [2, 2]
    everything = torch.cat([data.train.images, data.test.images])
    by_hand = np.stack([np.asarray(Image.open(p)).transpose(2, 0, 1) for p in pictures.rglob("*.png")])
    assert sorted(map(bytes, everything.numpy())) == sorted(map(bytes, by_hand))


def test_images_are_cropped_to_the_middle_and_resized(load, tmp_path, paint):
    for name in ("a", "b"):
        for i in range(3):
            paint(tmp_path / "pictures" / name / f"{i}.png", size=(20 + i, 10))
    assert load(image_size=7).image_shape == (3, 7, 7)
    assert load(image_size=7, grayscale=True).image_shape == (1, 7, 7)
    assert load(image_size=[5, 7]).image_shape == (3, 5, 7)
    pixels = np.full((10, 30, 3), 255, np.uint8)
    pixels[:, 10:20] = 7
    for name in ("a", "b"):
        for i in range(2):
            (tmp_path / "wide" / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "wide" / name / f"{i}.png")
    assert load("wide", image_size=10).train.images.unique().tolist() == [7]


def test_a_class_without_images(load, pictures):
    (pictures / "bird").mkdir()
    (pictures / "bird" / "notes.txt").write_text("soon")
    with pytest.raises(
        ConfigError, match=r"class folder .*bird holds no image that Pillow reads; left out: 1 file .*\(notes\.txt\)"
    ):
        load()


def test_train_and_test_with_different_classes(load, tmp_path, paint):
    for part, names in (("train", "ab"), ("test", "abc")):
        for name in names:
            paint(tmp_path / "pictures" / part / name / "1.png")
    with pytest.raises(ConfigError, match=r"must hold the same classes; only one has c"):
        load()


def test_a_class_of_one_image_cannot_be_trained_and_tested(load, pictures, paint):
    paint(pictures / "bird" / "1.png")
    paint(pictures / "newt" / "1.png")
    with pytest.raises(ConfigError, match="bird, newt have a single image"):
        load()


def test_what_is_left_out_is_said_once(load, pictures, said):
    (pictures / "dog" / "notes.txt").write_text("soon")
    for i in range(5):
        (pictures / "cat" / f"x{i}.png").symlink_to("/nowhere")
    (pictures / "README.png").write_bytes((pictures / "cat" / "1.png").read_bytes())
    load()
    assert said() == [
        "image_folder: left out: 1 image outside the class folders (README.png), 5 links to nowhere (cat/x0.png, cat/x1.png, "
        "cat/x2.png and 2 more), 1 file that Pillow reads no image from (dog/notes.txt)"
    ]


def test_a_folder_without_oddities_is_read_without_a_word(load, pictures, said):
    load()
    load()
    assert said() == []


def test_names_that_are_no_utf_8(load, pictures, paint, said):
    strange = "caf\udce9"
    for i in range(3):
        paint(pictures / strange / f"{i}\udcff.png", seed=i)
    data = load()
    assert data.classes == [r"caf\udce9", "cat", "dog"]
    assert any(r"caf\udce9/" in line and line.isascii() for line in said())


def test_val_is_held_out_beside_test(load, tmp_path, paint):
    for number, part in enumerate(("train", "Valid", "test")):
        for name in "ab":
            for i in range(3 - number):
                paint(tmp_path / "pictures" / part / name / f"{i}.png", seed=10 * number + i)
    data = load()
    assert (len(data.train), len(data.val), len(data.test)) == (6, 4, 2)
    assert data.val.labels.tolist() == [0, 0, 1, 1]
    with pytest.raises(ConfigError, match=r"data\.val_size=2: Valid/ holds the images that are held out already"):
        load(val_size=2)


@pytest.mark.parametrize("values", [{}, {"grayscale": True}, {"image_size": 5}])
def test_a_peek_shows_what_is_read(load, config, tmp_path, values):
    for name in "ab":
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(3):
            exif = Image.Exif()
            exif[0x0112] = 6  # turned by a quarter: 8x6 is shown as 6x8
            Image.effect_noise((8, 6), 50).save(tmp_path / "pictures" / name / f"{i}.jpg", exif=exif)
    shape, classes = datasets.peek(config(**values))
    assert shape == load(**values).image_shape
    assert classes == 2
    if not values:
        assert shape == (3, 8, 6)
