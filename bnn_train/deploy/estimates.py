"""What an operation moves and takes, roughly: by it the runner chooses how many images go at a time, by how many threads."""

import math

from bnn_train.deploy.layout import Layout
from bnn_train.deploy.packed import Op, Value, inputs_of


def moved(op: Op, result: Value, x: Layout) -> int:
    """Bytes that a step moves for an image, roughly: its result, or the patches of a convolution."""
    patches = 0
    if op.kind == "conv2d":
        inputs = inputs_of(op, x.shape[0])
        patches = math.prod(result.shape[1:]) * (inputs // 8 if x.kind == "bits" else 8 * inputs)
    return patches + result.size * (1 if result.kind == "whole" else 4)


def kept(value: Value) -> int:
    """Bytes of a value that a kernel gives."""
    return value.size // 8 if value.kind == "bits" else 4 * value.size


def nanoseconds(op: Op, x: Value, result: Value) -> float:
    """Of one thread of a Zen 5, within a factor of two: 2,000 products of signs, 300 of bytes, 60 of real numbers, 2 others."""
    if op.kind not in ("linear", "conv2d"):
        return result.size / 2 if result.kind == "real" else 0
    inputs = inputs_of(op, x.shape[0])
    speed = 60 if result.kind == "real" else 300 if x.kind == "bytes" else 2000
    return inputs * result.size / speed
