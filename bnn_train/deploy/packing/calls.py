"""From one line of a forward, a call of a function or a method, to the operations that it is.

(name, its output on two images, its arguments, of which what depends on the image is a node) -> a node, or None where the line is
used otherwise than it is known here.
"""

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnn_train.deploy.packing import layers
from bnn_train.deploy.packing.graph import Affine, Elementwise, Node, as_pixel
from bnn_train.errors import ConfigError

Value = Node | Tensor | Any  # of a traced line: what depends on the image, a parameter, or a plain value


def refuse(kind: str, name: str, why: str = "") -> NoReturn:
    if kind in _INSTEAD:
        raise ConfigError("layer", f"{name} ({kind})", f"cannot be exported; {_INSTEAD[kind]}")
    known = "binary and real linear and convolution, BatchNorm, sign (Ste), ReLU, PReLU, Hardtanh, clamp, sigmoid, tanh, pools, "
    known += "add, multiply, concatenate, slices of channels, flatten, pad"
    raise ConfigError("layer", f"{name} ({kind})", f"cannot be exported{why and ', it ' + why}; there are {known}")


_INSTEAD = {
    **dict.fromkeys(("sign", "sign_"), "it gives 0 for 0; use bnn_train.binary.ste.Ste, or the estimator of a binary layer"),
    **dict.fromkeys(("Softmax", "LogSoftmax", "softmax", "log_softmax"), "leave it out: the runner has probabilities of its own"),
}


def _per_channel(x: Any, output: Tensor) -> np.ndarray | None:
    """A plain number or a parameter as one number for each channel; None where it is neither."""
    if isinstance(x, bool) or not isinstance(x, int | float | Tensor):
        return None
    values = torch.as_tensor(x, dtype=torch.float64)
    shape = [1] * (output.ndim - values.ndim) + list(values.shape)
    if len(shape) != output.ndim or any(n != 1 for i, n in enumerate(shape) if i != 1):
        return None
    return values.reshape(-1).expand(output.shape[1]).numpy().copy()


def _added(name: str, output: Tensor, x: Value, y: Value, alpha: Any = 1) -> Node | None:
    if alpha != 1:
        return None
    if isinstance(x, Node) and isinstance(y, Node):
        return Node("add", name, [x, y], tuple(output.shape[1:]))
    x, y = (x, y) if isinstance(x, Node) else (y, x)
    shift = _per_channel(y, output)
    return None if shift is None else _affine(name, output, x, np.ones_like(shift), shift)


def _affine(name: str, output: Tensor, x: Value, scale: np.ndarray, shift: np.ndarray) -> Node | None:
    """None where the line also repeats an image of one channel, say."""
    if not isinstance(x, Node) or x.shape != tuple(output.shape[1:]):
        return None
    return layers.affine(name, x, scale, shift)


def _negated(name: str, output: Tensor, x: Value) -> Node | None:
    return _affine(name, output, x, np.full(output.shape[1], -1.0), np.zeros(output.shape[1]))


def _divided(name: str, output: Tensor, x: Value, y: Value) -> Node | None:
    divisor = _per_channel(y, output)
    if divisor is None or not divisor.all() or not isinstance(x, Node) or x.shape != tuple(output.shape[1:]):
        return None
    by = torch.from_numpy(divisor).float()
    none = np.zeros_like(divisor)
    return Node(
        "elementwise",
        name,
        [x],
        x.shape,
        function=Elementwise(lambda values: values / by, Affine(1 / divisor, none, 4, none), True),
    )


def _subtracted(name: str, output: Tensor, x: Value, y: Value) -> Node | None:
    if isinstance(y, Node):
        minus = layers.affine(name, y, np.full(y.shape[0], -1.0), np.zeros(y.shape[0]))
        return _added(name, output, x, minus)
    shift = _per_channel(y, output)
    return None if shift is None else _affine(name, output, x, np.ones_like(shift), -shift)


