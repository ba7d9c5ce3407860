"""The loss: one callable of (inputs, logits, labels), the mean over the batch."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from bnn_train import register
from bnn_train.config.checks import check_choice
from bnn_train.config.root import Config

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def cross_entropy(config: Config, weights: Tensor | None = None) -> Loss:
    """With trainer.label_smoothing of each label spread over all classes."""
    smoothing = config.trainer.label_smoothing
    if weights is None:
        return lambda inputs, logits, labels: F.cross_entropy(logits, labels, label_smoothing=smoothing)
    # Not cross_entropy's own `weight`, which divides by the weights of the batch at hand and weighs the smoothed classes, too.
    return lambda inputs, logits, labels: (
        weights[labels] * F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
    ).mean()


def squared_hinge(config: Config, weights: Tensor | None = None) -> Loss:
    """mean max(0, 1 - t z)^2 over images and classes, t = +1 for the label and -1 for the others.

    As BinaryConnect (Courbariaux et al. 2015, arXiv 1511.00363) and BNN (Hubara et al. 2016, arXiv 1602.02830) train.
    """

    def loss(inputs: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        targets = 2 * F.one_hot(labels, logits.shape[1]) - 1
        squares = (1 - targets * logits).clamp(min=0).square()
        return squares.mean() if weights is None else (weights[labels] * squares.mean(dim=1)).mean()

    return loss


def _plugged(plugged: register.Plugged) -> Callable[[Config, Tensor | None], Loss]:
    def build(config: Config, weights: Tensor | None = None) -> Loss:
        assert weights is None  # refused by config/root.py
        keys, is_first = plugged.given(config.loss), True

        def loss(inputs: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
            nonlocal is_first
            found: Tensor = plugged.function(inputs, logits, labels, **keys)
            if not isinstance(found, Tensor) or found.shape != ():
                given = f"a tensor of shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
                raise plugged.fault(f"gives {given}; a loss is a scalar, the mean over the batch")
            if is_first:
                _check_first(plugged, found, logits)
                is_first = False
            return found

        return loss

    return build


def _check_first(plugged: register.Plugged, loss: Tensor, logits: Tensor) -> None:
    """Raises PluginError for a loss that no training can follow, or that learns what no checkpoint would hold."""
    if logits.isfinite().all() and not loss.isfinite():
        raise plugged.fault(f"gives {loss.item()} for the first batch, whose class scores are finite")
    if logits.requires_grad and not loss.requires_grad:
        raise plugged.fault("gives a number that does not follow from the class scores by torch's functions, so it has no gradient")
    of_network = {id(leaf) for leaf in _leaves(logits)}
    if own := [leaf for leaf in _leaves(loss) if id(leaf) not in of_network]:
        remedy = "is no parameter of the network: it would be neither trained nor saved; make it a key, or detach() it"
        raise plugged.fault(f"has a gradient for a tensor of shape {tuple(own[0].shape)} that {remedy}")


def _leaves(tensor: Tensor) -> list[Tensor]:
    """Those that get a gradient from its backward."""
    nodes, seen, found = [tensor.grad_fn], set(), []
    while nodes:
        node = nodes.pop()
        if node is not None and node not in seen:
            seen.add(node)
            nodes += [below for below, _ in node.next_functions]
            found += [node.variable] if hasattr(node, "variable") else []
    return found


REGISTRY: dict[str, Callable[[Config, Tensor | None], Loss]] = {"cross_entropy": cross_entropy, "squared_hinge": squared_hinge}
register.into("loss", REGISTRY, _plugged)


def build(config: Config, weights: Tensor | None = None) -> Loss:
    """The loss of `config`. weights: (classes,), with which an image of each class counts; their mean over the images is 1."""
    check_choice("loss.name", config.loss.name, REGISTRY)
    return REGISTRY[config.loss.name](config, weights)
