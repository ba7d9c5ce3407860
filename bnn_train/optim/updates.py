"""One parameter's step by the kernel of its optimizer (kernels/steps.py).

State and groups are those of torch's optimizers, so that either step goes on where the other one ended.
"""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from bnn_train.kernels import steps
from bnn_train.optim import without_compiler
from bnn_train.optim.bop import Bop

Group = Mapping[str, Any]
State = dict[str, Any]
Update = Callable[[Tensor, steps.Weight, State, Group], list[Tensor]]


def _adam(parameter: Tensor, weight: steps.Weight, state: State, group: Group, decoupled: bool = False) -> list[Tensor]:
    """A step of one parameter, whose arrays are `weight`. Returns the tensors of `state` that it writes to; so do the others."""
    if not state:
        state["step"] = torch.zeros(())
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
    (beta1, beta2), decay, lr = group["betas"], group["weight_decay"], group["lr"]
    state["step"] += 1
    t = state["step"].item()
    mean, square = state["exp_avg"], state["exp_avg_sq"]
    _check_layout(parameter, mean, square)
    root, size = 1 / math.sqrt(1 - beta2**t), lr / (1 - beta1**t)
    l2, shrink = (0.0, lr * decay) if decoupled else (decay, 0.0)
    numbers = (1 - beta1, beta2, 1 - beta2, root, size, group["eps"], shrink)
    steps.adam(weight._replace(l2=l2), mean.data_ptr(), square.data_ptr(), *numbers)
    return [mean, square]


def _sgd(parameter: Tensor, weight: steps.Weight, state: State, group: Group) -> list[Tensor]:
    momentum = group["momentum"]
    if momentum and state.get("momentum_buffer") is None:
        state["momentum_buffer"] = torch.zeros_like(parameter)
    step = state["momentum_buffer"] if momentum else None
    _check_layout(parameter, *([] if step is None else [step]))
    at = None if step is None else step.data_ptr()
    steps.sgd(weight._replace(l2=group["weight_decay"]), at, momentum, bool(group["nesterov"]), group["lr"])
    return [] if step is None else [step]


def _bop(parameter: Tensor, weight: steps.Weight, state: State, group: Group) -> list[Tensor]:
    if not state:
        state["mean"] = torch.zeros_like(parameter)
    _check_layout(parameter, state["mean"])
    steps.bop(weight, state["mean"].data_ptr(), group["gamma"], group["threshold"])
    return [state["mean"]]


def layout(tensor: Tensor) -> torch.memory_format | None:
    """None of a tensor with gaps, or whose dimensions lie in memory in another order than these."""
    if tensor.is_contiguous():
        return torch.contiguous_format
    return torch.channels_last if tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last) else None


def _check_layout(parameter: Tensor, *state: Tensor) -> None:
    """Loaded state lies as the parameter does after optimizers.match_layout; kernels go over both in the order of the memory."""
    assert all(layout(each) == layout(parameter) for each in state)


@functools.cache
def updates() -> dict[type[Optimizer], Update]:
    """By the very classes that optimizers.py makes: a subclass may step otherwise."""
    plain = without_compiler.plain
    return {
        plain(torch.optim.Adam): _adam,
        plain(torch.optim.AdamW): functools.partial(_adam, decoupled=True),
        plain(torch.optim.SGD): _sgd,
        Bop: _bop,
    }
