"""Where an epoch's row goes besides train.log: metrics.jsonl always, TensorBoard when asked."""

import json
from collections.abc import Callable
from pathlib import Path

from bnn_train import files, register
from bnn_train.config.trainer import LoggerConfig
from bnn_train.errors import ConfigError
from bnn_train.training.trainer import Row

Logger = Callable[[Row], None]


def build(config: LoggerConfig, run_dir: Path, history: list[Row]) -> list[Logger]:
    """The loggers of a run; each takes a row. `history` are the rows of a run that is continued: what a crash left beyond is cut.

    Raises ConfigError where TensorBoard is asked for and not installed.
    """
    loggers = [_metrics_file(run_dir / "metrics.jsonl", history)]
    if config.tensorboard:
        loggers.append(_tensorboard(run_dir / "tensorboard", len(history)))
    if config.name in register.FOUND["logger"]:
        loggers.append(_plugged(register.FOUND["logger"][config.name], config, run_dir))
    return loggers


def _plugged(plugged: register.Plugged, config: LoggerConfig, run_dir: Path) -> Logger:
    """A plugin's. It gets a copy of the row, which is the run's."""
    keys = plugged.given(config)
    if plugged.positional == 2:
        return lambda row: plugged.call(dict(row), run_dir, **keys)
    take = plugged.call(run_dir, **keys)
    if not callable(take):
        raise plugged.fault(f"gives {type(take).__name__}; a function of the run directory gives one that takes each row")
    return lambda row: take(dict(row))


def _metrics_file(path: Path, history: list[Row]) -> Logger:
    """One JSON object per line and epoch. No times in it: the same command with the same seed writes the same file."""
    files.write_text("".join(json.dumps(row) + "\n" for row in history), path)

    return lambda row: files.append_line(json.dumps(row), path)


def _tensorboard(folder: Path, done: int) -> Logger:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError("logger", "tensorboard", "is not installed: pip install 'bnn-train[tensorboard]'") from error
    writer = SummaryWriter(str(folder), purge_step=done + 1)

    def write(row: Row) -> None:
        for key, value in row.items():
            if key != "epoch":
                name, _, quantity = key.partition("_")
                writer.add_scalar(f"{quantity}/{name}" if quantity else key, value, row["epoch"])
        writer.flush()

    return write
