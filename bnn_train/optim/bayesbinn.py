"""BayesBiNN: a distribution over binary weights, learned by natural gradient."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer


class BayesBiNN(Optimizer):
    """The Bayesian learning rule for Bernoulli weights (Meng, Bachmann & Khan 2020, arXiv 2002.10778).

    Each parameter holds the natural parameters lambda of weights w with E[w] = tanh(lambda); its gradient must be that of the mean
    loss with respect to a drawn w (weights=stochastic, logistic noise of scale 1/2, does both). One step is

        lambda <- (1 - lr) lambda - lr N g / (1 - tanh(lambda)^2 + 1e-10)

    with N the number of training images; the prior is a fair coin (lambda = 0). This is the authors' rule at the temperature 1e-10
    of their experiments, where their relaxed weights are exactly -1 or +1 and their derivatives exactly the constant above.
    """

    moves_without_gradient = True  # the prior pulls every natural parameter to 0

    def __init__(self, params: Iterable[nn.Parameter] | Iterable[dict[str, Any]], train_size: int, lr: float = 1e-4) -> None:
        super().__init__(params, {"lr": lr, "train_size": train_size})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        assert closure is None
        for group in self.param_groups:
            for natural in group["params"]:
                if natural.grad is None:
                    continue
                variance = 1 - natural.tanh().square_() + 1e-10  # of w
                natural.mul_(1 - group["lr"])
                natural.addcdiv_(natural.grad, variance, value=-group["lr"] * group["train_size"])
