"""Packed products by LLVM: compiled here for the processor at hand, through llvmlite (which Numba brings; Numba is not needed).

Loading LLVM takes 40 ms and a kernel 10 to 30 ms, once in a process, at the first call that needs it.
"""

import ctypes
import functools
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnn_train.deploy import product_numpy
from bnn_train.deploy.product_ir import PLAN, Kernel, module
from bnn_train.deploy.product_ir_bits import LANES, BitKernel
from bnn_train.deploy.product_ir_bytes import LEVELS, ByteKernel, planes_module

ROW_CHUNK = 32_768  # bytes of rows that stay in the first-level cache
PLANES_ROWS, PLANES_SIZE = 2, 1 << 18  # up to so many rows, from so many weights on: bits of bytes, see Byte
CPU: str | None = None  # LLVM's name of another processor to compile for: for tests and measurements
_lock = threading.Lock()
_kept: list[Any] = []  # a compiler frees its code when it goes


def available() -> bool:
    """Whether kernels can be compiled here: one is, once, and tried."""
    try:
        import llvmlite.binding  # noqa: F401
    except ImportError:
        return False
    return sys.byteorder == "little" and _works()


@functools.cache
def _works() -> bool:
    x, limits = np.arange(190, dtype=np.uint8).reshape(10, 19), np.full(10, 76, np.int32)
    weight = np.ascontiguousarray(x[::-1])
    try:
        found = Binary(weight, None).compare(x, limits)
    except (OSError, RuntimeError, AttributeError):  # memory that may not be executed; an llvmlite older than LLVM 15
        return False
    return np.array_equal(found, product_numpy.Binary(weight, None).compare(x, limits))


def features(cpu: str | None) -> tuple[str, str, set[str]]:
    """LLVM's name of the processor, its features as LLVM wants them, and as a set."""
    import llvmlite.binding as llvm

    if cpu is not None:
        levels = {"x86-64-v3": {"avx2"}, "x86-64-v4": {"avx2", "avx512bw"}}
        return cpu, "", levels.get(cpu, set())
    found = llvm.get_host_cpu_features()
    return llvm.get_host_cpu_name(), found.flatten(), {name for name, there in found.items() if there}


def byte_level(cpu: str | None) -> str | None:
    there = features(cpu)[2]
    asked = {"vnni512": "avx512vnni", "bw512": "avx512bw", "vnni256": "avxvnni", "avx2": "avx2"}
    return next((level for level in LEVELS if asked[level] in there), None)


def compiled(kernel: Kernel | None, cpu: str | None) -> Callable[..., None]:
    """The function of a kernel; of the taking apart of bytes for None."""
    with _lock:
        return _compiled(kernel, cpu)  # type: ignore[arg-type]


@functools.cache
def _compiled(kernel: Kernel | None, cpu: str | None) -> Callable[..., None]:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    name, asked, _ = features(cpu)
    machine = llvm.Target.from_default_triple().create_target_machine(cpu=name, features=asked, opt=3)
    parsed = llvm.parse_assembly(planes_module() if kernel is None else module(kernel))
    parsed.verify()
    compiler = llvm.create_mcjit_compiler(parsed, machine)
    compiler.finalize_object()
    _kept.append(compiler)
    # c_void_p for the number of rows too: it is converted twice as fast as c_int64.
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 5)(compiler.get_function_address("kernel"))


