"""The data set of a plugin: what its function gives, in any of the usual shapes, as tensors.

- {"train_images", "train_labels", "test_images", "test_labels"}, where there are some with "val_images", "val_labels", "classes";
- (train images, train labels, test images, test labels[, classes]), or ((images, labels), (images, labels)[, classes]);
- {"train": [...], "test": [...]}, also "validation", each a list of {"image": PIL image or array, "label": number or name};
- such a list alone, which is the training set.

Images are uint8: (N, H, W), (N, channels, H, W) or (N, H, W, channels). Without a test set data.test_fraction of the images is it.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from bnn_train.config.data import DataConfig
from bnn_train.data.splits import Arrays, Split, hold_out_test
from bnn_train.register import Plugged

log = logging.getLogger(__name__)

_WORDS = {"train": "training", "val": "held-out", "test": "test"}
_SPLITS = {"train": "train", "test": "test", "val": "val", "valid": "val", "validation": "val"}  # as others call them
_LABELS = "they must be whole numbers from 0, or names of classes"
_SHAPES = "must be uint8 of shape (N, height, width), (N, channels, height, width) or (N, height, width, channels)"
_REMEDIES = {  # by the kind of numbers
    "f": "; floats in [0, 1] become pixels by (255 * x).round().astype('uint8')",
    "i": "; whole numbers from 0 to 255 become pixels by x.astype('uint8')",
    "u": "; whole numbers from 0 to 255 become pixels by x.astype('uint8')",
    "b": "; true and false become pixels by 255 * x.astype('uint8')",
}


def read(plugged: Plugged, config: DataConfig) -> Arrays:
    """Raises PluginError for what is none of these."""
    splits, classes = _splits(plugged, plugged.call(**plugged.given(config)))
    for name, (_, labels) in splits.items():
        _check_labels(plugged, name, labels)
    names = _names(plugged, splits, classes)
    made = {}
    for name, (images, labels) in splits.items():
        pixels, numbers = _images(plugged, name, images), _numbers(plugged, name, labels, names)
        if len(pixels) != len(numbers):
            raise plugged.fault(f"gives {len(pixels)} {_WORDS[name]} images and {len(numbers)} labels; each image needs one")
        made[name] = Split(pixels, numbers)
    if len(shapes := {tuple(split.images.shape[1:]) for split in made.values()}) > 1:
        raise plugged.fault(f"gives images of several sizes, {' and '.join(map(str, sorted(shapes)))}, (channels, height, width)")
    if "test" not in made:
        made["train"], made["test"] = hold_out_test(config.test_fraction, made["train"], names)
    return Arrays(made["train"], made["test"], names, made.get("val"))


def mean_and_std(split: Split) -> tuple[list[float], list[float]]:
    """Of each channel, of pixels / 255, to 6 digits; a deviation of 0 is given as 1."""
    means, deviations = [], []
    values = torch.arange(256, dtype=torch.float64) / 255
    channels = split.images.shape[1]
    counts = torch.zeros(channels, 256, dtype=torch.int64)  # of each value
    for part in [split.images] if isinstance(split.images, torch.Tensor) else split.images.split(256):
        for channel in range(channels):
            counts[channel] += torch.bincount(part[:, channel].flatten(), minlength=256).cpu()
    for of_channel in counts:
        shares = of_channel.double() / of_channel.sum()
        mean = (shares * values).sum()
        means.append(round(mean.item(), 6))
        deviations.append(round((shares * (values - mean).square()).sum().sqrt().item(), 6) or 1.0)
    return means, deviations


def _splits(plugged: Plugged, given: Any) -> tuple[dict[str, tuple[Any, Any]], Any]:
    """({"train", "test", "val": (images, labels)}, classes or None)."""
    if isinstance(given, Mapping):
        splits, classes = _of_mapping(plugged, given)
    elif _is_rows(given):
        splits, classes = _of_mapping(plugged, {"train": given})
    else:
        parts = list(given) if isinstance(given, Sequence) else []
        if len(parts) in (2, 3) and all(isinstance(part, Sequence) and len(part) == 2 for part in parts[:2]):
            parts = [*parts[0], *parts[1], *parts[2:]]
        splits = dict(zip(("train", "test"), zip(parts[0:4:2], parts[1:4:2], strict=False), strict=False))
        classes = parts[4] if len(parts) == 5 else None
        if len(parts) not in (2, 4, 5):
            splits = {}
    if "train" not in splits:
        raise plugged.fault("must give a dict or a tuple with training images and labels, and those of the test set")
    return splits, classes


def _of_mapping(plugged: Plugged, given: Mapping[str, Any]) -> tuple[dict[str, tuple[Any, Any]], Any]:
    arrays = {f"{name}_{what}" for name in ("train", "test", "val") for what in ("images", "labels")}
    if odd := [str(name) for name in given if name not in {*_SPLITS, *arrays, "classes"}]:
        names = f"{', '.join(each for each in _SPLITS if each != 'val')}, or train_images, train_labels, test_images and so on"
        raise plugged.fault(f"gives {', '.join(odd)}; the names are {names}")
    classes = given.get("classes")
    splits: dict[str, tuple[Any, Any]] = {}
    for name in ("train", "test", "val"):
        there = [key for key in (f"{name}_images", f"{name}_labels") if key in given]
        if len(there) == 1:
            raise plugged.fault(f"gives {there[0]} alone; {_WORDS[name]} images and labels go together")
        if there:
            splits[name] = given[f"{name}_images"], given[f"{name}_labels"]
    for key, name in _SPLITS.items():
        if key in given:
            splits[name] = _columns(plugged, name, given[key])
            classes = _of_features(given[key]) if classes is None else classes
    return splits, classes


def _is_rows(given: Any) -> bool:
    """Whether it is a list of dicts, or a data set of Hugging Face's."""
    if isinstance(given, tuple) or not (hasattr(given, "__len__") and hasattr(given, "__iter__")):
        return False
    return len(given) > 0 and isinstance(next(iter(given)), Mapping)


