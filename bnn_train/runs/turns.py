"""Whose turn it is with what a process has once: torch's generators and flags, its number of threads.

A training holds them to its end, but between two steps lets another thread do what is short, such as loading a network, if that
leaves everything as it was found.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_change = threading.Condition()
_holder: int | None = None  # a thread
_depth = 0  # how often it holds them, one within the other
_waiting = 0


@contextmanager
def turn() -> Iterator[None]:
    """Within, they are this thread's; one that has them already goes on."""
    global _holder, _depth, _waiting
    me = threading.get_ident()
    with _change:
        _waiting += 1
        try:
            _change.wait_for(lambda: _holder in (None, me))
        finally:
            _waiting -= 1
        _holder, _depth = me, _depth + 1
    try:
        yield
    finally:
        with _change:
            _depth -= 1
            if not _depth:
                _holder = None
                _change.notify_all()


def give_way() -> None:
    """Lets the threads that wait have their turn, where this one has it."""
    global _holder, _depth
    if not _waiting or _holder != threading.get_ident():
        return
    with _change:
        mine, _holder, _depth = (_holder, _depth), None, 0
        _change.notify_all()
        _change.wait_for(lambda: _holder is None and not _waiting)
        _holder, _depth = mine
