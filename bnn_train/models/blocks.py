"""What the networks are built of: makers of their binary layers, the block around each, the linear layers that end them."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

from torch import nn

from bnn_train.binary.layers import BinaryConv2d, BinaryLayer, BinaryLinear
from bnn_train.binary.weights import Binarizer
from bnn_train.config.model import BlockConfig
from bnn_train.models.around import Gated, Residual, Shift, UnitVariance, activation
from bnn_train.models.dropout import Dropout

Named = tuple[str, nn.Module]


class Parts(NamedTuple):
    """The choices that fill a network's slots: makers of the activations' estimator and the weights' binarizer, and the block."""

    estimator: Callable[[], nn.Module]
    binarizer: Callable[[], Binarizer]
    block: BlockConfig = BlockConfig()

    def linear(self, n_in: int, n_out: int, binary_input: bool = True) -> BinaryLinear:
        estimator = self.estimator() if binary_input else None
        return BinaryLinear(n_in, n_out, self.binarizer(), estimator)

    def conv(
        self,
        n_in: int,
        n_out: int,
        kernel_size: int,
        pad_value: int = 0,
        binary_input: bool = True,
        padding: int | None = None,
        **conv2d: Any,
    ) -> BinaryConv2d:
        """With as much padding as keeps the size, at stride 1, unless it is given; a real input is padded with 0."""
        estimator, pad_value = (self.estimator(), pad_value) if binary_input else (None, 0)
        padding = kernel_size // 2 if padding is None else padding
        given = {"pad_value": pad_value, "padding": padding, **conv2d}
        return BinaryConv2d(n_in, n_out, kernel_size, self.binarizer(), estimator, **given)

    def within(self, name: str, layer: nn.Linear | nn.Conv2d, label: str, *then: Named) -> list[Named]:
        """A layer and what its block sets before it and behind it, but for the activation and the shortcut.

        label: names what is set there, as in "{}_conv1" for norm_conv1. then: a pool or a dropout right behind the layer. A layer
        with real inputs has its BatchNorm behind it in every block, and neither shift nor gate.
        """
        block, images = self.block, isinstance(layer, nn.Conv2d)
        n_out, n_in = layer.weight.shape[:2]
        normal: type[nn.Module] = nn.BatchNorm2d if images else nn.BatchNorm1d
        first = not (isinstance(layer, BinaryLayer) and layer.estimator is not None)
        before = block.norm == "before" and not first
        found: list[Named] = [(label.format("norm"), normal(n_in))] if before else []
        if not first and block.shift:
            found.append((label.format("shift"), Shift(n_in, images)))
        if block.unit_variance and isinstance(layer, BinaryLayer) and layer.binary_input:
            found.append((label.format("variance"), UnitVariance()))
        found += [(name, layer), *then]
        if not before:
            found.append((label.format("norm"), normal(n_out)))
        if block.gate and images and not first:
            found = [(label.format("gated"), Gated(OrderedDict(found), n_in, n_out))]
        return found

    def activation(self, layer: nn.Linear | nn.Conv2d, label: str) -> list[Named]:
        """What the block sets behind a layer, or behind the sum of its shortcut: one module or none."""
        found = activation(self.block.activation, len(layer.weight), isinstance(layer, nn.Conv2d))
        return [] if found is None else [(label.format("activation"), found)]

    def around(
        self, name: str, layer: nn.Linear | nn.Conv2d, *then: Named, fits: bool = False, past: nn.Module | None = None
    ) -> list[Named]:
        """A layer of a stack with all of its block.

        fits: whether it can have a shortcut of its own, with `past` on it where the shape changes.
        """
        label = f"{{}}_{name}"
        found = self.within(name, layer, label, *then)
        if fits and self.block.shortcut == "per_conv":
            found = [(label.format("block"), Residual(OrderedDict(found), past))]
        return found + self.activation(layer, label)


def linear_layers(
    parts: Parts, in_features: int, num_classes: int, hidden: list[int], dropout: float, binarize_input: bool, binarize_output: bool
) -> Iterator[Named]:
    """Named modules: (linear [- dropout] - BN) for each of `hidden`, then the output layer.

    The classic order: the sign belongs to the binary layer that it feeds, dropout comes before the last BatchNorm, and the output
    layer is real with real inputs. With `binarize_output` it is binary linear - BN. Binary layers have no bias, since BatchNorm
    follows them. Other blocks set other things around them. Shortcuts go around layers whose input is binarized and as wide as
    their output.
    """
    sizes = [in_features, *hidden]
    for i, (n_in, n_out) in enumerate(pairwise(sizes), start=1):
        binary_input = i > 1 or binarize_input
        then: list[Named] = [("dropout", Dropout(dropout))] if i == len(hidden) and dropout > 0 else []
        layer = parts.linear(n_in, n_out, binary_input)
        yield from parts.around(f"linear{i}", layer, *then, fits=binary_input and n_in == n_out)
    if not binarize_output:
        yield "output", nn.Linear(sizes[-1], num_classes)
        return
    yield from parts.within("output", parts.linear(sizes[-1], num_classes), "{}_output")
    if parts.block.norm == "before":  # sums of a thousand signs are no logits
        yield "norm_scores", nn.BatchNorm1d(num_classes)
