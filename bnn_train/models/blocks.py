"""What the networks share: the two choices that fill their slots, and the linear layers that end them all."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

from torch import nn

from bnn_train.binary.layers import BinaryLinear
from bnn_train.binary.weights import Binarizer
from bnn_train.models.dropout import Dropout


class Parts(NamedTuple):
    """Makers of a network's exchangeable parts: the activations' estimator and the weights' binarizer."""

    estimator: Callable[[], nn.Module]
    binarizer: Callable[[], Binarizer]


def linear_layers(
    parts: Parts, in_features: int, num_classes: int, hidden: list[int], dropout: float, binarize_input: bool, binarize_output: bool
) -> Iterator[tuple[str, nn.Module]]:
    """Named modules: (linear [- dropout] - BN) for each of `hidden`, then the output layer.

    The classic order: the sign belongs to the binary layer that it feeds, dropout comes before the last BatchNorm, and the output
    layer is real with real inputs. With `binarize_output` it is binary linear - BN. Binary layers have no bias, since
    BatchNorm follows them.
    """
    sizes = [in_features, *hidden]
    for i, (n_in, n_out) in enumerate(pairwise(sizes), start=1):
        estimator = parts.estimator() if i > 1 or binarize_input else None
        yield f"linear{i}", BinaryLinear(n_in, n_out, parts.binarizer(), estimator)
        if i == len(hidden) and dropout > 0:
            yield "dropout", Dropout(dropout)
        yield f"norm_linear{i}", nn.BatchNorm1d(n_out)
    if binarize_output:
        yield "output", BinaryLinear(sizes[-1], num_classes, parts.binarizer(), parts.estimator())
        yield "norm_output", nn.BatchNorm1d(num_classes)
    else:
        yield "output", nn.Linear(sizes[-1], num_classes)
