"""Where an epoch's rows go besides train.log: the run directory's own files always, loggers as they are chosen."""

import json
import logging
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

from bnn_train import files, register
from bnn_train.config.checks import flat
from bnn_train.config.logger import LoggerConfig
from bnn_train.config.root import Config
from bnn_train.errors import ConfigError, Interrupted, PluginError
from bnn_train.report import grid
from bnn_train.report.health import rows_of
from bnn_train.runs import checkpoint
from bnn_train.runs.loggers import csv_file, mlflow, tensorboard, wandb
from bnn_train.runs.loggers.start import Logger, Start, Summary
from bnn_train.training.trainer import Row

log = logging.getLogger(__name__)

MODULES: dict[str, ModuleType] = {"csv": csv_file, "tensorboard": tensorboard, "wandb": wandb, "mlflow": mlflow}
AGAIN = 60.0  # seconds until a logger that has failed is tried again, so that a server which is gone does not slow every epoch


def check(chosen: Mapping[str, LoggerConfig]) -> None:
    """Raises ConfigError, before any work, for a logger that cannot start here, as where its library is not installed."""
    for name, config in chosen.items():
        if name in MODULES and hasattr(MODULES[name], "check"):
            MODULES[name].check(config)


class Outputs:
    """The loggers of a run while it trains."""

    def __init__(self, loggers: list[Logger]) -> None:
        self.loggers = loggers
        self.summary: Summary = {}  # to be set when there is one

    def write(self, row: Row, health: Row) -> None:
        for logger in self.loggers:
            logger.write(row, health)


@contextmanager
def opened(config: Config, run_dir: Path, history: list[Row], health: Row) -> Iterator[Outputs]:
    """The loggers of a run. What a crash left beyond the rows of a run that is continued is cut, what it left out is added.

    history: these rows. health: the newest row of its health. A chosen logger that fails at its start raises ConfigError; one that
    fails later is told once, and what it has not taken is given to it again later, at last at the end. torch's and Python's
    generators stay as they are.
    """
    drawn = checkpoint.random_state()
    outputs = Outputs([])
    status = "failed"
    try:
        healths = {row["epoch"]: row for row in rows_of(run_dir / "health.jsonl")}
        rows = [(row, healths.get(row["epoch"], {"epoch": row["epoch"], "layers": {}})) for row in history]
        start = Start(run_dir, flat({**asdict(config), "logger": {}}), rows)
        for name, chosen in config.logger.items():
            outputs.loggers.append(_guarded(name, _started(name, chosen, start)))
        outputs.loggers.insert(0, _metrics_file(run_dir / "metrics.jsonl", history))
        outputs.loggers.insert(1, _health_file(run_dir / "health.jsonl", history, health))
        checkpoint.set_random_state(drawn)
        yield outputs
        status = "finished"
    except Interrupted:
        status = "stopped"
        raise
    finally:
        for logger in outputs.loggers:
            logger.end(status, outputs.summary)


def _started(name: str, config: LoggerConfig, start: Start) -> Logger:
    if name in register.FOUND["logger"]:
        return _plugged(register.FOUND["logger"][name], config, start.run_dir)
    try:
        logger: Logger = MODULES[name].start(config, start)
    except ConfigError:
        raise
    except Exception as error:  # of its library, of many types: no such server, a damaged store, no account
        raise ConfigError("logger", name, f"cannot start ({_said(error)}); leave it out, or see to it") from error
    return logger


def _plugged(plugged: register.Plugged, config: LoggerConfig, run_dir: Path) -> Logger:
    """A plugin's. It gets a copy of the row, which is the run's."""
    keys = plugged.given(config)
    if plugged.positional == 2:
        return Logger(lambda row, health: plugged.call(dict(row), run_dir, **keys))
    take = plugged.call(run_dir, **keys)
    if not callable(take):
        raise plugged.fault(f"gives {type(take).__name__}; a function of the run directory gives one that takes each row")
    return Logger(lambda row, health: take(dict(row)))


def _guarded(name: str, logger: Logger) -> Logger:
    """The same, but what it raises is told, and the training goes on; the rows that it has not taken come again.

    One that fails at the end as well is left out, and after a second one in a row so is the rest.
    """
    held: list[tuple[Row, Row]] = []
    failed_at: list[float] = []

    def hand_over(may_fail: int = 0) -> None:
        failures = 0
        while held:
            try:
                logger.write(*held[0])
                failures = 0
            except Exception:
                failures += 1
                if failures > may_fail:
                    raise
            del held[0]

    def attempt(function: Callable[[], Any]) -> None:
        try:
            function()
        except Exception as error:
            if not failed_at:
                line = f"note: logger={name} has failed ({_said(error)}); the run goes on, and its rows will be tried again"
                log.warning("%s", grid.sentence(line))
            log.debug("", exc_info=True)
            failed_at[:] = [time.monotonic()]

    def write(row: Row, health: Row) -> None:
        held.append((row, health))
        if not failed_at or time.monotonic() - failed_at[0] >= AGAIN:
            attempt(hand_over)

    def end(status: str, summary: Summary) -> None:
        attempt(lambda: hand_over(may_fail=1))
        attempt(lambda: logger.end(status, summary))

    return Logger(write, end)


def _said(error: Exception) -> str:
    """An error in half a line, with its place where it is a plugin's."""
    said = error.remedy if isinstance(error, PluginError) else register.behind(error) or register.said(error)
    return textwrap.shorten(said, 160, placeholder=" ...")


# No times in either: the same command with the same seed writes the same files.


def _metrics_file(path: Path, history: list[Row]) -> Logger:
    """One JSON object per line and epoch."""
    files.write_text("".join(json.dumps(row) + "\n" for row in history), path)
    return Logger(lambda row, health: files.append_line(json.dumps(row), path))


def _health_file(path: Path, history: list[Row], health: Row) -> Logger:
    """The same, where there are binary layers. Of the epochs done the file has the rows, the checkpoint the last one too."""
    done = len(history)
    rows = {row["epoch"]: row for row in rows_of(path) if row["epoch"] <= done}
    if health["layers"] and health["epoch"] == done:
        rows[done] = health
    if rows or path.exists():
        files.write_text("".join(json.dumps(row) + "\n" for row in rows.values()), path)

    def write(row: Row, health: Row) -> None:
        if health["layers"]:
            files.append_line(json.dumps(health), path)

    return Logger(write)
