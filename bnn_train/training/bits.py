"""Booleans as bits, 64 to a word: what is remembered of every weight must not take a byte of it.

Those of several parts (layers) stand one after the other, each from a new word on, and are counted all at once.
"""

import itertools
from collections.abc import Callable, Sequence

import numpy as np

Bits = np.ndarray  # uint64, (words,); those that fill up a part's last word are 0
CHUNK = 2**18  # booleans that stay in a processor's cache


def starts(counts: Sequence[int]) -> list[int]:
    """The first word of each of the parts with so many booleans, none of them empty, and at last the number of all words."""
    return list(itertools.accumulate((-(-count // 64) for count in counts), initial=0))


def pack(parts: Sequence[np.ndarray], test: Callable[[np.ndarray], np.ndarray] = lambda part: part) -> Bits:
    """The bits of boolean arrays of any shapes, in the order of their elements; or of what `test` makes booleans of."""
    firsts = starts([part.size for part in parts])
    bits = np.zeros(firsts[-1], np.uint64)
    into = bits.view(np.uint8)
    for part, first in zip(parts, firsts, strict=False):
        flat, byte = part.reshape(-1), 8 * first
        for i in range(0, len(flat), CHUNK):
            some = np.packbits(test(flat[i : i + CHUNK]))
            into[byte + i // 8 : byte + i // 8 + len(some)] = some
    return bits


def ones(bits: Bits, firsts: list[int]) -> list[int]:
    """How many are set in each part; firsts: what `starts` gives."""
    if len(firsts) == 1:
        return []
    if hasattr(np, "bitwise_count"):
        counts = np.bitwise_count(bits)
    else:  # before numpy 2
        counts = np.unpackbits(bits.view(np.uint8)).reshape(-1, 64).sum(axis=1)
    found: list[int] = np.add.reduceat(counts, firsts[:-1], dtype=np.int64).tolist()
    return found
