"""From one known torch layer to the operations that it is: (layer, its name, its input, its output on two images) -> a node."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bnn_train.binary.layers import BinaryConv2d, BinaryLinear
from bnn_train.binary.progressive import Progressive
from bnn_train.binary.ste import Ste
from bnn_train.deploy.packed import packed_bits
from bnn_train.deploy.packing.graph import Affine, Elementwise, Node, kind_of
from bnn_train.errors import ConfigError
from bnn_train.models.dropout import Dropout

_LARGE = 2.0**60


def array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()


def refused(layer: nn.Module, name: str, why: str) -> ConfigError:
    return ConfigError("layer", f"{name} ({type(layer).__name__})", f"cannot be exported: {why}")


def binary(layer: BinaryLinear | BinaryConv2d, name: str, x: Node, output: Tensor) -> Node:
    """[its estimator -] the product with its binary weight [- scale] [- bias]."""
    x = _estimated(layer, name, x)
    flat = array(layer.binary_weight().flatten(1))
    if layer.binarizer.bits == 1:
        tensors = {"weight": packed_bits(flat)}
        if not flat.all():
            tensors["mask"] = packed_bits(np.abs(flat))
    else:
        tensors = {"weight": np.ascontiguousarray(flat, np.float32)}
    y = _product(layer, name, x, output, tensors)
    scale, bias = layer.output_scale(), layer.bias
    if scale is None and bias is None:
        return y
    if scale is None and bias is not None:
        y.rounding = _of_inner_bias(y, flat, np.abs(array(bias).astype(np.float64)))
    factors = np.ones(len(flat)) if scale is None else array(scale)
    return affine(name, y, factors, np.zeros(len(flat)) if bias is None else array(bias))


def _of_inner_bias(y: Node, weight: np.ndarray, bias: np.ndarray) -> np.ndarray | None:
    """torch may add a bias before the products: then sums of signs are rounded too. See deploy/bounds.py."""
    if kind_of(y) != "whole":
        return bias
    if (bias == np.rint(bias)).all():
        return None
    edges = np.abs(weight).sum(axis=1, dtype=np.float64)
    return 2.0**-24 * (weight.shape[1] + 4) * (edges + bias)


_ESTIMATORS = (Ste, Progressive, nn.ReLU, nn.Tanh, nn.PReLU, nn.Identity)


def _estimated(layer: BinaryLinear | BinaryConv2d, name: str, x: Node) -> Node:
    estimator = layer.estimator
    if estimator is None:
        return x
    if type(estimator) in _ESTIMATORS:
        return LAYERS[type(estimator)](estimator, name, x, torch.empty(0))
    raise refused(layer, name, f"its estimator is {type(estimator).__name__}; there are Ste, ReLU, tanh, PReLU and Identity")


def real(layer: nn.Linear | nn.Conv2d, name: str, x: Node, output: Tensor) -> Node:
    """A product with real weights and a bias."""
    tensors = {"weight": np.ascontiguousarray(array(layer.weight.flatten(1)), np.float32)}
    if layer.bias is not None:
        tensors["bias"] = np.ascontiguousarray(array(layer.bias), np.float32)
    return _product(layer, name, x, output, tensors)


def _product(layer: nn.Linear | nn.Conv2d, name: str, x: Node, output: Tensor, tensors: dict[str, np.ndarray]) -> Node:
    shape, outputs = tuple(output.shape[1:]), len(layer.weight)
    if not isinstance(layer, nn.Conv2d):
        if len(x.shape) != 1:
            raise refused(layer, name, "its input has more than two dimensions; flatten it first")
        return Node("linear", name, [x], shape, {"outputs": outputs}, tensors)
    if layer.padding_mode != "zeros":
        raise refused(layer, name, f"padding_mode={layer.padding_mode}; use zeros")
    padding = layer.padding
    if isinstance(padding, str):
        around = [0, 0] if padding == "valid" else [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        if any(total % 2 for total in around):
            raise refused(layer, name, "padding=same with an even kernel; give padding in pixels")
        padding = tuple(total // 2 for total in around)
    settings = {
        "outputs": outputs,
        "kernel": list(layer.kernel_size),
        "stride": list(layer.stride),
        "padding": list(padding),
        "dilation": list(layer.dilation),
        "pad_value": getattr(layer, "pad_value", 0) if any(padding) else 0,
        "groups": layer.groups,
    }
    return Node("conv2d", name, [x], shape, settings, tensors)


def affine(name: str, x: Node, scale: np.ndarray, shift: np.ndarray) -> Node:
    """scale * x + shift, per channel, as torch computes it: each step rounded to float32."""
    factor, term = (torch.from_numpy(np.asarray(values, np.float32).copy()) for values in (scale, shift))

    def run(values: Tensor) -> Tensor:
        return values * factor + term

    values = Affine(scale.astype(np.float64), shift.astype(np.float64), 4, 4 * np.abs(shift).astype(np.float64))
    function = Elementwise(run, values, True)
    return Node("elementwise", name, [x], x.shape, function=function)


def batch_norm(layer: nn.BatchNorm1d | nn.BatchNorm2d, name: str, x: Node, output: Tensor) -> Node:
    """With its running statistics; torch's own layer is what thresholds are taken from."""
    if layer.running_mean is None or layer.running_var is None:
        raise refused(layer, name, "it has no running statistics (track_running_stats=False)")
    if len(x.shape) == 2:
        raise refused(layer, name, "its input is neither features nor images")
    mean = array(layer.running_mean).astype(np.float64)
    beta = np.zeros_like(mean) if layer.bias is None else array(layer.bias).astype(np.float64)

    def run(values: Tensor) -> Tensor:
        return layer(values) if len(x.shape) == 1 else layer(values[:, :, None, None])[:, :, 0, 0]

    # torch computes scale * x + shift; which float32 numbers these are, at 0 and at what is so large that the shift is lost.
    shift = array(run(torch.zeros(1, len(mean))))[0].astype(np.float64)
    at_large = array(run(torch.full((1, len(mean)), _LARGE)))[0].astype(np.float64)
    scale = np.where(np.abs(at_large) > 2.0**25 * np.abs(shift), at_large, at_large - shift) / _LARGE  # of gamma 0 it is 0
    function = Elementwise(run, Affine(scale, shift, 9, 10 * (np.abs(beta) + np.abs(mean * scale))), True)
    return Node("elementwise", name, [x], x.shape, function=function)


