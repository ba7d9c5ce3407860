"""`logger=tensorboard`: event files in tensorboard/."""

from typing import Any

from bnn_train.runs.loggers import start as starting
from bnn_train.runs.loggers.start import Logger, Start, Summary
from bnn_train.training.trainer import Row


def check(config: Any) -> None:
    starting.need("tensorboard", "torch.utils.tensorboard")


def start(config: Any, run: Start) -> Logger:
    """Curves, the configuration as text at step 0, and at the end what the tab HPARAMS compares runs by.

    What a crash left beyond the rows of a run that is continued is purged by TensorBoard as it reads.
    """
    folder, done = run.run_dir / "tensorboard", len(run.rows)
    is_new = not any(folder.glob("events*"))
    writer = starting.need("tensorboard", "torch.utils.tensorboard").SummaryWriter(str(folder), purge_step=done + 1)
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
        for row, health in run.rows:
            write(row, health)
        writer.flush()
    return Logger(write, end)
