"""BatchNorm's statistics recomputed while the weights stand still, `trainer.recalibrate`."""

import itertools
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bnn_train.binary.layers import unchanged
from bnn_train.config.root import Config
from bnn_train.data.batches import train_batches
from bnn_train.data.splits import Split


def norms(model: nn.Module) -> dict[str, _BatchNorm]:
    """The layers that have statistics to recompute, by name."""
    found = {name: module for name, module in model.named_modules() if isinstance(module, _BatchNorm)}
    return {name: norm for name, norm in found.items() if norm.running_mean is not None}


def batches(split: Split, config: Config, epoch: int, most: int | None = None) -> Iterator[Tensor]:
    """Inputs of the (first `most`) batches of an epoch (from 0), augmented as in training but not mixed.

    With the images as they are, digits trained with data.crop_padding=1 fell from 96.4% to 93.6%; augmented they rose to 96.8%.
    """
    inputs = (inputs for inputs, _ in train_batches(split, config.data, config.trainer.batch_size, config.seed, epoch))
    return itertools.islice(inputs, most)


@torch.no_grad()
def recalibrate(model: nn.Module, inputs: Iterable[Tensor]) -> None:
    """Means and variances of every BatchNorm become the plain means of those of the batches.

    Unlike torch.optim.swa_utils.update_bn it leaves all other modules in evaluation: without dropout and noise these are the
    statistics of the network that is measured, and nothing is drawn. The model is in evaluation mode afterwards.
    """
    model.eval()
    found = list(norms(model).values())
    if not found:
        return
    momenta = [norm.momentum for norm in found]
    for norm in found:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean
        norm.train()
    with unchanged(model):
        for batch in inputs:
            model(batch)
    for norm, momentum in zip(found, momenta, strict=True):
        norm.momentum = momentum
    model.eval()
