import threading
import time
from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bnn_train.config.data import DataConfig
from bnn_train.data import image_file, stored
from bnn_train.data.batches import eval_batches, train_batches
from bnn_train.data.given import mean_and_std
from bnn_train.data.signature import digest
from bnn_train.data.splits import Split
from bnn_train.errors import ConfigError

IMAGES = torch.randint(0, 256, (20, 3, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(20) % 3
PLAIN = DataConfig("x", mean=[0.0], std=[1.0])


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return write(tmp_path_factory.mktemp("stored") / "x.images")


@pytest.fixture
def images(kept):
    return stored.opened(kept)


def write(path):
    marks = b"".join(image_file.mark(image.data) for image in IMAGES.numpy())
    end = image_file.tail(tuple(IMAGES.shape), [], marks)
    path.write_bytes(image_file.first_line(end) + IMAGES.numpy().tobytes() + end)
    return path


def reads(images, monkeypatch, seconds=0.0):
    """The numbers of the images of each read from now on."""
    found, read = [], images.file.read

    def noted(rows, pinned=False):
        found.append(rows)
        time.sleep(seconds)
        return read(rows, pinned)

    monkeypatch.setattr(images.file, "read", noted)
    return found


NUMBERS = st.lists(st.integers(0, 19), max_size=8)


@settings(deadline=None)
@given(st.lists(NUMBERS, max_size=4), NUMBERS.filter(len))
def test_what_is_asked_for_is_what_a_tensor_gives(kept, batches, some):
    images, numbers = stored.opened(kept), torch.tensor(some)
    assert torch.equal(images[numbers], IMAGES[numbers])
    assert torch.equal(images.at(numbers)[:], IMAGES[numbers])
    assert images.at(numbers).shape == IMAGES[numbers].shape
    of = [torch.tensor(batch, dtype=torch.int64) for batch in batches]
    for found, batch in zip(images.ahead(of), of, strict=True):
        assert torch.equal(found, IMAGES[batch])


def test_batches_are_those_of_images_in_memory(images):
    config = DataConfig("x", crop_padding=1, flip=True, cutout=2)
    both = Split(images, LABELS), Split(IMAGES, LABELS)
    for function, more in (
        (train_batches, {"seed": 7, "epoch": 2, "first": 1}),
        (train_batches, {"seed": 7, "epoch": 2, "part": slice(1, 3)}),
        (eval_batches, {}),
        (eval_batches, {"first": 1, "step": 3}),
    ):
        one, two = (list(function(split, config, 3, **more)) for split in both)
        assert len(one) == len(two) > 1
        assert all(torch.equal(a, b) for a, b in zip(chain(*one), chain(*two), strict=True))
    assert mean_and_std(both[0]) == mean_and_std(both[1])
    assert torch.equal(both[0].at(torch.tensor([4, 2])).in_memory(), IMAGES[[4, 2]])


def test_a_rank_reads_its_part_alone(images, monkeypatch):
    split, seen = Split(images, LABELS), reads(images, monkeypatch)
    list(train_batches(split, PLAIN, 8, seed=0, epoch=0))
    (one, two), _ = (seen[0], seen[1]), seen.clear()
    list(train_batches(split, PLAIN, 8, seed=0, epoch=0, part=slice(5, 8)))
    assert seen == [one[5:8], two[5:8]]
    seen.clear()
    list(eval_batches(split, PLAIN, 6, 1, 2))
    assert seen == [list(range(6, 12)), [18, 19]]


def test_a_few_batches_are_read_ahead_and_no_more(images, monkeypatch):
    seen, before = reads(images, monkeypatch), set(threading.enumerate())
    batches = images.split(2)
    next(batches)
    for given_out in range(1, 4):
        until = time.monotonic() + 5
        while len(seen) < given_out + stored.AHEAD + 1 and time.monotonic() < until:
            time.sleep(0.001)
        time.sleep(0.01)
        assert len(seen) == given_out + stored.AHEAD + 1 - (given_out == 0)
        next(batches)
    batches.close()
    assert set(threading.enumerate()) <= before


def test_only_what_the_loop_waits_for_counts(images, monkeypatch):
    reads(images, monkeypatch, seconds=0.03)
    batches = images.split(5)
    for _ in batches:
        time.sleep(0.06)  # the disk is faster
    first = images.waited  # for the first batch alone
    assert 0.025 < first < 0.1
    for _ in images.split(5):
        pass
    assert images.waited - first > 4 * 0.025


def test_a_batch_that_is_still_in_use_is_left_alone(images):
    held = [batch[1:] for batch in images.split(4)]
    assert torch.equal(torch.cat(held), torch.cat([batch[1:] for batch in IMAGES.split(4)]))


def test_memory_is_used_again(images):
    first = images[:4].data_ptr()
    held = images[4:8]
    assert held.data_ptr() == first
    assert images[:4].data_ptr() != first
    del held
    assert {images[:3].data_ptr() for _ in range(9)} <= {each.ctypes.data for each, _ in images.file._buffers._held}
    assert len(images.file._buffers._held) <= 2
    assert images[:20].shape[0] == 20
    assert len(images.file._buffers._held) == 1  # those of another size are let go


@pytest.mark.parametrize("damage", ["pixel", "cut"])
def test_a_damaged_image_is_named_and_never_given(tmp_path, damage):
    file = write(tmp_path / "x.images")
    images = stored.opened(file)
    place = image_file.HEAD + 7 * 60 + 11
    with open(file, "r+b") as stream:
        if damage == "cut":
            stream.truncate(place)
        else:
            stream.seek(place)
            byte = stream.read(1)
            stream.seek(place)
            stream.write(bytes([byte[0] ^ 1]))
    assert torch.equal(images[:7], IMAGES[:7])
    with pytest.raises(ConfigError, match=r"data\.memory=disk: the decoded images in .* were damaged \(image 7\) and have been"):
        list(images.split(6))
    assert not file.exists()  # so that it is decoded again


def test_a_disk_that_fails_is_said(images, monkeypatch):
    def fail(*arguments):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(images.file, "_read_into", fail)
    with pytest.raises(ConfigError, match=r"cannot be read \(input/output error\); mend the disk, and continue the run"):
        images[:2]


def test_a_system_without_preadv(images, monkeypatch):
    for name in ("preadv", "posix_fadvise"):
        monkeypatch.delattr(stored.os, name)
    assert torch.equal(images[5:9], IMAGES[5:9])


def test_a_file_that_is_deleted_while_it_is_read_is_read_on(tmp_path):
    file = write(tmp_path / "x.images")
    images = stored.opened(file)
    file.unlink()
    assert torch.equal(images[:], IMAGES)


def test_digests_are_of_pixels_and_labels_wherever_they_lie(images):
    disk, ram = Split(images, LABELS), Split(IMAGES, LABELS)
    assert digest([disk]) != digest([ram])  # told without reading the images
    assert digest([ram], digest([disk])) == digest([disk])
    assert digest([disk], digest([ram])) == digest([ram])
    other = IMAGES.clone()
    other[19, 2, 3, 4] ^= 1
    assert digest([Split(other, LABELS)], digest([disk])) != digest([disk])
    assert digest([Split(images, LABELS.flip(0))]) != digest([disk])
    assert np.array_equal(
        images.at(torch.tensor([3])).digests()[0], np.frombuffer(image_file.mark(IMAGES[3].numpy().data)[:16], "u1")
    )
