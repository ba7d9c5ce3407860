"""The multilayer perceptron of the classic MNIST script, with any list of hidden sizes."""

import math
from collections import OrderedDict

from torch import nn

from bnn_train.config.model import MlpConfig
from bnn_train.models.blocks import Parts, linear_layers


def mlp(config: MlpConfig, parts: Parts, image_shape: tuple[int, int, int], num_classes: int) -> nn.Sequential:
    """linear - BN - [sign] linear - BN - [sign] linear - dropout - BN - real linear, on flattened images.

    The first layer has binary weights and real inputs, unless `binarize_input`.
    """
    ends = (config.hidden, config.dropout, config.binarize_input, config.binarize_output)
    layers = linear_layers(parts, math.prod(image_shape), num_classes, *ends)
    return nn.Sequential(OrderedDict([("flatten", nn.Flatten()), *layers]))
