"""A second reader of exported files, written from docs/format.md alone: plain, slow, and without any of bnn_train.

What it gives is what the page says. Where the product gives something else, one of the two is wrong.
"""

import hashlib
import json
import math
from typing import Any

import numpy as np

TYPES = {"U8": "<u1", "I16": "<i2", "I32": "<i4", "F32": "<f4"}


def read(path: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The network (its JSON object) and its tensors by their names "i.name"; ValueError where the checksum is another."""
    with open(path, "rb") as file:
        content = file.read()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start].decode("utf-8"))
    metadata = header.pop("__metadata__")
    digits = metadata["sha256"].encode()
    zeros = content.replace(digits, b"0" * 64, 1)
    if content[:start].count(digits) != 1 or hashlib.sha256(zeros).hexdigest() != metadata["sha256"]:
        raise ValueError(f"{path}: the checksum differs")
    network = json.loads(metadata["bnn_train"])
    if network["format"] != 1:
        raise ValueError(f"{path}: format {network['format']}")
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = np.frombuffer(content[start + begin : start + end], TYPES[entry["dtype"]]).reshape(entry["shape"])
    return network, tensors


def scores(path: Any, images: np.ndarray) -> np.ndarray:
    """Class scores, float32 (N, classes), of images uint8 (N, C, H, W)."""
    network, tensors = read(path)
    kinds, values = ["bytes"], [images.astype(np.int64)]  # bytes, bits and whole numbers as int64, real ones as float32
    with np.errstate(all="ignore"):  # beyond float32 lie the infinities; what comes behind them is not defined
        for i, operation in enumerate(network["operations"]):
            own = {name.split(".")[1]: tensor for name, tensor in tensors.items() if name.split(".")[0] == str(i)}
            inputs = [(kinds[j], values[j]) for j in operation["inputs"]]
            kind, value = apply(operation["kind"], operation["settings"], own, inputs)
            kinds.append(kind)
            values.append(value)
    return values[-1].astype(np.float32)


def apply(kind: str, s: dict[str, Any], t: dict[str, np.ndarray], inputs: list[tuple[str, np.ndarray]]) -> tuple[str, np.ndarray]:
    """The kind and the numbers that an operation makes; s: its settings, t: its tensors."""
    kinds, numbers = zip(*inputs, strict=True)
    single = [x.astype(np.float32) for x in numbers]
    x = numbers[0]
    if kind == "linear":
        sum_kind, out = products(x[:, :, None, None, None, None], kinds[0], t, 1, s["outputs"])  # one channel a feature, one place
        return sum_kind, out[:, :, 0, 0]
    if kind == "conv2d":
        return products(windows(x, s, s["dilation"], s["pad_value"]), kinds[0], t, s["groups"], s["outputs"])
    if kind == "sign":
        flip = bits(t["flip"], x.shape[1])[0] if "flip" in t else np.zeros(x.shape[1], bool)
        return "bits", np.where((x >= channels(t["threshold"], x)) != channels(flip, x), 1, -1)
    if kind == "normalise":
        return "real", np.stack([t["table"][c][x[:, c]] for c in range(x.shape[1])], axis=1)
    if kind == "affine":
        wide = {name: channels(t[name].astype(np.float64), x) for name in ("scale", "shift")}
        return "real", (wide["scale"] * x.astype(np.float64) + wide["shift"]).astype(np.float32)
    if kind == "relu":
        return "real", np.maximum(single[0], np.float32(0))
    if kind == "prelu":
        return "real", np.where(single[0] > 0, single[0], channels(t["slope"], x) * single[0])
    if kind == "clamp":
        low, high = t["limits"]
        return "real", np.where(single[0] < low, low, np.where(single[0] > high, high, single[0]))
    if kind == "sigmoid":
        small = np.exp(-np.abs(x.astype(np.float64)))
        return "real", np.where(x >= 0, 1 / (1 + small), small / (1 + small)).astype(np.float32)
    if kind == "max_pool":
        least = -np.inf if kinds[0] == "real" else -(2**62)
        return kinds[0], windows(x, s, [1, 1], least).max(axis=(2, 3))
    if kind == "avg_pool":
        counts = windows(np.ones((1, 1, *x.shape[2:])), s, [1, 1], outside=s["count_padding"], behind=0).sum(axis=(2, 3))
        parts = np.moveaxis(windows(x, s, [1, 1], 0), (2, 3), (4, 5))
        return "real", real_sums(parts.reshape(*parts.shape[:4], -1)) / counts.astype(np.float32)
    if kind == "add":
        return "real", single[0] + single[1]
    if kind == "multiply":
        return "real", single[0] * single[1]
    if kind == "concatenate":
        return kinds[0], np.concatenate(numbers, axis=1)
    if kind == "slice":
        return kinds[0], x[:, s["start"] : s["stop"]]
    if kind == "pad":
        return kinds[0], np.pad(x, [(0, 0), (0, 0), s["rows"], s["columns"]], constant_values=s["pad_value"])
    if kind == "flatten":
        return kinds[0], x.reshape(len(x), -1)
    raise ValueError(f"unknown operation {kind}")


def channels(numbers: np.ndarray, x: np.ndarray) -> np.ndarray:
    """One number a channel, for every place of x (N, C, ...)."""
    return numbers.reshape(-1, *[1] * (x.ndim - 2))


def bits(packed: np.ndarray, count: int) -> np.ndarray:
    return np.unpackbits(packed, axis=1)[:, :count].astype(bool)


def windows(x: np.ndarray, s: dict[str, Any], dilation: list[int], outside: float, behind: float | None = None) -> np.ndarray:
    """What lies under a kernel: (N, C, kernel rows, kernel columns, rows, columns) of x (N, C, H, W).

    The padding is of `outside`; what a last window of `ceil` has behind the padding is of `behind`, or of `outside` too.
    """
    places = []
    for size, kernel, stride, padding, step in zip(x.shape[2:], s["kernel"], s["stride"], s["padding"], dilation, strict=True):
        room = size + 2 * padding - step * (kernel - 1) - 1
        count = room // stride + 1
        if s.get("ceil"):
            count = -(-room // stride) + 1
            count -= (count - 1) * stride - padding >= size
        places.append(np.arange(count) * stride + np.arange(kernel)[:, None] * step)  # counted from the padding's first row
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in s["padding"])], constant_values=outside)
    more = [max(0, int(p.max()) + 1 - size) for p, size in zip(places, x.shape[2:], strict=True)]
    x = np.pad(x, [(0, 0), (0, 0), *((0, m) for m in more)], constant_values=outside if behind is None else behind)
    rows, columns = places
    return x[:, :, rows[:, None, :, None], columns[None, :, None, :]]


def connected(t: dict[str, np.ndarray], k: int, outputs: int) -> np.ndarray:
    """The weights of a pruned layer, (O, K): -1 and +1, and 0 where there is no edge."""
    if "mask" in t:
        places = np.flatnonzero(bits(t["mask"], k))
    else:
        steps = [(int(gap), gap != 255) for gap in t["gaps"]]  # 255 pruned edges and no other, or as many and a connected one
        ends = np.cumsum([gap + edge for gap, edge in steps])
        places = np.array([end - 1 for end, (_, edge) in zip(ends, steps, strict=True) if edge], np.int64)
    weight = np.zeros(outputs * k)
    weight[places] = np.where(np.unpackbits(t["signs"])[: len(places)], 1.0, -1.0)
    return weight.reshape(outputs, k)


def products(parts: np.ndarray, kind: str, t: dict[str, np.ndarray], groups: int, outputs: int) -> tuple[str, np.ndarray]:
    """Sums of products with the weights, (N, O, rows, columns), of what windows gives."""
    n, c, height, width, rows, columns = parts.shape
    k = c // groups * height * width
    x = np.moveaxis(parts.reshape(n, groups, k, rows, columns), 2, 4)  # (N, groups, rows, columns, K)
    binary = "signs" in t or t["weight"].dtype == np.uint8
    if "signs" in t:
        weight = connected(t, k, outputs)
    else:
        weight = np.where(bits(t["weight"], k), 1.0, -1.0) if binary else t["weight"].astype(np.float64)
    whole = binary and kind in ("bits", "bytes")
    out = np.empty((n, outputs, rows, columns), np.int64 if whole else np.float32)
    for o in range(outputs):
        under = x[:, o * groups // outputs]
        if whole:
            out[:, o] = (under * weight[o].astype(np.int64)).sum(axis=-1) + (t["offset"][o] if "offset" in t else 0)
        else:
            out[:, o] = real_sums(under * weight[o], float(t["bias"][o]) if "bias" in t else 0.0)
    return ("whole" if whole else "real"), out


def real_sums(terms: np.ndarray, bias: float = 0.0) -> np.ndarray:
    """Over the last dimension, with the bias: exact, then the nearest float64 (math.fsum gives that), then the nearest float32."""
    rows = terms.astype(np.float64).reshape(-1, terms.shape[-1])
    sums = [math.fsum([*row.tolist(), bias]) if np.isfinite(row).all() else row.sum() for row in rows]
    return np.array(sums).reshape(terms.shape[:-1]).astype(np.float32)
