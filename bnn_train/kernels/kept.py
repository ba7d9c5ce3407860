"""Compiled kernels in the user's cache folder: the next process loads what this one has compiled.

A file holds a digest and the code behind it, so that what a crash or a full disk has cut is compiled again. Its name is a digest
of all that the code follows from. Where the folder cannot be written to, every process compiles for itself.
"""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from bnn_train import files
from bnn_train.errors import ConfigError

_DIGEST = hashlib.sha256().digest_size


def name(*parts: str) -> str:
    """Of the file for what follows from these texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def load(key: str) -> bytes | None:
    """The code under a name; None where there is none, or not the whole of it."""
    try:
        content = (_folder() / key).read_bytes()
    except (OSError, RuntimeError):  # RuntimeError: a process without a home
        return None
    code = content[_DIGEST:]
    return code if hashlib.sha256(code).digest() == content[:_DIGEST] else None


def save(key: str, code: bytes) -> None:
    """Keeps the code under a name, if it can be."""
    with suppress(OSError, RuntimeError, ConfigError):
        _folder().mkdir(parents=True, exist_ok=True)
        files.write(_folder() / key, lambda file: file.write(hashlib.sha256(code).digest() + code), shared=True)


def _folder() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "bnn_train" / "kernels"
