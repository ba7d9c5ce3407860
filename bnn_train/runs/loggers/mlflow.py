"""`logger=mlflow`: a run in MLflow's tracking store, by default mlflow.db in the current directory, where `mlflow ui` looks."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from bnn_train.config.logger import MlflowConfig
from bnn_train.runs.loggers import start as starting
from bnn_train.runs.loggers.start import Logger, Start, Summary
from bnn_train.training.trainer import Row

_STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
_TALKERS = ("mlflow", "alembic", "urllib3")  # alembic makes the tables, urllib3 tries again
_LONGEST = 6000  # characters of a parameter


def check(config: Any) -> None:
    # A server that is gone is waited for some seconds, not minutes, an epoch; and nothing is told of the user to anybody.
    for name, value in (("HTTP_REQUEST_MAX_RETRIES", "2"), ("HTTP_REQUEST_TIMEOUT", "20"), ("DISABLE_TELEMETRY", "true")):
        os.environ.setdefault(f"MLFLOW_{name}", value)
    starting.need("mlflow", "mlflow.tracking")


def start(config: MlflowConfig, run: Start) -> Logger:
    """The run's id and store are kept in mlflow.json; what the store has of its epochs is not logged again.

    A client, not mlflow.start_run: nothing stays open in the process.
    """
    mlflow = starting.need("mlflow", "mlflow")
    file = run.run_dir / "mlflow.json"
    kept = starting.read(file)
    asked = config.uri or os.environ.get("MLFLOW_TRACKING_URI")
    uri = asked or kept.get("uri") or f"sqlite:///{Path.cwd() / 'mlflow.db'}"
    with starting.quiet(*_TALKERS), _alone(uri):
        client = mlflow.MlflowClient(uri)
        run_id = _again(client, kept["run_id"]) if kept.get("uri") == uri else None
        if run_id is None:
            name = config.experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "bnn-train"
            found = client.get_experiment_by_name(name)
            experiment = found.experiment_id if found else client.create_experiment(name)
            run_id = client.create_run(experiment, run_name=starting.title(run.run_dir)).info.run_id
            starting.keep(file, {"uri": uri, "run_id": run_id})
            values = starting.as_values(run.config)
            _log(client, run_id, params={key: str(value)[:_LONGEST] for key, value in values.items()})
        done = {metric.step for metric in client.get_metric_history(run_id, "lr")}

    def write(row: Row, health: Row) -> None:
        if starting.is_whole(row) and row["epoch"] not in done:
            with starting.quiet(*_TALKERS):
                _log(client, run_id, starting.figures(row, health), row["epoch"])
            done.add(row["epoch"])

    def end(status: str, summary: Summary) -> None:
        figures = {f"result/{name}": value for name, value in starting.results(summary).items()}
        with starting.quiet(*_TALKERS):
            if figures and summary["epoch"] not in {each.step for each in client.get_metric_history(run_id, next(iter(figures)))}:
                _log(client, run_id, figures, summary["epoch"])
            client.set_terminated(run_id, _STATUS[status])

    for row, health in run.rows:
        write(row, health)
    return Logger(write, end)


def _again(client: Any, run_id: str) -> str | None:
    """The id of a run that goes on; None where the store no longer has it."""
    try:
        client.update_run(run_id, status="RUNNING")
    except Exception as error:  # MlflowException, of an unknown run or of a store that does not answer
        if getattr(error, "error_code", "") != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return run_id


def _log(
    client: Any, run_id: str, metrics: Mapping[str, float] | None = None, step: int = 0, params: Mapping[str, str] | None = None
) -> None:
    from mlflow.entities import Metric, Param

    now = int(time.time() * 1000)
    client.log_batch(
        run_id,
        metrics=[Metric(name, float(value), now, step) for name, value in (metrics or {}).items()],
        params=[Param(name, value) for name, value in (params or {}).items()],
    )


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Within, no other job makes the tables of the same file."""
    if not uri.startswith("sqlite:///"):
        yield
        return
    file = Path(uri.removeprefix("sqlite:///"))
    with FileLock(file.with_name(f".{file.name}.lock")):
        yield
