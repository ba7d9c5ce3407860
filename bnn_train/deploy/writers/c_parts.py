"""What the C header is put together from: buffers in planned memory, constants, and pieces of the template c.h.in."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bnn_train.deploy.packed import Shape, Value

_TEMPLATE = Path(__file__).with_name("c.h.in")
_C_TYPES = {"words": "m_word", "reals": "float", "wholes": "int32_t", "pixels": "uint8_t"}
ROOMS = {"bits": "words", "real": "reals", "whole": "wholes", "bytes": "pixels"}  # where values of each kind lie


@dataclass(eq=False)
class Buffer:
    """A piece of one of the static arrays; each holds numbers of one type, which C's rule of aliasing wants. size, place: in
    numbers of it, or in 64 bits of words. It is in use from step `first` to step `last`."""

    room: str
    size: int
    first: int
    last: int
    place: int = 0


@dataclass(frozen=True, eq=False)
class Held:
    """A value, or a part of one, in a buffer; the pixels have none."""

    value: Value
    buffer: Buffer | None
    start: int = 0

    def __str__(self) -> str:
        if self.buffer is None:
            return "pixels"
        place = self.buffer.place + self.start
        by = " * (64 / M_WORD_BITS)" if self.buffer.room == "words" else ""
        return f"m_{self.buffer.room} + {place}{by}" if place else f"m_{self.buffer.room}"

    @property
    def type(self) -> str:
        return _C_TYPES[ROOMS[self.value.kind]]


def words(bits: int) -> int:
    """In how many 64 bits so many bits lie."""
    return -(-bits // 64)


def size_of(value: Value) -> int:
    """Of a buffer for it."""
    return words(value.size) if value.kind == "bits" else value.size


def place(buffers: Sequence[Buffer]) -> dict[str, int]:
    """Gives each buffer the first place that is free while it is in use, the largest first; returns the sizes of the arrays."""
    sizes = dict.fromkeys(ROOMS.values(), 0)
    done: list[Buffer] = []
    for buffer in sorted(buffers, key=lambda b: -b.size):
        others = [b for b in done if b.room == buffer.room and b.first <= buffer.last and buffer.first <= b.last]
        for other in sorted(others, key=lambda b: b.place):
            if other.place < buffer.place + buffer.size:
                buffer.place = max(buffer.place, other.place + other.size)
        done.append(buffer)
        sizes[buffer.room] = max(sizes[buffer.room], buffer.place + buffer.size)
    return sizes


@dataclass
class Constants:
    """Arrays of the header: their text, and the bytes that they take."""

    text: list[str] = field(default_factory=list)
    bytes: int = 0
    infinite: bool = False  # whether an infinity is among them

    def words(self, name: str, rows: np.ndarray) -> str:
        """bool (rows, columns): bit k of a row is bit k mod 64 of its word k / 64."""
        packed = np.packbits(rows, axis=1, bitorder="little")
        packed = np.pad(packed, ((0, 0), (0, -packed.shape[1] % 8)))
        numbers = np.ascontiguousarray(packed).view("<u8").reshape(-1).tolist()
        return self._array("m_word", name, [f"M_PAIR({n >> 32:08x},{n & 0xFFFFFFFF:08x})" for n in numbers], 8)

    def floats(self, name: str, values: np.ndarray) -> str:
        self.infinite |= bool(np.isinf(values).any())
        return self._array("float", name, [float_text(v) for v in values.reshape(-1)], 4)

    def whole(self, name: str, values: np.ndarray, type_: str, size: int) -> str:
        return self._array(type_, name, [str(v) for v in values.reshape(-1).tolist()], size)

    def struct(self, type_: str, name: str, fields: Sequence[str]) -> str:
        self.text.append(f"static const {type_} {name} = {{{', '.join(fields)}}};")
        return f"&{name}"

    def _array(self, type_: str, name: str, numbers: Sequence[str], size: int) -> str:
        self.bytes += size * len(numbers)
        self.text.append(f"static const {type_} {name}[] = {{\n{wrapped(numbers)}\n}};")
        return name


def wrapped(numbers: Sequence[str], width: int = 120) -> str:
    """Lines of numbers with commas."""
    lines, line = [], ""
    for number in numbers:
        if len(line) + len(number) + 1 > width:
            lines.append(line)
            line = ""
        line += number + ","
    return "\n".join([*lines, line])[:-1]


def float_text(value: np.floating) -> str:
    """A float32 that C reads back bit for bit: nine digits do. An infinity is a threshold that says always, or never."""
    if np.isinf(value):
        return "HUGE_VALF" if value > 0 else "-HUGE_VALF"
    text = f"{float(value):.9g}"
    return text + ("f" if re.search("[.e]", text) else ".0f")


class Template:
    """Pieces of c.h.in by name, each as often as it was asked for with other words in it, in the order of the file."""

    def __init__(self) -> None:
        pieces = re.split(r"^//// (\w+)\n", _TEMPLATE.read_text(encoding="utf-8"), flags=re.MULTILINE)
        self._pieces = dict(zip(pieces[1::2], pieces[2::2], strict=True))
        self._wanted: dict[str, list[str]] = {name: [] for name in self._pieces}

    def use(self, name: str, changes: Mapping[str, str] | None = None) -> None:
        """changes: what words in capitals stand for."""
        text = self._pieces[name]
        for word, other in (changes or {}).items():
            text = re.sub(rf"(?<![A-Z]){word}(?![A-Z_])", lambda _, other=other: other, text)
        if text not in self._wanted[name]:
            self._wanted[name].append(text)

    def text(self) -> str:
        return "".join(text for texts in self._wanted.values() for text in texts)


def image(shape: Shape) -> tuple[int, int, int]:
    """(channels, height, width); features are channels of one pixel."""
    return (shape[0], shape[1], shape[2]) if len(shape) == 3 else (shape[0], 1, 1)
