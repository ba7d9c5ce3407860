"""Test images of another folder: which are read, and what is refused."""

import shutil

import pytest

from bnn_train.data import other_images
from bnn_train.errors import ConfigError

CLASSES, SHAPE = ["cat", "dog"], (3, 6, 8)


@pytest.fixture
def read(config):
    return lambda root="pictures", classes=CLASSES, shape=SHAPE, **values: other_images.read(config(root, **values), classes, shape)


def test_class_folders_are_read_whole(read, pictures):
    found = read()
    assert (found.split.labels.tolist(), found.folder, found.missing) == ([0] * 10 + [1] * 10, pictures, [])
    assert found.split.names[10] == "dog/0.png"
    assert len(read(test_limit=3).split) == 20  # which was said of the run's own test images


@pytest.mark.parametrize("parts", [("test",), ("train", "Test"), ("train", "val", "testing"), ("train", "val")])
def test_the_test_folder_where_there_is_one(read, pictures, paint, tmp_path, parts):
    for part in parts:
        paint(tmp_path / "other" / part / "cat" / "1.png", seed=parts.index(part))
    found = read("other")
    assert (found.folder, found.missing) == (tmp_path / "other" / parts[-1], ["dog"])
    assert found.split.images[0].numpy().transpose(1, 2, 0).tolist() == paint(tmp_path / "x.png", parts.index(parts[-1])).tolist()


def test_the_labels_are_those_of_the_network(read, pictures):
    shutil.rmtree(pictures / "cat")
    found = read(classes=["ant", "bee", "cat", "dog"])
    assert (found.split.labels.unique().tolist(), found.missing) == ([3], ["ant", "bee", "cat"])


def test_an_empty_class_is_missing_and_what_is_left_out_is_said(read, pictures, said):
    for file in (pictures / "cat").iterdir():
        file.unlink()
    (pictures / "dog" / "notes.txt").write_text("bark")
    assert read().missing == ["cat"]
    assert any("left out: 1 file that Pillow reads no image from" in line for line in said())


def test_unknown_classes_and_other_sizes_are_refused_by_name(read, pictures, paint):
    with pytest.raises(ConfigError, match="holds dog, which the network does not know; its classes are cat, newt"):
        read(classes=["cat", "newt"])
    with pytest.raises(ConfigError, match="the images are 3x6x8, and the network takes 3x8x8"):
        read(shape=(3, 8, 8))
    assert read(shape=(3, 8, 8), image_size=8).split.images.shape[1:] == (3, 8, 8)
    with pytest.raises(ConfigError, match="is not a folder"):
        read("nowhere")
    with pytest.raises(ConfigError, match="holds no image in a folder named as a class of the network: cat, dog"):
        read("pictures/cat")


def test_a_folder_like_the_run_s_own_is_told_from_its_files_alone(config, load, pictures, paint):
    for values in ({}, {"val_size": 4}, {"train_limit": 5, "test_limit": 1}, {"test_fraction": 0.33}):
        data = load(**values)
        sizes = {"train": len(data.train), "val": len(data.val or ()), "test": len(data.test)}
        assert other_images.is_laid_out_as(config(**values), data.classes, sizes)
        assert not other_images.is_laid_out_as(config(**values), ["cat", "newt"], sizes)
        assert not other_images.is_laid_out_as(config(**values), data.classes, {**sizes, "test": sizes["test"] + 1})
    paint(pictures / "test" / "cat" / "1.png")
    assert not other_images.is_laid_out_as(config(), data.classes, sizes)  # which could be read in two ways
