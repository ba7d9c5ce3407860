"""From the operations to the steps that compute them. Products run up to their signs in one; values go after their last use."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bnn_train.deploy import steps, whole
from bnn_train.deploy.infer import infer
from bnn_train.deploy.layout import Layout, to_plain
from bnn_train.deploy.packed import Op, Packed, Value
from bnn_train.deploy.sums import lowest_bit


class Stage(NamedTuple):
    """One step: from the values at `inputs` to the one at `output`; those at `done` are not used again."""

    step: steps.Step
    inputs: tuple[int, ...]
    output: int
    done: tuple[int, ...]


class Plan(NamedTuple):
    stages: tuple[Stage, ...]
    scores: Layout
    bytes_per_image: int  # of the largest value, roughly

    def run(self, images: np.ndarray) -> np.ndarray:
        """uint8 (N, C, H, W) to class scores, float32 (N, classes)."""
        if not len(images):
            return np.empty((0, *self.scores.shape), np.float32)
        values: dict[int, np.ndarray] = {0: images}
        y = images
        for stage in self.stages:
            y = values[stage.output] = stage.step(*[values[i] for i in stage.inputs])
            for i in stage.done:
                del values[i]
        return to_plain(y, self.scores).astype(np.float32, copy=False)


def plan(packed: Packed, engine: str | None = None) -> Plan:
    """engine: of the packed products (deploy/kernels/products.py); None chooses. The same bits come of each."""
    known = infer(packed)
    takers: list[list[int]] = [[] for _ in known]
    for i, op in enumerate(packed.ops):
        for x in op.inputs:
            takers[x].append(i)
    last = {value: max(by, default=len(packed.ops)) for value, by in enumerate(takers)}
    layouts: dict[int, Layout] = {0: Layout("bytes", packed.image_shape)}
    grids = _grids(packed, known)
    stages: list[Stage] = []
    inside: set[int] = set()  # operations that a step before them has done
    largest = 1
    for i, op in enumerate(packed.ops):
        if i in inside:
            continue
        output, signs = i + 1, None
        if op.kind in ("linear", "conv2d") and known[i + 1].kind == "whole" and _is_ungrouped(op):
            signs, output, parts = _signs_behind(packed, known, takers, i)
            inside.update(parts)
        inputs = [layouts[x] for x in op.inputs]
        step, layouts[output] = _step(op, known[i + 1], inputs, signs, grids[op.inputs[0]], engine)
        done = tuple({x for x in op.inputs if max(last[x], 0) == i})
        stages.append(Stage(step, op.inputs, output, done))
        largest = max(largest, _size(op, known[i + 1], inputs[0]))
    return Plan(tuple(stages), layouts[len(packed.ops)], largest)


def _signs_behind(packed: Packed, known: list[Value], takers: list[list[int]], i: int) -> tuple[whole.Signs | None, int, list[int]]:
    """The sign behind product i, where it is all that takes the sums: (it, the number of its value, the operations done by it)."""
    pool, at = None, i + 1
    if len(takers[at]) == 1 and packed.ops[takers[at][0]].kind == "max_pool":
        pool = takers[at][0]
        at = pool + 1
    if len(takers[at]) != 1 or packed.ops[takers[at][0]].kind != "sign":
        return None, i + 1, []
    sign = takers[at][0]
    if pool is None:
        return whole.Signs(packed.ops[sign]), sign + 1, [sign]
    return whole.Signs(packed.ops[sign], packed.ops[pool], known[pool + 1]), sign + 1, [pool, sign]


def _is_ungrouped(op: Op) -> bool:
    return op.kind == "linear" or op.settings["groups"] == 1


_MAKERS: dict[str, Callable[..., tuple[steps.Step, Layout]]] = {
    "flatten": steps.flatten,
    "normalise": steps.normalise,
    "affine": steps.affine,
    "relu": steps.relu,
    "sign": steps.sign,
}


def _step(
    op: Op, result: Value, inputs: list[Layout], signs: whole.Signs | None, grid: tuple[float, float], engine: str | None
) -> tuple[steps.Step, Layout]:
    x = inputs[0]
    if op.kind in ("linear", "conv2d"):
        single = _is_ungrouped(op)
        if result.kind == "whole" and single:
            return whole.product(op, result, x, signs, engine)
        if result.kind == "real" and single and x.kind in ("real", "whole"):
            return steps.real_product(op, result, x, *grid)
        if result.kind == "real" and op.kind == "linear":
            return steps.real_product(op, result, x, 1.0, 1.0)
    if op.kind in _MAKERS and not (op.kind == "affine" and x.kind == "bits") and not (op.kind == "relu" and x.kind == "bits"):
        return _MAKERS[op.kind](op, result, x)
    if op.kind == "max_pool" and x.kind == "bits":
        return steps.max_pool_of_bits(op, result, x)
    if op.kind == "avg_pool" and x.kind != "bits" and not any(op.settings["padding"]):
        return steps.average(op, result, x)
    same = len({of.shape for of in inputs}) == 1 and all(of.kind in ("real", "whole") and of.is_plain for of in inputs)
    if op.kind == "add" and same:
        return steps.add(op, result, *inputs)
    return steps.plain(op, result, *inputs)


def _grids(packed: Packed, known: list[Value]) -> list[tuple[float, float]]:
    """For each value the largest size and the power of two of which it has multiples, (0, 0) where they are not known."""
    grids: list[tuple[float, float]] = [(255.0, 1.0)]
    for i, op in enumerate(packed.ops):
        value = known[i + 1]
        if value.kind != "real":
            grids.append((float(max(value.largest, 1)), 1.0))
        elif op.kind == "normalise":
            table = op.tensors["table"]
            grids.append((float(np.abs(table).max()), min(lowest_bit(table), 1.0)))
        else:
            grids.append(grids[op.inputs[0]] if op.kind == "flatten" else (0.0, 0.0))
    return grids


def _size(op: Op, result: Value, x: Layout) -> int:
    """Bytes that a step moves for an image, roughly: its result, or the patches of a convolution."""
    patches = 0
    if op.kind == "conv2d":
        inputs = steps.inputs_of(op, x)
        patches = math.prod(result.shape[1:]) * (inputs // 8 if x.kind == "bits" else 8 * inputs)
    return patches + result.size * (1 if result.kind == "whole" else 4)
