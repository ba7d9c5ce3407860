"""From a configuration to what is trained: the one place where data, model, edges and optimizer are made of it."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.optim import Optimizer

from bnn_train import device, models
from bnn_train.config.root import Config
from bnn_train.data import datasets
from bnn_train.data.splits import Data
from bnn_train.edges.apply import Edges, weighted_layers
from bnn_train.edges.rules import check as check_rules
from bnn_train.errors import ConfigError
from bnn_train.optim import optimizers
from bnn_train.runs import resume


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
    model = models.build(config, data.image_shape, len(data.classes), where)
    if config.init_from is not None and masks is None:
        weights = resume.weights_to_start_with(Path(config.init_from), model)
        resume.start_with(model, weights, config.weights.name)
    edges = Edges(config.edges.rules, model, masks)
    return Assembly(model, edges, optimizers.build(config.optimizer, model, len(data.train)))


def check(config: Config) -> None:
    """Refuses, before any image is decoded, what does not fit the images' shape or the network's layers."""
    if config.trainer.compile:
        device.check_compiler()
    peeked = datasets.peek(config.data)
    if peeked is None:
        return
    model = models.check(config, *peeked)
    check_rules(config.edges.rules, weighted_layers(model))
    if config.init_from is not None:
        resume.weights_to_start_with(Path(config.init_from), model)


def load_data(config: Config, where: torch.device) -> Data:
    """The images on the device. Raises ConfigError as `datasets.load` does, and for a batch larger than the training set."""
    data = datasets.load(config.data, where)
    if config.trainer.batch_size > len(data.train):
        remedy = f"is larger than the training set, {len(data.train)} images; use {max(2, len(data.train) // 4)}, for example"
        raise ConfigError("trainer.batch_size", config.trainer.batch_size, remedy)
    return data