def _multiplied(name: str, output: Tensor, x: Value, y: Value) -> Node | None:
    if isinstance(x, Node) and isinstance(y, Node):
        return Node("multiply", name, [x, y], tuple(output.shape[1:]))
    x, y = (x, y) if isinstance(x, Node) else (y, x)
    scale = _per_channel(y, output)
    return None if scale is None else _affine(name, output, x, scale, np.zeros_like(scale))


def _reshaped(name: str, output: Tensor, x: Value, *shape: Any, **named: Any) -> Node | None:
    if not isinstance(x, Node):
        return None
    if output.ndim == 2 and len(output) == 2:  # two images go through: each keeps its row
        return layers.flatten(None, name, x, output)
    if len(x.shape) == 3 and x.shape[1:] == (1, 1) and tuple(output.shape) == (2, x.shape[0], 1):
        return Node("flatten", name, [x], x.shape[:1])  # half of squeeze(-1).squeeze(-1)
    if len(x.shape) == 1 and tuple(output.shape) in ((2, *x.shape, 1), (2, *x.shape, 1, 1)):
        return as_pixel(x) if output.ndim == 4 else x  # half of unsqueeze(-1).unsqueeze(-1)
    return x if tuple(output.shape[1:]) == x.shape else None


def _concatenated(name: str, output: Tensor, parts: Any, dim: int = 0) -> Node | None:
    if dim % output.ndim != 1 or not all(isinstance(x, Node) for x in parts):
        return None
    if len(parts) == 1:
        return parts[0]  # type: ignore[no-any-return]
    return Node("concatenate", name, list(parts), tuple(output.shape[1:]))


def _sliced(name: str, output: Tensor, x: Value, index: Any) -> Node | None:
    index = index if isinstance(index, tuple) else (index,)
    if isinstance(x, Node) and len(x.shape) == 1 and list(index) in _PIXELS:
        return as_pixel(x)
    if len(index) > 2 and index[-1] is ...:
        index = index[:-1]
    if not isinstance(x, Node) or len(index) < 2 or not all(isinstance(i, slice) for i in index):
        return None
    if any(i != slice(None) for k, i in enumerate(index) if k != 1):
        return None
    start, stop, step = index[1].indices(x.shape[0])
    if (start, stop, step) == (0, x.shape[0], 1):
        return x
    return Node("slice", name, [x], tuple(output.shape[1:]), {"start": start, "stop": stop}) if step == 1 else None


_PIXELS = ([slice(None), slice(None), None, None], [..., None, None])  # as indices


def _clamped(name: str, output: Tensor, x: Value, *limits: Any, **named: Any) -> Node | None:
    given = {**dict(zip(("min", "max"), limits, strict=False)), **named}
    given = {key: limit for key, limit in given.items() if limit is not None}
    if not isinstance(x, Node) or len(limits) > 2 or not set(given) <= {"min", "max"}:
        return None
    if not all(isinstance(limit, int | float) and not math.isnan(limit) for limit in given.values()):
        return None
    return layers.clamp(name, x, given.get("min", -math.inf), given.get("max", math.inf))


def _module(make: Callable[..., nn.Module], *names: str) -> Callable[..., Node | None]:
    """A function of torch that does what a known layer does; names: of its arguments behind the tensor, which are the layer's."""

    def convert(name: str, output: Tensor, x: Value, *arguments: Any, **named: Any) -> Node | None:
        given = {**dict(zip(names, arguments, strict=False)), **named}
        given = {key: value for key, value in given.items() if key not in ("inplace", "return_indices") and value is not None}
        if not isinstance(x, Node) or len(arguments) > len(names) or any(isinstance(a, Node | Tensor) for a in given.values()):
            return None
        module = make(**given)
        kind = layers.known(module)
        return None if kind is None else layers.LAYERS[kind](module, name, x, output)

    return convert


