"""The file format of MNIST and its relatives: whether files are whole, of the right kind, and belong together.

Nothing here asks whether they are the original ones: people bring images of their own under these names.
A file is a type and a number of dimensions (two zero bytes, 8 for bytes, the number), the sizes, then the bytes.
"""

import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bnn_train.config.data import DataConfig
from bnn_train.data.words import readable
from bnn_train.errors import ConfigError

SIDE = 28  # pixels


def check_pair(images: Path, labels: Path, classes: Sequence[str], config: DataConfig) -> None:
    """Refuses two unpacked files, of images and of their labels, that cannot be trained with; files that are not there pass."""
    image_sizes = _sizes(images, 3, "images", config) if images.exists() else None
    label_sizes = _sizes(labels, 1, "labels", config) if labels.exists() else None
    if image_sizes is not None and image_sizes[1:] != (SIDE, SIDE):
        size = "x".join(str(side) for side in image_sizes[1:])
        raise _refusal(config, f"{_name(images)} holds images of {size}, and data={config.name} has {SIDE}x{SIDE}")
    if image_sizes is not None and label_sizes is not None and image_sizes[0] != label_sizes[0]:
        numbers = f"{_name(images)} holds {image_sizes[0]:,} images, and {_name(labels)} {label_sizes[0]:,} labels"
        raise _refusal(config, f"{numbers}; they do not belong together")
    if label_sizes is not None:
        values = np.fromfile(labels, np.uint8, offset=8)
        if values.max() >= len(classes):
            found = f"{_name(labels)} holds labels {values.min()} to {values.max()}"
            raise _refusal(config, f"{found}, and the classes of data={config.name} are 0 to {len(classes) - 1}")


def _sizes(path: Path, dimensions: int, what: str, config: DataConfig) -> tuple[int, ...]:
    """The sizes in a file's header. Raises ConfigError where it is of another kind, empty or not as long as they say."""
    with open(path, "rb") as file:
        start = file.read(4 + 4 * dimensions)
    if not start:
        raise _refusal(config, f"{_name(path)} is empty; delete it, and it is fetched or unpacked again")
    if start[:4] != bytes([0, 0, 8, dimensions]):
        raise _refusal(config, f"{_name(path)} is no file of {what}: it begins with {start[:4].hex()}, not {8:06x}{dimensions:02x}")
    if len(start) == 4 + 4 * dimensions:
        sizes = struct.unpack(f">{dimensions}I", start[4:])
        if path.stat().st_size == len(start) + math.prod(sizes):
            if sizes[0] == 0:
                raise _refusal(config, f"{_name(path)} holds no {what}")
            return sizes
    raise _refusal(config, f"{_name(path)} is damaged; delete it, and it is fetched or unpacked again")


def differs_from_archive(path: Path, archive: Path) -> bool:
    """Whether an unpacked file is not what its .gz holds, by the CRC and the length that end every gzip file."""
    content = path.read_bytes()
    crc, length = struct.unpack("<II", archive.read_bytes()[-8:])
    return (zlib.crc32(content), len(content) % 2**32) != (crc, length)


def _refusal(config: DataConfig, remedy: str) -> ConfigError:
    return ConfigError("data.root", config.root, remedy)


def _name(path: Path) -> str:
    return readable(path.absolute())
