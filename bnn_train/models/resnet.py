"""The residual network for small images (He et al. 2016, arXiv 1512.03385) in binary form (Bi-Real Net, arXiv 1808.00278)."""

from collections import OrderedDict

from torch import nn

from bnn_train.config.model import ResNetConfig
from bnn_train.errors import ConfigError
from bnn_train.models.blocks import Parts, Residual, Widen

WIDTHS = (16, 32, 64)  # output channels of the three stages
PER_STAGE = 6  # convolutions of a stage: 3 blocks of 2


def resnet20(config: ResNetConfig, parts: Parts, image_shape: tuple[int, int, int], num_classes: int) -> nn.Sequential:
    """Real 3x3 convolution - BN; 3 stages of 6 x ([sign] 3x3 conv - BN, and a shortcut around them); average; real linear layer.

    The first convolution of the second and third stage has stride 2, and its shortcut a 2x2 average; then either a real 1x1
    convolution and BN (downsample=conv) or the channels twice (pool). On 3x32x32 images: 272,474 parameters (pool: 269,722), 40.1
    million binary and 0.7 million real multiply-accumulates.
    """
    channels, height, width = image_shape
    if min(height, width) < 4:
        raise ConfigError("model", config.name, f"halves images twice, but these are {height}x{width}: use images of 4x4 or more")
    layers: list[tuple[str, nn.Module]] = [
        ("stem", nn.Conv2d(channels, WIDTHS[0], 3, padding=1, bias=False)),
        ("norm_stem", nn.BatchNorm2d(WIDTHS[0])),
    ]
    n_in = WIDTHS[0]
    for number, n_out in enumerate(WIDTHS, start=1):
        stage: list[tuple[str, nn.Module]] = []
        for i in range(1, PER_STAGE + 1):
            stride = 2 if n_in != n_out else 1
            conv = parts.conv(n_in, n_out, 3, config.pad_value, stride=stride)
            past = _downsample(config.downsample, n_in, n_out) if stride == 2 else None
            stage.append((f"block{i}", Residual(OrderedDict([("conv", conv), ("norm", nn.BatchNorm2d(n_out))]), past)))
            n_in = n_out
        layers.append((f"stage{number}", nn.Sequential(OrderedDict(stage))))
    layers += [("average", nn.AdaptiveAvgPool2d(1)), ("flatten", nn.Flatten()), ("output", nn.Linear(n_in, num_classes))]
    return nn.Sequential(OrderedDict(layers))


def _downsample(kind: str, n_in: int, n_out: int) -> nn.Module:
    if kind == "pool":
        return Widen(2, n_in, n_out, ceil=True)
    conv = nn.Conv2d(n_in, n_out, 1, bias=False)
    # ceil_mode: of an odd size the last row counts too, as in the convolution of stride 2.
    pool = nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False)
    return nn.Sequential(OrderedDict([("pool", pool), ("conv", conv), ("norm", nn.BatchNorm2d(n_out))]))
