"""Kernels as functions of this process: LLVM's intermediate code compiled for the processor at hand, through llvmlite, and called.

Loading LLVM takes 40 ms, compiling a kernel 5 to 35 ms, loading one that an earlier process has compiled 1 to 4 ms.
"""

import ctypes
import functools
import threading
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bnn_train.kernels import kept
from bnn_train.kernels.ir import PLAN, Kernel, module
from bnn_train.kernels.ir_bytes import planes_module

ROW_CHUNK = 32_768  # bytes of rows that stay in the first-level cache
CPU: str | None = None  # LLVM's name of another processor to compile for: for tests and measurements
_lock = threading.Lock()
_kept: list[Any] = []  # a compiler frees its code when it goes


def features(cpu: str | None) -> tuple[str, str, set[str]]:
    """LLVM's name of the processor, its features as LLVM wants them, and as a set."""
    import llvmlite.binding as llvm

    if cpu is not None:
        levels = {"x86-64-v3": {"avx2"}, "x86-64-v4": {"avx2", "avx512bw"}, "alderlake": {"avx2", "avxvnni"}}
        return cpu, "", levels.get(cpu, set())
    found = llvm.get_host_cpu_features()
    return llvm.get_host_cpu_name(), found.flatten(), {name for name, there in found.items() if there}


class Whole(Protocol):
    """A kernel that writes out the whole of its module, of a function of so many numbers and addresses."""

    @property
    def takes(self) -> int: ...
    def module(self) -> str: ...


def compiled(kernel: Kernel | Whole | None, cpu: str | None) -> Callable[..., None]:
    """The function of a kernel; of the taking apart of bytes for None."""
    with _lock:
        return _compiled(kernel, cpu)  # type: ignore[arg-type]


@functools.cache
def _compiled(kernel: Kernel | Whole | None, cpu: str | None) -> Callable[..., None]:
    import llvmlite.binding as llvm
    from llvmlite import __version__ as llvm_version

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    name, asked, _ = features(cpu)
    machine = llvm.Target.from_default_triple().create_target_machine(cpu=name, features=asked, opt=3)
    takes = getattr(kernel, "takes", 5)
    makes_own = hasattr(kernel, "module")
    code = planes_module() if kernel is None else kernel.module() if makes_own else module(kernel)  # type: ignore[union-attr, arg-type]
    parsed = llvm.parse_assembly(code)
    parsed.verify()
    compiler = llvm.create_mcjit_compiler(parsed, machine)
    if getattr(kernel, "is_kept", True):
        key = kept.name(llvm_version, name, asked, code)
        compiler.set_object_cache(lambda module, made: kept.save(key, made), lambda module: kept.load(key))
    compiler.finalize_object()
    _kept.append(compiler)
    # c_void_p for the number of rows too: it is converted twice as fast as c_int64.
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * takes)(compiler.get_function_address("kernel"))


def address_of(function: Callable[..., None]) -> int:
    """Where the code of what `compiled` gave begins."""
    return ctypes.cast(function, ctypes.c_void_p).value or 0  # type: ignore[arg-type]


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
            # Finding an address takes as long as a tenth of a product: the last one is kept, with its array.
            known, at = self.limits
            if known is not limits:
                at = address(limits)
                self.limits = (limits, at)
            self.kernel(address(x), rows, self.plan, at, address(out))
        else:
            padded = np.full(self.padded, self.never, np.int32)
            padded[: self.outputs] = limits
            self.kernel(address(x), rows, self.plan, address(padded), address(out))
        return out if self.width == self.wanted else np.ascontiguousarray(out[:, : self.wanted])


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
