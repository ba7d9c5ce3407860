"""Booleans as bits, 64 to a word: what is remembered of every weight must not take a byte of it."""

from typing import NamedTuple

import numpy as np

Bits = np.ndarray  # uint64, (words,); unused bits of the last word are 0


def pack(booleans: np.ndarray) -> Bits:
    """The bits of a boolean array of any shape, in the order of its elements."""
    packed = np.packbits(booleans)
    words = np.zeros(-(-len(packed) // 8), dtype=np.uint64)
    words.view(np.uint8)[: len(packed)] = packed
    return words


def ones(bits: Bits) -> int:
    """How many are set."""
    if hasattr(np, "bitwise_count"):  # numpy 2
        return int(np.bitwise_count(bits).sum())
    return int(np.count_nonzero(np.unpackbits(bits.view(np.uint8))))


class Flips(NamedTuple):
    """Of the weights of one layer at the end of an epoch: is the sign +1, has it flipped in the epoch, and in any so far."""

    signs: Bits
    flipped: Bits
    moved: Bits

    def then(self, signs: Bits) -> "Flips":
        """An epoch later, with these signs."""
        flipped = self.signs ^ signs
        return Flips(signs, flipped, self.moved | flipped)


def start(signs: Bits) -> Flips:
    """Before the first epoch."""
    return Flips(signs, np.zeros_like(signs), np.zeros_like(signs))
