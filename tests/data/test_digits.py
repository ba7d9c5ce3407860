import numpy as np
import pytest
import torch

from bnn_train.config.data import DataConfig
from bnn_train.data import datasets
from bnn_train.data.digits import FILE
from bnn_train.errors import ConfigError

CPU = torch.device("cpu")


def load(**values):
    return datasets.load(DataConfig("digits", **values), CPU)


def test_the_digits_are_whole_and_stratified():
    data = load()
    assert (len(data.train), data.val, len(data.test), data.image_shape) == (1438, None, 359, (1, 8, 8))
    assert data.train.images.dtype == torch.uint8
    assert (data.train.images.min(), data.train.images.max()) == (0, 255)
    shares = torch.bincount(data.test.labels) / torch.bincount(torch.cat([data.train.labels, data.test.labels]))
    assert (shares - 0.2).abs().max() < 0.01
    assert data.classes == [str(digit) for digit in range(10)]


def test_val_size_is_taken_from_the_training_images():
    plain, data = load(), load(val_size=200)
    assert (len(data.train), len(data.val)) == (1238, 200)
    assert torch.equal(data.test.images, plain.test.images)
    both = torch.cat([data.train.images, data.val.images]).flatten(1)
    assert torch.equal(both.sort(0).values, plain.train.images.flatten(1).sort(0).values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"val_size": 1438}, r"data\.val_size=1438: must be smaller than the 1438 training images"),
        ({"mean": [0.5] * 3, "std": [0.5] * 3}, r"data\.mean=.*one value, or one for each of the 1 channels"),
        ({"cutout": 9}, r"data\.cutout=9: is larger than the images, 8x8"),
    ],
)
def test_what_does_not_fit_the_images_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        load(**values)


def test_unknown_name():
    with pytest.raises(ConfigError, match=r"data\.name=imagenet: must be one of digits, mnist"):
        datasets.load(DataConfig("imagenet"), CPU)


def test_the_file_is_that_of_uci():
    """Its documented number of images of each class, and the sum of all pixels of scikit-learn's copy."""
    images, labels = (np.load(FILE)[key] for key in ("images", "labels"))
    assert (images.shape, images.max(), images.sum(dtype=int)) == ((1797, 8, 8), 16, 561718)
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
