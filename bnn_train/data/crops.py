"""Random parts of images, each resized to their size: the usual augmentation of ImageNet (Szegedy et al. 2014, arXiv 1409.4842).

A part has SCALE of the area and RATIO of width to height, uniform in area and in the ratio's logarithm; one that does not fit into
the image is drawn again, up to TRIES times, as elsewhere.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

SCALE = (0.08, 1.0)
RATIO = (3 / 4, 4 / 3)
TRIES = 10


def draw(count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """int64 (count, 4): row and column of each part's corner, its height and width, from a CPU generator."""
    sizes = torch.empty(count, 2, dtype=torch.int64)
    left = torch.arange(count)  # the images whose parts have not fitted yet
    for _ in range(TRIES):
        area = height * width * torch.empty(len(left)).uniform_(*SCALE, generator=generator)
        ratio = torch.empty(len(left)).uniform_(math.log(RATIO[0]), math.log(RATIO[1]), generator=generator).exp()
        found = torch.stack([(area / ratio).sqrt(), (area * ratio).sqrt()], dim=1).round().long().clamp(min=1)
        fits = (found <= torch.tensor([height, width])).all(dim=1)
        sizes[left[fits]] = found[fits]
        left = left[~fits]
        if not len(left):
            break
    sizes[left] = torch.tensor(largest(height, width))
    corners = torch.rand(count, 2, generator=generator) * (torch.tensor([height, width]) - sizes + 1)
    corners = corners.long().minimum(torch.tensor([height, width]) - sizes)  # a float32 below 1 may be rounded up by the product
    middle = (torch.tensor([height, width]) - sizes[left]) // 2
    corners[left] = middle
    return torch.cat([corners, sizes], dim=1)


def largest(height: int, width: int) -> tuple[int, int]:
    """(height, width) of the largest part of an image that has an allowed ratio."""
    low, high = RATIO
    if width < low * height:
        return round(width / low), width
    return (height, round(high * height)) if width > high * height else (height, width)


def resized(images: Tensor, parts: Tensor) -> Tensor:
    """Each image's own part, int64 (N, 4) as `draw` gives them, resized to the size of images, uint8 (N, C, H, W).

    Bilinear between the centres of pixels, the part's edges continued, rounded to whole pixels: a part is never larger than the
    image, so that there is nothing to average.
    """
    height, width = images.shape[2:]
    rows = _places(parts[:, 0], parts[:, 2], height)
    columns = _places(parts[:, 1], parts[:, 3], width)
    # From -1, the first pixel's outer edge, to 1.
    down, across = ((2 * places + 1) / size - 1 for places, size in ((rows, height), (columns, width)))
    grid = torch.stack([across.unsqueeze(1).expand(-1, height, -1), down.unsqueeze(2).expand(-1, -1, width)], dim=3)
    found = F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
    return found.round().clamp(0, 255).to(torch.uint8)


def _places(starts: Tensor, sizes: Tensor, count: int) -> Tensor:
    """float32 (N, count): where in the image each pixel of a resized part lies, along one side, in pixels from 0."""
    inside = (torch.arange(count, device=starts.device) + 0.5) * (sizes / count).unsqueeze(1) - 0.5
    return starts.unsqueeze(1) + inside.clamp(min=0).minimum((sizes - 1).unsqueeze(1))
