"""A convolutional network after BinaryNet (Hubara et al. 2016, arXiv 1602.02830): convolutions, pools, then linear layers."""

from collections import OrderedDict

from torch import nn

from bnn_train.binary.centred import CentredConv2d
from bnn_train.config.model import CnnConfig
from bnn_train.errors import ConfigError
from bnn_train.models.around import Widen
from bnn_train.models.blocks import Named, Parts, linear_layers


def cnn(config: CnnConfig, parts: Parts, image_shape: tuple[int, int, int], num_classes: int) -> nn.Sequential:
    """Per convolution: conv [- 2x2 max-pool at the end of its stage] - BN; then the linear layers of the mlp.

    The pool comes before the sign, where the maximum still tells values apart. Convolutions keep the size of their input, and each
    stage halves it. The first convolution has real inputs, padded with 0, unless `binarize_input`; its weights are binary, or as
    `stem` says. The linear layers see every place, or with head=average the mean of each channel over all places.
    """
    channels, height, width = image_shape
    cut = config.kernel_size - 1 if config.stem == "centred" else 0  # by the first convolution, which is not padded then
    _check_size(config, height, width, cut)
    first = _first(config, parts, channels)
    height, width = height - cut, width - cut
    layers = convolutions(parts, first, config.stages, config.kernel_size, config.pad_value)
    places = (height >> len(config.stages)) * (width >> len(config.stages))
    if config.head == "average":
        layers.append(("average", nn.AdaptiveAvgPool2d(1)))
        places = 1
    layers.append(("flatten", nn.Flatten()))
    ends = (config.hidden, config.dropout, True, config.binarize_output)
    layers.extend(linear_layers(parts, config.stages[-1][-1] * places, num_classes, *ends))
    return nn.Sequential(OrderedDict(layers))


def _first(config: CnnConfig, parts: Parts, channels: int) -> nn.Conv2d:
    n_out, size = config.stages[0][0], config.kernel_size
    if config.stem == "binary":
        return parts.conv(channels, n_out, size, config.pad_value, config.binarize_input)
    if config.stem == "centred":
        return CentredConv2d(channels, n_out, size)
    return nn.Conv2d(channels, n_out, size, padding=size // 2, bias=False)


def convolutions(parts: Parts, first: nn.Conv2d, stages: list[list[int]], kernel_size: int, pad_value: int) -> list[Named]:
    """conv1 (`first`), conv2 ...: binary convolutions of so many channels; a 2x2 max-pool behind the last of each stage."""
    found: list[Named] = []
    channels, number = first.in_channels, 0
    for stage in stages:
        for i, n_out in enumerate(stage, start=1):
            number += 1
            pools = i == len(stage)
            conv = first if number == 1 else parts.conv(channels, n_out, kernel_size, pad_value)
            then: list[Named] = [(f"pool{number}", nn.MaxPool2d(2))] if pools else []
            past = Widen(2 if pools else 1, channels, n_out) if pools or channels != n_out else None
            fits = getattr(conv, "estimator", None) is not None
            found += parts.around(f"conv{number}", conv, *then, fits=fits, past=past)
            channels = n_out
    return found


def _check_size(config: CnnConfig, height: int, width: int, cut: int) -> None:
    """Raises ConfigError where the images are too small for the network."""
    smaller, stages = min(height, width), len(config.stages)
    if config.kernel_size > smaller:
        raise ConfigError("model.kernel_size", config.kernel_size, f"is larger than the images, {height}x{width}")
    if smaller - cut < 2**stages:
        raise ConfigError(
            "model.stages",
            config.stages,
            f"{stages} stages halve images {stages} times, but these are {height}x{width}: "
            f"use at most {(smaller - cut).bit_length() - 1} stages or larger images",
        )
