"""What a network gives on pictures, batch by batch, so that the first is shown before the last is read."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from bnn_train.data.depth import Scale
from bnn_train.deploy.pictures import Failure, Picture, Prepared, Wanted, prepared, shape_of_pictures

BATCH = 100  # images in memory at a time


class Prediction(NamedTuple):
    """Of a picture: its name; the numbers of the classes, the most probable first; each class's probability, a float32's digits."""

    file: str
    ranking: list[int]
    probabilities: list[float]


@dataclass
class Remarks:
    """What is to be said of the pictures so far: which could not be read; how many were changed as training did not do."""

    failures: list[Failure] = field(default_factory=list)
    resized: int = 0
    made_grey: int = 0
    scaled: int = 0  # of 32 bits or floats
    scale: Scale | None = None  # of these


def predict(
    logits: Callable[[np.ndarray], np.ndarray],
    pictures: Sequence[Picture],
    wanted: Wanted,
    remarks: Remarks,
    bar: Callable[[Iterator[Prepared | Failure]], Iterable[Prepared | Failure]] = iter,
) -> Iterator[list[Prediction]]:
    """Predictions in the order of the pictures, at most BATCH at a time; never more pictures than that are in memory.

    logits: uint8 (N, C, H, W) to float32 (N, classes). remarks: gathers what is to be said. bar: shows how far it is.

    Raises ConfigError, at once, for images of other than 1 or 3 channels.
    """
    shape_of_pictures(wanted.shape)
    return _batches(logits, bar(prepared(pictures, wanted)), remarks)


def _batches(
    logits: Callable[[np.ndarray], np.ndarray], images: Iterable[Prepared | Failure], remarks: Remarks
) -> Iterator[list[Prediction]]:
    waiting: list[Prepared] = []
    for one in images:
        if isinstance(one, Failure):
            remarks.failures.append(one)
            continue
        waiting.append(one)
        remarks.resized += one.resized
        remarks.made_grey += one.made_grey
        if one.scale is not None:
            remarks.scaled, remarks.scale = remarks.scaled + 1, one.scale
        if len(waiting) == BATCH:
            yield _predictions(logits, waiting)
            waiting.clear()
    if waiting:
        yield _predictions(logits, waiting)


def _predictions(logits: Callable[[np.ndarray], np.ndarray], images: Sequence[Prepared]) -> list[Prediction]:
    rows = logits(np.stack([one.pixels for one in images]))
    return [_prediction(one.name, row) for one, row in zip(images, rows, strict=True)]


def _prediction(name: str, logits: np.ndarray) -> Prediction:
    shares = np.exp(logits.astype(np.float64) - logits.max())
    probabilities = (shares / shares.sum()).astype(np.float32)
    ranking = np.argsort(-logits, kind="stable").tolist()  # by logits, of which fewer are equal; of equals the first, as everywhere
    return Prediction(name, ranking, [float(str(share)) for share in probabilities])
