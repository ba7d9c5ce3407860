"""Packed products by numpy alone: always there, exact, slower.

Few rows: xor and numpy.bitwise_count on 64-bit words. Many rows (or a numpy below 2.0, which cannot count bits): the signs as
float32 through BLAS, whose every partial sum is a whole number below 2 ** 24 and so exact in whatever order it adds. BLAS may use
threads of its own.
"""

import numpy as np
from numpy.typing import NDArray

# BLAS wins from 4 rows on where the signs as float32 fit a cache, from 64 on where they do not. One thread of a Zen 5, by words and
# by BLAS: 64 outputs of 72 bytes, 4 rows 0.018 and 0.011 ms, 64 rows 0.26 and 0.053; 2048 of 256, 1 row 0.08 and 0.2, 64 rows
# 4.9 and 5.0.
FEW_ROWS, FEW_ROWS_LARGE, LARGE = 4, 64, 1 << 16
EXACT_FLOAT32 = 2**24
CHUNK = 1 << 22  # floats of unpacked rows at a time: 16 MB, whatever the batch


class Binary:
    def __init__(self, weight: NDArray[np.uint8], mask: NDArray[np.uint8] | None) -> None:
        self.weight, self.mask = weight, mask
        self.outputs, self.width = weight.shape
        self.words, self.kept_words = as_words(weight), None if mask is None else as_words(mask)
        self.signs: NDArray[np.float32] | None = None  # 32 times the packed size: only when many rows come
        kept = np.full(weight.shape, 255, np.uint8) if mask is None else mask
        self.terms = np.unpackbits(kept, axis=1).sum(axis=1, dtype=np.int32)

    def hamming(self, x: NDArray[np.uint8]) -> NDArray[np.int32]:
        out = np.empty((len(x), self.outputs), np.int32)
        few = FEW_ROWS if self.weight.size < LARGE else FEW_ROWS_LARGE
        if len(x) < few and hasattr(np, "bitwise_count"):
            for row, words in enumerate(as_words(x)):
                differ = self.words ^ words
                if self.kept_words is not None:
                    differ &= self.kept_words
                np.sum(np.bitwise_count(differ), axis=1, dtype=np.int32, out=out[row])
            return out
        if self.signs is None:
            signs = as_signs(self.weight)
            if self.mask is not None:
                signs *= np.unpackbits(self.mask, axis=1)
            self.signs = np.ascontiguousarray(signs.T)
        for some in chunks(len(x), CHUNK // (8 * self.width)):
            # agree + differ = terms and agree - differ = the product
            out[some] = self.terms - (as_signs(x[some]) @ self.signs).astype(np.int32)
        return np.right_shift(out, 1, out=out)

    def compare(self, x: NDArray[np.uint8], limits: NDArray[np.int32]) -> NDArray[np.uint8]:
        return np.packbits(self.hamming(x) <= limits, axis=1)


class Byte:
    def __init__(self, weight: NDArray[np.int8]) -> None:
        self.outputs, self.width = weight.shape
        exact = np.float32 if 255 * self.width < EXACT_FLOAT32 else np.float64
        self.weight = np.ascontiguousarray(weight.T, exact)

    def sums(self, u: NDArray[np.uint8]) -> NDArray[np.int32]:
        out = np.empty((len(u), self.outputs), np.int32)
        for some in chunks(len(u), CHUNK // self.width):
            out[some] = u[some].astype(self.weight.dtype) @ self.weight
        return out

    def compare(self, u: NDArray[np.uint8], limits: NDArray[np.int32]) -> NDArray[np.uint8]:
        return np.packbits(self.sums(u) >= limits, axis=1)


def as_words(packed: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """(R, B) bytes as (R, ceil(B/8)) words; what pads is 0. The order of bytes in a word does not matter to a count."""
    rows, width = packed.shape
    if width % 8:
        padded = np.zeros((rows, width + -width % 8), np.uint8)
        padded[:, :width] = packed
        packed = padded
    return packed.view(np.uint64)


def as_signs(packed: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(R, B) bytes as (R, 8B) of -1.0 and +1.0."""
    signs = np.unpackbits(packed, axis=1).astype(np.float32)
    signs *= 2
    signs -= 1
    return signs


def chunks(rows: int, size: int) -> list[slice]:
    size = max(1, size)
    return [slice(start, start + size) for start in range(0, rows, size)]
