"""Where --csv FILE writes. What would destroy something else is refused before any work is done."""

import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bnn_train import files
from bnn_train.errors import ConfigError

STANDARD_OUTPUT = "-"
SUFFIX = ".csv"


def destination(given: str, inputs: Iterable[Path]) -> Path | None:
    """The file that is meant, links followed; None for standard output, by whatever name.

    A file that is there already is taken for an earlier result, and replaced, if its name ends in .csv.

    Raises ConfigError for a folder, for one of `inputs`, for another file, and for a place where no file can be made.
    """
    if given == STANDARD_OUTPUT:
        return None
    path = Path(given)
    try:
        there = _status(path)
    except OSError as error:
        raise ConfigError("--csv", given, f"cannot be written to ({(error.strerror or str(error)).lower()})") from None
    if there is not None and stat.S_ISDIR(there.st_mode):
        raise ConfigError("--csv", given, f"is a folder; name a file in it: {path / 'predictions.csv'}")
    if there is not None and _is_standard_output(there):
        return None
    if there is not None and not stat.S_ISREG(there.st_mode):
        return path
    target = Path(os.path.realpath(path))
    if there is not None:
        for one in inputs:
            with suppress(OSError):
                if os.path.samestat(os.stat(one), there):
                    raise ConfigError("--csv", given, f"is {one}, which is read here; name another file")
        if target.suffix.lower() != SUFFIX:
            raise ConfigError("--csv", given, f"is there already, and is no {SUFFIX} file; name another, or delete it first")
    if not target.parent.is_dir():
        raise ConfigError("--csv", given, f"there is no folder {target.parent}")
    closed = next((place for place in (target, target.parent) if place.exists() and not os.access(place, os.W_OK)), None)
    if closed is not None:
        raise ConfigError("--csv", given, f"{closed} may not be written to; name another file")
    return target


@contextmanager
def opened(path: Path) -> Iterator[Callable[[str], object]]:
    """Gives a function that takes text. A regular file has all of it in the end, or is as before; a pipe or a device at once.

    Raises ConfigError where it cannot be written.
    """
    if not path.exists() or path.is_file():
        parts: list[str] = []
        yield parts.append
        files.write_text("".join(parts), path)
        return
    with files.writing(path):
        stream = open(path, "w", encoding="utf-8", newline="")  # noqa: SIM115

    def put(text: str) -> None:
        with files.writing(path):
            try:
                stream.write(text)
                stream.flush()
            except BrokenPipeError:  # its reader has left, and wants no more
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

    try:
        yield put
    finally:
        with suppress(OSError):
            stream.close()


def _status(path: Path) -> os.stat_result | None:
    """None where there is no file, or a link to where none is."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _is_standard_output(there: os.stat_result) -> bool:
    """Of /dev/stdout, and of the file that standard output was led into. The null device takes both without loss."""
    with suppress(AttributeError, OSError, ValueError):  # closed; no file at all
        if not os.path.samestat(os.stat(os.devnull), there):
            return os.path.samestat(os.fstat(sys.stdout.fileno()), there)
    return False
