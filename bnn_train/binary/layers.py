"""Layers that binarize their input and their weight, and multiply. `weight` is the latent weight: state_dict keys are torch's.

Input and weight are binarized inside the layer, so that it knows its factors to be -1 and +1 and can multiply them as bytes.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnn_train.binary import products
from bnn_train.binary.ste import Rule, Ste, binarize, sign, sign_int8
from bnn_train.binary.weights import Binarizer
from bnn_train.checks import check_choice


class BinaryLinear(nn.Linear):
    """y = e(x) b(W)^T, e an estimator, b a weight binarizer. x: (N, in_features) -> (N, out_features).

    Without an estimator x is multiplied as it is.
    """

    binarizer: Binarizer
    estimator: nn.Module | None
    connected: Tensor | None
    int8: bool
    fast: bool

    def __init__(
        self, in_features: int, out_features: int, binarizer: Binarizer, estimator: nn.Module | None = None, bias: bool = False
    ) -> None:
        super().__init__(in_features, out_features, bias)
        _start(self, binarizer, estimator)

    def forward(self, x: Tensor) -> Tensor:
        return _multiply(self, x, products.Linear(), lambda x, w: F.linear(x, w, self.bias))


class BinaryConv2d(nn.Conv2d):
    """Convolution of e(x) with b(W), e an estimator, b a weight binarizer. x: (N, in_channels, H, W).

    Without an estimator x is taken as it is. `pad_value`, 0, 1 or -1, surrounds the input. With 0 a binary input is ternary at the
    borders; 1 and -1 keep products binary. Other arguments as in torch.nn.Conv2d, with `padding` in pixels.
    """

    binarizer: Binarizer
    estimator: nn.Module | None
    connected: Tensor | None
    int8: bool
    fast: bool

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        binarizer: Binarizer,
        estimator: nn.Module | None = None,
        pad_value: int = 0,
        **conv2d: Any,
    ) -> None:
        check_choice("pad_value", pad_value, (0, 1, -1))
        super().__init__(in_channels, out_channels, kernel_size, **{"bias": False, **conv2d})
        self.pad_value = pad_value
        _start(self, binarizer, estimator)

    def forward(self, x: Tensor) -> Tensor:
        geometry = None
        if self.groups == 1 and self.padding_mode == "zeros" and not isinstance(self.padding, str):
            geometry = products.Conv2d(_pair(self.stride), _pair(self.padding), _pair(self.dilation), self.pad_value)
        return _multiply(self, x, geometry, self._real_product)

    def _real_product(self, x: Tensor, w: Tensor) -> Tensor:
        if self.pad_value == 0:
            return self._conv_forward(x, w, self.bias)
        x = F.pad(x, self._reversed_padding_repeated_twice, value=float(self.pad_value))
        return F.conv2d(x, w, self.bias, self.stride, 0, self.dilation, self.groups)


def _pair(pixels: tuple[int, ...]) -> tuple[int, int]:
    return pixels[0], pixels[1]


def _start(layer: BinaryLinear | BinaryConv2d, binarizer: Binarizer, estimator: nn.Module | None) -> None:
    layer.estimator, layer.binarizer = estimator, binarizer
    layer.connected = None  # 1 or 0 for each edge, where edges are pruned (edges.py)
    layer.int8 = layer.fast = False  # see choose_products
    binarizer.start(layer.weight)


def _multiply(
    layer: BinaryLinear | BinaryConv2d,
    a: Tensor,
    geometry: products.Geometry | None,
    real: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """The layer's product: in int8 where both factors are binary and the layer is told to, else as `real` computes it."""
    of_a = layer.estimator.rule(a) if isinstance(layer.estimator, Ste) else None
    of_w = layer.binarizer.rule(layer.weight)
    binary = of_a is not None and of_w is not None and of_a.forward is of_w.forward is sign
    if layer.int8 and binary and geometry is not None and a.dtype == layer.weight.dtype == torch.float32:
        y = _BinaryProduct.apply(a, layer.weight, of_a, of_w, layer.connected, geometry, layer.fast)
        return y if layer.bias is None else y + layer.bias.view(-1, *[1] * (y.ndim - 2))
    if of_a is not None:
        a = binarize(a, of_a)
    elif layer.estimator is not None:
        a = layer.estimator(a)
    weight = layer.weight if of_w is None else binarize(layer.weight, of_w)
    return real(a, weight if layer.connected is None else weight * layer.connected)


class _BinaryProduct(torch.autograd.Function):
    """The product of two binarized tensors, and the way of the gradient back through the product and both estimators.

    What is kept for it are the signs, a byte each, and the real tensors, which others keep anyway.
    """

    @staticmethod
    def forward(
        ctx: Any,
        a: Tensor,
        latent: Tensor,
        of_a: Rule,
        of_w: Rule,
        connected: Tensor | None,
        geometry: products.Geometry,
        fast: bool,
    ) -> Tensor:
        x, w = sign_int8(of_a.drawn(a)), sign_int8(of_w.drawn(latent))
        if connected is not None:
            w.mul_(connected.to(w.dtype))
        ctx.save_for_backward(a, latent, x, w, connected)
        ctx.rules, ctx.geometry, ctx.fast = (of_a, of_w), geometry, fast
        return geometry.forward(x, w)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        a, latent, x, w, connected = ctx.saved_tensors
        of_a, of_w = ctx.rules
        to_x, to_w = ctx.geometry.gradients(grads[0], x, w, ctx.fast, to_x=ctx.needs_input_grad[0])
        if connected is not None:
            to_w = to_w.mul_(connected.to(w.dtype))
        to_a = None if to_x is None else of_a.backward(to_x, a)
        return to_a, of_w.backward(to_w, latent), None, None, None, None, None


def choose_products(model: nn.Module, device: torch.device, fast: bool) -> None:
    """Lets the binary layers multiply in int8 where that is faster on the device; with `fast` also in the backward pass."""
    for layer in model.modules():
        if isinstance(layer, BinaryLinear | BinaryConv2d):
            layer.int8 = products.int8_is_fast(device)
            layer.fast = fast


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


def note_largest(layer: BinaryLinear | BinaryConv2d, clip: float | None) -> None:
    """Tells the weight binarizer that no latent weight is larger than `clip`, if so: `constrain` then keeps it so."""
    within = clip is not None and layer.weight.abs().max() <= clip
    layer.binarizer.largest = clip if clip is not None and within else math.inf


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
