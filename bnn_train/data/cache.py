"""Decoded images on the disk: found again by the content of every file, and held against checksums when they are read.

data/image_file.py has the format. Whatever is wrong with a file, the images are decoded again and it is replaced. Where images are
kept in memory and no file can be written, training goes on without.
"""

import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from bnn_train import startup
from bnn_train.config.data import DataConfig
from bnn_train.data import image_file, stored
from bnn_train.data.cache_key import content_key
from bnn_train.data.stored import Stored
from bnn_train.data.words import counted, in_bytes, readable
from bnn_train.errors import ConfigError

Decoded = tuple[torch.Tensor, list[str]]  # images, uint8 (N, C, H, W), and notes on how they were made, for the user
Fill = Callable[[Path], tuple[list[str], bytes]]  # writes the images into a file; gives the notes, and the images' marks

log = logging.getLogger(__name__)


def cached(files: Sequence[Path], config: DataConfig, decode: Callable[[], Decoded]) -> Decoded:
    """What `decode` gives for the files, from the cache where their very bytes were decoded before with the same settings.

    Raises ConfigError where data.cache_dir is not the default and cannot be written, before anything is decoded.
    """
    folder = _folder(config)
    key = content_key(files, config, folder)
    if key is None:
        return decode()
    file = folder / f"{key}.images"
    found = _read(file)
    if found is None:
        writable = _prepare(file.parent, config)
        found = decode()
        if writable:
            _write(file, *found)
    return found


def on_disk(files: Sequence[Path], shape: tuple[int, int, int], config: DataConfig, fill: Fill) -> tuple[Stored, list[str]]:
    """The same images, which stay in their file; `fill` decodes images of `shape`, (C, H, W), into a new one.

    Of two processes one decodes, and the other waits for it. Raises ConfigError where the file cannot be written, before anything
    is decoded.
    """
    folder = _folder(config)
    key = (
        content_key(files, config, folder, startup.processors()) or uuid.uuid4().hex
    )  # of what cannot be read, which `fill` will name
    file = folder / f"{key}.images"
    found = _opened(file)
    if found is None:
        _prepare(file.parent, config, must=True)
        with _decoding(file):
            found = _opened(file)
            if found is None:
                _make(file, (len(files), *shape), config, fill)
                found = stored.opened(file)
    return found, found.file.contents.notes


def _folder(config: DataConfig) -> Path:
    with suppress(RuntimeError):  # a process without a home
        return Path(config.cache_dir).expanduser()
    return Path(config.cache_dir)


def _opened(file: Path) -> Stored | None:
    """The images of a cache file, on the disk; None where there is none, or it is damaged."""
    try:
        return stored.opened(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        _say_damaged(file)
        return None


def _read(file: Path) -> Decoded | None:
    """The content of a cache file, in memory; None where there is none, or it is damaged."""
    try:
        with open(file, "rb") as stream:
            found = image_file.contents(stream, os.fstat(stream.fileno()).st_size)
            images = torch.empty(found.shape, dtype=torch.uint8)
            content = _content(images)
            stream.seek(image_file.HEAD)
            place = 0
            while place < len(content):  # one read gives at most 2 GB
                place += stream.readinto(content[place:]) or len(content)
            size = images[0].numel() if len(images) else 0
            sums = found.marks[:, image_file.DIGEST :].tobytes()
            if b"".join(image_file.checksum(content[i * size : (i + 1) * size]) for i in range(len(images))) != sums:
                raise ValueError
            return images, found.notes
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, IndexError, RuntimeError):
        _say_damaged(file)
        return None


def _say_damaged(file: Path) -> None:
    log.warning("image_folder: the cache file %s is damaged or cannot be read: decoding the images again", readable(file))


def _content(images: torch.Tensor) -> memoryview:
    """The tensor's own bytes, to be read from and written into."""
    return memoryview(images.numpy().reshape(-1).data)


def _prepare(folder: Path, config: DataConfig, must: bool = False) -> bool:
    """Whether cache files can be written. Raises ConfigError where they cannot, and they must or the user chose the folder."""
    probe = folder / f"{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        if must or config.cache_dir != type(config).cache_dir:
            remedy = f"decoded images cannot be stored there ({_reason(error)}); choose a folder that can be written to"
            raise ConfigError("data.cache_dir", config.cache_dir, remedy) from error
        _say_not_kept(folder, error)
        return False
    return True


def _write(file: Path, images: torch.Tensor, notes: list[str]) -> None:
    content, size = _content(images), images[0].numel()
    marks = b"".join(image_file.mark(content[i * size : (i + 1) * size]) for i in range(len(images)))
    end = image_file.tail(tuple(images.shape), notes, marks)
    temporary = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as stream:
            for piece in (image_file.first_line(end), content, end):
                stream.write(piece)
        os.replace(temporary, file)
    except OSError as error:  # the disk is full
        _say_not_kept(file.parent, error)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def _decoding(file: Path) -> Iterator[None]:
    """Within, no other process makes this file; what one that died has left of it is gone."""
    lock = FileLock(file.with_suffix(".lock"))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        log.info("image_folder: another process is decoding the same images: waiting for it")
        lock.acquire()
    except (OSError, NotImplementedError):  # a file system without locks: each makes a file of its own
        yield
        return
    try:
        for left in file.parent.glob(f"{file.name}.*.part"):
            with suppress(OSError):  # another user's
                left.unlink(missing_ok=True)
        yield
    finally:
        lock.release()


def _make(file: Path, shape: tuple[int, int, int, int], config: DataConfig, fill: Fill) -> None:
    """Decodes into a file aside, which is then renamed. Its room is taken first, so that a full disk is found before decoding."""
    count, channels, height, width = shape
    pixels = count * channels * height * width
    free, folder = shutil.disk_usage(file.parent).free, readable(file.parent)
    what = f"{counted(count, 'image')} of {width}x{height} take {in_bytes(pixels)}"
    if pixels > free:
        raise _no_room(f"{what}, and {in_bytes(free)} are free there", config)
    log.info("image_folder: %s in %s, where %s are free: decoding them once", what, folder, in_bytes(free))
    temporary = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        with open(temporary, "wb") as stream:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(stream.fileno(), 0, image_file.HEAD + max(1, pixels))
            notes, marks = fill(temporary)
            end = image_file.tail(shape, notes, marks)
            stream.seek(image_file.HEAD + pixels)
            stream.write(end)
            stream.seek(0)
            stream.write(image_file.first_line(end))
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, file)
    except OSError as error:
        raise _no_room(f"{what}, which could not be written ({_reason(error)})", config) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _no_room(what: str, config: DataConfig) -> ConfigError:
    remedy = f"{what}; choose a folder on a larger disk, a smaller data.image_size, or fewer images"
    return ConfigError("data.cache_dir", config.cache_dir, remedy)


def _say_not_kept(folder: Path, error: OSError) -> None:
    log.warning(
        "image_folder: decoded images cannot be kept in %s (%s), so the next run decodes them again; "
        "data.cache_dir=FOLDER puts them elsewhere",
        readable(folder),
        _reason(error),
    )


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
