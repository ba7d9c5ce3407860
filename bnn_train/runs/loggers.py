"""Where an epoch's rows go besides train.log: metrics.jsonl always, TensorBoard when asked."""

import json
from collections.abc import Callable
from pathlib import Path

from bnn_train import files, register
from bnn_train.config.trainer import LoggerConfig
from bnn_train.errors import ConfigError
from bnn_train.report.health import rows_of
from bnn_train.training.trainer import Row

Logger = Callable[[Row, Row], None]  # takes an epoch's row of metrics and of health


def build(config: LoggerConfig, run_dir: Path, history: list[Row], health: Row) -> list[Logger]:
    """The loggers of a run. What a crash left beyond the rows of a run that is continued is cut.

    history: these rows. health: the newest row of its health. Raises ConfigError where TensorBoard is asked for and not installed.
    """
    loggers = [_metrics_file(run_dir / "metrics.jsonl", history), _health_file(run_dir / "health.jsonl", len(history), health)]
    if config.tensorboard:
        loggers.append(_tensorboard(run_dir / "tensorboard", len(history)))
    if config.name in register.FOUND["logger"]:
        loggers.append(_plugged(register.FOUND["logger"][config.name], config, run_dir))
    return loggers


def _plugged(plugged: register.Plugged, config: LoggerConfig, run_dir: Path) -> Logger:
    """A plugin's. It gets a copy of the row, which is the run's."""
    keys = plugged.given(config)
    if plugged.positional == 2:
        return lambda row, health: plugged.call(dict(row), run_dir, **keys)
    take = plugged.call(run_dir, **keys)
    if not callable(take):
        raise plugged.fault(f"gives {type(take).__name__}; a function of the run directory gives one that takes each row")
    return lambda row, health: take(dict(row))


# No times in either: the same command with the same seed writes the same files.


def _metrics_file(path: Path, history: list[Row]) -> Logger:
    """One JSON object per line and epoch."""
    files.write_text("".join(json.dumps(row) + "\n" for row in history), path)

    return lambda row, health: files.append_line(json.dumps(row), path)


def _health_file(path: Path, done: int, health: Row) -> Logger:
    """The same, where there are binary layers. Of `done` epochs the file has the rows, and the checkpoint has the last one, too."""
    rows = {row["epoch"]: row for row in rows_of(path) if row["epoch"] <= done}
    if health["layers"] and health["epoch"] == done:
        rows[done] = health
    if rows or path.exists():
        files.write_text("".join(json.dumps(row) + "\n" for row in rows.values()), path)

    def write(row: Row, health: Row) -> None:
        if health["layers"]:
            files.append_line(json.dumps(health), path)

    return write


def _tensorboard(folder: Path, done: int) -> Logger:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError("logger", "tensorboard", "is not installed: pip install 'bnn-train[tensorboard]'") from error
    writer = SummaryWriter(str(folder), purge_step=done + 1)

    def write(row: Row, health: Row) -> None:
        for key, value in row.items():
            if key != "epoch":
                name, _, quantity = key.partition("_")
                writer.add_scalar(f"{quantity}/{name}" if quantity else key, value, row["epoch"])
        for name, figures in health["layers"].items():
            for figure, value in figures.items():
                writer.add_scalar(f"{figure}/{name}", value, row["epoch"])
        writer.flush()

    return write
