"""What Hydra calls before and after its jobs: directories are checked and named before any work, a sweep ends with its table."""

import atexit
import errno
import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict, read_write

from bnn_train.cli import compose, hydra_errors, names, searches, side_by_side
from bnn_train.config.checks import within
from bnn_train.config.root import FREE
from bnn_train.errors import ConfigError
from bnn_train.report import sweep as report
from bnn_train.report import terminal
from bnn_train.runs import directory


@contextmanager
def refusing() -> Iterator[None]:
    """Ends the program with one line, or with the traceback of a defect; Hydra only warns of an exception in a callback."""
    try:
        yield
    except ConfigError as refusal:
        terminal.say(f"error: {refusal}", "stderr")
        sys.exit(refusal.exit_code)
    except Exception:
        traceback.print_exc()
        sys.exit(1)


class Hooks(Callback):
    """Of `bnn-train`; named in configs/train.yaml."""

    @refusing()
    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        compose.command(lambda: hydra_errors.typed(config))  # before anything is made on the disk
        check_is_there(config.get("resume"))
        if config.get("dry_run") is True:
            with read_write(config.hydra), open_dict(config.hydra):
                config.hydra.run.dir, config.hydra.output_subdir = _passing_folder(), None
            return
        folder = Path(config.hydra.run.dir)
        check_one_directory(config.get("resume"), folder)
        check_own(config, folder)
        check_free_of("lab.json", "a study of bnn-lab", folder)
        if not folder.exists():
            atexit.register(directory.remove_if_nothing_ran, folder)
        self.lock = directory.lock(folder)  # before Hydra writes into it; held until the process ends

    @refusing()
    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        given, typed = list(config.hydra.overrides.hydra), list(config.hydra.overrides.task)
        swept = names.swept(typed)
        name = names.default_name(typed)
        searches.check_sweep(config, typed, swept)
        if searches.is_search(config.hydra.sweeper):
            searches.settle(config, given, swept)
        if config.get("dry_run") is True:
            for_all_jobs(config, _passing_folder(), "hydra.output_subdir=null")
            return
        if not any(override.startswith("hydra.sweep.dir=") for override in given):
            for_all_jobs(config, f"sweeps/{name}" if name is not None else config.hydra.sweep.dir)
        free = [key for key in dict.fromkeys(swept) if within(key, FREE)]
        if free and not any(override.startswith("hydra.sweep.subdir=") for override in given):
            for_all_jobs(config, config.hydra.sweep.dir, f"hydra.sweep.subdir='${{job_dir:{','.join(free)}}}'")
        folder = Path(config.hydra.sweep.dir)
        if not folder.exists():
            atexit.register(_remove_if_empty, folder)
        check_writable("hydra.sweep.dir", folder)
        self.failures, self.shown = _failures(folder), False
        atexit.register(lambda: self._show_once(folder) if _failures(folder) - self.failures else None)
        if os.name == "posix":
            side_by_side.forward_signals()

    @refusing()
    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        if config.get("dry_run") is True:
            return
        folder = Path(config.hydra.sweep.dir)
        try:
            self._show_once(folder)
        finally:  # the exit code of a sweep in which a job failed, not in an earlier command, whatever became of the table
            if _failures(folder) - self.failures:
                sys.exit(1)

    def _show_once(self, folder: Path) -> None:
        """The table: at a sweep's end, or where the sweeper ended with an error, as Optuna does when every trial has failed."""
        if self.shown:
            return
        self.shown = True
        terminal.write("\n")
        try:
            report.show(folder)
        except ConfigError as error:
            terminal.say(f"error: {error}", "stderr")


def _failures(sweep_dir: Path) -> set[tuple[str, int]]:
    """The failed jobs of a sweep, and when each failed."""
    return {(str(file), file.stat().st_mtime_ns) for file in sweep_dir.glob("*/failure.txt")}


def for_all_jobs(config: DictConfig, sweep_dir: str, *overrides: str) -> None:
    """Sets a sweep's directory, and Hydra's own overrides: every job agrees on them, wherever a launcher runs it."""
    with read_write(config.hydra), open_dict(config.hydra):
        quoted = sweep_dir.replace("\\", "\\\\").replace("'", "\\'")
        config.hydra.overrides.hydra.extend([f"hydra.sweep.dir='{quoted}'", *overrides])
        config.hydra.sweep.dir = sweep_dir


def _passing_folder() -> str:
    """A folder that is gone when the program ends, for what leaves nothing."""
    folder = tempfile.mkdtemp(prefix="bnn-train-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def check_writable(key: str, folder: Path) -> None:
    """Makes the folder. Raises ConfigError where it cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise ConfigError(key, folder, f"cannot be written to ({error.strerror}); choose another, or open it") from error


def check_free_of(file: str, what: str, folder: Path) -> None:
    """Raises ConfigError where the folder holds what must not be written over."""
    if (folder / file).exists():
        raise ConfigError("hydra.run.dir", folder, f"holds {what}; choose another directory")


def check_is_there(resume: str | None) -> None:
    """Raises ConfigError where `resume` names nothing."""
    if resume and not Path(resume).expanduser().exists():
        raise ConfigError("resume", resume, "there is no such run directory or checkpoint")


def check_own(config: DictConfig, folder: Path) -> None:
    """Raises ConfigError where a run would write into the current folder or among the user's images."""
    if not config.hydra.run.dir:
        raise ConfigError("hydra.run.dir", "", "needs a folder; leave it out for a new one below outputs/")
    if (whole := directory.whole(folder)) != folder:
        raise ConfigError("hydra.run.dir", folder, f"is a stage of the run {whole}; resume={whole} continues that")
    root = Path(config.data.root).expanduser().resolve()
    if config.data.name == "image_folder" and folder.resolve().is_relative_to(root) and not directory.holds_run(folder):
        raise ConfigError("hydra.run.dir", folder, f"lies among the images of data.root={config.data.root}; choose another")


def check_one_directory(resume: str | None, folder: Path) -> None:
    """Raises ConfigError where a run was to go on somewhere else than in its own directory."""
    run = names.run_of(resume)
    if run is not None and directory.holds_run(run) and run.resolve() != folder.resolve():
        remedy = (
            f"resume={resume} continues that run in place; leave one of the two out, or start a new run with init_from={resume}"
        )
        raise ConfigError("hydra.run.dir", folder, remedy)


def _remove_if_empty(sweep_dir: Path) -> None:
    """Takes away what a sweep has left that ended before its first job."""
    if not any(path.is_dir() for path in sweep_dir.glob("*")):
        with suppress(OSError):
            (sweep_dir / "multirun.yaml").unlink(missing_ok=True)
            sweep_dir.rmdir()
            sweep_dir.parent.rmdir()
