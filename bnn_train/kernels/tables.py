"""The product of real numbers with signs by tables (ir_tables.py, ir_table_places.py), by torch's threads. Arrays are given by
address.

What is added up in which order does not depend on the number of threads.
"""

import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bnn_train.kernels import by_llvm, compiler, elements, team
from bnn_train.kernels.geometry import Geometry
from bnn_train.kernels.ir_elements import Element, ElementKernel, Value
from bnn_train.kernels.ir_table_places import FilterKernel, InputKernel
from bnn_train.kernels.ir_tables import BYTES, ROWS, SCRATCH, TERMS, TableKernel

COLUMNS = 32  # in a product without places they are a multiple of it
CHANNELS = 16  # of a convolution the same
DEEP = 16 * 1024  # bytes of the filters' tables that stay in a first-level cache, beside what they are added to
UNITS = 32  # in so many parts the filters' gradient is made, at least, so that many threads have something to do


def lanes() -> int:
    """Of the kernel that this processor can have; 0 where there is none."""
    return _lanes(compiler.CPU)


@functools.cache
def _lanes(cpu: str | None) -> int:
    if not by_llvm.available():
        return 0
    there = compiler.features(cpu)[2]
    return 16 if "avx512bw" in there else 8 if "avx2" in there else 0


def product(a: int, strides: tuple[int, int], rows: int, four: NDArray[np.uint8], out: int, threads: int) -> None:
    """out = a b. a: float32, bytes from row to row and from term to term; four: the signs of b, (terms / TERMS, columns), as
    `fours` and `fours_of_rows` make them; out: float32 (rows, columns). columns: a multiple of COLUMNS."""
    plan = np.array([a, *strides, len(four), four.ctypes.data, out, four.shape[1]], np.int64)
    _spread(compiler.compiled(TableKernel(lanes()), compiler.CPU), plan, rows, ROWS[0], threads, SCRATCH)


