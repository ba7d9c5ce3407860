from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from bnn_train import register
from bnn_train.config.data import OwnDataConfig
from bnn_train.data import checks, given
from bnn_train.data.splits import Split
from bnn_train.errors import PluginError

GREY = np.arange(6 * 4 * 5, dtype=np.uint8).reshape(6, 4, 5)
COLOURED = np.stack([GREY, GREY + 1, GREY + 2], axis=3)
LABELS = np.array([0, 1, 2, 0, 1, 2])
NAMES = ["dog", "cat", "owl"]


def plug(value):
    return register.Plugged("data", "own", lambda: value, "own.py", "", 0, (), OwnDataConfig, "")


def read(value):
    return given.read(plug(value), OwnDataConfig(name="own", test_fraction=0.5))


@pytest.mark.parametrize("images", [GREY, GREY[:, None], GREY[..., None], torch.from_numpy(GREY), list(GREY)])
def test_grey_images_of_every_shape(images):
    arrays = read((images, LABELS, images, LABELS))
    assert torch.equal(arrays.train.images, torch.from_numpy(GREY[:, None]))
    assert (arrays.train.labels.tolist(), arrays.train.labels.dtype, arrays.classes) == (
        LABELS.tolist(),
        torch.int64,
        ["0", "1", "2"],
    )


@pytest.mark.parametrize("images", [COLOURED, COLOURED.transpose(0, 3, 1, 2)])
def test_coloured_images_with_channels_first_or_last(images):
    arrays = read(((images, LABELS), (images[:3], LABELS[:3]), NAMES))
    assert torch.equal(arrays.test.images, torch.from_numpy(COLOURED.transpose(0, 3, 1, 2)[:3]))
    assert arrays.classes == NAMES


def test_a_dict_of_arrays_with_names_as_labels_and_held_out_images():
    words = np.array(NAMES)[LABELS]
    arrays = read(
        {
            "train_images": GREY,
            "train_labels": words,
            "test_images": GREY,
            "test_labels": words,
            "val_images": GREY[:2],
            "val_labels": words[:2],
        }
    )
    assert arrays.classes == sorted(NAMES)
    assert [arrays.classes[i] for i in arrays.val.labels.tolist()] == ["dog", "cat"]


def test_without_a_test_set_a_share_of_the_images_is_it():
    arrays = read((GREY, LABELS))
    assert (len(arrays.train), len(arrays.test)) == (3, 3)
    assert sorted(torch.cat([arrays.train.labels, arrays.test.labels]).tolist()) == sorted(LABELS.tolist())


class Rows(list):
    """A list with the names of its classes, as a data set of Hugging Face's has them."""

    class Label:
        names = NAMES

    features: ClassVar = {"label": Label()}


def test_lists_of_dicts():
    rows = [{"image": Image.fromarray(image), "label": int(label)} for image, label in zip(COLOURED, LABELS, strict=True)]
    arrays = read({"train": Rows(rows), "validation": rows[:1], "test": rows[:2]})
    assert torch.equal(arrays.train.images, torch.from_numpy(COLOURED.transpose(0, 3, 1, 2).copy()))
    assert (arrays.classes, len(arrays.val), len(arrays.test)) == (NAMES, 1, 2)
    grey = [{"image": Image.fromarray(image), "label": "x"} for image in GREY]
    assert read({"train": grey, "test": grey}).train.images.shape == (6, 1, 4, 5)
    coloured = [{"image": Image.fromarray(COLOURED[0]), "label": "y"}]
    mixed = read({"train": [*grey, *coloured], "test": coloured})
    assert mixed.train.images.shape == (7, 3, 4, 5)


ROWS = [{"image": image, "label": int(label)} for image, label in zip(GREY, LABELS, strict=True)]


@pytest.mark.parametrize("value", [ROWS, Rows(ROWS), {"train": ROWS}])
def test_rows_without_a_test_set_are_the_training_set(value):
    arrays = read(value)
    assert (len(arrays.train), len(arrays.test)) == (3, 3)


def test_held_out_rows_may_be_called_valid():
    assert len(read({"train": ROWS, "test": ROWS, "valid": ROWS[:4]}).val) == 4


def test_what_looks_like_channels_at_the_end_is_told(caplog):
    images = np.zeros((6, 7, 8, 5), np.uint8)
    assert read((images, LABELS)).train.images.shape[1:] == (7, 8, 5)
    assert caplog.messages == [
        "note: data=own: takes images of shape (6, 7, 8, 5) as 7 channels of 8x5 pixels; if it has 5, transpose(0, 3, 1, 2)"
    ]
    caplog.clear()
    read((images.transpose(0, 3, 1, 2), LABELS))
    assert not caplog.messages


