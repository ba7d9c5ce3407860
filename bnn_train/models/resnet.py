"""Residual networks for small images (He et al. 2016, arXiv 1512.03385) in binary form (Bi-Real Net, arXiv 1808.00278)."""

import functools
from collections import OrderedDict

from torch import nn

from bnn_train.config.model import ResNetConfig
from bnn_train.errors import ConfigError
from bnn_train.models.around import Residual, Widen
from bnn_train.models.blocks import Named, Parts


def residual(
    config: ResNetConfig,
    parts: Parts,
    image_shape: tuple[int, int, int],
    num_classes: int,
    widths: tuple[int, ...],
    per_stage: int,
) -> nn.Sequential:
    """Real 3x3 convolution - BN; stages of ([sign] 3x3 conv - BN) with shortcuts; average; real linear layer.

    widths: output channels of the stages, of `per_stage` convolutions each. A shortcut goes around each convolution, or with
    block.shortcut=per_block around every two. Every stage but the first begins with stride 2, and a shortcut of 2x2 averages; then
    either a real 1x1 convolution and BN (downsample=conv) or the channels over again (pool).
    """
    channels, height, width = image_shape
    least = 2 ** (len(widths) - 1)
    if min(height, width) < least:
        times = {2: "twice", 3: "3 times"}[len(widths) - 1]
        remedy = f"halves images {times}, but these are {height}x{width}: use images of {least}x{least} or more"
        raise ConfigError("model", config.name, remedy)
    stem = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
    layers: list[Named] = parts.around("stem", stem)
    n_in, size = widths[0], 2 if parts.block.shortcut == "per_block" else 1
    for number, n_out in enumerate(widths, start=1):
        stage: list[Named] = []
        for i in range(1, per_stage // size + 1):
            stage += _block(config, parts, i, size, n_in, n_out)
            n_in = n_out
        layers.append((f"stage{number}", nn.Sequential(OrderedDict(stage))))
    layers += [("average", nn.AdaptiveAvgPool2d(1)), ("flatten", nn.Flatten()), ("output", nn.Linear(n_in, num_classes))]
    return nn.Sequential(OrderedDict(layers))


# On 3x32x32 images, as in Bi-Real Net: 272,474 parameters (downsample=pool: 269,722), 40.1 million binary and 0.7 million real
# multiply-accumulates; of resnet18 11.17 million (pool: 11.00 million), 547.4 million and 8.1 million.
resnet20 = functools.partial(residual, widths=(16, 32, 64), per_stage=6)
resnet18 = functools.partial(residual, widths=(64, 128, 256, 512), per_stage=4)


def _block(config: ResNetConfig, parts: Parts, number: int, size: int, n_in: int, n_out: int) -> list[Named]:
    """`size` convolutions with a shortcut around them, and what follows their sum. Where it widens, it halves the image."""
    past = _downsample(config.downsample, n_in, n_out) if n_in != n_out else None
    layers: list[Named] = []
    for i in range(1, size + 1):
        conv = parts.conv(n_in, n_out, 3, config.pad_value, stride=1 if n_in == n_out else 2)
        which = str(i) if size > 1 else ""
        layers += parts.within(f"conv{which}", conv, f"{{}}{which}")
        if i < size:
            layers += parts.activation(conv, f"{{}}{which}")
        n_in = n_out
    return [(f"block{number}", Residual(OrderedDict(layers), past)), *parts.activation(conv, f"{{}}{number}")]


def _downsample(kind: str, n_in: int, n_out: int) -> nn.Module:
    if kind == "pool":
        return Widen(2, n_in, n_out, ceil=True)
    conv = nn.Conv2d(n_in, n_out, 1, bias=False)
    # ceil_mode: of an odd size the last row counts too, as in the convolution of stride 2.
    pool = nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False)
    return nn.Sequential(OrderedDict([("pool", pool), ("conv", conv), ("norm", nn.BatchNorm2d(n_out))]))
