"""The loss: one callable of (inputs, logits, labels), the mean over the batch."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from bnn_train import register
from bnn_train.config.checks import check_choice
from bnn_train.config.root import Config

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def cross_entropy(config: Config) -> Loss:
    """With trainer.label_smoothing of each label spread over all classes."""
    smoothing = config.trainer.label_smoothing
    return lambda inputs, logits, labels: F.cross_entropy(logits, labels, label_smoothing=smoothing)


def squared_hinge(config: Config) -> Loss:
    """mean max(0, 1 - t z)^2 over images and classes, t = +1 for the label and -1 for the others.

    As BinaryConnect (Courbariaux et al. 2015, arXiv 1511.00363) and BNN (Hubara et al. 2016, arXiv 1602.02830) train.
    """

    def loss(inputs: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        targets = 2 * F.one_hot(labels, logits.shape[1]) - 1
        return (1 - targets * logits).clamp(min=0).square().mean()

    return loss


def _plugged(plugged: register.Plugged) -> Callable[[Config], Loss]:
    def build(config: Config) -> Loss:
        keys = plugged.given(config.loss)

        def loss(inputs: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
            found: Tensor = plugged.function(inputs, logits, labels, **keys)
            if not isinstance(found, Tensor) or found.shape != ():
                given = f"a tensor of shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
                raise plugged.fault(f"gives {given}; a loss is a scalar, the mean over the batch")
            if torch.is_grad_enabled() and logits.requires_grad and not found.requires_grad:
                raise plugged.fault("gives a number that has no gradient; compute it from logits by torch's functions")
            return found

        return loss

    return build


REGISTRY: dict[str, Callable[[Config], Loss]] = {"cross_entropy": cross_entropy, "squared_hinge": squared_hinge}
register.into("loss", REGISTRY, _plugged)


def build(config: Config) -> Loss:
    """The loss of `config`."""
    check_choice("loss.name", config.loss.name, REGISTRY)
    return REGISTRY[config.loss.name](config)
