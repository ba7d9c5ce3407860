"""Continuing a run: which configuration, and which data, device and weights it may be continued with."""

from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from torch import nn

from bnn_train import checkpoint
from bnn_train.binary.layers import binary_layers
from bnn_train.binary.weights import Binary
from bnn_train.checks import flat, within
from bnn_train.config import FREE, Config
from bnn_train.data.splits import Data
from bnn_train.errors import ConfigError, as_typed


def config_of(state: dict[str, Any]) -> Config:
    """The typed configuration of a loaded checkpoint."""
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), state["config"]))
    assert isinstance(config, Config)
    return config


def settle(state: dict[str, Any], asked: Config, typed: Collection[str] | None) -> Config:
    """The configuration to continue with: the stored one, with what `asked` changes of it by right.

    typed: the keys or groups that the user named ("ste", "optimizer.lr"; "experiment" stands for all), None for all. Of these, the
    FREE ones (config.py) are taken over, the device's kind being checked apart; `trainer.epochs` may extend the run; and any other
    that differs raises ConfigError.
    """
    stored, new = flat(asdict(config_of(state))), flat(asdict(asked))  # typed: keys that are newer than the file get their defaults
    whole = typed is None or "experiment" in typed
    new["resume"] = stored["resume"]  # not part of what is run
    keys = [key for key in new if whole or within(key, typed or ())]
    done = len(state["trainer"]["history"])
    differ = []
    for key in keys:
        if new[key] == stored.get(key):
            continue
        if key == "trainer.epochs":
            if new[key] < done:
                raise ConfigError(key, new[key], f"the run has {done} epochs behind it already")
            stored[key] = new[key]
        elif within(key, FREE):
            stored[key] = new[key]
        else:
            differ.append(key)
    if differ:
        details = ", ".join(f"{key}={as_typed(stored.get(key))}" for key in differ)
        raise ConfigError(
            differ[0], new[differ[0]], f"the run was started with {details}; leave it out to continue, or start a run of its own"
        )
    return config_of({"config": _nested(stored)})


def _nested(values: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in values.items():
        *path, name = key.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[name] = value
    return tree


def data_signature(data: Data) -> dict[str, Any]:
    """What must be the same about the data for a run to go on."""
    sizes = {"train": len(data.train), "val": len(data.val) if data.val else 0, "test": len(data.test)}
    return {"classes": data.classes, "image_shape": list(data.image_shape), **sizes}


def check_same(state: dict[str, Any], config: Config, data: Data, device_kind: str) -> None:
    """Raises ConfigError where the data or the kind of device are not those that the run was started with."""
    if state["device"] != device_kind:
        raise ConfigError("device", config.device, f"the run was started on {state['device']}, and continues exactly only there")
    found = data_signature(data)
    for key, value in state["data"].items():
        if found[key] != value:
            remedy = f"the data have changed since the run was started: {key} was {as_typed(value)}, is {as_typed(found[key])}"
            raise ConfigError("data.root", config.data.root, remedy)


def load_weights(model: nn.Module, path: Path) -> None:
    """Loads the network of a checkpoint or run directory into `model`. Raises ConfigError where it does not fit."""
    state = checkpoint.load(checkpoint.find(path, "init_from"), "init_from")
    saved, own = state["trainer"]["model"], model.state_dict()
    for name in [*own, *saved]:
        shapes = [tuple(tensors[name].shape) if name in tensors else "nothing" for tensors in (saved, own)]
        if shapes[0] != shapes[1]:
            raise ConfigError("init_from", path, f"does not fit the network: {name} is {shapes[0]} there and {shapes[1]} here")
    model.load_state_dict(saved)
    for layer in binary_layers(model):
        if isinstance(layer.binarizer, Binary):
            layer.binarizer.start(layer.weight)  # what was saved may be latent weights
