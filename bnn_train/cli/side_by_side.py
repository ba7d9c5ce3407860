"""A sweep's jobs in other processes of this machine: a signal to the command reaches them, and it ends when they have saved.

The command makes a folder, whose path the jobs find in their environment. Each job at work has a file there, named after its
process; a file `stop` says that no other is to begin.
"""

import atexit
import ctypes
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from bnn_train.errors import Interrupted
from bnn_train.runs import interrupt

VARIABLE = "BNN_TRAIN_SWEEP"  # in the environment of the jobs: the command's process, and the folder
_PR_SET_PDEATHSIG = 1  # of Linux' prctl: the signal that a process gets when the one that started it dies


def forward_signals() -> None:
    """In the command: a signal that asks for the end stops the jobs, waits until all have saved, and raises Interrupted."""
    folder = Path(tempfile.mkdtemp(prefix="bnn-train-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ[VARIABLE] = f"{os.getpid()}:{folder}"
    before = {number: signal.getsignal(number) for number in interrupt.heeded()}

    def stop(number: int, frame: FrameType | None) -> None:
        for each, handler in before.items():
            signal.signal(each, handler)  # a second signal acts at once
        (folder / "stop").touch()
        for process in _at_work(folder):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)
        while _at_work(folder):
            time.sleep(0.1)
        raise Interrupted(number)

    for number in before:
        signal.signal(number, stop)


def is_the_command() -> bool:
    """Whether this process is the one that was typed, and not one of its jobs elsewhere."""
    return os.environ.get(VARIABLE, "").partition(":")[0] == str(os.getpid())


@contextmanager
def at_work() -> Iterator[None]:
    """Around a job. In another process than the command's, it ends with Interrupted when the command is told to, or has died."""
    command, _, path = os.environ.get(VARIABLE, "").partition(":")
    folder = Path(path)
    elsewhere = not command or int(command) == os.getpid() or not folder.is_dir()  # a cluster's jobs are told by the cluster
    if elsewhere or threading.current_thread() is not threading.main_thread():
        yield
        return
    started_by_it = os.getppid() == int(command)
    before = {number: signal.getsignal(number) for number in interrupt.heeded()}
    for number in before:
        signal.signal(number, signal.SIG_IGN)  # Ctrl-C in a terminal comes here too, but the command says what it means
    signal.signal(signal.SIGTERM, _end)
    if started_by_it and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
    file = folder / str(os.getpid())
    file.touch()
    try:
        if (folder / "stop").exists():
            raise Interrupted(signal.SIGTERM)
        yield
    except Interrupted as stop:
        if started_by_it and os.getppid() != int(command):
            os._exit(stop.exit_code)  # nobody is left to hand a result to
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        file.unlink(missing_ok=True)


def _end(number: int, frame: FrameType | None) -> None:
    raise Interrupted(number)


def _at_work(folder: Path) -> list[int]:
    """The processes of the jobs at work."""
    return [process for process in (int(file.name) for file in folder.glob("[0-9]*")) if _is_alive(process)]


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