class Call:
    """A kernel with its plan and outputs: call(x, rows, limits) gives sums, int32 (rows, O), or bits, uint8 (rows, ceil(O/8))."""

    def __init__(
        self, kernel: Kernel, lanes: int, outputs: int, never: int, weight: NDArray[Any], bias: NDArray[Any] | None, **plan: int
    ) -> None:
        self.kernel = compiled(kernel, CPU)
        self.outputs, self.never = outputs, never
        self.padded = outputs + -outputs % lanes
        self.dtype = np.uint8 if kernel.compare else np.int32
        self.width, self.wanted = (self.padded // 8, -(-outputs // 8)) if kernel.compare else (self.padded, outputs)
        numbers = plan | {"weight": weight.ctypes.data, "groups": self.padded // lanes, "group_bytes": weight[0].nbytes}
        numbers |= {"out_bytes": self.width * np.dtype(self.dtype).itemsize, "bias": 0 if bias is None else bias.ctypes.data}
        self.held = weight, bias, np.array([numbers[name] for name in PLAN], np.int64)
        self.plan = self.held[2].ctypes.data
        self.limits: tuple[Any, int] = (None, 0)

    def __call__(self, x: NDArray[Any], rows: int, limits: NDArray[np.int32] | None) -> NDArray[Any]:
        out = np.empty((rows, self.width), self.dtype)
        if limits is None or self.padded == self.outputs:
            known, at = (
                self.limits
            )  # finding an address takes as long as a tenth of a product: the last one is kept, with its array
            if known is not limits:
                at = address(limits)
                self.limits = (limits, at)
            self.kernel(address(x), rows, self.plan, at, address(out))
        else:
            padded = np.full(self.padded, self.never, np.int32)
            padded[: self.outputs] = limits
            self.kernel(address(x), rows, self.plan, address(padded), address(out))
        return out if self.width == self.wanted else np.ascontiguousarray(out[:, : self.wanted])


class Binary:
    def __init__(self, weight: NDArray[np.uint8], mask: NDArray[np.uint8] | None) -> None:
        self.outputs, self.width = weight.shape
        self.pad = max(0, 8 - self.width)
        words = interleaved(weight)
        if mask is not None:
            words = np.stack([words, interleaved(mask)], axis=2)
        self.words = np.ascontiguousarray(words)
        self.masked = mask is not None
        self._calls: dict[bool, Call] = {}

    def hamming(self, x: NDArray[np.uint8]) -> NDArray[np.int32]:
        return self.call(False)(self.wide(x), len(x), None)

    def compare(self, x: NDArray[np.uint8], limits: NDArray[np.int32]) -> NDArray[np.uint8]:
        return self.call(True)(self.wide(x), len(x), limits)

    def wide(self, x: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.pad(x, ((0, 0), (0, self.pad))) if self.pad else x

    def call(self, compare: bool) -> Call:
        if compare not in self._calls:
            kernel, least = BitKernel(compare, self.masked), np.iinfo(np.int32).min
            self._calls[compare] = Call(kernel, LANES, self.outputs, least, self.words, None, **row_plan(self.width + self.pad, 8))
        return self._calls[compare]


class Byte:
    """Bytes times signs in lanes of four, or the bits of the bytes: with w as a bit, sum(u w) =
    255 * (how many w are +1) - sum over bits p of 2 ** p * hamming(bits p of u, w), over what is not masked.

    Bits take an eighth of the memory, and 1.5 times as long once the weights are in the cache: with VPOPCNTDQ a row of 784 by 2048
    outputs takes 0.008 ms by bits, 0.018 by bytes; 4 rows 0.024 and 0.020 (Zen 5). Without it bytes are never slower.
    """

    def __init__(self, weight: NDArray[np.int8]) -> None:
        self.outputs, self.width = weight.shape
        self.weight, self.masked = weight, bool((weight == 0).any())
        self.level = byte_level(CPU)
        large = "avx512vpopcntdq" in features(CPU)[2] and weight.size >= PLANES_SIZE
        self.planes_rows = PLANES_ROWS if large else 0
        self._calls: dict[tuple[bool, bool], Call] = {}
        self._planes: tuple[Any, ...] | None = None

    def sums(self, u: NDArray[np.uint8]) -> NDArray[np.int32]:
        return self.product(u, None)

    def compare(self, u: NDArray[np.uint8], limits: NDArray[np.int32]) -> NDArray[np.uint8]:
        return self.product(u, limits)

    def product(self, u: NDArray[np.uint8], limits: NDArray[np.int32] | None) -> NDArray[Any]:
        rows, compare = len(u), limits is not None
        if rows <= self.planes_rows or self.level is None:
            return self.call(True, compare)(self.planes(u), rows, limits)
        return self.call(False, compare)(u if self.width >= 4 else np.pad(u, ((0, 0), (0, 4 - self.width))), rows, limits)

    def planes(self, u: NDArray[np.uint8]) -> NDArray[np.uint64]:
        if self._planes is None:
            words, width = -(-self.width // 64), max(64, self.width)
            plan = dict.fromkeys(PLAN, 0) | row_plan(width, 64) | {"out_bytes": 64 * words}
            held = np.array(list(plan.values()), np.int64)
            self._planes = words, width, held, held.ctypes.data, compiled(None, CPU)
        words, width, _, plan_at, kernel = self._planes
        if width > self.width:
            u = np.pad(u, ((0, 0), (0, width - self.width)))
        out = np.empty((len(u), 8, words), np.uint64)
        kernel(address(u), len(u), plan_at, 0, address(out))
        return out

    def call(self, planes: bool, compare: bool) -> Call:
        if (planes, compare) not in self._calls:
            self._calls[planes, compare] = self.call_of_planes(compare) if planes else self.call_of_bytes(compare)
        return self._calls[planes, compare]

    def call_of_planes(self, compare: bool) -> Call:
        packed = np.packbits(self.weight > 0, axis=1, bitorder="little")
        words = interleaved(packed)
        if self.masked:
            words = np.stack([words, interleaved(np.packbits(self.weight != 0, axis=1, bitorder="little"))], axis=2)
        bias = np.zeros(words.shape[0] * LANES, np.int32)
        bias[: self.outputs] = 255 * (self.weight > 0).sum(axis=1, dtype=np.int32)
        kernel = BitKernel(compare, self.masked, planes=True)
        plan = row_plan(8 * words.shape[1], 8)
        plan["chunk"] = max(1, plan["chunk"] // 8)
        return Call(kernel, LANES, self.outputs, np.iinfo(np.int32).max, np.ascontiguousarray(words), self.backwards(bias), **plan)

    def call_of_bytes(self, compare: bool) -> Call:
        assert self.level is not None
        kernel = ByteKernel(compare, self.level)
        lanes, width = kernel.lanes, max(4, self.width)
        padded = np.zeros((self.outputs + -self.outputs % lanes, width + -width % 4), np.int8)
        padded[: self.outputs, : self.width] = self.weight
        lined = self.backwards(padded).reshape(-1, lanes, padded.shape[1] // 4, 4).transpose(0, 2, 1, 3)
        return Call(kernel, lanes, self.outputs, np.iinfo(np.int32).max, np.ascontiguousarray(lined), None, **row_plan(width, 4))

    @staticmethod
    def backwards(array: NDArray[Any]) -> NDArray[Any]:
        """Each 8 rows in the opposite order."""
        return np.ascontiguousarray(array.reshape(-1, 8, *array.shape[1:])[:, ::-1].reshape(array.shape))


def interleaved(packed: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """(O, B) bytes as (groups, words, 8) words, the outputs of each group backwards; what pads is 0."""
    outputs, width = packed.shape
    padded = np.zeros((outputs + -outputs % LANES, width + -width % 8), np.uint8)
    padded[:outputs, :width] = packed
    return padded.view(np.uint64).reshape(-1, LANES, padded.shape[1] // 8)[:, ::-1].transpose(0, 2, 1)


def row_plan(width: int, word: int) -> dict[str, int]:
    """How rows of so many bytes are read in words of so many bytes; width >= word. 64 are taken apart: there a byte is a bit."""
    rest = width % word
    shift = (word - rest) * (1 if word == 64 else 8)
    numbers = {"row_bytes": width, "full_words": width // word, "tail": int(rest > 0), "tail_at": width - word, "tail_shift": shift}
    return numbers | {"chunk": max(16, ROW_CHUNK // width)}


def address(array: NDArray[Any] | None) -> int:
    """Of an array's first byte. By its buffer takes 0.2 us, by `ctypes.data` 0.8, but a buffer must be writable."""
    if array is None:
        return 0
    return ctypes.addressof(ctypes.c_char.from_buffer(array)) if array.flags.writeable else array.ctypes.data  # type: ignore[arg-type]
