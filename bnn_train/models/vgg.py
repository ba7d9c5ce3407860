"""The two networks of VGG's kind (Simonyan & Zisserman 2015, arXiv 1409.1556) in which papers compare methods on CIFAR-10."""

from collections import OrderedDict

from torch import nn

from bnn_train.config.model import VggConfig
from bnn_train.errors import ConfigError
from bnn_train.models.blocks import Parts, linear_layers
from bnn_train.models.cnn import convolutions

STAGES = [[128, 128], [256, 256], [512, 512]]  # output channels; a 2x2 max-pool ends each
POOLED = 2 ** len(STAGES)


def vgg_small(config: VggConfig, parts: Parts, image_shape: tuple[int, int, int], num_classes: int) -> nn.Sequential:
    """Real 3x3 convolution, five binary ones, three pools, a real linear layer (LQ-Nets, Zhang et al. 2018, arXiv 1807.10029).

    On 3x32x32 images: 4.66 million parameters, 604.0 million binary and 3.6 million real multiply-accumulates.
    """
    channels, height, width = image_shape
    _check_size(config, height, width)
    first = nn.Conv2d(channels, STAGES[0][0], 3, padding=1, bias=False)
    layers = convolutions(parts, first, STAGES, 3, config.pad_value)
    places = (height // POOLED) * (width // POOLED)
    layers += [("flatten", nn.Flatten()), ("output", nn.Linear(STAGES[-1][-1] * places, num_classes))]
    return nn.Sequential(OrderedDict(layers))


def binarynet(config: VggConfig, parts: Parts, image_shape: tuple[int, int, int], num_classes: int) -> nn.Sequential:
    """The same convolutions, all with binary weights, and three binary linear layers (BinaryConnect, Courbariaux et al. 2015, arXiv
    1511.00363; Hubara et al. 2016, arXiv 1602.02830).

    On 3x32x32 images: 14.02 million binary weights, 613.3 million binary and 3.5 million real multiply-accumulates.
    """
    channels, height, width = image_shape
    _check_size(config, height, width)
    first = parts.conv(channels, STAGES[0][0], 3, binary_input=False)
    layers = convolutions(parts, first, STAGES, 3, config.pad_value)
    layers.append(("flatten", nn.Flatten()))
    places = (height // POOLED) * (width // POOLED)
    layers.extend(linear_layers(parts, STAGES[-1][-1] * places, num_classes, [1024, 1024], 0.0, True, True))
    return nn.Sequential(OrderedDict(layers))


def _check_size(config: VggConfig, height: int, width: int) -> None:
    if min(height, width) < POOLED:
        remedy = f"halves images {len(STAGES)} times, but these are {height}x{width}: use images of {POOLED}x{POOLED} or more"
        raise ConfigError("model", config.name, remedy)
