"""Signals that ask for the end, turned into an exception between two training steps, so that what is saved is consistent."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from bnn_train.errors import Interrupted

# Ctrl-C, the system's request, and a terminal that goes away; SIGBREAK is Windows' for the last two.
NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")


def heeded() -> list[int]:
    """The numbers of these signals that there are here and that the caller, such as nohup, did not have ignored."""
    there = [int(getattr(signal, name)) for name in NAMES if hasattr(signal, name)]
    return [number for number in there if signal.getsignal(number) not in (signal.SIG_IGN, None)]


@contextmanager
def deferred(agree: Callable[[bool], bool] | None = None) -> Iterator[Callable[[], None]]:
    """Within this context these signals wait; the yielded function raises Interrupted once one has come.

    A second signal acts at once, as before. Outside the main thread, where Python allows no handlers, nothing changes.

    agree: of one of several processes: whether a signal has come to any of them. They then end at the same step, and more signals
    change nothing: a terminal's Ctrl-C reaches each of them, and torchrun sends another one behind it. Where one ends by an error
    torchrun tells the others to end, which go on ignoring it until they have said why.
    """
    received: list[int] = []

    def check() -> None:
        if received if agree is None else agree(bool(received)):
            raise Interrupted(received[0] if received else int(signal.SIGTERM))

    if threading.current_thread() is not threading.main_thread():
        yield check
        return
    before = {number: signal.getsignal(number) for number in heeded()}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if agree is None:
            restore()

    for number in before:
        signal.signal(number, note)
    try:
        yield check
    except BaseException:
        if agree is None:
            restore()
        else:  # at once: torchrun's own signal may come between two of these lines
            for number in before:
                signal.signal(number, signal.SIG_IGN)
        raise
    restore()
