"""LeNet-5 (LeCun et al. 1998) in the sizes of Caffe's, in which papers show binary networks on MNIST."""

from collections import OrderedDict

from torch import nn

from bnn_train.config.model import LenetConfig
from bnn_train.errors import ConfigError
from bnn_train.models.blocks import Named, Parts, linear_layers

UNPADDED = 16  # pixels a side that two convolutions of 5x5 and two pools leave one of


def lenet(config: LenetConfig, parts: Parts, image_shape: tuple[int, int, int], num_classes: int) -> nn.Sequential:
    """Real 5x5 convolution of 20 channels, binary one of 50, a 2x2 max-pool behind each, binary linear layer of 500, real linear.

    Convolutions are not padded; but of images below 16 pixels a side nothing would be left, so there they are, and keep the size.
    On 1x28x28 images: 425,000 binary weights, 2.0 million binary and 0.3 million real multiply-accumulates.
    """
    channels, *size = image_shape
    if min(size) < 4:
        remedy = f"halves images twice, but these are {size[0]}x{size[1]}: use images of 4x4 or more"
        raise ConfigError("model", config.name, remedy)
    padding = 2 if min(size) < UNPADDED else 0
    height, width = (_left(pixels, padding) for pixels in size)
    pools: list[Named] = [("pool1", nn.MaxPool2d(2)), ("pool2", nn.MaxPool2d(2))]
    layers = parts.around("conv1", nn.Conv2d(channels, 20, 5, padding=padding, bias=False), pools[0])
    layers += parts.around("conv2", parts.conv(20, 50, 5, padding=padding), pools[1])
    layers.append(("flatten", nn.Flatten()))
    layers.extend(linear_layers(parts, 50 * height * width, num_classes, [500], 0.0, True, False))
    return nn.Sequential(OrderedDict(layers))


def _left(pixels: int, padding: int) -> int:
    """Of a side, behind both convolutions and pools."""
    for _ in range(2):
        pixels = (pixels + 2 * padding - 4) // 2
    return pixels
