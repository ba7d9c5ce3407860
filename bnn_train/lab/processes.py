"""Work on several networks at once: each by one thread, in as many processes as there are processors."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
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
    waiting = context.SimpleQueue()
    for each_or_end in [*numbers, *[None] * workers]:
        waiting.put(each_or_end)
    started: dict[Connection, BaseProcess] = {}  # by where they tell what they have done
    try:
        for _ in range(workers):
            hears, tells = context.Pipe(duplex=False)
            started[hears] = context.Process(target=_work, args=(work, shared, waiting, tells), daemon=True)
            started[hears].start()
            tells.close()  # the process has its own: with it the pipe ends
        _listen(started, tick)
    finally:
        for process in started.values():
            if process.pid is not None:
                process.terminate()
                process.join()


def _listen(started: Mapping[Connection, BaseProcess], tick: Callable[[float], object]) -> None:
    """Until every process has ended."""
    alive = dict(started)
    while alive:
        for hears in wait(list(alive)):
            assert isinstance(hears, Connection)
            try:
                share = hears.recv()
            except EOFError:
                _check_end(alive.pop(hears))
                continue
            if isinstance(share, BaseException):
                raise share
            tick(share)


def _check_end(process: BaseProcess) -> None:
    process.join()
    if code := process.exitcode:
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        raise ConfigError(
            "", None, f"a process that measured a network has ended {how}; the same command goes on with what is kept"
        )


def _work(work: Work, shared: tuple[Any, ...], waiting: Any, tells: Connection) -> None:
    """In a process of its own: takes numbers until there are no more. A Ctrl-C is the parent's to hear."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    startup.end_with_parent()
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        plugins.handed_on()
        while (number := waiting.get()) is not None:
            work(*shared, number, tells.send)
    except Exception as error:
        tells.send(error)
