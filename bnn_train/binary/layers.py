"""Layers that binarize their input and their weight, and multiply. `weight` is the latent weight: state_dict keys are torch's.

Input and weight are binarized inside the layer, so that it knows its factors to be -1 and +1 and can multiply them as bytes. A
layer works in any nn.Module, alone with its defaults: BinaryLinear(784, 512). Its training loop calls `constrain` after each
step.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnn_train.binary import preparation, probe, products, tables
from bnn_train.binary.centred import CentredConv2d
from bnn_train.binary.packed import PackedWeights, weights_of
from bnn_train.binary.signs import Signs
from bnn_train.binary.ste import Binarization, Ste, binarize, sign, sign_int8
from bnn_train.binary.weights import Binarizer, Sign
from bnn_train.config.checks import check_choice
from bnn_train.errors import ConfigError

CLIPPED = "clipped"  # the estimator of a layer that is given none


class BinaryLayer(nn.Module):
    """What the binary layers share: y = scale * (e(x) times b(W)) + bias, e an estimator, b a weight binarizer."""

    weight: Tensor
    bias: Tensor | None
    binarizer: Binarizer
    estimator: nn.Module | None  # None: x is multiplied as it is
    connected: Tensor | None  # 1 or 0 for each edge, where edges are pruned
    scaling_factor: nn.Parameter | None  # (outputs,), where it is learned
    signs: Signs | None = None  # of the weight, where a step of the optimizer leaves them

    def _start(self, binarizer: Binarizer | None, estimator: nn.Module | str | None) -> None:
        if binarizer is not None and not isinstance(binarizer, Binarizer):
            raise ConfigError("binarizer", binarizer, "must say how the weight is binarized, as Sign() and Real() do, or be None")
        self.binarizer = Sign() if binarizer is None else binarizer
        self.estimator = Ste(estimator) if isinstance(estimator, str) else estimator
        self.register_buffer("connected", None, persistent=False)
        self.binarizer.start(self.weight.data)
        learned = self.binarizer.scaling == "learned"
        self.register_parameter("scaling_factor", nn.Parameter(self.weight.new_ones(len(self.weight))) if learned else None)
        self._start_scale()

    @property
    def binary_input(self) -> bool:
        """Whether the layer multiplies -1 and +1 once training is over. (A convolution padded with 0 is ternary at its border.)"""
        return getattr(self.estimator, "binary", False)

    def prune(self, pruned: Tensor) -> None:
        """Disconnects the edges where the boolean mask is true: they add 0 to the sum."""
        self.connected = (~pruned).to(self.weight)

    @torch.no_grad()
    def binary_weight(self) -> Tensor:
        """What is multiplied, without noise: -1 and +1, and 0 where an edge is pruned; the weight itself where it stays real."""
        weight = self.binarizer.prepared(self.weight, self.connected)
        if self.binarizer.bits == 1:
            weight = torch.where(weight >= 0, 1.0, -1.0).to(weight)
        return weight if self.connected is None else weight * self.connected

    def output_scale(self) -> Tensor | None:
        """The factor of each output, (outputs,), or None."""
        if self.scaling_factor is not None:
            return self.scaling_factor
        return self.binarizer.scale(self.binarizer.prepared(self.weight, self.connected), self.connected)

    def constrain(self, lr: float) -> None:
        """What follows an optimizer's step of learning rate `lr`: the latent weight keeps to its prior, its mean and its bound.

        It is the last to write to the weight before the next forward pass.
        """
        self.binarizer.constrain(self.weight, lr, self.connected)

    @torch.no_grad()
    def _start_scale(self) -> None:
        """A learned scale starts where the mean size of the weights would have it; at 1 where they have none."""
        if self.scaling_factor is not None and self.binarizer.sized:
            prepared = self.binarizer.prepared(self.weight, self.connected)
            self.scaling_factor.copy_(preparation.mean(prepared, self.connected))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *others)
        name = f"{prefix}scaling_factor"
        if self.scaling_factor is not None and name not in state_dict and f"{prefix}weight" in state_dict:
            missing = others[2]
            if name in missing:
                missing.remove(name)
            self._start_scale()

    def _multiply(
        self, a: Tensor, geometry: products.Geometry | None, real: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    ) -> Tensor:
        """The layer's output: by kernels where both factors are binary and that is faster, else as `real` computes it.

        real: of (input, weight, bias), without a scale.
        """
        # Looked up once: a module's parts cost a microsecond each, a small layer's step some hundred.
        binarizer, estimator, weight, bias = self.binarizer, self.estimator, self.weight, self.bias
        connected, learned = self.connected, self.scaling_factor
        prepared = binarizer.prepared(weight, connected)
        binarization = getattr(estimator, "binarization", None)
        of_a = None if binarization is None else binarization(a)
        of_w = binarizer.binarization(prepared)
        scale = binarizer.scale(prepared, connected) if learned is None else learned
        if (
            (of_a is not None and of_a.binary)
            and (of_w is not None and of_w.binary)
            and (geometry is not None and _by_kernels(a, weight, geometry))
        ):
            packed = weights_of(self), *self._signs(prepared, of_w)
            y = _BinaryProduct.apply(a, prepared, scale, of_a, of_w, connected, geometry, packed, torch.is_grad_enabled())
            return y if bias is None else y + _per_output(bias, y)
        if estimator is None and of_w is not None and of_w.binary and connected is None and _by_tables(a, weight):
            y = _RealProduct.apply(a, prepared, of_w, weights_of(self), *self._signs(prepared, of_w))
            y = y if scale is None else y * scale
            return y if bias is None else y + bias
        if of_a is not None:
            a = binarize(a, of_a)
        elif estimator is not None:
            a = estimator(a)
        w = prepared if of_w is None else binarize(prepared, of_w)
        if connected is not None:
            w = w * connected
        if scale is None:
            return real(a, w, bias)
        y = real(a, w, None)
        y = y * _per_output(scale, y)
        return y if bias is None else y + _per_output(bias, y)

    def _signs(self, prepared: Tensor, of_w: Binarization) -> tuple[bool, Tensor | None]:
        """(Whether what is multiplied follows from the weight alone, the signs that a step of the optimizer has left of it).

        What a plugin prepares may be drawn, as noise is.
        """
        is_fixed = prepared is self.weight and of_w.z is None
        return is_fixed, self.signs.of(prepared, self.connected) if self.signs is not None and is_fixed else None


def _by_kernels(a: Tensor, weight: Tensor, geometry: products.Geometry) -> bool:
    if not (a.dtype == weight.dtype == torch.float32 and a.numel() > 0):
        return False
    return probe.by_kernels(geometry, a.shape, weight.shape, a.device.type)


def _by_tables(a: Tensor, weight: Tensor) -> bool:
    if not (a.ndim == 2 and a.dtype == weight.dtype == torch.float32 and a.numel() > 0):
        return False
    return probe.real_by_kernels(a.shape, weight.shape, a.device.type)


def _per_output(values: Tensor, y: Tensor) -> Tensor:
    """(outputs,) as what multiplies y, (N, outputs) or (N, outputs, H, W)."""
    return values if y.ndim == 2 else values.view(-1, 1, 1)


class BinaryLinear(BinaryLayer, nn.Linear):  # type: ignore[misc]  # torch types a bias that may be None as a Tensor
    """y = e(x) b(W)^T. x: (..., in_features) -> (..., out_features).

    binarizer: of the weight; by default its sign, clipped to [-1, 1]. estimator: of the input, a module or a name of binary/ste.py;
    None multiplies the input as it is.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        binarizer: Binarizer | None = None,
        estimator: nn.Module | str | None = CLIPPED,
        bias: bool = False,
    ) -> None:
        super().__init__(in_features, out_features, bias)
        self._start(binarizer, estimator)

    def forward(self, x: Tensor) -> Tensor:
        rows = x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
        y = self._multiply(rows, products.Linear(), F.linear)
        return y if x.ndim == 2 else y.view(*x.shape[:-1], -1)


