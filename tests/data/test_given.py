from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from bnn_train import register
from bnn_train.config.data import OwnDataConfig
from bnn_train.data import given
from bnn_train.data.splits import Split
from bnn_train.errors import PluginError

GREY = np.arange(6 * 4 * 5, dtype=np.uint8).reshape(6, 4, 5)
COLOURED = np.stack([GREY, GREY + 1, GREY + 2], axis=3)
LABELS = np.array([0, 1, 2, 0, 1, 2])
NAMES = ["dog", "cat", "owl"]


def read(value):
    plugged = register.Plugged("data", "own", lambda: value, "own.py", "", 0, (), OwnDataConfig, "")
    return given.read(plugged, OwnDataConfig(name="own", test_fraction=0.5))


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


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (3, "must give a dict or a tuple with training images and labels, and those of the test set"),
        ((GREY, LABELS, GREY), "must give a dict or a tuple with training images and labels"),
        ({"images": GREY}, "gives images; the names are train_images, train_labels, test_images and so on, or train and test"),
        ((GREY / 255, LABELS), "images of float64 (6, 4, 5); they must be uint8 of shape (N, height, width), (N, channels,"),
        ((GREY[0], LABELS), "gives training images of uint8 (4, 5); they must be uint8"),
        (([GREY[0], GREY[0, :2]], LABELS[:2]), "gives training images of several sizes; resize them in the function"),
        ((GREY, LABELS[:5]), "gives 6 training images and 5 labels; each image needs one"),
        ((GREY, LABELS / 2), "must give labels that are whole numbers from 0 or names of classes"),
        ((GREY, np.eye(6, dtype=int)), "gives training labels of shape (6, 6); they must be (N,)"),
        ((GREY, NAMES * 2, GREY, NAMES * 2, ["dog", "cat"]), "gives the label owl, and the classes are dog, cat"),
        ((GREY, LABELS, COLOURED, LABELS), "gives images of several sizes, (1, 4, 5) and (3, 4, 5), (channels, height, width)"),
        ({"train": [{"picture": GREY[0], "label": 0}]}, 'gives as training images no list of {"image": ..., "label": ...}'),
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
