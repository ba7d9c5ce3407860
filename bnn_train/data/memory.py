"""All images stay in memory: what they need is refused by name where there is less."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from bnn_train.config.data import DataConfig
from bnn_train.data.words import counted, in_bytes
from bnn_train.errors import ConfigError

_TORCH_SAYS = ("not enough memory", "can't allocate memory", "out of memory")


def room(count: int, shape: tuple[int, int, int], config: DataConfig) -> torch.Tensor:
    """An empty uint8 (count, *shape). Raises ConfigError where the machine cannot hold it."""
    channels, height, width = shape
    needed, there_is = count * channels * height * width, total()
    if there_is is None or needed <= there_is:
        try:
            return torch.empty((count, *shape), dtype=torch.uint8)
        except (RuntimeError, MemoryError):  # torch has no type of its own for it
            pass
    whole = f" of the {in_bytes(there_is)} that there are" if there_is is not None else ""
    remedy = (
        f"{counted(count, 'image')} of {width}x{height}, {counted(channels, 'channel')}, need {in_bytes(needed)} of memory{whole}; "
        f"{_smaller(config)}"
    )
    raise ConfigError("data.image_size", config.image_size, remedy)


@contextmanager
def named(config: DataConfig, device: torch.device) -> Iterator[None]:
    """Turns memory that runs out, of the machine or of the GPU, into a ConfigError with what to lower."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError) and not any(words in str(error) for words in _TORCH_SAYS):
            raise
        where = "of the machine" if device.type == "cpu" else f"of the machine or of {device}"
        key, value = ("image_size", config.image_size) if config.name == "image_folder" else ("train_limit", config.train_limit)
        remedy = f"the images of data={config.name} take more than the memory {where}; {_smaller(config)}"
        raise ConfigError(f"data.{key}", value, remedy) from error


def total(limit_file: Path = Path("/sys/fs/cgroup/memory.max")) -> int | None:
    """The memory of this machine, or less where its container has a limit, in bytes; None where it cannot be told."""
    try:
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on Windows
        return None
    try:
        return min(machine, int(limit_file.read_text(encoding="utf-8")))
    except (OSError, ValueError):  # no such file, or "max"
        return machine


def _smaller(config: DataConfig) -> str:
    if config.name != "image_folder":
        return "set data.train_limit and data.test_limit, or use device=cpu where it is the GPU's"
    size = "choose a smaller one" if config.image_size is not None else "set one, such as 64"
    grey = "" if config.grayscale else ", data.grayscale=true for a third of it,"
    return f"{size}{grey} or take fewer images"
