"""Work on several networks at once: each by one thread, in as many processes as there are processors."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from typing import Any

import torch

from bnn_train import plugins, startup
from bnn_train.errors import ConfigError

Work = Callable[..., None]  # of the arguments that all share, a number, and `tick`


def each(work: Work, shared: tuple[Any, ...], numbers: Sequence[int], tick: Callable[[float], object]) -> None:
    """Calls work(*shared, number, tick) for every number; `work` is a module's function.

    In this process where there is one number or one processor. What a call raises ends the others and is raised here, as is a stop:
    what they had kept by then stays.
    """
    workers = min(len(numbers), startup.threads())
    if workers < 2:
        before = torch.get_num_threads()
        try:
            for number in numbers:
                work(*shared, number, tick)
        finally:
            torch.set_num_threads(before)
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy torch's threads in whatever state they are
    waiting, told = context.SimpleQueue(), context.SimpleQueue()
    for each_or_end in [*numbers, *[None] * workers]:
        waiting.put(each_or_end)
    started = [context.Process(target=_work, args=(work, shared, waiting, told), daemon=True) for _ in range(workers)]
    try:
        for process in started:
            process.start()
        _listen(started, told, tick)
    finally:
        for process in started:
            if process.pid is not None:
                process.terminate()
                process.join()


def _listen(started: Sequence[Any], told: Any, tick: Callable[[float], object]) -> None:
    """Until every process has ended."""
    alive = {process.sentinel: process for process in started}
    while alive or not told.empty():
        ready = wait([*alive, told._reader])
        while not told.empty():
            share = told.get()
            if isinstance(share, BaseException):
                raise share
            tick(share)
        for sentinel in [each for each in ready if each in alive]:
            ended = alive.pop(sentinel)
            ended.join()
            if (code := ended.exitcode) != 0 and told.empty():
                how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
                remedy = f"a process that measured a network has ended {how}; the same command goes on with what is kept"
                raise ConfigError("", None, remedy)


def _work(work: Work, shared: tuple[Any, ...], waiting: Any, told: Any) -> None:
    """In a process of its own: takes numbers until there are no more. A Ctrl-C is the parent's to hear."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        plugins.handed_on()
        while (number := waiting.get()) is not None:
            work(*shared, number, told.put)
    except Exception as error:
        told.put(error)