def sign(layer: Any, name: str, x: Node, output: Tensor) -> Node:
    return Node("sign", name, [x], x.shape)


def relu(layer: Any, name: str, x: Node, output: Tensor) -> Node:
    return Node("elementwise", name, [x], x.shape, {"kind": "relu"}, function=Elementwise(torch.relu, rising=True))


def prelu(layer: nn.PReLU, name: str, x: Node, output: Tensor) -> Node:
    slope = np.ascontiguousarray(np.broadcast_to(array(layer.weight), x.shape[:1]), np.float32)
    weight = layer.weight.detach()
    function = Elementwise(lambda values: torch.prelu(values, weight), rising=bool((slope >= 0).all()))
    return Node("elementwise", name, [x], x.shape, {"kind": "prelu"}, {"slope": slope}, function)


def clamp(name: str, x: Node, low: float, high: float) -> Node:
    """As torch does, which takes the upper of limits that contradict each other."""
    most = float(np.finfo(np.float32).max)
    limits = np.array([np.clip(limit, -most, most) for limit in (min(low, high), high)], np.float32)
    function = Elementwise(lambda values: values.clamp(low, high), rising=True)
    return Node("elementwise", name, [x], x.shape, {"kind": "clamp"}, {"limits": limits}, function)


def sigmoid(layer: Any, name: str, x: Node, output: Tensor) -> Node:
    return Node("sigmoid", name, [x], x.shape)


def tanh(layer: Any, name: str, x: Node, output: Tensor) -> Node:
    """2 sigmoid(2 x) - 1."""
    ones = np.ones(x.shape[0])
    return affine(name, sigmoid(layer, name, affine(name, x, 2 * ones, 0 * ones), output), 2 * ones, -ones)


def max_pool(layer: nn.MaxPool2d, name: str, x: Node, output: Tensor) -> Node:
    if _pair(layer.dilation) != [1, 1] or layer.return_indices:
        raise refused(layer, name, "it has a dilation, or returns indices")
    return _pool("max_pool", layer, name, x, output, {})


