"""From the latent weight to what a layer multiplies with.

Some options and some optimizers make sense together only; `optimizer` and, in config/optimizer.py, `weights` say so.
"""

from dataclasses import dataclass
from typing import ClassVar

from omegaconf import MISSING

from bnn_train.config.checks import Group, key
from bnn_train.errors import ConfigError

PREPARE = ["none", "centre", "standardise", "quantile"]
SCALING = ["none", "mean", "mean_detached", "power_of_two", "learned"]


@dataclass
class WeightsConfig(Group):
    group: ClassVar[str] = "weights"
    optimizer: ClassVar[str | None] = None  # the only optimizer that goes with it
    drawn: ClassVar[bool] = False  # whether the weights of each batch are drawn

    name: str = MISSING
    clip: float | None = key(None, "latent weights are clipped to [-clip, clip] after each step; null: never", "(0, inf)")


@dataclass
class SignConfig(WeightsConfig):
    name: str = "sign"
    clip: float | None = key(1.0, "latent weights are clipped to [-clip, clip] after each step; null: never", "(0, inf)")
    ste: str | None = key(None, "the sign's estimator; null: that of the activations, and the identity where ste=none")
    prepare: str = key("none", "what is done to each output's latent weights before their sign", PREPARE)
    tau: float = key(0.9, "prepare=quantile: share of the weights within the clamp", "(0.5, 1)")
    tau_end: float | None = key(None, "prepare=quantile: what tau rises to over the run; null: it stays", "(0.5, 1)")
    centre: bool = key(False, "latent weights lose their mean over the input channels, at the start and after each step")
    scaling: str = key("none", "the factor by which each output's sum is multiplied", SCALING)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tau != 0.9 and self.prepare != "quantile":
            raise ConfigError("weights.tau", self.tau, f"is for weights.prepare=quantile, not for {self.prepare}")
        if self.tau_end is not None:
            self._check_rise(self.tau_end)

    def _check_rise(self, end: float) -> None:
        if self.prepare != "quantile":
            raise ConfigError("weights.tau_end", end, f"is for weights.prepare=quantile, not for {self.prepare}")
        if end <= self.tau:
            raise ConfigError("weights.tau_end", end, f"must be above weights.tau={self.tau:g}, from which it rises")
        if self.scaling not in ("none", "learned"):
            remedy = f"weights.scaling={self.scaling} is computed from what tau clamps, so that it would change without a step; "
            raise ConfigError("weights.tau_end", end, f"{remedy}use weights.scaling=learned or none")


@dataclass
class OwnWeightsConfig(WeightsConfig):
    """Of a plugin's preparation, whose result gets a sign as in weights=sign."""

    ste: str | None = key(None, "the sign's estimator; null: that of the activations, and the identity where ste=none")
    scaling: str = key("none", "the factor by which each output's sum is multiplied", SCALING)


@dataclass
class StomppConfig(WeightsConfig):
    name: str = "stompp"
    clip: float | None = key(1.0, "latent weights are clipped to [-clip, clip] after each step; null: never", "(0, inf)")
    end: float = key(0.8, "the share of the run after which all layers are binary, the first having been so earlier", "(0, 1)")
    refresh: float = key(0.1, "share of a mask that is drawn anew at each step", "[0, 1]")
    ste: str | None = key(None, "the estimator of weights and activations that are signs already; null: no gradient passes them")

    def first_binary_epoch(self, epochs: int, steps: int) -> int:
        """The first epoch (from 1) of `steps` steps after whose last step the whole network is binary; behind `epochs` for none."""
        ends = ((epoch + (steps - 1) / steps) / epochs >= self.end for epoch in range(epochs))
        return next((number for number, is_binary in enumerate(ends, start=1) if is_binary), epochs + 1)


@dataclass
class RealConfig(WeightsConfig):
    name: str = "real"


@dataclass
class BinaryConfig(WeightsConfig):
    optimizer: ClassVar[str | None] = "bop"

    name: str = "binary"
    scaling: str = key("none", "the factor by which each output's sum is multiplied", ("none", "learned"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.clip is not None:
            raise ConfigError("weights.clip", self.clip, "weights=binary has no latent weights; leave it null")


@dataclass
class StochasticConfig(WeightsConfig):
    drawn: ClassVar[bool] = True

    name: str = "stochastic"
    clip: float | None = key(
        None, "latent weights keep to [-clip, clip] after each step; null: to the noise's support alone", "(0, inf)"
    )
    noise: str = key("logistic", "distribution F of P(w = +1) = F(latent / scale)", ("uniform", "triangular", "logistic", "normal"))
    scale: float = key(0.05, "the latent weights' unit: the noise is scale * (its standard form)", "(0, inf)")
    kl: float = key(
        0.0,
        "prior: sgd without momentum minimises an image's mean loss + kl * (the weights' summed divergence from fair coins, in "
        "nats where noise=logistic); 1 / (training images): variational Bayes",
        "[0, inf)",
    )
    scaling: str = key("none", "the factor by which each output's sum is multiplied", SCALING)


@dataclass
class BayesBinnConfig(WeightsConfig):
    optimizer: ClassVar[str | None] = "bayesbinn"
    drawn: ClassVar[bool] = True

    name: str = "bayesbinn"
    init: float = key(10.0, "size of every natural parameter at the start, signs at random", "(0, inf)")
    scaling: str = key("none", "the factor by which each output's sum is multiplied", ("none", "learned"))


WEIGHTS: dict[str, type[WeightsConfig]] = {
    "sign": SignConfig,
    "stompp": StomppConfig,
    "real": RealConfig,
    "binary": BinaryConfig,
    "stochastic": StochasticConfig,
    "bayesbinn": BayesBinnConfig,
}
