"""Real sums that do not depend on the order of summation: the float64 nearest to the exact sum, then the nearest float32."""

import math

import numpy as np

_ALONE = 2**18
_UNIT = 2.0**-53  # the largest relative error of one float64 operation


def real_sums(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, exact: bool = False) -> np.ndarray:
    """bias_o + sum over k of x_mk w_ok for float64 x (rows, K), weight (outputs, K), bias (outputs,): float32 (rows, outputs).

    All hold float32 or whole numbers, so that products are exact in float64. The sums are made in float64, in whatever order the
    machine likes; where their error could change the float32 that comes out, they are made again exactly. exact: it is known that
    no sum is rounded (see `is_exact`). An infinity or a NaN in x gives what IEEE 754 says, which is the same in any order.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # beyond float32 are infinities, and what infinities make
        sums = _products(x, weight)
        if bias is not None:
            sums += bias
        if exact:
            return sums.astype(np.float32)
        # In any order a sum of K products is off by less than K units of sum |x w|, which Cauchy's inequality bounds by the norms.
        norms = np.sqrt(np.einsum("mk,mk->m", x, x))[:, None] * np.sqrt(np.einsum("ok,ok->o", weight, weight))
        norms += np.abs(sums)
        norms *= (x.shape[1] + 4) * _UNIT
        below, above = (sums - norms).astype(np.float32), (sums + norms).astype(np.float32)
        unbounded = ~np.isfinite(norms)
        np.copyto(below, sums, where=unbounded, casting="same_kind")
        rows, outputs = np.nonzero((below != above) & ~unbounded)
        for m, o in zip(rows.tolist(), outputs.tolist(), strict=True):
            products = (x[m] * weight[o]).tolist()
            below[m, o] = math.fsum(products if bias is None else [*products, float(bias[o])])
    return below


def window_sums(windows: np.ndarray) -> np.ndarray:
    """Real sums of float64 windows (N, rows, columns, kernel height, kernel width, C): float32 (N, rows, columns, C)."""
    sums = windows.sum(axis=(3, 4))
    errors = np.abs(windows).sum(axis=(3, 4)) * (windows.shape[3] * windows.shape[4] * _UNIT)
    below, above = (sums - errors).astype(np.float32), (sums + errors).astype(np.float32)
    unsure = below != above
    if unsure.any():
        below[unsure] = _nearest(windows.transpose(0, 1, 2, 5, 3, 4)[unsure].reshape(int(unsure.sum()), -1))
    return below


def _nearest(terms: np.ndarray) -> np.ndarray:
    """The float64 nearest to the exact sum of each row. Few float32 often lie in the middle of two, with a sum that is exact."""
    sums, exact = np.zeros(len(terms)), np.ones(len(terms), bool)
    for term in terms.T:  # Knuth's two-sum: what an addition has lost
        longer = sums + term
        part = longer - sums
        exact &= (sums - (longer - part)) + (term - part) == 0
        sums = longer
    for row in np.nonzero(~exact)[0]:
        sums[row] = math.fsum(terms[row].tolist())
    return sums


def _products(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """x @ weight.T in parts that OpenBLAS computes in one thread: its own would wait busily for each other, and for the runner's.

    It wakes them up for more than 2^18 products in a matrix (interface/gemm.c), 10,000 in a pair of vectors.
    """
    rows, inputs = x.shape
    outputs = len(weight)
    if rows == 1 and inputs <= 10_000:
        pairs: np.ndarray = np.matmul(weight[:, None, :], x[0][:, None])
        return pairs.reshape(1, outputs)
    block = _ALONE // max(1, inputs * outputs)
    if block >= rows or block < 8:  # small, or so large that threads pay
        return x @ weight.T
    whole = rows // block * block
    sums = np.empty((rows, outputs))
    np.matmul(x[:whole].reshape(-1, block, inputs), weight.T, out=sums[:whole].reshape(-1, block, outputs))
    if whole < rows:
        np.matmul(x[whole:], weight.T, out=sums[whole:])
    return sums


def is_exact(weight: np.ndarray, bias: np.ndarray | None, largest: float, grid: float) -> bool:
    """Whether float64 holds every such sum exactly, where x has multiples of `grid` (a power of two) up to `largest`."""
    terms = weight if bias is None else np.concatenate([weight, bias[:, None]], axis=1)
    sizes = np.abs(terms).astype(np.float64)
    smallest = min(lowest_bit(weight) * grid, math.inf if bias is None else lowest_bit(bias))
    factors = np.full(terms.shape[1], max(largest, 1.0))
    bound = (sizes @ factors).max(initial=0.0) * (1 + 2.0**-20)  # it is rounded too
    return bool(smallest > 0 and bound < smallest * 2.0**53)


def lowest_bit(values: np.ndarray) -> float:
    """The largest power of two that divides all of these numbers; infinity where all are 0."""
    numbers = np.abs(values[values != 0].astype(np.float64))
    if not numbers.size:
        return math.inf
    mantissas, exponents = np.frexp(numbers)
    whole = (mantissas * 2.0**53).astype(np.int64)
    return float(np.ldexp((whole & -whole).astype(np.float64), exponents - 53).min())
