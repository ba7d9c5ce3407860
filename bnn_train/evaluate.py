"""A saved network, rebuilt from its checkpoint alone and evaluated on its data."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from bnn_train import checkpoint, device, models
from bnn_train.config import Config
from bnn_train.data import datasets
from bnn_train.errors import ConfigError
from bnn_train.trainer import evaluate


def find(path: Path) -> Path:
    """The checkpoint that a run directory's result comes from, or the checkpoint that `path` itself is."""
    if not path.is_dir():
        return path
    for name in ("best.pt", "last.pt"):
        if (path / "checkpoints" / name).is_file():
            return path / "checkpoints" / name
    raise ConfigError("path", path, "holds no checkpoints/best.pt or last.pt; give a run directory or a checkpoint")


def config_of(state: dict[str, Any]) -> Config:
    """The typed configuration of a loaded checkpoint."""
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), state["config"]))
    assert isinstance(config, Config)
    return config


def evaluate_checkpoint(path: Path, data_root: str | None = None, device_name: str = "auto") -> dict[str, Any]:
    """Accuracy in [0, 1] and mean cross-entropy on the test set and, if there are any, the held-out images.

    `data_root` replaces the configuration's. Raises ConfigError for a file that is no checkpoint, and as loading the data does.
    """
    file = find(path)
    state = checkpoint.load(file, "path")
    config = config_of(state)
    if data_root is not None:
        config.data.root = data_root
    where = device.choose(device_name)
    data = datasets.load(config.data, where)
    if data.classes != state["classes"] or list(data.image_shape) != state["image_shape"]:
        raise ConfigError("data.root", config.data.root, "holds other classes or image sizes than the network was trained on")
    device.make_reproducible(config.seed)
    model = models.build(config, data.image_shape, len(data.classes)).to(where)
    model.load_state_dict(state["trainer"]["model"])
    result: dict[str, Any] = {"checkpoint": str(file), "epoch": len(state["trainer"]["history"])}
    for name, split in (("test", data.test), ("val", data.val)):
        if split is not None:
            loss, accuracy = evaluate(model, split, config)
            result |= {f"{name}_accuracy": accuracy, f"{name}_loss": loss, f"{name}_images": len(split)}
    return result
