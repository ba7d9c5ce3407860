"""Which way a product goes: a written rule on the processor's instructions and the shapes, drawn from PERFORMANCE.md's tables.

All ways give the same sums forward, bit for bit. Where one turns out to be wrong on a machine (binary/probe.py), the next is taken.
"""

import functools
import math
import os
from collections.abc import Sequence
from typing import NamedTuple

import torch

from bnn_train.binary.products import Conv2d, Geometry
from bnn_train.kernels import by_llvm, compiler

WITHOUT_VNNI = ("SSE41", "AVX", "AVX2", "AVX512_CORE")  # oneDNN's names of instruction sets
PACKED_FROM = 1 << 25  # multiplications in a product, from which LLVM, loaded once in 0.1 s, is soon paid for


INT8_CHANNELS = 64  # of a convolution, in and out, from which rounded gradients are faster: with 32 they take 1.4 times as long


class Way(NamedTuple):
    """forward: "packed", bits that are counted; "int8"; "float32". gradients: "int8", of 14 bits, or "float32"."""

    forward: str
    gradients: str


FLOATS = Way("float32", "float32")


@functools.cache
def int8_is_fast(device_type: str) -> bool:
    """Whether int8 products are faster than float32 ones here: on processors with vector neural network instructions (VNNI).

    Whether they are right is another question (binary/probe.py). Not where oneDNN, which computes them, is kept to less than the
    processor has: torch asks the processor alone.
    """
    has_vnni = getattr(torch.cpu, "_is_vnni_supported", lambda: False)  # not a documented part of torch
    kept_to = os.environ.get("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA", "")).upper()
    return device_type == "cpu" and torch.backends.mkldnn.is_available() and bool(has_vnni()) and kept_to not in WITHOUT_VNNI


@functools.cache
def packed_is_fast(device_type: str) -> bool:
    """Whether counting bits is: on x86-64 with AVX2, where LLVM can be had."""
    return device_type == "cpu" and by_llvm.available() and "avx2" in compiler.features(compiler.CPU)[2]


def choose(geometry: Geometry, x_shape: Sequence[int], w_shape: Sequence[int], fast: bool, device_type: str) -> list[Way]:
    """The ways of a product, the best one first. fast: whether gradients may be rounded."""
    has_int8 = int8_is_fast(device_type)
    narrow = isinstance(geometry, Conv2d) and min(w_shape[:2]) < INT8_CHANNELS
    gradients = "int8" if fast and has_int8 and not narrow else "float32"
    ways = [Way("int8", gradients)] if has_int8 else []
    large = x_shape[1] % 8 == 0 and size(geometry, x_shape, w_shape) >= PACKED_FROM
    if large and not torch.compiler.is_compiling() and packed_is_fast(device_type):
        ways = [Way("packed", gradients), *ways]
    return [*ways, FLOATS]


def size(geometry: Geometry, x_shape: Sequence[int], w_shape: Sequence[int]) -> int:
    """Multiplications of a product."""
    places = math.prod(geometry.output_size(x_shape, w_shape)) if isinstance(geometry, Conv2d) else 1
    return x_shape[0] * places * math.prod(w_shape)
