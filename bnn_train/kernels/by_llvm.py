"""Packed products by kernels that LLVM compiles here (llvmlite)."""

import functools
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnn_train.kernels import by_numpy, compiler
from bnn_train.kernels.compiler import Call, address, compiled, features, row_plan
from bnn_train.kernels.ir import PLAN
from bnn_train.kernels.ir_bits import LANES, BitKernel
from bnn_train.kernels.ir_bytes import LEVELS, ByteKernel
from bnn_train.kernels.ir_nibbles import MOST_BYTES, NibbleKernel

NEVER_BELOW, NEVER_ABOVE = np.iinfo(np.int32).min, np.iinfo(np.int32).max  # limits that no sum reaches
PLANES_ROWS, PLANES_SIZE = 2, 1 << 18  # up to so many rows, from so many weights on: bits of bytes, see Byte
NIBBLE_ROWS = 4  # from so many rows on: a tile


def available() -> bool:
    """Whether kernels can be compiled here: one is, once, and tried."""
    try:
        import llvmlite.binding  # noqa: F401
    except ImportError:
        return False
    return sys.byteorder == "little" and _works()


@functools.cache
def _works() -> bool:
    x, limits = np.arange(190, dtype=np.uint8).reshape(10, 19), np.full(10, 76, np.int32)
    weight = np.ascontiguousarray(x[::-1])
    try:
        found = Binary(weight, None).compare(x, limits)
    except (OSError, RuntimeError, AttributeError):  # memory that may not be executed; an llvmlite older than LLVM 15
        return False
    return np.array_equal(found, by_numpy.Binary(weight, None).compare(x, limits))


def byte_level(cpu: str | None) -> str | None:
    there = features(cpu)[2]
    asked = {"vnni512": "avx512vnni", "bw512": "avx512bw", "vnni256": "avxvnni", "avx2": "avx2"}
    return next((level for level in LEVELS if asked[level] in there), None)


def nibble_lanes(cpu: str | None, outputs: int) -> int | None:
    """None where bits are counted by one instruction, or nothing is known to be faster."""
    there = features(cpu)[2]
    if "avx512vpopcntdq" in there or "avx2" not in there or outputs <= 8:
        return None
    return 64 if "avx512bw" in there and outputs > 32 else 32


class Binary:
    """Bits counted by words or, where that takes many instructions, looked up by fours (ir_nibbles.py)."""

    def __init__(self, weight: NDArray[np.uint8], mask: NDArray[np.uint8] | None) -> None:
        self.weight, self.mask = weight, mask
        self.outputs, self.width = weight.shape
        self.pad = max(0, 8 - self.width)
        self.nibble_lanes = nibble_lanes(compiler.CPU, self.outputs) if mask is None and self.width <= MOST_BYTES else None
        self._calls: dict[tuple[bool, bool], Call] = {}

    def hamming(self, x: NDArray[np.uint8]) -> NDArray[np.int32]:
        return self.product(x, None)

    def compare(self, x: NDArray[np.uint8], limits: NDArray[np.int32]) -> NDArray[np.uint8]:
        return self.product(x, limits)

    def product(self, x: NDArray[np.uint8], limits: NDArray[np.int32] | None) -> NDArray[Any]:
        if self.nibble_lanes and len(x) >= NIBBLE_ROWS:
            return self.call(True, limits is not None)(x, len(x), limits)
        return self.call(False, limits is not None)(widened(x, self.pad) if self.pad else x, len(x), limits)

    def call(self, nibbles: bool, compare: bool) -> Call:
        if (nibbles, compare) not in self._calls:
            self._calls[nibbles, compare] = self.call_of_nibbles(compare) if nibbles else self.call_of_words(compare)
        return self._calls[nibbles, compare]

    def call_of_words(self, compare: bool) -> Call:
        words = interleaved(self.weight)
        if self.mask is not None:
            words = np.stack([words, interleaved(self.mask)], axis=2)
        kernel, plan = BitKernel(compare, self.mask is not None), row_plan(self.width + self.pad, 8)
        return Call(kernel, LANES, self.outputs, NEVER_BELOW, np.ascontiguousarray(words), None, **plan)

    def call_of_nibbles(self, compare: bool) -> Call:
        lanes = self.nibble_lanes
        assert lanes is not None
        padded = np.zeros((self.outputs + -self.outputs % lanes, self.width), np.uint8)
        padded[: self.outputs] = self.weight
        nibbles = np.stack([padded >> 4, padded & 15], axis=2)
        lined = backwards(nibbles).reshape(-1, lanes, self.width, 2).transpose(0, 2, 3, 1)
        kernel = NibbleKernel(compare, lanes)
        return Call(kernel, lanes, self.outputs, NEVER_BELOW, np.ascontiguousarray(lined), None, **row_plan(self.width, 1))


