"""The typed configuration of the protocol that measures estimators of the weights' gradient."""

import itertools
from dataclasses import dataclass, fields
from typing import Any

from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bnn_train.config.checks import Group, key
from bnn_train.config.protocol import ProtocolConfig
from bnn_train.errors import ConfigError

PROBLEMS = ("multilinear", "quadratic", "tanh", "sign", "stochastic")  # lab/weight_network.py says what they are
MOST_WEIGHTS = 14  # of a network: they have 2^14 states
# Names of lab/weight_estimators.py, and which of them take a temperature.
ESTIMATORS = (
    *("exact", "straight_through", "deterministic", "stochastic_binaryconnect", "reinmax", "gumbel", "gumbel_straight_through"),
    *("bayesbinn", "reinforce", "reinforce_baseline", "arm", "disarm", "local_reparametrization"),
)
RELAXED = ("gumbel", "gumbel_straight_through", "bayesbinn")


@dataclass
class WeightEstimator(Group):
    name: str = key(MISSING, "what is measured", ESTIMATORS)
    temperature: float | None = key(None, "of relaxed weights", "(0, inf)")


@dataclass
class WeightsProtocolConfig(ProtocolConfig):
    """Estimators of the gradient with respect to the means of Bernoulli weights."""

    problems: list[str] = key(MISSING, "known losses, and the moons' network by the activation of its hidden units", PROBLEMS)
    widths: list[int] = key(MISSING, "of each hidden layer", "[1, inf)", "units")
    units: int = key(8, "quadratic: inputs of its linear unit, which are its weights", f"[1, {MOST_WEIGHTS}]")
    points: int = key(40, "data points", "[2, inf)")
    noise: str = key("logistic", "F of P(w = +1) = F(latent)", ("uniform", "triangular", "logistic", "normal"))
    scale: float = key(0.5, "the noise is scale * (its standard form)", "(0, inf)")
    sharpness: list[float] = key(MISSING, "latent weights are uniform within +-sharpness; each is measured", "(0, inf)")
    samples: int = key(20_000, "of each estimator", "[2, inf)")
    step: float = key(0.1, "length of the step of the latent weights whose improvement is measured", "(0, inf)")
    # {name: ..., temperature: ...}; each becomes a WeightEstimator below.
    estimators: dict[str, Any] = key(MISSING, "label: {name: ...}, what is measured")
    plotted: list[str] = key([], "labels that the plots show; empty: all but exact")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.estimators = {label: estimator(f"protocol.estimators.{label}", given) for label, given in self.estimators.items()}
        sizes = [3, *self.widths, 1]  # of the moons' network: two coordinates and a 1
        weights = sum(n_in * n_out for n_in, n_out in itertools.pairwise(sizes))
        if weights > MOST_WEIGHTS:
            remedy = (
                f"makes {weights} weights, those of a 1 beside the coordinates too; at most {MOST_WEIGHTS}: all states are visited"
            )
            raise ConfigError("protocol.widths", self.widths, remedy)
        for name in ("problems", "sharpness", "estimators"):
            if not getattr(self, name):
                raise ConfigError(f"protocol.{name}", getattr(self, name), "needs at least one")
        if self.sharpness != sorted(set(self.sharpness)):
            raise ConfigError("protocol.sharpness", self.sharpness, "must be rising numbers")
        for label in self.plotted:
            if label not in self.estimators:
                raise ConfigError("protocol.plotted", label, "is not among protocol.estimators; [] shows all")


def estimator(name: str, given: Any) -> WeightEstimator:
    if isinstance(given, WeightEstimator):
        return given
    if not isinstance(given, dict) or not given.get("name"):
        raise ConfigError(f"{name}.name", None, "needs an estimator, as in {name: straight_through}")
    takes = [each.name for each in fields(WeightEstimator) if each.name != "temperature" or given["name"] in RELAXED]
    for option, value in given.items():
        if option not in takes and given["name"] in ESTIMATORS:
            raise ConfigError(f"{name}.{option}", value, f"{given['name']} takes {', '.join(takes)}")
    try:
        typed = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(WeightEstimator), given))
    except ConfigError as error:
        raise ConfigError(f"{name}{error.key}", error.value, error.remedy) from error
    except OmegaConfBaseException as error:
        raise ConfigError(name, given, str(error).splitlines()[0]) from error
    assert isinstance(typed, WeightEstimator)
    if typed.name in RELAXED and typed.temperature is None:
        raise ConfigError(f"{name}.temperature", None, f"{typed.name} needs one, as in {{name: {typed.name}, temperature: 1.0}}")
    return typed
