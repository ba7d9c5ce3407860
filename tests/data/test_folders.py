import os

import pytest

from bnn_train.data import folders
from bnn_train.errors import ConfigError


@pytest.fixture
def layout(tmp_path, config):
    """The layout of empty files and folders: layout("train/a/1.png") makes them; names of (train, val, test) and the notes."""

    def function(*paths, **values):
        for path in paths:
            (tmp_path / "pictures" / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "pictures" / path).touch()
        found = folders.layout(config(**values))
        return tuple(folder and folder.name for folder in found[:3]), found.notes

    return function


def splits(*names):
    return [f"{name}/{kind}/1.png" for name in names for kind in "ab"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["train", "test"], ("train", None, "test")),
        (["Train", "TEST"], ("Train", None, "TEST")),
        (["Training", "Testing"], ("Training", None, "Testing")),
        (["train", "val", "test"], ("train", "val", "test")),
        (["train", "valid", "test"], ("train", "valid", "test")),
        (["train", "validation", "test"], ("train", "validation", "test")),
    ],
)
def test_train_val_and_test(layout, names, expected):
    assert layout(*splits(*names)) == (expected, [])


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_val_is_tested_on_where_there_is_no_test(layout, name):
    found, notes = layout(*splits("train", name))
    assert found == ("train", None, name)
    assert notes == [f"no test/ beside train/, {name}/: the test images are those of {name}/"]


def test_held_out_images_of_train_where_val_is_the_test_set(layout):
    assert layout(*splits("train", "val"), val_size=1)[0] == ("train", None, "val")


def test_class_folders_alone(layout):
    assert layout("cat/1.png", "dog/1.png") == (("pictures", None, None), [])


def test_train_alone(layout):
    found, notes = layout(*splits("train"))
    assert found == ("train", None, None)
    assert notes == ["no test/ beside train/: data.test_fraction=0.2 of its images is the test set"]


def test_other_folders_beside_train_and_test_are_named(layout):
    assert layout(*splits("train", "test", "unlabelled"))[1] == ["left out: unlabelled/ beside train/, test/"]


def test_a_share_that_nothing_is_taken_by(layout):
    assert "data.test_fraction does nothing here" in layout(*splits("train", "test"), test_fraction=0.5)[1][0]


@pytest.mark.parametrize("name", ["train", "valid", "test"])
def test_a_class_may_have_such_a_name(layout, name):
    found, notes = layout(f"{name}/1.png", "bus/1.png")
    assert found == ("pictures", None, None)
    assert notes == [f"{name}/ taken for a class like bus/, since it holds images itself"]


@pytest.mark.parametrize("names", [["train", "holdout"], ["test", "cat"], ["val", "test"]])
def test_what_can_be_read_in_two_ways_is_refused(layout, names):
    with pytest.raises(ConfigError, match="can be read in two ways"):
        layout(*splits(*names))


def test_two_names_for_the_same(layout):
    with pytest.raises(ConfigError, match="holds both val/, validation/, which mean the same"):
        layout(*splits("train", "val", "validation"))


def test_hidden_folders_are_none(layout):
    assert layout("cat/1.png", "dog/1.png", ".git/1.png", "__MACOSX/1.png")[0] == ("pictures", None, None)


def test_a_missing_folder(config):
    with pytest.raises(ConfigError, match=r"data\.root=.*nowhere: is not a folder"):
        folders.layout(config("nowhere"))


def test_the_home_of_nobody(config):
    nobodys = config()
    nobodys.root = "~nobody-of-this-name/x"
    with pytest.raises(ConfigError, match=r"data\.root=~nobody-of-this-name/x: is no path"):
        folders.layout(nobodys)


def test_one_class_or_none(tmp_path, config):
    (tmp_path / "one" / "cat").mkdir(parents=True)
    with pytest.raises(ConfigError, match="holds only the class cat"):
        folders.classes(tmp_path / "one", config("one"))
    with pytest.raises(ConfigError, match="holds no class folder"):
        folders.classes(tmp_path / "one" / "cat", config("one"))


def test_a_root_one_level_too_high(tmp_path, config):
    for name in ("train", "test"):
        (tmp_path / "archive" / "photos" / name).mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"test/, train/ lie one deeper: data\.root=.*archive.photos would read them"):
        folders.classes(tmp_path / "archive", config("archive"))


def test_classes_that_may_lie_deeper(tmp_path, config):
    for name in ("fold1", "fold2"):
        for kind in ("cat", "dog"):
            (tmp_path / name / kind).mkdir(parents=True)
    found = [tmp_path / "fold1", tmp_path / "fold2"]
    (line,) = folders.note_on_depth(found, config())
    assert "the classes are fold1/, fold2/, though each holds the same folders cat/, dog/" in line
    (tmp_path / "fold2" / "cow").mkdir()
    assert folders.note_on_depth(found, config()) == []


def test_a_folder_that_may_not_be_read(config, monkeypatch, pictures):
    def forbidden(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "listdir", forbidden)  # by its mode, root would read it all the same
    with pytest.raises(ConfigError, match=r"pictures cannot be read \(permission denied\); make it readable"):
        folders.layout(config())
