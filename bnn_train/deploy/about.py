"""What a file says of its network besides the operations: taken only as far as it is of the kind it should be."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from bnn_train.data.fitting import FITS
from bnn_train.report import tables

# The keys of config/data.py that say which images the network was tested on. No others are kept: how they were augmented does not
# matter any more, and where the decoded ones are cached is no business of a file.
DATA = (
    *("name", "root", "val_size", "test_fraction", "train_limit", "test_limit"),
    *("image_size", "fit", "grayscale", "mean", "std"),
)


def which(about: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """{"checkpoint": the file, and kind, epoch, step of its network, and of how many stages}, these where the file tells."""
    kind, epoch, step, stages = (about.get(name) for name in ("kind", "epoch", "step", "stages"))
    told = kind in tables.KINDS and type(epoch) is int and type(step) is int
    last_of = {"stages": stages} if type(stages) is int else {}
    return {"checkpoint": str(path), **({"kind": kind, "epoch": epoch, "step": step, **last_of} if told else {})}


def data(about: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of its data, of the keys in DATA; nothing where the file does not tell."""
    given = about.get("data")
    return {name: given[name] for name in DATA if name in given} if isinstance(given, dict) else {}


def keys(about: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Those of these keys of a plugin's data set that the file tells."""
    given = about.get("data")
    return {name: given[name] for name in names if name in given} if isinstance(given, dict) else {}


def plugins(about: Mapping[str, Any]) -> list[str]:
    """Those that its data set comes from, as they were named."""
    given = about.get("plugins")
    return [name for name in given if isinstance(name, str)] if isinstance(given, list) else []


def image_size(about: Mapping[str, Any], image_shape: tuple[int, int, int]) -> tuple[int, int] | None:
    """The height and width that training gave image files; None where it took them as they were."""
    asked = data(about)
    given = asked.get("image_size") if asked.get("name") == "image_folder" else None
    sides = [given, given] if type(given) is int else given
    fits = isinstance(sides, list) and all(type(side) is int for side in sides) and sides == list(image_shape[1:])
    return image_shape[1:] if fits else None


def fit(about: Mapping[str, Any], image_shape: tuple[int, int, int]) -> str:
    """How it gave it to them, a value of data.fit: crop, as before there were others, unless the file tells."""
    asked = data(about).get("fit")
    return asked if isinstance(asked, str) and asked in FITS and image_size(about, image_shape) is not None else "crop"
