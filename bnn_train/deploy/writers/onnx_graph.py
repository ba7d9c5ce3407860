"""An ONNX graph in the making: values in the types in which operators take them, and weights of one bit.

A value of the network may lie there in several types (bits as bool, as uint8 0 and 1, as float -1 and +1): its forms. What starts
with a constant is computed once, when ONNX Runtime loads the file: unpacking of weights, and casts of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bnn_train.deploy import sparse
from bnn_train.deploy.packed import Value, packed_bits

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

TYPES: dict[str, tuple[Any, int]] = {  # with onnx's numbers for them
    "float": (np.float32, 1), "uint8": (np.uint8, 2), "int8": (np.int8, 3), "int32": (np.int32, 6), "int64": (np.int64, 7),
    "bool": (np.bool_, 9), "double": (np.float64, 11),
}  # fmt: skip
_BITS = np.array([128, 64, 32, 16, 8, 4, 2, 1], np.uint8)  # the first of eight is the highest: docs/format.md


class Graph:
    """Nodes and initialisers. Names of values: "v3.float" is value 3 of the network as float; others are of no value."""

    def __init__(self, values: list[Value], pixels: str = "uint8") -> None:
        self.values = values
        self.nodes: list[NodeProto] = []
        self.initialisers: list[TensorProto] = []
        self.layer = ""  # whose nodes are being made; Netron and profilers show it
        self._forms: list[dict[str, str]] = [{pixels: "images"}, *({} for _ in values[1:])]
        self._constants: dict[tuple[Any, ...], str] = {}

    def node(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Adds an operator; the name of its one result."""
        from onnx import helper

        count = len(self.nodes)
        output = output or f"t{count}"
        self.nodes.append(helper.make_node(kind, inputs, [output], f"{self.layer}.{count}", **attributes))
        return output

    def constant(self, array: np.ndarray) -> str:
        """An initialiser; equal ones are one."""
        from onnx import numpy_helper

        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = name = f"c{len(self.initialisers)}"
            self.initialisers.append(numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name))
        return self._constants[key]

    def number(self, value: float, kind: str) -> str:
        return self.constant(np.array(value, TYPES[kind][0]))

    def sizes(self, *numbers: int) -> str:
        """A shape, axes, places: int64 in one row."""
        return self.constant(np.array(numbers, np.int64))

    def cast(self, name: str, kind: str, output: str | None = None) -> str:
        return self.node("Cast", name, output=output, to=TYPES[kind][1])

    def name(self, value: int, kind: str) -> str:
        """The name of a value in a type. What makes a value gives it the first of them. The last, as float, are the scores."""
        is_last = kind == "float" and value == len(self.values) - 1
        self._forms[value].setdefault(kind, "scores" if is_last else f"v{value}.{kind}")
        return self._forms[value][kind]

    def first(self, value: int) -> str:
        """The type in which a value was made."""
        return next(iter(self._forms[value]))

    def form(self, value: int, kind: str) -> str:
        """The value in a type; converted from another where it is not yet there."""
        forms = self._forms[value]
        if kind in forms:
            return forms[kind]
        if self.values[value].kind != "bits":
            return self.cast(forms[self.first(value)], kind, self.name(value, kind))
        if kind == "bool":
            return self.node("Greater", forms["float"], self.number(0, "float"), output=self.name(value, kind))
        if kind == "float":
            signs = self.number(1, "float"), self.number(-1, "float")
            return self.node("Where", self.form(value, "bool"), *signs, output=self.name(value, kind))
        source = "bool" if kind == "uint8" else "float"
        return self.cast(self.form(value, source), kind, self.name(value, kind))

    def per_channel(self, numbers: np.ndarray, value: int, kind: str | None = None) -> str:
        """(channels,) as a constant to be combined with a batch of the value; cast to `kind`, if given."""
        shaped = self.constant(numbers.reshape(-1, *[1] * (len(self.values[value].shape) - 1)))
        return shaped if kind is None else self.cast(shaped, kind)

    def weight(self, numbers: np.ndarray, kind: str, size: int = 1) -> str:
        """Weights of any shape in a type: float32, or int8 -1, 0 where pruned, +1, which are stored as bits. size: of a +1."""
        if numbers.dtype == np.float32:
            return self.cast(self.constant(numbers), kind)
        row = numbers.reshape(-1)
        signs = self._signs(np.packbits(row > 0), row.size, size) if row.all() else self._sparse(row, size)
        shaped = self.node("Reshape", signs, self.sizes(*numbers.shape))
        return shaped if kind == "float" else self.cast(shaped, kind)

    def _signs(self, bits: np.ndarray, count: int, size: int) -> str:
        """In float32: older runtimes have no Where of int8."""
        return self.node("Where", self._unpacked(bits, count), self.number(size, "float"), self.number(-size, "float"))

    def _unpacked(self, bits: np.ndarray, count: int) -> str:
        """The first `count` bits of bytes, bool."""
        chosen = self.node("BitwiseAnd", self.constant(bits.reshape(-1, 1)), self.constant(_BITS))
        row = self.node("Reshape", self.cast(chosen, "bool"), self.sizes(-1))
        return row if count == 8 * len(bits) else self.node("Slice", row, self.sizes(0), self.sizes(count))

    def _sparse(self, row: np.ndarray, size: int) -> str:
        """As pruned layers lie in our own file: signs of the connected edges, and which these are (deploy/sparse.py).

        NonZero and Compress would be shorter: ONNX Runtime does not fold what has a size that it does not know before.
        """
        from onnx import numpy_helper

        zeros = self.node("ConstantOfShape", self.sizes(row.size), value=numpy_helper.from_array(np.zeros(1, np.float32)))
        if not row.any():
            return zeros
        stored = sparse.as_stored(packed_bits(row[None]), packed_bits(row[None] != 0), row.size)
        one, nothing = self.number(1, "int64"), self.number(0, "float")
        if "mask" in stored:
            connected = self._unpacked(stored["mask"].ravel(), row.size)
            places = self.node("Sub", self._running(self.cast(connected, "int64")), one)  # -1 before the first: any will do
            signs = self._signs(stored["signs"], int(np.count_nonzero(row)), size)
            return self.node("Where", connected, self.node("Gather", signs, places), nothing)
        # 255 leads to the last of the edges it skips, which is pruned: there goes 0.
        bits = np.zeros(len(stored["gaps"]), np.uint8)
        bits[stored["gaps"] != 255] = row[row != 0] > 0
        gaps = self.cast(self.constant(stored["gaps"]), "int64")
        is_edge = self.node("Not", self.node("Equal", gaps, self.number(255, "int64")))
        places = self.node("Sub", self._running(self.node("Add", gaps, self.cast(is_edge, "int64"))), one)
        signs = self.node("Where", is_edge, self._signs(np.packbits(bits), len(bits), size), nothing)
        return self.node("ScatterElements", zeros, places, signs, axis=0)

    def _running(self, row: str) -> str:
        return self.node("CumSum", row, self.number(0, "int64"))
