"""From the optimizer's configuration to a torch optimizer over a model's parameters."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from bnn_train.binary.layers import binary_layers
from bnn_train.checks import check_choice, check_takes, options
from bnn_train.config import OptimizerConfig
from bnn_train.optim.bayesbinn import BayesBiNN
from bnn_train.optim.bop import Bop

Group = dict[str, Any]  # one of torch's parameter groups: "params" and what differs from the others


class Together:
    """Several optimizers, each with parameters of its own, used like one."""

    def __init__(self, *parts: Optimizer) -> None:
        self.parts = parts

    @property
    def param_groups(self) -> list[Group]:
        return [group for part in self.parts for group in part.param_groups]

    def zero_grad(self) -> None:
        for part in self.parts:
            part.zero_grad()

    def step(self) -> None:
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for part, own in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(own)


def adam(groups: list[Group], lr: float, *, betas: list[float], eps: float) -> Optimizer:
    return torch.optim.Adam(groups, lr, (betas[0], betas[1]), eps, fused=_fused(groups))


def adamw(groups: list[Group], lr: float, *, betas: list[float], eps: float) -> Optimizer:
    return torch.optim.AdamW(groups, lr, (betas[0], betas[1]), eps, fused=_fused(groups))


def sgd(groups: list[Group], lr: float, *, momentum: float, nesterov: bool) -> Optimizer:
    return torch.optim.SGD(groups, lr, momentum, nesterov=nesterov, fused=_fused(groups))


def bop(weights: list[nn.Parameter], train_size: int, *, threshold: float, gamma: float, scheduled: list[str]) -> Optimizer:
    start = {"threshold": threshold, "gamma": gamma}
    return Bop([{"params": weights, "scheduled": {key: start[key] for key in scheduled}}], threshold, gamma)


def bayesbinn(weights: list[nn.Parameter], train_size: int, *, natural_lr: float) -> Optimizer:
    return BayesBiNN(weights, train_size, natural_lr)


REGISTRY: dict[str, Callable[..., Optimizer]] = {"adam": adam, "adamw": adamw, "sgd": sgd}
BINARY: dict[str, Callable[..., Optimizer]] = {"bop": bop, "bayesbinn": bayesbinn}  # for binary layers' weights; Adam does the rest


def build(config: OptimizerConfig, model: nn.Module, train_size: int) -> Optimizer | Together:
    """The optimizer over all parameters of `model`, which learns from `train_size` images.

    Weight decay spares BatchNorm and biases unless `decay_norm_and_bias`. Each parameter group's "scheduled" holds the values that
    the schedule multiplies, as they are at its peak.
    """
    check_choice("optimizer.name", config.name, [*REGISTRY, *BINARY])
    builder, given = {**REGISTRY, **BINARY}[config.name], options(config, "lr", "weight_decay", "decay_norm_and_bias")
    check_takes("optimizer", config.name, given, builder)
    apart = [layer.weight for layer in binary_layers(model)] if config.name in BINARY else []
    rest = [parameter for parameter in model.parameters() if all(parameter is not weight for weight in apart)]
    # BatchNorm's weight and every bias are vectors; weights of layers have two dimensions or more.
    decayed = [parameter for parameter in rest if parameter.ndim > 1 or config.decay_norm_and_bias]
    spared = [parameter for parameter in rest if not (parameter.ndim > 1 or config.decay_norm_and_bias)]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": spared, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    optimizer: Optimizer | Together
    if apart:
        optimizer = Together(builder(apart, train_size, **given), adam(groups, config.lr, betas=[0.9, 0.999], eps=1e-8))
    else:
        optimizer = builder(groups, config.lr, **given)
    for group in optimizer.param_groups:
        group.setdefault("scheduled", {"lr": group["lr"]} if "lr" in group else {})
    return optimizer


@torch.no_grad()
def match_layout(optimizer: Optimizer | Together) -> None:
    """Gives loaded state the memory layout of its parameters: fused steps go through both without looking at it."""
    for part in optimizer.parts if isinstance(optimizer, Together) else [optimizer]:
        for parameter, state in part.state.items():
            for key, value in state.items():
                if isinstance(value, torch.Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                    state[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _fused(groups: list[Group]) -> bool:
    """One kernel for the whole step, on the devices that have it in every supported torch."""
    return all(parameter.device.type in ("cpu", "cuda") for group in groups for parameter in group["params"])
