"""Which products go by kernels of our own, which by torch in float32: a written rule, drawn from PERFORMANCE.md's tables.

It asks for the processor's instructions and the shapes alone. Forward both give the same sums, bit for bit. Where kernels turn out
to be wrong on a machine (binary/probe.py), torch's products are used.
"""

import importlib.util
import math
from collections.abc import Sequence

import torch

from bnn_train.binary.products import Conv2d, Geometry
from bnn_train.kernels import tables

COUNTED = 64  # images at most: evaluation, whose batches are large, goes as training does
SMALLEST = 1 << 24  # multiplications in a product, from which a step is faster and LLVM, loaded in 0.1 s, soon paid for


def have_kernels(device_type: str) -> bool:
    """On x86-64 with AVX2, where llvmlite is installed and its code may be executed."""
    return device_type == "cpu" and tables.lanes() > 0


def by_kernels(geometry: Geometry, x_shape: Sequence[int], w_shape: Sequence[int], device_type: str) -> bool:
    if x_shape[1] % 8 or torch.compiler.is_compiling():
        return False
    return size(geometry, x_shape, w_shape) >= SMALLEST and have_kernels(device_type)


def lack(device_type: str) -> str:
    """Why no product can go by kernels; "" where they can."""
    if have_kernels(device_type):
        return ""
    if device_type != "cpu":
        return device_type
    has_llvm = importlib.util.find_spec("llvmlite") is not None
    return "no AVX2, or what llvmlite compiles may not run here" if has_llvm else "llvmlite is not installed: pip install llvmlite"


def line(layers: Sequence[tuple[int, int]], device_type: str, is_compiled: bool = False) -> str:
    """What products go by, and why. layers: of each with two binary factors its inputs (channels) and multiplications (`size`).

    is_compiled: whether torch.compile makes the training step.
    """
    if not layers:
        return "products: torch's, none is of signs alone"
    start = f"products of signs, in {len(layers)} layer{'s' if len(layers) > 1 else ''}:"
    if why := "trainer.compile=true" if is_compiled else lack(device_type):
        return f"{start} torch's float32 ({why})"
    large = sum(is_large(*layer) for layer in layers)
    by = f"kernels for {'AVX-512' if tables.lanes() == 16 else 'AVX2'}"
    rest = f"torch's float32 (fewer than {SMALLEST:,} multiplications with {COUNTED} images, or inputs no multiple of 8)"
    if large in (0, len(layers)):
        return f"{start} {by if large else rest}"
    return f"{start} {by} in {large}, {rest} in {len(layers) - large}"


def is_large(inputs: int, count: int) -> bool:
    """Of a layer with so many inputs (channels) and multiplications: whether kernels take it where there are some."""
    return inputs % 8 == 0 and count >= SMALLEST


def size(geometry: Geometry, x_shape: Sequence[int], w_shape: Sequence[int]) -> int:
    """Multiplications of a product, of COUNTED images at most."""
    places = math.prod(geometry.output_size(x_shape, w_shape)) if isinstance(geometry, Conv2d) else 1
    return min(x_shape[0], COUNTED) * places * math.prod(w_shape)
