"""Numba's decorators as this package uses them: compiled once for a machine and kept in the user's cache folder.

Several processes may compile at once: Numba writes aside and renames. Where the folder cannot be written to, every process compiles
anew, which takes a second for each kernel. The folder of NUMBA_CACHE_DIR is used where the user names one.
"""

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numba

# Numba reads floating-point divisions by 0 as NumPy does: Python's exceptions for them would be a branch in every loop.
_OPTIONS = {"error_model": "numpy"}
_broken: list[bool] = []


def block(function: Any) -> Any:
    """Compiles what a kernel does with one block. It is never inlined: in a parallel loop it would not be vectorised."""
    return _compiled(function, inline="never")


def parallel(function: Any) -> Any:
    """Compiles a kernel whose `prange` loops are shared by threads."""
    return _compiled(function, parallel=True)


def folder() -> Path | None:
    """Where compiled kernels are kept, of this package alone; None where they cannot be."""
    if _broken:
        return None
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        kept = base / "bnn_train" / "kernels"
        kept.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=kept).close()
    except (OSError, RuntimeError):  # RuntimeError: a process without a home
        return None
    return kept


def forget() -> None:
    """Deletes the kept kernels, one of which cannot be read or written; what this process compiles from now on is not kept."""
    kept = folder()
    for file in kept.rglob("*.nb[ci]") if kept is not None else ():
        with suppress(OSError):
            file.unlink()
    _broken.append(True)


def _compiled(function: Any, **options: Any) -> Any:
    """Numba takes the folder at this moment; what else in the process uses Numba finds its setting as it was."""
    before = numba.config.CACHE_DIR
    kept = Path(before) if before and not _broken else folder()
    try:
        numba.config.CACHE_DIR = "" if kept is None else str(kept)
        return numba.njit(cache=kept is not None, **_OPTIONS, **options)(function)
    except RuntimeError:  # the user's own folder cannot be written to, nor any other that Numba tries
        return numba.njit(**_OPTIONS, **options)(function)
    finally:
        numba.config.CACHE_DIR = before
