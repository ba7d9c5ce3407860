"""Where a sign flips: thresholds taken from torch's own functions, evaluated at every sum that there can be.

A sign behind BatchNorm, scales, shifts and the like is `x >= t`, or its contrary, of the number x before all of them. What torch
computes at x, rounding included, decides t.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bnn_train.deploy.packing.graph import Elementwise

EVERY = 2**16  # sums up to so many are all tried; beyond, the place is found by halving
_AT_A_TIME = 2**22  # numbers


class Threshold(NamedTuple):
    """The sign is +1 where (x >= value) is not `flip`; per channel."""

    value: np.ndarray  # int64 or float32 (channels,)
    flip: np.ndarray  # bool (channels,)


def of_whole_numbers(chain: Sequence[Elementwise], low: np.ndarray, high: np.ndarray) -> Threshold | None:
    """For whole numbers from low to high, int64 (channels,); None where some channel's sign flips twice.

    Where a channel's sign never flips, value is low (always x >= low), or high + 1.
    """
    first, last = int(low.min()), int(high.max())
    if last - first >= EVERY:
        return _halved(chain, low, high) if all(function.rising for function in chain) else None
    rows = max(1, _AT_A_TIME // len(low))
    flips = np.zeros(len(low), np.int64)
    value = low.copy()
    starts = before = _signs(chain, torch.from_numpy(low).double()[None])[0]
    for begin in range(first, last + 1, rows):
        sums = np.arange(begin, min(begin + rows, last + 1))
        signs = _signs(chain, torch.from_numpy(sums).double()[:, None].expand(-1, len(low)))
        outside = (sums[:, None] <= low) | (sums[:, None] > high)
        previous = np.concatenate([before[None], signs[:-1]])
        changed = (signs != previous) & ~outside
        flips += changed.sum(axis=0)
        value = np.where(changed.any(axis=0), sums[changed.argmax(axis=0)], value)
        before = signs[-1]
    if (flips > 1).any():
        return None
    return Threshold(np.where(flips == 1, value, np.where(starts, low, high + 1)), (flips == 1) & starts)


def _halved(chain: Sequence[Elementwise], low: np.ndarray, high: np.ndarray) -> Threshold:
    """The same for functions that never turn: in each channel all signs from some number on are the same."""
    starts = _signs(chain, torch.from_numpy(low).double()[None])[0]
    ends = _signs(chain, torch.from_numpy(high).double()[None])[0]
    below, above = low.copy(), high.copy()
    while (above - below > 1).any():
        middle = (below + above) // 2
        is_start = _signs(chain, torch.from_numpy(middle).double()[None])[0] == starts
        below, above = np.where(is_start, middle, below), np.where(is_start, above, middle)
    flips = starts != ends
    return Threshold(np.where(flips, above, np.where(starts, low, high + 1)), flips & starts)


def turning_points(chain: Sequence[Elementwise], found: Threshold) -> np.ndarray:
    """Where between value - 1 and value functions that never turn cross 0, float64 (channels,); far away where they do not."""
    below, above = found.value - 1.0, found.value.astype(np.float64)
    starts, ends = (_signs(chain, torch.from_numpy(values)[None])[0] for values in (below, above))
    for _ in range(52):
        middle = (below + above) / 2
        is_start = _signs(chain, torch.from_numpy(middle)[None])[0] == starts
        below, above = np.where(is_start, middle, below), np.where(is_start, above, middle)
    return np.where(starts == ends, np.inf, above)


def of_real_numbers(chain: Sequence[Elementwise], channels: int) -> Threshold | None:
    """For float32 numbers; None where a function of the chain is not known to rise, or fall, all the way."""
    if not all(function.rising for function in chain):
        return None
    largest = _largest(chain, channels)
    starts, ends = (_signs(chain, torch.from_numpy(values).double()[None])[0] for values in (-largest, largest))
    below, above = _ordinal(-largest), _ordinal(largest)
    while (above - below > 1).any():
        middle = (below + above) // 2
        is_start = _signs(chain, torch.from_numpy(_float(middle)).double()[None])[0] == starts
        below, above = np.where(is_start, middle, below), np.where(is_start, above, middle)
    flips = starts != ends
    constant = np.where(starts, -np.inf, np.inf).astype(np.float32)
    return Threshold(np.where(flips, _float(above), constant).astype(np.float32), flips & starts)


def _largest(chain: Sequence[Elementwise], channels: int) -> np.ndarray:
    """The largest numbers at which the chain gives one: infinity times a factor of 0 is none. float32 (channels,)."""
    largest = np.full(channels, np.finfo(np.float32).max, np.float32)
    for _ in range(16):
        values = torch.from_numpy(np.stack([-largest, largest])).double()
        largest = np.where(np.isnan(_computed(chain, values)).any(axis=0), largest * np.float32(2**-15), largest)
    return largest


@torch.no_grad()
def _computed(chain: Sequence[Elementwise], values: Tensor) -> np.ndarray:
    """What torch computes of float64 (N, channels)."""
    for function in chain:
        values = function.run(values if function.wide else values.float())
    result: np.ndarray = values.numpy()
    return result


def _signs(chain: Sequence[Elementwise], values: Tensor) -> np.ndarray:
    """Whether torch computes a number >= 0: bool, of the shape of float64 `values` (N, channels)."""
    result: np.ndarray = _computed(chain, values) >= 0
    return result


def _ordinal(values: np.ndarray) -> np.ndarray:
    """float32 numbers as whole ones in the same order."""
    bits = values.view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)


def _float(ordinals: np.ndarray) -> np.ndarray:
    bits = np.where(ordinals < 0, -ordinals | 0x80000000, ordinals).astype(np.uint32)
    return bits.view(np.float32)
