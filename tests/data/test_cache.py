import os

import pytest
import torch

from bnn_train.config.data import DataConfig
from bnn_train.data import cache, cache_key
from bnn_train.errors import ConfigError

IMAGES = torch.arange(24, dtype=torch.uint8).view(2, 3, 2, 2)


@pytest.fixture
def files(tmp_path):
    """Two files, whose bytes stand for two images."""
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        path.write_bytes(path.name.encode())
    return paths


@pytest.fixture
def cached(files, config):
    """cached() is (the images, the notes, how often they were decoded)."""

    def function(paths=files, **values):
        count = 0

        def decode():
            nonlocal count
            count += 1
            return IMAGES, ["a note"]

        return *cache.cached(paths, config(**values), decode), count

    return function


def test_what_was_decoded_once_is_found_again(cached, tmp_path):
    assert cached()[2] == 1
    images, notes, count = cached()
    assert (images.tolist(), images.dtype, notes, count) == (IMAGES.tolist(), torch.uint8, ["a note"], 0)
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".images"]


def test_other_bytes_of_the_same_name_size_and_time_are_decoded(cached, files):
    cached()
    status = files[1].stat()
    files[1].write_bytes(b"B.png")
    os.utime(files[1], ns=(status.st_atime_ns, status.st_mtime_ns))
    assert cached()[2] == 1
    assert cached()[2] == 0


def test_a_touched_and_a_moved_file_are_not(cached, files, tmp_path):
    cached()
    os.utime(files[0], (1, 1))
    assert cached()[2] == 0
    files[0].rename(tmp_path / "c.png")
    assert cached([tmp_path / "c.png", files[1]])[2] == 0


@pytest.mark.parametrize(
    "values", [{"image_size": 3}, {"image_size": [3, 4]}, {"image_size": 4, "fit": "pad"}, {"image_size": 4}, {"grayscale": True}]
)
def test_other_settings_are_decoded(cached, values):
    cached()
    cached(image_size=[4, 3])
    cached(image_size=4, fit="stretch")
    assert cached(**values)[2] == 1


def test_the_same_size_and_a_fit_that_does_nothing_are_the_same_settings(cached):
    cached(image_size=3)
    cached()
    assert cached(image_size=[3, 3])[2] == cached(fit="pad")[2] == 0


def test_another_order_and_another_division_are_other_images(cached, files):
    cached()
    assert cached(files[::-1])[2] == 1
    files[0].write_bytes(b"a.pn")
    files[1].write_bytes(b"gb.png")  # the same bytes in a row
    assert cached()[2] == 1


def test_another_pillow_decodes_again(cached, monkeypatch):
    cached()
    monkeypatch.setattr(cache_key.Image, "__version__", "0.0")
    assert cached()[2] == 1


def every_damage(content):
    yield b"text\n"
    yield b""
    yield content[:-1]
    yield content[: len(content) // 2]
    yield content + b"x"
    for i in range(len(content)):
        yield content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :]


def test_any_damage_is_found_and_mended(cached, tmp_path, said):
    cached()
    (file,) = (tmp_path / "cache").iterdir()
    whole = file.read_bytes()
    for content in every_damage(whole):
        file.write_bytes(content)
        said()
        images, notes, count = cached()
        assert (torch.equal(images, IMAGES), notes, count) == (True, ["a note"], 1)
        assert len(said()) == 1
        assert file.read_bytes() == whole


def test_a_size_that_nobody_has_memory_for(cached, tmp_path):
    cached()
    (file,) = (tmp_path / "cache").iterdir()
    file.write_bytes(file.read_bytes().replace(b"[2, 3", b"[99999999999, 3"))
    assert cached()[2] == 1


def test_a_folder_of_the_users_choice_that_cannot_be_written(cached, tmp_path):
    (tmp_path / "cache").write_text("a file, not a folder")
    with pytest.raises(ConfigError, match=r"data\.cache_dir=.*decoded images cannot be stored there \(file exists\)"):
        cached()


def test_the_default_folder_where_it_cannot_be_written(cached, tmp_path, monkeypatch, said):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").write_text("a file, not a folder")
    assert cached(cache_dir=DataConfig.cache_dir)[2] == 1
    (line,) = said()
    assert "decoded images cannot be kept in" in line
    assert "data.cache_dir=FOLDER puts them elsewhere" in line


def test_a_disk_that_is_full_loses_nothing(cached, tmp_path, monkeypatch, said):
    def full(*names):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.os, "replace", full)
    assert torch.equal(cached()[0], IMAGES)
    assert "(no space left on device)" in said()[0]
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_file_that_cannot_be_read_is_left_to_decoding(cached, files, tmp_path):
    files[0].unlink()
    assert cached()[2] == 1
    assert not (tmp_path / "cache").exists()
