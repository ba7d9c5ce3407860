"""Each operation of docs/format.md in ONNX's standard operators, in types in which ONNX Runtime computes it exactly.

Sums of whole numbers: linear layers in 8-bit integers, uint8 x int8, the fast way round; convolutions in float32, which holds each
partial sum exactly below 2^24 (ConvInteger is five times slower than that on a CPU). Real sums: in float64, rounded to float32, by
MatMul, since ONNX Runtime has no Conv of float64: what lies under the kernel is gathered. They are exact but for float64's own
rounding, which shows where the sum lies in the middle of two float32: in one of 10^8, or so.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bnn_train.deploy.packed import Op, Value, inputs_of, weights
from bnn_train.deploy.reference import pool_counts
from bnn_train.deploy.writers.onnx_graph import TYPES, Graph

_EXACT = 2**24  # float32 holds every whole number below


def add_operation(graph: Graph, op: Op, at: int) -> None:
    """The operators that make value `at` of the network of op's inputs."""
    graph.layer = op.name or op.kind
    OPERATIONS[op.kind](graph, op, at)


def _linear(graph: Graph, op: Op, at: int) -> None:
    source = op.inputs[0]
    x, result = graph.values[source], graph.values[at]
    weight = np.ascontiguousarray(weights(op, x.shape[0]).T)
    if result.kind == "real":
        sums = graph.node("MatMul", graph.form(source, "double"), graph.weight(weight, "double"))
        _rounded(graph, op, at, sums)
        return
    # Bits as 0 and 1 and weights of twice the size: the sum of -1 and +1 is that less the sum of weights.
    bits = x.kind == "bits"
    constant = op.tensors.get("offset", np.zeros(weight.shape[1], np.int32)).astype(np.int64)
    constant = constant - (weight.sum(axis=0, dtype=np.int64) if bits else 0)
    name = graph.name(at, "int32")
    plain = not constant.any()
    factors = graph.form(source, "uint8"), graph.weight(weight, "int8", 2 if bits else 1)
    sums = graph.node("MatMulInteger", *factors, output=name if plain else None)
    if not plain:
        graph.node("Add", sums, graph.constant(constant.astype(np.int32)), output=name)


def _conv2d(graph: Graph, op: Op, at: int) -> None:
    source = op.inputs[0]
    x, result = graph.values[source], graph.values[at]
    groups, kernel = op.settings["groups"], op.settings["kernel"]
    weight = weights(op, inputs_of(op, x.shape[0]))
    if result.kind == "real" or result.largest >= _EXACT:
        channels = graph.form(source, "double")
        rows = weight if groups == 1 else weight.reshape(groups, -1, weight.shape[1])
        if list(kernel) != [1, 1] or any(op.settings["padding"]) or any(s != 1 for s in op.settings["stride"]):
            channels = _windows(graph, op, source, result, op.settings["pad_value"], op.settings["dilation"])
        columns = [weight.shape[1], result.shape[1] * result.shape[2]]
        under = graph.node("Reshape", channels, graph.sizes(0, *([groups] if groups > 1 else []), *columns))
        sums = graph.node("MatMul", graph.weight(rows, "double"), under)
        _rounded(graph, op, at, graph.node("Reshape", sums, graph.sizes(0, *result.shape)))
        return
    image, pads = graph.form(source, "float"), [*op.settings["padding"]] * 2
    if any(pads) and op.settings["pad_value"]:
        image = graph.node(
            "Pad", image, graph.sizes(0, 0, *pads[:2], 0, 0, *pads[:2]), graph.number(op.settings["pad_value"], "float")
        )
        pads = [0] * 4
    filters = graph.weight(weight.reshape(len(weight), -1, *kernel), "float")
    offset = [graph.cast(graph.constant(op.tensors["offset"]), "float")] if "offset" in op.tensors else []
    strides, dilations = list(op.settings["stride"]), list(op.settings["dilation"])
    graph.node(
        "Conv", image, filters, *offset, output=graph.name(at, "float"), kernel_shape=list(kernel), strides=strides,
        dilations=dilations, group=groups, pads=pads,
    )  # fmt: skip


