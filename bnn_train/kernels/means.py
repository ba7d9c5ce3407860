"""Means over windows, by a kernel that LLVM compiles (ir_means.py)."""

import numpy as np
from numpy.typing import NDArray

from bnn_train.kernels import compiler
from bnn_train.kernels.compiler import address, compiled
from bnn_train.kernels.ir_means import PLAN, MeanKernel


class Mean:
    """counts: float32 (rows, columns), what each window's sum is divided by. size: height and width. channels: a multiple of 8."""

    def __init__(
        self, counts: NDArray[np.float32], size: tuple[int, int], channels: int, kernel: tuple[int, int], stride: tuple[int, int]
    ) -> None:
        self.compiled = compiled(MeanKernel(), compiler.CPU)
        self.shape = (*counts.shape, channels)
        slack = np.float64(2 * (kernel[0] * kernel[1] + 8) * 2.0**-53).view(np.int64)
        numbers = [counts.ctypes.data, int(slack), channels, *size, *counts.shape, *kernel, *stride]
        assert len(numbers) == len(PLAN)
        self.held = counts, np.array(numbers, np.int64)
        self.plan = self.held[1].ctypes.data

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """(N, height, width, channels), C-contiguous, to (N, rows, columns, channels); None where a sum is not certain."""
        out, unsure = np.empty((len(x), *self.shape), np.float32), np.zeros(1, np.uint8)
        self.compiled(address(x), len(x), self.plan, address(unsure), address(out))
        return None if unsure[0] else out
