"""Steps of the runner (deploy/steps.py) that make one number, or sign, of each number, or of two; or only put them together."""

import math
from collections.abc import Callable

import numpy as np

from bnn_train.deploy import reference
from bnn_train.deploy.layout import Layout, in_order, padded, plain_layout
from bnn_train.deploy.packed import Op, Value, unpacked_bits

Step = Callable[..., np.ndarray]


def everywhere(values: np.ndarray, x: Layout) -> np.ndarray:
    """A number of each channel at each place of an image, flat: numpy's loops over few channels take three times as long."""
    return in_order(values, x) if len(x.shape) == 1 else np.tile(values, math.prod(x.shape[1:]))


def is_shift(op: Op) -> bool:
    """Whether an affine function only adds. Of float32 that is one float32 addition: rounded to float64 before, it is the same."""
    return bool((op.tensors["scale"] == 1).all())


def affine(op: Op, result: Value, x: Layout) -> tuple[Step, Layout]:
    if is_shift(op) and x.kind == "real":
        added = everywhere(op.tensors["shift"], x)
        return lambda batch: (batch.reshape(len(batch), -1) + added).reshape(batch.shape), x
    scale, shift = (everywhere(op.tensors[name].astype(np.float64), x) for name in ("scale", "shift"))

    def step(batch: np.ndarray) -> np.ndarray:
        y = batch.reshape(len(batch), -1) * scale
        y += shift
        return y.astype(np.float32).reshape(batch.shape)

    return step, x._replace(kind="real")


def relu(op: Op, result: Value, x: Layout) -> tuple[Step, Layout]:
    return lambda batch: np.maximum(batch, 0).astype(np.float32, copy=False), x._replace(kind="real")


def prelu(op: Op, result: Value, x: Layout) -> tuple[Step, Layout]:
    slope = everywhere(op.tensors["slope"], x)
    # Then it is the larger of x and slope * x, in a quarter of the time; 0 * infinity would be larger than all.
    usual = bool(((op.tensors["slope"] <= 1) & (op.tensors["slope"] != 0)).all())

    def step(batch: np.ndarray) -> np.ndarray:
        flat = batch.reshape(len(batch), -1).astype(np.float32, copy=False)
        y = flat * slope
        return (np.maximum(flat, y, out=y) if usual else np.where(flat > 0, flat, y)).reshape(batch.shape)

    return step, x._replace(kind="real")


def clamp(op: Op, result: Value, x: Layout) -> tuple[Step, Layout]:
    low, high = op.tensors["limits"]

    def step(batch: np.ndarray) -> np.ndarray:
        y = np.maximum(batch.astype(np.float32, copy=False), low)
        return np.minimum(y, high, out=y)

    return step, x._replace(kind="real")


def sigmoid(op: Op, result: Value, x: Layout) -> tuple[Step, Layout]:
    return lambda batch: reference.sigmoid(op, result, batch), x._replace(kind="real")


def pair(op: Op, result: Value, x: Layout, y: Layout) -> tuple[Step, Layout]:
    """add or multiply, of numbers in their own order."""
    combine = np.add if op.kind == "add" else np.multiply

    def step(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return combine(a.astype(np.float32, copy=False), b.astype(np.float32, copy=False))

    return step, plain_layout(result)


def concatenate(op: Op, result: Value, *parts: Layout) -> tuple[Step, Layout]:
    return lambda *batches: np.concatenate(batches, axis=-1), plain_layout(result)


def cut(op: Op, result: Value, x: Layout) -> tuple[Step, Layout]:
    part = slice(op.settings["start"], op.settings["stop"])
    return lambda batch: np.ascontiguousarray(batch[..., part]), plain_layout(result)


def sign(op: Op, result: Value, x: Layout) -> tuple[Step, Layout]:
    threshold = everywhere(op.tensors["threshold"].astype(np.float32 if x.kind == "real" else np.int32), x)
    flip = everywhere(flips(op, result.shape[0]), x) if "flip" in op.tensors else None
    whole_bytes = result.shape[0] % 8 == 0

    def step(batch: np.ndarray) -> np.ndarray:
        above = batch.reshape(len(batch), -1) >= threshold
        if flip is not None:
            above ^= flip
        if whole_bytes:
            return np.packbits(above.reshape(-1)).reshape(*batch.shape[:-1], -1)
        return np.packbits(above.reshape(batch.shape), axis=-1)

    order = x.order if x.order is None else np.append(x.order, np.full(padded(len(x.order)) - len(x.order), -1))
    return step, Layout("bits", result.shape, order)


def flips(op: Op, channels: int) -> np.ndarray:
    return unpacked_bits(op.tensors["flip"], channels)[0].astype(bool) if "flip" in op.tensors else np.zeros(channels, bool)
