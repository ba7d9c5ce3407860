"""The windows of progressive binarization over a network: which layer turns binary when, and which have not yet."""

from collections.abc import Iterator

from torch import nn

from bnn_train.binary.layers import BinaryLayer
from bnn_train.binary.progressive import Progressive


def spread(model: nn.Module, end: float) -> None:
    """Cuts [0, end] of training into equal windows, one for each progressive layer in the model's order.

    A layer's weight and its input share a window. Does nothing where no layer is progressive.
    """
    found = [parts for _, parts in _progressive(model)]
    for i, parts in enumerate(found):
        for part in parts:
            part.start, part.end = end * (i / len(found)), end * ((i + 1) / len(found))


def progressive_layers(model: nn.Module) -> list[str]:
    """The names of the layers that have a window, in the model's order."""
    return [name for name, _ in _progressive(model)]


def unfinished(model: nn.Module) -> list[str]:
    """The names of the layers whose mask was not all ones when it was last drawn, in the model's order."""
    return [name for name, parts in _progressive(model) if any(part.share < 1 for part in parts)]


def _progressive(model: nn.Module) -> Iterator[tuple[str, list[Progressive]]]:
    for name, layer in model.named_modules():
        if isinstance(layer, BinaryLayer):
            parts = [part for part in layer.modules() if isinstance(part, Progressive)]
            if parts:
                yield name, parts
