import torch

from bnn_train.config.data import DataConfig
from bnn_train.data import twins
from bnn_train.data.splits import Data, Split

CONFIG = DataConfig("own")


def split(values, labels, names=None):
    """Images of one value each."""
    images = torch.tensor(values, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    return Split(images, torch.tensor(labels), names)


def test_different_images_are_not_spoken_of(said):
    twins.say(CONFIG, Data(split([1, 2, 3], [0, 1, 1]), split([4], [0]), split([5, 6], [0, 1]), ["a", "b"]))
    assert said() == []


def test_the_same_image_within_a_split_and_class_is_not_either(said):
    twins.say(CONFIG, Data(split([1, 1, 3], [0, 0, 1]), None, split([5, 5], [0, 0]), ["a", "b"]))
    assert said() == []


def test_an_image_in_two_splits(said):
    train = split([1, 2, 2, 3], [0, 1, 1, 1], ["a/1.png", "b/2.png", "b/2 copy.png", "b/3.png"])
    test = split([2, 9, 3], [1, 1, 1], ["b/x.png", "b/y.png", "b/z.png"])
    twins.say(CONFIG, Data(train, split([9], [1], ["b/held.png"]), test, ["a", "b"]))
    assert said() == [
        "own: 2 of the 3 test images are training images too, pixel for pixel (b/x.png is b/2.png)",
        "own: 1 of the 3 test images are held-out images too, pixel for pixel (b/y.png is b/held.png)",
    ]


def test_an_image_under_two_labels(said):
    twins.say(CONFIG, Data(split([1, 2, 1, 1], [0, 1, 1, 0]), None, split([7], [0]), ["a", "b"]))
    assert said() == ["own: 1 image repeats another under another label, pixel for pixel (number 0, a and number 2, b)"]
