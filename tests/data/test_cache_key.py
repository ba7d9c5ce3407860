import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from bnn_train.data import cache_key


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "ä b.png"]
    for path in paths:
        path.write_bytes(path.name.encode())
    return paths


@pytest.fixture
def key(files, config, tmp_path, monkeypatch):
    """key() is the key and the names of the files that were read for it; every file counts as settled."""
    monkeypatch.setattr(cache_key, "_SETTLED", -(10**18))
    digest = cache_key._digest

    def function(paths=files, threads=1, folder=tmp_path / "cache", **values):
        read = []
        monkeypatch.setattr(cache_key, "_digest", lambda path: (read.append(path.name), digest(path))[1])
        return cache_key.content_key(paths, config(**values), folder, threads), sorted(read)

    return function


@pytest.mark.parametrize("threads", [1, 3])
def test_files_are_read_once(key, threads):
    first, read = key(threads=threads)
    assert read == ["a.png", "ä b.png"]
    assert key(threads=threads) == (first, [])


def test_other_bytes_of_the_same_name_size_and_time_are_read(key, files):
    first, _ = key()
    status = files[1].stat()
    files[1].write_bytes(files[1].read_bytes().upper())
    os.utime(files[1], ns=(status.st_atime_ns, status.st_mtime_ns))
    second, read = key()
    assert second != first
    assert len(read) == 2


def test_a_touched_and_a_moved_file_are_read_and_have_the_same_key(key, files, tmp_path):
    first, _ = key()
    os.utime(files[0], (1, 1))
    assert key() == (first, ["a.png", "ä b.png"])
    files[0].rename(tmp_path / "c.png")
    assert key([tmp_path / "c.png", files[1]]) == (first, ["c.png", "ä b.png"])


def test_other_settings_and_another_order_are_another_key(key, files):
    keys = {key()[0], key(grayscale=True)[0], key(image_size=3)[0], key(files[::-1])[0], key(files[:1])[0]}
    assert len(keys) == 5
    assert keys == {key()[0], key(grayscale=True)[0], key(image_size=3)[0], key(files[::-1])[0], key(files[:1])[0]}


def test_files_that_have_just_been_written_are_read_again(key, monkeypatch):
    monkeypatch.setattr(cache_key, "_SETTLED", 2 * 10**9)
    first, _ = key()
    assert key() == (first, ["a.png", "ä b.png"])


def test_what_is_kept_is_trusted_only_where_it_can_be_a_key(key, tmp_path):
    first, _ = key()
    (kept,) = (tmp_path / "cache").iterdir()
    for damaged in (b"", b"text", b"\xff", first.encode()[:-1], first.encode() + b"0"):
        kept.write_bytes(damaged)
        assert key() == (first, ["a.png", "ä b.png"])
    assert key() == (first, [])


def test_without_a_folder_files_are_read_at_every_start(key, files):
    first, _ = key(folder=files[0])
    assert key(folder=files[0]) == (first, ["a.png", "ä b.png"])


def test_processes_keep_the_same_key_at_once(key, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        assert len({found for found, _ in pool.map(lambda _: key(), range(8))}) == 1
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".key"]


def test_a_file_that_is_not_there_has_no_key(key, files):
    key()
    files[1].unlink()
    assert key()[0] is None
