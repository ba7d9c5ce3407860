"""All operations but products as calls of C functions: function(program, place, op, what its value is, its inputs)."""

import math
from collections.abc import Callable

import numpy as np

from bnn_train.deploy.packed import Op, Value
from bnn_train.deploy.writers.c_parts import Held, image
from bnn_train.deploy.writers.c_products import flip, threshold, window_of
from bnn_train.deploy.writers.c_program import Program


def sign(p: Program, i: int, op: Op, known: Value, x: Held) -> Held:
    p.template.use("sign", {"TYPE": x.type, "LIMIT": "float" if x.value.kind == "real" else "m_threshold"})
    out, (channels, height, width) = p.new(known), image(x.value.shape)
    p.call(f"sign_{x.type}", x, channels, height * width, threshold(p, i, op), flip(p, i, op, channels), out)
    return out


def normalise(p: Program, i: int, op: Op, known: Value, x: Held) -> Held:
    p.template.use("normalise")
    out, (channels, height, width) = p.new(known), image(x.value.shape)
    p.call("normalise", x, channels, height * width, p.constants.floats(f"m_table{i}", op.tensors["table"]), out)
    return out


def affine(p: Program, i: int, op: Op, known: Value, x: Held) -> Held:
    x = p.as_numbers(x)
    p.template.use("affine", {"TYPE": x.type})
    scale, shift = (p.constants.floats(f"m_{name}{i}", op.tensors[name]) for name in ("scale", "shift"))
    out, (channels, height, width) = p.over(i, known, x), image(x.value.shape)
    p.call(f"affine_{x.type}", x, channels, height * width, scale, shift, out)
    return out


def relu(p: Program, i: int, op: Op, known: Value, x: Held) -> Held:
    x = p.as_real(x)
    p.template.use("relu")
    out = p.over(i, known, x)
    p.call("relu", x, known.size, out)
    return out


def prelu(p: Program, i: int, op: Op, known: Value, x: Held) -> Held:
    x = p.as_real(x)
    p.template.use("prelu")
    out, (channels, height, width) = p.over(i, known, x), image(x.value.shape)
    slope = p.constants.floats(f"m_slope{i}", op.tensors["slope"])
    p.call("prelu", x, channels, height * width, slope, out)
    return out


def clamp(p: Program, i: int, op: Op, known: Value, x: Held) -> Held:
    x = p.as_real(x)
    p.template.use("clamp")
    out = p.over(i, known, x)
    p.call("clamp", x, known.size, p.constants.floats(f"m_limits{i}", op.tensors["limits"]), out)
    return out


def sigmoid(p: Program, i: int, op: Op, known: Value, x: Held) -> Held:
    x = p.as_numbers(x)
    p.template.use("sigmoid", {"TYPE": x.type})
    out = p.over(i, known, x)
    p.call(f"sigmoid_{x.type}", x, known.size, out)
    return out


def _pair(p: Program, i: int, op: Op, known: Value, x: Held, y: Held, result: str) -> Held:
    x, y = p.as_real(x), p.as_real(y)
    p.template.use("pair", {"OPERATION": op.kind, "RESULT": result})
    shape = image(known.shape)
    steps = []
    for part in (x, y):
        own = image(part.value.shape)
        steps += [0 if n == 1 else math.prod(own[k + 1 :]) for k, n in enumerate(own)]
    overlapping = x.buffer is y.buffer and (x.start, x.value.size) != (y.start, y.value.size)
    out = p.new(known) if overlapping else p.over(i, known, x)
    name = p.constants.whole(f"m_steps{i}", np.array(steps), "size_t", 8)
    p.call(op.kind, x, y, *shape, name, out)
    return out


def add(p: Program, i: int, op: Op, known: Value, x: Held, y: Held) -> Held:
    return _pair(p, i, op, known, x, y, "a + b")


def multiply(p: Program, i: int, op: Op, known: Value, x: Held, y: Held) -> Held:
    return _pair(p, i, op, known, x, y, "(float)((m_real)a * (m_real)b)")


def max_pool(p: Program, i: int, op: Op, known: Value, x: Held) -> Held:
    out, window = p.new(known), window_of(p, i, op, x.value, known)
    if known.kind == "bits":
        p.template.use("copy")
        p.template.use("max_pool_bits")
        p.call("max_pool_bits", window, x, flip(p, i, op, known.shape[0]), out)
    else:
        p.template.use("max_pool", {"TYPE": x.type})
        p.call(f"max_pool_{x.type}", window, x, out)
    return out


def avg_pool(p: Program, i: int, op: Op, known: Value, x: Held) -> Held:
    x = p.as_numbers(x)
    p.template.use("exact")
    p.template.use("avg_pool")
    p.template.use("avg_pool_of", {"TYPE": x.type})
    out = p.new(known)
    window = window_of(p, i, op, x.value, known)
    p.call(f"avg_pool_{x.type}", window, x, int(op.settings["count_padding"]), out)
    return out


def concatenate(p: Program, i: int, op: Op, known: Value, *parts: Held) -> Held:
    out, start = p.new(known), 0
    for part in parts:
        if known.kind != "bits":
            to = Held(known, out.buffer, start)
            p.call("memcpy", to, part, f"{part.value.size} * sizeof({part.type})")
            start += part.value.size
    if known.kind == "bits":
        _clear(p, out)
        for part in parts:
            _channels(p, part, 0, part.value.shape[0], out, start)
            start += part.value.shape[0]
    return out


def cut(p: Program, i: int, op: Op, known: Value, x: Held) -> Held:
    if known.kind != "bits":
        return Held(known, x.buffer, x.start + op.settings["start"] * math.prod(known.shape[1:]))
    out = p.new(known)
    _clear(p, out)
    _channels(p, x, op.settings["start"], known.shape[0], out, 0)
    return out


def _clear(p: Program, out: Held) -> None:
    p.call("clear", out, out.value.size)


def _channels(p: Program, x: Held, first: int, count: int, out: Held, start: int) -> None:
    p.template.use("copy")
    p.template.use("channels")
    channels, height, width = image(x.value.shape)
    p.call("channels", x, height * width, channels, first, count, out, start, out.value.shape[0])


def pad(p: Program, i: int, op: Op, known: Value, x: Held) -> Held:
    around = np.array([*op.settings["rows"], *op.settings["columns"]])
    name, out = p.constants.whole(f"m_around{i}", around, "size_t", 8), p.new(known)
    if known.kind == "bits":
        p.template.use("copy")
        p.template.use("pad_bits")
    else:
        p.template.use("pad", {"TYPE": x.type})
    call = "pad_bits" if known.kind == "bits" else f"pad_{x.type}"
    p.call(call, x, *image(x.value.shape), name, op.settings["pad_value"], out)
    return out


def flatten(p: Program, i: int, op: Op, known: Value, x: Held) -> Held:
    channels, height, width = image(x.value.shape)
    if known.kind != "bits" or 1 in (channels, height * width):
        return Held(known, x.buffer, x.start)  # the same memory
    p.template.use("flatten")
    out = p.new(known)
    p.call("flatten", x, channels, height * width, out)
    return out


OPERATIONS: dict[str, Callable[..., Held]] = {
    "sign": sign, "normalise": normalise, "affine": affine, "relu": relu, "prelu": prelu, "clamp": clamp, "sigmoid": sigmoid,
    "add": add, "multiply": multiply, "max_pool": max_pool, "avg_pool": avg_pool, "concatenate": concatenate, "slice": cut,
    "pad": pad, "flatten": flatten,
}  # fmt: skip
