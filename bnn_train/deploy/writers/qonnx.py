"""The network as QONNX, for FINN and hls4ml: float32, in which BipolarQuant marks what is -1 or +1, one image at a time.

The dialect has no bits: a weight takes 32. Real numbers are float32 and are added in the order of whoever runs the file, so real
sums are the runner's within rounding alone, as torch's are; whole numbers are equal.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bnn_train import files
from bnn_train.deploy.infer import infer
from bnn_train.deploy.packed import Op, Packed, inputs_of, packed_bits, unpacked_bits, weights
from bnn_train.deploy.writers.onnx import model_of, package
from bnn_train.deploy.writers.onnx_graph import Graph
from bnn_train.deploy.writers.qonnx_run import DOMAIN, compare, line
from bnn_train.errors import ConfigError

__all__ = ["SUFFIX", "compare", "write"]

SUFFIX = ".onnx"
_EXACT = 2**24  # float32 holds every whole number below
_LINE = 2.0**-18  # a table off its line by no more of its numbers is one that was rounded
_SINGLE = {"relu": "Relu", "prelu": "PRelu", "sigmoid": "Sigmoid", "add": "Add", "multiply": "Mul", "flatten": "Flatten"}


def write(packed: Packed, path: Path) -> None:
    """Writes the network; a crash leaves the old file, or none. Raises ConfigError where the package onnx is missing, and for an
    operation that the dialect does not have, by its layer."""
    onnx = package("qonnx")
    graph = Graph(infer(packed), "float")
    for i, op in enumerate(_turned(packed)):
        graph.layer = op.name or op.kind
        _add(graph, op, i + 1)
    model = model_of(packed, graph, "float", 1)
    model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))
    pixels = onnx.TensorAnnotation(tensor_name="images")
    pixels.quant_parameter_tensor_names.add(key="finn_datatype", value="UINT8")
    model.graph.quantization_annotation.append(pixels)
    onnx.checker.check_model(model)
    content = model.SerializeToString(deterministic=True)
    files.write(path, lambda file: file.write(content))


def _add(graph: Graph, op: Op, at: int) -> None:
    x, result = graph.values[op.inputs[0]], graph.values[at]
    if result.kind == "whole" and result.largest >= _EXACT:
        raise ConfigError("format", "qonnx", f"has float32 alone, which cannot hold the sums of {op.name!r}")
    inputs = [graph.form(source, "float") for source in op.inputs]
    settings, output = op.settings, graph.name(at, "float")
    if op.kind == "linear":
        bias = _added(op)
        sums = graph.node(
            "MatMul", inputs[0], _weight(graph, op, weights(op, x.shape[0]).T), output=None if bias is not None else output
        )
        if bias is not None:
            graph.node("Add", sums, graph.per_channel(bias, at), output=output)
    elif op.kind == "conv2d":
        _conv2d(graph, op, at, inputs[0], output)
    elif op.kind == "sign":
        _sign(graph, op, at, inputs[0], output)
    elif op.kind in ("affine", "normalise"):
        scale, shift, off = line(op)
        if off > _LINE * np.abs(op.tensors.get("table", np.zeros(1))).max():
            raise ConfigError("format", "qonnx", f"has no tables, and that of {op.name!r} is no line")
        scaled = graph.node("Mul", inputs[0], graph.per_channel(scale, at))
        graph.node("Add", scaled, graph.per_channel(shift, at), output=output)
    elif op.kind in ("max_pool", "avg_pool"):
        _pool(graph, op, at, inputs[0], output)
    elif op.kind == "concatenate":
        graph.node("Concat", *inputs, output=output, axis=1)
    elif op.kind == "slice":
        graph.node("Slice", *inputs, *(graph.sizes(n) for n in (settings["start"], settings["stop"], 1)), output=output)
    elif op.kind == "pad":
        _padded(graph, inputs[0], settings["rows"], settings["columns"], settings["pad_value"], output)
    elif op.kind == "clamp":
        graph.node("Clip", *inputs, *(graph.number(limit, "float") for limit in op.tensors["limits"]), output=output)
    else:
        slope = [graph.per_channel(op.tensors["slope"], at)] if op.kind == "prelu" else []
        graph.node(_SINGLE[op.kind], *inputs, *slope, output=output)


def _weight(graph: Graph, op: Op, arranged: np.ndarray) -> str:
    """Float32; marked as what it is: of -1 and +1, or where edges are pruned of -1, 0 and +1."""
    numbers = graph.constant(np.ascontiguousarray(arranged, np.float32))
    if op.tensors["weight"].dtype != np.uint8:
        return numbers
    one, zero = graph.number(1, "float"), graph.number(0, "float")
    if arranged.all():
        return graph.node("BipolarQuant", numbers, one, domain=DOMAIN)
    two = graph.number(2, "float")
    return graph.node("Quant", numbers, one, zero, two, domain=DOMAIN, signed=1, narrow=1, rounding_mode="ROUND")


def _added(op: Op) -> np.ndarray | None:
    added = op.tensors.get("bias", op.tensors.get("offset"))
    return None if added is None else added.astype(np.float32)


def _conv2d(graph: Graph, op: Op, at: int, image: str, output: str) -> None:
    settings = op.settings
    (down, right), pads = settings["padding"], [*settings["padding"]] * 2
    if any(pads) and settings["pad_value"]:
        image, pads = _padded(graph, image, (down, down), (right, right), settings["pad_value"], None), [0] * 4
    weight = weights(op, inputs_of(op, graph.values[op.inputs[0]].shape[0]))
    filters = _weight(graph, op, weight.reshape(len(weight), -1, *settings["kernel"]))
    added = _added(op)
    bias = [] if added is None else [graph.constant(added)]
    lists = {f"{name}s": list(settings[name]) for name in ("stride", "dilation")}
    shape = {"kernel_shape": list(settings["kernel"]), "pads": pads, "group": settings["groups"]}
    graph.node("Conv", image, filters, *bias, output=output, **lists, **shape)


def _padded(graph: Graph, image: str, rows: Any, columns: Any, value: int, output: str | None) -> str:
    ends = graph.sizes(0, 0, rows[0], columns[0], 0, 0, rows[1], columns[1])
    return graph.node("Pad", image, ends, graph.number(value, "float"), output=output)


def _pool(graph: Graph, op: Op, at: int, image: str, output: str) -> None:
    x, settings = graph.values[op.inputs[0]], op.settings
    if settings["ceil"] and _floor(op, x.shape) != graph.values[at].shape[1:]:
        raise ConfigError("format", "qonnx", f"has no pool whose last window ends behind the image, as that of {op.name!r} does")
    attributes: dict[str, Any] = {"kernel_shape": list(settings["kernel"]), "strides": list(settings["stride"])}
    attributes["pads"] = [*settings["padding"]] * 2
    if op.kind == "max_pool":
        graph.node("MaxPool", image, output=output, **attributes)
    elif list(settings["kernel"]) == list(x.shape[1:]) and not any(settings["padding"]):
        graph.node("GlobalAveragePool", image, output=output)
    else:
        graph.node("AveragePool", image, output=output, count_include_pad=int(settings["count_padding"]), **attributes)


def _floor(op: Op, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Rows and columns of a pool of an image (C, H, W) without windows that end behind it."""
    axes = zip(shape[1:], *(op.settings[name] for name in ("kernel", "stride", "padding")), strict=True)
    return tuple((size + 2 * p - k) // s + 1 for size, k, s, p in axes)


def _sign(graph: Graph, op: Op, at: int, x: str, output: str) -> None:
    shift = -_limits(op)
    flip = _flip(op)
    moved = graph.node("Add", x, graph.per_channel(shift, at)) if shift.any() else x
    bits = graph.node("BipolarQuant", moved, graph.number(1, "float"), output=None if flip.any() else output, domain=DOMAIN)
    if flip.any():
        graph.node("Mul", bits, graph.per_channel(np.where(flip, np.float32(-1), np.float32(1)), at), output=output)


def _limits(op: Op) -> np.ndarray:
    """Thresholds as float32: exact, as far as a float32 sum can come. x - t has the exact sign."""
    threshold = op.tensors["threshold"]
    if threshold.dtype == np.float32:
        largest = np.finfo(np.float32).max
        return np.clip(threshold, -largest, largest)
    return np.clip(threshold.astype(np.int64), -_EXACT, _EXACT).astype(np.float32)


def _flip(op: Op) -> np.ndarray:
    channels = len(op.tensors["threshold"])
    return unpacked_bits(op.tensors["flip"], channels)[0].astype(bool) if "flip" in op.tensors else np.zeros(channels, bool)


def _turned(packed: Packed) -> list[Op]:
    """The operations, where a product's whole sums go to a sign alone with contrary weights for channels that this turns around.

    hls4ml makes a threshold of what is between a product and a sign, and loses a factor of -1 there.
    """
    ops, known = list(packed.ops), infer(packed)
    for i, op in enumerate(ops):
        takers = [k for k, other in enumerate(ops) if i + 1 in other.inputs]
        if op.kind not in ("linear", "conv2d") or known[i + 1].kind != "whole" or len(takers) != 1 or ops[takers[0]].kind != "sign":
            continue
        sign = ops[takers[0]]
        flip = _flip(sign)
        x = known[op.inputs[0]]
        weight = weights(op, inputs_of(op, x.shape[0]))
        weight = np.where(flip[:, None], -weight, weight)
        tensors = {**op.tensors, "weight": packed_bits(weight)}
        if "offset" in op.tensors:
            tensors["offset"] = np.where(flip, -op.tensors["offset"], op.tensors["offset"])
        if "mask" in op.tensors:
            tensors["mask"] = packed_bits(np.abs(weight))
        threshold = sign.tensors["threshold"].astype(np.int64)  # s < t is -s >= 1 - t
        limits = np.clip(np.where(flip, 1 - threshold, threshold), -_EXACT, _EXACT).astype(np.int32)
        ops[i] = replace(op, tensors=tensors)
        ops[takers[0]] = replace(sign, tensors={"threshold": limits})
    return ops
