"""A convolutional network after BinaryNet (Hubara et al. 2016, arXiv 1602.02830): convolutions, pools, then linear layers."""

from collections import OrderedDict

from torch import nn

from bnn_train.config.model import CnnConfig
from bnn_train.errors import ConfigError
from bnn_train.models.blocks import Parts, Residual, Widen, linear_layers


def cnn(config: CnnConfig, parts: Parts, image_shape: tuple[int, int, int], num_classes: int) -> nn.Sequential:
    """Per convolution: conv [- 2x2 max-pool at the end of its stage] - BN; then the linear layers of the mlp.

    The pool comes before the sign, where the maximum still tells values apart. Convolutions keep the size of their input, and each
    stage halves it. The first convolution has real inputs, padded with 0, unless `binarize_input`. The linear layers see every
    place, or with head=average the mean of each channel over all places.
    """
    channels, height, width = image_shape
    _check_size(config, height, width)
    layers: list[tuple[str, nn.Module]] = []
    number = 0
    for stage in config.stages:
        for i, n_out in enumerate(stage, start=1):
            number += 1
            pools = i == len(stage)
            binary_input = number > 1 or config.binarize_input
            block: list[tuple[str, nn.Module]] = [
                (f"conv{number}", parts.conv(channels, n_out, config.kernel_size, config.pad_value, binary_input))
            ]
            if pools:
                block.append((f"pool{number}", nn.MaxPool2d(2)))
            block.append((f"norm_conv{number}", nn.BatchNorm2d(n_out)))
            if parts.shortcut and binary_input:
                past = Widen(2 if pools else 1, channels, n_out) if pools or channels != n_out else None
                block = [(f"block_conv{number}", Residual(OrderedDict(block), past))]
            layers.extend(block)
            channels = n_out
        height, width = height // 2, width // 2
    if config.head == "average":
        layers.append(("average", nn.AdaptiveAvgPool2d(1)))
        height = width = 1
    layers.append(("flatten", nn.Flatten()))
    ends = (config.hidden, config.dropout, True, config.binarize_output)
    layers.extend(linear_layers(parts, channels * height * width, num_classes, *ends))
    return nn.Sequential(OrderedDict(layers))


def _check_size(config: CnnConfig, height: int, width: int) -> None:
    """Raises ConfigError where the images are too small for the network."""
    smaller, stages = min(height, width), len(config.stages)
    if smaller < 2**stages:
        raise ConfigError(
            "model.stages",
            config.stages,
            f"{stages} stages halve images {stages} times, but these are {height}x{width}: "
            f"use at most {smaller.bit_length() - 1} stages or larger images",
        )
    if config.kernel_size > smaller:
        raise ConfigError("model.kernel_size", config.kernel_size, f"is larger than the images, {height}x{width}")
