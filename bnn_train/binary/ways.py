"""Which products go by kernels of our own, which by torch in float32: a written rule, drawn from PERFORMANCE.md's tables.

It asks for the processor's instructions and the shapes alone. Forward both give the same sums, bit for bit. Where kernels turn out
to be wrong on a machine (binary/probe.py), torch's products are used.
"""

import math
from collections.abc import Sequence

import torch

from bnn_train.binary.products import Conv2d, Geometry
from bnn_train.kernels import tables

SMALLEST = 1 << 25  # multiplications in a product, from which LLVM, loaded once in 0.2 s, is soon paid for


def have_kernels(device_type: str) -> bool:
    """On x86-64 with AVX2, where llvmlite is installed and its code may be executed."""
    return device_type == "cpu" and tables.lanes() > 0


def by_kernels(geometry: Geometry, x_shape: Sequence[int], w_shape: Sequence[int], device_type: str) -> bool:
    if x_shape[1] % 8 or torch.compiler.is_compiling():
        return False
    return size(geometry, x_shape, w_shape) >= SMALLEST and have_kernels(device_type)


def size(geometry: Geometry, x_shape: Sequence[int], w_shape: Sequence[int]) -> int:
    """Multiplications of a product."""
    places = math.prod(geometry.output_size(x_shape, w_shape)) if isinstance(geometry, Conv2d) else 1
    return x_shape[0] * places * math.prod(w_shape)
