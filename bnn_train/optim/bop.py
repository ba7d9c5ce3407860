"""Bop, the binary optimizer: weights that are -1 or +1 and are flipped, without latent weights."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer


class Bop(Optimizer):
    """Flips the weights whose mean gradient is large and points against them (Helwegen et al. 2019, arXiv 1906.02107).

    With g the gradient of a step, m <- (1 - gamma) m + gamma g, from m = 0; a weight w flips where |m| >= threshold and sign(m) =
    sign(w): there the loss would fall if w moved towards its other value. Where m is 0 nothing flips.

    Takes parameters that hold -1 and +1 alone, and keeps them so. threshold >= 0; gamma in (0, 1].
    """

    moves_without_gradient = False

    def __init__(
        self, params: Iterable[nn.Parameter] | Iterable[dict[str, Any]], threshold: float = 1e-8, gamma: float = 1e-4
    ) -> None:
        super().__init__(params, {"threshold": threshold, "gamma": gamma})
        for group in self.param_groups:
            if any((weight.abs() != 1).any() for weight in group["params"]):
                raise ValueError("Bop takes weights that are -1 or +1")

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        assert closure is None
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["mean"] = torch.zeros_like(weight)
                mean = state["mean"].lerp_(weight.grad, group["gamma"])
                # w m is |m| where the signs agree, and negative or 0 elsewhere.
                agreement = weight * mean
                weight.mul_(torch.where((agreement >= group["threshold"]) & (agreement > 0), -1.0, 1.0))