class Byte:
    """Bytes times signs in lanes of four, or the bits of the bytes: with w as a bit, sum(u w) =
    255 * (how many w are +1) - sum over bits p of 2 ** p * hamming(bits p of u, w), over what is not masked.

    Bits take an eighth of the memory, and 1.5 times as long once the weights are in the cache: with VPOPCNTDQ a row of 784 by 2048
    outputs takes 0.008 ms by bits, 0.018 by bytes; 4 rows 0.024 and 0.020 (Zen 5). Without it bytes are never slower.
    """

    def __init__(self, weight: NDArray[np.int8]) -> None:
        self.outputs, self.width = weight.shape
        self.weight, self.masked = weight, bool((weight == 0).any())
        self.level = byte_level(compiler.CPU)
        large = "avx512vpopcntdq" in features(compiler.CPU)[2] and weight.size >= PLANES_SIZE
        self.planes_rows = PLANES_ROWS if large else 0
        self._calls: dict[tuple[bool, bool], Call] = {}
        self._planes: tuple[Any, ...] | None = None

    def sums(self, u: NDArray[np.uint8]) -> NDArray[np.int32]:
        return self.product(u, None)

    def compare(self, u: NDArray[np.uint8], limits: NDArray[np.int32]) -> NDArray[np.uint8]:
        return self.product(u, limits)

    def product(self, u: NDArray[np.uint8], limits: NDArray[np.int32] | None) -> NDArray[Any]:
        rows, compare = len(u), limits is not None
        if rows <= self.planes_rows or self.level is None:
            return self.call(True, compare)(self.planes(u), rows, limits)
        return self.call(False, compare)(u if self.width >= 4 else widened(u, 4 - self.width), rows, limits)

    def planes(self, u: NDArray[np.uint8]) -> NDArray[np.uint64]:
        if self._planes is None:
            words, width = -(-self.width // 64), max(64, self.width)
            plan = dict.fromkeys(PLAN, 0) | row_plan(width, 64) | {"out_bytes": 64 * words}
            held = np.array(list(plan.values()), np.int64)
            self._planes = words, width, held, held.ctypes.data, compiled(None, compiler.CPU)
        words, width, _, plan_at, kernel = self._planes
        if width > self.width:
            u = widened(u, width - self.width)
        out = np.empty((len(u), 8, words), np.uint64)
        kernel(address(u), len(u), plan_at, 0, address(out))
        return out

    def call(self, planes: bool, compare: bool) -> Call:
        if (planes, compare) not in self._calls:
            self._calls[planes, compare] = self.call_of_planes(compare) if planes else self.call_of_bytes(compare)
        return self._calls[planes, compare]

    def call_of_planes(self, compare: bool) -> Call:
        packed = np.packbits(self.weight > 0, axis=1, bitorder="little")
        words = interleaved(packed)
        if self.masked:
            words = np.stack([words, interleaved(np.packbits(self.weight != 0, axis=1, bitorder="little"))], axis=2)
        bias = np.zeros(words.shape[0] * LANES, np.int32)
        bias[: self.outputs] = 255 * (self.weight > 0).sum(axis=1, dtype=np.int32)
        kernel = BitKernel(compare, self.masked, planes=True)
        plan = row_plan(8 * words.shape[1], 8)
        plan["chunk"] = max(1, plan["chunk"] // 8)
        return Call(kernel, LANES, self.outputs, NEVER_ABOVE, np.ascontiguousarray(words), backwards(bias), **plan)

    def call_of_bytes(self, compare: bool) -> Call:
        assert self.level is not None
        kernel = ByteKernel(compare, self.level)
        lanes, width = kernel.lanes, max(4, self.width)
        padded = np.zeros((self.outputs + -self.outputs % lanes, width + -width % 4), np.int8)
        padded[: self.outputs, : self.width] = self.weight
        lined = backwards(padded).reshape(-1, lanes, padded.shape[1] // 4, 4).transpose(0, 2, 1, 3)
        return Call(kernel, lanes, self.outputs, NEVER_ABOVE, np.ascontiguousarray(lined), None, **row_plan(width, 4))


def backwards(array: NDArray[Any]) -> NDArray[Any]:
    """Each 8 rows in the opposite order."""
    return np.ascontiguousarray(array.reshape(-1, 8, *array.shape[1:])[:, ::-1].reshape(array.shape))


def widened(x: NDArray[np.uint8], by: int) -> NDArray[np.uint8]:
    """So many bytes of 0 at the end of each row: a tenth of the time of numpy.pad."""
    wide = np.zeros((len(x), x.shape[1] + by), np.uint8)
    wide[:, : x.shape[1]] = x
    return wide


def interleaved(packed: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """(O, B) bytes as (groups, words, 8) words, the outputs of each group backwards; what pads is 0."""
    outputs, width = packed.shape
    padded = np.zeros((outputs + -outputs % LANES, width + -width % 8), np.uint8)
    padded[:outputs, :width] = packed
    return padded.view(np.uint64).reshape(-1, LANES, padded.shape[1] // 8)[:, ::-1].transpose(0, 2, 1)
