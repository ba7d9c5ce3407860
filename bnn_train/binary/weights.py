"""Weight binarizers: from a layer's latent weight to what the layer multiplies with.

A binarizer is a module without state. A new one: write its class here, with its options as keyword-only arguments, add its line to
BINARIZERS, its options to WeightsConfig and its values to configs/weights/NAME.yaml.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from bnn_train.binary import noise as distributions
from bnn_train.binary import ste as estimators
from bnn_train.binary.ste import Rule, Ste
from bnn_train.checks import check_choice, check_takes, options
from bnn_train.config import SteConfig, WeightsConfig


class Binarizer(nn.Module):
    """What a binary layer asks of its weight binarizer."""

    bits = 1  # what one weight takes in memory once training is over
    bound = math.inf  # a larger latent weight has no meaning; the trainer clips it after each step
    kl = 0.0  # the trainer divides latent weights by 1 + lr * kl after each step
    largest = (
        math.inf
    )  # no latent weight is larger than this now, where the trainer knows one: what only concerns larger ones may rest

    def rule(self, latent: Tensor) -> Rule | None:
        """How the latent weight is binarized now, with what is drawn for it; None where it stays real."""
        return Rule(estimators.identity)

    def forward(self, latent: Tensor) -> Tensor:
        """What the layer multiplies with."""
        rule = self.rule(latent)
        return latent if rule is None else estimators.binarize(latent, rule)

    def start(self, latent: Tensor) -> None:
        """Changes a fresh latent weight, in place, where the binarizer needs it."""


class Sign(Binarizer):
    """The sign of the latent weight (BinaryConnect, Courbariaux et al. 2015, arXiv 1511.00363).

    The backward is that of the estimator `ste`, by default the activations' one, and the identity where these are real.
    """

    def __init__(self, activations: SteConfig, *, ste: str | None = None) -> None:
        super().__init__()
        if ste is not None:
            check_choice("weights.ste", ste, estimators.ESTIMATORS)
            self.estimator = Ste(ste)
        elif activations.name == "none":
            self.estimator = Ste("identity")
        else:
            self.estimator = Ste(activations.name, stochastic=False, **options(activations, "stochastic", "hard"))

    def rule(self, latent: Tensor) -> Rule:
        if self.estimator.name == "clipped" and self.largest <= self.estimator.params.get("clip", 1.0):
            return Rule(estimators.identity)  # every latent weight is within the window
        return self.estimator.rule(latent)


class Real(Binarizer):
    """The latent weight itself."""

    bits = 32

    def __init__(self, activations: SteConfig) -> None:
        super().__init__()

    def rule(self, latent: Tensor) -> None:
        return None


class Binary(Binarizer):
    """A parameter that is -1 or +1 itself, for an optimizer that flips it (Bop): there is no latent weight."""

    def __init__(self, activations: SteConfig) -> None:
        super().__init__()

    @torch.no_grad()
    def start(self, latent: Tensor) -> None:
        latent.copy_(estimators.sign(latent))


class Stochastic(Binarizer):
    """Bernoulli weights: P(w = +1) = F(eta), eta the latent weight, drawn anew for each batch; evaluation takes sign(eta).

    The backward is the identity. eta is the natural parameter of the weight's distribution, and a gradient step on it is a step of
    mirror descent over the probabilities (Shekhovtsov & Yanush 2021, arXiv 2006.06880): with logistic F the proximal term is the
    Kullback-Leibler divergence; with uniform F it is the Euclidean distance, and eta clipped to F's support is BinaryConnect.
    Noise is drawn in training, and in evaluation while `sampling` is set.
    """

    stochastic = True

    def __init__(
        self, activations: SteConfig, *, noise: str, scale: float = 1.0, kl: float = 0.0, init: float | None = None
    ) -> None:
        super().__init__()
        check_choice("weights.noise", noise, distributions.FAMILY)
        self.noise = distributions.scaled(distributions.FAMILY[noise], scale)
        self.bound, self.kl, self.init = self.noise.support, kl, init
        self.sampling = False

    @torch.no_grad()
    def start(self, latent: Tensor) -> None:
        if self.init is not None:
            latent.copy_(estimators.sign(latent) * self.init)

    def rule(self, latent: Tensor) -> Rule:
        return Rule(estimators.identity, self.noise.sample(latent) if self.training or self.sampling else None)


BINARIZERS: dict[str, Any] = {"sign": Sign, "stochastic": Stochastic, "binary": Binary, "real": Real}


def build(config: WeightsConfig, activations: SteConfig) -> Binarizer:
    """The binarizer of `config`. Raises ConfigError for a name that is unknown and for an option that it does not take."""
    check_choice("weights.name", config.name, BINARIZERS)
    given = options(config, "clip")
    check_takes("weights", config.name, given, BINARIZERS[config.name])
    return BINARIZERS[config.name](activations, **given)
