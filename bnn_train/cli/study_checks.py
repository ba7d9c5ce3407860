"""What a row of a study would be refused for once its training begins, found before the first one does.

Loads torch, which the study's process loads anyway where it looks at the data, and each run again; a dozen networks without memory
take less than a second.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from bnn_train import startup
from bnn_train.cli import hydra_errors, stages
from bnn_train.cli.study_arguments import without_flags
from bnn_train.cli.study_rows import Row, needs_a_method
from bnn_train.errors import ConfigError


def tried(rows: Sequence[Row], names: Collection[str]) -> list[Row]:
    """The rows; of those with these names, which have runs to train, each that does not fit its network, images or machine is one
    that says why. Raises ConfigError where no method is left."""
    if not names:
        return list(rows)
    startup.prepare()
    found = [replace(row, refused=_refused(row)) if row.name in names and not row.refused else row for row in rows]
    needs_a_method(found)
    return found


def _refused(row: Row) -> str:
    try:
        _check(row)
    except ConfigError as error:
        return str(hydra_errors.with_origin(error, row.overrides))
    return ""


def _check(row: Row) -> None:
    """As runs/run.py and runs/stages.py check a new run, whose directory is not there yet."""
    from bnn_train import device
    from bnn_train.deploy.teacher import exported
    from bnn_train.runs import assemble, loggers, stage_checks, teacher
    from bnn_train.runs.plan import Plan

    assert row.config is not None
    nowhere = Path("")  # nothing is read from it but whether there is a run
    if row.config.stages.each:
        plain, folders = without_flags(row.overrides)
        planned = stages.composed(row.config, plain, folders)
        stage_checks.check(Plan(row.config, plain, None, planned), nowhere / row.name, exported)
        return
    loggers.check(row.config.logger)
    assemble.check(row.config, device.choose(row.config.device))
    teacher.find(row.config, nowhere / row.name, True, exported)
