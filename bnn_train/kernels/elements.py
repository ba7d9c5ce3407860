"""What goes once over a tensor's elements in training, each in one pass: signs, their bits, a window; steps.py has more.

Arrays are given by address (torch's data_ptr), contiguous, and must outlive the call; threads: at most so many. Where LLVM cannot
be had (`available`), torch's own operations do the same.
"""

import functools

import numpy as np

from bnn_train.kernels import by_llvm, compiler, team
from bnn_train.kernels.ir_elements import Element, ElementKernel, Value

COLUMNS = 8192  # elements at a time: what they need stays in a core's cache
WORTH_A_THREAD = 1 << 15  # elements: some microseconds, as handing them over takes


@functools.cache
def available() -> bool:
    return by_llvm.available()


def signs(x: Value) -> Value:
    """int8: +1 where x >= 0 and where x is not a number, else -1."""
    return x.is_("olt", 0.0).choose(*(x.constant(one, "i8") for one in (-1, 1)))


def _sign(e: Element) -> None:
    e.store("signs", signs(e.load("x")))


def _pack(e: Element) -> None:
    """A bit for each sign, 1 where it is +1."""
    e.store_bits("bits", e.load("signs", "i8").is_("sgt", 0))


def _within(e: Element) -> None:
    """g where |x| <= window or x is not a number, else 0."""
    g = e.load("g")
    e.store("out", e.load("x").of("fabs").is_("ogt", e["window"]).choose(g.constant(0.0), g))


SIGN = ElementKernel(_sign, ("x", "signs"))
PACK = ElementKernel(_pack, ("signs", "bits"), lanes=(64, 8))
WITHIN = ElementKernel(_within, ("g", "x", "out"), ("window",))
ITEM = {"signs": 1, "marks": 1, "bits": 0.125}  # bytes of an element; of all other arrays 4


def run(
    kernel: ElementKernel,
    total: int,
    addresses: tuple[int, ...],
    constants: tuple[float, ...] = (),
    threads: int = 1,
    columns: int = COLUMNS,
    strides: dict[str, int] | None = None,
) -> None:
    """The kernel over `total` elements, in rows of `columns`. strides: bytes from row to row of the arrays that have gaps."""
    plan = [total, columns]
    for name, address in zip(kernel.arrays, addresses, strict=True):
        plan += [address, strides[name] if strides and name in strides else int(columns * ITEM.get(name, 4))]
    plan += np.array(constants, np.float32).view(np.int32).tolist()
    held = np.array(plan, np.int64)
    rows = -(-total // columns)
    parts = max(1, min(threads, rows, total // WORTH_A_THREAD))
    calls = [(held.ctypes.data, first, last) for first, last in team.split(rows, parts)]
    team.run(compiler.compiled(kernel, compiler.CPU), calls)
