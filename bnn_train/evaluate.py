"""A saved network, rebuilt from its checkpoint alone and evaluated on its data."""

from pathlib import Path
from typing import Any

from bnn_train import checkpoint, device, models
from bnn_train.binary.edges import prune
from bnn_train.config import EvalConfig
from bnn_train.data import datasets
from bnn_train.errors import ConfigError
from bnn_train.resume import config_of, data_signature
from bnn_train.trainer import evaluate


def evaluate_checkpoint(
    path: Path, data_root: str | None = None, device_name: str | None = None, samples: int | None = None
) -> dict[str, Any]:
    """Accuracy in [0, 1] and mean cross-entropy on the test set and, if there are any, the held-out images.

    `data_root` and `device_name` replace the configuration's; with `samples` those of an ensemble of as many networks are added.

    Raises ConfigError for a file that is no checkpoint, and as loading the data does.
    """
    file = checkpoint.find(path, "path")
    state = checkpoint.load(file, "path")
    config = config_of(state)
    if data_root is not None:
        config.data.root = data_root
    if samples is not None:
        config.eval = EvalConfig("ensemble", samples)
    where = device.choose(device_name or config.device)
    data = datasets.load(config.data, where)
    if any(state["data"][key] != value for key, value in data_signature(data).items()):
        raise ConfigError(
            "data.root", config.data.root, "holds other images than the network was trained with (classes, sizes or numbers)"
        )
    device.make_reproducible(config.seed, where, config.trainer.precision)
    model = models.build(config, data.image_shape, len(data.classes), where)
    model.load_state_dict(state["trainer"]["model"])
    prune(model, state["trainer"].get("edges", {}))
    result: dict[str, Any] = {"checkpoint": str(file), "epoch": len(state["trainer"]["history"]), "step": state["trainer"]["step"]}
    for name, split in (("test", data.test), ("val", data.val)):
        if split is not None:
            result |= {f"{name}_{measure}": value for measure, value in evaluate(model, split, config).items()}
            result[f"{name}_images"] = len(split)
    return result
