"""What each operation takes and gives: whatever comes from a file passes here before anything is computed."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bnn_train.deploy import limits
from bnn_train.deploy.given import Given
from bnn_train.deploy.limits import LARGEST_SUM, MOST_ELEMENTS, MOST_NAME, MOST_OPERATIONS
from bnn_train.deploy.packed import Op, Packed, Unfit, Value


def infer(packed: Packed) -> list[Value]:
    """The kind and shape of every value, the image first. Raises Unfit with the operation's name and what is wrong."""
    values = [Value("bytes", _shape(packed.image_shape, 3))]
    if not 0 < len(packed.ops) <= MOST_OPERATIONS:
        raise Unfit(f"has {len(packed.ops)} operations, where 1 to {MOST_OPERATIONS:,} are allowed")
    for i, op in enumerate(packed.ops):
        try:
            values.append(result_of(op, values))
        except Unfit as error:
            raise Unfit(f"operation {i} ({op.kind[:40]!r}, {op.name[:80]!r}): {error}") from None
    last = values[-1]
    if len(last.shape) != 1 or last.kind not in ("real", "whole"):
        raise Unfit("does not end in class scores")
    limits.check(packed, values)
    return values


def result_of(op: Op, values: Sequence[Value]) -> Value:
    """What the operation makes of the values that were made before it. Raises Unfit."""
    if op.kind not in _RULES:
        raise Unfit("is no known operation")
    if len(op.name) > MOST_NAME:
        raise Unfit("has an endless name")
    if not all(type(i) is int and 0 <= i < len(values) for i in op.inputs):
        raise Unfit("takes a value that is not there yet")
    rule, count = _RULES[op.kind]
    if not op.inputs or (count and len(op.inputs) != count):
        raise Unfit(f"takes {len(op.inputs)} values")
    given = Given(op)
    result = rule(given, *(values[i] for i in op.inputs))
    if given.untaken():
        # What would be ignored here may mean something to who wrote it.
        raise Unfit(f"takes no {min(given.untaken())[:40]!r}")
    if not (all(size > 0 for size in result.shape) and result.size <= MOST_ELEMENTS):
        raise Unfit(f"gives {'x'.join(map(str, result.shape))} numbers an image")
    if result.largest > LARGEST_SUM:
        raise Unfit("has sums beyond 2^29")
    return result


def _product(given: Given, x: Value, outputs: int, inputs: int) -> tuple[str, int]:
    """The kind and largest value of `outputs` sums over `inputs` products each."""
    if not given.has("weight"):
        raise Unfit("lacks weight")
    binary = given.op.tensors["weight"].dtype == np.uint8
    if not binary:
        given.finite("weight", (outputs, inputs))
    else:
        weight = given.bits("weight", outputs, inputs)
        if given.has("mask") and (weight & ~given.bits("mask", outputs, inputs)).any():
            raise Unfit("has weights that its mask prunes")
    if binary and x.kind in ("bits", "bytes"):
        largest = inputs * (255 if x.kind == "bytes" else 1)
        if given.has("offset"):
            offset = given.tensor("offset", (outputs,), "int32")
            largest += int(np.abs(offset.astype(np.int64)).max(initial=0))
        if given.has("bias"):
            raise Unfit("a sum of whole numbers takes an offset, no bias")
        return "whole", largest
    if given.has("offset"):
        raise Unfit("a real sum takes a bias, no offset")
    if given.has("bias"):
        given.finite("bias", (outputs,))
    return "real", 0


def _linear(given: Given, x: Value) -> Value:
    if len(x.shape) != 1:
        raise Unfit("takes features, not an image: flatten it first")
    outputs = given.number("outputs", 1, MOST_ELEMENTS)
    kind, largest = _product(given, x, outputs, x.shape[0])
    return Value(kind, (outputs,), largest)


