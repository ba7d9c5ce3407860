"""How far torch's float32 numbers can be from the exported network's: a bound for every value of given images.

torch adds real products in an order of its own, and rounds each step; here a real sum is rounded once. The bounds are those of
rounding analysis (Higham, Accuracy and Stability of Numerical Algorithms, chapter 3): a sum of K float32 products in any order is
off by at most K units of the sum of their sizes. Whole numbers of signs are exact in both. A sign whose input is nearer to its
threshold than the bound may differ; what comes after it then differs by more than rounding.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bnn_train.deploy.infer import infer
from bnn_train.deploy.packed import Op, Packed, Value, inputs_of, weights
from bnn_train.deploy.reference import OPERATIONS, per_channel

UNIT = 2.0**-24  # the largest relative error of one float32 operation
# More roundings of a product's terms: what was folded into its weights (deploy/packing/rewrite.py), and that of the weights.
_STEPS = 16


class Bounds(NamedTuple):
    scores: np.ndarray  # float64 (N, classes): the largest difference that rounding can make, while every sign is the same
    uncertain: np.ndarray  # bool (N,): whether some sign of the image may differ


def bounds(packed: Packed, values: Sequence[np.ndarray]) -> Bounds:
    """values: of the reference, all of them, for a batch of images. packed: as it was exported, with what is known of rounding."""
    known = infer(packed)
    errors: list[np.ndarray | None] = [None]  # None: no difference
    uncertain = np.zeros(len(values[0]), bool)
    for i, op in enumerate(packed.ops):
        x, e = [values[k] for k in op.inputs], [errors[k] for k in op.inputs]
        if op.kind == "sign":
            if e[0] is not None:
                near = (_to_turning_point(op, x[0]) <= e[0]) & (e[0] > 0)
                uncertain |= near.reshape(len(near), -1).any(axis=1)
            errors.append(None)
            continue
        errors.append(_error(op, known[i + 1], x, e, values[i + 1]))
    last = errors[-1]
    return Bounds(np.zeros(values[-1].shape) if last is None else np.broadcast_to(last, values[-1].shape), uncertain)


def _to_turning_point(op: Op, x: np.ndarray) -> np.ndarray:
    """How far each number is from where the sign turns: between two whole numbers it is known where, or else is at either."""
    if op.rounding is not None:
        return np.abs(x - per_channel(op.rounding, x))
    distance: np.ndarray = np.abs(x.astype(np.float64) - per_channel(op.tensors["threshold"].astype(np.float64), x))
    return distance if x.dtype == np.float32 else np.minimum(distance, np.abs(distance - 1))


def _error(op: Op, result: Value, x: list[np.ndarray], e: list[np.ndarray | None], y: np.ndarray) -> np.ndarray | None:
    if op.kind in ("linear", "conv2d"):
        return _of_product(op, result, x[0], e[0], y)
    if op.kind == "normalise":
        return None
    if op.kind == "affine":
        scale = np.abs(per_channel(op.tensors["scale"].astype(np.float64), x[0]))
        assert op.rounding is not None
        steps, rounding = (per_channel(values, x[0]) for values in op.rounding)
        if not op.rounding.any():
            return e[0]
        return _zero(e[0]) * scale + UNIT * (steps * scale * np.abs(x[0]) + rounding)
    if all(part is None for part in e) and op.kind in ("add", "multiply", "relu", "prelu", "clamp"):
        return None  # the same float32 operation on the same numbers
    if op.kind in ("add", "multiply"):
        a, b = (np.abs(part.astype(np.float64)) for part in x)
        ea, eb = (_zero(part) for part in e)
        return (ea + eb if op.kind == "add" else a * eb + b * ea + ea * eb) + UNIT * np.abs(y)
    if op.kind == "avg_pool":
        sizes = OPERATIONS["avg_pool"](op, result, np.abs(x[0]).astype(np.float32)).astype(np.float64)
        spread = 0.0 if e[0] is None else OPERATIONS["avg_pool"](op, result, e[0].astype(np.float32)).astype(np.float64) * 1.0001
        return spread + UNIT * (int(np.prod(op.settings["kernel"])) + 2) * sizes
    if all(part is None for part in e):
        return 4 * UNIT * np.ones(y.shape) if op.kind == "sigmoid" else None
    if op.kind == "clamp":
        return e[0]  # two numbers come no further apart
    if op.kind == "sigmoid":
        far = 1 / (1 + np.exp(np.maximum(np.abs(x[0].astype(np.float64)) - _zero(e[0]), 0)))  # steepest within the error
        return np.minimum(far * (1 - far) * _zero(e[0]), 1.0) + 4 * UNIT
    if op.kind in ("relu", "prelu"):
        slopes = np.abs(op.tensors["slope"]).max() if op.kind == "prelu" else 0.0
        return max(1.0, float(slopes)) * _zero(e[0]) + 4 * UNIT * np.abs(y)
    parts = [np.zeros(a.shape) if part is None else part for a, part in zip(x, e, strict=True)]
    moved = Op("pad", op.name, op.inputs, {**op.settings, "pad_value": 0}) if op.kind == "pad" else op
    return OPERATIONS[op.kind](moved, result, *(part.astype(np.float32) * np.float32(1.0001) for part in parts)).astype(np.float64)


def _of_product(op: Op, result: Value, x: np.ndarray, e: np.ndarray | None, y: np.ndarray) -> np.ndarray | None:
    if result.kind == "whole":  # exact, but for torch's own sum where it has float32 pixels
        return None if op.rounding is None else np.broadcast_to(per_channel(op.rounding, y), y.shape)
    inputs = inputs_of(op, x.shape[1])
    weight = {"weight": np.abs(weights(op, inputs)).astype(np.float32)}
    real = Value("real", result.shape)

    def through(values: np.ndarray, outside: int) -> np.ndarray:
        sizes = Op(op.kind, op.name, op.inputs, {**op.settings, "pad_value": outside}, weight)
        return OPERATIONS[op.kind](sizes, real, values.astype(np.float32)).astype(np.float64) * 1.0001

    terms = through(np.abs(x), abs(op.settings.get("pad_value", 0)))
    for extra in (op.tensors.get("bias"), op.rounding):
        if extra is not None:
            terms = terms + per_channel(np.abs(extra).astype(np.float64), y)
    return (0.0 if e is None else through(e, 0)) + UNIT * (inputs + _STEPS) * terms


def _zero(error: np.ndarray | None) -> np.ndarray | float:
    return 0.0 if error is None else error
