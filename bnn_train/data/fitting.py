"""An image of any size to that of a network: `data.fit`. docs/format.md says the same; a network's page does it, to the byte."""

from collections.abc import Callable

from PIL import Image, ImageOps

BACKGROUND = 128  # behind what is transparent and beside what is padded: black ink and white ink can both be seen on it

Size = tuple[int, int]  # (width, height), as Pillow has it


def crop(image: Image.Image, size: Size) -> Image.Image:
    """Cropped around its middle to the proportions of `size`, and resized."""
    return ImageOps.fit(image, size)


def pad(image: Image.Image, size: Size) -> Image.Image:
    """The whole image as large as `size` holds it, in its middle; the border is grey.

    Not ImageOps.pad: it fails where a long thin image would become less than half a pixel thin.
    """
    width, height = inner = within(image.size, size)
    resized = stretch(image, inner)
    if inner == size:
        return resized
    ground = Image.new(image.mode, size, (BACKGROUND,) * len(image.getbands()))
    ground.paste(resized, ((size[0] - width) // 2, (size[1] - height) // 2))
    return ground


def within(image: Size, size: Size) -> Size:
    """The largest size of the proportions of `image` within `size`: the other side rounded, a half up, and at least 1."""
    (width, height), (wide, high) = image, size
    if width * high >= height * wide:
        return wide, max(1, (2 * height * wide + width) // (2 * width))
    return max(1, (2 * width * high + height) // (2 * height)), high


def stretch(image: Image.Image, size: Size) -> Image.Image:
    """Resized to `size`, whatever its proportions were."""
    return image.resize(size, Image.Resampling.BICUBIC)


FITS: dict[str, Callable[[Image.Image, Size], Image.Image]] = {"crop": crop, "pad": pad, "stretch": stretch}


def fitted(image: Image.Image, size: Size, how: str) -> Image.Image:
    """An image, in L or RGB, of that size; one that has it already as it is. how: a value of data.fit."""
    return image if image.size == size else FITS[how](image, size)
