"""The runner as a user meets it: shapes, types, threads, and what it says of wrong ones."""

import os
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from bnn_train.binary.layers import BinaryConv2d, BinaryLinear
from bnn_train.deploy import load
from bnn_train.deploy.file import write
from bnn_train.deploy.packing.pack import pack
from bnn_train.deploy.runner import Network, softmax
from bnn_train.errors import ConfigError
from bnn_train.kernels.products import installed

GRAY, COLOUR = (1, 4, 5), (3, 4, 5)
CLASSES = ["a", "b", "c"]


def make(shape, **options):
    torch.manual_seed(0)
    layers = [BinaryConv2d(shape[0], 8, 3, estimator=None), nn.BatchNorm2d(8), nn.Flatten(), BinaryLinear(48, 12), nn.Linear(12, 3)]
    packed = pack(nn.Sequential(*layers), shape, [0.5], [0.25], {"classes": CLASSES, "run": "outputs/x"})
    return Network(packed, **options)


@pytest.fixture(scope="module")
def gray():
    return make(GRAY)


@pytest.fixture(scope="module")
def colour():
    return make(COLOUR)


def test_images_come_with_channels_first_or_last_alone_or_many(colour, random_pixels):
    images = random_pixels(7, COLOUR)
    scores = colour.logits(images)
    assert scores.dtype == np.float32
    assert scores.shape == (7, 3)
    last = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    assert np.array_equal(colour.logits(last, layout="nhwc"), scores)
    assert np.array_equal(colour.logits(images.transpose(0, 2, 3, 1), layout="nhwc"), scores)
    assert np.array_equal(colour.logits(images[2]), scores[2:3])
    assert np.array_equal(colour.logits(last[2], layout="nhwc"), scores[2:3])
    assert np.array_equal(colour.logits(images[::-2]), scores[::-2])
    assert np.array_equal(colour.logits(images.tolist()), scores)
    assert np.array_equal(colour.logits(torch.from_numpy(images)), scores)


def test_gray_images_need_no_channel(gray, random_pixels):
    images = random_pixels(7, GRAY)
    scores = gray.logits(images)
    assert np.array_equal(gray.logits(images[:, 0]), scores)
    assert np.array_equal(gray.logits(images[:, 0], layout="nhwc"), scores)
    assert np.array_equal(gray.logits(images[:, 0, :, :, None], layout="nhwc"), scores)
    assert np.array_equal(gray.logits(images[3, 0]), scores[3:4])
    assert np.array_equal(gray.logits(images[3]), scores[3:4])


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
def test_whole_numbers_in_range_are_pixels(gray, random_pixels, dtype):
    images = random_pixels(4, GRAY) // 2
    assert np.array_equal(gray.logits(images.astype(dtype)), gray.logits(images))


REFUSED = {
    "another size": (np.zeros((2, 3, 5, 4), np.uint8), "shape (2, 3, 5, 4)", "(N, 3, 4, 5)"),
    "channels last": (np.zeros((2, 4, 5, 3), np.uint8), "shape (2, 4, 5, 3)", 'layout="nhwc"'),
    "no channel": (np.zeros((2, 4, 5), np.uint8), "shape (2, 4, 5)", "or one such image"),
    "one row too many": (np.zeros((1, 2, 3, 4, 5), np.uint8), "shape (1, 2, 3, 4, 5)", "(N, 3, 4, 5)"),
    "a number": (np.uint8(3), "shape ()", "(N, 3, 4, 5)"),
    "nothing": ([], "shape (0,)", "(N, 3, 4, 5)"),
    "floats": (np.zeros((2, *COLOUR), np.float32), "type float32", "normalised here"),
    "bools": (np.zeros((2, *COLOUR), bool), "type bool", "0 to 255"),
    "objects": (np.zeros((2, *COLOUR), object), "type object", "0 to 255"),
    "too large": (np.full((2, *COLOUR), 256), "from 256 to 256", "0 to 255"),
    "negative": (np.full((2, *COLOUR), -1), "from -1 to -1", "0 to 255"),
    "16 bits": (np.zeros((2, *COLOUR), np.uint16), "type uint16", "0 to 255"),
    "rows of several lengths": ([[1], [2, 3]], "images", "(N, 3, 4, 5)"),
}