def _mean(name: str, output: Tensor, x: Value, dim: Any = None, keepdim: bool = False) -> Node | None:
    if not isinstance(x, Node) or len(x.shape) != 3 or {d % 4 for d in (dim if isinstance(dim, tuple | list) else [])} != {2, 3}:
        return None
    pooled = layers.adaptive(nn.AdaptiveAvgPool2d(1), name, x, output[..., None, None] if not keepdim else output)
    return pooled if keepdim else layers.flatten(None, name, pooled, output)


def _padded(name: str, output: Tensor, x: Value, pad: Any, mode: str = "constant", value: float | None = None) -> Node | None:
    if not isinstance(x, Node) or mode != "constant" or len(pad) != 4:
        return None
    return layers.pad(nn.ConstantPad2d(tuple(pad), value or 0.0), name, x, output)


def _dropped(name: str, output: Tensor, x: Value, p: float = 0.5, training: bool = True, inplace: bool = False) -> Node | None:
    if training and p > 0:
        refuse("dropout", name, "drops in evaluation too: give it training=self.training")
    return x if isinstance(x, Node) else None


def _same(name: str, output: Tensor, x: Value, *arguments: Any, **named: Any) -> Node | None:
    return x if isinstance(x, Node) and tuple(output.shape[1:]) == x.shape else None


ALIASES: Mapping[Any, Any] = {
    **dict.fromkeys((operator.add, operator.iadd, torch.add, "add_"), "add"),
    **dict.fromkeys((operator.sub, operator.isub, torch.sub, "sub_"), "sub"),
    **dict.fromkeys((operator.mul, operator.imul, torch.mul, "mul_"), "mul"),
    **dict.fromkeys((operator.truediv, operator.itruediv, torch.div, "div_"), "div"),
    **dict.fromkeys((operator.neg, torch.neg), "neg"),
    **dict.fromkeys(("view", "flatten", "squeeze", "unsqueeze"), "reshape"),
    **dict.fromkeys((torch.flatten, torch.reshape, torch.squeeze, torch.unsqueeze), "reshape"),
    **dict.fromkeys((torch.cat, torch.concat), "cat"),
    **dict.fromkeys((torch.relu, torch.relu_, F.relu, "relu_"), "relu"),
    **dict.fromkeys((torch.clamp, torch.clip, torch.clamp_, "clip", "clamp_", "clip_"), "clamp"),
    **dict.fromkeys((F.hardtanh, F.hardtanh_), "hardtanh"),
    **dict.fromkeys((torch.sigmoid, F.sigmoid), "sigmoid"),
    **dict.fromkeys((torch.tanh, F.tanh), "tanh"),
    **dict.fromkeys((F.dropout, F.dropout2d), "dropout"),
    **dict.fromkeys(("contiguous", "float", "clone", "detach", torch.clone), "same"),
    torch.mean: "mean",
}
CALLS: Mapping[Any, Callable[..., Node | None]] = {
    "add": _added,
    "sub": _subtracted,
    "mul": _multiplied,
    "div": _divided,
    "neg": _negated,
    "dropout": _dropped,
    "reshape": _reshaped,
    "cat": _concatenated,
    "mean": _mean,
    "same": _same,
    "relu": _module(nn.ReLU, "inplace"),
    "clamp": _clamped,
    "hardtanh": _module(nn.Hardtanh, "min_val", "max_val", "inplace"),
    F.relu6: _module(nn.ReLU6, "inplace"),
    "sigmoid": _module(nn.Sigmoid),
    "tanh": _module(nn.Tanh),
    operator.getitem: _sliced,
    F.max_pool2d: _module(nn.MaxPool2d, "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
    F.avg_pool2d: _module(nn.AvgPool2d, "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
    F.adaptive_avg_pool2d: _module(nn.AdaptiveAvgPool2d, "output_size"),
    F.adaptive_max_pool2d: _module(nn.AdaptiveMaxPool2d, "output_size", "return_indices"),
    F.pad: _padded,
}
