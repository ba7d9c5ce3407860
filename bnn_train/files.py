"""Writing so that a crash at any instant leaves a whole file: aside, to the disk, then renamed over the old one."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from bnn_train.errors import ConfigError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns a full disk or a folder that cannot be written to into a ConfigError with the file's name."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch reports a write that failed as a RuntimeError
        reason = next((e for e in (error, error.__context__) if isinstance(e, OSError)), error)
        remedy = f"could not be written ({reason}); free or open it, then continue; what was saved before is whole"
        raise ConfigError("file", path, remedy) from error


def write(path: Path, content: Callable[[BinaryIO], object], keep: Path | None = None, shared: bool = False) -> None:
    """Writes what `content` puts into the file it is given; what was there stays as `keep`, if given.

    shared: other processes may write the same file at the same time, so each does it aside by itself. Elsewhere the next write
    takes the place of what a crash has left aside.

    Raises ConfigError where it cannot be written; the older files are then as before.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp" if shared else f"{path.name}.tmp")
    with writing(path):
        try:
            with open(temporary, "wb") as file:
                content(file)
                file.flush()
                os.fsync(file.fileno())
            if keep is not None and path.exists():
                _second_name(path, keep)
            os.replace(temporary, path)
            _sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(text: str, path: Path) -> None:
    """Writes a whole text file or, on a crash, leaves the old one."""
    write(path, lambda file: file.write(text.encode("utf-8")))


def append_line(line: str, path: Path) -> None:
    """Adds a line to a text file."""
    with writing(path), open(path, "a", encoding="utf-8") as file:
        file.write(line + "\n")


def for_people(path: Path) -> Path:
    """Relative where it lies below the current directory."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _second_name(path: Path, keep: Path) -> None:
    link = keep.with_name(keep.name + ".tmp")
    link.unlink(missing_ok=True)
    try:
        os.link(path, link)
    except OSError:  # a file system without hard links: for an instant only `keep` exists, and loading finds it
        os.replace(path, keep)
    else:
        os.replace(link, keep)


def _sync_folder(folder: Path) -> None:
    """Brings renames to the disk, where folders can be synced."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
