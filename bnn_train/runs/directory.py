"""What a run directory holds besides its checkpoints: the lock, the times, the summary, and what stays after the end."""

import json
import logging
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from bnn_train.errors import Busy, ConfigError
from bnn_train.files import append_line, for_people, write_text

log = logging.getLogger(__name__)

LOCK, HOLDER = ".lock", ".lock-holder"  # the second one says who holds the first
STAGES = "stages.json"  # of a run in stages: what each of them is (runs/plan.py)
TEACHERS = ("teacher.pt", "teacher.bnn")  # in checkpoints/, the copy of a network that teaches: of a run, or an exported one


def lock(run_dir: Path) -> FileLock:
    """Makes the folder and takes its lock, as often as wanted in this process; the system drops the lock of one that dies.

    A machine that dies may keep it for ever, on a file system of several: HOLDER then says which one it was.
    Raises Busy where another process holds it, ConfigError where the folder cannot be written to.
    """
    held = _take(run_dir)
    with suppress(OSError):  # a full disk: training will say so
        (run_dir / HOLDER).write_text(f"{socket.gethostname()}\n{os.getpid()}\n", encoding="utf-8")
    return held


def _take(run_dir: Path) -> FileLock:
    try:
        (run_dir / "checkpoints").mkdir(parents=True, exist_ok=True)
        if not os.access(run_dir / "checkpoints", os.W_OK):
            raise PermissionError(13, "Permission denied")
        held = FileLock(run_dir.resolve() / LOCK, is_singleton=True)
        held.acquire(blocking=False)
    except Timeout:
        raise Busy("hydra.run.dir", run_dir, _who(run_dir)) from None
    except (OSError, NotImplementedError) as error:  # the latter is filelock's for a file system without locks
        reason = getattr(error, "strerror", None) or error
        raise ConfigError("hydra.run.dir", run_dir, f"cannot be written to ({reason}); choose another, or open it") from error
    return held


def _who(run_dir: Path) -> str:
    """Who trains in a directory, and what to do."""
    who, stayed = _holder(run_dir)
    said = f"another process is training in this directory{who and f' ({who})'}; wait for it, or stop it"
    return f"{said}; {stayed}" if stayed else said


def trained_by(run_dir: Path) -> str:
    """The same of one of several, which are trained beside each other: there is nothing to do, unless its machine has died."""
    within = "; ".join(filter(None, _holder(run_dir)))
    return f"another process trains it{within and f' ({within})'}"


def _holder(run_dir: Path) -> tuple[str, str]:
    """(the process and its machine, how another machine's lock is freed that has stayed); "" for what is not known, or not so."""
    try:
        host, process = (run_dir / HOLDER).read_text(encoding="utf-8").split()
    except (OSError, ValueError):  # it has not written it yet
        return "", ""
    stayed = (
        "" if host == socket.gethostname() else f"where {host} is off and its lock has stayed, delete {for_people(run_dir / LOCK)}"
    )
    return f"{process} on {host}", stayed


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Within this context the folder is this process's. Raises as `lock` does."""
    held = lock(run_dir)
    (run_dir / "failure.txt").unlink(missing_ok=True)  # of an earlier try, as a job of a sweep
    try:
        yield
    finally:
        (run_dir / HOLDER).unlink(missing_ok=True)
        held.release()


def is_busy(run_dir: Path) -> bool:
    """Whether another process is at work in the folder."""
    if not (run_dir / LOCK).exists():
        return False
    try:
        _take(run_dir).release()
    except Busy:
        return True
    except ConfigError:
        return False  # training will say what is wrong
    return False


def holds_run(run_dir: Path) -> bool:
    """Whether there is something to go on from, or a result."""
    own = any((run_dir / "checkpoints" / name).exists() for name in ("last.pt", "previous.pt", "result.pt"))
    return own or ((run_dir / STAGES).exists() and holds_run(stage(run_dir, 1)))


def has_stages(run_dir: Path) -> bool:
    """Whether it is of a run in stages, the first of which has begun; of a finished one they may have been deleted."""
    begun = holds_run(stage(run_dir, 1)) or (run_dir / "checkpoints" / "result.pt").exists()
    return (run_dir / STAGES).exists() and begun


def stage(run_dir: Path, number: int) -> Path:
    """The directory of a stage, counted from 1."""
    return run_dir / f"stage{number}"


def whole(run_dir: Path) -> Path:
    """The run that a directory is a stage of; itself where it is of none."""
    above = run_dir.absolute().parent
    return run_dir.parent if re.fullmatch(r"stage\d+", run_dir.name) and (above / STAGES).exists() else run_dir


