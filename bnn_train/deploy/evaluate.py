"""An exported network on the images that it was not trained on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bnn_train import deploy, plugins, register
from bnn_train.config.data import DataConfig
from bnn_train.data import datasets
from bnn_train.data.splits import Split
from bnn_train.deploy import about
from bnn_train.deploy.file import DamagedFile
from bnn_train.errors import ConfigError
from bnn_train.report import classes
from bnn_train.runs.saved import to_measure


class _Network(Protocol):
    """Of the runner's, what is needed here."""

    def logits(self, images: np.ndarray) -> np.ndarray: ...


def evaluate_exported(path: Path, data_root: str | None = None) -> dict[str, Any]:
    """Accuracy in [0, 1] and mean cross-entropy on the test set and, if there are any, the held-out images.

    The figures of runs.saved.evaluate_saved, of the exported file `path`. `data_root` is where the images are now, or others.

    Raises ConfigError for a file that is no exported network, and as loading the data does.
    """
    network = deploy.load(path)
    config, signature, batch_size = _told(path, network.about)
    if data_root is None and datasets.needs_root(config) and not Path(config.root).expanduser().is_dir():
        remedy = f"is not here ({Path(config.root).expanduser().absolute()}), where the network was trained; use data.root=FOLDER"
        raise ConfigError("data.root", config.root, remedy)
    images = to_measure(config, signature, data_root)
    result: dict[str, Any] = {**about.which(network.about, path), **images.told}
    for name, split in images.splits.items():
        loss, accuracy, predicted = measure(network, split, batch_size)
        result |= {f"{name}_loss": loss, f"{name}_accuracy": accuracy, f"{name}_images": len(split)}
        if name == "test":
            result |= classes.figures(predicted.tolist(), split.labels.tolist(), signature["classes"])
    return result


def _told(path: Path, told: Mapping[str, Any]) -> tuple[DataConfig, Mapping[str, Any], int]:
    """Of a file: which images it was measured on, what they were, how many at a time. ConfigError where it does not tell."""
    if "data" not in told:
        raise ConfigError("path", path, "does not say on which images it was measured; predict with it: bnn-predict, or Python")
    plugins.require(about.plugins(told), "its data set")
    signature, batch_size = told.get("images"), told.get("eval_batch_size")
    try:
        given = about.data(told)
        plugged = register.FOUND["data"].get(str(given.get("name")))
        kind = DataConfig if plugged is None else plugged.kind
        given |= {} if plugged is None else about.keys(told, plugged.keys)
        config: Any = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(kind), given))
    except (OmegaConfBaseException, ConfigError, TypeError, ValueError):
        config = None
    whole = (
        config is not None and isinstance(signature, dict) and {"classes", "image_shape", "train", "val", "test"} <= set(signature)
    )
    if not whole or type(batch_size) is not int or batch_size < 1:
        raise DamagedFile("path", path, "is damaged: what it says of its images cannot be read")
    return config, signature, min(batch_size, 1000)  # type: ignore[return-value]


def measure(network: _Network, split: Split, batch_size: int) -> tuple[float, float, np.ndarray]:
    """(mean cross-entropy, accuracy in [0, 1], class numbers (N,)) on a split.

    The class is the first of the largest logits, as in torch. The accuracy is torch's quotient in float32, so that equal counts
    print the same digits; the cross-entropy is a float64 mean.
    """
    labels = split.labels.cpu().numpy()
    loss, predicted = 0.0, np.zeros(len(labels), np.int64)
    for start in range(0, len(labels), batch_size):
        batch = slice(start, start + batch_size)
        logits, right = network.logits(split.images[batch].cpu().numpy()).astype(np.float64), labels[batch]
        predicted[batch] = logits.argmax(axis=1)
        logits -= logits.max(axis=1, keepdims=True)
        chosen = np.take_along_axis(logits, right[:, None], axis=1)[:, 0]
        loss += float((np.log(np.exp(logits).sum(axis=1)) - chosen).sum())
    accuracy: float = (torch.tensor((predicted == labels).sum()) / len(labels)).item()
    return loss / len(labels), accuracy, predicted
