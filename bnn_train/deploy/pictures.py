"""Image files as a network wants them: found, decoded as in training, fitted to its size. Needs numpy and Pillow."""

import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageMode

from bnn_train.data import depth
from bnn_train.data.decode import Unreadable, decode, opened, refit
from bnn_train.data.fitting import FITS
from bnn_train.data.image_files import images_in, left_out_line
from bnn_train.data.words import readable
from bnn_train.deploy import about
from bnn_train.errors import ConfigError

STANDARD_INPUT = "-"


class Picture(NamedTuple):
    """A file, the bytes of one, or what PIL has opened, and what it is called in front of the user."""

    name: str
    file: Path | bytes | Image.Image


class Failure(NamedTuple):
    """What gives no prediction, and why."""

    name: str
    reason: str


class Found(NamedTuple):
    """The pictures; the folders without any; a line for each other folder of which something is left out."""

    pictures: list[Picture]
    failures: list[Failure]
    notes: list[str]


class Wanted(NamedTuple):
    """The images (C, H, W) that a network takes, and what its training did to image files: what it did, too, needs no word."""

    shape: tuple[int, int, int]
    image_size: tuple[int, int] | None = None  # made them of this height and width
    grayscale: bool = False  # made them grey
    fit: str = "crop"  # how images get the network's size, a value of data.fit


def wanted(told: Mapping[str, Any], shape: tuple[int, int, int]) -> Wanted:
    """Of a network for images of that shape; told: what a file says of it (deploy/about.py), or {"data": the run's own}."""
    data = about.data(told)
    made_grey = data.get("name") == "image_folder" and data.get("grayscale") is True
    return Wanted(shape, about.image_size(told, shape), made_grey, about.fit(told, shape))


class Prepared(NamedTuple):
    """A picture's name and pixels, uint8 (C, H, W), and what was done to it that training did not do.

    scale: of 32 bits or floats, the one that was chosen for it and the others.
    """

    name: str
    pixels: np.ndarray
    resized: bool
    made_grey: bool
    scale: depth.Scale | None


def read(file: str | Path | bytes, image_shape: Sequence[int], fit: str = "crop") -> np.ndarray:
    """uint8 (C, H, W), as `image_shape` says, of an image file, or of the bytes of one, as training prepares it.

    Upright as its EXIF tag says; over grey where it is transparent; grey or RGB; 16 bits go over their whole range, 0 to 65,535;
    made of the size of `image_shape` as data.fit=`fit` does it. An image of 32 bits or floats has a scale of its own
    (0 to 1, else 0 to 255, else from its smallest to its largest value): it cannot be compared with the next one.

    Raises ConfigError for what is no readable image, for an `image_shape` of other than 1 or 3 channels and another `fit`.
    """
    if fit not in FITS:
        raise ConfigError("fit", fit, f"must be one of {', '.join(FITS)}")
    picture = Picture("bytes", file) if isinstance(file, bytes) else Picture(readable(file), Path(file))
    (found,) = prepared([picture], Wanted(shape_of_pictures(image_shape), fit=fit))
    if isinstance(found, Failure):
        raise ConfigError("image", found.name, found.reason)
    return found.pixels


def shape_of_pictures(image_shape: Sequence[int]) -> tuple[int, int, int]:
    """(channels, height, width). Raises ConfigError for other than 1 or 3 channels, which no picture has."""
    channels, height, width = image_shape
    if channels not in (1, 3):
        raise ConfigError("image_shape", list(image_shape), "pictures have 1 or 3 channels; predict with arrays in Python")
    return channels, height, width


def find(given: Sequence[str]) -> Found:
    """The pictures that paths of files and folders name, "-" being standard input.

    A file is taken whatever its name; of a folder every image in it and below it that image_folder would read.

    Raises ConfigError where there is no picture at all.
    """
    all_found = Found([], [], [])
    for path in given:
        if path == STANDARD_INPUT:
            all_found.pictures.append(Picture(path, sys.stdin.buffer.read()))
        elif Path(path).is_dir():
            _add_folder(Path(path), all_found)
        else:
            all_found.pictures.append(Picture(readable(path), Path(path)))
    if not all_found.pictures:
        raise ConfigError("IMAGE", readable(" ".join(given)), all_found.failures[0].reason)
    return all_found


