"""Names for sweeps and their jobs, and what is done when a sweep has ended. Imports no torch."""

import errno
import hashlib
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from bnn_train.checks import within
from bnn_train.config import FREE
from bnn_train.errors import ConfigError
from bnn_train.report import sweep as report

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


def check_writable(key: str, folder: Path) -> None:
    """Makes the folder. Ends the program with one line where it cannot be written to; Hydra itself would show a traceback."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        refusal = ConfigError(key, folder, f"cannot be written to ({error.strerror}); choose another, or open it")
        sys.stderr.write(f"error: {refusal}\n")
        sys.exit(refusal.exit_code)


def check_free_of(file: str, what: str, folder: Path) -> None:
    """Ends the program with one line where the folder holds what must not be written over."""
    if (folder / file).exists():
        refusal = ConfigError("hydra.run.dir", folder, f"holds {what}; choose another directory")
        sys.stderr.write(f"error: {refusal}\n")
        sys.exit(refusal.exit_code)


class LabHooks(Callback):
    """What Hydra calls before a study; named in configs/lab.yaml."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        check_writable("hydra.run.dir", Path(config.hydra.run.dir))
        check_free_of("checkpoints", "a training run", Path(config.hydra.run.dir))


class Hooks(Callback):
    """What Hydra calls before and after all jobs; named in configs/train.yaml. A sweep ends with its table."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        check_writable("hydra.run.dir", Path(config.hydra.run.dir))
        check_free_of("lab.json", "a study of bnn-lab", Path(config.hydra.run.dir))

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        check_writable("hydra.sweep.dir", Path(config.hydra.sweep.dir))
        self.start = time.time()

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        jobs = report.read_jobs(folder)
        report.write_csv(jobs, folder / "sweep.csv")
        sys.stdout.write(f"\n{report.table(jobs, str(folder))}\n")
        failures = (folder / job.name / "failure.txt" for job in jobs if job.status == "failed")
        if any(failure.stat().st_mtime >= self.start - 1 for failure in failures):  # not one that an earlier command left
            sys.exit(1)  # the exit code of a sweep in which a job failed
