"""What is minimised."""

from dataclasses import dataclass
from typing import ClassVar

from bnn_train.config.checks import Group, key


@dataclass
class LossConfig(Group):
    group: ClassVar[str] = "loss"

    name: str = key("cross_entropy", "", ("cross_entropy", "squared_hinge"))


LOSSES: dict[str, type[LossConfig]] = {}  # those with keys of their own
