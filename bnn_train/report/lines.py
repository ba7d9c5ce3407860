"""The lines that a run prints, from plain data."""

import shlex
from collections.abc import Sequence
from typing import Any

from bnn_train.report.tables import duration

Row = dict[str, Any]  # one line of metrics.jsonl


def first_line(config: Any) -> str:
    """What a command is about to do, said before anything that takes time."""
    if config.resume is not None:
        return f"continuing {config.resume}"
    options = (f"{group}={getattr(config, group).name}" for group in ("ste", "weights", "optimizer", "scheduler"))
    return f"{config.model.name} on {config.data.name}, {', '.join(options)}, seed={config.seed}"


def data_line(name: str, sizes: tuple[int, int, int], image_shape: tuple[int, ...], classes: int) -> str:
    """sizes: training, held-out and test images."""
    train, val, test = sizes
    held_out = f"{val:,} held out, " if val else ""
    shape = "x".join(str(size) for size in image_shape)
    return f"{name}: {train:,} training images, {held_out}{test:,} test images, {shape}, {classes} classes"


def epoch_line(row: Row, times: Sequence[tuple[int, float]], epochs: int, images_per_epoch: int, end: float | None = None) -> str:
    """One line per epoch: the record on the terminal and in train.log. times: (images, seconds) of this process's epochs.

    end: the epochs after which the run ends, where it ends by steps before its last epoch.
    """
    names = ("train", "val", "val_ensemble", "test", "test_ensemble")
    accuracies = "  ".join(f"{name.replace('_', ' ')} {row[f'{name}_accuracy']:.2%}" for name in names if f"{name}_accuracy" in row)
    images, seconds = (sum(column) for column in zip(*times, strict=True))
    left = max(0, (epochs if end is None else min(end, epochs)) - row["epoch"]) * images_per_epoch * seconds / max(images, 1)
    speed = times[-1][0] / times[-1][1] if times[-1][1] else 0.0
    width = len(str(epochs))
    return (
        f"epoch {row['epoch']:{width}}/{epochs}  loss {row['train_loss']:.4f}  {accuracies}  "
        f"lr {row['lr']:.2g}  {speed:,.0f} img/s  left {duration(left)}"
    )


def plan_line(number: int, steps: int, epochs: int, max_steps: int | None) -> str:
    """What a dry run would have done. number: finished steps; steps: in an epoch."""
    total = epochs * steps if max_steps is None else min(epochs * steps, max_steps)
    if number >= total:
        return "dry run: the run is finished, nothing would be done"
    start = f"continue after step {number:,} and " if number else ""
    end = f"{total:,} ({total / steps:.4g} x {steps:,} steps an epoch)"
    return f"dry run: would {start}train to step {end}; nothing was trained or saved"


def resume_argument(run_dir: object) -> str:
    """resume=RUN_DIR as it must be typed in a shell: a path is text for bnn-train, but for null, a leading ~ and outer quotes."""
    path = str(run_dir)
    if path == "null" or path[:1] in ("~", "'", '"'):
        path = f"./{path}"
    return shlex.quote(f"resume={path}")
