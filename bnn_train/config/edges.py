"""Rules about chosen edges: one dataclass per selector, chosen by the rule's `edges`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bnn_train.config.checks import Group, check_choice, key
from bnn_train.errors import ConfigError, as_typed

KEY = "edges.rules"


@dataclass
class RuleConfig(Group):
    """A rule that chooses all edges of its layers; edges/apply.py follows it."""

    group: ClassVar[str] = KEY

    layers: str = key(MISSING, "name pattern, with wildcards: linear2, linear*, *")
    what: str = key(MISSING, "train alone, freeze, prune or penalise", ("train", "freeze", "prune", "l1"))
    edges: str = key("all", "the selector")
    strength: float | None = key(None, "l1: times the sum of the latent weights' sizes, added to the loss", "[0, inf)")

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.what == "l1") != (self.strength is not None):
            remedy = "what=l1 needs a strength, for example 0.001, and nothing else takes one"
            raise ConfigError("edges.rules.strength", self.strength, remedy)

    @property
    def end_of_ramp(self) -> int:
        """The number of finished epochs after which the rule prunes no further; 0 where it does so at once."""
        return 0

    @property
    def options(self) -> dict[str, Any]:
        """What the selector takes."""
        common = {each.name for each in fields(RuleConfig)} | {"ramp", "from_density", "power"}
        return {name: value for name, value in vars(self).items() if name not in common}

    def described(self) -> str:
        """The rule as it would be typed."""
        return as_typed({name: value for name, value in asdict(self).items() if value is not None})


@dataclass
class RandomRule(RuleConfig):
    density: float = key(MISSING, "share of the edges that is chosen", "[0, 1]")
    seed: int = key(0, "of the draw", "[0, inf)")


@dataclass
class MagnitudeRule(RuleConfig):
    density: float = key(MISSING, "share of the edges that is chosen", "[0, 1]")
    largest: bool = key(True, "choose the largest latent weights; false: the smallest")
    ramp: list[int] | None = key(None, "prune the smallest a few at a time, between so many finished epochs", "[0, inf)", "epochs")
    from_density: float = key(0.0, "with a ramp: the share at its start", "[0, 1]")
    power: float = key(3.0, "with a ramp: 1 is a straight line, more prunes earlier", "(0, inf)")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ramp is None:
            for name, default in (("from_density", 0.0), ("power", 3.0)):
                if getattr(self, name) != default:
                    raise ConfigError(f"edges.rules.{name}", getattr(self, name), "is for a ramp, as in ramp: [2, 10]")
            return
        if self.what != "prune" or self.largest:
            remedy = "a ramp prunes the smallest weights: it goes with what: prune, edges: magnitude, largest: false"
            raise ConfigError("edges.rules.ramp", self.ramp, remedy)
        if len(self.ramp) != 2 or self.ramp[0] >= self.ramp[1]:
            raise ConfigError("edges.rules.ramp", self.ramp, "must be two rising numbers of epochs, as in [2,10]")
        if self.density < self.from_density:
            raise ConfigError("edges.rules.density", self.density, f"must be at least from_density={self.from_density:g}")

    @property
    def end_of_ramp(self) -> int:
        return self.ramp[1] if self.ramp is not None else 0


@dataclass
class IndexRule(RuleConfig):
    index: list[int] = key(MISSING, "which outputs or inputs, from 0")


@dataclass
class NmRule(RuleConfig):
    n: int = key(MISSING, "how many of every m consecutive inputs, by size", "[1, inf)")
    m: int = key(MISSING, "consecutive inputs of an output", "[1, inf)")


@dataclass
class BlockRule(RuleConfig):
    size: list[int] = key(MISSING, "of a block: [outputs, inputs]", "[1, inf)")
    density: float = key(MISSING, "share of the blocks that is chosen", "[0, 1]")
    seed: int = key(0, "of the draw", "[0, inf)")

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.size) != 2:
            raise ConfigError("edges.rules.size", self.size, "must be two whole numbers of at least 1: outputs, inputs")


@dataclass
class FileRule(RuleConfig):
    file: str = key(MISSING, "a .pt or .npy file with a mask")


RULES: dict[str, type[RuleConfig]] = {
    "all": RuleConfig,
    "random": RandomRule,
    "magnitude": MagnitudeRule,
    "rows": IndexRule,
    "columns": IndexRule,
    "n_m": NmRule,
    "block": BlockRule,
    "file": FileRule,
}


@contextmanager
def placed(position: int, count: int) -> Iterator[None]:
    """Within, what is refused of the rule at that place, from 0, of `count`, names it: edges.rules.1.layers."""
    try:
        yield
    except ConfigError as error:
        if count > 1 and (error.key == KEY or error.key.startswith(f"{KEY}.")):
            raise ConfigError(f"{KEY}.{position}{error.key[len(KEY) :]}", error.value, error.remedy) from error.__cause__
        raise


def rule(given: Mapping[str, Any]) -> RuleConfig:
    """The typed form of one rule as it was typed. A null is a key that was not given."""
    given = {name: value for name, value in given.items() if value is not None}
    selector = given.get("edges", "all")
    check_choice("edges.rules.edges", selector, RULES)
    takes = [each.name for each in fields(RULES[selector])]
    for name, value in given.items():
        if name not in takes:
            remedy = "a ramp prunes the smallest weights: it goes with edges: magnitude, largest: false, what: prune"
            if name != "ramp":
                remedy = f"a rule with edges: {selector} takes {', '.join(takes)}"
            raise ConfigError(f"edges.rules.{name}", value, remedy)
    try:
        merged = OmegaConf.merge(OmegaConf.structured(RULES[selector]), given)
    except OmegaConfBaseException as error:
        raise ConfigError("edges.rules", dict(given), str(error).splitlines()[0]) from error
    for name in takes:
        if OmegaConf.is_missing(merged, name):
            example = (
                "every rule needs it, as in {layers: linear2, what: freeze}" if name in ("layers", "what") else "needs a value"
            )
            raise ConfigError(
                f"edges.rules.{name}", None, example if name in ("layers", "what") else f"edges: {selector} {example}"
            )
    typed = OmegaConf.to_object(merged)
    assert isinstance(typed, RuleConfig)
    return typed


@dataclass
class EdgesConfig(Group):
    group: ClassVar[str] = "edges"

    # Each becomes a RuleConfig; not typed as such, since a command line cannot give a list of typed dicts.
    rules: list[Any] = key([], "which edges are trained, frozen, pruned or penalised; see docs/edges.md")

    def __post_init__(self) -> None:
        for position, given in enumerate(self.rules):
            with placed(position, len(self.rules)):
                if not isinstance(given, dict | RuleConfig):
                    raise ConfigError(KEY, as_typed(given), "every rule is {layers: NAME, what: ..., ...}")
                self.rules[position] = given if isinstance(given, RuleConfig) else rule(given)

    @property
    def complete_after(self) -> int:
        """The number of finished epochs after which no ramp prunes any further."""
        return max((given.end_of_ramp for given in self.rules), default=0)
