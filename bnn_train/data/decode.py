"""One image file to pixels. Runs in worker processes, so it imports no torch."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from bnn_train.config.data import DataConfig
from bnn_train.errors import ConfigError


def decode(path: Path, config: DataConfig) -> np.ndarray:
    """uint8 (C, H, W); cropped to a square around its middle and resized if data.image_size is set.

    Raises ConfigError with the file's name where PIL cannot read it.
    """
    with _naming(path, config), Image.open(path) as file:
        image = file.convert("L" if config.grayscale else "RGB")
    if config.image_size is not None and image.size != (config.image_size, config.image_size):
        image = ImageOps.fit(image, (config.image_size, config.image_size))
    pixels = np.asarray(image)
    return np.array(pixels[None] if config.grayscale else pixels.transpose(2, 0, 1), order="C")


@contextmanager
def _naming(path: Path, config: DataConfig) -> Iterator[None]:
    try:
        yield
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # what PIL raises for a bad file
        remedy = f"{path.absolute()} is not a readable image ({error}); mend or remove it"
        raise ConfigError("data.root", config.root, remedy) from None


def size(path: Path, config: DataConfig) -> tuple[int, int, int]:
    """The shape that `decode` would give, from the file's header alone. Raises ConfigError as it does."""
    channels = 1 if config.grayscale else 3
    if config.image_size is not None:
        return channels, config.image_size, config.image_size
    with _naming(path, config), Image.open(path) as file:
        return channels, file.height, file.width
