"""The typed configuration of the protocol that holds the laboratory against training."""

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from bnn_train.config.checks import key
from bnn_train.config.protocol import LARGEST_WIDTH, ProtocolConfig, estimator
from bnn_train.errors import ConfigError


@dataclass
class LabTrainingConfig(ProtocolConfig):
    """Every estimator trains the same networks, and is measured along the path of the exact gradient."""

    estimators: dict[str, Any] = key(MISSING, "label: {name: ...}, what trains and is measured; the exact gradient always does")
    widths: list[int] = key(MISSING, "of each stochastic layer", f"[1, {LARGEST_WIDTH}]", "units")
    points: int = key(100, "data points of the two moons to train with", "[2, inf)")
    held_out: int = key(400, "more of them, for the loss and the accuracy that are correlated", "[1, inf)")
    noise: str = key(MISSING, "of the network", ("uniform", "triangular", "logistic", "normal"))
    scale: float = key(1.0, "of that noise, and of noise-derived estimators that name no scale of their own", "(0, inf)")
    steps: int = key(500, "of training, by Adam, all data at once, one sample each", "[2, inf)")
    lrs: list[float] = key(MISSING, "each is tried, the one with the least expected training loss kept", "(0, inf)")
    samples: int = key(1000, "of each estimator, at three places of the exact gradient's path", "[200, inf)")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("widths", "lrs"):
            if not getattr(self, name):
                raise ConfigError(f"protocol.{name}", [], "needs at least one")
        if len(self.estimators) < 2:
            raise ConfigError("protocol.estimators", list(self.estimators), "needs two at least: their order is what is looked at")
        self.estimators = {
            label: estimator(f"protocol.estimators.{label}", given, self.scale) for label, given in self.estimators.items()
        }
