"""Image files that are decoded into the cache and stay there, `data.memory=disk`."""

import threading
from collections import namedtuple

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image

from bnn_train.data import cache, decoding, image_file, memory, reading
from bnn_train.data.stored import Stored
from bnn_train.errors import ConfigError


@pytest.fixture
def files(pictures):
    return sorted(pictures.glob("*/*.png"))


@pytest.fixture
def read(files, config):
    """read(key=value) is (the images, the notes), on the disk unless it is said otherwise."""
    return lambda paths=files, **values: reading.read(paths, config(**{"memory": "disk", **values}))


@pytest.fixture
def decoded(monkeypatch):
    """The paths of the files that have been decoded into a file."""
    found, put = [], image_file.put

    def noted(numbered, **settings):
        found.append(numbered[1])
        return put(numbered, **settings)

    monkeypatch.setattr(image_file, "put", noted)
    return found


def content(folder):
    (file,) = folder.glob("*.images")
    return file.read_bytes()


def left(folder):
    return sorted(path.suffix for path in folder.iterdir())


@pytest.mark.parametrize("values", [{}, {"image_size": [5, 7], "fit": "pad", "grayscale": True}])
def test_disk_and_memory_hold_the_same_and_share_their_file(read, tmp_path, decoded, monkeypatch, values):
    ram, notes = read(memory="ram", **values)
    assert isinstance(ram, torch.Tensor)
    written = content(tmp_path / "cache")
    disk, again = read(**values)
    assert (type(disk), decoded, notes) == (Stored, [], again)
    assert torch.equal(disk[:], ram)
    (tmp_path / "cache").rename(tmp_path / "other")
    disk, again = read(**values)
    assert (len(decoded), notes) == (20, again)
    assert content(tmp_path / "cache") == written
    assert left(tmp_path / "cache") == [".images", ".lock"]
    monkeypatch.setattr(reading, "decode_all", None)
    assert torch.equal(read(memory="ram", **values)[0], ram)


def test_processes_write_the_same_file(read, tmp_path, monkeypatch):
    read()
    written = content(tmp_path / "cache")
    monkeypatch.setattr(decoding, "_FILES_WORTH_PROCESSES", 1)
    monkeypatch.setattr(decoding.startup, "processors", lambda: 2)
    read(cache_dir=str(tmp_path / "other"))
    assert content(tmp_path / "other") == written


def test_a_damaged_file_is_made_again(read, tmp_path, decoded, said):
    expected = read()[0][:]
    (file,) = (tmp_path / "cache").glob("*.images")
    whole = file.read_bytes()
    for damaged in (whole[:-1], whole + b"x", whole[:30], b"", whole[:-9] + b"?" + whole[-8:], b"x" + whole[1:]):
        file.write_bytes(damaged)
        decoded.clear()
        said()
        assert torch.equal(read()[0][:], expected)
        assert (len(decoded), file.read_bytes()) == (20, whole)
        assert "is damaged or cannot be read" in said()[0]


def test_what_will_be_taken_is_said_before_decoding(read, said, tmp_path):
    read()
    assert said()[0].startswith(f"image_folder: 20 images of 8x6 take 1 MB in {tmp_path / 'cache'}, where ")


def test_a_disk_that_cannot_hold_it_is_refused_before_decoding(read, decoded, monkeypatch, tmp_path):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda folder: usage(3_000_000))
    message = (
        r"data\.cache_dir=.*: 20 images of 9999x9999 take 6\.0 GB, and 3 MB are free there; choose a folder on a larger disk, a "
        r"smaller data\.image_size, or fewer images"
    )
    with pytest.raises(ConfigError, match=message):
        read(image_size=9999)
    assert decoded == []
    assert left(tmp_path / "cache") == [".lock"]


@pytest.mark.parametrize("when", ["before", "while"])
def test_a_disk_that_fills_up_leaves_nothing(read, decoded, monkeypatch, tmp_path, when):
    def full(*arguments, **settings):
        if when == "while":
            return image_file.Put((3, 6, 8), failed="no space left on device")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((cache.os, "posix_fallocate") if when == "before" else (image_file, "put")), full)
    with pytest.raises(ConfigError, match=r"20 images of 8x6 take 1 MB, which could not be written \(no space left on device\)"):
        read()
    assert left(tmp_path / "cache") == [".lock"]


