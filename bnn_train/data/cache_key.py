"""The name of a set of decoded images: a hash of its files' very bytes, which are read again only where they may have changed.

To read all files takes seconds for a gigabyte and, at every start, minutes for a hundred. So what the hash was is kept beside the
decoded images, under a hash of what the system says of each file without reading it: its place, number, size and times. The time of
the last change is one of them (on Windows that of its creation), which no program sets back.
"""

import hashlib
import os
import re
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from PIL import Image, features

from bnn_train.config.data import DataConfig
from bnn_train.data import image_file

_SETTLED = 2 * 10**9  # nanoseconds: a file that has just been written may be so again within one tick of its file system's clock


def content_key(files: Sequence[Path], config: DataConfig, folder: Path, threads: int = 1) -> str | None:
    """A hash of all files' bytes, of the settings and of what decodes them; None where a file cannot be read: decoding names it.

    folder: of the decoded images, where it is kept; where it cannot be written, every start reads all files.
    """
    try:
        outside, changed = _outside(files, config)
        kept = folder / f"{outside}.key"
        if (known := _kept(kept)) is not None:
            return known
        start = time.time_ns()
        key = _settings(config)
        for digest in _digests(files, threads):
            key.update(digest)
    except (OSError, MemoryError):
        return None
    found = key.hexdigest()[:32]
    if changed < start - _SETTLED:
        _keep(kept, found)
    return found


def _settings(config: DataConfig) -> "hashlib._Hash":
    how = None if config.size is None else (*config.size, config.fit)
    settings = (image_file.FORMAT, how, config.grayscale, Image.__version__, features.version("jpg"))
    return hashlib.sha256(repr(settings).encode())


def _outside(files: Sequence[Path], config: DataConfig) -> tuple[str, int]:
    """A hash of what is known of the files without reading them, and the last time that one was changed, in nanoseconds."""
    key, changed = _settings(config), 0
    for path in files:
        found = os.stat(path)
        key.update(
            f"{os.path.abspath(path)}\0{found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}\n".encode(
                errors="surrogateescape"
            )
        )
        changed = max(changed, found.st_ctime_ns, found.st_mtime_ns)
    return key.hexdigest()[:32], changed


def _kept(file: Path) -> str | None:
    with suppress(OSError, UnicodeDecodeError):
        found = file.read_text(encoding="ascii")
        if re.fullmatch("[0-9a-f]{32}", found):
            return found
    return None


def _keep(file: Path, key: str) -> None:
    with suppress(OSError):  # then it is found out again
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(f"{file.name}.{uuid.uuid4().hex}.tmp")
        try:
            temporary.write_text(key, encoding="ascii")
            os.replace(temporary, file)
        finally:
            temporary.unlink(missing_ok=True)


def _digests(files: Sequence[Path], threads: int) -> Iterator[bytes]:
    """Of each file. One thread for small files: several would wait for each other's interpreter lock."""
    if threads == 1:
        yield from map(_digest, files)
        return
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(files), 10_000):  # a future for each: not of millions at a time
            yield from pool.map(_digest, files[start : start + 10_000])


def _digest(path: Path) -> bytes:
    with open(path, "rb", buffering=0) as file:  # unbuffered: half the time for small files
        return hashlib.sha256(file.read()).digest()
