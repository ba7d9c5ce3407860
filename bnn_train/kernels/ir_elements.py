"""Kernels that go once over arrays of the same length, element by element: what a formula says, in vectors.

A kernel is one function of (plan, first, last): rows first to last - 1 of `columns` elements each, the last row shorter where
`total` ends in it. `plan` points at int64 numbers: total, columns, then of each array its address and the bytes from row to row,
then each constant, a float32 in the lower half of its number. A formula is a Python function of an Element, in which operators
write instructions; it is written out for vectors and once more for what is left at the end of a row.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

from bnn_train.kernels.ir import Text, splat

BYTES = {"float": 4, "i32": 4, "i16": 2, "i8": 1}


@dataclass(frozen=True)
class Value:
    """A vector under a name of the text; kind is that of a lane."""

    text: Text
    name: str
    kind: str
    lanes: int

    @property
    def type(self) -> str:
        return f"<{self.lanes} x {self.kind}>"

    def _made(self, instruction: str, kind: str | None = None) -> "Value":
        return Value(self.text, self.text(instruction), kind or self.kind, self.lanes)

    def constant(self, number: float, kind: str | None = None) -> "Value":
        """The same number in every lane; of a float one that binary fractions hold."""
        kind = kind or self.kind
        written = f"{float(number):e}" if kind == "float" else str(int(number))
        return Value(self.text, f"<{', '.join([f'{kind} {written}'] * self.lanes)}>", kind, self.lanes)

    def _with(self, operation: str, other: "Value | float") -> "Value":
        right = other if isinstance(other, Value) else self.constant(other)
        return self._made(f"{'f' if self.kind == 'float' else ''}{operation} {self.type} {self.name}, {right.name}")

    def __add__(self, other: "Value | float") -> "Value":
        return self._with("add", other)

    def __sub__(self, other: "Value | float") -> "Value":
        return self._with("sub", other)

    def __mul__(self, other: "Value | float") -> "Value":
        return self._with("mul", other)

    def __truediv__(self, other: "Value | float") -> "Value":
        return self._with("div", other)

    def __and__(self, other: "Value | float") -> "Value":
        return self._with("and", other)

    def __rshift__(self, bits: int) -> "Value":
        return self._with("ashr", bits)

    def is_(self, comparison: str, other: "Value | float") -> "Value":
        """Lanes of i1. comparison: LLVM's, as in "olt" of floats, "sgt" of whole numbers."""
        right = other if isinstance(other, Value) else self.constant(other)
        operation = "fcmp" if self.kind == "float" else "icmp"
        return self._made(f"{operation} {comparison} {self.type} {self.name}, {right.name}", "i1")

    def choose(self, then: "Value", otherwise: "Value") -> "Value":
        """Of lanes of i1."""
        return then._made(f"select {self.type} {self.name}, {then.type} {then.name}, {otherwise.type} {otherwise.name}")

    def to(self, kind: str) -> "Value":
        if "float" in (kind, self.kind):
            operation = "sitofp" if kind == "float" else "fptosi"
        else:
            operation = "trunc" if BYTES[kind] < BYTES[self.kind] else "sext"
        return self._made(f"{operation} {self.type} {self.name} to <{self.lanes} x {kind}>", kind)

    def bits_and(self, mask: "Value") -> "Value":
        """Of floats: their bits where those of the mask, i32, are set."""
        bits = Value(self.text, self.text(f"bitcast {self.type} {self.name} to {mask.type}"), "i32", self.lanes) & mask
        return bits._made(f"bitcast {bits.type} {bits.name} to {self.type}", "float")

    def of(self, function: str) -> "Value":
        """A function of LLVM's of one float: sqrt, fabs, roundeven."""
        return self._made(f"call {self.type} @llvm.{function}.v{self.lanes}f32({self.type} {self.name})")


class Element:
    """What a formula sees: constants by name as e[name], arrays by name through load and store."""

    def __init__(self, text: Text, lanes: int, bases: dict[str, str], index: str, constants: dict[str, str]) -> None:
        self.text, self.lanes, self._bases, self._index, self._constants = text, lanes, bases, index, constants

    def __getitem__(self, constant: str) -> Value:
        return Value(self.text, splat(self.text, f"<{self.lanes} x float>", self._constants[constant]), "float", self.lanes)

    def _at(self, array: str, size: int) -> str:
        return self.text.at(self._bases[array], self.text.times(self._index, size))

    def load(self, array: str, kind: str = "float") -> Value:
        name = self.text(f"load <{self.lanes} x {kind}>, ptr {self._at(array, BYTES[kind])}, align {BYTES[kind]}")
        return Value(self.text, name, kind, self.lanes)

    def store(self, array: str, value: Value) -> None:
        size = BYTES[value.kind]
        self.text.do(f"store {value.type} {value.name}, ptr {self._at(array, size)}, align {size}")

    def store_bits(self, array: str, value: Value) -> None:
        """Lanes of i1, a bit each, the first one lowest. The vector has a multiple of 8 lanes."""
        bits = self.text(f"bitcast {value.type} {value.name} to i{self.lanes}")
        byte = self.text(f"lshr i64 {self._index}, 3")
        self.text.do(f"store i{self.lanes} {bits}, ptr {self.text.at(self._bases[array], byte)}, align 1")


@dataclass(frozen=True)
class ElementKernel:
    """formula: of an Element. lanes: of the vectors, and of those at the end of a row, whose length is a multiple of the latter."""

    formula: Callable[[Element], None]
    arrays: tuple[str, ...]
    constants: tuple[str, ...] = ()
    lanes: tuple[int, int] = (16, 1)
    takes = 3

    def module(self) -> str:
        text = Text()
        number = functools.partial(self._number, text)
        total, columns = number(0), number(1)
        arrays = [(number(2 + 2 * i), number(3 + 2 * i)) for i in range(len(self.arrays))]
        bits = [text(f"trunc i64 {number(2 + 2 * len(arrays) + i)} to i32") for i in range(len(self.constants))]
        constants = dict(zip(self.constants, (text(f"bitcast i32 {one} to float") for one in bits), strict=True))
        with text.loop("%first", "%last", 1, []) as (row, _):
            left = text(f"sub i64 {total}, {text.times(row, columns)}")
            end = text(f"select i1 {text(f'icmp ult i64 {left}, {columns}')}, i64 {left}, i64 {columns}")
            bases = [text(f"inttoptr i64 {text(f'add i64 {at}, {text.times(row, stride)}')} to ptr") for at, stride in arrays]
            start = "0"
            for lanes in self.lanes:
                with text.loop(start, end, lanes, []) as (index, _):
                    self.formula(Element(text, lanes, dict(zip(self.arrays, bases, strict=True)), index, constants))
                start = text.index
        declarations = "".join(
            f"declare <{lanes} x float> @llvm.{name}.v{lanes}f32(<{lanes} x float>)\n"
            for name in ("sqrt", "fabs", "roundeven")
            for lanes in self.lanes
        )
        head = "define void @kernel(ptr noalias readonly %plan, i64 %first, i64 %last) {\nentry:\n"
        return head + "\n".join(text.lines) + f"\n  ret void\n}}\n{declarations}"

    def _number(self, text: Text, place: int) -> str:
        return text(f"load i64, ptr {text.at('%plan', 8 * place)}")
