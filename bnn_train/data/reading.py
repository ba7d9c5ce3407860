"""Image files to the images that they hold: in memory or on the disk, from the cache or decoded."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path

import torch

from bnn_train.config.data import DataConfig
from bnn_train.data import memory
from bnn_train.data.cache import cached, on_disk
from bnn_train.data.decoding import decode_all, decode_into, first_shape
from bnn_train.data.splits import Images
from bnn_train.data.words import counted, in_bytes
from bnn_train.device import CPU

log = logging.getLogger(__name__)


def read(files: Sequence[Path], config: DataConfig, device: torch.device = CPU) -> tuple[Images, list[str]]:
    """The images, uint8 (N, C, H, W), on the CPU or on the disk as data.memory says, and notes on how they were made, for the user.

    device: where they will be trained on. Raises ConfigError that names the files at fault, and for too little memory or disk.
    """
    shape = None if config.memory == "ram" else first_shape(files, config)
    if shape is None or (config.memory == "auto" and not memory.are_too_many(len(files), shape, device)):
        return cached(files, config, lambda: decode_all(files, config))
    if config.memory == "auto":
        size = f"{counted(len(files), 'image')}, {in_bytes(len(files) * math.prod(shape))}"
        line = "%s: %s, stay on the disk: in memory they would take more than %.0f%% of what is free"
        log.info(line, config.name, size, 100 * memory.SHARE)
    return on_disk(files, shape, config, lambda path: decode_into(path, files, shape, config))
