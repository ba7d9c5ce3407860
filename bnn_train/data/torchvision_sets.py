"""MNIST and its relatives, CIFAR-10 and CIFAR-100 through torchvision: downloaded on first use, verified on every use.

torchvision verifies what it downloads, but not MNIST files that lie unpacked beside their archives; here every file that will be
read is checked first, and a damaged one, or one that does not belong to the others, is named and never trained on.
"""

import hashlib
import importlib.metadata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from bnn_train.config.data import DataConfig
from bnn_train.data import idx_files
from bnn_train.data.root import root_of
from bnn_train.data.splits import Arrays, Split
from bnn_train.data.words import readable
from bnn_train.errors import ConfigError


def mnist(config: DataConfig) -> Arrays:
    return _mnist_format("MNIST", config)


def fashion_mnist(config: DataConfig) -> Arrays:
    return _mnist_format("FashionMNIST", config)


def kmnist(config: DataConfig) -> Arrays:
    return _mnist_format("KMNIST", config)


def cifar10(config: DataConfig) -> Arrays:
    return _cifar_format("CIFAR10", config)


def cifar100(config: DataConfig) -> Arrays:
    return _cifar_format("CIFAR100", config)


def _mnist_format(class_name: str, config: DataConfig) -> Arrays:
    reader = getattr(_torchvision_datasets(config), class_name)
    folder = root_of(config) / class_name / "raw"
    archives = [(folder / Path(url).name, md5) for url, md5 in reader.resources]
    with _naming_unreadable(config):
        for path, md5 in archives:
            if path.exists() and _md5(path) != md5:
                own = f" (where the images are your own, an unpacked {path.stem} alone is read)"
                raise ConfigError("data.root", config.root, f"{_damaged(path)}{own}")
        for path, _ in archives:
            unpacked = path.with_suffix("")
            if path.exists() and unpacked.exists() and idx_files.differs_from_archive(unpacked, path):
                raise ConfigError("data.root", config.root, _damaged(unpacked))
        for part in ("train", "t10k"):
            idx_files.check_pair(folder / f"{part}-images-idx3-ubyte", folder / f"{part}-labels-idx1-ubyte", reader.classes, config)
    train, test = _read(reader, config, folder)

    def split(dataset: Any) -> Split:
        return Split(dataset.data.unsqueeze(1), dataset.targets.long())

    return Arrays(split(train), split(test), list(train.classes))


def _cifar_format(class_name: str, config: DataConfig) -> Arrays:
    reader = getattr(_torchvision_datasets(config), class_name)
    root = root_of(config)
    folder = root / reader.base_folder
    batches = [(folder / name, md5) for name, md5 in [*reader.train_list, *reader.test_list]]
    batches.append((folder / reader.meta["filename"], reader.meta["md5"]))
    if not all(path.exists() for path, _ in batches):
        batches.append((root / reader.filename, reader.tgz_md5))
    with _naming_unreadable(config):
        for path, md5 in batches:
            if path.exists() and _md5(path) != md5:
                raise ConfigError("data.root", config.root, _damaged(path))
    train, test = _read(reader, config, folder)

    def split(dataset: Any) -> Split:
        images = torch.from_numpy(np.ascontiguousarray(dataset.data.transpose(0, 3, 1, 2)))
        return Split(images, torch.tensor(dataset.targets))

    return Arrays(split(train), split(test), list(train.classes))


def _torchvision_datasets(config: DataConfig) -> ModuleType:
    """torchvision.datasets; a torchvision built for another torch fails at import, and says so in its own way each time."""
    try:
        import torchvision.datasets
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        versions = " and ".join(f"{name} {_version(name)}" for name in ("torch", "torchvision"))
        raise ConfigError(
            "data",
            config.name,
            f"{versions} do not fit together ({_gist(error)}); mend it with "
            "`pip install --upgrade --force-reinstall torch torchvision`; data=digits needs no torchvision",
        ) from error
    return torchvision.datasets


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def _read(reader: Any, config: DataConfig, folder: Path) -> tuple[Any, Any]:
    """(training set, test set) of a torchvision dataset class, downloaded into data.root where they are missing."""
    root = str(root_of(config))
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        return reader(root, train=True, download=True), reader(root, train=False, download=True)
    except (RuntimeError, OSError) as error:  # URLError is an OSError
        for path in missing:  # torchvision makes the folders first
            with suppress(OSError):
                path.rmdir()
        raise ConfigError(
            "data.root",
            config.root,
            f"the files of {config.name} were looked for in {folder.absolute()} and could not be downloaded or unpacked "
            f"({_gist(error)}); copy them there, or point data.root at them; data=digits needs no files",
        ) from error


def _gist(error: BaseException) -> str:
    """The last line that says something: torchvision lists each mirror it tried on lines of its own."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


@contextmanager
def _naming_unreadable(config: DataConfig) -> Iterator[None]:
    """Turns a file or folder that may not be read, or a disk that fails, into a ConfigError with its name."""
    try:
        yield
    except OSError as error:
        where = readable(error.filename) if error.filename else "a file in it"
        remedy = (
            f"{where} cannot be read ({(error.strerror or str(error)).lower()}); make it readable, or point data.root elsewhere"
        )
        raise ConfigError("data.root", config.root, remedy) from None


def _damaged(path: Path) -> str:
    return f"{readable(path.absolute())} is damaged; delete it, and it is fetched or unpacked again"


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
