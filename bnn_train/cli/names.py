"""Names of run directories, sweeps and their jobs. Loads no torch."""

import hashlib
import re
from collections.abc import Collection
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from bnn_train import startup
from bnn_train.config.checks import within
from bnn_train.config.root import FREE
from bnn_train.runs import directory

_LONGEST_NAME = 150  # characters; file systems end at 255


def default_name(arguments: list[str]) -> str | None:
    """The swept keys of a command line, as in "ste+seed".

    None where it sweeps nothing, or names its sweep, an experiment or a method: its directory then has that name.
    """
    try:
        overrides = OverridesParser.create().parse_overrides([a for a in arguments if "=" in a and not a.startswith("-")])
    except HydraException:
        return None  # Hydra will say what is wrong
    keys = [override.key_or_group for override in overrides if override.is_sweep_override()]
    alone = {override.key_or_group for override in overrides if not override.is_sweep_override() and override.value() is not None}
    named = alone & {"sweep.name", "experiment", "method"}
    return None if named or not keys else "+".join(key.replace("/", ".") for key in keys)


def sweep_dir(root: DictConfig) -> str:
    """sweeps/<sweep.name>, or the experiment's or the method's name."""
    experiment, method = (OmegaConf.select(root, f"hydra.runtime.choices.{group}") for group in ("experiment", "method"))
    return f"sweeps/{OmegaConf.select(root, 'sweep.name') or experiment or method or 'unnamed'}"


def swept(overrides: list[str]) -> list[str]:
    """The keys of a command line that have several values, as often as they stand there."""
    parsed = OverridesParser.create().parse_overrides(overrides)
    return [override.key_or_group for override in parsed if override.is_sweep_override()]


def job_dir(overrides: list[str], also: Collection[str] = ()) -> str:
    """A folder name that is a pure function of the overrides that can change a job's result, whatever their order.

    also: keys that cannot, but have several values in this sweep.
    """
    keys = [key for key in FREE if key not in also]
    given = ",".join(sorted(override for override in overrides if not within(override.split("=")[0], keys))) or "defaults"
    name = re.sub(r"[^\w.,=+\[\]-]", "_", given)
    if name == given and len(name) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME - 9]}-{hashlib.sha256(given.encode()).hexdigest()[:8]}"  # no two jobs share a folder


LAB_FREE = ("protocol.networks", "protocol.plotted")  # more networks are added to those that are there


def lab_dir(root: DictConfig, also: Collection[str] = ()) -> str:
    """lab/<protocol>, and what else the command line sets: the same command finds its parts again.

    also: keys of LAB_FREE that have several values in this sweep.
    """
    free = {"protocol", *LAB_FREE} - set(also)
    overrides = [override for override in root.hydra.overrides.task if override.split("=")[0] not in free]
    protocol = OmegaConf.select(root, "hydra.runtime.choices.protocol")
    return f"lab/{protocol},{job_dir(overrides)}" if overrides else f"lab/{protocol}"


def run_dir(fresh: str, *, _root_: DictConfig) -> str:
    """The directory of the run to continue, or a fresh one (also where `resume` is no run: nothing is made at a mistaken path)."""
    folder = run_of(OmegaConf.select(_root_, "resume"))
    return str(folder) if folder is not None and directory.holds_run(folder) else fresh


def run_of(resume: str | None) -> Path | None:
    """The run directory that `resume`, a directory or one of its checkpoints, speaks of; of a stage the one of the whole run."""
    if not resume:
        return None
    path = Path(resume).expanduser()
    return directory.whole(path.parent.parent if path.suffix == ".pt" else path)


def output_subdir(*, _root_: DictConfig) -> str | None:
    """.hydra, or None where a run is continued or another process is at work: its own configuration stays."""
    if startup.rank()[0] > 0:
        return None  # the first of those that train together makes the directory
    settings = _root_.hydra
    folder = Path(settings.run.dir)
    if settings.mode == RunMode.MULTIRUN:
        folder = Path(settings.sweep.dir) / str(settings.sweep.subdir)
    return None if directory.holds_run(folder) or directory.is_busy(folder) else ".hydra"
