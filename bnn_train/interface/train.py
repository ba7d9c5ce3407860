"""A training from Python: the run that the command would do, in its directory."""

import json
import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf, open_dict

from bnn_train import files, plugins, register, startup
from bnn_train.cli import beside_resume, compose, hooks, hydra_errors, plug, stages
from bnn_train.config.root import Config, choices
from bnn_train.errors import ConfigError, Interrupted, PluginError
from bnn_train.interface.typed import Overrides, arguments
from bnn_train.report import lines
from bnn_train.runs import directory

if TYPE_CHECKING:
    from bnn_train.interface.network import Network

logger = logging.getLogger(__name__)

_ONE_AT_A_TIME = threading.Lock()  # torch's generators and flags, which a run sets, are the process's
_training: list[int] = []  # the thread that has it


@dataclass(frozen=True)
class Run:
    """A finished training: `directory` is its run directory, `summary` what summary.json holds."""

    directory: Path
    summary: dict[str, Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "_place", self.directory.absolute())  # wherever the program goes

    def __fspath__(self) -> str:
        """Its run directory: a Run stands where a path may, as in train({"resume": run})."""
        return str(files.for_people(self._place))  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        accuracy = self.summary.get("test_accuracy")
        return f"<Run in {self.directory}{'' if accuracy is None else f', test accuracy {accuracy:.2%}'}>"

    @cached_property
    def history(self) -> list[dict[str, Any]]:
        """A dict for each epoch, of the last stage, as in metrics.jsonl: epoch, lr, train_loss, test_accuracy ..."""
        if not self.summary:  # of a dry run
            return []
        file: Path = self._place / "metrics.jsonl"  # type: ignore[attr-defined]
        if not file.exists():
            raise ConfigError("directory", self.directory, f"holds no metrics.jsonl any more ({file.parent})")
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]

    def frame(self) -> Any:
        """The history as a pandas DataFrame, one row an epoch. pandas must be installed."""
        try:
            import pandas
        except ImportError as error:
            raise ConfigError("frame", "pandas", "is not installed: pip install pandas, or use history") from error
        return pandas.DataFrame(self.history).set_index("epoch")

    def network(self) -> "Network":
        """The network that the run gave."""
        from bnn_train.interface.network import load

        return load(self)


def train(overrides: Overrides = ()) -> Run:
    """Trains as `bnn-train` does with the same overrides, into a run directory, and returns when it has ended.

    overrides: ["model=cnn", "trainer.epochs=3"], or {"model": "cnn", "trainer": {"epochs": 3}}; `resume` continues a run. Where the
    directory is not given (hydra.run.dir) it is a new one below outputs/. The same numbers come out as of the command. A progress
    bar stands on a terminal and in a notebook; the log is in train.log.

    torch's generators, threads and flags are given back as they were found. Runs in one process wait for each other. Raises
    ConfigError for a mistake, also where a plugin's code raises or gives what it must not; Diverged where the loss is no number;
    KeyboardInterrupt at Ctrl-C, after what was reached is saved.
    """
    if threading.get_ident() in _training:
        where = "by a plugin's function, or by a script that plugins= names"
        remedy = f"train() is called within a training, {where}; call it before, and in such a script below"
        raise ConfigError("", "", f'{remedy}  if __name__ == "__main__":')
    with _ONE_AT_A_TIME, startup.environment():
        _training.append(threading.get_ident())
        try:
            return _train(overrides)
        finally:
            _training.clear()


def _train(overrides: Overrides) -> Run:
    plugins.load(plug.named(arguments(overrides)))
    given = beside_resume.settled(arguments(overrides))  # once more: a plugin's keys may hold paths
    with compose.apart():
        config, composed = compose.checked(given)
    folder = Path(composed.hydra.run.dir)
    typed = list(composed.hydra.overrides.task)
    own = stages.folders(composed.hydra.runtime.config_sources)
    planned = [] if directory.has_stages(folder) else stages.composed(config, typed, own)
    startup.prepare()
    from bnn_train.deploy.teacher import exported
    from bnn_train.interface import kept
    from bnn_train.runs.stages import run_all

    log = None if config.dry_run else folder / "train.log"
    with _run_directory(config, composed, folder), kept.log_in(log), kept.settings():
        chosen = choices(composed.hydra.runtime.choices)
        logger.info("%s", lines.first_line(config, chosen))
        try:
            summary = run_all(config, planned, folder, typed, chosen, exported)
        except ConfigError as refusal:
            raise hydra_errors.with_origin(refusal, given) from refusal.__cause__
        except Interrupted as stop:
            if stop.exit_code == 128 + signal.SIGINT:
                needed = [f"plugins=[{','.join(config.plugins)}]"] if config.plugins else []
                raise KeyboardInterrupt(f"saved; continue with train({[*needed, f'resume={folder}']})") from None
            raise
        except Exception as error:
            line = register.behind(error)
            if line is None:
                raise
            raise PluginError("", "", line) from error
    return Run(folder, summary)


@contextmanager
def _run_directory(config: Config, composed: DictConfig, folder: Path) -> Iterator[None]:
    """The folder as the command has it: refused where it is not a run's own, with .hydra/ in it, gone where nothing ran."""
    hooks.check_is_there(config.resume)
    if config.dry_run:
        yield
        return
    hooks.check_one_directory(config.resume, folder)
    hooks.check_own(composed, folder)
    hooks.check_free_of("lab.json", "a study of bnn-lab", folder)
    is_new = not folder.exists()
    try:
        with directory.locked(folder):
            if composed.hydra.output_subdir is not None:
                _write_configuration(composed, folder)
            yield
    except BaseException:
        if is_new:
            directory.remove_if_nothing_ran(folder)
        raise


def _write_configuration(composed: DictConfig, folder: Path) -> None:
    """What Hydra writes of a job: config.yaml, hydra.yaml, overrides.yaml."""
    with open_dict(composed.hydra):
        composed.hydra.runtime.output_dir, composed.hydra.runtime.cwd = str(folder.absolute()), str(Path.cwd())
        composed.hydra.job.name = "train"
    whole = OmegaConf.masked_copy(composed, ["hydra"])
    own = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    target = folder / str(composed.hydra.output_subdir)
    target.mkdir(parents=True, exist_ok=True)
    files.write_text(OmegaConf.to_yaml(own), target / "config.yaml")
    files.write_text(OmegaConf.to_yaml(whole), target / "hydra.yaml")
    files.write_text(OmegaConf.to_yaml(composed.hydra.overrides.task), target / "overrides.yaml")
