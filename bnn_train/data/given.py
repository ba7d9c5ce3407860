"""The data set of a plugin: what its function gives, in any of the usual shapes, as tensors.

- {"train_images", "train_labels", "test_images", "test_labels"}, where there are some with "val_images", "val_labels", "classes";
- (train images, train labels, test images, test labels[, classes]), or ((images, labels), (images, labels)[, classes]);
- {"train": [...], "test": [...]}, also "validation", each a list of {"image": PIL image or array, "label": number or name}.

Images are uint8: (N, H, W), (N, channels, H, W) or (N, H, W, channels). Without a test set data.test_fraction of the images is it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from bnn_train.config.data import DataConfig
from bnn_train.data.splits import Arrays, Split, hold_out_test
from bnn_train.register import Plugged

_WORDS = {"train": "training", "val": "held-out", "test": "test"}
_SHAPES = "must be uint8 of shape (N, height, width), (N, channels, height, width) or (N, height, width, channels)"


def read(plugged: Plugged, config: DataConfig) -> Arrays:
    """Raises PluginError for what is none of these."""
    splits, classes = _splits(plugged, plugged.call(**plugged.given(config)))
    names = _names(plugged, splits, classes)
    made = {}
    for name, (images, labels) in splits.items():
        pixels, numbers = _images(plugged, name, images), _labels(plugged, name, labels, names)
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
    for channel in range(split.images.shape[1]):
        shares = torch.bincount(split.images[:, channel].flatten(), minlength=256).double().cpu() / split.images[:, channel].numel()
        mean = (shares * values).sum()
        means.append(round(mean.item(), 6))
        deviations.append(round((shares * (values - mean).square()).sum().sqrt().item(), 6) or 1.0)
    return means, deviations


def _splits(plugged: Plugged, given: Any) -> tuple[dict[str, tuple[Any, Any]], Any]:
    """({"train", "test", "val": (images, labels)}, classes or None)."""
    if isinstance(given, Mapping):
        names = {"train": "train", "test": "test", "val": "val", "validation": "val"}
        known = {*names, *(f"{name}_{what}" for name in ("train", "test", "val") for what in ("images", "labels")), "classes"}
        if odd := [str(name) for name in given if name not in known]:
            raise plugged.fault(
                f"gives {', '.join(odd)}; the names are train_images, train_labels, test_images and so on, or train and test"
            )
        classes = given.get("classes")
        splits: dict[str, tuple[Any, Any]] = {}
        for name in ("train", "test", "val"):
            if f"{name}_images" in given and f"{name}_labels" in given:
                splits[name] = given[f"{name}_images"], given[f"{name}_labels"]
        for key, name in names.items():
            if key in given:
                splits[name] = _columns(plugged, name, given[key])
                classes = _of_features(given[key]) if classes is None else classes
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


def _columns(plugged: Plugged, name: str, rows: Any) -> tuple[list[Any], list[Any]]:
    """The images and labels of a list of dicts; images of several kinds are made of one."""
    rows = list(rows)
    if not rows or not all(isinstance(row, Mapping) and {"image", "label"} <= set(row) for row in rows):
        raise plugged.fault(f'gives as {_WORDS[name]} images no list of {{"image": ..., "label": ...}}')
    images = [row["image"] for row in rows]
    if all(hasattr(image, "convert") for image in images):
        grey = all(image.mode in ("L", "1") for image in images)
        images = [image.convert("L" if grey else "RGB") for image in images]
    return [np.asarray(image) for image in images], [row["label"] for row in rows]


def _of_features(rows: Any) -> Any:
    """The names that a data set of Hugging Face's has for its classes."""
    features = getattr(rows, "features", None)
    return getattr(features["label"], "names", None) if isinstance(features, Mapping) and "label" in features else None


def _names(plugged: Plugged, splits: Mapping[str, tuple[Any, Any]], classes: Iterable[Any] | None) -> list[str]:
    """The classes: those that were given, else the labels' own names, else as many numbers as the largest label asks for."""
    if classes is not None:
        return [str(name) for name in classes]
    labels = np.concatenate([np.asarray(labels).reshape(-1) for _, labels in splits.values()])
    if labels.dtype.kind in "US":
        return sorted({str(label) for label in labels})
    if labels.dtype.kind not in "iu" or not len(labels):
        raise plugged.fault("must give labels that are whole numbers from 0 or names of classes")
    return [str(number) for number in range(int(labels.max()) + 1)]


def _labels(plugged: Plugged, name: str, labels: Any, names: list[str]) -> torch.Tensor:
    values = np.asarray(labels)
    if values.ndim != 1:
        raise plugged.fault(
            f"gives {_WORDS[name]} labels of shape {values.shape}; they must be (N,), the number of each image's class"
        )
    if values.dtype.kind in "US":
        numbers = {name: number for number, name in enumerate(names)}
        if odd := sorted({str(value) for value in values} - set(names)):
            raise plugged.fault(f"gives the label {odd[0]}, and the classes are {', '.join(names)}")
        values = np.array([numbers[str(value)] for value in values])
    if values.dtype.kind not in "iu":
        raise plugged.fault("must give labels that are whole numbers from 0 or names of classes")
    return torch.from_numpy(values.astype(np.int64))


def _images(plugged: Plugged, name: str, images: Any) -> torch.Tensor:
    """uint8 (N, C, H, W)."""
    try:
        pixels = np.asarray(images)
    except ValueError:  # numpy's of rows that differ
        pixels = np.empty(0, object)
    if pixels.dtype == object:
        raise plugged.fault(f"gives {_WORDS[name]} images of several sizes; resize them in the function")
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4):
        remedy = "; floats in [0, 1] become pixels by (255 * x).round().astype('uint8')" if pixels.dtype.kind == "f" else ""
        raise plugged.fault(f"gives {_WORDS[name]} images of {pixels.dtype} {pixels.shape}; they {_SHAPES}{remedy}")
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    elif pixels.shape[3] in (1, 3, 4) and pixels.shape[1] not in (1, 3):
        pixels = pixels.transpose(0, 3, 1, 2)
    return torch.tensor(pixels)  # a copy: an array may not be ours to write to
