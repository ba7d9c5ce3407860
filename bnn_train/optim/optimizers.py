"""From the optimizer's configuration to a torch optimizer over a model's parameters."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from bnn_train.config import OptimizerConfig, check_choice, check_takes, options

Groups = list[dict[str, Any]]  # torch's parameter groups, each with its weight decay


def adam(groups: Groups, lr: float, fused: bool, *, betas: list[float], eps: float) -> Optimizer:
    return torch.optim.Adam(groups, lr, (betas[0], betas[1]), eps, fused=fused)


def adamw(groups: Groups, lr: float, fused: bool, *, betas: list[float], eps: float) -> Optimizer:
    return torch.optim.AdamW(groups, lr, (betas[0], betas[1]), eps, fused=fused)


def sgd(groups: Groups, lr: float, fused: bool, *, momentum: float, nesterov: bool) -> Optimizer:
    return torch.optim.SGD(groups, lr, momentum, nesterov=nesterov, fused=fused)


REGISTRY: dict[str, Callable[..., Optimizer]] = {"adam": adam, "adamw": adamw, "sgd": sgd}


def build(config: OptimizerConfig, model: nn.Module) -> Optimizer:
    """The optimizer over all parameters of `model`; weight decay spares BatchNorm and biases unless `decay_norm_and_bias`."""
    check_choice("optimizer.name", config.name, REGISTRY)
    optimizer, given = REGISTRY[config.name], options(config, "lr", "weight_decay", "decay_norm_and_bias")
    check_takes("optimizer", config.name, given, optimizer)
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for parameter in model.parameters():
        # BatchNorm's weight and every bias are vectors; weights of layers have two dimensions or more.
        (decayed if parameter.ndim > 1 or config.decay_norm_and_bias else spared).append(parameter)
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": spared, "weight_decay": 0.0}]
    # One kernel for the whole step, on the devices that have it in every supported torch.
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in model.parameters())
    return optimizer([group for group in groups if group["params"]], config.lr, fused, **given)
