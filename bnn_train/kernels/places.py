"""Convolutions by kernels that read under each place where an image lies (ir_places.py), compiled by LLVM."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnn_train.kernels import compiler
from bnn_train.kernels.by_llvm import NEVER_BELOW, backwards, interleaved, nibble_lanes
from bnn_train.kernels.compiler import address, compiled, features
from bnn_train.kernels.geometry import After, Geometry
from bnn_train.kernels.ir_bits import BitKernel
from bnn_train.kernels.ir_nibbles import MOST_BYTES, NibbleKernel
from bnn_train.kernels.ir_places import PLAN, WINDOW, Ending, PlaceKernel
from bnn_train.kernels.ir_reals import FloatKernel, RealKernel

Found = tuple[NDArray[Any] | None, NDArray[Any] | None]
SCRATCH = 1 << 14  # bytes of images at a time, beside weights in a first-level cache
UNIT, FLOAT_UNIT = 2.0**-53, 2.0**-24  # the largest relative error of one float64 or float32 operation
HEADER = 64  # bytes before them, of which the first says that a sum is not certain
ROWS = 512  # at most so many rows at a time where an image has less


class Convolution:
    """Called with images it gives (numbers or None, bits or None): int32 or float32 (N, rows, columns, outputs), and uint8
    (N, rows, columns, bytes)."""

    def __init__(
        self,
        geometry: Geometry,
        kernel: PlaceKernel,
        outputs: int,
        after: After,
        arrays: dict[str, NDArray[Any]],
        outside: NDArray[np.uint8],
        of_place: NDArray[np.int64] | None = None,
        largest: float = 1.0,
    ) -> None:
        """arrays: of the plan; of_place: which row of `limits` a place has; outside: the bytes of a pixel of the padding; largest:
        real inputs known beforehand, at least 1."""
        lanes, pooled = kernel.tile.lanes, after.signs.pooled if after.signs else None
        self.compiled = compiled(kernel, compiler.CPU)
        self.outputs, self.padded = outputs, outputs + -outputs % lanes
        self.numbers = None if not after.numbers else np.float32 if kernel.ending.real or after.floats else np.int32
        self.is_sign = kernel.ending.is_sign
        self.may_be_unsure = isinstance(kernel.tile, RealKernel) and not kernel.tile.is_exact
        order = geometry.order(pooled)
        self.shape = pooled or (geometry.rows, geometry.columns)
        self.block = max(1, min(SCRATCH // geometry.padded_bytes, ROWS // len(order)))
        begin = HEADER + np.arange(self.block)[:, None] * geometry.padded_bytes + geometry.beginnings(order)
        which = np.zeros(len(order), np.int64) if of_place is None else of_place[order]
        arrays["table"] = begin + (which * (4 * self.padded) << 32)
        flip = np.zeros(self.padded, bool)
        if after.signs is not None:
            flip[:outputs] = after.signs.flip
            if after.signs.threshold is not None:
                arrays["threshold"] = lined(after.signs.threshold, self.padded, np.inf)
        arrays["flip"] = np.packbits(flip)
        if after.affine is not None:
            arrays |= {name: lined(values, self.padded, 0) for name, values in after.affine._asdict().items()}
        if after.each:
            arrays["each"] = side_by_side([values for function in after.each for values in function.takes], self.padded, lanes)
        arrays["of_image"] = np.arange(self.block).repeat(len(order)) * 4 * self.padded
        above, left = geometry.padding
        numbers = {name: array.ctypes.data for name, array in arrays.items()} | {
            "groups": self.padded // lanes, "group_bytes": arrays["weight"][0].nbytes, "words": len(arrays["offsets"]),
            "block": self.block, "places": len(order), "results": self.shape[0] * self.shape[1],
            "image_bytes": geometry.height * geometry.width * geometry.pixel,
            "padded_bytes": geometry.padded_bytes, "inner": HEADER + above * geometry.line + left * geometry.pixel,
            "padded_line": geometry.line, "pixel_bytes": geometry.pixel, "height": geometry.height, "width": geometry.width,
            "out_bytes": 4 * self.padded, "bits_bytes": self.padded // 8,
        }  # fmt: skip
        if kernel.laid == "looked up":
            channels = len(arrays["lookup"])
            numbers |= {"channels": channels, "image_bytes": geometry.height * geometry.width * channels}
        elif kernel.laid == "widened":
            numbers["image_bytes"] //= 2
        for name, value in (("largest", largest), ("slack", 2 * (numbers["words"] + 8) * UNIT)):
            numbers[name] = int(np.float64(value).view(np.int64))
        self.held = arrays, np.array([numbers.get(name, 0) for name in PLAN], np.int64)
        self.plan = self.held[1].ctypes.data
        # 8 bytes more, since the last word of a row may be read beyond its end.
        self.scratch = np.zeros(HEADER + self.block * geometry.padded_bytes + 8, np.uint8)
        self.scratch[HEADER:-8].reshape(-1, geometry.pixel)[:] = outside
        self.image_bytes = geometry.padded_bytes

    def __call__(
        self, x: NDArray[Any], other: NDArray[np.float32] | None = None, gate: NDArray[np.float32] | None = None
    ) -> Found | None:
        """x: C-contiguous. other: what is added, float32 (N, rows, columns, outputs), C-contiguous; gate: what is multiplied
        before, (N, outputs). None where some real sum is so
        near to the middle of two float32 that it is not certain which is right."""
        images = len(x)
        scratch = self.scratch[: HEADER + min(images, self.block) * self.image_bytes + 8].copy()
        out = None if self.numbers is None else np.empty((images, *self.shape, self.padded), self.numbers)
        bits = np.empty((images, *self.shape, self.padded // 8), np.uint8) if self.is_sign else None
        self.compiled(address(x), images, self.plan, address(scratch), address(out), address(other), address(bits), address(gate))
        if self.may_be_unsure and scratch[0]:
            return None
        if self.padded != self.outputs:
            out = None if out is None else np.ascontiguousarray(out[..., : self.outputs])
            wanted = -(-self.outputs // 8)
            bits = bits if bits is None or bits.shape[-1] == wanted else np.ascontiguousarray(bits[..., :wanted])
        return out, bits


def ending_of(after: After, whole: bool) -> Ending:
    pool = after.signs is not None and after.signs.pooled is not None
    each = tuple(function.kind for function in after.each)
    affine = after.affine is not None
    return Ending(whole, after.numbers, after.signs is not None, affine, after.multiply, after.add, each, pool, after.floats)


def lined(values: NDArray[Any], padded: int, more: float) -> NDArray[Any]:
    """(..., outputs) filled up, each 8 backwards."""
    full = np.full((*values.shape[:-1], padded), more, values.dtype)
    full[..., : values.shape[-1]] = values
    return np.ascontiguousarray(full.reshape(*full.shape[:-1], -1, 8)[..., ::-1].reshape(full.shape))


def side_by_side(rows: list[NDArray[Any]], padded: int, lanes: int) -> NDArray[np.uint8]:
    """(outputs,) each, of whatever types, as bytes: of `lanes` outputs what all rows have, then of the next ones."""
    parts = [lined(row, padded, 0).view(np.uint8).reshape(padded // lanes, -1) for row in rows]
    return np.concatenate([*parts, np.zeros((padded // lanes, 0), np.uint8)], axis=1)


def binary(
    geometry: Geometry,
    weight: NDArray[np.uint8],
    mask: NDArray[np.uint8] | None,
    after: After,
    limits: NDArray[np.int32],
    of_place: NDArray[np.int64],
    outside: NDArray[np.uint8],
) -> Convolution:
    """weight and mask: bits, (outputs, kernel height, kernel width, pixel). limits: int32 (kinds of places, outputs), of_place the
    kind of each place: of signs alone the most differing bits that give +1, else what twice the differing bits are taken from."""
    outputs, ending = len(weight), ending_of(after, whole=True)
    tile = tile_of(geometry, outputs, mask is not None, ending.real)
    arrays, ragged = segments_of(geometry, tile)
    arrays["weight"] = arranged(geometry, tile, weight, mask)
    padded_outputs = outputs + -outputs % tile.lanes
    arrays["limits"] = lined(limits, padded_outputs, NEVER_BELOW if not ending.real and ending.is_sign else 0)
    return Convolution(geometry, PlaceKernel(tile, ending, ragged, "as they are"), outputs, after, arrays, outside, of_place)


def tile_of(geometry: Geometry, outputs: int, masked: bool, needs_full: bool) -> BitKernel | NibbleKernel:
    """What counts differing bits fastest here. needs_full: whether outputs must fill the lanes of nibbles."""
    size = geometry.kernel[0] * geometry.kernel[1] * geometry.pixel
    lanes = nibble_lanes(compiler.CPU, outputs) if not masked and size <= MOST_BYTES else None
    return NibbleKernel(True, lanes) if lanes and not (needs_full and outputs % lanes) else BitKernel(True, masked)


def segments_of(geometry: Geometry, tile: BitKernel | NibbleKernel) -> tuple[dict[str, NDArray[Any]], bool]:
    """Where a row's words lie and which of their bits count, and whether some do not."""
    begins, pixels = geometry.segments()
    size = pixels * geometry.pixel
    if isinstance(tile, NibbleKernel):
        return {"offsets": np.ascontiguousarray((begins[:, None] + np.arange(size)).reshape(-1))}, False
    words = -(-size // 8)
    belongs = fill(np.full((1, len(begins), size), 255, np.uint8), 8 * words)
    offsets = np.ascontiguousarray((begins[:, None] + 8 * np.arange(words)).reshape(-1))
    return {
        "offsets": offsets,
        "masks": np.ascontiguousarray(belongs.view(np.uint64).reshape(-1)),
    }, not tile.masked and size % 8 > 0


def arranged(
    geometry: Geometry, tile: BitKernel | NibbleKernel, weight: NDArray[np.uint8], mask: NDArray[np.uint8] | None
) -> NDArray[Any]:
    """Bits, (outputs, kernel height, kernel width, pixel), as the tile reads them."""
    outputs = len(weight)
    if isinstance(tile, NibbleKernel):
        size, lanes = weight[0].size, tile.lanes
        padded = np.zeros((outputs + -outputs % lanes, size), np.uint8)
        padded[:outputs] = weight.reshape(outputs, -1)
        nibbles = backwards(np.stack([padded >> 4, padded & 15], axis=2))
        return np.ascontiguousarray(nibbles.reshape(-1, lanes, size, 2).transpose(0, 2, 3, 1))
    begins, pixels = geometry.segments()
    size = pixels * geometry.pixel
    words = -(-size // 8)
    filled = [interleaved(fill(part.reshape(outputs, len(begins), size), 8 * words)) for part in (weight, mask) if part is not None]
    return np.ascontiguousarray(filled[0] if mask is None else np.stack(filled, axis=2))


def fill(parts: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """(outputs, segments, bytes) to (outputs, segments * size), 0 behind each segment."""
    full = np.zeros((*parts.shape[:2], size), np.uint8)
    full[..., : parts.shape[2]] = parts
    return full.reshape(len(parts), -1)


def real(
    geometry: Geometry,
    weight: NDArray[np.float64],
    bias: NDArray[np.float64],
    table: NDArray[np.float64] | None,
    after: After,
    outside: float,
    is_exact: bool,
) -> Convolution:
    """Of bytes, channels first, through a table, (channels, 256); or of float32 (N, height, width, channels), a multiple of 8
    channels. weight: (outputs, kernel height, kernel width, channels); all are float32's numbers. geometry: with pixels of one byte
    a channel. is_exact: no sum is rounded in float64."""
    outputs, channels = len(weight), weight.shape[-1]
    ending, largest = ending_of(after, whole=False), 1.0 if table is None else max(1.0, float(np.abs(table).max()))
    # 16 sums in 32 registers take a tenth less than 8; with AVX2 4 of two registers each, of 16. A pool has tiles of its 4 places.
    wide = "avx512f" in features(compiler.CPU)[2] or compiler.CPU == "x86-64-v4"
    size = (WINDOW, 2 if wide else 1) if ending.pool else (8 if wide else 2, 2)
    alone = not (ending.numbers or after.affine or after.multiply or after.add or after.each or bias.any()) and table is not None
    tile: RealKernel | FloatKernel = FloatKernel(*size) if is_exact and alone and outputs % 16 == 0 else RealKernel(is_exact, *size)
    kind, unit = (np.float32, 2 * FLOAT_UNIT) if isinstance(tile, FloatKernel) else (np.float64, UNIT)
    number = np.dtype(kind).itemsize
    geometry = geometry._replace(pixel=number * channels)
    flat, padded = weight.reshape(outputs, -1).astype(kind), outputs + -outputs % tile.lanes
    errors = (np.abs(flat).sum(axis=1) + np.abs(bias)) * ((flat.shape[1] + 8) * unit)
    arrays = {
        "weight": lined(flat.T, padded, 0).reshape(flat.shape[1], -1, tile.lanes).transpose(1, 0, 2),
        "offsets": (geometry.taps()[..., None] + number * np.arange(channels)).reshape(-1),
        "biases": lined(bias, padded, 0),
        "errors": lined(errors, padded, 0) if kind is np.float64 else lined((errors * largest).astype(kind), padded, 0),
    }
    if table is not None:
        arrays["lookup"] = table.astype(kind)
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    kernel = PlaceKernel(tile, ending, False, "widened" if table is None else "looked up")
    surrounding = np.full(channels, outside, kind).view(np.uint8)
    return Convolution(geometry, kernel, outputs, after, arrays, surrounding, largest=largest)
