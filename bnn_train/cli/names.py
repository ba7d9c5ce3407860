"""Names of run directories, sweeps and their jobs. Loads no torch."""

import hashlib
import re
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from bnn_train.config.checks import within
from bnn_train.config.root import FREE

_LONGEST_NAME = 150  # characters; file systems end at 255


def default_name(arguments: list[str]) -> str | None:
    """The swept keys of a command line, as in "ste+seed"; None where it sweeps nothing, or names its sweep or an experiment."""
    try:
        overrides = OverridesParser.create().parse_overrides([a for a in arguments if "=" in a and not a.startswith("-")])
    except HydraException:
        return None  # Hydra will say what is wrong
    swept = [override.key_or_group for override in overrides if override.is_sweep_override()]
    named = {override.key_or_group for override in overrides if not override.is_sweep_override()} & {"sweep.name", "experiment"}
    return None if named or not swept else "+".join(key.replace("/", ".") for key in swept)


def sweep_dir(root: DictConfig) -> str:
    """sweeps/<sweep.name>, or the experiment's name."""
    experiment = OmegaConf.select(root, "hydra.runtime.choices.experiment")
    return f"sweeps/{OmegaConf.select(root, 'sweep.name') or experiment or 'unnamed'}"


def job_dir(overrides: list[str]) -> str:
    """A folder name that is a pure function of the overrides that can change a job's result, whatever their order."""
    given = ",".join(sorted(override for override in overrides if not within(override.split("=")[0], FREE))) or "defaults"
    name = re.sub(r"[^\w.,=+\[\]-]", "_", given)
    if name == given and len(name) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME - 9]}-{hashlib.sha256(given.encode()).hexdigest()[:8]}"  # no two jobs share a folder


def lab_dir(root: DictConfig) -> str:
    """lab/<protocol>, and what else the command line sets: the same command finds its parts again."""
    overrides = [override for override in root.hydra.overrides.task if not override.startswith("protocol=")]
    protocol = OmegaConf.select(root, "hydra.runtime.choices.protocol")
    return f"lab/{protocol},{job_dir(overrides)}" if overrides else f"lab/{protocol}"


def run_dir(fresh: str, *, _root_: DictConfig) -> str:
    """The directory of the run to continue, or a fresh one (also where `resume` is no run: nothing is made at a mistaken path)."""
    resume = Path(OmegaConf.select(_root_, "resume") or "")
    folder = resume.parent.parent if resume.suffix == ".pt" else resume
    return str(folder) if _holds_run(folder) else fresh


def output_subdir(*, _root_: DictConfig) -> str | None:
    """.hydra, or None where a run is continued: its own configuration stays."""
    settings = _root_.hydra
    folder = Path(settings.run.dir)
    if settings.mode == RunMode.MULTIRUN:
        folder = Path(settings.sweep.dir) / str(settings.sweep.subdir)
    return None if _holds_run(folder) else ".hydra"


def _holds_run(folder: Path) -> bool:
    return any((folder / "checkpoints" / name).exists() for name in ("last.pt", "previous.pt", "result.pt"))
