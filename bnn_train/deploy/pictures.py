"""Image files as a network wants them: found, decoded as in training, fitted to its size, in batches. Needs numpy and Pillow."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bnn_train.data import depth
from bnn_train.data.decode import Unreadable, decode, fit
from bnn_train.data.image_files import images_in, left_out_line
from bnn_train.data.words import readable
from bnn_train.errors import ConfigError

BATCH = 100  # images in memory at a time
STANDARD_INPUT = "-"


class Picture(NamedTuple):
    """A file, or the bytes of one, and what it is called in front of the user."""

    name: str
    file: Path | bytes


class Failure(NamedTuple):
    """What gives no prediction, and why."""

    name: str
    reason: str


class Prepared(NamedTuple):
    """The pixels, uint8 (C, H, W), of the picture of that number, and whether they had another size than the network takes."""

    number: int
    pixels: np.ndarray
    resized: bool


class Prediction(NamedTuple):
    """Of a picture: its name; the numbers of the classes, the most probable first; each class's probability, a float32's digits."""

    file: str
    ranking: list[int]
    probabilities: list[float]


class Outcome(NamedTuple):
    """The predictions, in the order of the pictures; what could not be read; how many had to be resized."""

    predictions: list[Prediction]
    failures: list[Failure]
    resized: int


def find(given: Sequence[str]) -> tuple[list[Picture], list[Failure]]:
    """The pictures that paths of files and folders name, "-" being standard input, and the folders without any.

    A file is taken whatever its name; of a folder every image in it and below it that image_folder would read.

    Raises ConfigError where there is no picture at all.
    """
    pictures: list[Picture] = []
    failures: list[Failure] = []
    for path in given:
        if path == STANDARD_INPUT:
            pictures.append(Picture(path, sys.stdin.buffer.read()))
        elif Path(path).is_dir():
            found, failure = _in_folder(Path(path))
            pictures += found
            failures += failure
        else:
            pictures.append(Picture(readable(path), Path(path)))
    if not pictures:
        raise ConfigError("IMAGE", readable(" ".join(given)), failures[0].reason)
    return pictures, failures


def _in_folder(folder: Path) -> tuple[list[Picture], list[Failure]]:
    name = readable(folder)
    try:
        found = images_in(folder, name)
    except ConfigError as error:
        return [], [Failure(name, error.remedy)]
    if not found.files:
        instead = f"; {left_out_line(found.left_out, folder)}" if found.left_out else ""
        return [], [Failure(name, f"holds no image that Pillow reads{instead}")]
    return [Picture(readable(path), path) for path in found.files], []


def predict(
    logits: Callable[[np.ndarray], np.ndarray],
    pictures: Sequence[Picture],
    image_shape: Sequence[int],
    image_size: int | None = None,
    bar: Callable[[Iterator[Prepared | Failure]], Iterable[Prepared | Failure]] = iter,
) -> Outcome:
    """What a network gives on pictures, never more than BATCH of them in memory.

    logits: uint8 (N, C, H, W) to float32 (N, classes). image_size: the data.image_size that the images were trained with; a picture
    that it does not bring to `image_shape` (C, H, W) counts as resized. bar: shows how far it is.

    Raises ConfigError for images of other than 1 or 3 channels, which no picture has.
    """
    if image_shape[0] not in (1, 3):
        raise ConfigError("image_shape", list(image_shape), "pictures have 1 or 3 channels; predict with arrays in Python")
    found: dict[int, Prediction] = {}
    failures: list[Failure] = []
    waiting: list[Prepared] = []
    resized = 0

    def compute() -> None:
        if waiting:
            for one, row in zip(waiting, logits(np.stack([one.pixels for one in waiting])), strict=True):
                found[one.number] = _prediction(pictures[one.number].name, row)
            waiting.clear()

    for one in bar(prepared(pictures, image_shape, image_size)):
        if isinstance(one, Failure):
            failures.append(one)
            continue
        waiting.append(one)
        resized += one.resized
        if len(waiting) == BATCH:
            compute()
    compute()
    return Outcome([found[number] for number in sorted(found)], failures, resized)


def _prediction(name: str, logits: np.ndarray) -> Prediction:
    shares = np.exp(logits.astype(np.float64) - logits.max())
    probabilities = (shares / shares.sum()).astype(np.float32)
    ranking = np.argsort(-logits, kind="stable").tolist()  # by logits, of which fewer are equal; of equals the first, as everywhere
    return Prediction(name, ranking, [float(str(share)) for share in probabilities])


def prepared(pictures: Sequence[Picture], image_shape: Sequence[int], image_size: int | None) -> Iterator[Prepared | Failure]:
    """Each picture once, in order but for those of 32 bits or floats, which come last.

    16 bits go over their whole range, 0 to 65,535, as in training. What has 32 bits or floats has the scale that data/depth.py
    gives to these pictures together: the scale of the training images is not known any more, and it cannot be a single picture's,
    whose brightness could then not be compared with the next one's.
    """
    deep: dict[int, depth.Deep] = {}
    for number, picture in enumerate(pictures):
        found = _prepared(number, picture, image_shape, image_size, {16: depth.WHOLE})
        if isinstance(found, depth.Deep):
            deep[number] = found
        else:
            yield found
    scales = depth.scales(list(deep.values()))
    for number in deep:
        again = _prepared(number, pictures[number], image_shape, image_size, scales)
        assert not isinstance(again, depth.Deep)
        yield again


def _prepared(
    number: int, picture: Picture, image_shape: Sequence[int], image_size: int | None, scales: depth.Scales
) -> Prepared | Failure | depth.Deep:
    channels, height, width = image_shape
    found = decode(picture.file, image_size, channels == 1, scales)
    if isinstance(found, Unreadable):
        return Failure(picture.name, f"not a readable image ({found.reason})")
    if isinstance(found, depth.Deep):
        return found
    resized = found.shape[1:] != (height, width)
    return Prepared(number, fit(found, width, height) if resized else found, resized)
