"""Why several processes have ended, found out by those that are left, and which of them says so: one line for all.

A process that ends for a reason leaves it in torch.distributed's store before its connections close; one that only follows
another leaves an empty word. So who has left none was killed. The store is torchrun's, and outlives each process; where there is
no torchrun it ends with process 0, which is then known to be the one.
"""

import time
from contextlib import suppress
from typing import NamedTuple

import torch.distributed as dist

from bnn_train import ranks

WAIT = 10.0  # seconds for words of others that are within a long step; torchrun kills what is left after 30
_KILLED = "was killed, as by a system out of memory, or its machine has failed"

_store: list[dist.Store] = []


class Why(NamedTuple):
    said: str
    teller: int  # the rank that says so


def keep(store: dist.Store) -> None:
    """Where words will be left."""
    _store[:] = [dist.PrefixStore("ended", store)]


def leave(word: str) -> None:
    """Tells the others why this one ends, before they lose it; "": because it has lost another. Alone it does nothing."""
    with suppress(RuntimeError):  # the store has ended
        if _store and ranks.count() > 1:
            _store[0].set(str(ranks.rank()), word)


def why() -> Why:
    """Of one that has lost another: what has ended them all. Rank 0 says so where it lives."""
    leave("")
    words, until = _words(), time.monotonic() + WAIT
    while words is not None and not any(words.values()) and len(words) < ranks.count() - 1 and time.monotonic() < until:
        time.sleep(0.05)
        words = _words()
    if words is None:
        return Why(f"process 0 of {ranks.count()} {_KILLED}", 1)
    if reasons := [word for word in words.values() if word]:
        return Why(reasons[0], 0)
    silent = [number for number in range(ranks.count()) if number not in words]
    named = ", ".join(str(number) for number in silent)
    return Why(f"process{'es' if len(silent) > 1 else ''} {named} of {ranks.count()} (from 0) {_KILLED}", min(words))


def _words() -> dict[int, str] | None:
    """What each rank has left so far; None where the store has ended."""
    try:
        return {number: _store[0].get(str(number)).decode() for number in range(ranks.count()) if _store[0].check([str(number)])}
    except RuntimeError:
        return None
