"""Layers that multiply with binarized weights. `weight` is the latent weight: a state_dict has the keys of the torch layer.

The layers do not touch their input: where it is to be binary, an estimator (ste.py) stands before them in the model.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnn_train.binary.weights import Binarizer
from bnn_train.checks import check_choice


class BinaryLinear(nn.Linear):
    """y = x b(W)^T, b a weight binarizer. x: (N, in_features) -> (N, out_features)."""

    def __init__(self, in_features: int, out_features: int, binarizer: Binarizer, bias: bool = False) -> None:
        super().__init__(in_features, out_features, bias)
        self.binarizer = binarizer
        self.connected: Tensor | None = None
        binarizer.start(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, _effective_weight(self), self.bias)


class BinaryConv2d(nn.Conv2d):
    """Convolution with b(W), b a weight binarizer. x: (N, in_channels, H, W).

    `pad_value`, 0, 1 or -1, surrounds the input. With 0 a binary input is ternary at the borders; 1 and -1 keep products binary.
    Other arguments as in torch.nn.Conv2d, with `padding` in pixels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        binarizer: Binarizer,
        pad_value: int = 0,
        **conv2d: Any,
    ) -> None:
        check_choice("pad_value", pad_value, (0, 1, -1))
        super().__init__(in_channels, out_channels, kernel_size, **{"bias": False, **conv2d})
        self.binarizer = binarizer
        self.connected: Tensor | None = None
        binarizer.start(self.weight)
        self.pad_value = pad_value

    def forward(self, x: Tensor) -> Tensor:
        weight = _effective_weight(self)
        if self.pad_value == 0:
            return self._conv_forward(x, weight, self.bias)
        x = F.pad(x, self._reversed_padding_repeated_twice, value=float(self.pad_value))
        return F.conv2d(x, weight, self.bias, self.stride, 0, self.dilation, self.groups)


def _effective_weight(layer: BinaryLinear | BinaryConv2d) -> Tensor:
    """What the layer multiplies with. `connected`, 1 or 0 for each edge, is set where edges are pruned (edges.py)."""
    weight = layer.binarizer(layer.weight)
    return weight if layer.connected is None else weight * layer.connected


def binary_layers(model: nn.Module) -> list[BinaryLinear | BinaryConv2d]:
    """All layers whose weights are binarized, in the model's order."""
    layers = (m for m in model.modules() if isinstance(m, BinaryLinear | BinaryConv2d))
    return [layer for layer in layers if layer.binarizer.bits < 32]


@torch.no_grad()
def constrain(layer: BinaryLinear | BinaryConv2d, lr: float, clip: float | None) -> None:
    """What follows an optimizer's step: the layer's latent weight shrinks by its KL prior, then keeps to its bounds, in place."""
    if layer.binarizer.kl > 0:
        layer.weight.div_(1 + lr * layer.binarizer.kl)
    bound = min(layer.binarizer.bound, math.inf if clip is None else clip)
    if bound < math.inf:
        layer.weight.clamp_(-bound, bound)


def is_stochastic(model: nn.Module) -> bool:
    """Whether activations or weights of the network are drawn in training."""
    return any(getattr(module, "stochastic", False) for module in model.modules())


@contextmanager
def sampling(model: nn.Module) -> Iterator[None]:
    """Within, a stochastic network draws its activations and weights in evaluation too."""
    drawn: list[Any] = [module for module in model.modules() if getattr(module, "stochastic", False)]
    for module in drawn:
        module.sampling = True
    try:
        yield
    finally:
        for module in drawn:
            module.sampling = False
