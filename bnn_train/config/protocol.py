"""What the laboratory's protocols have in common, and the ones that measure estimators of activations."""

from dataclasses import dataclass, fields
from typing import Any, ClassVar

from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bnn_train.config.checks import Group, key
from bnn_train.config.ste import STES, SteConfig
from bnn_train.errors import ConfigError

PROBLEMS = ("moons", "multilinear", "quadratic", "exponential")  # lab/problems.py says what they are
LARGEST_WIDTH = 10  # units of a stochastic layer: it has 2^width states


@dataclass
class ProtocolConfig(Group):
    group: ClassVar[str] = "protocol"

    name: str = MISSING
    networks: int = key(10, "each with weights, data and draws of its own; figures are means over them", "[1, 1000]")


@dataclass
class SignsConfig(ProtocolConfig):
    """Estimators of the gradient with respect to what comes before the signs of activations."""

    problems: list[str] = key(MISSING, "moons trains a network; the others are known losses of one layer", PROBLEMS)
    widths: list[int] = key(MISSING, "of each stochastic layer", unit="units")
    points: int = key(200, "moons: data points, of both classes together", "[2, inf)")
    noise: str = key(MISSING, "of the network", ("uniform", "triangular", "logistic", "normal"))
    scale: float = key(1.0, "of that noise, and of noise-derived estimators that name no scale of their own", "(0, inf)")
    own_noise: bool = key(False, "an estimator is measured in the network with the noise that it follows from")
    # {name: ...}: an estimator with its options as in configs/ste, or a name of lab/estimators.py. Each becomes a SteConfig
    # below; not typed as one, since which keys it has depends on its name.
    train_with: Any = key(MISSING, "moons: the estimator that trains")
    lr: float = key(0.01, "of the training, by Adam, all data at once, one sample each", "(0, inf)")
    epochs: list[int] = key(MISSING, "when to measure, rising", "[0, inf)")
    samples: int = key(20_000, "of each estimator", "[2, inf)")
    step: float = key(0.1, "length of the step whose improvement is measured, in the parameters' units", "(0, inf)")
    estimators: dict[str, Any] = key(MISSING, "label: {name: ...}, what is measured")
    plotted: list[str] = key([], "labels that the plots show; empty: all but exact")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.train_with = estimator("protocol.train_with", self.train_with, self.scale)
        self.estimators = {
            label: estimator(f"protocol.estimators.{label}", given, self.scale) for label, given in self.estimators.items()
        }
        if not self.widths or not all(1 <= width <= LARGEST_WIDTH for width in self.widths):
            raise ConfigError("protocol.widths", self.widths, f"must be numbers from 1 to {LARGEST_WIDTH}: all states are visited")
        if len(self.widths) > 1 and set(self.problems) != {"moons"}:
            raise ConfigError("protocol.widths", self.widths, "the known losses are those of one layer; only moons takes more")
        if not self.epochs or self.epochs != sorted(set(self.epochs)):
            raise ConfigError("protocol.epochs", self.epochs, "must be rising whole numbers of at least 0")
        if not self.estimators:
            raise ConfigError("protocol.estimators", {}, "needs at least one")
        for label in self.plotted:
            if label not in self.estimators:
                raise ConfigError("protocol.plotted", label, "is not among protocol.estimators; [] shows all")


def estimator(name: str, given: Any, scale: float) -> SteConfig:
    """The estimator `given` at the key `name`; where it takes a scale and names none, it gets the network's."""
    if isinstance(given, SteConfig):
        return given
    if not isinstance(given, dict) or not given.get("name"):
        raise ConfigError(f"{name}.name", None, "needs an estimator, as in {name: tanh}")
    kind = STES.get(given["name"], SteConfig)
    takes = [each.name for each in fields(kind)]
    for option, value in given.items():
        if option not in takes:
            raise ConfigError(f"{name}.{option}", value, f"{given['name']} takes {', '.join(takes)}")
    try:
        merged = OmegaConf.merge(OmegaConf.structured(kind), {"scale": scale, **given} if "scale" in takes else given)
        typed = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise ConfigError(name, given, str(error).splitlines()[0]) from error
    except ConfigError as error:  # of a value out of range, whose group is ste
        raise ConfigError(f"{name}.{error.key.removeprefix('ste.')}", error.value, error.remedy) from error.__cause__
    assert isinstance(typed, SteConfig)
    return typed
