import pytest
import torch

from bnn_train.config.data import DataConfig
from bnn_train.data import checks
from bnn_train.data.splits import Arrays, Data, Split
from bnn_train.errors import ConfigError

CONFIG = DataConfig("own", root="here", test_fraction=0.001)
CLASSES = ["a", "b", "c"]


def split(*labels, images=None):
    return Split(torch.zeros(len(labels) if images is None else images, 1, 2, 2, dtype=torch.uint8), torch.tensor(labels).long())


def arrays(train=(0, 1, 2), test=(0, 1, 2), val=None):
    return Arrays(split(*train), split(*test), CLASSES, val and split(*val))


def test_what_is_right_passes():
    checks.check(CONFIG, arrays(val=(1, 2)))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (arrays(test=()), "data.test_fraction=0.001: takes none of 3 images for the test set"),
        (arrays(train=()), "data.root=here: the data set has no training image"),
        (arrays(train=(1, 2, 3)), "the training labels are 1 to 3, and the 3 classes are 0 to 2"),
        (arrays(test=(-1, 0)), "the test labels are -1 to 0, and the 3 classes are 0 to 2"),
        (arrays(val=(9,)), "the held-out labels are 9 to 9"),
        (Arrays(split(0, 1, images=3), split(0), CLASSES), "holds 3 training images and 2 labels; each image needs one"),
        (arrays(train=(0, 0)), "there are test images of b, c and none to train on"),
        (arrays(train=(0, 1), test=(0, 1), val=(2,)), "there are held-out images of c and none to train on"),
    ],
)
def test_what_cannot_be_right_is_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        checks.check(CONFIG, wrong)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (Data(split(0, 0, 1, 1, 2, 2), None, split(0, 1, 2), CLASSES), []),
        (Data(split(0, 0, 1, 1, 2, 2), None, split(0), CLASSES), ["own: no test image of b, c (2 of 3 classes)"]),
        (
            Data(split(0, 0, 1, 1), split(1), split(0, 1), CLASSES),
            ["own: no image at all of c (1 of 3 classes)", "own: no held-out image of a (1 of 3 classes)"],
        ),
        (
            Data(split(0, 0, 1), None, split(0, 1, 2), CLASSES),
            ["own: no training image of c (1 of 3 classes)", "own: a single training image of b (1 of 3 classes)"],
        ),
    ],
)
def test_what_is_odd_is_said(said, data, expected):
    checks.say(CONFIG, data)
    assert said() == expected
