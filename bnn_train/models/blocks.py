"""What the networks are built of: makers of their binary layers, the linear layers that end them, and shortcuts."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnn_train.binary.layers import BinaryConv2d, BinaryLinear
from bnn_train.binary.weights import Binarizer
from bnn_train.models.dropout import Dropout


class Parts(NamedTuple):
    """The choices that fill a network's slots: makers of the activations' estimator and the weights' binarizer, and the block."""

    estimator: Callable[[], nn.Module]
    binarizer: Callable[[], Binarizer]
    shortcut: bool = False  # around each binary layer and its BatchNorm
    fast: bool = False  # gradients may be rounded where products are then faster

    def linear(self, n_in: int, n_out: int, binary_input: bool = True) -> BinaryLinear:
        estimator = self.estimator() if binary_input else None
        return BinaryLinear(n_in, n_out, self.binarizer(), estimator, fast=self.fast)

    def conv(
        self, n_in: int, n_out: int, kernel_size: int, pad_value: int, binary_input: bool = True, **conv2d: Any
    ) -> BinaryConv2d:
        """With as much padding as keeps the size, at stride 1; a real input is padded with 0."""
        estimator, pad_value = (self.estimator(), pad_value) if binary_input else (None, 0)
        return BinaryConv2d(
            n_in,
            n_out,
            kernel_size,
            self.binarizer(),
            estimator,
            pad_value=pad_value,
            fast=self.fast,
            padding=kernel_size // 2,
            **conv2d,
        )


class Residual(nn.Sequential):
    """layers(x) + shortcut(x): a real path past each binary layer (Bi-Real Net, Liu et al. 2018, arXiv 1808.00278)."""

    def __init__(self, layers: "OrderedDict[str, nn.Module]", shortcut: nn.Module | None = None) -> None:
        super().__init__(layers)
        self.shortcut = nn.Identity() if shortcut is None else shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for name, layer in self.named_children():
            if name != "shortcut":
                y = layer(y)
        return y + self.shortcut(x)


class Widen(nn.Module):
    """The mean of each size x size square of pixels, and its channels over again until there are `n_out`: no parameters."""

    def __init__(self, size: int, n_in: int, n_out: int, ceil: bool = False) -> None:
        super().__init__()
        self.size, self.n_in, self.n_out, self.ceil = size, n_in, n_out, ceil

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.size == 1 else F.avg_pool2d(x, self.size, ceil_mode=self.ceil, count_include_pad=False)
        return torch.cat([x] * -(-self.n_out // self.n_in), dim=1)[:, : self.n_out]

    def extra_repr(self) -> str:
        return f"size={self.size}, n_in={self.n_in}, n_out={self.n_out}"


def linear_layers(
    parts: Parts, in_features: int, num_classes: int, hidden: list[int], dropout: float, binarize_input: bool, binarize_output: bool
) -> Iterator[tuple[str, nn.Module]]:
    """Named modules: (linear [- dropout] - BN) for each of `hidden`, then the output layer.

    The classic order: the sign belongs to the binary layer that it feeds, dropout comes before the last BatchNorm, and the output
    layer is real with real inputs. With `binarize_output` it is binary linear - BN. Binary layers have no bias, since
    BatchNorm follows them. Shortcuts go around layers whose input is binarized and as wide as their output.
    """
    sizes = [in_features, *hidden]
    for i, (n_in, n_out) in enumerate(pairwise(sizes), start=1):
        binary_input = i > 1 or binarize_input
        layers: list[tuple[str, nn.Module]] = [(f"linear{i}", parts.linear(n_in, n_out, binary_input))]
        if i == len(hidden) and dropout > 0:
            layers.append(("dropout", Dropout(dropout)))
        layers.append((f"norm_linear{i}", nn.BatchNorm1d(n_out)))
        if parts.shortcut and binary_input and n_in == n_out:
            layers = [(f"block_linear{i}", Residual(OrderedDict(layers)))]
        yield from layers
    if binarize_output:
        yield "output", parts.linear(sizes[-1], num_classes)
        yield "norm_output", nn.BatchNorm1d(num_classes)
    else:
        yield "output", nn.Linear(sizes[-1], num_classes)