def avg_pool(layer: nn.AvgPool2d, name: str, x: Node, output: Tensor) -> Node:
    if layer.divisor_override is not None:
        raise refused(layer, name, "it has a divisor_override")
    return _pool("avg_pool", layer, name, x, output, {"count_padding": bool(layer.count_include_pad)})


def _pool(kind: str, layer: nn.MaxPool2d | nn.AvgPool2d, name: str, x: Node, output: Tensor, more: dict[str, Any]) -> Node:
    stride = layer.kernel_size if layer.stride is None else layer.stride
    sizes = {"kernel": _pair(layer.kernel_size), "stride": _pair(stride), "padding": _pair(layer.padding)}
    return Node(kind, name, [x], tuple(output.shape[1:]), {**sizes, "ceil": bool(layer.ceil_mode), **more})


def adaptive(layer: nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d, name: str, x: Node, output: Tensor) -> Node:
    """As a pool with a fixed kernel."""
    places = tuple(output.shape[2:])
    if len(x.shape) != 3 or any(size % n for size, n in zip(x.shape[1:], places, strict=True)):
        raise refused(layer, name, f"its {places[0]}x{places[1]} places do not divide images of {x.shape[1]}x{x.shape[2]}")
    kernel = [size // n for size, n in zip(x.shape[1:], places, strict=True)]
    settings: dict[str, Any] = {"kernel": kernel, "stride": kernel, "padding": [0, 0], "ceil": False}
    if isinstance(layer, nn.AdaptiveMaxPool2d):
        return Node("max_pool", name, [x], tuple(output.shape[1:]), settings)
    return Node("avg_pool", name, [x], tuple(output.shape[1:]), {**settings, "count_padding": False})


def flatten(layer: nn.Flatten | None, name: str, x: Node, output: Tensor) -> Node:
    if tuple(output.shape) != (2, math.prod(x.shape)):
        kind = "flatten" if layer is None else type(layer).__name__
        remedy = "cannot be exported: it flattens other dimensions than all those of an image; use nn.Flatten()"
        raise ConfigError("layer", f"{name} ({kind})", remedy)
    return x if len(x.shape) == 1 else Node("flatten", name, [x], tuple(output.shape[1:]))


def pad(layer: nn.ZeroPad2d | nn.ConstantPad2d, name: str, x: Node, output: Tensor) -> Node:
    left, right, top, bottom = layer.padding
    if layer.value not in (-1, 0, 1) or min(layer.padding) < 0 or len(x.shape) != 3:
        raise refused(layer, name, "it pads with something else than -1, 0 or 1, or cuts")
    settings = {"rows": [top, bottom], "columns": [left, right], "pad_value": int(layer.value)}
    return Node("pad", name, [x], tuple(output.shape[1:]), settings)


def same(layer: Any, name: str, x: Node, output: Tensor) -> Node:
    return x


def _pair(sizes: int | tuple[int, ...]) -> list[int]:
    return [sizes, sizes] if isinstance(sizes, int) else list(sizes)


Convert = Callable[[Any, str, Node, Tensor], Node]

# From a layer to its operations: (layer, its dotted name, its input, an output of two images) -> the last of them.
LAYERS: dict[type[nn.Module], Convert] = {
    BinaryLinear: binary,
    BinaryConv2d: binary,
    nn.Linear: real,
    nn.Conv2d: real,
    nn.BatchNorm1d: batch_norm,
    nn.BatchNorm2d: batch_norm,
    Ste: sign,
    Progressive: sign,
    nn.ReLU: relu,
    nn.PReLU: prelu,
    nn.Hardtanh: lambda layer, name, x, output: clamp(name, x, layer.min_val, layer.max_val),
    nn.Sigmoid: sigmoid,
    nn.Tanh: tanh,
    nn.MaxPool2d: max_pool,
    nn.AvgPool2d: avg_pool,
    nn.AdaptiveAvgPool2d: adaptive,
    nn.AdaptiveMaxPool2d: adaptive,
    nn.Flatten: flatten,
    nn.ZeroPad2d: pad,
    nn.ConstantPad2d: pad,
    nn.Identity: same,
    nn.Dropout: same,
    nn.Dropout2d: same,
    Dropout: same,
}


def known(module: nn.Module) -> type[nn.Module] | None:
    """The known layer that a module is: its forward is that layer's own."""
    for kind in type(module).__mro__:
        if kind in LAYERS and type(module).forward is kind.forward:
            return kind
    return None
