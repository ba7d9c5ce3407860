"""The multilayer perceptron of the classic MNIST script, with any list of hidden sizes."""

import math
from collections import OrderedDict

from torch import nn

from bnn_train.errors import ConfigError
from bnn_train.models.blocks import Parts, linear_layers


def mlp(
    parts: Parts,
    image_shape: tuple[int, int, int],
    num_classes: int,
    *,
    hidden: list[int],
    dropout: float,
    binarize_input: bool,
    binarize_output: bool,
) -> nn.Sequential:
    """linear - BN - [sign] linear - BN - [sign] linear - dropout - BN - real linear, on flattened images.

    The first layer has binary weights and real inputs, unless `binarize_input`.
    """
    if not hidden:
        raise ConfigError("model.hidden", hidden, "the mlp needs hidden layers, for example [512,512]")
    layers = linear_layers(parts, math.prod(image_shape), num_classes, hidden, dropout, binarize_input, binarize_output)
    return nn.Sequential(OrderedDict([("flatten", nn.Flatten()), *layers]))