def _columns(plugged: Plugged, name: str, rows: Any) -> tuple[list[Any], list[Any]]:
    """The images and labels of a list of dicts; images of several kinds are made of one."""
    rows = list(rows)
    if not rows or not all(isinstance(row, Mapping) for row in rows):
        raise plugged.fault(f'gives as {_WORDS[name]} images no list of {{"image": ..., "label": ...}}')
    if odd := next((row for row in rows if not {"image", "label"} <= set(row)), None):
        raise plugged.fault(f"gives {_WORDS[name]} rows of {', '.join(map(str, odd))}; rename what is in them to image and label")
    images = [row["image"] for row in rows]
    if all(hasattr(image, "convert") for image in images):
        grey = all(image.mode in ("L", "1") for image in images)
        images = [image.convert("L" if grey else "RGB") for image in images]
    return [_array(image) for image in images], [row["label"] for row in rows]


def _of_features(rows: Any) -> Any:
    """The names that a data set of Hugging Face's has for its classes."""
    features = getattr(rows, "features", None)
    return getattr(features["label"], "names", None) if isinstance(features, Mapping) and "label" in features else None


def _check_labels(plugged: Plugged, name: str, labels: Any) -> None:
    """Refuses what are no labels, whatever the classes are."""
    values = _array(labels)
    if values.ndim != 1:
        shape = f"labels of shape {values.shape}; they must be (N,), the number of each image's class"
        raise plugged.fault(f"gives {_WORDS[name]} {shape}")
    if not len(values):
        more = "; leave them out, and data.test_fraction says how many others are it" if name == "test" else ""
        raise plugged.fault(f"gives no {_WORDS[name]} image{more}")
    if not isinstance(labels, np.ndarray | torch.Tensor) and len({isinstance(label, str) for label in labels}) > 1:
        raise plugged.fault(f"gives {_WORDS[name]} labels of which some are text and some are not; {_LABELS}")
    if values.dtype.kind not in "USiu":
        raise plugged.fault(f"gives {_WORDS[name]} labels such as {values[0]!s}, {values.dtype}; {_LABELS}")
    if values.dtype.kind in "iu" and values.min() < 0:
        more = "; of images that have no label make no test set" if name != "train" else ""
        raise plugged.fault(f"gives the {_WORDS[name]} label {values.min()}; {_LABELS}{more}")