def test_an_image_that_cannot_be_written_is_told_to_the_first_process(files, tmp_path):
    put = image_file.put((0, files[0]), str(tmp_path / "none" / "x"), (3, 6, 8))
    assert put == image_file.Put((3, 6, 8), failed="no such file or directory")


def test_an_interrupt_leaves_nothing_and_a_killed_process_s_file_goes(read, files, monkeypatch, tmp_path):
    def interrupt(*arguments, **settings):
        raise KeyboardInterrupt

    with monkeypatch.context() as changed:
        changed.setattr(image_file, "put", interrupt)
        with pytest.raises(KeyboardInterrupt):
            read()
    assert left(tmp_path / "cache") == [".lock"]
    (lock,) = (tmp_path / "cache").iterdir()
    lock.with_name(f"{lock.stem}.images.1234.part").write_bytes(b"of a process that was killed")
    assert read()[0].shape == (20, 3, 6, 8)
    assert left(tmp_path / "cache") == [".images", ".lock"]


def test_of_two_that_decode_one_waits(read, decoded, monkeypatch, tmp_path):
    expected = read()[0][:]
    (file,) = (tmp_path / "cache").glob("*.images")
    whole = file.read_bytes()
    file.unlink()
    decoded.clear()
    lock, said, is_said, found = FileLock(file.with_suffix(".lock")), [], threading.Event(), []
    monkeypatch.setattr(cache.log, "info", lambda line, *values: (said.append(line), is_said.set()))
    lock.acquire()  # as another process holds it
    waiting = threading.Thread(target=lambda: found.append(read()[0][:]))
    waiting.start()
    assert is_said.wait(20)
    file.write_bytes(whole)
    lock.release()
    waiting.join(20)
    assert (said, decoded) == (["image_folder: another process is decoding the same images: waiting for it"], [])
    assert torch.equal(found[0], expected)


def test_a_file_system_without_locks(read, monkeypatch):
    def none(*arguments, **settings):
        raise NotImplementedError

    monkeypatch.setattr(cache.FileLock, "acquire", none)
    assert read()[0].shape == (20, 3, 6, 8)


def test_what_is_wrong_with_the_files_is_said_as_ever(read, files, config, paint):
    paint(files[14], size=(9, 9))
    with pytest.raises(ConfigError, match=r"the images differ in size, 8x6 \(cat/0\.png\) and 9x9 \(dog/4\.png\)"):
        read()
    files[14].write_bytes(b"")
    with pytest.raises(ConfigError, match=r"dog.4\.png is not a readable image \(empty\)"):
        read()
    files[14].unlink()
    with pytest.raises(ConfigError, match=r"dog.4\.png is not a readable image \(no such file"):
        read()
    for file in files:
        file.write_bytes(b"")
    with pytest.raises(ConfigError, match="20 files are no readable images"):
        read()


def test_deep_images_are_on_one_scale(read, tmp_path):
    files = []
    for value in (0.2, 0.8, -0.8):
        files.append(tmp_path / f"{value}.tif")
        Image.fromarray(np.full((2, 2), value, np.float32)).save(files[-1])
    images, notes = read(files, grayscale=True)
    assert images[:].flatten(1)[:, 0].tolist() == [159, 255, 0]
    assert notes == read(files, grayscale=True, memory="ram")[1]


def test_auto_leaves_on_the_disk_what_would_fill_the_memory(read, monkeypatch, said):
    monkeypatch.setattr(memory, "available", lambda: 20 * 3 * 6 * 8 / 0.4)
    assert isinstance(read(memory="auto")[0], torch.Tensor)
    assert not any("stay on the disk" in line for line in said())
    monkeypatch.setattr(memory, "available", lambda: 20 * 3 * 6 * 8 / 0.4 - 1)
    assert isinstance(read(memory="auto")[0], Stored)
    line = "image_folder: 20 images, 1 MB, stay on the disk: in memory they would take more than 40% of what is free"
    assert said()[0] == line


def test_a_folder_that_cannot_be_written_is_refused(read, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").write_text("a file, not a folder")
    with pytest.raises(ConfigError, match=r"data\.cache_dir=~.*decoded images cannot be stored there"):
        read(cache_dir="~/.cache/bnn_train")
