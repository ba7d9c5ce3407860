"""The formats of `bnn-export`, by name: .bnn, and what deploy/writers/ makes of the same packed network."""

import importlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bnn_train.config.checks import check_choice
from bnn_train.deploy import file
from bnn_train.deploy.packed import Packed
from bnn_train.deploy.runner import Network
from bnn_train.errors import ConfigError


class Format(NamedTuple):
    """suffixes: of file names, the usual one first. module: in deploy/writers; missing: what its comparison needs."""

    suffixes: tuple[str, ...]
    module: str = ""
    missing: str = ""


FORMATS = {
    "bnn": Format((file.SUFFIX,)),
    "onnx": Format((".onnx",), "onnx", "ONNX Runtime is not installed: pip install onnxruntime"),
    "qonnx": Format((".onnx",), "qonnx", "ONNX Runtime is not installed: pip install onnxruntime"),
    "c": Format((".h", ".c"), "c", "there is no C compiler"),
    "html": Format((".html", ".htm"), "html", "there is no Chromium"),
}


def of(output: Path, asked: str | None) -> str:
    """The format that is asked for, or that the file's name says. Raises ConfigError where they do not fit."""
    suffix = output.suffix.lower()
    if asked is None:
        found = next((name for name, form in FORMATS.items() if suffix in form.suffixes), None)
        if found is None:
            usual = ", ".join(dict.fromkeys(form.suffixes[0] for form in FORMATS.values()))
            raise ConfigError("--output", output, f"must end in one of {usual}, or give --format")
        return found
    check_choice("--format", asked, FORMATS)
    if suffix not in FORMATS[asked].suffixes:
        raise ConfigError("--output", output, f"must end in {FORMATS[asked].suffixes[0]}, as --format={asked} has it")
    return asked


def write(name: str, packed: Packed, path: Path) -> None:
    """Raises ConfigError for a network that the format cannot hold."""
    if FORMATS[name].module:
        importlib.import_module(f"bnn_train.deploy.writers.{FORMATS[name].module}").write(packed, path)
    else:
        file.write(packed, path)


def compare(name: str, path: Path, network: Network, images: np.ndarray) -> str:
    """What running the written file on uint8 images (N, C, H, W) gave, or why it was not run.

    Raises ConfigError where it gives something else than the network."""
    form = FORMATS[name]
    said = importlib.import_module(f"bnn_train.deploy.writers.{form.module}").compare(path, network, images)
    return said if said is not None else f"not run here, since {form.missing}"
