"""A run in stages: one run directory, in which each stage is an ordinary run of its own, and at the top what the last one gave."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bnn_train import device, files, models
from bnn_train.config.checks import flat, nested, within
from bnn_train.config.root import EXTENDS, FREE, Config, typed
from bnn_train.config.stages import NAMED, of_stage
from bnn_train.data import datasets
from bnn_train.errors import ConfigError
from bnn_train.files import for_people
from bnn_train.report import lines, tables
from bnn_train.runs import assemble, checkpoint, directory, loggers, plan, resume, start
from bnn_train.runs.plan import Plan, Stage
from bnn_train.runs.run import run
from bnn_train.runs.summary import Summary

log = logging.getLogger(__name__)

_TAKEN_OVER = [*FREE, "plugins"]  # what a stage that goes on takes from its configuration now
_AT_THE_TOP = ("network.json", "metrics.jsonl", "health.jsonl", "predictions.npz")  # files of the last stage


def train(
    config: Config, stages: Sequence[Stage], run_dir: Path, overrides: Sequence[str], choices: Mapping[str, str] | None = None
) -> Summary:
    """Trains as `config` says, with its `stages` where it has any (cli/stages.py); else as `run`.

    In `run_dir` a run in stages goes on where it was, by the stages that it was started with. With dry_run nothing is trained or
    written, and the summary is empty. Raises as `run` does.
    """
    whole = _whole(config, run_dir)
    is_there = directory.has_stages(whole)
    if not is_there and (not stages or directory.holds_run(whole)):  # of a run without stages it will say that it has none
        return run(config, run_dir, list(overrides), choices)
    settled = _continued(config, whole, overrides) if is_there else Plan(config, list(overrides), _plain(choices), list(stages))
    if config.dry_run:
        return _dry_run(settled, whole)
    with directory.locked(run_dir):
        summary = directory.read_summary(run_dir)
        if summary is not None:
            log.info("%s", lines.stages_finished_line(for_people(run_dir), len(settled.stages)))
            return summary
        _check(settled, run_dir)
        plan.write(settled, run_dir)
        for number in range(1, len(settled.stages) + 1):
            _train_stage(settled, number, run_dir, config.resume)
        summary = _put_at_the_top(settled, run_dir)
    log.info("\n%s\n", tables.stages_table(summary["stages"]))
    log.info("%s\n", tables.result_table(summary, for_people(run_dir)))
    return summary


def _whole(config: Config, run_dir: Path) -> Path:
    """The directory of the run that goes on, which of a dry run is not its own."""
    if config.resume is None:
        return run_dir
    named = Path(config.resume)
    return directory.whole(named.parent.parent if named.suffix == ".pt" else named)


def _plain(choices: Mapping[str, str] | None) -> dict[str, str] | None:
    return None if choices is None else dict(choices)


def _continued(asked: Config, run_dir: Path, overrides: Sequence[str]) -> Plan:
    """The run's own stages, with what `asked` changes of them by right: the FREE keys, and where its plugins lie."""
    found = plan.read(run_dir)
    ends = [key for key in EXTENDS if any(within(key, [each.lstrip("+").partition("=")[0]]) for each in overrides)]
    stored = resume.config_of(found)
    for key in ends:
        value, before = (flat({"trainer": vars(each.trainer)})[key] for each in (asked, stored))
        if value != before:
            remedy = "a run in stages is not extended: each stage has started from the end of the one before; start a new run"
            raise ConfigError(key, value, remedy)
    settled = resume.settle(found, asked, overrides)
    free = {key: value for key, value in flat(_dict(settled)).items() if within(key, _TAKEN_OVER)}
    changed = {key for key, value in free.items() if value != flat(found["config"]).get(key)}
    same_loggers = settled.logger == stored.logger
    stages = []
    for each in found["stages"]:
        own = flat(_dict(resume.config_of(each)))
        if not same_loggers:
            own = {key: value for key, value in own.items() if not within(key, ["logger"])}
        own |= {key: value for key, value in free.items() if key in changed or (within(key, ["logger"]) and not same_loggers)}
        stages.append(Stage(each["overrides"], typed(nested(own)), each["choices"]))
    return Plan(settled, found["overrides"], found["choices"], stages)


def _dict(config: Config) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(config)


def _check(settled: Plan, run_dir: Path) -> None:
    """Refuses, before the first stage, what would be refused at the beginning of a later one."""
    before: dict[str, Any] | None = None
    for number, stage in enumerate(settled.stages, start=1):
        ready = _ready(stage.config, run_dir, only_there=True)
        try:
            where = device.choose(ready.config.device)
            loggers.check(stage.config.logger)
        except ConfigError as error:
            raise of_stage(number, stage.overrides, str(error)) from error
    return before


def _train_stage(settled: Plan, number: int, run_dir: Path, resumed: str | None) -> None:
    """Trains a stage to its end, from its start or from where it was; nothing where it has ended."""
    stage, folder = settled.stages[number - 1], directory.stage(run_dir, number)
    ...