def remove_if_nothing_ran(run_dir: Path) -> None:
    """Takes away what a command has left that was refused before its first step, and the empty folders that it stood in.

    The folder was made by that command: nothing of an earlier one is in it.
    """
    if holds_run(run_dir) or (run_dir / "metrics.jsonl").exists():
        return
    with suppress(OSError):
        if (run_dir / STAGES).exists():
            remove_if_nothing_ran(stage(run_dir, 1))
        shutil.rmtree(run_dir / ".hydra", ignore_errors=True)
        for name in ("tensorboard", "wandb"):
            shutil.rmtree(run_dir / name, ignore_errors=True)
        for name in ("train.log", "network.json", "metrics.csv", "mlflow.json", STAGES, LOCK, HOLDER):
            (run_dir / name).unlink(missing_ok=True)
        for name in TEACHERS:
            (run_dir / "checkpoints" / name).unlink(missing_ok=True)
        (run_dir / "checkpoints").rmdir()
        _remove_with_parents(run_dir)


def remove_refused_study(folder: Path) -> None:
    """The same of bnn-lab, which has left no more than its log where it was refused before anything was measured."""
    with suppress(OSError):
        if {path.name for path in folder.iterdir()} == {".hydra", "lab.log"}:
            shutil.rmtree(folder / ".hydra", ignore_errors=True)
            (folder / "lab.log").unlink()
            _remove_with_parents(folder)


def _remove_with_parents(empty: Path) -> None:
    """Raises OSError at the first folder that is not empty; the current directory and what is above it stay."""
    empty.rmdir()
    for folder in empty.absolute().parents:
        if not folder.is_relative_to(Path.cwd()) or folder == Path.cwd():
            break
        folder.rmdir()


def read_summary(run_dir: Path) -> dict[str, Any] | None:
    """summary.json, or None where the run has none yet, or one that a copy or a full disk has cut: it is written again then."""
    file = run_dir / "summary.json"
    try:
        summary: dict[str, Any] | None = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
    except ValueError:
        log.warning("%s is damaged and is written again", file)
        return None
    return summary


def write_summary(summary: dict[str, Any], run_dir: Path) -> None:
    rows = [f"  {json.dumps(key)}: {_in_lines(value)}" for key, value in summary.items()]
    write_text("{\n" + ",\n".join(rows) + "\n}\n", run_dir / "summary.json")


def _in_lines(value: Any) -> str:
    """JSON for people: each item on a line of its own, but a list of numbers or a row of them on one."""
    if isinstance(value, list) and value and all(isinstance(row, list) for row in value):
        return "[\n    " + ",\n    ".join(json.dumps(row) for row in value) + "\n  ]"
    if isinstance(value, list) and not any(isinstance(item, dict | str) for item in value):
        return json.dumps(value)
    return json.dumps(value, indent=2).replace("\n", "\n  ")  # in a text a line break is an escape


def mark_continued(run_dir: Path) -> None:
    """Says in a summary that the run goes on: until its next end the figures are those of result.pt, not of the run."""
    summary = read_summary(run_dir)
    if summary is not None and summary.get("status", "finished") == "finished":
        write_summary({**summary, "status": "continued"}, run_dir)


def tidy(run_dir: Path, keep: str) -> None:
    """Deletes the checkpoints that trainer.keep leaves out, once the result is written."""
    gone = {"result": ("last.pt", "previous.pt", "best.pt", *TEACHERS), "last": ("previous.pt",), "all": ()}[keep]
    for name in gone:
        (run_dir / "checkpoints" / name).unlink(missing_ok=True)


def add_time(run_dir: Path, epoch: int, images: int, train_seconds: float, seconds: float, waited: float | None = None) -> None:
    """Adds a line to times.jsonl. Times are kept apart from metrics.jsonl, which the seed determines.

    images: that were trained on in train_seconds, fewer than an epoch's where the run was continued within it.
    seconds: of the whole epoch, with evaluation and saving. waited: of train_seconds, for images that stay on the disk.
    """
    line = {"epoch": epoch, "images": images, "train_seconds": train_seconds, "seconds": seconds}
    line |= {} if waited is None else {"waited_seconds": waited}
    append_line(json.dumps(line), run_dir / "times.jsonl")


def last_time(run_dir: Path) -> list[tuple[int, float]]:
    """(images, train_seconds) of the last whole line of times.jsonl, alone in a list; none where there is no line."""
    with suppress(OSError):
        for line in reversed((run_dir / "times.jsonl").read_text(encoding="utf-8").splitlines()):
            with suppress(json.JSONDecodeError):
                time = json.loads(line)
                return [(time["images"], time["train_seconds"])]
    return []


def total_times(*run_dirs: Path) -> dict[str, float]:
    """{"seconds", "images_per_second"} over all epochs, and where images stayed on the disk "share_waited" of the training time.

    Where an epoch was repeated after a crash, its last line counts; a line that a crash cut short does not.
    """
    times = {}
    for run_dir in run_dirs:
        file = run_dir / "times.jsonl"
        for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
            with suppress(json.JSONDecodeError):
                time = json.loads(line)
                times[run_dir, time["epoch"]] = time
    images, train_seconds, seconds = (sum(t[key] for t in times.values()) for key in ("images", "train_seconds", "seconds"))
    found = {"seconds": seconds, "images_per_second": images / train_seconds if train_seconds else 0.0}
    if any("waited_seconds" in t for t in times.values()):
        waited = sum(t.get("waited_seconds", 0.0) for t in times.values())
        found["share_waited"] = round(waited / train_seconds, 4) if train_seconds else 0.0
    return found
