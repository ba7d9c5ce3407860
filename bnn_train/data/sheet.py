"""A contact sheet: what the network sees of some images beside the files that they come from, and as training changes them."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from bnn_train.config.data import DataConfig
from bnn_train.data import augment, balance, depth, mixup
from bnn_train.data.decode import decode
from bnn_train.data.root import root_of
from bnn_train.data.splits import SPLIT_SEED, Data, Split
from bnn_train.errors import as_typed

DRAWS = 4
MOST = 24  # rows
OF_A_CLASS = 4  # at most
SIDE = 128  # pixels that the longer side of a small image is enlarged to, about
GAP, MARGIN = 6, 12
PAPER, INK, FAINT = (255, 255, 255), (20, 20, 20), (110, 110, 110)


class Shown(NamedTuple):
    """Some training images, class after class: uint8 (N, C, H, W) as they are and DRAWS times as training changes them."""

    classes: list[str]  # of each image
    names: Sequence[str] | None
    seen: Tensor
    draws: list[Tensor]


def choose(split: Split, classes: int) -> Tensor:
    """Indices of a few images of each class, the same in every call: of the first MOST classes where there are more."""
    each = max(1, min(OF_A_CLASS, MOST // classes))
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(SPLIT_SEED))
    labels = split.labels[order]
    return torch.cat([order[labels == number][:each] for number in range(min(classes, MOST))])


def shown(data: Data, config: DataConfig, seed: int) -> Shown:
    """Of images on the CPU. The changes are those of the code that trains, turned back into pixels."""
    some = data.train.at(choose(data.train, len(data.classes)))
    images = some.in_memory()
    generator, count = torch.Generator().manual_seed(seed), len(some)
    mixes = mixup.draw(config.mixup, DRAWS, count, seed, 0, some.labels.device) if config.mixup else None
    draws = []
    for number in range(DRAWS):
        draw = augment.draw(config, count, data.image_shape, generator, some.labels.device)
        inputs = augment.augment(images, draw, config)
        draws.append(augment.pixels(inputs if mixes is None else mixes[number].inputs(inputs), config.mean, config.std))
    return Shown([data.classes[label] for label in some.labels.tolist()], some.names, images, draws)


def sheet(data: Data, config: DataConfig, seed: int) -> tuple[Image.Image, int]:
    """(the sheet, how many images are on it). data: on the CPU."""
    found = shown(data, config, seed)
    height, width = _cell(found.seen)
    originals = _originals(found.names, config, (width, height))
    columns = [
        *([originals] if originals else []),
        *([_image(each, width, height) for each in part] for part in (found.seen, *found.draws)),
    ]
    counts = dict(zip(data.classes, balance.counts(data.train, len(data.classes)).tolist(), strict=True))
    font, small = _font(15), _font(12)
    heads = [*(["the file"] if originals else []), "what is seen", *["in training"] * DRAWS]
    lines = [(font, INK, _title(config, data)), (small, FAINT, _changes(config, data))]
    left_out = len(data.classes) - len(set(found.classes))
    if left_out:
        lines.append((small, FAINT, f"{left_out:,} more classes are not shown"))
    wide = max(
        MARGIN * 2 + len(columns) * (width + GAP) - GAP,
        *(MARGIN * 2 + int(font.getlength(_safe(text, font))) for font, _, text in lines),
    )
    groups = sum(1 for i, name in enumerate(found.classes) if name not in found.classes[:i])
    top = MARGIN + 22 * len(lines) + 20
    page = Image.new("RGB", (wide, top + groups * 26 + len(found.classes) * (height + GAP) + MARGIN), PAPER)
    pen = ImageDraw.Draw(page)
    for number, (font, colour, text) in enumerate(lines):
        pen.text((MARGIN, MARGIN + 22 * number), _safe(text, font), colour, font)
    for number, text in enumerate(heads):
        pen.text((MARGIN + number * (width + GAP), top - 18), _cut(text, small, width), FAINT, small)
    for row, name in enumerate(found.classes):
        if name not in found.classes[:row]:
            text = f"{name} ({counts[name]:,} training image{'s' * (counts[name] != 1)})"
            pen.text((MARGIN, top + 4), _safe(text, font := _font(15)), INK, font)
            top += 26
        for number, column in enumerate(columns):
            cell = column[row]
            page.paste(cell, (MARGIN + number * (width + GAP) + (width - cell.width) // 2, top + (height - cell.height) // 2))
        top += height + GAP
    return page, len(found.classes)


def _cell(images: Tensor) -> tuple[int, int]:
    """(height, width) of an image on the sheet: a whole multiple of its own, so that its pixels stay what they are."""
    height, width = images.shape[-2:]
    times = max(1, SIDE // max(height, width))
    return times * height, times * width


def _image(pixels: Tensor, width: int, height: int) -> Image.Image:
    planes: np.ndarray = pixels[:3].numpy()
    image = Image.fromarray(planes.transpose(1, 2, 0) if len(planes) == 3 else planes[0]).convert("RGB")
    return image.resize((width, height), Image.Resampling.NEAREST)


def _originals(names: Sequence[str] | None, config: DataConfig, room: tuple[int, int]) -> list[Image.Image]:
    """Of files as a viewer shows them, as large as there is room; none of other data sets."""
    if names is None or config.name != "image_folder":
        return []
    found = []
    for name in names:
        pixels = decode(root_of(config) / name)
        if isinstance(pixels, depth.Deep):
            pixels = decode(root_of(config) / name, scales=depth.scales([pixels]))
        if not isinstance(pixels, np.ndarray):  # gone since it was read
            pixels = np.full((3, 1, 1), 255, np.uint8)
        image = Image.fromarray(pixels.transpose(1, 2, 0))
        share = min(room[0] / image.width, room[1] / image.height)
        size = (max(1, round(image.width * share)), max(1, round(image.height * share)))
        found.append(image.resize(size, Image.Resampling.LANCZOS if share < 1 else Image.Resampling.NEAREST))
    return found


def _title(config: DataConfig, data: Data) -> str:
    channels, height, width = data.image_shape
    where = f" {config.root}:" if config.name == "image_folder" else ":"
    return f"{config.name}{where} {width} wide, {height} high, {channels} channel{'s' * (channels != 1)}"


def _changes(config: DataConfig, data: Data) -> str:
    """The keys of what is done, as they are typed."""
    done = {"image_size": config.image_size, "fit": config.fit} if config.size is not None else {}
    padding = 0 if config.crop == "random_resized" else augment.crop_padding(config, data.image_shape)
    done |= {"crop": "" if config.crop == "padded" else config.crop, "crop_padding": padding, "flip": config.flip}
    done |= {"cutout": config.cutout, "mixup": config.mixup}
    return "   ".join(f"data.{name}={as_typed(value)}" for name, value in done.items() if value)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """One with the letters of most languages: matplotlib's, since Pillow's own has few."""
    try:
        return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)
    except (ImportError, OSError):  # a Pillow without FreeType, a matplotlib without its fonts
        return ImageFont.load_default(size)


def _safe(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """What the font can draw: without FreeType Pillow has one of Latin letters alone."""
    if isinstance(font, ImageFont.FreeTypeFont):
        return text
    return text.encode("latin-1", "backslashreplace").decode("latin-1")


def _cut(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, most: int) -> str:
    while text and font.getlength(text) > most:
        text = text[:-1]
    return text
