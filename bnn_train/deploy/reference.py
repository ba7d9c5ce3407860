"""Each operation as docs/format.md defines it, in plain numpy, one after the other: what every faster way must equal bit for bit.

Values of a batch: bytes uint8; bits int8 -1 and +1; whole int32; real float32; (N, channels, height, width) or (N, features).
"""

from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from bnn_train.deploy.infer import infer
from bnn_train.deploy.packed import Op, Packed, Value, inputs_of, unpacked_bits, weights
from bnn_train.deploy.sums import real_sums


def run(packed: Packed, images: np.ndarray) -> list[np.ndarray]:
    """All values for uint8 images (N, channels, height, width), the images first, the class scores last."""
    known = infer(packed)
    values = [images]
    for i, op in enumerate(packed.ops):
        inputs = [values[k] for k in op.inputs]
        values.append(OPERATIONS[op.kind](op, known[i + 1], *inputs))
    return values


def per_channel(values: np.ndarray, like: np.ndarray) -> np.ndarray:
    """(channels,) as what is combined with a batch of the dimensions of `like`."""
    return values.reshape(1, -1, *[1] * (like.ndim - 2))


def linear(op: Op, result: Value, x: np.ndarray) -> np.ndarray:
    weight = weights(op, x.shape[1])
    if result.kind == "whole":
        sums = x.astype(np.float64) @ weight.T.astype(np.float64)  # exact: below 2^53
        return sums.astype(np.int32) + op.tensors.get("offset", np.int32(0))
    return real_sums(x.astype(np.float64), weight.astype(np.float64), _bias(op))


