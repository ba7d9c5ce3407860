"""What a run in stages consists of: stages.json, written before its first step and the truth from then on. Loads no torch."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bnn_train import files, plugins
from bnn_train.config.root import Config
from bnn_train.errors import ConfigError
from bnn_train.runs import directory

FORMAT = 2  # raise it when the meaning of what is saved changes
READABLE = {1: 2, 2: 3}  # with the format of the checkpoints whose configuration means the same (checkpoint.py)


@dataclass(frozen=True)
class Stage:
    """One stage; init_from and distill.teacher of its configuration may be the name of an earlier one, such as stage1."""

    overrides: list[str]  # those of stages.each
    config: Config
    choices: dict[str, str]  # option by group (config/root.py)


@dataclass(frozen=True)
class Part:
    """Of a run, that it is a stage of one: what the whole says by itself, and what is the same for all, is said once.

    said: the notes that were, each with its stage.
    """

    number: int
    count: int
    said: list[tuple[int, str]]

    def new(self, notes: Iterable[str]) -> list[str]:
        """The notes that nobody has read yet, which now somebody will."""
        found = [note for note in dict.fromkeys(notes) if all(note != other for _, other in self.said)]
        self.said.extend((self.number, note) for note in found)
        return found


@dataclass(frozen=True)
class Plan:
    """A run in stages: its configuration and command line, as a plain run's, and the stages that these stand for."""

    config: Config
    overrides: list[str]
    choices: dict[str, str] | None
    stages: list[Stage]


def write(plan: Plan, run_dir: Path) -> None:
    """As JSON, with each whole configuration, so that no other file that is changed or missing later matters."""
    stages = [{"overrides": stage.overrides, **_state(stage.config), "choices": stage.choices} for stage in plan.stages]
    whole = {"format": FORMAT, "overrides": plan.overrides, **_state(plan.config), "choices": plan.choices, "stages": stages}
    files.write_text(json.dumps(whole, indent=1) + "\n", run_dir / directory.STAGES)


def _state(config: Config) -> dict[str, Any]:
    """What `resume.config_of` reads a configuration from."""
    return {"config": asdict(config), "registered": plugins.registered(config)}


def read(run_dir: Path) -> dict[str, Any]:
    """What `write` has written, as plain dictionaries: of the run and below "stages" of each stage what a checkpoint says of one.

    Raises ConfigError where it is damaged.
    """
    file = run_dir / directory.STAGES
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        version = found["format"]
        complete = all(each["config"] and "overrides" in each for each in (found, *found["stages"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError("resume", file, "cannot be read: it is cut short, damaged or foreign") from error
    if version not in READABLE or not complete:
        raise ConfigError("resume", file, f"has format {version}, but this version reads {(*READABLE,)}: use a newer bnn-train")
    for each in (found, *found["stages"]):
        each["format"] = READABLE[version]
    return found


def reached(run_dir: Path) -> tuple[int, int]:
    """(the stage that a run is in, how many it has), from its directory."""
    count = len(read(run_dir)["stages"])
    ended = sum((directory.stage(run_dir, number) / "summary.json").exists() for number in range(1, count + 1))
    return min(ended + 1, count), count
