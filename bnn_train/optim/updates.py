"""One parameter's step by the kernel of its optimizer (kernels/steps.py), and how kernels come to be ready.

State and groups are those of torch's optimizers, so that either step goes on where the other one ended.
"""

import functools
import importlib
import logging
import math
import threading
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from bnn_train.config.root import Config
from bnn_train.optim import without_compiler
from bnn_train.optim.bop import Bop

log = logging.getLogger(__name__)

Group = Mapping[str, Any]
State = dict[str, Any]

_loading = threading.Lock()


def load_beside(config: Config) -> None:
    """Loads the kernels in a thread, while this one does something else."""

    threads = torch.get_num_threads()  # of this thread

    def quietly() -> None:
        try:
            load(config, threads)
        except Exception as error:  # who needs the kernels calls `load` and is told
            log.debug("kernels: %s", error)

    threading.Thread(target=quietly, name="kernels").start()


def load(config: Config, threads: int | None = None) -> ModuleType:
    """The kernels, compiled for the optimizer of the configuration. Waits for a thread that is at it.

    threads: with how many torch goes on to compute, by default as many as now. As it starts Numba tells OpenMP, which torch shares,
    to use every processor, whatever OMP_NUM_THREADS says.

    Raises ImportError where Numba cannot be imported: it refuses a NumPy that is newer than itself.
    """
    threads = torch.get_num_threads() if threads is None else threads
    with _loading:
        import numba

        before = numba.config.THREADING_LAYER_PRIORITY
        numba.config.THREADING_LAYER_PRIORITY = ["omp", "workqueue", "tbb"]  # torch's own threads, where they are OpenMP's
        try:
            from bnn_train.kernels import jit, steps

            try:
                _try_out(steps, config)
            except Exception as error:  # a kept kernel is damaged, or the disk is full
                log.debug("kernels: %s", error)
                jit.forget()
                _try_out(importlib.reload(steps), config)
        finally:
            numba.config.THREADING_LAYER_PRIORITY = before
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)
    return steps


class Given(NamedTuple):
    """What every kernel takes."""

    array: Callable[[str, Tensor], Any]
    parameter: Tensor
    gradient: Tensor
    signs: Any
    marks: Any
    bound: float

    def first(self) -> tuple[Any, Any]:
        return self.array("p", self.parameter), self.array("g", self.gradient)


def _adam(kernels: ModuleType, given: Given, state: State, group: Group, decoupled: bool = False) -> list[Tensor]:
    """A step of one parameter. Returns the tensors of `state` that it has written to; so do the others."""
    if not state:
        state["step"] = torch.zeros(())
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(given.parameter), torch.zeros_like(given.parameter)
    (beta1, beta2), decay, lr = group["betas"], group["weight_decay"], group["lr"]
    state["step"] += 1
    t = state["step"].item()
    mean, square = state["exp_avg"], state["exp_avg_sq"]
    arrays = (*given.first(), given.array("mean", mean), given.array("square", square), given.signs, given.marks)
    root, size = 1 / math.sqrt(1 - beta2**t), lr / (1 - beta1**t)
    l2, shrink = (0.0, lr * decay) if decoupled else (decay, 0.0)
    numbers = (1 - beta1, beta2, 1 - beta2, root, size, group["eps"], l2, shrink, given.bound)
    kernels.adam(*arrays, *map(np.float32, numbers))
    return [mean, square]


def _sgd(kernels: ModuleType, given: Given, state: State, group: Group) -> list[Tensor]:
    momentum = group["momentum"]
    if momentum and state.get("momentum_buffer") is None:
        state["momentum_buffer"] = torch.zeros_like(given.parameter)
    step = state["momentum_buffer"] if momentum else None
    arrays = (*given.first(), None if step is None else given.array("step", step), given.signs, given.marks)
    numbers = (group["lr"], group["weight_decay"], given.bound)
    kernels.sgd(*arrays, np.float32(momentum), bool(group["nesterov"]), *map(np.float32, numbers))
    return [] if step is None else [step]


def _bop(kernels: ModuleType, given: Given, state: State, group: Group) -> list[Tensor]:
    if not state:
        state["mean"] = torch.zeros_like(given.parameter)
    arrays = (*given.first(), given.array("mean", state["mean"]), given.signs, given.marks)
    kernels.bop(*arrays, np.float32(group["gamma"]), np.float32(group["threshold"]))
    return [state["mean"]]


@functools.cache
def updates() -> dict[type[Optimizer], Callable[..., list[Tensor]]]:
    """By the very classes that optimizers.py makes: a subclass may step otherwise."""
    plain = without_compiler.plain
    return {
        plain(torch.optim.Adam): _adam,
        plain(torch.optim.AdamW): functools.partial(_adam, decoupled=True),
        plain(torch.optim.SGD): _sgd,
        Bop: _bop,
    }


def _try_out(kernels: ModuleType, config: Config) -> None:
    """Compiles the kernel that the configuration needs, or loads a kept one, by a step of one weight."""
    weight, kind = torch.zeros(1), config.optimizer
    update = {"sgd": _sgd, "bop": _bop}.get(kind.name, _adam)
    group = {"lr": 0.0, "betas": (0.0, 0.0), "eps": 1.0, "weight_decay": 0.0, "nesterov": False, "gamma": 1.0, "threshold": 0.0}
    for marked in (False, True) if config.edges.rules else (False,):
        marks = np.ones(1, np.uint8) if marked else None
        given = Given(lambda name, tensor: tensor.numpy().ravel(), weight, weight, np.zeros(0, np.int8), marks, math.inf)
        update(kernels, given, {}, {**group, "momentum": getattr(kind, "momentum", 0.0)})
