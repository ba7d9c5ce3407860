"""Where an epoch's rows go besides the run directory's own files: any number of loggers, each with its keys below its name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from bnn_train.config.checks import Group, key


@dataclass
class LoggerConfig(Group):
    group: ClassVar[str] = "logger"

    name: str = ""


@dataclass
class CsvConfig(LoggerConfig):
    name: str = "csv"


@dataclass
class TensorboardConfig(LoggerConfig):
    name: str = "tensorboard"


@dataclass
class WandbConfig(LoggerConfig):
    group: ClassVar[str] = "logger.wandb"

    name: str = "wandb"
    project: str | None = key(None, "where the run is shown; null: WANDB_PROJECT, else bnn-train", unit="name")
    mode: str | None = key(
        None,
        "offline: into the run directory, uploaded by `wandb sync`; null: WANDB_MODE, else offline",
        ("online", "offline", "disabled"),
    )


@dataclass
class MlflowConfig(LoggerConfig):
    group: ClassVar[str] = "logger.mlflow"

    name: str = "mlflow"
    uri: str | None = key(
        None, "of the tracking store; null: MLFLOW_TRACKING_URI, else mlflow.db in the current directory", unit="name"
    )
    experiment: str | None = key(None, "in which the run is listed; null: MLFLOW_EXPERIMENT_NAME, else bnn-train", unit="name")


LOGGERS: dict[str, type[LoggerConfig]] = {
    "csv": CsvConfig,
    "tensorboard": TensorboardConfig,
    "wandb": WandbConfig,
    "mlflow": MlflowConfig,
}


def by_name(tree: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """{logger: its keys} of a plain tree, also of one from before there were several: {"tensorboard": bool, "name": NAME, keys}."""
    if not isinstance(tree.get("name", "files"), str) or not (isinstance(tree.get("tensorboard"), bool) or "name" in tree):
        return dict(tree)
    keys = {name: value for name, value in tree.items() if name != "tensorboard"}
    found = {"tensorboard": {"name": "tensorboard"}} if tree.get("tensorboard") else {}
    return found if tree.get("name", "files") in ("files", "tensorboard") else {**found, tree["name"]: keys}
