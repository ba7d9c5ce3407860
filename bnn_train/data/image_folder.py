"""Any folder of class folders (data/folders.py says which layouts): its images decoded once and cached, as uint8 tensors.

All images of the data set are decoded together, so that they are on one scale and of one size.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch

from bnn_train.config.data import DataConfig
from bnn_train.data import folders
from bnn_train.data.decode import Unreadable, decode
from bnn_train.data.image_files import Found, images_in, left_out_line, loose_in
from bnn_train.data.reading import read
from bnn_train.data.root import root_of
from bnn_train.data.splits import Arrays, Split, hold_out
from bnn_train.data.stored import Stored
from bnn_train.data.words import listed, readable
from bnn_train.device import CPU
from bnn_train.errors import ConfigError

log = logging.getLogger(__name__)


class Part(NamedTuple):
    """The files of a split, class after class, and what its folder holds besides, by reason."""

    classes: list[str]
    files: list[Path]
    labels: list[int]
    left_out: dict[str, list[Path]]


def image_folder(config: DataConfig, device: torch.device = CPU) -> Arrays:
    """Reads config.root. Raises ConfigError that names the folder or the files at fault. device: see data/reading.py."""
    layout = folders.layout(config)
    parts = {name: _part(getattr(layout, name), config) for name in ("train", "val", "test") if getattr(layout, name) is not None}
    for name in parts:
        _check_classes(config, parts["train"], layout.train, parts[name], getattr(layout, name))
    if layout.test is None:
        _refuse_single(config, parts["train"])
    files = [path for part in parts.values() for path in part.files]
    images, notes = read(files, config, device)
    for line in [*layout.notes, *_left_out(config, parts.values()), *notes]:
        log.info("%s: %s", config.name, line)

    classes = [readable(name) for name in parts["train"].classes]
    root, splits, start = root_of(config), {}, 0
    for name, part in parts.items():
        end = start + len(part.files)
        piece = images.at(torch.arange(start, end)) if isinstance(images, Stored) else images[start:end]
        splits[name] = Split(piece, torch.tensor(part.labels), [readable(path.relative_to(root)) for path in part.files])
        start = end
    if "test" not in splits:
        size = max(1, round(config.test_fraction * len(files)))
        splits["train"], splits["test"] = hold_out("data.test_fraction", config.test_fraction, splits["train"], size, classes)
    return Arrays(splits["train"], splits["test"], classes, splits.get("val"))


def peek_folder(config: DataConfig) -> tuple[tuple[int, int, int], int] | None:
    """The shape of the images, as the first one has it, and the number of classes; None where the first one cannot be read.

    Raises ConfigError as image_folder does.
    """
    classes = folders.classes(folders.layout(config).train, config)
    channels = 1 if config.grayscale else 3
    if config.size is not None:
        return (channels, *config.size), len(classes)
    # decoded: what turns an image turns its shape
    first = decode(_members(classes[0], config).files[0], grayscale=config.grayscale)
    if isinstance(first, Unreadable):
        return None
    _, height, width = first.shape
    return (channels, height, width), len(classes)


def split_sizes(config: DataConfig) -> tuple[list[str], dict[str, int]]:
    """(classes, {"train", "val", "test": images}) that reading config.root would give, told from the files' names alone.

    Raises ConfigError as image_folder does of what is no image set; of what cannot be split, nothing is said.
    """
    layout = folders.layout(config)
    parts = {name: _part(getattr(layout, name), config) for name in ("train", "val", "test") if getattr(layout, name) is not None}
    sizes = {"train": 0, "val": 0, "test": 0} | {name: len(part.files) for name, part in parts.items()}
    if layout.test is None:
        sizes["test"] = max(1, round(config.test_fraction * sizes["train"]))
        sizes["train"] -= sizes["test"]
    if config.val_size:
        sizes["val"] = config.val_size
        sizes["train"] -= config.val_size
    for name, limit in (("train", config.train_limit), ("test", config.test_limit)):
        sizes[name] = sizes[name] if limit is None else min(limit, sizes[name])
    return [readable(name) for name in parts["train"].classes], sizes


def _part(folder: Path, config: DataConfig) -> Part:
    classes = folders.classes(folder, config)
    left_out = defaultdict(list, loose_in(folder, config.root))
    files: list[Path] = []
    labels: list[int] = []
    for number, path in enumerate(classes):
        members, others = _members(path, config)
        files.extend(members)
        labels.extend([number] * len(members))
        for reason, paths in others.items():
            left_out[reason].extend(paths)
    if not {path.parent for path in files} & set(classes):
        for line in folders.note_on_depth(classes, config):
            log.warning("%s: %s", config.name, line)
    return Part([path.name for path in classes], files, labels, left_out)


def _members(folder: Path, config: DataConfig) -> Found:
    """The images of a class. Raises ConfigError where there is none, with what there is instead."""
    found = images_in(folder, config.root)
    if not found.files:
        instead = f"; {left_out_line(found.left_out, folder)}" if found.left_out else ""
        remedy = (
            f"the class folder {readable(folder.absolute())} holds no image that Pillow reads{instead}; add some, or move it away"
        )
        raise ConfigError("data.root", config.root, remedy)
    return found


def _check_classes(config: DataConfig, train: Part, train_folder: Path, other: Part, folder: Path) -> None:
    odd = sorted(set(train.classes) ^ set(other.classes))
    if odd:
        remedy = f"{train_folder.name}/ and {folder.name}/ must hold the same classes; only one has {listed(odd)}"
        raise ConfigError("data.root", config.root, remedy)


def _refuse_single(config: DataConfig, part: Part) -> None:
    """Refuses classes of one image where it would have to be in the training and in the test set."""
    counts = Counter(part.labels)
    single = [name for number, name in enumerate(part.classes) if counts[number] == 1]
    if single:
        remedy = f"{listed(single)} {'has' if len(single) == 1 else 'have'} a single image, too few to train and to test on"
        raise ConfigError("data.root", config.root, f"{remedy}; add images, or move the folder away")


def _left_out(config: DataConfig, parts: Iterable[Part]) -> list[str]:
    """A line for what the folders hold and nothing reads, if there is any."""
    together: dict[str, list[Path]] = defaultdict(list)
    for part in parts:
        for reason, paths in part.left_out.items():
            together[reason].extend(paths)
    return [left_out_line(together, root_of(config))] if any(together.values()) else []
