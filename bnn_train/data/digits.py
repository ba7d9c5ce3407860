"""Handwritten digits (UCI, 1,797 images of 8x8), in a file beside this one: real data that needs no download."""

from pathlib import Path

import numpy as np
import torch

from bnn_train.config.data import DataConfig
from bnn_train.data.splits import Arrays, Split, hold_out_test

FILE = Path(__file__).with_name("digits.npz")  # DIGITS.md says where it comes from


def digits(config: DataConfig) -> Arrays:
    """A stratified `test_fraction` is the test set, the same in every run."""
    with np.load(FILE) as file:
        images, labels = torch.from_numpy(file["images"]), torch.from_numpy(file["labels"])
    images = images.double().mul(255 / 16).round().to(torch.uint8).unsqueeze(1)  # stored as 0 to 16
    everything = Split(images, labels.long())
    classes = [str(digit) for digit in range(10)]
    train, test = hold_out_test(config.test_fraction, everything, classes)
    return Arrays(train, test, classes)
