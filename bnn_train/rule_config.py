"""The typed form of one rule about chosen edges, an entry of `edges.rules`."""

import math
from dataclasses import asdict, dataclass

from omegaconf import MISSING

from bnn_train.checks import at_least, check_choice, in_range, positive
from bnn_train.errors import ConfigError, as_typed


@dataclass
class RuleConfig:
    """One rule about chosen edges; binary/edges.py applies it. Options of a selector are null unless it takes them."""

    layers: str = MISSING  # name pattern, with wildcards: linear2, linear*, *
    what: str = MISSING  # train (all others of the layer are frozen), freeze, prune, l1
    edges: str = "all"  # selector: all, random, magnitude, rows, columns, n_m, block, file (binary/selectors.py)
    density: float | None = None  # random, magnitude, block: share of the edges that is chosen, in [0, 1]
    seed: int | None = None  # random, block
    largest: bool | None = None  # magnitude: true (default) the largest, false the smallest
    index: list[int] | None = None  # rows, columns: which, from 0
    n: int | None = None  # n_m: how many of every m consecutive inputs, by size
    m: int | None = None
    size: list[int] | None = None  # block: [outputs, inputs]
    file: str | None = None  # file: .pt or .npy
    strength: float | None = None  # l1: times the sum of the latent weights' sizes, added to the loss
    ramp: list[int] | None = None  # prune the smallest: between so many finished epochs, [start, end], the share rises to `density`
    from_density: float | None = None  # with a ramp: the share at its start; null: 0
    power: float | None = None  # with a ramp: 1 is a straight line, more prunes earlier; null: 3

    def __post_init__(self) -> None:
        check_choice("edges.rules.what", self.what, ("train", "freeze", "prune", "l1"))
        in_range("edges.rules.density", self.density, 0, 1, closed=True)
        in_range("edges.rules.from_density", self.from_density, 0, 1, closed=True)
        at_least("edges.rules.seed", self.seed, 0)
        for key in ("n", "m"):
            at_least(f"edges.rules.{key}", getattr(self, key), 1)
        positive("edges.rules.power", self.power)
        if self.size is not None and (len(self.size) != 2 or min(self.size) < 1):
            raise ConfigError("edges.rules.size", self.size, "must be two whole numbers of at least 1: outputs, inputs")
        if (self.what == "l1") != (self.strength is not None):
            remedy = "what=l1 needs a strength, for example 0.001, and nothing else takes one"
            raise ConfigError("edges.rules.strength", self.strength, remedy)
        in_range("edges.rules.strength", self.strength, 0, math.inf)
        if self.ramp is not None:
            if self.what != "prune" or self.edges != "magnitude" or self.largest is not False:
                remedy = "a ramp prunes the smallest weights: it goes with what: prune, edges: magnitude, largest: false"
                raise ConfigError("edges.rules.ramp", self.ramp, remedy)
            if len(self.ramp) != 2 or not 0 <= self.ramp[0] < self.ramp[1]:
                raise ConfigError("edges.rules.ramp", self.ramp, "must be two rising numbers of epochs, as in [2,10]")
            if self.density is None or self.density < (self.from_density or 0):
                raise ConfigError("edges.rules.density", self.density, f"must be at least from_density={self.from_density or 0:g}")
        for key in ("from_density", "power"):
            if self.ramp is None and getattr(self, key) is not None:
                raise ConfigError(f"edges.rules.{key}", getattr(self, key), "is for a ramp, as in ramp: [2, 10]")

    def described(self) -> str:
        """The rule as it would be typed."""
        return as_typed({key: value for key, value in asdict(self).items() if value is not None})
