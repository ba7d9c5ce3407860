"""From the optimizer's configuration to a torch optimizer over a model's parameters."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from bnn_train.config import OptimizerConfig, check_choice


def _adam_options(config: OptimizerConfig) -> dict[str, Any]:
    return {"betas": tuple(config.betas), "eps": config.eps}


def _sgd_options(config: OptimizerConfig) -> dict[str, Any]:
    return {"momentum": config.momentum, "nesterov": config.nesterov}


REGISTRY: dict[str, tuple[type[Optimizer], Callable[[OptimizerConfig], dict[str, Any]]]] = {
    "adam": (torch.optim.Adam, _adam_options),
    "adamw": (torch.optim.AdamW, _adam_options),
    "sgd": (torch.optim.SGD, _sgd_options),
}


def build(config: OptimizerConfig, model: nn.Module) -> Optimizer:
    """The optimizer over all parameters of `model`; weight decay spares BatchNorm and biases unless `decay_norm_and_bias`."""
    check_choice("optimizer.name", config.name, REGISTRY)
    optimizer, options = REGISTRY[config.name]
    decayed, spared = [], []
    for parameter in model.parameters():
        # BatchNorm's weight and every bias are vectors; weights of layers have two dimensions or more.
        (decayed if parameter.ndim > 1 or config.decay_norm_and_bias else spared).append(parameter)
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": spared, "weight_decay": 0.0}]
    # One kernel for the whole step, on devices that have it: a fifth of the time and less of an unfused Adam step.
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in model.parameters())
    return optimizer([group for group in groups if group["params"]], lr=config.lr, fused=fused, **options(config))
