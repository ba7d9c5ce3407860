"""A trained network that teaches another one: which it is, and what of it is matched."""

import os
from dataclasses import dataclass
from typing import ClassVar

from omegaconf import MISSING

from bnn_train.config.checks import Group, key
from bnn_train.errors import ConfigError


@dataclass
class DistillConfig(Group):
    group: ClassVar[str] = "distill"

    name: str = "none"


@dataclass
class TeacherConfig(DistillConfig):
    """The loss is labels * (that of the labels) + logits * T^2 KL(teacher || student) + attention * (distance of maps at `at`)."""

    name: str = MISSING
    teacher: str = key(
        MISSING, "the network that teaches: a run directory, a checkpoint, or for its logits alone an exported file", unit="path"
    )
    logits: float = key(1.0, "weight of T^2 KL(softmax(teacher / T) || softmax(student / T)), T the temperature", "[0, inf)")
    temperature: float = key(1.0, "by which both networks' class scores are divided", "(0, inf)")
    labels: float = key(1.0, "weight of the loss of the labels; 0: the teacher alone is followed", "[0, inf)")
    attention: float = key(0.0, "weight of the squared distance of both attention maps, the mean over the layers", "[0, inf)")
    at: list[str] = key([], "layers, by name, whose outputs are matched; []: every block with a shortcut")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.teacher = os.path.expanduser(self.teacher)
        if not self.teacher:
            raise ConfigError("distill.teacher", "", "needs a run directory, a checkpoint or an exported file")
        if not (self.logits or self.attention):
            remedy = "with distill.attention=0 the teacher teaches nothing; give one of them a weight, or choose distill=none"
            raise ConfigError("distill.logits", self.logits, remedy)
        if len(set(self.at)) < len(self.at) or "" in self.at:
            raise ConfigError("distill.at", self.at, "must be names of layers, each once")


DISTILLS: dict[str, type[DistillConfig]] = {"none": DistillConfig, "logits": TeacherConfig, "attention": TeacherConfig}
