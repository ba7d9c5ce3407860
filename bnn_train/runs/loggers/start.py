"""What every logger is given and gives, and how its library is found."""

import importlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bnn_train import files
from bnn_train.errors import ConfigError, as_typed
from bnn_train.training.trainer import Row

Summary = Mapping[str, Any]


class Start(NamedTuple):
    """Of a run that begins or goes on."""

    run_dir: Path
    config: dict[str, Any]  # flat: {"optimizer.lr": 0.001}
    rows: list[tuple[Row, Row]]  # its rows so far, of metrics and of health: a logger that lacks some takes them now


class Logger(NamedTuple):
    write: Callable[[Row, Row], None]  # takes an epoch's row of metrics and of health
    # Takes "finished", "stopped" or "failed", and what summary.json holds, {} where the run has not finished. Called once, last.
    end: Callable[[str, Summary], None] = lambda status, summary: None


def need(name: str, *modules: str) -> Any:
    """The first of the modules, all of which must be there. Raises ConfigError where the logger's library is not installed."""
    try:
        found = [importlib.import_module(module) for module in modules]
    except ImportError as error:
        raise ConfigError("logger", name, f"is not installed: pip install 'bnn-train[{name}]'") from error
    return found[0]


def figures(row: Row, health: Row) -> dict[str, float]:
    """All numbers of an epoch by name: train_loss as in metrics.jsonl, flips/linear1 of the layers."""
    of_layers = {f"{figure}/{name}": value for name, layer in health["layers"].items() for figure, value in layer.items()}
    return {name: value for name, value in {**row, **of_layers}.items() if name not in ("epoch", "steps") and value is not None}


def is_whole(row: Row) -> bool:
    """Whether an epoch's steps are all done; a run that goes on measures it anew where they are not."""
    return "steps" not in row


def results(summary: Summary) -> dict[str, float]:
    """The figures of the run's result, that of one network."""
    kept = ("loss", "accuracy", "penalty", "seconds", "images_per_second")
    return {name: value for name, value in summary.items() if isinstance(value, int | float) and name.endswith(kept)}


def as_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers, truth values and text, for libraries that take no lists."""
    return {name: value if isinstance(value, bool | int | float) else as_typed(value) for name, value in config.items()}


def read(file: Path) -> dict[str, Any]:
    """What a logger keeps with the run; {} where there is nothing, or nothing whole."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def keep(file: Path, what: Mapping[str, Any]) -> None:
    files.write_text(json.dumps(what) + "\n", file)


def title(run_dir: Path) -> str:
    """What the run is called among others: its folder and the one above, a sweep's or a day's."""
    return "/".join(run_dir.resolve().parts[-2:])


@contextmanager
def quiet(*names: str) -> Iterator[None]:
    """Within, these loggers of libraries say errors alone."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)
