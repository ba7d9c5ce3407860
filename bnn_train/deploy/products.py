"""Products of packed signs, and of bytes with signs: exact whole numbers, the same bits from every engine.

Each call is single-threaded inside, releases the GIL in the engine, and is safe from several threads: split the rows over a pool.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnn_train.deploy import product_numkong, product_numpy
from bnn_train.errors import ConfigError

ENGINES = ("numkong", "numpy")


class BinaryProduct:
    """Sums of x_k * w_k, both -1 or +1, as bits (1 is +1). Rows are packed as by numpy.packbits, what pads is 0 on both sides.

    weight: uint8 (O, B); mask: uint8 (O, B), bit 1 where a weight counts. engine: one of ENGINES, or None: the fastest
    for each call. With K real inputs (of the mask's K bits) the sum is K - 2 * hamming.
    """

    def __init__(self, weight: NDArray[np.uint8], mask: NDArray[np.uint8] | None = None, engine: str | None = None) -> None:
        self.weight = as_rows(weight, np.uint8)
        self.mask = None if mask is None else as_rows(mask, np.uint8)
        if self.mask is not None and self.mask.shape != self.weight.shape:
            raise ValueError(f"mask {self.mask.shape} and weight {self.weight.shape} differ in shape")
        self.outputs, self.width = self.weight.shape
        self.engine = check_engine(engine)
        self._made: dict[str, Any] = {}

    def hamming(self, x: NDArray[np.uint8]) -> NDArray[np.int32]:
        """x: uint8 (M, B). int32 (M, O): how many bits of (x ^ w) & mask are 1."""
        x = as_rows(x, np.uint8, self.width)
        return self._at(len(x)).hamming(x) if len(x) else np.empty((0, self.outputs), np.int32)

    def compare(self, x: NDArray[np.uint8], limits: NDArray[np.int32]) -> NDArray[np.uint8]:
        """limits: int32 (O,). uint8 (M, ceil(O/8)): bit o, packed as by numpy.packbits, is hamming <= limits[o]; what pads is 0."""
        x, limits = as_rows(x, np.uint8, self.width), as_limits(limits, self.outputs)
        return self._at(len(x)).compare(x, limits) if len(x) else np.empty((0, -(-self.outputs // 8)), np.uint8)

    def _at(self, rows: int) -> Any:
        name = self.engine or choose(rows)
        if name not in self._made:  # two threads may both make one; both are right
            nk = product_numkong.module() if name == "numkong" else None
            self._made[name] = (
                product_numkong.Binary(nk, self.weight, self.mask) if nk else product_numpy.Binary(self.weight, self.mask)
            )
        return self._made[name]


class ByteProduct:
    """Sums of u_k * w_k, u from 0 to 255, w -1 or +1, or 0 where masked: a first layer on pixels.

    weight: int8 (O, K). engine: one of ENGINES, or None: the fastest for each call.
    """

    def __init__(self, weight: NDArray[np.int8], engine: str | None = None) -> None:
        self.weight = as_rows(weight, np.int8)
        if self.weight.size and (self.weight.min() < -1 or self.weight.max() > 1):
            raise ValueError("weights are -1, 0, +1")
        self.outputs, self.width = self.weight.shape
        self.engine = check_engine(engine)
        self._made: dict[str, Any] = {}

    def sums(self, u: NDArray[np.uint8]) -> NDArray[np.int32]:
        """u: uint8 (M, K). int32 (M, O)."""
        u = as_rows(u, np.uint8, self.width)
        return self._at(len(u)).sums(u) if len(u) else np.empty((0, self.outputs), np.int32)

    def compare(self, u: NDArray[np.uint8], limits: NDArray[np.int32]) -> NDArray[np.uint8]:
        """limits: int32 (O,). uint8 (M, ceil(O/8)): bit o, packed as by numpy.packbits, is sum >= limits[o]; what pads is 0."""
        u, limits = as_rows(u, np.uint8, self.width), as_limits(limits, self.outputs)
        return self._at(len(u)).compare(u, limits) if len(u) else np.empty((0, -(-self.outputs // 8)), np.uint8)

    def _at(self, rows: int) -> Any:
        name = self.engine or choose(rows)
        if name not in self._made:
            nk = product_numkong.module() if name == "numkong" else None
            self._made[name] = product_numkong.Byte(nk, self.weight) if nk else product_numpy.Byte(self.weight)
        return self._made[name]


def installed() -> list[str]:
    """The engines of this machine."""
    return [name for name in ENGINES if name == "numpy" or product_numkong.module()]


def check_engine(engine: str | None) -> str | None:
    """ConfigError for a name that is none, or an engine that is not installed."""
    if engine is not None and engine not in ENGINES:
        raise ConfigError("engine", engine, f"one of {', '.join(ENGINES)}")
    if engine is not None and engine not in installed():
        raise ConfigError("engine", engine, f"not installed here: pip install {engine}")
    return engine


def choose(rows: int) -> str:
    return "numkong" if product_numkong.module() else "numpy"


def as_rows(array: NDArray[Any], dtype: type, width: int | None = None) -> NDArray[Any]:
    """The array itself, or a C-contiguous copy. ValueError where type or shape is another."""
    if array.dtype != dtype or array.ndim != 2 or (width is not None and array.shape[1] != width):
        raise ValueError(
            f"{np.dtype(dtype).name} of shape (rows, {width or 'columns'}) is needed, not {array.dtype.name} of {array.shape}"
        )
    return array if array.flags.c_contiguous else np.ascontiguousarray(array)


def as_limits(limits: NDArray[np.int32], outputs: int) -> NDArray[np.int32]:
    if limits.dtype != np.int32 or limits.shape != (outputs,):
        raise ValueError(f"limits are int32 of shape ({outputs},), not {limits.dtype.name} of {limits.shape}")
    return limits if limits.flags.c_contiguous else np.ascontiguousarray(limits)
