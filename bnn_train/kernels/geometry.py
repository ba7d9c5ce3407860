"""Where the places of a convolution lie in memory, and what becomes of its sums."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Geometry(NamedTuple):
    """Of a convolution over images (N, height, width, pixel): pixel in bytes; the others as in docs/format.md."""

    height: int
    width: int
    pixel: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    rows: int
    columns: int

    @property
    def line(self) -> int:
        """Bytes of a line with its padding."""
        return (self.width + 2 * self.padding[1]) * self.pixel

    @property
    def padded_bytes(self) -> int:
        return (self.height + 2 * self.padding[0]) * self.line

    def taps(self) -> NDArray[np.int64]:
        """Where the pixels under the kernel are, from that of its first one: bytes, (kernel height, kernel width)."""
        down, right = (np.arange(k) * d for k, d in zip(self.kernel, self.dilation, strict=True))
        return (down[:, None] * self.line + right * self.pixel).astype(np.int64)

    def segments(self) -> tuple[NDArray[np.int64], int]:
        """The pieces without gaps under the kernel: their beginnings, and the pixels of each."""
        taps = self.taps()
        return (taps[:, 0], self.kernel[1]) if self.dilation[1] == 1 else (taps.reshape(-1), 1)

    def order(self, pooled: tuple[int, int] | None) -> NDArray[np.int64]:
        """Places, counted line by line, in the order in which they are computed: where they are pooled by 2 x 2, to a result of
        so many rows and columns, window by window. A window over the edge has places twice."""
        if pooled is None:
            return np.arange(self.rows * self.columns)
        r, c = (np.minimum(np.arange(2 * n), size - 1) for n, size in zip(pooled, (self.rows, self.columns), strict=True))
        every = r[:, None] * self.columns + c
        return every.reshape(pooled[0], 2, pooled[1], 2).transpose(0, 2, 1, 3).reshape(-1)

    def beginnings(self, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where the first pixel under the kernel is at these places: bytes."""
        return order // self.columns * self.stride[0] * self.line + order % self.columns * self.stride[1] * self.pixel


class Signs(NamedTuple):
    """threshold: float32 (outputs,), of real numbers only. flip: bool (outputs,). pooled: rows and columns, where it is pooled."""

    threshold: NDArray[np.float32] | None
    flip: NDArray[np.bool_]
    pooled: tuple[int, int] | None = None


class Affine(NamedTuple):
    scale: NDArray[np.float64]
    shift: NDArray[np.float64]


class Each(NamedTuple):
    """A function of each number, by its kind and what it takes, (outputs,) each: "affine" scale and shift, float64; float32 of the
    others: "shift" what is added, "prelu" the slope, "clamp" the limits, "relu" nothing."""

    kind: str
    takes: tuple[NDArray[Any], ...]


class After(NamedTuple):
    """What becomes of the sums: an affine, a factor for each image and channel, an addition, functions; numbers are kept; signs.
    floats: whole numbers are kept as float32."""

    numbers: bool
    signs: Signs | None = None
    affine: Affine | None = None
    multiply: bool = False
    add: bool = False
    each: tuple[Each, ...] = ()
    floats: bool = False
