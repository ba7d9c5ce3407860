"""Booleans as bits, 64 to a word: what is remembered of every weight must not take a byte of it.

Those of several parts (layers) stand one after the other, each from a new word on, and are counted all at once.
"""

from collections.abc import Callable, Sequence

import numpy as np

Bits = np.ndarray  # uint64, (words,); those that fill up a part's last word are 0
CHUNK = 2**16  # booleans that stay in a processor's cache, and below the size from which memory is asked of the system each time


def sizes(counts: Sequence[int]) -> list[int]:
    """Words that parts of so many booleans take."""
    return [-(-count // 64) for count in counts]


def pack(parts: Sequence[np.ndarray], test: Callable[[np.ndarray], np.ndarray] = lambda part: part) -> Bits:
    """The bits of boolean arrays of any shapes, in the order of their elements; or of what `test` makes booleans of."""
    words = sizes([part.size for part in parts])
    bits = np.zeros(sum(words), np.uint64)
    left = bits.view(np.uint8)
    for part, size in zip(parts, words, strict=True):
        flat = part.reshape(-1)
        for i in range(0, len(flat), CHUNK):
            some = np.packbits(test(flat[i : i + CHUNK]))
            left[i // 8 : i // 8 + len(some)] = some
        left = left[8 * size :]
    return bits


def ones(bits: Bits, words: Sequence[int]) -> list[int]:
    """How many are set in each part; words: that each takes, none of them 0."""
    if not words:
        return []
    if hasattr(np, "bitwise_count"):
        counts = np.bitwise_count(bits)
    else:  # before numpy 2
        counts = np.unpackbits(bits.view(np.uint8)).reshape(-1, 64).sum(axis=1)
    found: list[int] = np.add.reduceat(counts, np.cumsum([0, *words[:-1]]), dtype=np.int64).tolist()
    return found