@pytest.mark.parametrize(("images", "what", "wanted"), REFUSED.values(), ids=REFUSED)
def test_other_images_are_refused_with_what_is_wanted(colour, images, what, wanted):
    with pytest.raises(ConfigError) as error:
        colour.logits(images)
    line = str(error.value)
    assert what in line
    assert wanted in line
    assert "\n" not in line


def test_an_unknown_layout_engine_or_number_of_threads_is_refused(gray):
    with pytest.raises(ConfigError, match="layout=hwcn: must be nchw or nhwc"):
        gray.logits(np.zeros((1, *GRAY), np.uint8), layout="hwcn")
    with pytest.raises(ConfigError, match="engine=abacus"):
        make(GRAY, engine="abacus")
    for threads in (0, -1, True, 1.5):
        with pytest.raises(ConfigError, match="threads="):
            make(GRAY, threads=threads)


def test_no_images_give_no_scores(colour):
    none = np.zeros((0, *COLOUR), np.uint8)
    for scores in (colour.logits(none), colour.probabilities(none)):
        assert scores.shape == (0, 3)
        assert scores.dtype == np.float32
    assert colour.predict(none).shape == (0,)
    assert colour.predict(none).dtype == np.int64


def test_predictions_and_probabilities_follow_the_scores(colour, random_pixels):
    images = random_pixels(9, COLOUR)
    scores, chances = colour.logits(images), colour.probabilities(images)
    assert np.array_equal(colour.predict(images), scores.argmax(axis=1))
    assert chances.dtype == np.float32
    assert chances.sum(axis=1) == pytest.approx(1)
    assert np.array_equal(chances.argsort(axis=1), scores.argsort(axis=1))


def test_softmax_of_far_and_of_equal_scores():
    assert softmax(np.array([[3e38, -3e38], [5, 5]], np.float32)).tolist() == [[1, 0], [0.5, 0.5]]


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("engine", [None, *installed()])
def test_threads_and_parts_change_no_bit(monkeypatch, random_pixels, threads, engine):
    images = random_pixels(33, COLOUR)
    scores = make(COLOUR, threads=1).logits(images)
    monkeypatch.setattr("bnn_train.deploy.runner._WORTH_A_THREAD", 1)
    for cache in (1, 5000, 2**40):
        monkeypatch.setattr("bnn_train.deploy.runner._CACHE", cache)
        network = make(COLOUR, threads=threads, engine=engine)
        for _ in range(2):
            assert np.array_equal(network.logits(images), scores)


def test_what_is_loaded_is_what_was_written(tmp_path, colour, random_pixels):
    write(colour.packed, tmp_path / "m.bnn")
    network = load(tmp_path / "m.bnn", threads=1)
    images = random_pixels(5, COLOUR)
    assert np.array_equal(network.logits(images), colour.logits(images))
    assert network.classes == CLASSES
    assert network.image_shape == COLOUR
    assert network.about["run"] == "outputs/x"
    assert network.threads == 1
    with pytest.raises(ConfigError, match=r"path=.*none\.bnn"):
        load(tmp_path / "none.bnn")


def test_it_uses_as_many_threads_as_the_process_may_have(colour):
    assert 1 <= colour.threads <= os.cpu_count()


def test_images_are_only_read(colour, random_pixels):
    images = random_pixels(5, COLOUR)
    images.flags.writeable = False
    before = images.copy()
    colour.logits(images)
    assert np.array_equal(images, before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_process_predicts_too(random_pixels):
    network = make(COLOUR, threads=2)
    images = random_pixels(2000, COLOUR)
    network.predict(images)
    assert network._pool is not None
    child = os.fork()
    if child == 0:
        os._exit(0 if len(network.predict(images)) == 2000 else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_network_is_copied_and_sent_to_other_processes(colour, random_pixels):
    again = pickle.loads(pickle.dumps(colour))
    images = random_pixels(5, COLOUR)
    np.testing.assert_array_equal(again.logits(images), colour.logits(images))
    assert repr(again) == "<Network for 3x4x5 images, 3 classes: a, b, c>"
