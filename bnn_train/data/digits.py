"""scikit-learn's bundled handwritten digits (UCI, 1,797 images of 8x8): real data that needs no download."""

import torch

from bnn_train.config.data import DataConfig
from bnn_train.data.splits import Arrays, Split, held_out, split_off


def digits(config: DataConfig) -> Arrays:
    """A stratified `test_fraction` is the test set, the same in every run."""
    from sklearn.datasets import load_digits  # half a second to import

    bunch = load_digits()
    images = torch.from_numpy(bunch.images).mul(255 / 16).round().to(torch.uint8).unsqueeze(1)  # stored as 0 to 16
    everything = Split(images, torch.from_numpy(bunch.target).long())
    size = round(config.test_fraction * len(everything))
    train, test = split_off(everything, held_out("data.test_fraction", everything.labels, size))
    return Arrays(train, test, [str(name) for name in bunch.target_names])
