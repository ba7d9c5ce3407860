"""A saved network again: rebuilt from its checkpoint alone, and evaluated on its data."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from bnn_train import device, models
from bnn_train.binary.layers import is_stochastic
from bnn_train.config.data import DataConfig
from bnn_train.config.root import Config
from bnn_train.config.trainer import EnsembleConfig, EvalConfig
from bnn_train.data import checks, datasets, other_images
from bnn_train.data.augment import normalise
from bnn_train.data.signature import digest
from bnn_train.data.splits import Data, Split
from bnn_train.edges.apply import prune
from bnn_train.errors import ConfigError
from bnn_train.report import classes, grid
from bnn_train.runs import checkpoint, fit
from bnn_train.runs.resume import changed_plugins, config_of, data_signature, network_state
from bnn_train.training.evaluation import evaluate

log = logging.getLogger(__name__)


class Saved(NamedTuple):
    """A network in evaluation mode, on its device, and where it comes from."""

    config: Config
    model: nn.Module
    data: dict[str, Any]  # what data_signature says of the images it was trained with
    file: Path
    kind: str  # last, best, averaged, recalibrated: of a result; reached: of a checkpoint to go on from
    epoch: int  # finished ones
    step: int  # of the next epoch
    stages: int = 0  # of the result of a run in stages: how many it has, of which this is the last one's

    def which(self) -> dict[str, Any]:
        """checkpoint, kind, epoch, step, and of a run in stages their number: which network it is."""
        stages = {"stages": self.stages} if self.stages else {}
        return {"checkpoint": str(self.file), "kind": self.kind, "epoch": self.epoch, "step": self.step, **stages}


def load(path: Path, key: str = "path", device_name: str | None = None) -> Saved:
    """The network of a checkpoint, or of a run directory: its result, or where it has none yet, what it has reached.

    Raises ConfigError for a file that is no checkpoint, with `key` as where its path was given.
    """
    file = checkpoint.find(path, key)
    state = checkpoint.load(file, key)
    config = config_of(state, to_train=False)
    where = device.choose(device_name or config.device)
    device.make_reproducible(config.seed, where, config.trainer.precision)
    model = network(state, config, where, key, file)
    return Saved(config, model, state["data"], file, *which(state), state.get("stages", 0))


def network(state: Mapping[str, Any], config: Config, where: torch.device, key: str, file: object) -> nn.Module:
    """The network of a loaded checkpoint, in evaluation mode. Weights are drawn from torch's generators before they are loaded.

    Raises ConfigError for `key`=`file` where its configuration makes another network by now.
    """
    found = network_state(state)
    model = models.build(config, _shape(state["data"]["image_shape"]), len(state["data"]["classes"]), where)
    with fit.expected(state, model, key, file):
        model.load_state_dict(found["model"])
    for line in changed_plugins(state):
        log.warning("%s", grid.sentence(f"note: {line}"))
    prune(model, found.get("edges", {}))
    return model.eval()


def which(state: Mapping[str, Any]) -> tuple[str, int, int]:
    """(kind, epoch, step) of the network of a loaded checkpoint, as Saved has them."""
    if "result" in state:
        return state["result"]["kind"], state["result"]["epoch"], state["result"]["step"]
    return "reached", len(network_state(state)["history"]), network_state(state)["step"]


def evaluate_saved(
    path: Path, data_root: str | None = None, device_name: str | None = None, samples: int | None = None
) -> dict[str, Any]:
    """Accuracy in [0, 1] and mean cross-entropy on the test set and, if there are any, the held-out images.

    `data_root` and `device_name` replace the configuration's; with `samples` those of an ensemble of as many networks are added,
    where the network is stochastic, and "stochastic" says whether it is.

    "data" is where the images are, and "same_images" whether all of them have the pixels that the network was trained and measured
    with. `data_root` may also be a folder of other test images (data/other_images.py). What is given for each class of the test set
    report/classes.py says.

    Raises ConfigError for a file that is no checkpoint, and as loading the data does.
    """
    saved = load(path, "path", device_name)
    config = saved.config
    drawn = {} if samples is None else {"stochastic": is_stochastic(saved.model)}
    if samples is not None:
        ensemble = EnsembleConfig(samples=samples)
        config.eval = ensemble if drawn["stochastic"] else EvalConfig()
    images = to_measure(config.data, saved.data, data_root, _device_of(saved.model))
    result: dict[str, Any] = saved.which()
    result |= {**images.told, **drawn}
    for name, split in images.splits.items():
        predicted: list[Tensor] = []
        result |= {f"{name}_{measure}": value for measure, value in evaluate(saved.model, split, config, predicted).items()}
        result[f"{name}_images"] = len(split)
        if name == "test":
            numbers, labels = torch.cat(predicted).tolist(), split.labels.tolist()
            result |= classes.figures(numbers, labels, saved.data["classes"])
    return result


@torch.no_grad()
def logits(saved: Saved, images: np.ndarray) -> np.ndarray:
    """float32 (N, classes), without noise, on images, uint8 (N, C, H, W)."""
    where, trained = _device_of(saved.model), [module for module in saved.model.modules() if module.training]
    saved.model.eval()
    found: Tensor = saved.model(normalise(torch.from_numpy(images).to(where), saved.config.data.mean, saved.config.data.std))
    for module in trained:  # by whoever has it in hand
        module.training = True
    return found.float().cpu().numpy()


class Images(NamedTuple):
    """What a network is measured on: by name, "test" and where there is one "val"; and what a result tells of it."""

    splits: dict[str, Split]
    told: dict[str, Any]  # data, same_images; of other test images than the run's own also which classes are missing


def to_measure(
    config: DataConfig, signature: Mapping[str, Any], data_root: str | None = None, where: torch.device = device.CPU
) -> Images:
    """The run's own images, or the test images of the folder `data_root` where that does not hold as many of the same classes.

    signature: what data_signature said of the run's. Raises ConfigError as load_data and other_images.read do.
    """
    if data_root is not None and config.name == "image_folder":
        config = replace(config, root=data_root)
        known, sizes = list(signature["classes"]), {name: signature[name] for name in ("train", "val", "test")}
        if not other_images.is_laid_out_as(config, known, sizes):
            found = other_images.read(config, known, _shape(signature["image_shape"]))
            same = digest([found.split], signature.get("test_digest")) == signature.get("test_digest")
            told: dict[str, Any] = {"data": str(found.folder), "same_images": same, "missing_classes": found.missing}
            return Images({"test": found.split.to(where)}, told)
    data, same_images = load_data(config, signature, data_root, where)
    splits = {name: split for name, split in (("test", data.test), ("val", data.val)) if split is not None}
    root = data_root or config.root
    return Images(splits, {"data": root if datasets.needs_root(config) else config.name, "same_images": same_images})


def load_data(
    config: DataConfig, signature: Mapping[str, Any], data_root: str | None = None, where: torch.device = device.CPU
) -> tuple[Data, bool]:
    """The images that a network was trained and measured with, and whether all their pixels are the same.

    signature: what data_signature said of them then; `data_root` replaces the configuration's.

    Raises ConfigError for images of other classes, sizes or numbers, and as loading the data does.
    """
    root = Path(config.root).expanduser()
    if data_root is not None:
        config = replace(config, root=data_root)
    elif not root.is_absolute() and not root.exists() and datasets.needs_root(config):
        remedy = f"is not here ({root.absolute()}); the path was relative to where the training was started; use data.root=FOLDER"
        raise ConfigError("data.root", config.root, remedy)
    data = datasets.load(config, where)
    found = data_signature(data, signature)
    if any(found[name] != value for name, value in signature.items() if not name.endswith("digest")):
        remedy = "holds other images than the network was trained with (classes, sizes or numbers)"
        raise checks.fault(config, remedy)
    return data, found["digest"] == signature.get("digest", found["digest"])


def _device_of(model: nn.Module) -> torch.device:
    return next((parameter.device for parameter in model.parameters()), device.CPU)


def _shape(sizes: list[int]) -> models.Shape:
    channels, height, width = sizes
    return channels, height, width