def _rounded(graph: Graph, op: Op, at: int, sums: str) -> None:
    """Sums in float64, with what is added to them, in the value's own type."""
    for name in ("offset", "bias"):
        if name in op.tensors:
            sums = graph.node("Add", sums, graph.per_channel(op.tensors[name], at, "double"))
    kind = "float" if graph.values[at].kind == "real" else "int32"
    graph.cast(sums, kind, graph.name(at, kind))


def _windows(graph: Graph, op: Op, source: int, result: Value, outside: int, dilation: Sequence[int]) -> str:
    """What lies under the kernel at each place, double (N, channels, kernel height * kernel width, rows, columns)."""
    kernel, stride = op.settings["kernel"], op.settings["stride"]
    x, (down, right) = graph.values[source], op.settings["padding"]
    ends = _ends(op, x, result, dilation)
    image = graph.form(source, "double")
    if down or right or any(ends):
        image = graph.node("Pad", image, graph.sizes(0, 0, down, right, 0, 0, *ends), graph.number(outside, "double"))
    width = x.shape[2] + right + ends[1]
    flat = graph.node("Reshape", image, graph.sizes(0, x.shape[0], -1))
    taps = np.add.outer(np.arange(kernel[0]) * dilation[0] * width, np.arange(kernel[1]) * dilation[1]).reshape(-1, 1, 1)
    rows = np.arange(result.shape[1]).reshape(-1, 1) * stride[0] * width
    columns = np.arange(result.shape[2]) * stride[1]
    corners = graph.node("Add", *(graph.constant(part.astype(np.int32)) for part in (rows, columns)))
    return graph.node("Gather", flat, graph.node("Add", graph.constant(taps.astype(np.int32)), corners), axis=2)


def _ends(op: Op, x: Value, result: Value, dilation: Sequence[int]) -> list[int]:
    """How much the last window needs behind the image, below and on the right."""
    axes = zip(
        x.shape[1:], result.shape[1:], *(op.settings[name] for name in ("kernel", "stride", "padding")), dilation, strict=True
    )
    return [max(0, (places - 1) * s + d * (k - 1) + 1 - size - p) for size, places, k, s, p, d in axes]


def _max_pool(graph: Graph, op: Op, at: int) -> None:
    x = graph.values[op.inputs[0]]
    kind = "double" if x.kind == "whole" and x.largest >= _EXACT else "float"
    kernel, stride = list(op.settings["kernel"]), list(op.settings["stride"])
    # ONNX Runtime's ceil_mode counts other windows than torch: the padding is written out instead.
    pads = [*op.settings["padding"], *_ends(op, x, graph.values[at], (1, 1))]
    image, output = graph.form(op.inputs[0], kind), graph.name(at, kind)
    graph.node("MaxPool", image, output=output, kernel_shape=kernel, strides=stride, pads=pads)


def _avg_pool(graph: Graph, op: Op, at: int) -> None:
    x, result = graph.values[op.inputs[0]], graph.values[at]
    if list(op.settings["kernel"]) == list(x.shape[1:]) and not any(op.settings["padding"]):
        sums = graph.node("ReduceSum", graph.form(op.inputs[0], "double"), graph.sizes(2, 3))
    else:
        windows = _windows(graph, op, op.inputs[0], result, 0, (1, 1))
        sums = graph.node("ReduceSum", windows, graph.sizes(2), keepdims=0)
    counts = pool_counts(op, result, x.shape[1:])
    if (counts == counts[0, 0]).all():
        counts = counts[:1, :1]
    graph.node("Div", graph.cast(sums, "float"), graph.constant(counts), output=graph.name(at, "float"))


def _normalise(graph: Graph, op: Op, at: int) -> None:
    table = op.tensors["table"]
    places = graph.form(op.inputs[0], "int32")
    if len(table) > 1:
        places = graph.node("Add", places, graph.per_channel(np.arange(len(table), dtype=np.int32) * 256, at))
    graph.node("Gather", graph.constant(table.reshape(-1)), places, output=graph.name(at, "float"))


def _affine(graph: Graph, op: Op, at: int) -> None:
    scale, shift = (graph.per_channel(op.tensors[name], at, "double") for name in ("scale", "shift"))
    scaled = graph.node("Mul", graph.form(op.inputs[0], "double"), scale)
    graph.cast(graph.node("Add", scaled, shift), "float", graph.name(at, "float"))


