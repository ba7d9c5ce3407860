"""A folder of test images for a network that was trained on others: `bnn-eval --data-root`.

test/<class>/      the test images, whatever lies beside it (val/ where there is train/ and val/ alone)
<class>/           all of them are

Its classes are the network's; some may be missing.
"""

import logging
from pathlib import Path
from typing import NamedTuple

import torch

from bnn_train.config.data import DataConfig
from bnn_train.data import folders
from bnn_train.data.image_files import folders_in, images_in, left_out_line, loose_in
from bnn_train.data.image_folder import split_sizes
from bnn_train.data.reading import read as images_of
from bnn_train.data.root import root_of
from bnn_train.data.splits import Split
from bnn_train.data.words import listed, readable
from bnn_train.errors import ConfigError

log = logging.getLogger(__name__)


class OtherImages(NamedTuple):
    """The images, the folder that holds their classes, and the classes of which it has none."""

    split: Split
    folder: Path
    missing: list[str]


def is_laid_out_as(config: DataConfig, classes: list[str], sizes: dict[str, int]) -> bool:
    """Whether config.root, read as in training, has these classes and as many images: the run's own, or a copy of them."""
    try:
        return split_sizes(config) == (classes, sizes)
    except ConfigError:
        return False


def read(config: DataConfig, classes: list[str], image_shape: tuple[int, int, int]) -> OtherImages:
    """The test images of config.root, made as the network's own were: all of them, since data.test_limit was said of the run's own.

    Raises ConfigError for a class that the network does not know, for no image and for another size, and as image_folder does.
    """
    folder = _folder(config)
    numbers = {name: number for number, name in enumerate(classes)}
    found = folders_in(folder, config.root)
    if unknown := [path.name for path in found if readable(path.name) not in numbers]:
        remedy = f"{readable(folder.absolute())} holds {listed(unknown)}, which the network does not know; its classes are "
        raise ConfigError("data.root", config.root, remedy + listed(classes, 10))
    files: list[Path] = []
    labels: list[int] = []
    left_out = {reason: list(paths) for reason, paths in loose_in(folder, config.root).items()}
    for path in found:
        members, others = images_in(path, config.root)
        files += members
        labels += [numbers[readable(path.name)]] * len(members)
        for reason, paths in others.items():
            left_out.setdefault(reason, []).extend(paths)
    if not files:
        remedy = f"{readable(folder.absolute())} holds no image in a folder named as a class of the network: {listed(classes, 10)}"
        raise ConfigError("data.root", config.root, remedy)
    images, notes = images_of(files, config)
    if any(left_out.values()):
        notes = [left_out_line(left_out, root_of(config)), *notes]
    for line in notes:
        log.info("%s: %s", config.name, line)
    if tuple(images.shape[1:]) != image_shape:
        remedy = f"the images are {_size(images.shape[1:])}, and the network takes {_size(image_shape)}; it was trained without "
        raise ConfigError("data.root", config.root, f"{remedy}data.image_size, so they must have that size")
    split = Split(images, torch.tensor(labels), [readable(path.relative_to(root_of(config))) for path in files])
    missing = [name for number, name in enumerate(classes) if number not in set(labels)]
    return OtherImages(split, folder, missing)


def _folder(config: DataConfig) -> Path:
    """What holds the class folders."""
    visible = folders_in(folders.existing_root(config), config.root)
    roles = {folders.NAMES[path.name.lower()]: path for path in visible if path.name.lower() in folders.NAMES}
    roles = {role: path for role, path in roles.items() if folders_in(path, config.root)}
    if "test" in roles:
        return roles["test"]
    return roles["val"] if {"train", "val"} <= set(roles) else root_of(config)


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
