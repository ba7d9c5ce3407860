"""Decoded images on the disk: found again by the content of every file, and held against a checksum when they are.

A cache file is a line of text with the format and a checksum, a line of JSON with the shape and the notes, and the images' bytes.
Whatever is wrong with one, the images are decoded again and it is replaced; where none can be written, training goes on without.
"""

import hashlib
import json
import logging
import math
import os
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from PIL import Image, features

from bnn_train.config.data import DataConfig
from bnn_train.data.words import readable
from bnn_train.errors import ConfigError

_FORMAT = 2  # raise it when what is cached changes
Decoded = tuple[torch.Tensor, list[str]]  # images, uint8 (N, C, H, W), and notes on how they were made, for the user

log = logging.getLogger(__name__)


def cached(files: Sequence[Path], config: DataConfig, decode: Callable[[], Decoded]) -> Decoded:
    """What `decode` gives for the files, from the cache where their very bytes were decoded before with the same settings.

    Raises ConfigError where data.cache_dir is not the default and cannot be written, before anything is decoded.
    """
    key = _key(files, config)
    if key is None:
        return decode()
    file = _folder(config) / f"{key}.images"
    found = _read(file)
    if found is None:
        writable = _prepare(file.parent, config)
        found = decode()
        if writable:
            _write(file, *found)
    return found


def _folder(config: DataConfig) -> Path:
    with suppress(RuntimeError):  # a process without a home
        return Path(config.cache_dir).expanduser()
    return Path(config.cache_dir)


def _key(files: Sequence[Path], config: DataConfig) -> str | None:
    """A hash of all files' bytes, of the settings and of what decodes them; None where a file cannot be read: decoding names it."""
    how = None if config.size is None else (*config.size, config.fit)
    settings = (_FORMAT, how, config.grayscale, Image.__version__, features.version("jpg"))
    key = hashlib.sha256(repr(settings).encode())
    try:
        for path in files:
            with open(path, "rb", buffering=0) as file:  # unbuffered: half the time for small files
                key.update(hashlib.sha256(file.read()).digest())
    except (OSError, MemoryError):
        return None
    return key.hexdigest()[:32]


def _read(file: Path) -> Decoded | None:
    """The content of a cache file; None where there is none, or it is damaged."""
    try:
        with open(file, "rb") as stream:
            first, second = stream.readline(100), stream.readline(100_000)
            size = os.fstat(stream.fileno()).st_size - len(first) - len(second)
            if not first.startswith(_first_line(0)[:-9]) or not second.endswith(b"\n"):
                raise ValueError
            header = json.loads(second)
            if size != math.prod(header["shape"]):
                raise ValueError
            images = torch.empty(header["shape"], dtype=torch.uint8)
            content = _content(images)
            place = 0
            while place < size:  # one read gives at most 2 GB
                place += stream.readinto(content[place:]) or size
            if first != _first_line(zlib.crc32(content, zlib.crc32(second))):
                raise ValueError
            return images, header["notes"]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):
        log.warning("image_folder: the cache file %s is damaged or cannot be read: decoding the images again", readable(file))
        return None


def _content(images: torch.Tensor) -> memoryview:
    """The tensor's own bytes, to be read from and written into."""
    return memoryview(images.numpy().reshape(-1).data)


def _first_line(checksum: int) -> bytes:
    return f"bnn_train images {_FORMAT} {checksum:08x}\n".encode()


def _prepare(folder: Path, config: DataConfig) -> bool:
    """Whether cache files can be written. Raises ConfigError where they cannot, and the user chose the folder."""
    probe = folder / f"{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        if config.cache_dir != type(config).cache_dir:
            remedy = f"decoded images cannot be stored there ({_reason(error)}); choose a folder that can be written to"
            raise ConfigError("data.cache_dir", config.cache_dir, remedy) from error
        _say_not_kept(folder, error)
        return False
    return True


def _write(file: Path, images: torch.Tensor, notes: list[str]) -> None:
    second = json.dumps({"shape": list(images.shape), "notes": notes}).encode() + b"\n"
    content = _content(images)
    temporary = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as stream:
            stream.write(_first_line(zlib.crc32(content, zlib.crc32(second))) + second)
            stream.write(content)
        os.replace(temporary, file)
    except OSError as error:  # the disk is full
        _say_not_kept(file.parent, error)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _say_not_kept(folder: Path, error: OSError) -> None:
    log.warning(
        "image_folder: decoded images cannot be kept in %s (%s), so the next run decodes them again; "
        "data.cache_dir=FOLDER puts them elsewhere",
        readable(folder),
        _reason(error),
    )


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
