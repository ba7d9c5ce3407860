"""What the runner does for each operation: a function of a batch in the layouts of deploy/layout.py, made once for its weights.

Every maker takes the operation and the layouts of its inputs, and gives the step and the layout of its result. What has no fast way
here goes the plain way of deploy/reference.py, with the same bits.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import as_strided

from bnn_train.deploy import reference
from bnn_train.deploy.layout import Layout, features, flattened, from_plain, in_order, padded, to_plain
from bnn_train.deploy.packed import Op, Value, unpacked_bits, weights
from bnn_train.deploy.sums import is_exact, real_sums

Step = Callable[..., np.ndarray]


def plain(op: Op, result: Value, *inputs: Layout) -> tuple[Step, Layout]:
    """By deploy/reference.py."""
    compute = reference.OPERATIONS[op.kind]
    layout = Layout(result.kind, result.shape) if len(result.shape) == 3 else features(result.kind, result.shape[0])

    def step(*batches: np.ndarray) -> np.ndarray:
        y = compute(op, result, *(to_plain(x, of) for x, of in zip(batches, inputs, strict=True)))
        return from_plain(y, layout)

    return step, layout


def flatten(op: Op, result: Value, x: Layout) -> tuple[Step, Layout]:
    return lambda batch: batch.reshape(len(batch), -1), flattened(x)


def normalise(op: Op, result: Value, x: Layout) -> tuple[Step, Layout]:
    table = op.tensors["table"]

    def step(batch: np.ndarray) -> np.ndarray:
        y = np.empty((len(batch), *result.shape[1:], result.shape[0]), np.float32)
        for channel, values in enumerate(table):
            y[..., channel] = values[batch[:, channel]]
        return y

    return step, Layout("real", result.shape)


def affine(op: Op, result: Value, x: Layout) -> tuple[Step, Layout]:
    scale, shift = (in_order(op.tensors[name].astype(np.float64), x) for name in ("scale", "shift"))

    def step(batch: np.ndarray) -> np.ndarray:
        y = batch * scale
        y += shift
        return y.astype(np.float32)

    return step, x._replace(kind="real")


def relu(op: Op, result: Value, x: Layout) -> tuple[Step, Layout]:
    return lambda batch: np.maximum(batch, 0).astype(np.float32, copy=False), x._replace(kind="real")


def add(op: Op, result: Value, x: Layout, y: Layout) -> tuple[Step, Layout]:
    return lambda a, b: a.astype(np.float32, copy=False) + b.astype(np.float32, copy=False), Layout("real", result.shape)


def sign(op: Op, result: Value, x: Layout) -> tuple[Step, Layout]:
    threshold = in_order(op.tensors["threshold"].astype(np.float32 if x.kind == "real" else np.int32), x)
    flip = in_order(_flip(op, result.shape[0]), x) if "flip" in op.tensors else None

    def step(batch: np.ndarray) -> np.ndarray:
        above = batch >= threshold
        if flip is not None:
            above ^= flip
        return np.packbits(above, axis=-1)

    order = x.order if x.order is None else np.append(x.order, np.full(padded(len(x.order)) - len(x.order), -1))
    return step, Layout("bits", result.shape, order)


def max_pool_of_bits(op: Op, result: Value, x: Layout) -> tuple[Step, Layout]:
    """The largest of signs is +1 where one is: OR. What a window has outside the image is -1, and changes nothing."""
    return or_pool(op, result), Layout("bits", result.shape)


def or_pool(op: Op, result: Value) -> Step:
    kernel, stride, padding = op.settings["kernel"], op.settings["stride"], op.settings["padding"]
    rows, columns = result.shape[1:]
    down, right = ((n - 1) * s + k for n, s, k in zip((rows, columns), stride, kernel, strict=True))

    def step(batch: np.ndarray) -> np.ndarray:
        height, width = batch.shape[1:3]
        around = (
            (0, 0),
            (padding[0], max(0, down - height - padding[0])),
            (padding[1], max(0, right - width - padding[1])),
            (0, 0),
        )
        if any(any(side) for side in around):
            batch = np.pad(batch, around)
        y = None
        for i in range(kernel[0]):
            for j in range(kernel[1]):
                part = batch[:, i : i + (rows - 1) * stride[0] + 1 : stride[0], j : j + (columns - 1) * stride[1] + 1 : stride[1]]
                y = part.copy() if y is None else np.bitwise_or(y, part, out=y)
        assert y is not None
        return y

    return step


def average(op: Op, result: Value, x: Layout) -> tuple[Step, Layout]:
    """Over the whole image."""
    places = math.prod(x.shape[1:])
    ones, exact = np.ones((1, places)), x.kind == "whole"

    def step(batch: np.ndarray) -> np.ndarray:
        flat = batch.reshape(len(batch), places, -1).transpose(0, 2, 1).reshape(-1, places).astype(np.float64)
        sums = real_sums(flat, ones, None, exact).reshape(len(batch), 1, 1, -1)
        return sums / np.float32(places)

    return step, Layout("real", result.shape)


def real_product(op: Op, result: Value, x: Layout, largest: float, grid: float) -> tuple[Step, Layout]:
    """A real sum. x has multiples of `grid` up to `largest`, where that is known; grid is 0 where not."""
    count = inputs_of(op, x)
    weight = weights(op, count).astype(np.float64)
    bias = op.tensors["bias"].astype(np.float64) if "bias" in op.tensors else None
    exact = grid > 0 and is_exact(weight, bias, largest, grid)
    if op.kind == "linear":
        inside = in_order(weight, x)
        kind = x.kind

        def linear(batch: np.ndarray) -> np.ndarray:
            wide = np.unpackbits(batch, axis=1) * 2.0 - 1.0 if kind == "bits" else batch.astype(np.float64)
            return real_sums(wide, inside, bias, exact)

        return linear, features("real", result.shape[0])
    inside = channels_last(op, weight, x.shape[0]).reshape(len(weight), -1)
    under = patches(op, result, float(op.settings["pad_value"]))

    def conv2d(batch: np.ndarray) -> np.ndarray:
        y = real_sums(under(batch.astype(np.float64)), inside, bias, exact)
        return y.reshape(len(batch), *result.shape[1:], -1)

    return conv2d, Layout("real", result.shape)


def inputs_of(op: Op, x: Layout) -> int:
    channels = x.shape[0]
    return channels if op.kind == "linear" else channels // op.settings["groups"] * math.prod(op.settings["kernel"])


def channels_last(op: Op, weight: np.ndarray, channels: int) -> np.ndarray:
    """(outputs, kernel height, kernel width, channels) of a weight (outputs, channels * kernel height * kernel width)."""
    return weight.reshape(len(weight), channels, *op.settings["kernel"]).transpose(0, 2, 3, 1)


def patches(op: Op, result: Value, outside: float | np.ndarray) -> Step:
    """What lies under the kernel at each place: (N, H, W, C) to (N * rows * columns, kernel height * kernel width * C).

    outside: what surrounds the image, one number or one for each of the C.
    """
    (kernel_h, kernel_w), stride, dilation = op.settings["kernel"], op.settings["stride"], op.settings["dilation"]
    (above, left), (rows, columns) = op.settings["padding"], result.shape[1:]

    def step(batch: np.ndarray) -> np.ndarray:
        n, height, width, channels = batch.shape
        if above or left:
            around = np.empty((n, height + 2 * above, width + 2 * left, channels), batch.dtype)
            around[:, :above] = around[:, height + above :] = outside
            around[:, :, :left] = around[:, :, width + left :] = outside
            around[:, above : height + above, left : width + left] = batch
            batch = around
        a, b, c, d = batch.strides
        shape = (n, rows, columns, kernel_h, kernel_w, channels)
        strides = (a, b * stride[0], c * stride[1], b * dilation[0], c * dilation[1], d)
        return as_strided(batch, shape, strides).reshape(n * rows * columns, -1)

    return step


def _flip(op: Op, channels: int) -> np.ndarray:
    return unpacked_bits(op.tensors["flip"], channels)[0].astype(bool) if "flip" in op.tensors else np.zeros(channels, bool)
