"""What the exporter works on: the operations of a traced network with torch's own functions beside them, as a graph to rewrite."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from bnn_train.deploy.packed import Shape


class Affine(NamedTuple):
    """scale * x + shift, per channel; float64 (channels,).

    What torch computes and what the exported network computes differ by less than 2^-24 (steps |scale x| + rounding).
    """

    scale: np.ndarray
    shift: np.ndarray
    steps: float
    rounding: np.ndarray


@dataclass(eq=False)
class Elementwise:
    """A function of each channel's numbers. run: torch's own computation, of float32 (N, channels)."""

    run: Callable[[Tensor], Tensor]
    affine: Affine | None = None
    rising: bool = False  # whether in each channel it never falls, or never rises: a sign behind it flips once at most
    wide: bool = False  # run takes float64


@dataclass(eq=False)
class Node:
    """An operation of `deploy/packed.py`, or "image", or "elementwise": an affine, a relu or a prelu with `function`."""

    kind: str
    name: str
    inputs: list["Node"]
    shape: Shape
    settings: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, np.ndarray] = field(default_factory=dict)
    function: Elementwise | None = None
    rounding: np.ndarray | None = None  # what deploy/bounds.py asks of an operation


def kind_of(node: Node) -> str:
    """bytes, bits, whole or real."""
    if node.kind in ("image", "sign"):
        return {"image": "bytes", "sign": "bits"}[node.kind]
    if node.kind in ("linear", "conv2d"):
        return "whole" if node.tensors["weight"].dtype == np.uint8 and kind_of(node.inputs[0]) in ("bits", "bytes") else "real"
    if node.kind not in ("max_pool", "flatten", "slice", "pad", "concatenate"):
        return "real"
    kinds = {kind_of(x) for x in node.inputs}
    return kinds.pop() if len(kinds) == 1 else "real"


def in_order(output: Node) -> list[Node]:
    """All that the output is made of, inputs before what takes them."""
    found: dict[Node, None] = {}
    open_nodes: list[tuple[Node, Iterator[Node]]] = [(output, iter(output.inputs))]
    while open_nodes:
        node, inputs = open_nodes[-1]
        following = next((x for x in inputs if x not in found), None)
        if following is None:
            found[node] = None
            open_nodes.pop()
        else:
            open_nodes.append((following, iter(following.inputs)))
    return list(found)


def as_pixel(features: Node) -> Node | None:
    """The same numbers as an image of one pixel, (channels, 1, 1); None where they are not made of one.

    A linear layer is a convolution there: so a gate's sum needs no operation that makes an image of features.
    """
    if features.kind == "flatten" and features.inputs[0].shape[1:] == (1, 1):
        return features.inputs[0]
    if features.kind not in ("linear", "elementwise", "sigmoid", "sign", "add", "multiply", "concatenate", "slice"):
        return None
    inputs = [as_pixel(x) for x in features.inputs]
    if any(x is None for x in inputs):
        return None
    settings = features.settings
    if features.kind == "linear":
        ones, none = [1, 1], [0, 0]
        settings = {**settings, "kernel": ones, "stride": ones, "dilation": ones, "padding": none, "pad_value": 0, "groups": 1}
    kind = "conv2d" if features.kind == "linear" else features.kind
    pixel = [x for x in inputs if x is not None]
    tensors = dict(features.tensors)
    return Node(kind, features.name, pixel, (*features.shape, 1, 1), settings, tensors, features.function, features.rounding)


def consumers(output: Node) -> dict[Node, list[Node]]:
    """For each node those that take it, once for each time."""
    found: dict[Node, list[Node]] = {node: [] for node in in_order(output)}
    for node in found:
        for x in node.inputs:
            found[x].append(node)
    return found


def replace(output: Node, old: Node, new: Node) -> Node:
    """The output of the graph in which all that took `old` takes `new`."""
    for node in in_order(output):
        if node is not new:
            node.inputs = [new if x is old else x for x in node.inputs]
    return new if output is old else output
