"""Ctrl-C and SIGTERM, turned into an exception between two training steps, so that what is saved is consistent."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from bnn_train.errors import Interrupted


@contextmanager
def deferred() -> Iterator[Callable[[], None]]:
    """Within this context SIGINT and SIGTERM wait; the yielded function raises Interrupted once one has come.

    A second signal acts at once, as before. Outside the main thread, where Python allows no handlers, nothing changes.
    """
    received: list[int] = []

    def check() -> None:
        if received:
            raise Interrupted(received[0])

    if threading.current_thread() is not threading.main_thread():
        yield check
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        restore()

    for number in before:
        signal.signal(number, note)
    try:
        yield check
    finally:
        restore()
