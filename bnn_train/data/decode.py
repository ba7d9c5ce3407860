"""One image file to the pixels that a viewer shows. Runs in worker processes, so it imports no torch.

Upright, as the camera's orientation tag says; over grey where it is transparent; the first frame of an animation. An image of
8 bits without either comes out exactly as PIL converts it.
"""

import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from bnn_train.config.data import DataConfig
from bnn_train.data import depth
from bnn_train.data.words import readable

BACKGROUND = 128  # behind what is transparent: black ink and white ink can both be seen on it


class Unreadable(NamedTuple):
    """Why a file is no image."""

    reason: str


def decode(path: Path, config: DataConfig, scales: depth.Scales | None = None) -> np.ndarray | depth.Deep | Unreadable:
    """uint8 (C, H, W); cropped to a square around its middle and resized if data.image_size is set.

    An image of more than 8 bits needs its data set's `scales`; without them it comes back as what is known of it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a doubtful tag, or of many pixels: the image is read all the same
            return _pixels(path, config, scales)
    except Exception as error:  # for a malformed file PIL's plugins raise whatever comes their way, struct.error or KeyError
        return Unreadable(_reason(error, path))


def _pixels(path: Path, config: DataConfig, scales: depth.Scales | None) -> np.ndarray | depth.Deep:
    with Image.open(path) as image:
        bits = depth.bits(image.mode, image.format)
        image.load()
        upright = _upright(image)
        if bits > 8:
            if scales is None:
                width, height = (config.image_size,) * 2 if config.image_size is not None else upright.size
                return depth.Deep((1 if config.grayscale else 3, height, width), bits, *depth.ends(upright))
            upright = depth.to_bytes(upright, scales[bits])
        opaque = _over_background(_from_lab(upright)).convert("L" if config.grayscale else "RGB")
    if config.image_size is not None and opaque.size != (config.image_size, config.image_size):
        opaque = ImageOps.fit(opaque, (config.image_size, config.image_size))
    pixels = np.asarray(opaque)
    return np.array(pixels[None] if config.grayscale else pixels.transpose(2, 0, 1), order="C")


def _upright(image: Image.Image) -> Image.Image:
    """Turned as the orientation tag says. A damaged tag turns nothing, as in a viewer."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # as above: PIL raises whatever comes its way
        return image


def _from_lab(image: Image.Image) -> Image.Image:
    """CIELAB, the one mode that `convert` does not know, as RGB; any other as it is."""
    if image.mode != "LAB":
        return image
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    assert converted is not None
    return converted


def _over_background(image: Image.Image) -> Image.Image:
    if image.mode not in ("RGBA", "LA", "PA", "RGBa", "La") and "transparency" not in image.info:
        return image
    ground = Image.new("RGBA", image.size, (BACKGROUND, BACKGROUND, BACKGROUND, 255))
    return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")


def _reason(error: Exception, path: Path) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "in no format that Pillow knows" if path.stat().st_size else "empty"
    if isinstance(error, Image.DecompressionBombError):
        return f"of more than the {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels that Pillow opens"
    if isinstance(error, MemoryError):
        return "too large for the memory that there is"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()  # the message would repeat the path
    return " ".join(readable(str(error)).split()) or type(error).__name__
