"""How values lie in memory while the runner computes: channels last, signs as bits.

bytes   uint8 (N, C, H, W), as the images come, or (N, features)
bits    uint8 (N, H, W, bytes of a pixel's channels), or (N, bytes)
whole   int32 (N, H, W, C) or (N, features)
real    float32 (N, H, W, C) or (N, features)

An image that was flattened is only seen as features: they come in another order than docs/format.md has them, and bits have what
pads each pixel between them. `order` tells which feature lies where; the layer that takes them gets its weights in that order.
"""

from typing import NamedTuple

import numpy as np

from bnn_train.deploy.packed import Shape, Value


class Layout(NamedTuple):
    """kind and shape as in deploy/packed.py; order, of features: int (places,), the feature at each place, -1 for what pads."""

    kind: str
    shape: Shape
    order: np.ndarray | None = None

    @property
    def is_plain(self) -> bool:
        """Whether features come in their own order."""
        return self.order is None or bool((self.order[: self.shape[0]] == np.arange(self.shape[0])).all())


def padded(channels: int) -> int:
    """Channels as bits in whole bytes."""
    return -(-channels // 8) * 8


def features(kind: str, count: int) -> Layout:
    """Features in their own order; as bits, padded to whole bytes."""
    order = np.arange(count)
    return Layout(kind, (count,), np.append(order, np.full(padded(count) - count, -1)) if kind == "bits" else order)


def plain_layout(value: Value) -> Layout:
    """Of a value as its operation makes it."""
    return Layout(value.kind, value.shape) if len(value.shape) == 3 else features(value.kind, value.shape[0])


def flattened(image: Layout) -> Layout:
    """The same memory, seen as features."""
    if len(image.shape) == 1:
        return image
    channels, height, width = image.shape
    order = np.arange(channels * height * width).reshape(channels, height, width)
    if image.kind != "bytes":  # those are channels first
        order = order.transpose(1, 2, 0)
    if image.kind == "bits":
        order = np.pad(order, ((0, 0), (0, 0), (0, padded(channels) - channels)), constant_values=-1)
    return Layout(image.kind, (channels * height * width,), order.reshape(-1))


def in_order(values: np.ndarray, layout: Layout) -> np.ndarray:
    """Columns, or numbers, of each feature in the order of the layout, 0 for what pads; channels of an image as they are."""
    if layout.order is None:
        return values
    taken = values[..., np.maximum(layout.order, 0)]
    return np.where(layout.order >= 0, taken, 0).astype(values.dtype)


def to_plain(values: np.ndarray, layout: Layout) -> np.ndarray:
    """A batch as deploy/reference.py has it: signs as int8, channels first, features in their own order."""
    if layout.kind == "bits":
        unpacked = np.unpackbits(values, axis=-1)
        if layout.order is None:
            unpacked = unpacked[..., : layout.shape[0]]
        values = (2 * unpacked).astype(np.int8) - 1
    if layout.order is not None:
        if layout.is_plain:
            return values[:, : layout.shape[0]]
        plain = np.empty((len(values), layout.shape[0]), values.dtype)
        plain[:, layout.order[layout.order >= 0]] = values[:, layout.order >= 0]
        return plain
    return values if layout.kind == "bytes" else np.ascontiguousarray(values.transpose(0, 3, 1, 2))


def from_plain(values: np.ndarray, layout: Layout) -> np.ndarray:
    """The contrary; features of the result are in their own order."""
    if values.ndim == 4 and layout.kind != "bytes":
        values = values.transpose(0, 2, 3, 1)
    return np.packbits(values > 0, axis=-1) if layout.kind == "bits" else np.ascontiguousarray(values)
