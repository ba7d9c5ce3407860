"""From the optimizer's configuration to a torch optimizer over a model's parameters."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from bnn_train.binary.layers import binary_layers
from bnn_train.config.checks import check_choice
from bnn_train.config.optimizer import AdamConfig, BayesBinnOptimizerConfig, BopConfig, OptimizerConfig, SgdConfig
from bnn_train.optim import without_compiler
from bnn_train.optim.bayesbinn import BayesBiNN
from bnn_train.optim.bop import Bop
from bnn_train.optim.together import Together

Group = dict[str, Any]  # one of torch's parameter groups: "params" and what differs from the others


def adam(groups: list[Group], config: AdamConfig, kind: Callable[..., Optimizer] = torch.optim.Adam) -> Optimizer:
    betas = (config.betas[0], config.betas[1])
    return _still(without_compiler.plain(kind)(groups, config.lr, betas, config.eps, fused=_fused(groups)))


def sgd(groups: list[Group], config: SgdConfig) -> Optimizer:
    kind = without_compiler.plain(torch.optim.SGD)
    return _still(kind(groups, config.lr, config.momentum, nesterov=config.nesterov, fused=_fused(groups)))


def bop(weights: list[nn.Parameter], config: BopConfig, train_size: int) -> Optimizer:
    scheduled = {name: getattr(config, name) for name in config.scheduled}
    return Bop([{"params": weights, "scheduled": scheduled}], config.threshold, config.gamma)


def bayesbinn(weights: list[nn.Parameter], config: BayesBinnOptimizerConfig, train_size: int) -> Optimizer:
    return BayesBiNN(weights, train_size, config.natural_lr)


REGISTRY: dict[str, Callable[..., Optimizer]] = {"adam": adam, "adamw": functools.partial(adam, kind=torch.optim.AdamW), "sgd": sgd}
BINARY: dict[str, Callable[..., Optimizer]] = {"bop": bop, "bayesbinn": bayesbinn}  # for binary layers' weights; Adam does the rest


def build(config: OptimizerConfig, model: nn.Module, train_size: int) -> Optimizer:
    """The optimizer over all parameters of `model`, which learns from `train_size` images.

    Weight decay spares BatchNorm, biases and scaling factors unless `decay_norm_and_bias`. Each parameter group's "scheduled" holds
    the values that the schedule multiplies, as they are at its peak.
    """
    check_choice("optimizer.name", config.name, [*REGISTRY, *BINARY])
    without_compiler.leave_out()
    apart = [layer.weight for layer in binary_layers(model)] if config.name in BINARY else []
    rest = [parameter for parameter in model.parameters() if all(parameter is not weight for weight in apart)]
    # BatchNorm's weight, every bias and scaling factor are vectors; weights of layers have two dimensions or more.
    decayed = [parameter for parameter in rest if parameter.ndim > 1 or config.decay_norm_and_bias]
    spared = [parameter for parameter in rest if not (parameter.ndim > 1 or config.decay_norm_and_bias)]
    groups: list[Group] = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": spared, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    if config.name in REGISTRY:
        optimizer = REGISTRY[config.name](groups, config)
    else:
        others = adam(groups, AdamConfig(lr=config.lr))
        optimizer = Together(BINARY[config.name](apart, config, train_size), others) if apart else others
    for group in optimizer.param_groups:
        group.setdefault("scheduled", {"lr": group["lr"]} if "lr" in group else {})
    return optimizer


def moves_without_gradient(optimizer: Optimizer) -> bool:
    """Whether a step can move a weight whose gradient has always been 0: by weight decay, or by a prior of the optimizer's own.

    An attribute of this name says whether it has one; what says nothing is taken to have.
    """
    decays = any(group.get("weight_decay", 0.0) for group in optimizer.param_groups)
    return decays or getattr(optimizer, "moves_without_gradient", True)


@torch.no_grad()
def match_layout(optimizer: Optimizer) -> None:
    """Gives loaded state the memory layout of its parameters: fused steps go through both without looking at it."""
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                state[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _still(optimizer: Optimizer) -> Optimizer:
    """Marks one that leaves a weight alone, bit for bit, whose gradient has always been 0, but for weight decay."""
    optimizer.moves_without_gradient = False  # type: ignore[attr-defined]
    return optimizer


def _fused(groups: list[Group]) -> bool:
    """One kernel for the whole step, on the devices that have it in every supported torch."""
    return all(parameter.device.type in ("cpu", "cuda") for group in groups for parameter in group["params"])
