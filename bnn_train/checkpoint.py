"""Checkpoints: one file of plain types and tensors, written so that a crash at any instant leaves a whole file."""

import os
import random
from pathlib import Path
from typing import Any

import torch

from bnn_train.errors import ConfigError

FORMAT = 1  # raise it when the meaning of what is saved changes


def save(state: dict[str, Any], path: Path) -> None:
    """Writes `state` (plain types and tensors) to `path`: to a temporary file beside it, fsynced, then renamed over it."""
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as file:
        torch.save({"format": FORMAT, **state}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    if os.name == "posix":  # the rename itself reaches the disk with its folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def load(path: Path, key: str = "checkpoint") -> dict[str, Any]:
    """The state that `save` wrote, tensors on the CPU. Code inside a file is never run.

    Raises ConfigError for `key` where the file is missing, cut short, or not one of ours.
    """
    if not path.is_file():
        raise ConfigError(key, path, "there is no such file")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for a bad file: RuntimeError, UnpicklingError, EOFError, KeyError, ...
        raise ConfigError(key, path, "cannot be read as a checkpoint: it is cut short, damaged or foreign") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise ConfigError(key, path, f"is not a checkpoint of this program (format {FORMAT})")
    return state


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
