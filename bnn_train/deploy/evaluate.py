"""An exported network on the images that it was not trained on."""

from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from bnn_train import deploy
from bnn_train.config.data import DataConfig
from bnn_train.data.splits import Split
from bnn_train.runs.saved import load_data


class _Network(Protocol):
    """Of the runner's, what is needed here."""

    def logits(self, images: np.ndarray) -> np.ndarray: ...


def evaluate_exported(path: Path, data_root: str | None = None) -> dict[str, Any]:
    """Accuracy in [0, 1] and mean cross-entropy on the test set and, if there are any, the held-out images.

    The figures of runs.saved.evaluate_saved, of the exported file `path`. `data_root` is where the images are now.

    Raises ConfigError for a file that is no exported network, and as loading the data does.
    """
    network = deploy.load(path)
    about = network.about
    known = {each.name for each in fields(DataConfig)}
    config = DataConfig(**{name: value for name, value in about["data"].items() if name in known})
    data, same_images = load_data(config, about["images"], data_root)
    result: dict[str, Any] = {"checkpoint": str(path), **{name: about[name] for name in ("kind", "epoch", "step")}}
    result["same_images"] = same_images
    for name, split in (("test", data.test), ("val", data.val)):
        if split is not None:
            loss, accuracy = measure(network, split, about["eval_batch_size"])
            result |= {f"{name}_loss": loss, f"{name}_accuracy": accuracy, f"{name}_images": len(split)}
    return result


def measure(network: _Network, split: Split, batch_size: int) -> tuple[float, float]:
    """(mean cross-entropy, accuracy in [0, 1]) on a split.

    The class is the first of the largest logits, as in torch. The accuracy is torch's quotient in float32, so that equal counts
    print the same digits; the cross-entropy is a float64 mean.
    """
    images, labels = split.images.cpu().numpy(), split.labels.cpu().numpy()
    loss, correct = 0.0, 0
    for start in range(0, len(labels), batch_size):
        batch = slice(start, start + batch_size)
        logits, right = network.logits(images[batch]).astype(np.float64), labels[batch]
        correct += int((logits.argmax(axis=1) == right).sum())
        logits -= logits.max(axis=1, keepdims=True)
        chosen = np.take_along_axis(logits, right[:, None], axis=1)[:, 0]
        loss += float((np.log(np.exp(logits).sum(axis=1)) - chosen).sum())
    accuracy: float = (torch.tensor(correct) / len(labels)).item()
    return loss / len(labels), accuracy
