"""What an exported network is made of, layer by layer: bits, bytes in the file, operations for an image."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from bnn_train.deploy import file
from bnn_train.deploy.infer import infer
from bnn_train.deploy.packed import Op, Packed, Value, inputs_of
from bnn_train.report import grid
from bnn_train.report.grid import Column
from bnn_train.report.tables import size

_BITS = {"bits": "1", "bytes": "8", "whole": "32", "real": "32"}


class Row(NamedTuple):
    """A layer with weights. bits: of a weight, in the file, x of an input."""

    name: str
    output: tuple[int, ...]
    bits: str
    binary_macs: int  # multiply-accumulates of -1 and +1 alone
    real_macs: int
    bytes: int


def rows(packed: Packed) -> Iterator[Row]:
    known, stored = infer(packed), file.stored(packed)
    for i, op in enumerate(packed.ops):
        if op.kind in ("linear", "conv2d"):
            yield _row(op, known[op.inputs[0]], known[i + 1], stored[i])


def _row(op: Op, x: Value, result: Value, stored: Op) -> Row:
    inputs = inputs_of(op, x.shape[0])
    macs = inputs * result.size
    binary = op.tensors["weight"].dtype == np.uint8
    weight = "1" if binary else "32"
    if "mask" in op.tensors:  # the signs of the connected edges, and which these are
        held = sum(stored.tensors[name].nbytes for name in ("signs", "mask", "gaps") if name in stored.tensors)
        weight = f"{8 * held / (op.settings['outputs'] * inputs):.2g}"
    binary_macs = macs if binary and x.kind == "bits" else 0
    return Row(op.name, result.shape, f"{weight}x{_BITS[x.kind]}", binary_macs, macs - binary_macs, _bytes(stored))


def _bytes(op: Op) -> int:
    return sum(array.nbytes for array in op.tensors.values())


def table(packed: Packed) -> str:
    """All rows, what else the file holds, and its size beside that of the float32 network."""
    layers = list(rows(packed))
    total = len(file.encode(packed))
    thresholds = sum(_bytes(op) for op in packed.ops if op.kind == "sign")
    others = sum(_bytes(op) for op in packed.ops if op.kind not in ("sign", "linear", "conv2d"))
    text = total - thresholds - others - sum(row.bytes for row in layers)
    more = [
        (name, count) for name, count in (("thresholds", thresholds), ("scales, shifts", others), ("description", text)) if count
    ]
    blank = [""] * len(more)
    columns = [
        Column("layer", [*(row.name for row in layers), *(name for name, _ in more), "total"], right=False, dotted=True),
        Column("output", [*("x".join(map(str, row.output)) for row in layers), *blank, ""], spare=2),
        Column("bits", [*(row.bits for row in layers), *blank, ""]),
    ]
    for name in ("binary_macs", "real_macs"):
        counts = [getattr(row, name) for row in layers]
        columns.append(Column(name.replace("_macs", " MACs"), [*(f"{n:,}" for n in counts), *blank, f"{sum(counts):,}"]))
    held = [*(row.bytes for row in layers), *(count for _, count in more), total]
    columns.append(Column("in the file", [size(count) for count in held]))
    float32 = packed.about.get("float32_bytes")
    beside = f"; its float32 weights take {size(float32)}, {float32 / total:.1f}x as much" if isinstance(float32, int) else ""
    return f"{grid.table(columns, 'exported network', total=True)}\n{grid.sentence(f'{size(total)}{beside}')}"
