"""Packed products by NumKong: hand-written kernels for AVX2, AVX-512, NEON, SVE, picked by it at run time; nothing to compile.

What its documentation does not say and this file relies on: an output is wrapped by `from_dlpack` (`Tensor(array)` copies, and
the array never changes); inputs and outputs are C-contiguous; a product releases the GIL.
"""

import threading
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHUNK = 1 << 16  # sums at a time: 256 KiB, which stay in the second-level cache until they are compared
_local = threading.local()


def module() -> ModuleType | None:
    """NumKong, or None where it is not installed or too old."""
    try:
        import numkong
    except ImportError:
        return None
    return numkong if hasattr(numkong, "hammings_packed") and hasattr(numkong, "dots_packed") else None


def needed() -> ModuleType:
    nk = module()
    assert nk is not None
    return nk


class Binary:
    """With a mask: H0 and H1 are the distances to the weights with what is masked set to 0, and to 1. A masked bit differs from
    exactly one of the two, so H0 + H1 = 2 * distance + masked bits. Both in one product, of 2 O outputs."""

    def __init__(self, weight: NDArray[np.uint8], mask: NDArray[np.uint8] | None) -> None:
        nk = needed()
        self.nk, self.outputs = nk, len(weight)
        self.masked: NDArray[np.int32] | None = None
        if mask is not None:
            weight = np.concatenate([weight & mask, weight | ~mask])
            self.masked = np.unpackbits(~mask, axis=1).sum(axis=1, dtype=np.int32)
        self.weight = nk.hammings_pack(np.ascontiguousarray(weight))
        self.width = len(weight)  # of the product: O, or 2 O

    def hamming(self, x: NDArray[np.uint8]) -> NDArray[np.int32]:
        out = np.empty((len(x), self.width), np.int32)
        self.nk.hammings_packed(x, self.weight, out=self.nk.from_dlpack(out.view(np.uint32)))
        return self.distance(out)

    def compare(self, x: NDArray[np.uint8], limits: NDArray[np.int32]) -> NDArray[np.uint8]:
        step = max(1, CHUNK // self.width)
        if len(x) <= step:
            return self.bits(x, limits)
        return np.concatenate([self.bits(x[start : start + step], limits) for start in range(0, len(x), step)])

    def bits(self, x: NDArray[np.uint8], limits: NDArray[np.int32]) -> NDArray[np.uint8]:
        sums, wrapped = scratch(self.nk, len(x), self.width, np.uint32)
        self.nk.hammings_packed(x, self.weight, out=wrapped)
        return np.packbits(self.distance(sums) <= limits, axis=1)

    def distance(self, sums: NDArray[np.int32]) -> NDArray[np.int32]:
        if self.masked is None:
            return sums
        both = sums[:, : self.outputs] + sums[:, self.outputs :]
        both -= self.masked
        return np.right_shift(both, 1, out=both)


class Byte:
    """Bytes as int8, 128 less: sum(u w) = sum((u - 128) w) + 128 sum(w)."""

    def __init__(self, weight: NDArray[np.int8]) -> None:
        nk = needed()
        self.nk, self.width = nk, len(weight)
        self.weight = nk.dots_pack(np.ascontiguousarray(weight))
        self.shift = 128 * weight.sum(axis=1, dtype=np.int32)

    def sums(self, u: NDArray[np.uint8]) -> NDArray[np.int32]:
        out = np.empty((len(u), self.width), np.int32)
        self.nk.dots_packed((u ^ np.uint8(128)).view(np.int8), self.weight, out=self.nk.from_dlpack(out))
        out += self.shift
        return out

    def compare(self, u: NDArray[np.uint8], limits: NDArray[np.int32]) -> NDArray[np.uint8]:
        step = max(1, CHUNK // self.width)
        if len(u) <= step:
            return self.bits(u, limits)
        return np.concatenate([self.bits(u[start : start + step], limits) for start in range(0, len(u), step)])

    def bits(self, u: NDArray[np.uint8], limits: NDArray[np.int32]) -> NDArray[np.uint8]:
        sums, wrapped = scratch(self.nk, len(u), self.width, np.int32)
        self.nk.dots_packed((u ^ np.uint8(128)).view(np.int8), self.weight, out=wrapped)
        sums += self.shift  # and not limits - shift: limits may stand at either end of int32
        return np.packbits(sums >= limits, axis=1)


def scratch(nk: ModuleType, rows: int, width: int, dtype: type) -> tuple[NDArray[np.int32], Any]:
    """This thread's buffer of a shape as int32, and NumKong's view of it: made anew they cost as much as a compare at batch 1."""
    held: dict[tuple[int, int, type], tuple[NDArray[np.int32], Any]] | None = getattr(_local, "held", None)
    if held is None:
        held = _local.held = {}
    key = (rows, width, dtype)
    if key not in held:
        if len(held) >= 32:  # a server that sees batches of every size
            held.clear()
        sums = np.empty((rows, width), np.int32)
        held[key] = (sums, nk.from_dlpack(sums.view(dtype)))
    return held[key]
