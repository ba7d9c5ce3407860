"""What Hydra calls before and after its jobs: directories are checked and named before any work, a sweep ends with its table."""

import atexit
import errno
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict, read_write

from bnn_train.cli import names
from bnn_train.errors import ConfigError
from bnn_train.report import sweep as report
from bnn_train.report import terminal


class Hooks(Callback):
    """Of `bnn-train`; named in configs/train.yaml."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        if config.get("dry_run") is True:
            with read_write(config.hydra), open_dict(config.hydra):
                config.hydra.run.dir, config.hydra.output_subdir = _passing_folder(), None
        check_writable("hydra.run.dir", Path(config.hydra.run.dir))
        check_free_of("lab.json", "a study of bnn-lab", Path(config.hydra.run.dir))

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        given = list(config.hydra.overrides.hydra)
        name = names.default_name(list(config.hydra.overrides.task))
        if config.get("dry_run") is True:
            _for_all_jobs(config, _passing_folder(), "hydra.output_subdir=null")
        elif name is not None and not any(override.startswith("hydra.sweep.dir=") for override in given):
            _for_all_jobs(config, f"sweeps/{name}")
        check_writable("hydra.sweep.dir", Path(config.hydra.sweep.dir))
        self.start = time.time()

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        if config.get("dry_run") is True:
            return
        folder = Path(config.hydra.sweep.dir)
        terminal.write("\n")
        jobs, _ = report.show(folder)
        failures = (folder / job.name / "failure.txt" for job in jobs if job.status == "failed")
        if any(failure.stat().st_mtime >= self.start - 1 for failure in failures):  # not one that an earlier command left
            sys.exit(1)  # the exit code of a sweep in which a job failed


class LabHooks(Callback):
    """Of `bnn-lab`; named in configs/lab.yaml."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        check_writable("hydra.run.dir", Path(config.hydra.run.dir))
        check_free_of("checkpoints", "a training run", Path(config.hydra.run.dir))


def _for_all_jobs(config: DictConfig, sweep_dir: str, *overrides: str) -> None:
    """Sets a sweep's directory, and Hydra's own overrides: every job agrees on them, wherever a launcher runs it."""
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.overrides.hydra.extend([f"hydra.sweep.dir='{sweep_dir}'", *overrides])
        config.hydra.sweep.dir = sweep_dir


def _passing_folder() -> str:
    """A folder that is gone when the program ends, for what leaves nothing."""
    folder = tempfile.mkdtemp(prefix="bnn-train-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def check_writable(key: str, folder: Path) -> None:
    """Makes the folder. Ends the program where it cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        _end(ConfigError(key, folder, f"cannot be written to ({error.strerror}); choose another, or open it"))


def check_free_of(file: str, what: str, folder: Path) -> None:
    """Ends the program where the folder holds what must not be written over."""
    if (folder / file).exists():
        _end(ConfigError("hydra.run.dir", folder, f"holds {what}; choose another directory"))


def _end(refusal: ConfigError) -> None:
    """Ends the program with one line; Hydra only warns of an exception in a callback, and goes on."""
    terminal.write(f"error: {refusal}\n", "stderr")
    sys.exit(refusal.exit_code)
