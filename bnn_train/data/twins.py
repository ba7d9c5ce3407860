"""Images that are the same, pixel for pixel: in two splits, where they flatter an accuracy, or under two labels."""

import logging
from collections.abc import Iterator
from itertools import chain

from bnn_train.config.data import DataConfig
from bnn_train.data.splits import Data, Split
from bnn_train.data.stored import Stored

log = logging.getLogger(__name__)

Place = tuple[Split, int]  # an image: its split and its number in it


def say(config: DataConfig, data: Data) -> None:
    """A line for each pair of splits that share images, and one for images under two labels; with a count and an example."""
    splits = {"training": data.train, **({"held-out": data.val} if data.val is not None else {}), "test": data.test}
    prints = {name: _fingerprints(split) for name, split in splits.items()}
    names = list(splits)
    for i, one in enumerate(names):
        for two in names[i + 1 :]:
            firsts = {print_: (splits[one], number) for number, print_ in reversed(list(enumerate(prints[one])))}
            twins = [(number, firsts[print_]) for number, print_ in enumerate(prints[two]) if print_ in firsts]
            if twins:
                example = f"{_name((splits[two], twins[0][0]), data)} is {_name(twins[0][1], data)}"
                count = f"{len(twins):,} of the {len(splits[two]):,} {two} images"
                log.warning("%s: %s are %s images too, pixel for pixel (%s)", config.name, count, one, example)
    _say_two_labels(config, data, [(splits[name], prints[name]) for name in names])


def _say_two_labels(config: DataConfig, data: Data, splits: list[tuple[Split, list[int]]]) -> None:
    firsts: dict[int, Place] = {}
    count, example = 0, ""
    for (split, number), print_ in chain.from_iterable(_places(split, prints) for split, prints in splits):
        first = firsts.setdefault(print_, (split, number))
        if first[0].labels[first[1]] != split.labels[number]:
            count += 1
            example = example or f"{_name(first, data)} and {_name((split, number), data)}"
    if count:
        repeat = "image repeats" if count == 1 else "images repeat"
        log.warning("%s: %s %s another under another label, pixel for pixel (%s)", config.name, f"{count:,}", repeat, example)


def _places(split: Split, prints: list[int]) -> Iterator[tuple[Place, int]]:
    return (((split, number), print_) for number, print_ in enumerate(prints))


def _fingerprints(split: Split) -> list[int]:
    """A number of 64 bits for each image, equal where the pixels are: two others agree once in 2^64 pairs."""
    if isinstance(split.images, Stored):
        return [hash(digest.tobytes()) for digest in split.images.digests()]
    return [hash(image.tobytes()) for image in split.images.numpy()]


def _name(place: Place, data: Data) -> str:
    split, number = place
    return split.names[number] if split.names is not None else f"number {number}, {data.classes[int(split.labels[number])]}"
