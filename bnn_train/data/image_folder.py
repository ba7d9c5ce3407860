"""Any folder of class folders: decoded once on all cores, resized, and cached as one uint8 tensor per split.

data.root holds train/<class>/ and test/<class>/ (or val/<class>/), or just <class>/ folders, of which `data.test_fraction` is
held out as the test set. The cache file's name is a hash of every file's path, size and time of change and of the settings, so
a changed folder is read again.
"""

import hashlib
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from bnn_train.config.data import DataConfig
from bnn_train.data import decode
from bnn_train.data.splits import Arrays, Split, held_out, split_off
from bnn_train.errors import ConfigError

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
_CACHE_FORMAT = 1  # part of the cache's key: raise it when what is cached changes
_FILES_WORTH_PROCESSES = 500


def image_folder(config: DataConfig) -> Arrays:
    """Reads config.root. Raises ConfigError that names the folder or the first file at fault."""
    train_folder, test_folder = _layout(config)
    if test_folder is not None:
        train, classes = _read_split(train_folder, config)
        test, test_classes = _read_split(test_folder, config)
        if classes != test_classes:
            odd = sorted(set(classes) ^ set(test_classes))[0]
            remedy = f"train/ and {test_folder.name}/ must hold the same classes; only one has {odd}"
            raise ConfigError("data.root", config.root, remedy)
        if train.images.shape[1:] != test.images.shape[1:]:
            remedy = "images of train/ and test/ differ in size; set it, for example to 64"
            raise ConfigError("data.image_size", config.image_size, remedy)
        return Arrays(train, test, classes)
    everything, classes = _read_split(train_folder, config)
    size = max(1, round(config.test_fraction * len(everything)))
    train, test = split_off(everything, held_out("data.test_fraction", everything.labels, size))
    return Arrays(train, test, classes)


def peek_folder(config: DataConfig) -> tuple[tuple[int, int, int], int]:
    """The shape of the images, as the first one has it, and the number of classes. Raises ConfigError as image_folder does."""
    folder = _layout(config)[0]
    classes = _classes(folder, config)
    first = min(_members(folder / classes[0], config))
    return decode.size(first, config), len(classes)


def _layout(config: DataConfig) -> tuple[Path, Path | None]:
    """The folder of the training images, and that of the test images where they have one of their own."""
    root = Path(config.root).expanduser()
    if not root.is_dir():
        remedy = f"is not a folder (looked at {root.absolute()}); it must hold one folder per class"
        raise ConfigError("data.root", config.root, remedy)
    folders = {path.name for path in root.iterdir() if path.is_dir()}
    test_name = next((name for name in ("test", "val") if name in folders), None)
    return (root / "train", root / test_name) if "train" in folders and test_name else (root, None)


def _classes(folder: Path, config: DataConfig) -> list[str]:
    """The names of the class folders, sorted."""
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(classes) < 2:
        found = f"only the class {classes[0]}" if classes else "no class folder"
        remedy = f"{folder.absolute()} holds {found}; it must hold a folder for each of two or more"
        raise ConfigError("data.root", config.root, remedy)
    return classes


def _members(folder: Path, config: DataConfig) -> list[Path]:
    """The image files of a class, sorted."""
    members = sorted(_image_files(folder))
    if not members:
        raise ConfigError("data.root", config.root, f"the class folder {folder.absolute()} holds no image")
    return members


def _read_split(folder: Path, config: DataConfig) -> tuple[Split, list[str]]:
    classes = _classes(folder, config)
    files: list[Path] = []
    labels: list[int] = []
    for number, name in enumerate(classes):
        members = _members(folder / name, config)
        files.extend(members)
        labels.extend([number] * len(members))
    return Split(_cached(folder, files, config), torch.tensor(labels)), classes


def _image_files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def _cached(folder: Path, files: list[Path], config: DataConfig) -> Tensor:
    key = hashlib.sha256(repr((_CACHE_FORMAT, config.image_size, config.grayscale)).encode())
    for path in files:
        status = path.stat()
        key.update(repr((str(path.relative_to(folder)), status.st_size, status.st_mtime_ns)).encode())
    cache = Path(config.cache_dir).expanduser() / f"{key.hexdigest()[:32]}.pt"
    if cache.exists():
        try:
            images: Tensor = torch.load(cache, weights_only=True)
            return images
        except (RuntimeError, EOFError, OSError, ValueError):  # cut short or damaged: decode again
            pass
    with _naming_cache_dir(config):
        cache.parent.mkdir(parents=True, exist_ok=True)
    images = _decode_all(folder, files, config)
    temporary = cache.with_name(f"{cache.name}.{os.getpid()}.tmp")
    try:
        with _naming_cache_dir(config):
            torch.save(images, temporary)
            os.replace(temporary, cache)
    finally:
        temporary.unlink(missing_ok=True)
    return images


@contextmanager
def _naming_cache_dir(config: DataConfig) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as a RuntimeError
        raise ConfigError("data.cache_dir", config.cache_dir, f"decoded images cannot be stored there ({error})") from error


def _decode_all(folder: Path, files: list[Path], config: DataConfig) -> Tensor:
    with _mapper(len(files)) as mapper:
        decoded = mapper(partial(decode.decode, config=config), files)
        first = next(decoded)
        images = torch.empty((len(files), *first.shape), dtype=torch.uint8)
        bar = tqdm(chain([first], decoded), f"decoding {folder.name}/", len(files), unit="img", disable=None, leave=False)
        for i, image in enumerate(bar):
            if image.shape != first.shape:
                sizes = " and ".join(
                    f"{a.shape[2]}x{a.shape[1]} ({p.parent.name}/{p.name})" for a, p in ((first, files[0]), (image, files[i]))
                )
                raise ConfigError("data.image_size", None, f"the images differ in size, {sizes}; set it, for example to 64")
            images[i] = torch.from_numpy(image)
    return images


@contextmanager
def _mapper(count: int) -> Iterator[Callable[..., Iterator[np.ndarray]]]:
    """`map`, over processes on all cores where there are files enough to pay for starting them.

    Processes, not threads: on small images two threads take twice as long as none, waiting for each other's interpreter lock.
    Spawned, not forked: torch has threads by now, which a fork would leave half alive.
    """
    if count < _FILES_WORTH_PROCESSES:
        yield map
        return
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        try:
            yield partial(pool.map, chunksize=32)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
