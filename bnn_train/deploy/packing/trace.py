"""From a torch network to the short list of operations that can be exported; anything else is refused by its name and place.

torch.fx follows the network's forward down to the layers that are known here. Two images go through it meanwhile, so that every
value's shape is known, and lines of a forward that ask for shapes are numbers.
"""

import inspect
import re
from typing import Any

import torch
import torch.fx
from torch import Tensor, nn

from bnn_train.binary.layers import BinaryLayer
from bnn_train.deploy.packing import layers
from bnn_train.deploy.packing.calls import ALIASES, CALLS, Value, refuse
from bnn_train.deploy.packing.graph import Node
from bnn_train.errors import ConfigError


def trace(model: nn.Module, images: Tensor, image: Node) -> Node:
    """The output of the network as operations on `image`, the node that stands for its normalised input.

    model: in evaluation mode, on the CPU. images: float32 (2, C, H, W). Raises ConfigError for what cannot be exported.
    """
    if model._forward_hooks or model._forward_pre_hooks:  # those of its parts are followed as lines of the forward
        raise ConfigError("network", type(model).__name__, "has hooks, which may change what it computes: remove them")
    try:
        graph = _Tracer().trace(model)
    except Exception as error:  # fx raises TraceError, TypeError, RuntimeError, whatever the forward's line ran into
        remedy = f"its forward cannot be followed ({_one_line(error)}); it must do the same for every image"
        raise ConfigError("network", type(model).__name__, remedy) from error
    inputs = [str(n.target) for n in graph.nodes if n.op == "placeholder"]
    if len(inputs) != 1 or inputs[0].startswith("*"):
        raise ConfigError("network", type(model).__name__, f"its forward takes {', '.join(inputs)}; it must take the images alone")
    follower = _Follower(torch.fx.GraphModule(model, graph), image)
    try:
        with torch.no_grad():
            follower.run(images)
    except ConfigError:
        raise
    except Exception as error:  # whatever a line of the forward runs into
        shape = "x".join(map(str, images.shape[1:]))
        remedy = f"its forward fails on images of {shape}, in evaluation, on the CPU ({_one_line(error)})"
        raise ConfigError("network", type(model).__name__, remedy) from error
    if not isinstance(follower.result, Node):
        raise ConfigError("network", type(model).__name__, "must give one tensor, the class scores")
    return follower.result


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


class _Tracer(torch.fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        # A binary layer's own forward branches: one that computes something else is refused by its name.
        return layers.known(m) is not None or isinstance(m, BinaryLayer) or super().is_leaf_module(m, module_qualified_name)


class _Follower(torch.fx.Interpreter):
    """Runs the traced lines on real images, and writes the operations down beside them."""

    def __init__(self, module: torch.fx.GraphModule, image: Node) -> None:
        super().__init__(module)
        self.image = image
        self.nodes: dict[torch.fx.Node, Node] = {}
        self.result: Any = None
        self.extra_traceback = False  # it would change the arguments of a ConfigError
        self.versions: dict[torch.fx.Node, int] = {}  # how often each line's tensor had been written to when the line had run

    def run_node(self, n: torch.fx.Node) -> Any:
        if n.op == "call_module":
            _check_module(self.fetch_attr(str(n.target)), str(n.target))
        for x in n.all_input_nodes:
            if isinstance(self.env.get(x), Tensor) and self.env[x]._version != self.versions[x]:
                refuse(_kind(n), _place(n), f"takes what a line before it has changed in place ({_place(x)}); use a copy there")
        output = super().run_node(n)
        if isinstance(output, Tensor):
            self.versions[n] = output._version
        if n.op == "placeholder":
            self.nodes[n] = self.image
        elif n.op == "output":
            self.result = self._value(n.args[0])
        elif n.op != "get_attr" and any(x in self.nodes for x in n.all_input_nodes):
            if isinstance(output, Tensor):
                self.nodes[n] = self._operation(n, output)
            elif not isinstance(output, int | torch.Size | torch.dtype | torch.device | bool):
                refuse(_kind(n), _place(n), "gives no single tensor")
        return output

    def _value(self, x: Any) -> Value:
        """What an argument is: the node of it, or the plain value, or a parameter's tensor."""
        return torch.fx.node.map_arg(x, lambda n: self.nodes.get(n, self.env.get(n)))  # type: ignore[arg-type,return-value]

    def _operation(self, n: torch.fx.Node, output: Tensor) -> Node:
        arguments = [self._value(x) for x in n.args]
        named = {key: self._value(x) for key, x in n.kwargs.items()}
        if n.op == "call_module":
            module, name = self.fetch_attr(str(n.target)), str(n.target)
            kind = layers.known(module)
            if kind is None or len(arguments) != 1 or named or not isinstance(arguments[0], Node):
                refuse(type(module).__name__, name, "is not called with one tensor alone")
            return layers.LAYERS[kind](module, name, arguments[0], output)
        name = _place(n)
        convert = CALLS.get(ALIASES.get(n.target, n.target))
        if convert is None:
            refuse(_kind(n), name)
        try:
            inspect.signature(convert).bind(name, output, *arguments, **named)
        except TypeError:
            refuse(_kind(n), name, "has arguments that are not known here")
        found = convert(name, output, *arguments, **named)
        if found is None:
            refuse(_kind(n), name, "is used otherwise than it is known here")
        return found


def _check_module(module: nn.Module, name: str) -> None:
    """Refuses a layer before it runs: what it wants may be no image."""
    if layers.known(module) is None:
        refuse(type(module).__name__, name)
    if module._forward_hooks or module._forward_pre_hooks:
        refuse(type(module).__name__, name, "has hooks, which may change what it computes: remove them")


def _kind(n: torch.fx.Node) -> str:
    """What a line calls."""
    if isinstance(n.target, str):
        return n.target
    name = getattr(n.target, "__name__", str(n.target))
    return re.sub(r"_\d+$", "", n.name) if name == "fn" else name  # torch's functions that choose between two are all called fn


def _place(n: torch.fx.Node) -> str:
    """The module in whose forward a line stands, and the line's name."""
    stack = list((n.meta.get("nn_module_stack") or {}).values())
    inside = stack[-1][0] if stack and isinstance(stack[-1], tuple) else ""
    return f"{inside}.{n.name}" if inside else n.name
