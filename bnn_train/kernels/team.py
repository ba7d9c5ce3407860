"""Calls of a kernel side by side, by the threads that torch computes with.

torch's threads belong to its OpenMP, and for a moment after each of torch's own loops they still spin, waiting for the next.
Threads of our own would have to share the processors with them: after a product of torch's, a pass over a million elements by two
threads took 0.09 ms more than the product alone, by torch's 0.03 (a Zen 5). So calls are handed to OpenMP itself, by the entry
that compilers use for a parallel loop; where there is none, to threads of our own.
"""

import ctypes
import functools
import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from bnn_train.kernels import compiler
from bnn_train.kernels.ir import Text


def run(function: Callable[..., None], calls: Sequence[tuple[int, ...]]) -> None:
    """function(*call) for each call, numbers and addresses, at the same time. Gives control back when all have ended."""
    if len(calls) == 1:
        function(*calls[0])
        return
    takes = len(calls[0])
    entry = _entry(takes)
    if entry is None:
        list(_pool(os.getpid()).map(lambda call: function(*call), calls))
        return
    parallel, each = entry
    address = compiler.address_of(function)
    data = np.array([len(calls), address, *(number for call in calls for number in call)], np.int64)
    parallel(each, data.ctypes.data, len(calls), 0)


def split(count: int, parts: int) -> list[tuple[int, int]]:
    """The first and the one behind the last of each part of `count`, which differ by 1 at most in size."""
    limits = [count * part // parts for part in range(parts + 1)]
    return list(itertools.pairwise(limits))


@functools.cache
def _entry(takes: int) -> tuple[Any, int] | None:
    """OpenMP's entry of a parallel loop, and the address of what each of its threads runs; None where there is no such entry."""
    try:
        library = ctypes.CDLL(None)
        parallel, number, size = library.GOMP_parallel, library.omp_get_thread_num, library.omp_get_num_threads
    except (AttributeError, OSError, TypeError):  # no OpenMP with GNU's entries; Windows
        return None
    parallel.argtypes, parallel.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint], None
    addresses = [ctypes.cast(function, ctypes.c_void_p).value or 0 for function in (number, size)]
    return parallel, compiler.address_of(compiler.compiled(EachThread(takes, *addresses), compiler.CPU))


@functools.cache
def _pool(process: int) -> ThreadPoolExecutor:
    """process: its number; a forked one has the pool without its threads."""
    return ThreadPoolExecutor()


class EachThread:
    """What each thread of a team runs, as a kernel of (data): its own number's call, then every so-manieth as there are threads.

    data: int64: how many calls, the function's address, then what each call passes.
    """

    takes = 1
    is_kept = False  # its code holds addresses of this process

    def __init__(self, passes: int, thread: int, threads: int) -> None:
        self.passes, self.thread, self.threads = passes, thread, threads

    def module(self) -> str:
        text = Text()
        calls, address = (text(f"load i64, ptr {text.at('%data', 8 * i)}") for i in range(2))
        thread, threads = (
            text(f"zext i32 {text(f'call i32 inttoptr (i64 {of} to ptr)()')} to i64") for of in (self.thread, self.threads)
        )
        function = text(f"inttoptr i64 {address} to ptr")
        # The loop goes on while its index + 1 <= calls: an index steps by threads, so it is counted from the thread's number.
        turns = text(f"sub i64 {text(f'add i64 {calls}, {threads}')}, {text(f'add i64 {thread}, 1')}")
        with text.loop("0", text(f"udiv i64 {turns}, {threads}"), 1, []) as (turn, _):
            call = text(f"add i64 {text.times(turn, threads)}, {thread}")
            first = text(f"add i64 {text.times(call, self.passes)}, 2")
            passed = [text(f"load i64, ptr {text.at(text.at('%data', text.times(first, 8)), 8 * i)}") for i in range(self.passes)]
            text.do(f"call void {function}({', '.join(f'i64 {one}' for one in passed)})")
        return "define void @kernel(ptr %data) {\nentry:\n" + "\n".join(text.lines) + "\n  ret void\n}\n"
