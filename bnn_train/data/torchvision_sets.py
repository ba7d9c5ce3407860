"""MNIST and its relatives, CIFAR-10 and CIFAR-100 through torchvision: downloaded on first use, verified on every use.

torchvision verifies what it downloads, but not MNIST files that lie unpacked beside their archives; here every file that will be
read is checked first, and a damaged one is named and never trained on.
"""

import hashlib
import importlib.metadata
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from bnn_train.config.data import DataConfig
from bnn_train.data.splits import Arrays, Split
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
    folder = Path(config.root).expanduser() / class_name / "raw"
    archives = [(folder / Path(url).name, md5) for url, md5 in reader.resources]
    _refuse_damaged(config, (path for path, md5 in archives if path.exists() and _md5(path) != md5))
    _refuse_damaged(config, (path.with_suffix("") for path, _ in archives if _unpacked_is_damaged(path)))
    train, test = _read(reader, config, folder)

    def split(dataset: Any) -> Split:
        return Split(dataset.data.unsqueeze(1), dataset.targets.long())

    return Arrays(split(train), split(test), list(train.classes))


def _cifar_format(class_name: str, config: DataConfig) -> Arrays:
    reader = getattr(_torchvision_datasets(config), class_name)
    root = Path(config.root).expanduser()
    folder = root / reader.base_folder
    batches = [(folder / name, md5) for name, md5 in [*reader.train_list, *reader.test_list]]
    batches.append((folder / reader.meta["filename"], reader.meta["md5"]))
    if not all(path.exists() for path, _ in batches):
        batches.append((root / reader.filename, reader.tgz_md5))
    _refuse_damaged(config, (path for path, md5 in batches if path.exists() and _md5(path) != md5))
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
    root = str(Path(config.root).expanduser())
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
            f"the files of {config.name} were looked for in {folder.absolute()} and could not be downloaded "
            f"({_gist(error)}); copy them there, or point data.root at them; data=digits needs no files",
        ) from error


def _gist(error: BaseException) -> str:
    """The last line that says something: torchvision lists each mirror it tried on lines of its own."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _refuse_damaged(config: DataConfig, damaged: Iterator[Path]) -> None:
    for path in damaged:
        raise ConfigError("data.root", config.root, f"{path.absolute()} is damaged; delete it, and it is fetched or unpacked again")


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def _unpacked_is_damaged(archive: Path) -> bool:
    """Whether the file beside a (verified) .gz differs from its content, by the CRC and length that end every gzip file.

    Without the archive only the file's own header can be held against its length.
    """
    unpacked = archive.with_suffix("")
    if not unpacked.exists():
        return False
    content = unpacked.read_bytes()
    if archive.exists():
        crc, length = struct.unpack("<II", archive.read_bytes()[-8:])
        return (zlib.crc32(content), len(content)) != (crc, length)
    if len(content) < 4 or len(content) < 4 * (1 + content[3]):
        return True
    sizes = struct.unpack(f">{content[3]}I", content[4 : 4 * (1 + content[3])])
    return len(content) != 4 * (1 + len(sizes)) + math.prod(sizes)
