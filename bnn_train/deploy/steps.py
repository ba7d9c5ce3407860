"""What the runner does for each operation: a function of a batch in the layouts of deploy/layout.py, made once for its weights.

Every maker takes the operation and the layouts of its inputs, and gives the step and the layout of its result. What has no fast way
here goes the plain way of deploy/reference.py, with the same bits.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from bnn_train.deploy import reference
from bnn_train.deploy.elementwise import Step
from bnn_train.deploy.layout import Layout, features, flattened, from_plain, in_order, plain_layout, to_plain
from bnn_train.deploy.packed import Op, Value, inputs_of, weights
from bnn_train.deploy.sums import is_exact, real_sums, window_sums
from bnn_train.kernels.means import Mean
from bnn_train.kernels.products import is_llvm_due


def plain(op: Op, result: Value, *inputs: Layout) -> tuple[Step, Layout]:
    """By deploy/reference.py."""
    compute = reference.OPERATIONS[op.kind]
    layout = plain_layout(result)

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


def max_pool_of_bits(op: Op, result: Value, x: Layout) -> tuple[Step, Layout]:
    """The largest of signs is +1 where one is: OR. What a window has outside the image is -1, and changes nothing."""
    return or_pool(op, result), Layout("bits", result.shape)


def max_pool(op: Op, result: Value, x: Layout) -> tuple[Step, Layout]:
    """Of numbers."""
    lowest = -np.inf if x.kind == "real" else np.iinfo(np.int32).min
    return _pool(op, result, np.maximum, lowest), plain_layout(result)


def or_pool(op: Op, result: Value) -> Step:
    return _pool(op, result, np.bitwise_or, 0)


def _pool(op: Op, result: Value, combine: np.ufunc, outside: float) -> Step:
    """All of a window combined; outside: what it has outside the image."""
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
            batch = np.pad(batch, around, constant_values=outside)
        y = None
        for i in range(kernel[0]):
            for j in range(kernel[1]):
                part = batch[:, i : i + (rows - 1) * stride[0] + 1 : stride[0], j : j + (columns - 1) * stride[1] + 1 : stride[1]]
                y = part.copy() if y is None else combine(y, part, out=y)
        assert y is not None
        return y

    return step


def is_of_whole_image(op: Op, result: Value, x: Layout) -> bool:
    return tuple(op.settings["kernel"]) == x.shape[1:] and result.shape[1:] == (1, 1) and not any(op.settings["padding"])


def average(op: Op, result: Value, x: Layout, engine: str | None) -> tuple[Step, Layout]:
    """Without padding. By numpy 20 times as long as by a kernel."""
    windows = windows_of({**op.settings, "dilation": (1, 1)}, result)
    counts = reference.pool_counts(op, result, x.shape[1:])[..., None]
    sizes = zip(result.shape[1:], op.settings["stride"], op.settings["kernel"], x.shape[1:], strict=True)
    over = [max(0, (places - 1) * stride + kernel - size) for places, stride, kernel, size in sizes]

    def step(batch: np.ndarray) -> np.ndarray:
        wide = batch.astype(np.float64)
        if any(over):  # of a last window that reaches over the edge
            wide = np.pad(wide, ((0, 0), (0, over[0]), (0, over[1]), (0, 0)))
        return window_sums(windows(wide)) / counts

    if x.kind != "real" or x.shape[0] % 8:
        return step, Layout("real", result.shape)
    kernel: Mean | None = None

    def fast(batch: np.ndarray) -> np.ndarray:
        nonlocal kernel
        if kernel is None and is_llvm_due(engine):
            settings = tuple(op.settings["kernel"]), tuple(op.settings["stride"])
            kernel = Mean(np.ascontiguousarray(counts[..., 0]), x.shape[1:], x.shape[0], *settings)  # type: ignore[arg-type]
        found = None if kernel is None else kernel(np.ascontiguousarray(batch))
        return step(batch) if found is None else found

    return fast, Layout("real", result.shape)


def real_product(op: Op, result: Value, x: Layout, largest: float, grid: float) -> tuple[Step, Layout]:
    """A real sum. x has multiples of `grid` up to `largest`, where that is known; grid is 0 where not."""
    count = inputs_of(op, x.shape[0])
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
    under = patches(op.settings, result, float(op.settings["pad_value"]))

    def conv2d(batch: np.ndarray) -> np.ndarray:
        wide = batch.astype(np.float64)
        # One image at a time: the patches of more leave the cache, and take three times as long.
        each = [real_sums(under(image[None]), inside, bias, exact) for image in wide]
        return np.concatenate(each).reshape(len(batch), *result.shape[1:], -1)

    return conv2d, Layout("real", result.shape)


def channels_last(op: Op, weight: np.ndarray, channels: int) -> np.ndarray:
    """(outputs, kernel height, kernel width, channels) of a weight (outputs, channels * kernel height * kernel width)."""
    return weight.reshape(len(weight), channels, *op.settings["kernel"]).transpose(0, 2, 3, 1)


def patches(settings: Mapping[str, Any], result: Value, outside: float | np.ndarray) -> Step:
    """What lies under the kernel at each place: (N, H, W, C) to (N * rows * columns, kernel height * kernel width * C).

    outside: what surrounds the image, one number or one for each of the C.
    """
    above, left = settings["padding"]
    windows = windows_of(settings, result)

    def step(batch: np.ndarray) -> np.ndarray:
        n, height, width, channels = batch.shape
        if above or left:
            around = np.empty((n, height + 2 * above, width + 2 * left, channels), batch.dtype)
            around[:, :above] = around[:, height + above :] = outside
            around[:, :, :left] = around[:, :, width + left :] = outside
            around[:, above : height + above, left : width + left] = batch
            batch = around
        found = windows(batch)
        return found.reshape(math.prod(found.shape[:3]), -1)

    return step


def windows_of(settings: Mapping[str, Any], result: Value) -> Step:
    """A view of (N, H, W, C): (N, rows, columns, kernel height, kernel width, C)."""
    kernel, stride, dilation = settings["kernel"], settings["stride"], settings["dilation"]

    def step(batch: np.ndarray) -> np.ndarray:
        a, b, c, d = batch.strides
        strides = (a, b * stride[0], c * stride[1], b * dilation[0], c * dilation[1], d)
        return as_strided(batch, (len(batch), *result.shape[1:], *kernel, batch.shape[3]), strides, writeable=False)

    return step
