"""One image file to the pixels that a viewer shows. Runs in worker processes, so it imports no torch.

Upright, as the camera's orientation tag says; over grey where it is transparent; the first frame of an animation. An image of
8 bits without either comes out exactly as PIL converts it.
"""

import io
import warnings
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from bnn_train.data import depth
from bnn_train.data.fitting import BACKGROUND, fitted
from bnn_train.data.words import readable

File = Path | bytes | Image.Image  # a file, the bytes of one, what PIL has opened


class Unreadable(NamedTuple):
    """Why a file is no image."""

    reason: str


def decode(
    file: File,
    size: tuple[int, int] | None = None,
    grayscale: bool = False,
    scales: depth.Scales | None = None,
    fit: str = "crop",
) -> np.ndarray | depth.Deep | Unreadable:
    """uint8 (C, H, W) of an image; made of `size`, (height, width), as data.`fit` says, if that is set.

    An image of more than 8 bits needs the scale of its bits in `scales`; without it it comes back as what is known of it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a doubtful tag, or of many pixels: the image is read all the same
            return _pixels(file, size, grayscale, scales or {}, fit)
    except Exception as error:  # for a malformed file PIL's plugins raise whatever comes their way, struct.error or KeyError
        return Unreadable(_reason(error, file))


def refit(pixels: np.ndarray, size: tuple[int, int], fit: str) -> np.ndarray:
    """uint8 (C, H, W) that `decode` gave, made of another size, (height, width)."""
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    return _planes(fitted(image, size[::-1], fit))


def _pixels(file: File, size: tuple[int, int] | None, grayscale: bool, scales: depth.Scales, fit: str) -> np.ndarray | depth.Deep:
    with opened(file) as image:
        if 0 in image.size:
            raise ValueError("it has no pixels")
        bits = depth.bits(image.mode, image.format)
        image.load()
        upright = _upright(image)
        if bits > 8:
            if bits not in scales:
                height, width = size or upright.size[::-1]
                return depth.Deep((1 if grayscale else 3, height, width), bits, *depth.ends(upright))
            upright = depth.to_bytes(upright, scales[bits])
        opaque = _over_background(_from_lab(upright)).convert("L" if grayscale else "RGB")
    return _planes(opaque if size is None else fitted(opaque, size[::-1], fit))


def opened(file: File) -> AbstractContextManager[Image.Image]:
    """An image to be read; what somebody else has opened is left open."""
    if isinstance(file, Image.Image):
        return nullcontext(file)
    return Image.open(io.BytesIO(file) if isinstance(file, bytes) else file)


def _planes(image: Image.Image) -> np.ndarray:
    """uint8 (C, H, W) of an image in L or RGB."""
    pixels = np.asarray(image)
    return np.array(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1), order="C")


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
    whole = image.convert("LA") if image.mode == "La" else image  # which has no way to RGBA of its own
    return Image.alpha_composite(ground, whole.convert("RGBA")).convert("RGB")


def _reason(error: Exception, file: File) -> str:
    if isinstance(error, UnidentifiedImageError) and not isinstance(file, Image.Image):
        size = len(file) if isinstance(file, bytes) else file.stat().st_size
        return "in no format that Pillow knows" if size else "empty"
    if isinstance(error, Image.DecompressionBombError):
        return f"of more than the {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels that Pillow opens"
    if isinstance(error, MemoryError):
        return "too large for the memory that there is"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()  # the message would repeat the path
    return " ".join(readable(str(error)).split()) or type(error).__name__