def _conv2d(given: Given, x: Value) -> Value:
    channels, height, width = _shape(x.shape, 3)
    outputs, groups = given.number("outputs", 1, MOST_ELEMENTS), given.number("groups", 1, channels)
    kernel, stride, dilation = given.pair("kernel", 1), given.pair("stride", 1), given.pair("dilation", 1)
    padding, pad_value = given.pair("padding", 0), given.number("pad_value", -1, 1)
    if channels % groups or outputs % groups:
        raise Unfit(f"{groups} groups do not divide {channels} channels and {outputs} outputs")
    if x.kind == "bytes" and (any(padding) or pad_value):
        raise Unfit("pixels cannot be padded")
    kind, largest = _product(given, x, outputs, channels // groups * kernel[0] * kernel[1])
    out = [
        (size + 2 * p - d * (k - 1) - 1) // s + 1
        for size, p, d, k, s in zip((height, width), padding, dilation, kernel, stride, strict=True)
    ]
    return Value(kind, (outputs, *out), largest)


def _normalise(given: Given, x: Value) -> Value:
    if x.kind != "bytes":
        raise Unfit("takes pixels")
    given.finite("table", (x.shape[0], 256))
    return Value("real", x.shape)


def _affine(given: Given, x: Value) -> Value:
    given.finite("scale", x.shape[:1])
    given.finite("shift", x.shape[:1])
    _not_bytes(x)
    return Value("real", x.shape)


def _sign(given: Given, x: Value) -> Value:
    if x.kind not in ("whole", "real"):
        raise Unfit(f"takes numbers, not {x.kind}")
    types = ("int16", "int32") if x.kind == "whole" else ("float32",)
    given.tensor("threshold", x.shape[:1], *types)
    if given.has("flip"):
        given.bits("flip", 1, x.shape[0])
    return Value("bits", x.shape)


def _elementwise(given: Given, x: Value) -> Value:
    _not_bytes(x)
    return Value("real", x.shape)


def _prelu(given: Given, x: Value) -> Value:
    given.finite("slope", x.shape[:1])
    return _elementwise(given, x)


def _clamp(given: Given, x: Value) -> Value:
    low, high = given.finite("limits", (2,))
    if low > high:
        raise Unfit("limits must be the lower and the upper one")
    return _elementwise(given, x)


def _pool(given: Given, x: Value) -> Value:
    channels, height, width = _shape(x.shape, 3)
    _not_bytes(x)
    kernel, stride, padding, ceil = given.pair("kernel", 1), given.pair("stride", 1), given.pair("padding", 0), given.yes("ceil")
    if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        raise Unfit("has a padding of more than half its kernel")
    out = []
    for size, k, s, p in zip((height, width), kernel, stride, padding, strict=True):
        if size + 2 * p < k and not ceil:
            raise Unfit("has a kernel larger than its image")
        count = (size + 2 * p - k + (s - 1 if ceil else 0)) // s + 1
        out.append(count - 1 if ceil and (count - 1) * s >= size + p else count)  # no window begins behind the image
    if given.op.kind == "max_pool":
        return Value(x.kind, (channels, *out), x.largest)
    given.yes("count_padding")
    return Value("real", (channels, *out))


def _pair_of(given: Given, x: Value, y: Value) -> Value:
    _not_bytes(x)
    _not_bytes(y)
    if len(x.shape) != len(y.shape) or not all(a == b or 1 in (a, b) for a, b in zip(x.shape, y.shape, strict=True)):
        raise Unfit(f"takes two values of one shape, not {list(x.shape)} and {list(y.shape)}")
    return Value("real", tuple(max(a, b) for a, b in zip(x.shape, y.shape, strict=True)))


def _concatenate(given: Given, *parts: Value) -> Value:
    first = parts[0]
    if any(part.kind != first.kind or part.shape[1:] != first.shape[1:] for part in parts) or first.kind == "bytes":
        raise Unfit("takes values of one kind and one height and width")
    return Value(first.kind, (sum(part.shape[0] for part in parts), *first.shape[1:]), max(part.largest for part in parts))


def _slice(given: Given, x: Value) -> Value:
    _not_bytes(x)
    start = given.number("start", 0, x.shape[0] - 1)
    return Value(x.kind, (given.number("stop", start + 1, x.shape[0]) - start, *x.shape[1:]), x.largest)


def _pad(given: Given, x: Value) -> Value:
    channels, height, width = _shape(x.shape, 3)
    (top, bottom), (left, right) = given.pair("rows", 0), given.pair("columns", 0)
    value = given.number("pad_value", -1, 1)
    if x.kind == "bytes" or (x.kind == "bits" and value == 0):
        raise Unfit(f"{x.kind} cannot be padded with {value}")
    return Value(x.kind, (channels, height + top + bottom, width + left + right), max(x.largest, 1))


def _flatten(given: Given, x: Value) -> Value:
    return Value(x.kind, (x.size,), x.largest)


def _shape(shape: Any, ndim: int) -> tuple[int, ...]:
    if (
        not isinstance(shape, list | tuple)
        or len(shape) != ndim
        or not all(type(n) is int and 0 < n <= MOST_ELEMENTS for n in shape)
    ):
        raise Unfit(f"needs {ndim} sizes, not {shape}"[:100])
    if math.prod(shape) > MOST_ELEMENTS:
        raise Unfit("is too large")
    return tuple(shape)


def _not_bytes(x: Value) -> None:
    if x.kind == "bytes":
        raise Unfit("takes numbers, not pixels")


_RULES: dict[str, tuple[Callable[..., Value], int]] = {  # with the number of inputs, 0 for one or more
    "linear": (_linear, 1),
    "conv2d": (_conv2d, 1),
    "normalise": (_normalise, 1),
    "affine": (_affine, 1),
    "sign": (_sign, 1),
    "relu": (_elementwise, 1),
    "prelu": (_prelu, 1),
    "clamp": (_clamp, 1),
    "sigmoid": (_elementwise, 1),
    "max_pool": (_pool, 1),
    "avg_pool": (_pool, 1),
    "add": (_pair_of, 2),
    "multiply": (_pair_of, 2),
    "concatenate": (_concatenate, 0),
    "slice": (_slice, 1),
    "pad": (_pad, 1),
    "flatten": (_flatten, 1),
}
