"""What a dataset is here, and how a part of it is held out."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bnn_train.data.stored import Stored
from bnn_train.data.words import counted, listed
from bnn_train.errors import ConfigError

SPLIT_SEED = 0  # the held-out images are the same in every run, so that seeds can be compared


Images = Tensor | Stored  # uint8 (N, C, H, W)


@dataclass(frozen=True)
class Split:
    """Images, uint8 (N, C, H, W), and their class numbers, int64 (N,), on one device; their files' names, where they have some.

    Images that do not fit into memory are Stored: on the disk, and on the device as they are asked for.
    """

    images: Images
    labels: Tensor
    names: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "Split":
        return Split(self.images.to(device), self.labels.to(device), self.names)

    def at(self, indices: Tensor) -> "Split":
        """The images at `indices`, in that order."""
        names = None if self.names is None else [self.names[i] for i in indices.tolist()]
        images = self.images.at(indices) if isinstance(self.images, Stored) else self.images[indices]
        return Split(images, self.labels[indices], names)

    @property
    def waited(self) -> float | None:
        """Seconds that batches have been waited for until now; None where the images are in memory."""
        return self.images.waited if isinstance(self.images, Stored) else None

    def in_memory(self) -> Tensor:
        """All images as a tensor on the device: of a few."""
        return self.images[:]


@dataclass(frozen=True)
class Arrays:
    """What a reader returns, on the CPU: training and test images, the classes' names, and held-out images if the data has some."""

    train: Split
    test: Split
    classes: list[str]
    val: Split | None = None


@dataclass(frozen=True)
class Data:
    """What the trainer gets, on the device. `val` is None unless images are held out."""

    train: Split
    val: Split | None
    test: Split
    classes: list[str]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width


def held_out(key: str, labels: Tensor, size: int) -> Tensor:
    """The sorted indices of `size` images, drawn at random with each class in proportion (largest remainders get the rest).

    Raises ConfigError for `key` where no image would be left to train on.
    """
    counts = torch.bincount(labels)
    if size >= len(labels):
        raise ConfigError(key, size, f"must be smaller than the {len(labels)} training images")
    exact = counts.double() * size / len(labels)
    shares = exact.long()
    rest = (exact - shares).argsort(descending=True, stable=True)[: size - int(shares.sum())]
    shares[rest] += 1
    generator = torch.Generator().manual_seed(SPLIT_SEED)
    chosen = []
    for number, share in enumerate(shares.tolist()):
        members = (labels == number).nonzero().flatten()
        chosen.append(members[torch.randperm(len(members), generator=generator)[:share]])
    return torch.cat(chosen).sort().values


def split_off(split: Split, indices: Tensor) -> tuple[Split, Split]:
    """(the rest, the images at `indices`)."""
    mask = torch.zeros(len(split), dtype=torch.bool)
    mask[indices] = True
    return split.at((~mask).nonzero().flatten()), split.at(mask.nonzero().flatten())


def hold_out(key: str, value: float, split: Split, size: int, classes: Sequence[str]) -> tuple[Split, Split]:
    """(the rest, `size` images), as `held_out` chooses them because of the user's `key=value`.

    Raises ConfigError where one of the two would be empty, or a class would have no image left to train on.
    """
    if not 0 < size < len(split):
        limit = (
            f"must be smaller than the {len(split)} training images" if value == size else f"must leave some of {len(split)} images"
        )
        raise ConfigError(key, value, limit if size else f"takes none of {counted(len(split), 'image')}; choose a larger one")
    rest, part = split_off(split, held_out(key, split.labels, size))
    before, after = (torch.bincount(labels, minlength=len(classes)) for labels in (split.labels, rest.labels))
    emptied = [classes[number] for number in ((before > 0) & (after == 0)).nonzero().flatten().tolist()]
    if emptied:
        remedy = f"leaves no image to train on of {listed(emptied)}; choose a smaller one, or give each class more images"
        raise ConfigError(key, value, remedy)
    return rest, part


def hold_out_test(fraction: float, everything: Split, classes: Sequence[str]) -> tuple[Split, Split]:
    """(training images, test images): the share `fraction`, which is data.test_fraction, is the test set."""
    return hold_out("data.test_fraction", fraction, everything, round(fraction * len(everything)), classes)


def limited(split: Split, count: int | None) -> Split:
    """The first `count` images of a shuffle that is the same in every run, in their order; all where count is None or larger."""
    if count is None or count >= len(split):
        return split
    return split.at(torch.randperm(len(split), generator=torch.Generator().manual_seed(SPLIT_SEED))[:count].sort().values)
