"""What a dataset is here, and how a part of it is held out."""

from dataclasses import dataclass

import torch
from torch import Tensor

from bnn_train.errors import ConfigError

SPLIT_SEED = 0  # the held-out images are the same in every run, so that seeds can be compared


@dataclass(frozen=True)
class Split:
    """Images, uint8 (N, C, H, W), and their class numbers, int64 (N,), on one device."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "Split":
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Arrays:
    """What a reader returns: the training and the test images, on the CPU, and the classes' names."""

    train: Split
    test: Split
    classes: list[str]


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

    Raises ConfigError for `key` where no class would keep a training image.
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
    return Split(split.images[~mask], split.labels[~mask]), Split(split.images[mask], split.labels[mask])


def limited(split: Split, count: int | None) -> Split:
    """The first `count` images of a shuffle that is the same in every run, in their order; all where count is None or larger."""
    if count is None or count >= len(split):
        return split
    chosen = torch.randperm(len(split), generator=torch.Generator().manual_seed(SPLIT_SEED))[:count].sort().values
    return Split(split.images[chosen], split.labels[chosen])
