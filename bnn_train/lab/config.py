"""The typed configuration of `bnn-lab`, like bnn_train/config.py: no torch, and every refusal one line."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING, OmegaConf

from bnn_train.checks import check_choice
from bnn_train.config import SteConfig
from bnn_train.errors import ConfigError

PROBLEMS = ("moons", "multilinear", "quadratic", "exponential")  # lab/problems.py says what they are
LARGEST_WIDTH = 10  # units of a stochastic layer: it has 2^width states


@dataclass
class ProtocolConfig:
    name: str = MISSING
    problems: list[str] = MISSING  # moons trains a network; the others are known losses of one layer, measured as drawn
    widths: list[int] = MISSING  # units of each stochastic layer
    points: int = 200  # moons: data points, of both classes together
    noise: str = MISSING  # of the network: uniform, triangular, logistic, normal
    scale: float = 1.0  # of that noise, and of noise-derived estimators that name no scale of their own
    own_noise: bool = False  # true: an estimator is measured in the network with the noise that it follows from
    train_with: SteConfig = MISSING  # moons: the estimator that trains
    lr: float = 0.01  # of the training, by Adam, all data at once, one sample each
    epochs: list[int] = MISSING  # when to measure
    samples: int = 20_000  # of each estimator
    step: float = 0.1  # length of the step whose improvement is measured, in the parameters' units
    # label: {name: ...}, an estimator with its options as in configs/ste, or a name of lab/estimators.py. Each becomes a SteConfig
    # below; not typed as one, since a command line can add no entry to a typed dict.
    estimators: dict[str, Any] = MISSING
    plotted: list[str] = field(default_factory=list)  # labels that the plots show; empty: all but exact

    def __post_init__(self) -> None:
        self.estimators = {label: _typed(label, given) for label, given in self.estimators.items()}
        for problem in self.problems:
            check_choice("protocol.problems", problem, PROBLEMS)
        if not self.widths or not all(1 <= width <= LARGEST_WIDTH for width in self.widths):
            raise ConfigError("protocol.widths", self.widths, f"must be numbers from 1 to {LARGEST_WIDTH}: all states are visited")
        if len(self.widths) > 1 and set(self.problems) != {"moons"}:
            raise ConfigError("protocol.widths", self.widths, "the known losses are those of one layer; only moons takes more")
        check_choice("protocol.noise", self.noise, ("uniform", "triangular", "logistic", "normal"))
        for key in ("scale", "lr", "step"):
            if not getattr(self, key) > 0:
                raise ConfigError(f"protocol.{key}", getattr(self, key), "must be a number above 0")
        if self.points < 2:
            raise ConfigError("protocol.points", self.points, "must be a whole number of at least 2")
        if self.samples < 2:
            raise ConfigError("protocol.samples", self.samples, "must be a whole number of at least 2")
        if not self.epochs or any(epoch < 0 for epoch in self.epochs) or self.epochs != sorted(set(self.epochs)):
            raise ConfigError("protocol.epochs", self.epochs, "must be rising whole numbers of at least 0")
        if not self.estimators:
            raise ConfigError("protocol.estimators", {}, "needs at least one")
        for label in self.plotted:
            if label not in self.estimators:
                raise ConfigError("protocol.plotted", label, "is not among protocol.estimators; [] shows all")


def _typed(label: str, given: Any) -> Any:
    merged = OmegaConf.merge(OmegaConf.structured(SteConfig), given)
    if OmegaConf.is_missing(merged, "name"):
        raise ConfigError(f"protocol.estimators.{label}.name", None, "needs an estimator, as in {name: tanh}")
    return OmegaConf.to_object(merged)


@dataclass
class LabConfig:
    protocol: ProtocolConfig = MISSING
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise ConfigError("seed", self.seed, "must be a whole number of at least 0, below 2^63")
