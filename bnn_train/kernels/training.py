"""The product of signs in training, by packed bits: weights change with every step, sums are float32, images go by torch's threads.

A linear layer is a convolution over images of one pixel.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnn_train.kernels import elements, places, team
from bnn_train.kernels.compiler import address
from bnn_train.kernels.geometry import After, Geometry

_FLOATS = After(numbers=True, floats=True)


class SignConvolution:
    """One layer's. `set` takes its weights, a call its input. pruned: whether some weights are 0. pad: -1, 0 or +1, what surrounds
    the images; with 0 each place has the sums that its taps outside would add taken off.
    """

    def __init__(self, geometry: Geometry, outputs: int, pad: int, pruned: bool) -> None:
        self.geometry, self.outputs, self.pad, self.pruned = geometry, outputs, pad, pruned
        self.outside: NDArray[np.float32] = np.zeros((1, 1), np.float32)
        of_place: NDArray[np.int64] = np.zeros(geometry.rows * geometry.columns, np.int64)
        if pad == 0:
            self.outside, of_place = _taps_outside(geometry)
        zeros = np.zeros((outputs, *geometry.kernel, geometry.pixel), np.uint8)
        limits = np.zeros((len(self.outside), outputs), np.int32)
        around = np.full(geometry.pixel, 255 if pad == 1 else 0, np.uint8)
        self.made = places.binary(geometry, zeros, zeros if pruned else None, _FLOATS, limits, of_place, around)
        self.tile = places.tile_of(geometry, outputs, pruned, False)

    def set(self, weight: NDArray[np.int8]) -> None:
        """weight: -1, +1, or 0 where it is pruned, (outputs, kernel height, kernel width, channels), C-contiguous."""
        arrays = self.made.held[0]
        kept = packed(weight != 0) if self.pruned else None
        arrays["weight"][...] = places.arranged(self.geometry, self.tile, packed(weight > 0), kept)
        edges = np.count_nonzero(weight.reshape(self.outputs, -1), axis=1) if self.pruned else weight[0].size
        limits = np.broadcast_to(np.asarray(edges, np.int32), (len(self.outside), self.outputs))
        if self.pad == 0 and self.outside.any():
            of_tap = weight.sum(axis=3, dtype=np.int32).reshape(self.outputs, -1)
            limits = limits + (self.outside @ of_tap.T.astype(np.float32)).astype(np.int32)
        arrays["limits"][...] = places.lined(limits, self.made.padded, 0)

    def __call__(self, bits: NDArray[np.uint8], threads: int) -> NDArray[np.float32]:
        """bits: (images, height, width, pixel), C-contiguous. (images, rows, columns, outputs)."""
        made, images = self.made, len(bits)
        out = np.empty((images, *made.shape, made.padded), np.float32)
        threads = max(1, min(threads, -(-images // made.block)))
        scratches = [made.scratch.copy() for _ in range(threads)]
        calls = [
            (address(bits[a:]), b - a, made.plan, address(scratch), address(out[a:]), 0, 0, 0)
            for (a, b), scratch in zip(team.split(images, threads), scratches, strict=True)
        ]
        team.run(made.compiled, calls)
        return out if made.padded == self.outputs else np.ascontiguousarray(out[..., : self.outputs])


def packed(positive: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A bit for each of the last dimension, whose size is a multiple of 8, the first one lowest, as elements.PACK has them."""
    return np.packbits(positive, axis=-1, bitorder="little")


def pack(signs: int, count: int, shape: tuple[int, ...], threads: int) -> NDArray[np.uint8]:
    """The bits of `count` signs, int8, at an address."""
    bits = np.empty(shape, np.uint8)
    elements.run(elements.PACK, count, (signs, address(bits)), threads=threads)
    return bits


def _taps_outside(geometry: Geometry) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Which taps of the kernel lie outside the image in each kind of place, 1 or 0, (kinds, taps), and the kind of each place."""
    sizes: list[Any] = []
    for axis, (size, places_) in enumerate(((geometry.height, geometry.rows), (geometry.width, geometry.columns))):
        taps = np.arange(geometry.kernel[axis]) * geometry.dilation[axis] - geometry.padding[axis]
        at = np.arange(places_)[:, None] * geometry.stride[axis] + taps
        sizes.append(np.unique((at >= 0) & (at < size), axis=0, return_inverse=True))
    (rows, of_row), (columns, of_column) = sizes
    inside = rows[:, None, :, None] & columns[None, :, None, :]
    kinds = of_row.reshape(-1)[:, None] * len(columns) + of_column.reshape(-1)
    return (~inside).reshape(len(rows) * len(columns), -1).astype(np.float32), kinds.reshape(-1).astype(np.int64)
