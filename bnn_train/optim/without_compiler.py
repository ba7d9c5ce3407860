"""Optimizers of torch without torch's compiler, whose import takes as long as that of all the rest of torch.

torch imports it at the first call of some methods of its optimizers, only to hide them from it, also where nothing is compiled.
Both ways around are undone by any torch that has nothing of the kind: then nothing changes.
"""

import functools
import inspect
from typing import Any

import torch
from torch.optim import Optimizer


def leave_out() -> None:
    """Marks the methods of every optimizer as hidden from the compiler already."""
    for method in vars(Optimizer).values():
        hidden = getattr(method, "__wrapped__", None)
        if inspect.isfunction(hidden):
            setattr(hidden, "__dynamo_disable", hidden)


@functools.cache
def plain(kind: type[Optimizer]) -> Any:
    """`kind` with its own step, without what torch wraps around it, and without gradients through the step."""
    return type(kind.__name__, (kind,), {"step": torch.no_grad()(inspect.unwrap(kind.step))})
