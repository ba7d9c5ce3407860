"""Images of more than 8 bits a pixel, to 8 bits: on one scale for the whole data set, so that brightness can be compared.

16 bits go over their whole range, 0 to 65,535. What has 32 bits or floats has no range that all would agree on: it is 0 to 1 where
no value of the data set lies outside, else 0 to 255, else from the smallest to the largest value of the data set.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from bnn_train.data.words import counted


class Deep(NamedTuple):
    """What is known of a deep image before the scale is: the shape it will have (C, H, W), its bits, its finite values' ends."""

    shape: tuple[int, int, int]
    bits: int
    low: float
    high: float


class Scale(NamedTuple):
    """The value that becomes black, 0, and the one that becomes white, 255."""

    low: float
    high: float


Scales = dict[int, Scale]  # of the 16-bit and of the 32-bit images

WHOLE = Scale(0, 65535)  # of 16 bits, whatever the images


def bits(mode: str, file_format: str | None) -> int:
    """Of a pixel's channel, by PIL's name of the mode."""
    if mode.startswith("I;16") or (mode == "I" and file_format in ("PNG", "PPM")):  # 16 bits as a wider type
        return 16
    return 32 if mode in ("I", "F") else 8


def ends(image: Image.Image) -> tuple[float, float]:
    """The smallest and the largest finite value; (inf, -inf) where there is none."""
    values = np.asarray(image).astype(np.float64)
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (math.inf, -math.inf)


def scales(images: Sequence[Deep]) -> Scales:
    """The scales for all images of a data set."""
    wide = [image for image in images if image.bits == 32]
    low, high = min((image.low for image in wide), default=0.0), max((image.high for image in wide), default=1.0)
    within = [Scale(0, top) for top in (1, 255) if low >= 0 and high <= top]
    return {16: WHOLE, 32: within[0] if within else Scale(low, high)}


def to_bytes(image: Image.Image, scale: Scale) -> Image.Image:
    """8-bit grey. What is no number becomes black, infinities the ends of the scale."""
    values = np.asarray(image).astype(np.float64)
    span = (scale.high - scale.low) or 1.0
    shares = np.nan_to_num((values.clip(scale.low, scale.high) - scale.low) / span, nan=0.0)
    grey = Image.fromarray(np.rint(shares * 255).astype(np.uint8))
    key = image.info.get("transparency")  # of a PNG: the one value that is transparent
    if isinstance(key, int | float):
        grey = Image.merge("LA", (grey, Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8))))
    return grey


def described(images: Sequence[Deep]) -> list[str]:
    """A line for each kind of deep image in a data set: how many, and what becomes black and white."""
    lines = []
    chosen = scales(images)
    for kind, name in ((16, "of 16 bits"), (32, "of 32 bits or floats")):
        some = [image for image in images if image.bits == kind]
        if not some:
            continue
        low, high = min(image.low for image in some), max(image.high for image in some)
        line = f"{counted(len(some), 'image')} {name} on one scale: {chosen[kind].low:,g} is black, {chosen[kind].high:,g} white"
        if high - low < (chosen[kind].high - chosen[kind].low) / 16:
            line += f"; their values, {low:,g} to {high:,g}, use less than a 16th of it: scale them up for more contrast"
        lines.append(line)
    return lines
