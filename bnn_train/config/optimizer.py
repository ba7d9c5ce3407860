"""Optimizers. bop and bayesbinn are for the binary layers' weights; Adam does the rest, at `lr`."""

from dataclasses import dataclass
from typing import ClassVar

from omegaconf import MISSING

from bnn_train.config.checks import Group, key
from bnn_train.errors import ConfigError


@dataclass
class OptimizerConfig(Group):
    group: ClassVar[str] = "optimizer"
    weights: ClassVar[str | None] = None  # the only weights that go with it

    name: str = MISSING
    lr: float = key(0.01, "peak learning rate; the scheduler multiplies it", "(0, inf)")
    weight_decay: float = key(0.0, "added to the gradient, times the weight; adamw: the weights shrink by lr times it", "[0, inf)")
    decay_norm_and_bias: bool = key(False, "weight decay on BatchNorm, biases and scaling factors too")


@dataclass
class AdamConfig(OptimizerConfig):
    name: str = "adam"
    betas: list[float] = key([0.9, 0.999], "decay of the running means of the gradient and of its square", "[0, 1)")
    eps: float = key(1e-8, "added to the root of the latter", "(0, inf)")

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.betas) != 2:
            raise ConfigError("optimizer.betas", self.betas, "must be two numbers in [0, 1)")


@dataclass
class SgdConfig(OptimizerConfig):
    name: str = "sgd"
    momentum: float = key(0.9, "share of the last step that is taken again", "[0, 1)")
    nesterov: bool = key(False, "look ahead along the momentum")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and not self.momentum:
            raise ConfigError("optimizer.nesterov", True, "needs optimizer.momentum above 0, for example 0.9")


@dataclass
class BopConfig(OptimizerConfig):
    weights: ClassVar[str | None] = "binary"

    name: str = "bop"
    threshold: float = key(1e-8, "size that the mean gradient of a weight must reach to flip it", "[0, inf)")
    gamma: float = key(1e-4, "share of the new gradient in that mean", "(0, 1]")
    scheduled: list[str] = key(["gamma"], "which of them the scheduler multiplies, as it does lr", ("gamma", "threshold"))


@dataclass
class BayesBinnOptimizerConfig(OptimizerConfig):
    weights: ClassVar[str | None] = "bayesbinn"

    name: str = "bayesbinn"
    natural_lr: float = key(1e-4, "step size of the natural parameters; the scheduler multiplies it", "(0, 1]")


OPTIMIZERS: dict[str, type[OptimizerConfig]] = {
    "adam": AdamConfig,
    "adamw": AdamConfig,
    "sgd": SgdConfig,
    "bop": BopConfig,
    "bayesbinn": BayesBinnOptimizerConfig,
}
