"""From a configuration to what is trained: the one place where data, model, edges and optimizer are made of it."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.optim import Optimizer

from bnn_train import device, models
from bnn_train.config.root import NO_IMAGES_FOR_PATIENCE, Config
from bnn_train.data import datasets
from bnn_train.data.splits import Data
from bnn_train.edges.apply import Edges, weighted_layers
from bnn_train.edges.rules import check as check_rules
from bnn_train.errors import ConfigError
from bnn_train.optim import optimizers
from bnn_train.report.tables import size
from bnn_train.runs import start


class Assembly(NamedTuple):
    model: nn.Module
    edges: Edges
    optimizer: Optimizer


def assemble(config: Config, data: Data, where: torch.device, masks: dict[str, Any] | None = None) -> Assembly:
    """The network at its start, with its edges and optimizer: a function of the configuration and the data's shape and size.

    Sets every seed and flag first, so that it does not matter what ran before. masks: those of a run that is continued, from
    `Edges.state_dict`; without them rules look at the weights, and `init_from` is followed.
    """
    device.make_reproducible(config.seed, where, config.trainer.precision)
    with device.memory_for("model", config.model.name, "choose a smaller one"):
        model = models.build(config, data.image_shape, len(data.classes), where)
    if config.init_from is not None and masks is None:
        weights = start.weights_to_start_with(Path(config.init_from), model)
        start.start_with(model, weights, config.weights.name)
    edges = Edges(config.edges.rules, model, masks)
    return Assembly(model, edges, optimizers.build(config.optimizer, model, len(data.train)))


def check(config: Config, where: torch.device = device.CPU, is_new: bool = True) -> None:
    """Refuses, before any image is decoded, what does not fit the images' shape, the network's layers or the device's memory.

    is_new: else the weights are there that the run has started with, and it goes on without the file that they came from.
    """
    if config.trainer.compile:
        device.check_compiler()
    peeked = datasets.peek(config.data)
    if peeked is None:
        return
    with device.memory_for("model", config.model.name, "choose a smaller one"):
        model = models.check(config, *peeked)
    _check_memory(config, model, where)
    check_rules(config.edges.rules, weighted_layers(model))
    if config.init_from is not None and is_new:
        start.weights_to_start_with(Path(config.init_from), model)


def _check_memory(config: Config, model: nn.Module, where: torch.device) -> None:
    """Refuses a network whose weights, gradients and running means of an optimizer such as Adam cannot all be in memory."""
    count, there = sum(parameter.numel() for parameter in model.parameters()), device.memory(where)
    if there is not None and 16 * count > there:
        remedy = (
            f"has {count:,} parameters, which take {size(16 * count)} in training, of {size(there)} there are; choose a smaller one"
        )
        raise ConfigError("model", config.model.name, remedy)


def load_data(config: Config, where: torch.device) -> Data:
    """The images on the device. Raises ConfigError as `datasets.load` does, and for a batch larger than the training set."""
    data = datasets.load(config.data, where)
    if config.trainer.batch_size > len(data.train):
        remedy = f"is larger than the training set, {len(data.train)} images; use {max(2, len(data.train) // 4)}, for example"
        raise ConfigError("trainer.batch_size", config.trainer.batch_size, remedy)
    if config.trainer.patience is not None and data.val is None:
        raise ConfigError("trainer.patience", config.trainer.patience, NO_IMAGES_FOR_PATIENCE)
    return data
