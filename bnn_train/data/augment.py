"""Normalisation and augmentation of a batch on the device, each image with its own draw.

The draws of a whole epoch are made at once, on the CPU, from a generator seeded with (seed, epoch): the same on every device, and
there is no random state to save. Each function takes and returns images (N, C, H, W).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bnn_train.config.data import DataConfig
from bnn_train.data import crops


@dataclass(frozen=True)
class Draws:
    """Random numbers for each image of an epoch, in the order in which the epoch visits them; None for what is switched off."""

    crop: Tensor | None  # int64 (N, 2): row and column of the crop's corner; (N, 4): also its height and width, to be resized
    flip: Tensor | None  # bool (N,)
    cutout: Tensor | None  # int64 (N, 2): row and column of the square's centre

    def __getitem__(self, batch: slice) -> "Draws":
        return Draws(*(None if draw is None else draw[batch] for draw in (self.crop, self.flip, self.cutout)))


def crop_padding(config: DataConfig, image_shape: torch.Size | tuple[int, ...]) -> int:
    """data.crop_padding in pixels; where it is null an eighth of the shorter side: the usual 4 at 32, in proportion for others."""
    return config.crop_padding if config.crop_padding is not None else round(min(image_shape[-2:]) / 8)


def draw(
    config: DataConfig, count: int, image_shape: tuple[int, int, int], generator: torch.Generator, device: torch.device
) -> Draws:
    """The draws for `count` images, from a CPU `generator`, on `device`."""
    _, height, width = image_shape
    padding = crop_padding(config, image_shape)

    def integers(*highs: int) -> Tensor:
        return torch.stack([torch.randint(high, (count,), generator=generator) for high in highs], dim=1).to(device)

    if config.crop == "random_resized":
        cropped: Tensor | None = crops.draw(count, height, width, generator).to(device)
    else:
        cropped = integers(2 * padding + 1, 2 * padding + 1) if padding else None
    return Draws(
        crop=cropped,
        flip=torch.rand(count, generator=generator).lt(0.5).to(device) if config.flip else None,
        cutout=integers(height, width) if config.cutout else None,
    )


def crop(images: Tensor, corners: Tensor, padding: int) -> Tensor:
    """Pads with black (0) on each side, then cuts the original size out at each image's own corner."""
    n, c, height, width = images.shape
    padded = F.pad(images, [padding] * 4)
    rows = corners[:, :1] + torch.arange(height, device=images.device)
    columns = corners[:, 1:] + torch.arange(width, device=images.device)
    n_index = torch.arange(n, device=images.device).view(n, 1, 1, 1)
    c_index = torch.arange(c, device=images.device).view(1, c, 1, 1)
    return padded[n_index, c_index, rows.view(n, 1, height, 1), columns.view(n, 1, 1, width)]


def flip(images: Tensor, chosen: Tensor) -> Tensor:
    """Mirrors the chosen images left to right."""
    return torch.where(chosen.view(-1, 1, 1, 1), images.flip(-1), images)


def cutout(images: Tensor, centres: Tensor, side: int) -> Tensor:
    """Sets a square around each image's own centre to 0, the mean of normalised images; it may reach over the edge.

    DeVries & Taylor 2017, arXiv 1708.04552.
    """
    height, width = images.shape[2:]
    top_left = centres - side // 2
    rows = torch.arange(height, device=images.device) - top_left[:, :1]
    columns = torch.arange(width, device=images.device) - top_left[:, 1:]
    hole = ((rows >= 0) & (rows < side)).unsqueeze(2) & ((columns >= 0) & (columns < side)).unsqueeze(1)
    return images.masked_fill(hole.unsqueeze(1), 0)


def normalise(images: Tensor, mean: list[float], std: list[float]) -> Tensor:
    """uint8 to float32 (x / 255 - mean) / std, per channel."""

    def per_channel(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=images.device).view(1, -1, 1, 1)

    inputs = images.to(torch.float32, copy=True)  # and from there in place: batches of large images take a quarter of the memory
    return inputs.div_(255).sub_(per_channel(mean)).div_(per_channel(std))


def pixels(inputs: Tensor, mean: list[float], std: list[float]) -> Tensor:
    """The other way round: the nearest uint8 of normalised images."""
    offset, scale = (torch.tensor(values, device=inputs.device).view(1, -1, 1, 1) for values in (mean, std))
    return (255 * (inputs * scale + offset)).round().clamp(0, 255).to(torch.uint8)


def augment(images: Tensor, draws: Draws, config: DataConfig) -> Tensor:
    """uint8 training images to augmented, normalised float32 ones."""
    if draws.crop is not None:
        is_resized = config.crop == "random_resized"
        images = crops.resized(images, draws.crop) if is_resized else crop(images, draws.crop, crop_padding(config, images.shape))
    if draws.flip is not None:
        images = flip(images, draws.flip)
    inputs = normalise(images, config.mean, config.std)
    return inputs if draws.cutout is None else cutout(inputs, draws.cutout, config.cutout)