def test_a_class_that_is_tested_and_never_trained_is_a_fault_of_the_plugin(monkeypatch):
    monkeypatch.setitem(register.FOUND["data"], "own", plugged := plug((GREY[:2], LABELS[:2], GREY, LABELS)))
    config = OwnDataConfig(name="own")
    with pytest.raises(PluginError, match=r"^data=own: own\.py: there are test images of 2 and none to train on$"):
        checks.check(config, given.read(plugged, config))


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (3, "must give a dict or a tuple with training images and labels, and those of the test set"),
        ((GREY, LABELS, GREY), "must give a dict or a tuple with training images and labels"),
        ({"images": GREY}, "gives images; the names are train, test, valid, validation, or train_images"),
        ({"train_images": GREY}, "gives train_images alone; training images and labels go together"),
        ({"train": ROWS, "test_images": GREY}, "gives test_images alone; test images and labels go together"),
        ((GREY / 255, LABELS), "images of float64 (6, 4, 5); they must be uint8 of shape (N, height, width), (N, channels,"),
        ((GREY / 255, LABELS), "; floats in [0, 1] become pixels by (255 * x).round().astype('uint8')"),
        ((GREY.astype(np.int64), LABELS), "; whole numbers from 0 to 255 become pixels by x.astype('uint8')"),
        ((GREY > 3, LABELS), "images of bool (6, 4, 5); they must be uint8"),
        ((GREY[0], LABELS), "gives training images of uint8 (4, 5); they must be uint8"),
        ((GREY[:, :, :0], LABELS), "gives training images of uint8 (6, 4, 0); they must be uint8"),
        (([GREY[0], GREY[0, :2]], LABELS[:2]), "gives training images of several sizes; resize them in the function"),
        (([GREY[0], None], LABELS[:2]), "gives NoneType as a training image; each must be an array or a PIL image"),
        ((GREY, LABELS[:5]), "gives 6 training images and 5 labels; each image needs one"),
        ((GREY, LABELS / 2), "gives training labels such as 0.0, float64; they must be whole numbers from 0, or names of classes"),
        ((GREY, [None] * 6), "gives training labels such as None, object; they must be whole numbers from 0, or names of classes"),
        ((GREY, ["a", 1] * 3), "gives training labels of which some are text and some are not; they must be whole numbers"),
        ((GREY, LABELS, GREY, NAMES * 2), "gives numbers as labels of one set and names as those of another; they must be"),
        ((GREY, LABELS - 1), "gives the training label -1; they must be whole numbers from 0, or names of classes"),
        ((GREY, LABELS, GREY, LABELS - 1), "gives the test label -1; they must be whole numbers from 0, or names of classes; of"),
        ((GREY, LABELS * 10**9), "gives labels up to 2000000000 of 6 images: number the classes from 0 on, without gaps"),
        ((GREY, LABELS + 1), "gives labels from 1 to 3: number the classes from 0, or give the names of all of them"),
        ((GREY, LABELS, GREY[:0], LABELS[:0]), "gives no test image; leave them out, and data.test_fraction says how many others"),
        ((GREY, np.eye(6, dtype=int)), "gives training labels of shape (6, 6); they must be (N,)"),
        ((GREY, NAMES * 2, GREY, NAMES * 2, ["dog", "cat"]), "gives the label owl, and the classes are dog, cat"),
        ((GREY, LABELS, GREY, LABELS, NAMES[:2]), "gives the training label 2, and 2 classes, 0 to 1"),
        ((GREY, LABELS, GREY, LABELS, 3), "gives 3 as classes; they are a list of names"),
        ((GREY, LABELS, GREY, LABELS, "abc"), "gives abc as classes; they are a list of names"),
        ((GREY, LABELS, COLOURED, LABELS), "gives images of several sizes, (1, 4, 5) and (3, 4, 5), (channels, height, width)"),
        ({"train": []}, 'gives as training images no list of {"image": ..., "label": ...}'),
        ({"train": [{"img": GREY[0], "label": 0}]}, "gives training rows of img, label; rename what is in them to image and label"),
    ],
)  # fmt: skip
def test_what_is_no_data_set_is_told(value, line):
    with pytest.raises(PluginError) as caught:
        read(value)
    assert str(caught.value).startswith("data=own: own.py: ")
    assert line in str(caught.value)


def test_mean_and_deviation_are_those_of_the_pixels():
    images = torch.randint(0, 256, (5, 2, 3, 4), dtype=torch.uint8)
    images[:, 1] = 51
    means, deviations = given.mean_and_std(Split(images, torch.zeros(5)))
    values = images[:, 0].double() / 255
    assert means == [pytest.approx(values.mean().item(), abs=1e-6), 0.2]
    assert deviations == [pytest.approx(values.std(unbiased=False).item(), abs=1e-6), 1.0]
