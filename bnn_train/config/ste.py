"""Estimators: six kinds of parameters, many names. The names without a kind of their own take SteConfig's keys alone."""

from dataclasses import dataclass
from typing import ClassVar

from omegaconf import MISSING

from bnn_train.config.checks import Group, key
from bnn_train.errors import ConfigError


@dataclass
class SteConfig(Group):
    group: ClassVar[str] = "ste"

    name: str = key(MISSING, "the estimator")
    stochastic: bool = key(False, "binarize with the matching noise while training; evaluation adds none")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name == "none" and self.stochastic:
            raise ConfigError("ste.stochastic", True, "ste=none leaves activations real and takes no noise; choose an estimator")

    @property
    def params(self) -> dict[str, float]:
        """What the estimator's functions take."""
        return {name: value for name, value in vars(self).items() if name not in ("name", "stochastic", "activation")}


@dataclass
class NoneConfig(SteConfig):
    name: str = "none"
    activation: str = key("relu", "what stands where the sign would be; tanh is the nearer to it", ("relu", "tanh"))


@dataclass
class ClippedConfig(SteConfig):
    name: str = "clipped"
    clip: float = key(1.0, "half width of the window in which gradients pass", "(0, inf)")


@dataclass
class SwishSignConfig(SteConfig):
    name: str = "swish_sign"
    beta: float = key(5.0, "steepness", "(0, inf)")


@dataclass
class NoiseConfig(SteConfig):
    scale: float = key(1.0, "the noise is scale * (its standard form)", "(0, inf)")


@dataclass
class GumbelConfig(NoiseConfig):
    name: str = "gumbel"
    temperature: float = key(1.0, "of the relaxation; the nearer to 0, the nearer to the sign", "(0, inf)")
    hard: bool = key(True, "true is the sign with the relaxation's derivative, false the relaxation itself")


@dataclass
class StomppSteConfig(SteConfig):
    name: str = "stompp"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stochastic:
            raise ConfigError("ste.stochastic", True, "ste=stompp draws which activations are signs, and takes no other noise")


STES: dict[str, type[SteConfig]] = {
    "none": NoneConfig,
    "clipped": ClippedConfig,
    "hard_st": ClippedConfig,
    "swish_sign": SwishSignConfig,
    "gumbel": GumbelConfig,
    "stompp": StomppSteConfig,
    **dict.fromkeys(("uniform", "triangular", "logistic", "normal", "reinmax"), NoiseConfig),
}