def of_input(g: int, geometry: Geometry, images: int, outputs: int, signs: int, channels: int, out: int, threads: int) -> None:
    """out, float32 (images, rows, columns, channels): the convolution of g, float32 (images, height, width, outputs), by
    `geometry`, whose pixel is `pixel_bytes`. signs: int8 (lines, columns of the filter, outputs, channels). Strides are 1."""
    groups = outputs // TERMS
    begins, pixels = geometry.segments()
    run = pixels * groups
    segments = np.ascontiguousarray(np.stack([begins // geometry.line, begins % geometry.line], axis=1))
    four = fours(signs, len(begins) * run * TERMS, channels, threads)
    ring = (geometry.kernel[0] - 1) * geometry.dilation[0] + 1
    plan = np.array(
        [
            g, geometry.height, geometry.width, groups, *geometry.padding, geometry.pixel, geometry.line, ring,
            segments.ctypes.data, len(begins), run, four.ctypes.data, out, geometry.rows, geometry.columns, channels,
        ],
        np.int64,
    )  # fmt: skip
    _spread(compiler.compiled(InputKernel(lanes()), compiler.CPU), plan, images, 1, threads, ring * geometry.line)


def pixel_bytes(outputs: int) -> int:
    """Of the tables of a pixel with so many outputs."""
    return outputs // TERMS * BYTES


def of_filters(
    g: int, geometry: Geometry, images: int, outputs: int, signs: int, channels: int, threads: int
) -> NDArray[np.float32]:
    """(outputs, lines, columns of the filter, channels): the sum over images and places of g, float32 (images, rows, columns,
    outputs), times the sign under each tap, int8 (images, height, width, channels). images: a multiple of TERMS, outputs: of
    ROWS[0]."""
    groups, (lines, columns) = images // TERMS, geometry.kernel
    image = geometry.height * geometry.width * channels
    four = fours(signs, images, image, threads)
    tiles = outputs // ROWS[0]
    each = -(-groups // min(groups, -(-UNITS // tiles)))
    chunks = -(-groups // each)
    out = np.zeros((chunks, outputs, lines, columns, channels), np.float32)
    deep = max(1, DEEP // (geometry.columns * BYTES * ROWS[0]))
    down, right = (_range(geometry, axis) for axis in (0, 1))
    plan = np.array(
        [
            g, 4 * geometry.rows * geometry.columns * outputs, geometry.rows, geometry.columns, outputs, four.ctypes.data, image,
            geometry.width * channels, channels, *geometry.stride, down.ctypes.data, right.ctypes.data, lines, columns,
            out.ctypes.data, out[0].nbytes, tiles, groups, each, deep,
        ],
        np.int64,
    )  # fmt: skip
    size = deep * geometry.columns * BYTES * ROWS[0]
    _spread(compiler.compiled(FilterKernel(lanes()), compiler.CPU), plan, chunks * tiles, 1, threads, size)
    return out[0] if chunks == 1 else out.sum(axis=0)


def _range(geometry: Geometry, axis: int) -> NDArray[np.int64]:
    """Of each line or column of the filter: the first place where it lies in the image, the one behind the last, and where it
    begins."""
    size, places = ((geometry.height, geometry.rows), (geometry.width, geometry.columns))[axis]
    step = geometry.stride[axis]
    begins = np.arange(geometry.kernel[axis]) * geometry.dilation[axis] - geometry.padding[axis]
    first = np.maximum(0, -(begins // step))  # the least p with p * step + begins >= 0
    behind = np.minimum(places, (size - 1 - begins) // step + 1)
    return np.ascontiguousarray(np.stack([first, np.maximum(first, behind), begins], axis=1).astype(np.int64))


def fours(signs: int, terms: int, columns: int, threads: int) -> NDArray[np.uint8]:
    """Of int8 (terms, columns), -1 or +1: what four of them choose in a table, (terms / TERMS, columns)."""
    four = np.empty((terms // TERMS, columns), np.uint8)
    each = tuple(signs + i * columns for i in range(TERMS))
    gaps = {**{f"signs{i}": TERMS * columns for i in range(TERMS)}, "four": columns}
    kernel = TURNED if lanes() < 1 << TERMS else FOURS
    elements.run(kernel, four.size, (*each, four.ctypes.data), threads=threads, columns=columns, strides=gaps)
    return four


def fours_of_rows(signs: int, columns: int, terms: int, threads: int) -> NDArray[np.uint8]:
    """The same of int8 (columns, terms), terms a multiple of 8: what is turned round is an eighth of it."""
    packed = np.empty((columns, terms // 8), np.uint8)
    elements.run(elements.PACK, columns * terms, (signs, packed.ctypes.data), threads=threads)
    bits = np.ascontiguousarray(packed.T)
    four = np.stack([bits & 15, bits >> 4], axis=1).reshape(terms // TERMS, columns)
    return np.where(four >= 8, four - 8, 15 - four) if lanes() < 1 << TERMS else four


def _spread(kernel: Callable[..., None], plan: NDArray[np.int64], count: int, block: int, threads: int, scratch: int) -> None:
    """The kernel over `count`, in blocks, with so many bytes of zeros for each thread."""
    blocks = -(-count // block)
    threads = max(1, min(threads, blocks))
    size = scratch + -scratch % BYTES
    memory = np.zeros(threads * size + BYTES, np.uint8)
    first = memory.ctypes.data + -memory.ctypes.data % BYTES
    parts = enumerate(team.split(blocks, threads))
    calls = [(plan.ctypes.data, block * a, min(count, block * b), first + i * size) for i, (a, b) in parts]
    team.run(kernel, calls)


def _fours(e: Element) -> None:
    """A bit for each of four signs, 1 where it is +1, the first one lowest."""
    e.store("four", _sum(e, range(TERMS)))


def _turned(e: Element) -> None:
    """The last bit is 1 where the last sign is -1, and the others are turned around there."""
    total = _sum(e, range(TERMS - 1))
    is_negative = e.load(f"signs{TERMS - 1}", "i8").is_("slt", 0)
    e.store("four", is_negative.choose(total.constant(15) - total, total))


def _sum(e: Element, which: range) -> Value:
    signs = [e.load(f"signs{i}", "i8") for i in which]
    bits = [one.is_("sgt", 0).choose(one.constant(1 << i), one.constant(0)) for i, one in zip(which, signs, strict=True)]
    return functools.reduce(lambda a, b: a + b, bits)


_ARRAYS = (*(f"signs{i}" for i in range(TERMS)), "four")
FOURS, TURNED = ElementKernel(_fours, _ARRAYS, lanes=(64, 16)), ElementKernel(_turned, _ARRAYS, lanes=(32, 16))
