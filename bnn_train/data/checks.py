"""What no data set may be, and what a user should know of it, before anything is trained."""

import logging
from collections.abc import Iterator

import torch

from bnn_train import register
from bnn_train.config.data import DataConfig
from bnn_train.data.splits import Arrays, Data, Split
from bnn_train.data.words import listed
from bnn_train.errors import ConfigError

log = logging.getLogger(__name__)

_WORDS = {"train": "training", "val": "held-out", "test": "test"}


def check(config: DataConfig, arrays: Arrays) -> None:
    """Refuses what a reader gives where labels and images cannot belong together, or a class is tested and never trained."""
    for name, split in _splits(arrays):
        words = _WORDS[name]
        if not len(split):
            if name == "test":
                remedy = f"takes none of {len(arrays.train):,} images for the test set; choose a larger share"
                raise ConfigError("data.test_fraction", config.test_fraction, remedy)
            raise fault(config, f"the data set has no {words} image")
        if len(split.images) != len(split.labels):
            remedy = f"holds {len(split.images):,} {words} images and {len(split.labels):,} labels; each image needs one"
            raise fault(config, remedy)
        low, high = int(split.labels.min()), int(split.labels.max())
        if low < 0 or high >= len(arrays.classes):
            remedy = (
                f"the {words} labels are {low} to {high}, and the {len(arrays.classes)} classes are 0 to {len(arrays.classes) - 1}"
            )
            raise fault(config, remedy)
    trained = _counts(arrays.train, arrays.classes) > 0
    for name, split in _splits(arrays):
        never = [arrays.classes[i] for i in (~trained & (_counts(split, arrays.classes) > 0)).nonzero().flatten().tolist()]
        if never:
            remedy = f"there are {_WORDS[name]} images of {listed(never)} and none to train on"
            raise fault(config, remedy)


def fault(config: DataConfig, remedy: str) -> ConfigError:
    """Of the folder that the images are read from, or of the function that gives them."""
    plugged = register.FOUND["data"].get(config.name)
    return ConfigError("data.root", config.root, remedy) if plugged is None else plugged.fault(remedy)


def say(config: DataConfig, data: Data) -> None:
    """Lines on classes that a split lacks, and on classes of a single training image."""
    everything = {name: _counts(split, data.classes) for name, split in _splits(data)}
    absent = torch.stack(list(everything.values())).sum(0) == 0
    if absent.any():
        _line(config, "no image at all of %s", absent, data)
    for name, counts in everything.items():
        missing = (counts == 0) & ~absent
        if missing.any():
            _line(config, f"no {_WORDS[name]} image of %s", missing, data)
    if (everything["train"] == 1).any():
        _line(config, "a single training image of %s", everything["train"] == 1, data)


def _line(config: DataConfig, words: str, chosen: torch.Tensor, data: Data) -> None:
    names = listed([data.classes[i] for i in chosen.nonzero().flatten().tolist()], 10)
    log.warning(f"%s: {words} (%s)", config.name, names, f"{int(chosen.sum())} of {len(data.classes)} classes")


def _splits(data: Arrays | Data) -> Iterator[tuple[str, Split]]:
    yield "train", data.train
    if data.val is not None:
        yield "val", data.val
    yield "test", data.test


def _counts(split: Split, classes: list[str]) -> torch.Tensor:
    return torch.bincount(split.labels, minlength=len(classes))
