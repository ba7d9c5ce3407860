"""Training in stages: one with real weights or activations comes first, and the binary network starts from what that gave."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from bnn_train.config.checks import Group, key
from bnn_train.config.words import OVERRIDES
from bnn_train.errors import ConfigError

NAMED = re.compile(r"stage([1-9]\d*)")  # an earlier stage, in init_from and distill.teacher


@dataclass
class StagesConfig(Group):
    group: ClassVar[str] = "stages"

    name: str = "none"
    each: list[list[str]] = key(
        [],
        "of each stage the overrides that it adds to the command line; it starts with the weights of the one before, but for "
        "init_from=null",
        unit=OVERRIDES,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.each) == 1:
            raise ConfigError("stages.each", self.each, "is a single stage; a run in stages has two or more")
        if self.name != "none" and not self.each:
            raise ConfigError("stages.each", self.each, f"leaves stages={self.name} without any; one training is stages=none")
        for number, overrides in enumerate(self.each, start=1):
            for override in overrides:
                if "=" not in override.lstrip("=") and not override.startswith("~"):
                    raise of_stage(number, overrides, f"{override}: is not key=value, as in weights=real")


def of_stage(number: int, overrides: Sequence[str], wrong: str) -> ConfigError:
    """A refusal that names the stage, counted from 1, what it adds, and what is wrong with that."""
    return ConfigError("", "", f"stages.each: stage {number}, [{', '.join(overrides)}]: {wrong}")


def name_of_override(override: str) -> str:
    """The key or group that an override speaks of, dotted."""
    return override.lstrip("+~").partition("=")[0].partition("@")[0].replace("/", ".")


STAGES: dict[str, type[StagesConfig]] = {}  # those with keys of their own
