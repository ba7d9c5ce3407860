"""A convolutional network after BinaryNet (Hubara et al. 2016, arXiv 1602.02830): convolutions, pools, then linear layers."""

from collections import OrderedDict

from torch import nn

from bnn_train.binary.layers import BinaryConv2d
from bnn_train.errors import ConfigError
from bnn_train.models.blocks import Parts, linear_layers


def cnn(
    parts: Parts,
    image_shape: tuple[int, int, int],
    num_classes: int,
    *,
    stages: list[list[int]],
    kernel_size: int,
    pad_value: int,
    hidden: list[int],
    dropout: float,
    binarize_input: bool,
    binarize_output: bool,
) -> nn.Sequential:
    """Per convolution: conv [- 2x2 max-pool at the end of its stage] - BN; then the linear layers of the mlp.

    The pool comes before the sign, where the maximum still tells values apart. Convolutions keep the size of their input, and each
    stage halves it. The first convolution has real inputs, padded with 0, unless `binarize_input`.
    """
    if not stages:
        raise ConfigError("model.stages", stages, "the cnn needs at least one stage, for example [[32,32],[64,64]]")
    channels, height, width = image_shape
    if min(height, width) < 2 ** len(stages):
        raise ConfigError(
            "model.stages",
            stages,
            f"{len(stages)} stages halve images {len(stages)} times, but these are {height}x{width}: "
            f"use at most {min(height, width).bit_length() - 1} stages or larger images",
        )
    if kernel_size > min(height, width):
        raise ConfigError("model.kernel_size", kernel_size, f"is larger than the images, {height}x{width}")
    layers: list[tuple[str, nn.Module]] = []
    number = 0
    for stage in stages:
        for i, width_out in enumerate(stage, start=1):
            number += 1
            binary_input = number > 1 or binarize_input
            conv = BinaryConv2d(
                channels,
                width_out,
                kernel_size,
                parts.binarizer(),
                parts.estimator() if binary_input else None,
                pad_value=pad_value if binary_input else 0,
                padding=kernel_size // 2,
            )
            layers.append((f"conv{number}", conv))
            if i == len(stage):
                layers.append((f"pool{number}", nn.MaxPool2d(2)))
                height, width = height // 2, width // 2
            layers.append((f"norm_conv{number}", nn.BatchNorm2d(width_out)))
            channels = width_out
    layers.append(("flatten", nn.Flatten()))
    layers.extend(linear_layers(parts, channels * height * width, num_classes, hidden, dropout, True, binarize_output))
    return nn.Sequential(OrderedDict(layers))
