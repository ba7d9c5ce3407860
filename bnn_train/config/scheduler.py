"""Learning-rate schedules."""

from dataclasses import dataclass
from typing import Any, ClassVar

from omegaconf import MISSING

from bnn_train.config.checks import Group, key
from bnn_train.errors import ConfigError


@dataclass
class SchedulerConfig(Group):
    group: ClassVar[str] = "scheduler"

    name: str = MISSING
    warmup: float = key(0.0, "over which the learning rate first rises linearly to its value", "[0, inf)", "epochs")

    @property
    def params(self) -> dict[str, Any]:
        """What the schedule's function takes."""
        return {name: value for name, value in vars(self).items() if name not in ("name", "warmup")}


@dataclass
class StepConfig(SchedulerConfig):
    name: str = "step"
    step_size: int = key(40, "between drops", "[1, inf)", "epochs")
    gamma: float = key(0.1, "factor of a drop", "(0, inf)")


@dataclass
class MultistepConfig(SchedulerConfig):
    name: str = "multistep"
    milestones: list[int] = key([50, 75], "after which it drops, rising", "[1, inf)", "epochs")
    gamma: float = key(0.1, "factor of a drop", "(0, inf)")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.milestones != sorted(set(self.milestones)):
            raise ConfigError("scheduler.milestones", self.milestones, "must rise")


@dataclass
class ExponentialConfig(SchedulerConfig):
    name: str = "exponential"
    gamma: float = key(0.95, "factor per epoch", "(0, inf)")


@dataclass
class FinalConfig(SchedulerConfig):
    final: float = key(0.0, "share of optimizer.lr that is left at the end", "[0, 1]")


@dataclass
class OneCycleConfig(SchedulerConfig):
    name: str = "onecycle"
    rise: float = key(0.3, "share of the run in which the learning rate rises", "(0, 1)")


SCHEDULERS: dict[str, type[SchedulerConfig]] = {
    "constant": SchedulerConfig,
    "step": StepConfig,
    "multistep": MultistepConfig,
    "exponential": ExponentialConfig,
    "linear": FinalConfig,
    "cosine": FinalConfig,
    "onecycle": OneCycleConfig,
}
