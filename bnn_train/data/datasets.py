"""From data.name to images on the device. REGISTRY names the readers: a reader is a function from the configuration to Arrays."""

from collections.abc import Callable

import torch

from bnn_train.checks import check_choice
from bnn_train.config import DataConfig
from bnn_train.data.digits import digits
from bnn_train.data.image_folder import image_folder
from bnn_train.data.splits import Arrays, Data, held_out, split_off
from bnn_train.data.torchvision_sets import cifar10, cifar100, fashion_mnist, kmnist, mnist
from bnn_train.errors import ConfigError

REGISTRY: dict[str, Callable[[DataConfig], Arrays]] = {
    "digits": digits,
    "mnist": mnist,
    "fashion_mnist": fashion_mnist,
    "kmnist": kmnist,
    "cifar10": cifar10,
    "cifar100": cifar100,
    "image_folder": image_folder,
}


def load(config: DataConfig, device: torch.device) -> Data:
    """Reads, checks, splits and moves to the device what `config` names. Raises ConfigError with the file or the key at fault."""
    check_choice("data.name", config.name, REGISTRY)
    arrays = REGISTRY[config.name](config)
    channels, height, width = arrays.train.images.shape[1:]
    if len(config.mean) not in (1, channels):
        raise ConfigError("data.mean", config.mean, f"needs one value, or one for each of the {channels} channels")
    if config.cutout > min(height, width):
        raise ConfigError("data.cutout", config.cutout, f"is larger than the images, {height}x{width}")
    train, val = arrays.train, None
    if config.val_size:
        train, val = split_off(arrays.train, held_out("data.val_size", arrays.train.labels, config.val_size))
    return Data(train.to(device), val.to(device) if val else None, arrays.test.to(device), arrays.classes)
