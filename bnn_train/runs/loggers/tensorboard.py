"""`logger=tensorboard`: event files in tensorboard/."""

from pathlib import Path
from typing import Any

from bnn_train.runs.loggers import start as starting
from bnn_train.runs.loggers.start import Logger, Start, Summary
from bnn_train.training.trainer import Row


def check(config: Any) -> None:
    starting.need("tensorboard", "torch.utils.tensorboard")


def start(config: Any, run: Start) -> Logger:
    """Curves, the configuration as text at step 0, and at the end what the tab HPARAMS compares runs by.

    From the first epoch on that the files lack, what they hold is purged by TensorBoard as it reads, and written again.
    """
    folder = run.run_dir / "tensorboard"
    is_new = not any(folder.glob("events*"))
    there = set() if is_new else _steps(folder)
    missing = next((row["epoch"] for row, _ in run.rows if row["epoch"] not in there), len(run.rows) + 1)
    writer = starting.need("tensorboard", "torch.utils.tensorboard").SummaryWriter(str(folder), purge_step=missing)
    values = starting.as_values(run.config)

    def write(row: Row, health: Row) -> None:
        for key, value in row.items():
            if key != "epoch":
                name, _, quantity = key.partition("_")
                writer.add_scalar(f"{quantity}/{name}" if quantity else key, value, row["epoch"])
        for name, figures in health["layers"].items():
            for figure, value in figures.items():
                writer.add_scalar(f"{figure}/{name}", value, row["epoch"])
        writer.flush()

    def end(status: str, summary: Summary) -> None:
        if summary:
            metrics = {f"result/{name}": value for name, value in starting.results(summary).items()}
            writer.add_hparams(values, metrics, run_name=".", global_step=summary["epoch"])
        writer.close()

    if is_new:
        writer.add_text("configuration", "".join(f"    {key}: {value}\n" for key, value in values.items()), 0)
        writer.flush()
    for row, health in run.rows[missing - 1 :]:
        write(row, health)
    return Logger(write, end)


def _steps(folder: Path) -> set[int]:
    """The epochs that the event files have."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with starting.quiet("tensorboard"):  # it says what it purges
        events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
        events.Reload()
        return {event.step for event in events.Scalars("lr")} if "lr" in events.Tags()["scalars"] else set()