def _add_folder(folder: Path, all_found: Found) -> None:
    name = readable(folder)
    try:
        found = images_in(folder, name)
    except ConfigError as error:
        all_found.failures.append(Failure(name, error.remedy))
        return
    left_out = left_out_line(found.left_out, folder) if any(found.left_out.values()) else ""
    if not found.files:
        reason = "holds no image that Pillow reads"
        all_found.failures.append(Failure(name, f"{reason}; {left_out}" if left_out else reason))
    elif left_out:
        all_found.notes.append(f"{name}: {left_out}")
    all_found.pictures.extend(Picture(readable(path), path) for path in found.files)


def is_image(file: Path) -> bool:
    """Whether Pillow takes the beginning of a file for that of an image."""
    return file.is_file() and _header(file) is not None


def prepared(pictures: Sequence[Picture], wanted: Wanted) -> Iterator[Prepared | Failure]:
    """Each picture once, in order.

    16 bits go over their whole range, 0 to 65,535, as in training. What has 32 bits or floats has the scale that data/depth.py
    gives to these pictures together: the scale of the training images is not known any more, and it cannot be a single picture's,
    whose brightness could then not be compared with the next one's.
    """
    scales: depth.Scales = {16: depth.WHOLE}
    for number, picture in enumerate(pictures):
        found = _decoded(picture, wanted, scales)
        if isinstance(found, depth.Deep):  # the first of its kind: the scale follows from those that are still to come, too
            scales = depth.scales([found, *_others_of_32_bits(pictures[number + 1 :], wanted)])
            found = _decoded(picture, wanted, scales)
        yield _prepared(picture, found, wanted, scales)


def _decoded(picture: Picture, wanted: Wanted, scales: depth.Scales) -> np.ndarray | depth.Deep | Unreadable:
    return decode(picture.file, wanted.image_size, wanted.shape[0] == 1, scales, wanted.fit)


def _others_of_32_bits(pictures: Sequence[Picture], wanted: Wanted) -> Iterator[depth.Deep]:
    for picture in pictures:
        header = _header(picture.file)
        if header is not None and header.bits == 32:
            found = _decoded(picture, wanted, {16: depth.WHOLE})
            if isinstance(found, depth.Deep):
                yield found


def _prepared(
    picture: Picture, found: np.ndarray | depth.Deep | Unreadable, wanted: Wanted, scales: depth.Scales
) -> Prepared | Failure:
    if isinstance(found, Unreadable):
        return Failure(picture.name, f"not a readable image ({found.reason})")
    assert not isinstance(found, depth.Deep)
    channels, height, width = wanted.shape
    resized = found.shape[1:] != (height, width)
    pixels = refit(found, (height, width), wanted.fit) if resized else found
    # Read again only where something can follow from it: it costs a tenth of decoding a small image.
    header = _header(picture.file) if 32 in scales or (channels == 1 and not wanted.grayscale) else None
    made_grey = channels == 1 and not wanted.grayscale and header is not None and header.in_colour
    return Prepared(picture.name, pixels, resized, made_grey, scales[32] if header is not None and header.bits == 32 else None)


class _Header(NamedTuple):
    """What the beginning of an image file says of its pixels."""

    bits: int
    in_colour: bool


def _header(file: Path | bytes | Image.Image) -> _Header | None:
    """None for what Pillow does not know."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as in decoding
            with opened(file) as image:
                in_colour = ImageMode.getmode(image.mode).basemode != "L"
                return _Header(depth.bits(image.mode, image.format), in_colour)
    except Exception:  # PIL raises whatever comes its way; decoding names it
        return None
