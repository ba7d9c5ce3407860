"""The typed configuration of the protocols that show one shortcoming of an estimator each."""

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from bnn_train.config.checks import key
from bnn_train.config.protocol import LARGEST_WIDTH, ProtocolConfig, estimator
from bnn_train.errors import ConfigError

# By experiment, what `over` counts, and the range of its values.
OVER = {
    "depth": ("stochastic layers, as wide as the first of widths", "[1, 8]"),
    "sharp": ("scale of the noise", "(0, inf)"),
    "forward": ("share of the noise that the forward pass draws; 0: none", "[0, inf)"),
    "saturation": ("how far the units of the first layer are from 0 on average, in their pre-activations", "[0, inf)"),
    "clamp": ("what the loss is multiplied by", "(0, inf)"),
    "batch": ("gradients of single data that are averaged, each with its own noise", "[1, inf)"),
}


@dataclass
class ShortcomingConfig(ProtocolConfig):
    """One network is measured at several values of one thing, the rest being equal."""

    experiment: str = key(MISSING, "what is varied", tuple(OVER))
    over: list[float] = key(MISSING, "its values, rising")
    # As in SignsConfig. In `sharp` those that take a scale follow the network's; the others keep theirs.
    estimators: dict[str, Any] = key(MISSING, "label: {name: ...}, what is measured")
    widths: list[int] = key(MISSING, "of each stochastic layer", f"[1, {LARGEST_WIDTH}]", "units")
    points: int = key(100, "data points of the two moons", "[2, inf)")
    noise: str = key(MISSING, "of the network", ("uniform", "triangular", "logistic", "normal"))
    scale: float = key(1.0, "of that noise, and of noise-derived estimators that name no scale of their own", "(0, inf)")
    epochs: int = key(0, "steps of the exact gradient before the network is measured", "[0, inf)")
    lr: float = key(0.03, "of these steps, by Adam", "(0, inf)")
    samples: int = key(1000, "batch: draws of the noise of all data; the other experiments visit all states", "[2, inf)")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.widths:
            raise ConfigError("protocol.widths", self.widths, "needs at least one")
        if not self.over or self.over != sorted(set(self.over)):
            raise ConfigError("protocol.over", self.over, "must be rising numbers")
        _, allowed = OVER[self.experiment]
        low, high = (float(end) for end in allowed[1:-1].split(","))
        if not all((low <= x if allowed[0] == "[" else low < x) and x <= high for x in self.over):
            raise ConfigError("protocol.over", self.over, f"must be within {allowed}: {OVER[self.experiment][0]}")
        if self.experiment in ("depth", "batch") and any(x != int(x) for x in self.over):
            raise ConfigError("protocol.over", self.over, "must be whole numbers")
        if self.experiment == "batch" and self.over[-1] > self.samples * self.points / 2:
            raise ConfigError("protocol.over", self.over, "must be at most half of protocol.samples times protocol.points")
        if not self.estimators:
            raise ConfigError("protocol.estimators", {}, "needs at least one")
        self.estimators = {
            label: estimator(f"protocol.estimators.{label}", given, self.scale) for label, given in self.estimators.items()
        }
