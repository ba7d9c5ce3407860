"""Products of packed signs, and of bytes with signs: exact whole numbers, the same bits from every engine.

Each call is single-threaded inside, releases the GIL in the engine, and is safe from several threads: split the rows over a pool.

Which engine, where none is asked for: on x86-64 LLVM, once a process has spent on products what loading LLVM takes; until then, and
on other processors, NumKong; numpy where neither is installed. Measured on one thread of a Zen 5, milliseconds by LLVM and NumKong,
comparison included: 2048 x 2048 signs at batch 1 0.006 and 0.010, at batch 256 0.40 and 0.89; kept to AVX2 1.3 and 4.0, without
comparison; 4096 places of a convolution, 576 inputs, 64 outputs 0.064 and 0.36, without comparison by NumKong; bytes,
256 x 784 x 2048, 0.86 and 1.75. NumKong was faster on 10 outputs alone, by 0.001. Processors other than x86-64 were not measured.
"""

import platform
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnn_train.errors import ConfigError
from bnn_train.kernels import by_llvm, by_numkong, by_numpy

ENGINES = ("llvm", "numkong", "numpy")
LLVM_COST = 0.06  # seconds: loading LLVM and compiling a kernel or two
LLVM_IS_FASTER = platform.machine().lower() in ("x86_64", "amd64")
_spent = 0.0  # seconds of this process in products that might have been faster


class Product:
    """What both products share: the choice of an engine."""

    outputs: int

    def __init__(self, engine: str | None) -> None:
        self.engine = check_engine(engine)
        self._made: dict[str, Any] = {}
        self._final: Any = None  # the engine that stays

    def _make(self, name: str) -> Any:
        raise NotImplementedError

    def _run(self, call: str, *arguments: NDArray[Any]) -> NDArray[Any]:
        if self._final is None:
            return self._first_runs(call, *arguments)
        result: NDArray[Any] = getattr(self._final, call)(*arguments)
        return result

    def _first_runs(self, call: str, *arguments: NDArray[Any]) -> NDArray[Any]:
        """Whoever rents until the rent has reached the price, then buys, pays at most twice what was best."""
        global _spent
        name = self.engine or choose(_spent >= LLVM_COST)
        if name not in self._made:  # two threads may both make one; both are right
            self._made[name] = self._make(name)
        engine = self._made[name]
        if self.engine or _spent >= LLVM_COST:
            self._final = engine
        start = time.perf_counter()
        result: NDArray[Any] = getattr(engine, call)(*arguments)
        _spent += time.perf_counter() - start
        return result

    def _no_bits(self) -> NDArray[np.uint8]:
        return np.empty((0, -(-self.outputs // 8)), np.uint8)


class BinaryProduct(Product):
    """Sums of x_k * w_k, both -1 or +1, as bits (1 is +1). Rows are packed as by numpy.packbits, what pads is 0 on both sides.

    weight: uint8 (O, B); mask: uint8 (O, B), bit 1 where a weight counts. engine: one of ENGINES, or None: the fastest
    for each call. With K real inputs (of the mask's K bits) the sum is K - 2 * hamming.
    """

    def __init__(self, weight: NDArray[np.uint8], mask: NDArray[np.uint8] | None = None, engine: str | None = None) -> None:
        super().__init__(engine)
        self.weight = as_rows(weight, np.uint8)
        self.mask = None if mask is None else as_rows(mask, np.uint8)
        if self.mask is not None and self.mask.shape != self.weight.shape:
            raise ValueError(f"mask {self.mask.shape} and weight {self.weight.shape} differ in shape")
        self.outputs, self.width = self.weight.shape

    def hamming(self, x: NDArray[np.uint8]) -> NDArray[np.int32]:
        """x: uint8 (M, B). int32 (M, O): how many bits of (x ^ w) & mask are 1."""
        x = as_rows(x, np.uint8, self.width)
        return self._run("hamming", x) if len(x) else np.empty((0, self.outputs), np.int32)

    def compare(self, x: NDArray[np.uint8], limits: NDArray[np.int32]) -> NDArray[np.uint8]:
        """limits: int32 (O,). uint8 (M, ceil(O/8)): bit o, packed as by numpy.packbits, is hamming <= limits[o]; what pads is 0."""
        x, limits = as_rows(x, np.uint8, self.width), as_limits(limits, self.outputs)
        return self._run("compare", x, limits) if len(x) else self._no_bits()

    def _make(self, name: str) -> Any:
        if name == "llvm":
            return by_llvm.Binary(self.weight, self.mask)
        if name == "numkong":
            return by_numkong.Binary(self.weight, self.mask)
        return by_numpy.Binary(self.weight, self.mask)


class ByteProduct(Product):
    """Sums of u_k * w_k, u from 0 to 255, w -1 or +1, or 0 where masked: a first layer on pixels.

    weight: int8 (O, K). engine: one of ENGINES, or None: the fastest for each call.
    """

    def __init__(self, weight: NDArray[np.int8], engine: str | None = None) -> None:
        super().__init__(engine)
        self.weight = as_rows(weight, np.int8)
        if self.weight.size and (self.weight.min() < -1 or self.weight.max() > 1):
            raise ValueError("weights are -1, 0, +1")
        self.outputs, self.width = self.weight.shape

    def sums(self, u: NDArray[np.uint8]) -> NDArray[np.int32]:
        """u: uint8 (M, K). int32 (M, O)."""
        u = as_rows(u, np.uint8, self.width)
        return self._run("sums", u) if len(u) else np.empty((0, self.outputs), np.int32)

    def compare(self, u: NDArray[np.uint8], limits: NDArray[np.int32]) -> NDArray[np.uint8]:
        """limits: int32 (O,). uint8 (M, ceil(O/8)): bit o, packed as by numpy.packbits, is sum >= limits[o]; what pads is 0."""
        u, limits = as_rows(u, np.uint8, self.width), as_limits(limits, self.outputs)
        return self._run("compare", u, limits) if len(u) else self._no_bits()

    def _make(self, name: str) -> Any:
        if name == "llvm":
            return by_llvm.Byte(self.weight)
        if name == "numkong":
            return by_numkong.Byte(self.weight)
        return by_numpy.Byte(self.weight)


def installed() -> list[str]:
    """The engines of this machine. Loads LLVM."""
    return [name for name in ENGINES if is_installed(name)]


def is_installed(name: str) -> bool:
    if name == "llvm":
        return by_llvm.available()
    return name == "numpy" or by_numkong.module() is not None


def check_engine(engine: str | None) -> str | None:
    """ConfigError for a name that is none, or an engine that is not installed."""
    if engine is not None and engine not in ENGINES:
        raise ConfigError("engine", engine, f"one of {', '.join(ENGINES)}")
    if engine is not None and not is_installed(engine):
        raise ConfigError("engine", engine, f"not installed here: pip install {'llvmlite' if engine == 'llvm' else engine}")
    return engine


def choose(llvm_is_worth_it: bool) -> str:
    order = ("llvm", "numkong", "numpy") if LLVM_IS_FASTER else ("numkong", "llvm", "numpy")
    return next(name for name in order if (name != "llvm" or llvm_is_worth_it) and is_installed(name))


def is_llvm_due(engine: str | None) -> bool:
    """Whether what only LLVM compiles is to be used from now on: it is asked for, or this process has paid for it."""
    return (engine or choose(_spent >= LLVM_COST)) == "llvm"


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
