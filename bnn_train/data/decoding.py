"""Many image files to one tensor: on all cores, on one scale, all of one size, and every file that is no image named."""

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

import torch
from tqdm import tqdm

from bnn_train import startup
from bnn_train.config.data import DataConfig
from bnn_train.data import depth, memory
from bnn_train.data.decode import Unreadable, decode
from bnn_train.data.words import counted, listed, readable
from bnn_train.errors import ConfigError

_FILES_WORTH_PROCESSES = 500
_NAMED = 10  # unreadable files in one message

log = logging.getLogger(__name__)


def decode_all(files: Sequence[Path], config: DataConfig) -> tuple[torch.Tensor, list[str]]:
    """The images, uint8 (N, C, H, W), and notes on their scale. Raises ConfigError that names the files at fault.

    Files are decoded once; images of more than 8 bits a second time, when the scale of them all is known.
    """
    if config.size is not None:
        memory.check(len(files), (1 if config.grayscale else 3, *config.size), config)
    settled = partial(decode, size=config.size, grayscale=config.grayscale, fit=config.fit)
    images: torch.Tensor | None = None
    first = files[0]
    deep: dict[int, depth.Deep] = {}
    unreadable: dict[int, Unreadable] = {}
    for i, result in enumerate(_bar(_results(settled, files), len(files))):
        if isinstance(result, Unreadable):
            unreadable[i] = result
            continue
        if images is None:
            first, images = files[i], memory.room(len(files), result.shape, config)
        if result.shape != images.shape[1:]:
            raise _different_sizes([(first, images.shape[1:]), (files[i], result.shape)])
        if isinstance(result, depth.Deep):
            deep[i] = result
        else:
            images[i] = torch.from_numpy(result)
    if unreadable:
        raise _no_images({files[i]: result.reason for i, result in unreadable.items()}, config)
    assert images is not None
    again = partial(settled, scales=depth.scales(list(deep.values())))
    for i, result in zip(deep, _bar(_results(again, [files[i] for i in deep]), len(deep)), strict=True):
        images[i] = torch.from_numpy(result)
    return images, depth.described(list(deep.values()))


def _bar(results: Iterator[Any], count: int) -> Iterator[Any]:
    return iter(tqdm(results, "decoding", count, unit="img", disable=None, leave=False))


def _results(function: Callable[[Path], Any], files: Sequence[Path]) -> Iterator[Any]:
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


def _in_processes(function: Callable[[Path], Any], files: Sequence[Path]) -> Iterator[Any]:
    with ProcessPoolExecutor(startup.processors(), multiprocessing.get_context("spawn")) as pool:
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
