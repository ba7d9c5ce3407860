"""What Hydra calls before and after the studies of `bnn-lab`: all are checked before the first, several end in one table."""

import atexit
import itertools
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from bnn_train.cli import compose, hydra_errors, names
from bnn_train.cli.hooks import check_free_of, check_writable, for_all_jobs, refusing
from bnn_train.config.lab import LabConfig
from bnn_train.errors import ConfigError
from bnn_train.report import laboratory, terminal
from bnn_train.runs import directory


class LabHooks(Callback):
    """Of `bnn-lab`; named in configs/lab.yaml."""

    def __init__(self) -> None:
        self.studies: list[Path] = []  # of this command

    @refusing()
    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        compose.command(lambda: hydra_errors.typed(config, LabConfig), LabConfig)
        check_writable("hydra.run.dir", Path(config.hydra.run.dir))
        check_free_of("checkpoints", "a training run", Path(config.hydra.run.dir))

    @refusing()
    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        typed = list(config.hydra.overrides.task)
        compose.command(partial(_check, typed), LabConfig)
        swept = [key for key in dict.fromkeys(names.swept(typed)) if key in names.LAB_FREE]
        if swept and not any(each.startswith("hydra.sweep.subdir=") for each in config.hydra.overrides.hydra):
            for_all_jobs(config, config.hydra.sweep.dir, f"hydra.sweep.subdir='${{lab_dir:{','.join(swept)}}}'")

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        atexit.register(directory.remove_refused_study, Path(config.hydra.runtime.output_dir))

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        self.studies.append(Path(config.hydra.runtime.output_dir))

    @refusing()
    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Several studies end in one table, of those that have the same protocol."""
        files = [folder / "lab.json" for folder in self.studies]
        reports = {file.parent.name: json.loads(file.read_text(encoding="utf-8")) for file in files if file.exists()}
        for protocol in dict.fromkeys(each["config"]["protocol"]["name"] for each in reports.values()):
            alike = {name: each for name, each in reports.items() if each["config"]["protocol"]["name"] == protocol}
            if len(alike) > 1:
                terminal.write(f"\n{laboratory.compared(alike)}\n")


def _jobs(overrides: list[str]) -> Iterator[list[str]]:
    """The overrides of each job, as Hydra's own sweeper makes them."""
    parsed = OverridesParser.create().parse_overrides(overrides)
    for each, given in zip(parsed, overrides, strict=True):
        if each.is_interval_sweep():
            raise ConfigError(each.key_or_group, given.partition("=")[2], "is for a search; type 2,5 or range(2,6)")
    values = [
        [f"{each.get_key_element()}={value}" for value in each.sweep_string_iterator()] if each.is_sweep_override() else [given]
        for each, given in zip(parsed, overrides, strict=True)
    ]
    return map(list, itertools.product(*values))


def _check(overrides: list[str]) -> None:
    """Raises what a job of the command would end with before it measured anything."""
    configs = [hydra_errors.typed(hydra.compose("lab", job), LabConfig, job) for job in _jobs(overrides)]
    from bnn_train.lab import study  # loads torch, now that the configurations are known to be sound

    for config in configs:
        study.check(config)