def _names(plugged: Plugged, splits: Mapping[str, tuple[Any, Any]], classes: Any) -> list[str]:
    """The classes: those that were given, else the labels' own names, else as many numbers as the largest label asks for."""
    if classes is not None:
        if isinstance(classes, str) or not hasattr(classes, "__iter__"):
            raise plugged.fault(f"gives {classes} as classes; they are a list of names")
        return [str(name) for name in classes]
    found = [_array(labels) for _, labels in splits.values()]
    if all(labels.dtype.kind in "US" for labels in found):
        return sorted({str(label) for labels in found for label in labels})
    if any(labels.dtype.kind in "US" for labels in found):
        raise plugged.fault(f"gives numbers as labels of one set and names as those of another; {_LABELS}")
    low, high, count = min(int(labels.min()) for labels in found), max(int(labels.max()) for labels in found), sum(map(len, found))
    if low > 0:
        raise plugged.fault(f"gives labels from {low} to {high}: number the classes from 0, or give the names of all of them")
    if high >= count:
        raise plugged.fault(f"gives labels up to {high} of {count} images: number the classes from 0 on, without gaps")
    return [str(number) for number in range(high + 1)]


def _numbers(plugged: Plugged, name: str, labels: Any, names: list[str]) -> torch.Tensor:
    """int64 (N,)."""
    values = _array(labels)
    if values.dtype.kind in "US":
        numbers = {name: number for number, name in enumerate(names)}
        if odd := sorted({str(value) for value in values} - set(names)):
            raise plugged.fault(f"gives the label {odd[0]}, and the classes are {', '.join(names)}")
        values = np.array([numbers[str(value)] for value in values])
    elif values.max() >= len(names):
        raise plugged.fault(f"gives the {_WORDS[name]} label {values.max()}, and {len(names)} classes, 0 to {len(names) - 1}")
    return torch.from_numpy(values.astype(np.int64))


def _images(plugged: Plugged, name: str, images: Any) -> torch.Tensor:
    """uint8 (N, C, H, W)."""
    try:
        pixels = _array(images)
    except ValueError:  # numpy's of rows that differ
        pixels = np.empty(0, object)
    if pixels.dtype == object:
        if odd := [image for image in images if _array(image).ndim < 2]:
            raise plugged.fault(f"gives {type(odd[0]).__name__} as a {_WORDS[name]} image; each must be an array or a PIL image")
        raise plugged.fault(f"gives {_WORDS[name]} images of several sizes; resize them in the function")
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or 0 in pixels.shape:
        remedy = _REMEDIES.get(pixels.dtype.kind, "") if pixels.dtype != np.uint8 else ""
        raise plugged.fault(f"gives {_WORDS[name]} images of {pixels.dtype} {pixels.shape}; they {_SHAPES}{remedy}")
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    elif pixels.shape[3] in (1, 3, 4) and pixels.shape[1] not in (1, 3):
        pixels = pixels.transpose(0, 3, 1, 2)
    elif name == "train" and pixels.shape[3] < min(pixels.shape[1:3]):
        channels, height, width = pixels.shape[1:]
        line = "note: data=%s: takes images of shape %s as %d channels of %dx%d pixels; if it has %d, transpose(0, 3, 1, 2)"
        log.warning(line, plugged.name, pixels.shape, channels, height, width, width)
    return torch.tensor(pixels)  # a copy: an array may not be ours to write to


def _array(values: Any) -> np.ndarray:
    return np.asarray(values.detach().cpu() if isinstance(values, torch.Tensor) else values)