class BinaryConv2d(BinaryLayer, nn.Conv2d):  # type: ignore[misc]
    """Convolution of e(x) with b(W). x: (N, in_channels, H, W) or (in_channels, H, W).

    `pad_value`, 0, 1 or -1, surrounds the input. With 0 a binary input is ternary at the borders; 1 and -1 keep products
    binary. Other arguments as in BinaryLinear and in torch.nn.Conv2d, with `padding` in pixels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        binarizer: Binarizer | None = None,
        estimator: nn.Module | str | None = CLIPPED,
        pad_value: int = 0,
        **conv2d: Any,
    ) -> None:
        check_choice("pad_value", pad_value, (0, 1, -1))
        super().__init__(in_channels, out_channels, kernel_size, **{"bias": False, **conv2d})
        self.pad_value = pad_value
        self._start(binarizer, estimator)

    def forward(self, x: Tensor) -> Tensor:
        images = x if x.ndim == 4 else x.unsqueeze(0)
        geometry = None
        if self.groups == 1 and self.padding_mode == "zeros" and not isinstance(self.padding, str):
            geometry = products.Conv2d(_pair(self.stride), _pair(self.padding), _pair(self.dilation), self.pad_value)
        y = self._multiply(images, geometry, self._real_product)
        return y if x.ndim == 4 else y.squeeze(0)

    def _real_product(self, x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
        if self.pad_value == 0:
            return self._conv_forward(x, w, bias)
        x = F.pad(x, self._reversed_padding_repeated_twice, value=float(self.pad_value))
        return F.conv2d(x, w, bias, self.stride, 0, self.dilation, self.groups)


def _pair(pixels: tuple[int, ...]) -> tuple[int, int]:
    return pixels[0], pixels[1]


class _BinaryProduct(torch.autograd.Function):
    """The product of two binarized tensors, times a scale, and the way of the gradient back through both estimators.

    What is kept for it are the signs, a byte each, the sums where a scale needs them, and the real tensors, which others keep
    anyway.
    """

    @staticmethod
    def forward(
        ctx: Any,
        a: Tensor,
        prepared: Tensor,
        scale: Tensor | None,
        of_a: Binarization,
        of_w: Binarization,
        connected: Tensor | None,
        geometry: products.Geometry,
        packed: tuple[PackedWeights, bool, Tensor | None],
        learns: bool,
    ) -> Tensor:
        def signs() -> Tensor:
            w = sign_int8(of_w.drawn(prepared))
            return w if connected is None else w * connected.to(w.dtype)

        weights, is_fixed, w = packed
        x = sign_int8(of_a.drawn(a))
        if learns and w is None:  # else they are asked for where they are not known
            w = signs()
        sums = weights.product(geometry, x, signs if w is None else (lambda: w), prepared.shape, connected is not None, is_fixed)
        if learns:
            ctx.save_for_backward(a, prepared, x, w, connected, scale, None if scale is None else sums)
            ctx.how, ctx.geometry = (of_a, of_w), geometry
        return sums if scale is None else sums * _per_output(scale, sums)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        a, prepared, x, w, connected, scale, sums = ctx.saved_tensors
        (of_a, of_w), g, to_x = ctx.how, grads[0], ctx.needs_input_grad[0]
        to_scale = None
        if scale is not None:
            if ctx.needs_input_grad[2]:
                to_scale = (g * sums).sum(dim=[dim for dim in range(g.ndim) if dim != 1])
            g = g * _per_output(scale, g)
        of_x, into_w = products.gradients(ctx.geometry, g, x, w, connected is not None, to_x)
        assert into_w is not None
        if connected is not None:
            into_w = into_w * connected.to(w.dtype)
        to_a = None if of_x is None else of_a.backward_into(of_x, a)  # both gradients are nobody else's yet
        return to_a, of_w.backward_into(into_w, prepared), to_scale, *[None] * 6


class _RealProduct(torch.autograd.Function):
    """The product of a real input, (N, in), with a binarized weight, as the first layer has it."""

    @staticmethod
    def forward(
        ctx: Any,
        a: Tensor,
        prepared: Tensor,
        of_w: Binarization,
        packed: PackedWeights,
        is_fixed: bool,
        known: Tensor | None,
    ) -> Tensor:
        ctx.save_for_backward(a, prepared)
        ctx.of_w = of_w
        fours = packed.fours(lambda: sign_int8(of_w.drawn(prepared)) if known is None else known, is_fixed)
        return tables.real_product(a, fours)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (a, prepared), g = ctx.saved_tensors, grads[0]
        into_w = ctx.of_w.backward_into(g.t() @ a, prepared) if ctx.needs_input_grad[1] else None
        to_a = g @ sign(ctx.of_w.drawn(prepared)) if ctx.needs_input_grad[0] else None
        return to_a, into_w, None, None, None, None


def binary_layers(model: nn.Module) -> list[BinaryLayer]:
    """All layers whose weights are binarized, in the model's order."""
    return [layer for layer in model.modules() if isinstance(layer, BinaryLayer) and layer.binarizer.bits == 1]


