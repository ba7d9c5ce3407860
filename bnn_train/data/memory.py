"""Whether all images stay in memory; what they need is refused by name where there is less."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from bnn_train import ranks
from bnn_train.config.data import DataConfig
from bnn_train.data.words import counted, in_bytes
from bnn_train.device import CPU, memory
from bnn_train.errors import ConfigError

# Of the memory that is there, for `data.memory=auto`: while images are held out of others there are two copies of them.
SHARE = 0.4

_TORCH_SAYS = ("not enough memory", "can't allocate memory", "out of memory")


def are_too_many(count: int, shape: Sequence[int], device: torch.device) -> bool:
    """Whether so many images of `shape` take more than SHARE of the memory that is free here, or of what a GPU has."""
    need = count * math.prod(shape)
    there_is = [limit for limit in (available(), memory(device) if device.type == "cuda" else None) if limit is not None]
    return any(need > SHARE * limit for limit in there_is)


def available(meminfo: Path = Path("/proc/meminfo"), group: Path = Path("/sys/fs/cgroup")) -> int | None:
    """The bytes that are free for each rank, or could be, of the machine or of its container; `total` where nobody tells."""
    found = total(group / "memory.max")
    try:
        text = meminfo.read_text(encoding="utf-8")
        free = 1024 * int(text.partition("MemAvailable:")[2].split()[0])
        found = free if found is None else min(found, free)
        left = int((group / "memory.max").read_text(encoding="utf-8")) - int((group / "memory.current").read_text(encoding="utf-8"))
        found = min(found, left + _cache_of(group))
    except (OSError, ValueError, IndexError):  # another system; no limit
        pass
    return None if found is None else found // ranks.count()


def _cache_of(group: Path) -> int:
    """The bytes of a container's memory that hold files, which give way."""
    words = (group / "memory.stat").read_text(encoding="utf-8").split()
    return int(words[words.index("inactive_file") + 1])


def room(count: int, shape: Sequence[int], config: DataConfig) -> torch.Tensor:
    """An empty uint8 (count, *shape). Raises ConfigError where the machine cannot hold it."""
    check(count, shape, config)
    try:
        return torch.empty((count, *shape), dtype=torch.uint8)
    except (RuntimeError, MemoryError):  # torch has no type of its own for it
        raise _too_much(count, shape, "more than the system gives", config) from None


def check(count: int, shape: Sequence[int], config: DataConfig) -> None:
    """Refuses more than all of the machine's memory: Linux would grant it, and end the process later."""
    there_is = total()
    if there_is is not None and count * math.prod(shape) > there_is:
        raise _too_much(count, shape, f"and there are {in_bytes(there_is)}", config)


def _too_much(count: int, shape: Sequence[int], limit: str, config: DataConfig) -> ConfigError:
    channels, height, width = shape
    images = f"{counted(count, 'image')} of {width}x{height}, {counted(channels, 'channel')}"
    remedy = f"{images}, need {in_bytes(count * math.prod(shape))} of memory, {limit}; {_smaller(config)}"
    return ConfigError("data.image_size", config.image_size, remedy)


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
    """Of the machine, as device.memory has it."""
    return memory(CPU, limit_file)


def _smaller(config: DataConfig) -> str:
    if config.name != "image_folder":
        return "set data.train_limit and data.test_limit, or use device=cpu where it is the GPU's"
    size = "choose a smaller one" if config.image_size is not None else "set one, such as 64"
    grey = "" if config.grayscale else " data.grayscale=true for a third of it,"
    return f"{size},{grey} take fewer images, or leave them on the disk with data.memory=disk"
