"""The packed network: a list of operations on one image, in which weights and activations of -1 and +1 are bits.

Value 0 is the image; operation i (from 0) makes value i + 1 of earlier ones; the last value are the class scores. A value's kind:

bytes   uint8 pixels, 0 to 255
bits    -1 or +1
whole   whole numbers, sums of products of signs, int32
real    float32

docs/format.md defines each operation, deploy/infer.py checks them, deploy/reference.py computes them plainly.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

Shape = tuple[int, ...]  # of one image: (channels, height, width) or (features,)


class Value(NamedTuple):
    """What is known of a value: its kind, its shape, and for whole numbers the largest absolute one that there can be."""

    kind: str
    shape: Shape
    largest: int = 0

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, eq=False)
class Op:
    """One operation. `name` is that of the layer it comes from, for people.

    rounding: known where the network is exported, and not written; deploy/bounds.py says what it is.
    """

    kind: str
    name: str
    inputs: tuple[int, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, np.ndarray] = field(default_factory=dict)
    rounding: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Packed:
    """A network and what is said of it: `about` holds plain types alone; see docs/format.md."""

    image_shape: tuple[int, int, int]
    ops: tuple[Op, ...]
    about: Mapping[str, Any] = field(default_factory=dict)


class Unfit(ValueError):
    """An operation that contradicts itself or its inputs."""


def packed_bits(signs: np.ndarray) -> np.ndarray:
    """Rows of numbers, (rows, columns), as bits: 1 where a number is above 0, each row padded with 0 to whole bytes."""
    return np.packbits(signs > 0, axis=1)


def unpacked_bits(bits: np.ndarray, columns: int) -> np.ndarray:
    """The bits of each row again, uint8 0 and 1, (rows, columns)."""
    return np.unpackbits(bits, axis=1, count=columns)


def inputs_of(op: Op, channels: int) -> int:
    """How many products a sum of a linear layer or a convolution has; channels: of its input, or features."""
    return channels if op.kind == "linear" else channels // op.settings["groups"] * math.prod(op.settings["kernel"])


def weights(op: Op, inputs: int) -> np.ndarray:
    """The weights of a product, (outputs, inputs): int8 -1, 0 where pruned, +1; or float32."""
    weight = op.tensors["weight"]
    if weight.dtype != np.uint8:
        return weight
    signs = (2 * unpacked_bits(weight, inputs)).astype(np.int8) - 1
    return signs if "mask" not in op.tensors else signs * unpacked_bits(op.tensors["mask"], inputs).astype(np.int8)