def constrained_layers(model: nn.Module) -> list[BinaryLayer | CentredConv2d]:
    """All layers whose weights keep to a prior, a bound or a mean after a step, in the model's order."""
    return [layer for layer in model.modules() if isinstance(layer, BinaryLayer | CentredConv2d)]


def constrain(model: nn.Module, lr: float) -> None:
    """What follows an optimizer's step of learning rate `lr` in a loop of one's own, for every layer of `model`."""
    for layer in constrained_layers(model):
        layer.constrain(lr)


def is_stochastic(model: nn.Module) -> bool:
    """Whether activations or weights of the network are drawn in training."""
    return any(getattr(module, "stochastic", False) for module in model.modules())


def annealed(model: nn.Module) -> list[nn.Module]:
    """The modules that follow the progress of training."""
    return [module for module in model.modules() if getattr(module, "annealed", False)]


def hold(model: nn.Module, more: int = 1) -> None:
    """Begins (more=1) or ends (-1) what `unchanged` does; of a network that nobody trains it need never end."""
    for module in model.modules():
        if isinstance(module, BinaryLayer):
            weights_of(module).hold(more)


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Within, nobody writes to the weights of `model`: each layer packs its signs once, and not for every batch. One thread at a
    time may use the model."""
    hold(model)
    try:
        yield
    finally:
        hold(model, -1)


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
