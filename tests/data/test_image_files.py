import os
from pathlib import Path

import pytest
from PIL import Image

from bnn_train.data import image_files
from bnn_train.data.image_files import ABOVE, HIDDEN, NO_IMAGE, NOWHERE, SPECIAL, TWICE, images_in
from bnn_train.errors import ConfigError


@pytest.fixture
def look(tmp_path, config):
    """What images_in finds in tmp_path/class: names of files, and of what is left out, by reason."""

    def function():
        folder = tmp_path / "class"
        found = images_in(folder, config().root)
        names = [path.relative_to(folder).as_posix() for path in found.files]
        return names, {reason: [path.name for path in paths] for reason, paths in found.left_out.items()}

    return function


@pytest.mark.parametrize(
    "name", ["1.jpg", "1.jfif", "1.JPE", "1.Png", "1.webp", "1.tif", "1.ppm", "1.ico", "1.jp2", "1.tga", "1.bmp"]
)
def test_what_pillow_opens_is_an_image_by_its_suffix(look, paint, tmp_path, name):
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / name).touch()  # empty: decoding will refuse it by name
    assert look() == ([name], {})


@pytest.mark.parametrize("name", ["photo", "photo.jpg_large", "photo.bak", "photo.jpg~"])
def test_an_image_under_another_name_is_known_by_its_content(look, paint, tmp_path, name):
    paint(tmp_path / "class" / "1.jpg")
    (tmp_path / "class" / "1.jpg").rename(tmp_path / "class" / name)
    assert look() == ([name], {})


@pytest.mark.parametrize("content", [b"", b"BM? a list of words", b"1 2 3", b"\x89HDF\r\n\x1a\n", bytes(range(256))])
def test_other_files_are_no_images(look, tmp_path, content):
    (tmp_path / "class").mkdir()
    for name in ("notes.txt", "noted", "data.h5", "film.mpg"):
        (tmp_path / "class" / name).write_bytes(content)
    assert look() == ([], {NO_IMAGE: ["data.h5", "film.mpg", "noted", "notes.txt"]})


def test_hidden_files_and_folders(look, paint, tmp_path):
    for name in ("1.png", "._1.png", ".ipynb_checkpoints/1.png", "__MACOSX/1.png"):
        paint(tmp_path / "class" / name)
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (tmp_path / "class" / name).touch()
    assert look() == (["1.png"], {HIDDEN: ["._1.png", ".ipynb_checkpoints", "__MACOSX"]})


def test_folders_and_links_are_followed(look, paint, tmp_path):
    for name in ("class/b/deep/1.png", "class/a.png", "class/c.png", "elsewhere/2.png", "single.png"):
        paint(tmp_path / name)
    (tmp_path / "class" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "class" / "z.png").symlink_to(tmp_path / "single.png")
    names, left_out = look()
    assert names == ["a.png", "b/deep/1.png", "c.png", "linked/2.png", "z.png"]
    assert left_out == {}


def test_the_order_is_that_of_sorted_paths(look, paint, tmp_path):
    for name in ("b/1.png", "b.png", "B.png", "a b/1.png", "a/1.png", "10.png", "9.png", "b!.png"):
        paint(tmp_path / "class" / name)
    assert look()[0] == [path.relative_to(tmp_path / "class").as_posix() for path in sorted((tmp_path / "class").rglob("*.png"))]


def test_links_in_a_circle_come_to_an_end(look, paint, tmp_path):
    paint(tmp_path / "class" / "sub" / "1.png")
    paint(tmp_path / "other" / "2.png")
    (tmp_path / "class" / "up").symlink_to(tmp_path)
    (tmp_path / "class" / "sub" / "self").symlink_to(tmp_path / "class")
    (tmp_path / "class" / "sub2").symlink_to(tmp_path / "class" / "sub")
    (tmp_path / "class" / "turn").symlink_to("turn")
    assert look() == (["sub/1.png"], {ABOVE: ["self", "up"], TWICE: ["sub2"], NOWHERE: ["turn"]})


def test_links_to_nowhere(look, tmp_path):
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "1.png").symlink_to("/nowhere/1.png")
    assert look() == ([], {NOWHERE: ["1.png"]})


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_is_not_waited_for(look, tmp_path):
    (tmp_path / "class").mkdir()
    os.mkfifo(tmp_path / "class" / "1.png")
    assert look() == ([], {SPECIAL: ["1.png"]})


def test_a_file_that_may_not_be_looked_at(look, paint, tmp_path, monkeypatch):
    paint(tmp_path / "class" / "1.png")

    def forbidden(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", forbidden)
    with pytest.raises(ConfigError, match=r"1\.png cannot be read \(permission denied\)"):
        look()


def test_formats_without_a_decoder_are_known_to_pillow():
    image_files.suffixes()
    assert set(Image.OPEN) >= image_files._NO_DECODER


def test_one_line_for_all_that_is_left_out(tmp_path):
    left_out = {NOWHERE: [tmp_path / "cat" / f"{i}.png" for i in range(8)], NO_IMAGE: [tmp_path / "dog" / "a.txt"], HIDDEN: []}
    assert image_files.left_out_line(left_out, tmp_path) == (
        "left out: 8 links to nowhere (cat/0.png, cat/1.png, cat/2.png and 5 more), "
        "1 file that Pillow reads no image from (dog/a.txt)"
    )