def _sign(graph: Graph, op: Op, at: int) -> None:
    source = op.inputs[0]
    x, threshold, kind = graph.values[source], op.tensors["threshold"], graph.first(source)
    if x.kind == "whole":  # the ends are all that a threshold beyond them says
        threshold = np.clip(threshold.astype(np.int64), -x.largest - 1, x.largest + 1).astype(TYPES[kind][0])
    short = x.kind == "whole" and np.abs(threshold).max() < 2**15
    limits = graph.per_channel(threshold.astype(np.int16), at, kind) if short else graph.per_channel(threshold, at)
    name = graph.name(at, "bool")
    bits = graph.node("GreaterOrEqual", graph.form(source, kind), limits, output=None if "flip" in op.tensors else name)
    if "flip" in op.tensors:
        flip = np.unpackbits(op.tensors["flip"][0], count=x.shape[0]).astype(bool)
        graph.node("Xor", bits, graph.per_channel(flip, at), output=name)


def _sigmoid(graph: Graph, op: Op, at: int) -> None:
    """As docs/format.md has it, for all: ONNX Runtime's own Sigmoid loses the small ones."""
    x, one = graph.form(op.inputs[0], "double"), graph.number(1, "double")
    small = graph.node("Exp", graph.node("Neg", graph.node("Abs", x)))
    above = graph.node("Where", graph.node("GreaterOrEqual", x, graph.number(0, "double")), one, small)
    graph.cast(graph.node("Div", above, graph.node("Add", small, one)), "float", graph.name(at, "float"))


def _single(kind: str) -> Callable[[Graph, Op, int], None]:
    """One operator on float32."""

    def add(graph: Graph, op: Op, at: int) -> None:
        slope = [graph.per_channel(op.tensors["slope"], at)] if op.kind == "prelu" else []
        graph.node(kind, *(graph.form(source, "float") for source in op.inputs), *slope, output=graph.name(at, "float"))

    return add


def _clamp(graph: Graph, op: Op, at: int) -> None:
    limits = [graph.number(limit, "float") for limit in op.tensors["limits"]]
    graph.node("Clip", graph.form(op.inputs[0], "float"), *limits, output=graph.name(at, "float"))


def _moved(graph: Graph, op: Op, at: int, node: str, *inputs: str, **attributes: Any) -> None:
    """An operator that leaves numbers as they are, in the type in which they come."""
    kind = graph.first(op.inputs[0])
    graph.node(node, graph.form(op.inputs[0], kind), *inputs, output=graph.name(at, kind), **attributes)


def _concatenate(graph: Graph, op: Op, at: int) -> None:
    kinds = {graph.first(source) for source in op.inputs}
    kind = kinds.pop() if len(kinds) == 1 else {"bits": "float", "whole": "int32", "real": "float"}[graph.values[at].kind]
    graph.node("Concat", *(graph.form(source, kind) for source in op.inputs), output=graph.name(at, kind), axis=1)


def _slice(graph: Graph, op: Op, at: int) -> None:
    _moved(graph, op, at, "Slice", *(graph.sizes(n) for n in (op.settings["start"], op.settings["stop"], 1)))


def _pad(graph: Graph, op: Op, at: int) -> None:
    (top, bottom), (left, right), value = (op.settings[name] for name in ("rows", "columns", "pad_value"))
    kind = graph.first(op.inputs[0])
    outside = graph.number(value > 0 if kind == "bool" else value, kind)
    _moved(graph, op, at, "Pad", graph.sizes(0, 0, top, left, 0, 0, bottom, right), outside)


def _flatten(graph: Graph, op: Op, at: int) -> None:
    _moved(graph, op, at, "Reshape", graph.sizes(0, graph.values[at].size))


OPERATIONS: dict[str, Callable[[Graph, Op, int], None]] = {
    "linear": _linear, "conv2d": _conv2d, "normalise": _normalise, "affine": _affine, "sign": _sign, "relu": _single("Relu"),
    "prelu": _single("PRelu"), "clamp": _clamp, "sigmoid": _sigmoid, "max_pool": _max_pool, "avg_pool": _avg_pool,
    "add": _single("Add"), "multiply": _single("Mul"), "concatenate": _concatenate, "slice": _slice, "pad": _pad,
    "flatten": _flatten,
}  # fmt: skip
