"""An optimizer's step in one pass over the weights: update, bound, held edges, and the sign of each weight, through Numba.

Every kernel takes flat contiguous arrays of one parameter: p, its float32 values, g, their gradient, and the optimizer's running
means, which it changes in place. `signs`, int8, gets -1 and +1 of the new values, or 0 where an edge is pruned; nothing where it is
empty. `marks`, uint8, says of each value whether it is FREE to change and CONNECTED (not pruned); None: all are. What is not free
keeps its bits and sees a gradient of 0. Values end within [-bound, bound]; a NaN stays one.

A block stays in the cache of the processor that has it, so that its two loops cost one pass through the memory. Blocks are slices,
and functions of their own: indexed from the parallel loop they were not vectorised and took four times as long, and so did float64
constants, or a branch in a loop. Nothing is contracted or reordered: the bits do not depend on the number of threads.
"""

from typing import Any

import numpy as np
from numba import prange

from bnn_train.kernels import jit
from bnn_train.kernels.marks import CONNECTED, FREE

BLOCK = 8192

_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)
_MINUS, _NONE, _PLUS = np.int8(-1), np.int8(0), np.int8(1)


@jit.block
def _part(marks: Any, low: Any, high: Any) -> Any:
    return None if marks is None else marks[low:high]


@jit.block
def _put_signs(p: Any, signs: Any, marks: Any) -> None:
    for i in range(signs.size):  # bytes: a loop of their own has vectors four times as long
        sign = _PLUS if p[i] >= _ZERO else _MINUS
        if marks is not None:
            sign = sign if marks[i] & CONNECTED else _NONE
        signs[i] = sign


@jit.block
def _adam(
    p: Any, g: Any, mean: Any, square: Any, marks: Any, share: Any, keep: Any, rest: Any, root: Any, lr: Any, eps: Any, l2: Any,
    shrink: Any, bound: Any,
) -> None:  # fmt: skip
    for i in range(p.size):
        before = p[i]
        gradient = g[i] + l2 * before
        if marks is not None:
            gradient = gradient if marks[i] & FREE else _ZERO
        m = mean[i] + share * (gradient - mean[i])
        v = keep * square[i] + rest * gradient * gradient
        mean[i], square[i] = m, v
        after = before - shrink * before - lr * m / (np.sqrt(v) * root + eps)
        after = bound if after > bound else after
        after = -bound if after < -bound else after
        if marks is not None:
            after = after if marks[i] & FREE else before
        p[i] = after


@jit.parallel
def adam(
    p: Any, g: Any, mean: Any, square: Any, signs: Any, marks: Any, share: Any, keep: Any, rest: Any, root: Any, lr: Any, eps: Any,
    l2: Any, shrink: Any, bound: Any,
) -> None:  # fmt: skip
    """Adam (Kingma & Ba 2015, arXiv 1412.6980), and AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101).

    With g <- g + l2 p: mean <- mean + share (g - mean), square <- keep square + rest g^2, p <- p - shrink p - lr mean /
    (root sqrt(square) + eps). For step t, from 1: share = 1 - beta1, keep = beta2, rest = 1 - beta2, lr is divided by 1 - beta1^t,
    and root = 1 / sqrt(1 - beta2^t). All are float32.
    """
    for block in prange((p.size + BLOCK - 1) // BLOCK):
        low, high = block * BLOCK, min(p.size, (block + 1) * BLOCK)
        part = _part(marks, low, high)
        of_p = p[low:high]
        _adam(of_p, g[low:high], mean[low:high], square[low:high], part, share, keep, rest, root, lr, eps, l2, shrink, bound)
        _put_signs(of_p, signs[low:high], part)


@jit.block
def _sgd(p: Any, g: Any, step: Any, marks: Any, momentum: Any, nesterov: Any, lr: Any, l2: Any, bound: Any) -> None:
    for i in range(p.size):
        before = p[i]
        change = g[i] + l2 * before
        if marks is not None:
            change = change if marks[i] & FREE else _ZERO
        if step is not None:
            again = momentum * step[i] + change
            step[i] = again
            change = change + momentum * again if nesterov else again
        after = before - lr * change
        after = bound if after > bound else after
        after = -bound if after < -bound else after
        if marks is not None:
            after = after if marks[i] & FREE else before
        p[i] = after


@jit.parallel
def sgd(p: Any, g: Any, step: Any, signs: Any, marks: Any, momentum: Any, nesterov: Any, lr: Any, l2: Any, bound: Any) -> None:
    """With g <- g + l2 p: step <- momentum step + g, p <- p - lr step; with nesterov p <- p - lr (g + momentum step).

    step: None where there is no momentum; 0 before the first step. nesterov is a bool, the other constants are float32.
    """
    for block in prange((p.size + BLOCK - 1) // BLOCK):
        low, high = block * BLOCK, min(p.size, (block + 1) * BLOCK)
        part = _part(marks, low, high)
        of_p = p[low:high]
        _sgd(of_p, g[low:high], _part(step, low, high), part, momentum, nesterov, lr, l2, bound)
        _put_signs(of_p, signs[low:high], part)


@jit.block
def _bop(p: Any, g: Any, mean: Any, marks: Any, gamma: Any, threshold: Any) -> None:
    for i in range(p.size):
        before = p[i]
        gradient = g[i]
        if marks is not None:
            gradient = gradient if marks[i] & FREE else _ZERO
        difference = gradient - mean[i]
        # As torch's lerp: exact at both ends.
        m = mean[i] + gamma * difference if gamma < _HALF else gradient - difference * (_ONE - gamma)
        mean[i] = m
        agreement = before * m
        flips = (agreement >= threshold) & (agreement > _ZERO)
        if marks is not None:
            flips = flips & ((marks[i] & FREE) != 0)
        p[i] = -before if flips else before


@jit.parallel
def bop(p: Any, g: Any, mean: Any, signs: Any, marks: Any, gamma: Any, threshold: Any) -> None:
    """Bop (Helwegen et al. 2019, arXiv 1906.02107): mean <- mean + gamma (g - mean); p flips where it says so (optim/bop.py)."""
    for block in prange((p.size + BLOCK - 1) // BLOCK):
        low, high = block * BLOCK, min(p.size, (block + 1) * BLOCK)
        part = _part(marks, low, high)
        of_p = p[low:high]
        _bop(of_p, g[low:high], mean[low:high], part, gamma, threshold)
        _put_signs(of_p, signs[low:high], part)
