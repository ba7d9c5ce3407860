"""From data.name to images on the device. REGISTRY names the readers: a reader is a function from the configuration to Arrays."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import torch

from bnn_train import register
from bnn_train.config.checks import check_choice
from bnn_train.config.data import DataConfig
from bnn_train.data import checks, given, memory, twins
from bnn_train.data.digits import digits
from bnn_train.data.image_folder import image_folder, peek_folder
from bnn_train.data.splits import Arrays, Data, hold_out, limited
from bnn_train.data.torchvision_sets import cifar10, cifar100, fashion_mnist, kmnist, mnist
from bnn_train.errors import ConfigError

Peeked = tuple[tuple[int, int, int], int]  # an image's shape (channels, height, width), the number of classes


class Reader(NamedTuple):
    """How a data set is read, and what is known of it before: None where that takes reading."""

    read: Callable[..., Arrays]  # of the configuration
    peek: Callable[[DataConfig], Peeked | None] = lambda config: None
    can_stay_on_disk: bool = False  # so that `read` takes the device too


REGISTRY: dict[str, Reader] = {
    "digits": Reader(digits, lambda config: ((1, 8, 8), 10)),
    "mnist": Reader(mnist, lambda config: ((1, 28, 28), 10)),
    "fashion_mnist": Reader(fashion_mnist, lambda config: ((1, 28, 28), 10)),
    "kmnist": Reader(kmnist, lambda config: ((1, 28, 28), 10)),
    "cifar10": Reader(cifar10, lambda config: ((3, 32, 32), 10)),
    "cifar100": Reader(cifar100, lambda config: ((3, 32, 32), 100)),
    "image_folder": Reader(image_folder, peek_folder, can_stay_on_disk=True),
}
register.into("data", REGISTRY, lambda plugged: Reader(functools.partial(given.read, plugged)))


def peek(config: DataConfig) -> Peeked | None:
    """The images' shape and the number of classes, where they can be told before reading. Raises ConfigError as `load` does."""
    check_choice("data.name", config.name, REGISTRY)
    peeked = REGISTRY[config.name].peek(config)
    if peeked is not None:
        _check_shape(config, peeked[0])
    return peeked


def needs_root(config: DataConfig) -> bool:
    """Whether the images lie in files below data.root."""
    plugged = register.FOUND["data"].get(config.name)
    return config.name != "digits" if plugged is None else "root" in plugged.keys


def load(config: DataConfig, device: torch.device) -> Data:
    """Reads, checks, splits, limits and moves to the device what `config` names, and says what is odd about it.

    Where data.mean and data.std are empty, the configuration gets those of the images. Raises ConfigError with what is at fault.
    """
    check_choice("data.name", config.name, REGISTRY)
    with memory.named(config, device):
        reader = REGISTRY[config.name]
        arrays = reader.read(config, device) if reader.can_stay_on_disk else reader.read(config)
        checks.check(config, arrays)
        channels, height, width = arrays.train.images.shape[1:]
        _check_shape(config, (channels, height, width))
        train, val = arrays.train, arrays.val
        if config.val_size:
            if val is not None:
                raise ConfigError("data.val_size", config.val_size, "the data set has held-out images of its own; leave it at 0")
            train, val = hold_out("data.val_size", config.val_size, train, config.val_size, arrays.classes)
        train, test = limited(train, config.train_limit), limited(arrays.test, config.test_limit)
        data = Data(train, val, test, arrays.classes)
        if not config.mean:  # from here on they are the run's
            config.mean, config.std = given.mean_and_std(train)
        checks.say(config, data)
        twins.say(config, data)
        return Data(train.to(device), val.to(device) if val else None, test.to(device), arrays.classes)


def _check_shape(config: DataConfig, shape: tuple[int, int, int]) -> None:
    channels, height, width = shape
    if len(config.mean) not in (0, 1, channels):
        raise ConfigError("data.mean", config.mean, f"needs one value, or one for each of the {channels} channels")
    if config.cutout > min(height, width):
        raise ConfigError("data.cutout", config.cutout, f"is larger than the images, {height}x{width}")
