"""Batches of a split. An epoch's order and augmentation are a pure function of (seed, epoch), so any batch can be made again."""

from collections.abc import Iterator

import torch
from torch import Tensor

from bnn_train.config.data import DataConfig
from bnn_train.data import augment
from bnn_train.data.splits import Split
from bnn_train.data.stored import Stored

_EPOCHS_PER_SEED = 1_000_003  # a prime above any number of epochs: (seed, epoch) pairs get generators of their own


def train_batches(
    split: Split, config: DataConfig, batch_size: int, seed: int, epoch: int, first: int = 0, part: slice = slice(None)
) -> Iterator[tuple[Tensor, Tensor]]:
    """(float32 inputs, labels) of the whole batches of one epoch (counted from 0) in random order, from batch `first` on.

    part: which of a batch's images are given, where other processes take the others.
    """
    generator = torch.Generator().manual_seed((seed * _EPOCHS_PER_SEED + epoch) % 2**63)
    device = split.labels.device
    order = torch.randperm(len(split), generator=generator)
    shape = split.images.shape
    draws = augment.draw(config, len(split), (shape[1], shape[2], shape[3]), generator, device)
    starts = range(first * batch_size, len(split) - batch_size + 1, batch_size)
    ranges = [range(start, start + batch_size)[part] for start in starts]
    batches = [slice(images.start, images.stop) for images in ranges]
    if isinstance(split.images, Stored):
        pixels = split.images.ahead(order[batch] for batch in batches)
        order = order.to(device)
    else:
        order = order.to(device)
        pixels = (split.images[order[batch]] for batch in batches)
    for batch, images in zip(batches, pixels, strict=True):
        yield augment.augment(images, draws[batch], config), split.labels[order[batch]]


def eval_batches(
    split: Split, config: DataConfig, batch_size: int, first: int = 0, step: int = 1
) -> Iterator[tuple[Tensor, Tensor]]:
    """(float32 inputs, labels) of all images, in order, without augmentation. first, step: of batch `first`, and every step-th."""
    labels = split.labels.split(batch_size)[first::step]
    if isinstance(split.images, Stored):
        pixels = split.images.ahead(torch.arange(len(split)).split(batch_size)[first::step])
    else:
        pixels = iter(split.images.split(batch_size)[first::step])
    for images, of_images in zip(pixels, labels, strict=True):
        yield augment.normalise(images, config.mean, config.std), of_images
