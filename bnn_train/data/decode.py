"""One image file to pixels. Runs in worker processes, so it imports no torch."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from bnn_train.config import DataConfig
from bnn_train.errors import ConfigError


def decode(path: Path, config: DataConfig) -> np.ndarray:
    """uint8 (C, H, W); cropped to a square around its middle and resized if data.image_size is set.

    Raises ConfigError with the file's name where PIL cannot read it.
    """
    try:
        with Image.open(path) as file:
            image = file.convert("L" if config.grayscale else "RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # what PIL raises for a bad file
        remedy = f"{path.absolute()} is not a readable image ({error}); mend or remove it"
        raise ConfigError("data.root", config.root, remedy) from None
    if config.image_size is not None and image.size != (config.image_size, config.image_size):
        image = ImageOps.fit(image, (config.image_size, config.image_size))
    pixels = np.asarray(image)
    return np.array(pixels[None] if config.grayscale else pixels.transpose(2, 0, 1), order="C")
