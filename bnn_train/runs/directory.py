"""What a run directory holds besides its checkpoints: the lock, the times, the summary, and what stays after the end."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from bnn_train.errors import Busy, ConfigError
from bnn_train.files import append_line, write_text


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Makes the folder and holds its lock; the system drops the lock of a process that dies.

    Raises Busy where another process holds it, ConfigError where the folder cannot be written to.
    """
    lock = FileLock(run_dir / ".lock")
    try:
        (run_dir / "checkpoints").mkdir(parents=True, exist_ok=True)
        if not os.access(run_dir / "checkpoints", os.W_OK):
            raise PermissionError(13, "Permission denied")
        lock.acquire(blocking=False)
    except Timeout:
        raise Busy("hydra.run.dir", run_dir, "another process is training in this directory; wait for it, or stop it") from None
    except (OSError, NotImplementedError) as error:  # the latter is filelock's for a file system without locks
        raise ConfigError("hydra.run.dir", run_dir, f"cannot be written to ({error})") from error
    (run_dir / "failure.txt").unlink(missing_ok=True)  # of an earlier try, as a job of a sweep
    try:
        yield
    finally:
        lock.release()


def read_summary(run_dir: Path) -> dict[str, Any] | None:
    """summary.json, or None where the run has none yet."""
    file = run_dir / "summary.json"
    summary: dict[str, Any] | None = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
    return summary


def write_summary(summary: dict[str, Any], run_dir: Path) -> None:
    write_text(json.dumps(summary, indent=2) + "\n", run_dir / "summary.json")


def mark_continued(run_dir: Path) -> None:
    """Says in a summary that the run goes on: until its next end the figures are those of result.pt, not of the run."""
    summary = read_summary(run_dir)
    if summary is not None and summary.get("status", "finished") == "finished":
        write_summary({**summary, "status": "continued"}, run_dir)


def tidy(run_dir: Path, keep: str) -> None:
    """Deletes the checkpoints that trainer.keep leaves out, once the result is written."""
    gone = {"result": ("last.pt", "previous.pt", "best.pt"), "last": ("previous.pt",), "all": ()}[keep]
    for name in gone:
        (run_dir / "checkpoints" / name).unlink(missing_ok=True)


def add_time(run_dir: Path, epoch: int, images: int, train_seconds: float, seconds: float) -> None:
    """Adds a line to times.jsonl. Times are kept apart from metrics.jsonl, which the seed determines.

    images: that were trained on in train_seconds, fewer than an epoch's where the run was continued within it.
    seconds: of the whole epoch, with evaluation and saving.
    """
    line = {"epoch": epoch, "images": images, "train_seconds": train_seconds, "seconds": seconds}
    append_line(json.dumps(line), run_dir / "times.jsonl")


def total_times(run_dir: Path) -> dict[str, float]:
    """{"seconds", "images_per_second"} over all epochs.

    Where an epoch was repeated after a crash, its last line counts; a line that a crash cut short does not.
    """
    file = run_dir / "times.jsonl"
    times = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        with suppress(json.JSONDecodeError):
            time = json.loads(line)
            times[time["epoch"]] = time
    images, train_seconds, seconds = (sum(t[key] for t in times.values()) for key in ("images", "train_seconds", "seconds"))
    return {"seconds": seconds, "images_per_second": images / train_seconds if train_seconds else 0.0}
