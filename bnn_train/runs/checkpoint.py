"""Checkpoints: one file of plain types and tensors, written so that a crash at any instant leaves a whole file.

A run goes on from two: last.pt and, from one save earlier, previous.pt. Both names always point at whole files: a new one is
written beside them, fsynced and renamed over last.pt, after previous.pt has become a second name of the old one. result.pt is
what a run gave: a network alone, from which nothing is continued.
"""

import itertools
import json
import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bnn_train import files
from bnn_train.errors import ConfigError
from bnn_train.report.jobs import STUDY
from bnn_train.runs import directory, plan

FORMAT = 3  # raise it when the meaning of what is saved changes
# 2 and 1 have the same tensors, and another weight of the prior (resume.py); 1 has a null for every key of its configuration that
# only other options take.
READABLE = (1, 2, 3)
RESULT = "result.pt"


def save(state: dict[str, Any], path: Path, keep: Path | None = None) -> None:
    """Writes `state` (plain types and tensors) to `path`; what was there stays as `keep`, if given.

    Raises ConfigError where it cannot be written; the older files are then as before.
    """
    files.write(path, lambda file: torch.save({"format": FORMAT, **state}, file), keep)


def load(path: Path, key: str = "checkpoint") -> dict[str, Any]:
    """The state that `save` wrote, tensors on the CPU. Code inside a file is never run.

    Raises ConfigError for `key` where the file is missing, cut short, or not one of ours.
    """
    if not path.is_file():
        raise ConfigError(key, path, "there is no such file")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for a bad file: RuntimeError, UnpicklingError, EOFError, KeyError, ...
        if path.suffix.lower() == ".bnn":
            remedy = (
                "is an exported network, which has signs, not the latent weights of a training; give the run that it was made of"
            )
            raise ConfigError(key, path, remedy) from error
        if path.suffix.lower() in (".onnx", ".h", ".c", ".html"):
            remedy = "is no checkpoint, but what bnn-export writes for other programs; give a run, a checkpoint or a .bnn file"
            raise ConfigError(key, path, remedy) from error
        if re.search("allowed global|Unsupported global", str(error)):
            remedy = "holds Python objects, a whole network perhaps, which could run code and are not loaded"
            raise ConfigError(key, path, f"{remedy}; torch.save(net.state_dict(), FILE) saves its tensors alone") from error
        raise ConfigError(key, path, "cannot be read as a checkpoint: it is cut short, damaged or foreign") from error
    found = state.get("format") if isinstance(state, dict) else None
    if not isinstance(found, int):
        raise ConfigError(key, path, "is not a checkpoint of this program")
    if found not in READABLE:
        raise ConfigError(key, path, f"has format {found}, but this version reads {READABLE}: use a newer bnn-train")
    return state


def find(path: Path, key: str) -> Path:
    """The file of the network that a run directory gave, or has reached; or the checkpoint that `path` itself is."""
    if not path.is_dir():
        return path
    folder = path / "checkpoints"
    if (folder / RESULT).is_file():
        return folder / RESULT
    for name in (_result_of_format_1(path), "last.pt", "previous.pt"):
        if name and (folder / name).is_file():
            return folder / name
    if directory.has_stages(path):
        number, count = plan.reached(path)
        remedy = (
            f"is in stage {number} of {count}, and its result will be that of the last one; {path / 'stage1'}, or another of its"
        )
        raise ConfigError(key, path, f"{remedy} stages, is a network by itself")
    if (path / STUDY).exists():
        raise ConfigError(key, path, f"is a study; give one of its runs, {path.as_posix()}/ROW/seed=N")
    raise ConfigError(key, path, f"holds no checkpoints/{RESULT} or last.pt; give a run directory or a checkpoint")


def _result_of_format_1(run_dir: Path) -> str:
    """The checkpoint that a finished run without result.pt names in its summary; "" where it has gone on since, or has none."""
    try:
        summary = json.loads((run_dir / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return "" if "status" in summary else Path(summary.get("checkpoint", "")).name


def latest(folder: Path) -> dict[str, Any] | None:
    """The state of a run's last.pt, or of previous.pt where there is no last.pt; None where there is neither.

    Raises ConfigError for a damaged last.pt, which offers previous.pt if that is whole.
    """
    last, previous = folder / "last.pt", folder / "previous.pt"
    if not last.exists():
        return load(previous, "resume") if previous.exists() else None
    try:
        return load(last, "resume")
    except ConfigError as error:
        try:
            load(previous)
        except ConfigError:
            raise error from None
        remedy = f"{error.remedy}; the checkpoint before it is whole: resume={previous}"
        raise ConfigError(error.key, error.value, remedy) from error


def every(interval: str | None) -> Callable[[], bool]:
    """A function to call after each step: whether it is time to save. "200" is every 200 steps, "60s" every 60 seconds."""
    if interval is None:
        return lambda: False
    if interval.endswith("s"):
        seconds, saved = int(interval[:-1]), time.monotonic()

        def enough_seconds() -> bool:
            nonlocal saved
            if time.monotonic() - saved < seconds:
                return False
            saved = time.monotonic()
            return True

        return enough_seconds
    count = itertools.count(1)
    return lambda: next(count) % int(interval) == 0


def random_state() -> dict[str, Any]:
    """The states of all random generators that training can draw from, as plain types."""
    version, internal, gauss = random.getstate()
    return {
        "python": [version, list(internal), gauss],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
