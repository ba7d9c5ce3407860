"""From a torch network to the short list of operations that can be exported; anything else is refused by its name and place.

torch.fx follows the network's forward down to the layers that are known here. Two images go through it meanwhile, so that every
value's shape is known, and lines of a forward that ask for shapes are numbers.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np
import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn

from bnn_train.binary.layers import BinaryConv2d, BinaryLinear
from bnn_train.binary.ste import Ste
from bnn_train.deploy import layers
from bnn_train.deploy.graph import Node
from bnn_train.errors import ConfigError
from bnn_train.models.dropout import Dropout

Value = Node | Tensor | Any  # of a traced line: what depends on the image, a parameter, or a plain value

# From a layer to its operations: (layer, its dotted name, its input, an output of two images) -> the last of them.
LAYERS: dict[type[nn.Module], Callable[[Any, str, Node, Tensor], Node]] = {
    BinaryLinear: layers.binary,
    BinaryConv2d: layers.binary,
    nn.Linear: layers.real,
    nn.Conv2d: layers.real,
    nn.BatchNorm1d: layers.batch_norm,
    nn.BatchNorm2d: layers.batch_norm,
    Ste: layers.sign,
    nn.ReLU: layers.relu,
    nn.PReLU: layers.prelu,
    nn.Sigmoid: layers.sigmoid,
    nn.MaxPool2d: layers.max_pool,
    nn.AvgPool2d: layers.avg_pool,
    nn.AdaptiveAvgPool2d: layers.adaptive,
    nn.AdaptiveMaxPool2d: layers.adaptive,
    nn.Flatten: layers.flatten,
    nn.ZeroPad2d: layers.pad,
    nn.ConstantPad2d: layers.pad,
    nn.Identity: layers.same,
    nn.Dropout: layers.same,
    nn.Dropout2d: layers.same,
    Dropout: layers.same,
}


def trace(model: nn.Module, images: Tensor, image: Node) -> Node:
    """The output of the network as operations on `image`, the node that stands for its normalised input.

    model: in evaluation mode, on the CPU. images: float32 (2, C, H, W). Raises ConfigError for what cannot be exported.
    """
    try:
        graph = _Tracer().trace(model)
    except Exception as error:  # fx raises TraceError, TypeError, RuntimeError, whatever the forward's line ran into
        remedy = f"its forward cannot be followed ({' '.join(str(error).split())[:200]}); it must do the same for every image"
        raise ConfigError("network", type(model).__name__, remedy) from error
    follower = _Follower(torch.fx.GraphModule(model, graph), image)
    with torch.no_grad():
        follower.run(images)
    if not isinstance(follower.result, Node):
        raise ConfigError("network", type(model).__name__, "must give one tensor, the class scores")
    return follower.result


def _known(module: nn.Module) -> type[nn.Module] | None:
    """The known layer that a module is: its forward is that layer's own."""
    for kind in type(module).__mro__:
        if kind in LAYERS and type(module).forward is kind.forward:
            return kind
    return None