def conv2d(op: Op, result: Value, x: np.ndarray) -> np.ndarray:
    outputs, groups = op.settings["outputs"], op.settings["groups"]
    parts = []
    count = inputs_of(op, x.shape[1])
    weight, bias, offset = weights(op, count).astype(np.float64), _bias(op), op.tensors.get("offset")
    for group in range(groups):
        rows = slice(group * outputs // groups, (group + 1) * outputs // groups)
        channels = slice(group * x.shape[1] // groups, (group + 1) * x.shape[1] // groups)
        under = patches(op, x[:, channels]).astype(np.float64)
        flat = under.reshape(-1, count)
        if result.kind == "whole":
            sums = (flat @ weight[rows].T).astype(np.int32)
            sums = sums if offset is None else sums + offset[rows]
        else:
            sums = real_sums(flat, weight[rows], None if bias is None else bias[rows])
        parts.append(sums.reshape(*under.shape[:3], outputs // groups).transpose(0, 3, 1, 2))
    return np.concatenate(parts, axis=1)


def patches(op: Op, x: np.ndarray) -> np.ndarray:
    """What lies under the kernel at each place: (N, rows, columns, channels * kernel height * kernel width)."""
    (down, right), (kernel_h, kernel_w), dilation = op.settings["padding"], op.settings["kernel"], op.settings["dilation"]
    around = ((0, 0), (0, 0), (down, down), (right, right))
    padded = np.pad(x, around, constant_values=op.settings["pad_value"]) if down or right else x
    span = [d * (k - 1) + 1 for d, k in zip(dilation, (kernel_h, kernel_w), strict=True)]
    windows = sliding_window_view(padded, span, axis=(2, 3))
    stride = op.settings["stride"]
    windows = windows[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]
    count = x.shape[1] * kernel_h * kernel_w
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(len(x), windows.shape[2], windows.shape[3], count)


def _bias(op: Op) -> np.ndarray | None:
    return op.tensors["bias"].astype(np.float64) if "bias" in op.tensors else None


def normalise(op: Op, result: Value, x: np.ndarray) -> np.ndarray:
    table = op.tensors["table"]
    return np.stack([table[channel][x[:, channel]] for channel in range(len(table))], axis=1)


def affine(op: Op, result: Value, x: np.ndarray) -> np.ndarray:
    """The product of two float32 is exact in float64; the sum is rounded to float64, then to float32."""
    scale, shift = (per_channel(op.tensors[name].astype(np.float64), x) for name in ("scale", "shift"))
    return (x.astype(np.float64) * scale + shift).astype(np.float32)


def sign(op: Op, result: Value, x: np.ndarray) -> np.ndarray:
    above = x >= per_channel(op.tensors["threshold"], x)
    if "flip" in op.tensors:
        above ^= per_channel(unpacked_bits(op.tensors["flip"], x.shape[1])[0].astype(bool), x)
    return np.where(above, 1, -1).astype(np.int8)


def relu(op: Op, result: Value, x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0).astype(np.float32)


def prelu(op: Op, result: Value, x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float32)
    return np.where(x > 0, x, per_channel(op.tensors["slope"], x) * x)


def clamp(op: Op, result: Value, x: np.ndarray) -> np.ndarray:
    low, high = op.tensors["limits"]
    return np.minimum(np.maximum(x.astype(np.float32), low), high)


def sigmoid(op: Op, result: Value, x: np.ndarray) -> np.ndarray:
    """In float64, then rounded: the one operation whose last bit is the system's exp's."""
    wide = x.astype(np.float64)
    small = np.exp(-np.abs(wide))
    return (np.where(wide >= 0, 1, small) / (1 + small)).astype(np.float32)


def max_pool(op: Op, result: Value, x: np.ndarray) -> np.ndarray:
    """What a window has outside the image does not count."""
    lowest = -np.inf if x.dtype == np.float32 else np.iinfo(x.dtype).min
    return _windows(op, result, x, lowest).max(axis=(4, 5))


def avg_pool(op: Op, result: Value, x: np.ndarray) -> np.ndarray:
    """The exact sum, rounded as every real sum; divided, in float32, by the number of places in the window."""
    windows = _windows(op, result, x, 0).astype(np.float64)
    flat = windows.reshape(-1, windows.shape[4] * windows.shape[5])
    sums = real_sums(flat, np.ones((1, flat.shape[1])), None).reshape(windows.shape[:4])
    return (sums / pool_counts(op, result, x.shape[2:])).astype(np.float32)


def pool_counts(op: Op, result: Value, size: tuple[int, ...]) -> np.ndarray:
    """Over how many places each window's mean is, float32 (rows, columns)."""
    counts = []
    for n, places, kernel, stride, padding in zip(
        size, result.shape[1:], op.settings["kernel"], op.settings["stride"], op.settings["padding"], strict=True
    ):
        begin = np.arange(places) * stride - padding
        end = np.minimum(begin + kernel, n + padding)
        inside = (begin, end) if op.settings["count_padding"] else (np.maximum(begin, 0), np.minimum(end, n))
        counts.append(inside[1] - inside[0])
    return np.outer(counts[0], counts[1]).astype(np.float32)


def _windows(op: Op, result: Value, x: np.ndarray, outside: float) -> np.ndarray:
    """(N, channels, rows, columns, kernel height, kernel width)."""
    kernel, stride, padding = op.settings["kernel"], op.settings["stride"], op.settings["padding"]
    ends = [
        (p, (places - 1) * s + k - n - p)
        for n, places, k, s, p in zip(x.shape[2:], result.shape[1:], kernel, stride, padding, strict=True)
    ]
    around = [(0, 0), (0, 0), *((p, max(end, 0)) for p, end in ends)]
    windows = sliding_window_view(np.pad(x, around, constant_values=outside), kernel, axis=(2, 3))
    return windows[:, :, :: stride[0], :: stride[1]][:, :, : result.shape[1], : result.shape[2]]


def add(op: Op, result: Value, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return x.astype(np.float32) + y.astype(np.float32)


def multiply(op: Op, result: Value, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return x.astype(np.float32) * y.astype(np.float32)


def concatenate(op: Op, result: Value, *parts: np.ndarray) -> np.ndarray:
    return np.concatenate(parts, axis=1)


def cut(op: Op, result: Value, x: np.ndarray) -> np.ndarray:
    return x[:, op.settings["start"] : op.settings["stop"]]


def pad(op: Op, result: Value, x: np.ndarray) -> np.ndarray:
    around = ((0, 0), (0, 0), tuple(op.settings["rows"]), tuple(op.settings["columns"]))
    return np.pad(x, around, constant_values=op.settings["pad_value"])


def flatten(op: Op, result: Value, x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), result.size)


OPERATIONS: dict[str, Callable[..., np.ndarray]] = {
    "linear": linear, "conv2d": conv2d, "normalise": normalise, "affine": affine, "sign": sign, "relu": relu, "prelu": prelu,
    "clamp": clamp, "sigmoid": sigmoid, "max_pool": max_pool, "avg_pool": avg_pool, "add": add, "multiply": multiply,
    "concatenate": concatenate, "slice": cut, "pad": pad, "flatten": flatten,
}  # fmt: skip
