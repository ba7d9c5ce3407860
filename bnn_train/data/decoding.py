"""Many image files to one tensor, or into one file: on all cores, on one scale and of one size; what is no image is named."""

import logging
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from bnn_train import startup
from bnn_train.config.data import DataConfig
from bnn_train.data import depth, image_file, memory
from bnn_train.data.decode import Unreadable, decode
from bnn_train.data.words import counted, listed, readable
from bnn_train.errors import ConfigError

_FILES_WORTH_PROCESSES = 500
_NAMED = 10  # unreadable files in one message

log = logging.getLogger(__name__)


def decode_all(files: Sequence[Path], config: DataConfig) -> tuple[torch.Tensor, list[str]]:
    """The images, uint8 (N, C, H, W), and notes on their scale. Raises ConfigError that names the files at fault."""
    if config.size is not None:
        memory.check(len(files), (1 if config.grayscale else 3, *config.size), config)
    images: torch.Tensor | None = None

    def keep(i: int, pixels: np.ndarray) -> None:
        nonlocal images
        if images is None:
            images = memory.room(len(files), pixels.shape, config)
        images[i] = torch.from_numpy(pixels)

    notes = _each(partial(decode, **_settings(config)), files, files, config, keep)
    assert images is not None
    return images, notes


def decode_into(path: Path, files: Sequence[Path], shape: tuple[int, int, int], config: DataConfig) -> tuple[list[str], bytes]:
    """The same images, of that shape (C, H, W), into a file of data/image_file.py: the notes, and the images' marks.

    Each process writes its own: what one had to hand to another would be the pace of that one. Raises OSError where the disk fails.
    """
    marks = np.zeros((len(files), image_file.MARK), np.uint8)

    def keep(i: int, done: image_file.Put) -> None:
        if done.failed:
            raise OSError(done.failed)
        marks[i] = np.frombuffer(done.mark, np.uint8)

    put = partial(image_file.put, into=str(path), shape=shape, **_settings(config))
    return _each(put, list(enumerate(files)), files, config, keep, shape), marks.tobytes()


def first_shape(files: Sequence[Path], config: DataConfig) -> tuple[int, int, int] | None:
    """(C, H, W) of the images, as the first one that can be read has it; None where none can."""
    if config.size is not None:
        return (1 if config.grayscale else 3, *config.size)
    results = (decode(path, **_settings(config)) for path in files)
    channels, height, width = next((result.shape for result in results if not isinstance(result, Unreadable)), (0, 0, 0))
    return (channels, height, width) if channels else None


def _settings(config: DataConfig) -> dict[str, Any]:
    return {"size": config.size, "grayscale": config.grayscale, "fit": config.fit}


def _each(
    function: Callable[..., Any],
    items: Sequence[Any],
    files: Sequence[Path],
    config: DataConfig,
    keep: Callable[[int, Any], None],
    shape: Sequence[int] | None = None,
) -> list[str]:
    """keep(number, function(item)) of the item of each file; returns the notes. shape: of all images; None: as the first has it.

    Files are decoded once; images of more than 8 bits a second time, when the scale of them all is known.
    """
    first = files[0]
    deep: dict[int, depth.Deep] = {}
    unreadable: dict[int, Unreadable] = {}
    for i, result in enumerate(_bar(_results(function, items), len(files))):
        if isinstance(result, Unreadable):
            unreadable[i] = result
            continue
        if shape is None:
            first, shape = files[i], result.shape
        if tuple(result.shape) != tuple(shape):
            raise _different_sizes([(first, shape), (files[i], result.shape)])
        if isinstance(result, depth.Deep):
            deep[i] = result
        else:
            keep(i, result)
    if unreadable:
        raise _no_images({files[i]: result.reason for i, result in unreadable.items()}, config)
    again = partial(function, scales=depth.scales(list(deep.values())))
    for i, result in zip(deep, _bar(_results(again, [items[i] for i in deep]), len(deep)), strict=True):
        keep(i, result)
    return depth.described(list(deep.values()))


def _bar(results: Iterator[Any], count: int) -> Iterator[Any]:
    return iter(tqdm(results, "decoding", count, unit="img", disable=None, leave=False))


def _results(function: Callable[[Any], Any], files: Sequence[Any]) -> Iterator[Any]:
    """function(file) for each, in order: over processes on all cores where there are files enough to pay for starting them.

    Processes, not threads: on small images two threads take twice as long as none, waiting for each other's interpreter lock.
    Spawned, not forked: torch has threads by now, which a fork would leave half alive. What processes cannot do, this one does.
    """
    done = 0
    if len(files) >= _FILES_WORTH_PROCESSES and startup.processors() > 1:
        try:
            for result in _in_processes(function, files):
                yield result
                done += 1
            return
        except BrokenProcessPool:
            reason = "a process was ended by the system, most likely for want of memory"
        except (OSError, ImportError, NotImplementedError) as error:  # /dev/shm that cannot be written, no semaphores, a limit
            reason = f"the system allows no processes for it ({error})"
        except RuntimeError as error:
            if "start new thread" not in str(error):
                raise
            reason = "the system allows no more threads"
        left = counted(len(files) - done, "image")
        log.warning("image_folder: decoding %s in one process, which takes longer: %s", left, reason)
    yield from map(function, files[done:])


def _in_processes(function: Callable[[Any], Any], files: Sequence[Any]) -> Iterator[Any]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(startup.processors(), context, startup.end_with_parent) as pool:
        try:
            with _main_left_out():
                results = pool.map(function, files, chunksize=32)  # starts them all
            yield from results
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def _main_left_out() -> Iterator[None]:
    """Within, the processes that are started do not run the program's own file, which needs no `if __name__ == "__main__"` then.

    multiprocessing runs it in each of them to find what it defines; what decodes is not there.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _different_sizes(two: list[tuple[Path, Sequence[int]]]) -> ConfigError:
    sizes = " and ".join(f"{s[2]}x{s[1]} ({readable(p.parent.name)}/{readable(p.name)})" for p, s in two)
    return ConfigError("data.image_size", None, f"the images differ in size, {sizes}; set it, for example to 64 or [48,64]")


def _no_images(reasons: dict[Path, str], config: DataConfig) -> ConfigError:
    """A ConfigError for files that look like images and are none."""
    (path, reason), *others = reasons.items()
    if not others:
        remedy = f"{readable(path.absolute())} is not a readable image ({reason}); mend or remove it"
    else:
        named = listed([f"{path.parent.name}/{path.name} ({reason})" for path, reason in reasons.items()], _NAMED)
        remedy = f"{counted(len(reasons), 'file')} are no readable images: {named}; mend or remove them"
    return ConfigError("data.root", config.root, remedy)
