"""Fixture: a trainer of the small job."""

import pytest
import torch

from bnn_train.data import datasets
from bnn_train.runs.assemble import assemble
from bnn_train.training.trainer import Trainer

CPU = torch.device("cpu")


@pytest.fixture
def trainer(small):
    def function(*overrides, after_step=lambda trainer: None):
        config = small(*overrides)
        data = datasets.load(config.data, CPU)
        return Trainer(config, *assemble(config, data, CPU), data, after_step)

    return function
