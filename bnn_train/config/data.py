"""Which images, how they are split, limited, normalised and augmented."""

from dataclasses import dataclass
from typing import Any, ClassVar

from omegaconf import MISSING

from bnn_train.config.checks import Group, key
from bnn_train.errors import ConfigError, as_typed

# The readers which come with the package whose data have no held-out images of their own.
WITHOUT_VAL = ("digits", "mnist", "fashion_mnist", "kmnist", "cifar10", "cifar100")

FITS = ("crop", "pad", "stretch")  # of data/fitting.py
MEMORIES = ("auto", "ram", "disk")
CROPS = ("padded", "random_resized")  # of data/augment.py


@dataclass
class DataConfig(Group):
    group: ClassVar[str] = "data"

    name: str = key(MISSING, "the reader")
    root: str = key("data", "folder of the files; downloads go there; relative to the current directory", unit="path")
    cache_dir: str = key("~/.cache/bnn_train", "where image_folder keeps its decoded images", unit="path")
    memory: str = key(
        "auto",
        "where image_folder's decoded images are while training; auto: ram, where they take at most 40% of what is free",
        MEMORIES,
    )
    val_size: int = key(0, "training images held out, the classes in proportion; 0: none, or those of val/", "[0, inf)", "images")
    test_fraction: float = key(0.2, "share held out as test set where the data has none of its own", "(0, 1)")
    train_limit: int | None = key(None, "train on the first so many of a fixed shuffle; null: all", "[2, inf)", "images")
    test_limit: int | None = key(None, "test on the first so many of a fixed shuffle; null: all", "[1, inf)", "images")
    image_size: Any = key(  # Hydra has no type for a number or a list
        None,
        "image_folder makes images of this side, or [height,width]; null: the images' own size",
        unit="pixels",
        kind="whole number, list of two or null",
    )
    fit: str = key(
        "crop",
        "how they get it: cropped around the middle to its proportions; whole, on grey; or whole, their proportions changed",
        FITS,
    )
    grayscale: bool = key(False, "image_folder: one channel instead of three")
    mean: list[float] = key([0.5], "per channel, or one for all: inputs are (x / 255 - mean) / std; []: of the training images")
    std: list[float] = key([0.5], "as many as data.mean", "(0, inf)")
    crop: str = key(
        "padded",
        "of training images: the old size out of the padded one, or a random part, 8% to 100% of the area, resized to the old size",
        CROPS,
    )
    crop_padding: int | None = key(
        0, "on each side before a random crop of the old size; 0: off, null: an eighth of the shorter side", "[0, inf)", "pixels"
    )
    flip: bool = key(False, "horizontal flip of half of the training images")
    cutout: int = key(0, "side of a square set to the mean in each training image; 0 is off", "[0, inf)", "pixels")
    mixup: float = key(
        0.0, "alpha of Beta(alpha, alpha), the share of another image of its batch that is mixed into each; 0 is off", "[0, 100]"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.mean) != len(self.std):
            raise ConfigError("data.mean", self.mean, f"needs as many values as data.std={as_typed(self.std)}")
        sides = self.image_size if isinstance(self.image_size, list) else [self.image_size] * 2
        if self.image_size is not None and not (len(sides) == 2 and all(type(side) is int and side >= 1 for side in sides)):
            remedy = "must be a whole number of at least 1, two of them, [height,width], or null"
            raise ConfigError("data.image_size", self.image_size, remedy)

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) that data.image_size asks for."""
        if self.image_size is None:
            return None
        height, width = self.image_size if isinstance(self.image_size, list) else (self.image_size, self.image_size)
        return height, width


@dataclass
class OwnDataConfig(DataConfig):
    """Of a plugin's data set. The base's keys that its function takes are handed to it."""

    mean: list[float] = key([], "per channel, or one for all: inputs are (x / 255 - mean) / std; []: of the training images")
    std: list[float] = key([], "as many as data.mean", "(0, inf)")


DATA: dict[str, type[DataConfig]] = {}  # those with keys of their own