class _Tracer(torch.fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return _known(m) is not None or super().is_leaf_module(m, module_qualified_name)


class _Follower(torch.fx.Interpreter):
    """Runs the traced lines on real images, and writes the operations down beside them."""

    def __init__(self, module: torch.fx.GraphModule, image: Node) -> None:
        super().__init__(module)
        self.image = image
        self.nodes: dict[torch.fx.Node, Node] = {}
        self.result: Any = None

    def run_node(self, n: torch.fx.Node) -> Any:
        output = super().run_node(n)
        if n.op == "placeholder":
            self.nodes[n] = self.image
        elif n.op == "output":
            self.result = self._value(n.args[0])
        elif n.op != "get_attr" and any(x in self.nodes for x in n.all_input_nodes):
            if isinstance(output, Tensor):
                self.nodes[n] = self._operation(n, output)
            elif not isinstance(output, int | torch.Size | torch.dtype | torch.device | bool):
                _refuse(str(n.target), n.name, "gives no tensor")
        return output

    def _value(self, x: Any) -> Value:
        """What an argument is: the node of it, or the plain value, or a parameter's tensor."""
        return torch.fx.node.map_arg(x, lambda n: self.nodes.get(n, self.env.get(n)))  # type: ignore[arg-type,return-value]

    def _operation(self, n: torch.fx.Node, output: Tensor) -> Node:
        arguments = [self._value(x) for x in n.args]
        named = {key: self._value(x) for key, x in n.kwargs.items()}
        if n.op == "call_module":
            module, name = self.fetch_attr(str(n.target)), str(n.target)
            kind = _known(module)
            if kind is None or len(arguments) != 1 or not isinstance(arguments[0], Node):
                _refuse(type(module).__name__, name, "")
            return LAYERS[kind](module, name, arguments[0], output)
        name = _place(n)
        target = n.target if isinstance(n.target, str) else getattr(n.target, "__name__", str(n.target))
        convert = _CALLS.get(_ALIASES.get(n.target, n.target))
        found = None if convert is None else convert(name, output, *arguments, **named)
        if found is None:
            _refuse(target, name, "")
        return found


def _place(n: torch.fx.Node) -> str:
    """The module in whose forward a line stands, and the line's name."""
    stack = list((n.meta.get("nn_module_stack") or {}).values())
    inside = stack[-1][0] if stack and isinstance(stack[-1], tuple) else ""
    return f"{inside}.{n.name}" if inside else n.name


def _refuse(kind: str, name: str, why: str) -> NoReturn:
    known = "binary and real linear and convolution, BatchNorm, sign, ReLU, PReLU, sigmoid, pools, add, multiply, concatenate, "
    known += "slices of channels, flatten, pad"
    raise ConfigError("layer", f"{name} ({kind})", f"cannot be exported{why and ', it ' + why}; there are {known}")


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
    return None if shift is None or not isinstance(x, Node) else layers.affine(name, x, np.ones_like(shift), shift)


def _subtracted(name: str, output: Tensor, x: Value, y: Value) -> Node | None:
    if isinstance(y, Node):
        minus = layers.affine(name, y, np.full(y.shape[0], -1.0), np.zeros(y.shape[0]))
        return _added(name, output, x, minus)
    shift = _per_channel(y, output)
    return None if shift is None or not isinstance(x, Node) else layers.affine(name, x, np.ones_like(shift), -shift)


def _multiplied(name: str, output: Tensor, x: Value, y: Value) -> Node | None:
    if isinstance(x, Node) and isinstance(y, Node):
        return Node("multiply", name, [x, y], tuple(output.shape[1:]))
    x, y = (x, y) if isinstance(x, Node) else (y, x)
    scale = _per_channel(y, output)
    return None if scale is None or not isinstance(x, Node) else layers.affine(name, x, scale, np.zeros_like(scale))


def _reshaped(name: str, output: Tensor, x: Value, *shape: Any, **named: Any) -> Node | None:
    if not isinstance(x, Node):
        return None
    if output.ndim == 2 and len(output) == 2:  # two images go through: each keeps its row
        return layers.flatten(None, name, x, output)
    return x if tuple(output.shape[1:]) == x.shape else None


def _concatenated(name: str, output: Tensor, parts: Any, dim: int = 0) -> Node | None:
    if dim % output.ndim != 1 or not all(isinstance(x, Node) for x in parts):
        return None
    return Node("concatenate", name, list(parts), tuple(output.shape[1:]))


def _sliced(name: str, output: Tensor, x: Value, index: Any) -> Node | None:
    index = index if isinstance(index, tuple) else (index,)
    whole = slice(None)
    if not isinstance(x, Node) or len(index) < 2 or any(i not in (whole, ...) for k, i in enumerate(index) if k != 1):
        return None
    if not isinstance(index[1], slice):
        return None
    start, stop, step = index[1].indices(x.shape[0])
    return Node("slice", name, [x], tuple(output.shape[1:]), {"start": start, "stop": stop}) if step == 1 else None


_OF_TRAINING = ("inplace", "training", "return_indices")


def _module(make: Callable[..., nn.Module]) -> Callable[..., Node | None]:
    """A function of torch that does what a known layer does, `make` being of its arguments behind the tensor."""

    def convert(name: str, output: Tensor, x: Value, *arguments: Any, **named: Any) -> Node | None:
        named = {key: value for key, value in named.items() if key not in _OF_TRAINING and value is not None}
        if not isinstance(x, Node) or any(isinstance(a, Node | Tensor) for a in arguments):
            return None
        module = make(*arguments, **named)
        kind = _known(module)
        return None if kind is None else LAYERS[kind](module, name, x, output)

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


def _same(name: str, output: Tensor, x: Value, *arguments: Any, **named: Any) -> Node | None:
    return x if isinstance(x, Node) and tuple(output.shape[1:]) == x.shape else None


_ALIASES: Mapping[Any, Any] = {
    operator.add: "add", operator.iadd: "add", torch.add: "add", "add_": "add",
    operator.sub: "sub", torch.sub: "sub", operator.mul: "mul", operator.imul: "mul", torch.mul: "mul", "mul_": "mul",
    "view": "reshape", "flatten": "reshape", torch.flatten: "reshape", torch.reshape: "reshape",
    torch.cat: "cat", torch.concat: "cat", torch.relu: "relu", F.relu: "relu", torch.sigmoid: "sigmoid", F.sigmoid: "sigmoid",
    torch.mean: "mean", "contiguous": "same", F.dropout: "same", "float": "same",
}  # fmt: skip
_CALLS: Mapping[Any, Callable[..., Node | None]] = {
    "add": _added,
    "sub": _subtracted,
    "mul": _multiplied,
    "reshape": _reshaped,
    "cat": _concatenated,
    "mean": _mean,
    "same": _same,
    "relu": _module(nn.ReLU),
    "sigmoid": _module(nn.Sigmoid),
    operator.getitem: _sliced,
    F.max_pool2d: _module(nn.MaxPool2d),
    F.avg_pool2d: _module(nn.AvgPool2d),
    F.adaptive_avg_pool2d: _module(nn.AdaptiveAvgPool2d),
    F.adaptive_max_pool2d: _module(nn.AdaptiveMaxPool2d),
    F.pad: _padded,
}
