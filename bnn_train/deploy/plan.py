"""From the operations to the steps that compute them. Products run up to their signs in one; values go after their last use."""

import logging
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from bnn_train.deploy import elementwise, estimates, steps, whole
from bnn_train.deploy.chains import Chain, chains
from bnn_train.deploy.direct import Fused, fused
from bnn_train.deploy.elementwise import Step
from bnn_train.deploy.infer import infer
from bnn_train.deploy.layout import Layout, to_plain
from bnn_train.deploy.packed import Op, Packed, Value
from bnn_train.deploy.sums import lowest_bit
from bnn_train.kernels import products

log = logging.getLogger(__name__)


class Stage(NamedTuple):
    """One step: from the values at `inputs` to those at `outputs`; those at `done` are not used again. Where there are several
    outputs the step gives a tuple."""

    step: Callable[..., Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    done: tuple[int, ...] = ()


class Plan(NamedTuple):
    stages: tuple[Stage, ...]
    scores: Layout
    bytes_per_image: int  # that the largest step moves, roughly
    bytes_by_kernels: int  # the same where LLVM compiles kernels, which copy no patches
    nanoseconds: int  # that an image takes one thread by kernels, roughly

    def run(self, images: np.ndarray) -> np.ndarray:
        """uint8 (N, C, H, W) to class scores, float32 (N, classes)."""
        if not len(images):
            return np.empty((0, *self.scores.shape), np.float32)
        values: dict[int, np.ndarray] = {0: images}
        run(self.stages, values)
        return to_plain(values[self.stages[-1].outputs[0]], self.scores).astype(np.float32, copy=False)


def run(stages: Iterable[Stage], values: dict[int, np.ndarray]) -> None:
    """Adds to the values what the stages make of them."""
    for stage in stages:
        found = stage.step(*[values[i] for i in stage.inputs])
        if len(stage.outputs) == 1:
            values[stage.outputs[0]] = found
        else:
            values.update(zip(stage.outputs, found, strict=True))
        for i in stage.done:
            del values[i]


def plan(packed: Packed, engine: str | None = None) -> Plan:
    """engine: of the packed products (kernels/products.py); None chooses. The same bits come of each."""
    known = infer(packed)
    takers: list[list[int]] = [[] for _ in known]
    for i, op in enumerate(packed.ops):
        for x in op.inputs:
            takers[x].append(i)
    layouts: dict[int, Layout] = {0: Layout("bytes", packed.image_shape)}
    grids = _grids(packed, known)
    alone: dict[int, Stage] = {}  # by the operation they begin with
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
        alone[i] = Stage(step, op.inputs, (output,))
        largest = max(largest, estimates.moved(op, known[i + 1], inputs[0]))
    together = chains(packed, known, takers)
    members = {i for chain in together for i in chain.ops}
    sizes = {i: estimates.moved(packed.ops[i], known[i + 1], layouts[packed.ops[i].inputs[0]]) for i in alone if i not in members}
    kept = [estimates.kept(known[output]) for chain in together for output in chain.outputs]
    at = {chain.place: chain for chain in together}
    stages = []
    for i in range(len(packed.ops)):
        if i in at:
            stages.append(_chained(packed, known, at[i], alone, grids[packed.ops[at[i].product].inputs[0]], engine))
        elif i in alone and i not in members:
            stages.append(alone[i])
    nanoseconds = sum(estimates.nanoseconds(op, known[op.inputs[0]], known[i + 1]) for i, op in enumerate(packed.ops))
    nanoseconds += sum(size / 2 for i, size in sizes.items() if packed.ops[i].kind == "conv2d")  # copies of patches
    by_kernels = max([1, *sizes.values(), *kept])
    return Plan(_with_ends(stages), layouts[len(packed.ops)], largest, by_kernels, int(nanoseconds))


def _chained(
    packed: Packed, known: list[Value], chain: Chain, alone: dict[int, Stage], grid: tuple[float, float], engine: str | None
) -> Stage:
    """By one kernel once LLVM is there; step by step until then, and where the kernel is not certain."""
    first = packed.ops[chain.product if chain.normalise is None else chain.normalise].inputs[0]
    inputs: tuple[int, ...] = (first,)
    made = {i + 1 for i in chain.ops}
    for both in (chain.multiply, chain.add):
        if both is not None:
            inputs += tuple(i for i in packed.ops[both].inputs if i not in made)
    singly = [alone[i] for i in sorted(chain.ops) if i in alone]
    kernel: Fused | None = None

    def plainly(*batches: np.ndarray) -> tuple[np.ndarray, ...]:
        values = dict(zip(inputs, batches, strict=True))
        run(singly, values)
        return tuple(values[i] for i in chain.outputs)

    def step(*batches: np.ndarray) -> Any:
        nonlocal kernel
        if kernel is None and products.is_llvm_due(engine):  # two threads may both make one; both are right
            made = fused(packed, known, chain, grid)
            kernel = made if _agree(made(*(batch[:1] for batch in batches)), plainly(*(batch[:1] for batch in batches))) else _never
        found = None if kernel is None else kernel(*batches)
        if found is None:
            found = plainly(*batches)
        return found[0] if len(found) == 1 else found

    return Stage(step, inputs, chain.outputs)


def _agree(found: tuple[np.ndarray, ...] | None, plain: tuple[np.ndarray, ...]) -> bool:
    """Whether a kernel that was just compiled gives the bits of the plain steps, on the first image that it meets."""
    if found is None or all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(found, plain, strict=True)):
        return True
    log.warning("a kernel that LLVM compiled gives wrong numbers on this processor; the slower steps are used in its place")
    return False


def _never(*batches: np.ndarray) -> None:
    return None


def _with_ends(stages: list[Stage]) -> tuple[Stage, ...]:
    """Each with the values that it is the last to take."""
    last = {x: number for number, stage in enumerate(stages) for x in stage.inputs}
    return tuple(stage._replace(done=tuple({x for x in stage.inputs if last[x] == i})) for i, stage in enumerate(stages))


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


_MAKERS: dict[str, Callable[..., tuple[Step, Layout]]] = {
    "flatten": steps.flatten,
    "normalise": steps.normalise,
    "affine": elementwise.affine,
    "relu": elementwise.relu,
    "prelu": elementwise.prelu,
    "clamp": elementwise.clamp,
    "sigmoid": elementwise.sigmoid,
    "sign": elementwise.sign,
}


_OF_SEVERAL: dict[str, Callable[..., tuple[Step, Layout]]] = {
    "add": elementwise.pair,
    "multiply": elementwise.pair,
    "concatenate": elementwise.concatenate,
    "slice": elementwise.cut,
}
_OF_NUMBERS = ("affine", "relu", "prelu", "clamp", "sigmoid")


def _step(
    op: Op, result: Value, inputs: list[Layout], signs: whole.Signs | None, grid: tuple[float, float], engine: str | None
) -> tuple[Step, Layout]:
    x = inputs[0]
    if op.kind in ("linear", "conv2d"):
        single = _is_ungrouped(op)
        if result.kind == "whole" and single:
            return whole.product(op, result, x, signs, engine)
        if result.kind == "real" and single and x.kind in ("real", "whole"):
            return steps.real_product(op, result, x, *grid)
        if result.kind == "real" and op.kind == "linear":
            return steps.real_product(op, result, x, 1.0, 1.0)
    if op.kind in _MAKERS and not (op.kind in _OF_NUMBERS and x.kind == "bits"):
        return _MAKERS[op.kind](op, result, x)
    if op.kind == "max_pool":
        return (steps.max_pool_of_bits if x.kind == "bits" else steps.max_pool)(op, result, x)
    if op.kind == "avg_pool" and x.kind != "bits" and not any(op.settings["padding"]):
        return steps.average(op, result, x, engine)
    if op.kind in _OF_SEVERAL and all(of.kind in ("real", "whole") and of.is_plain for of in inputs):
        return _OF_SEVERAL[op.kind](op, result, *inputs)
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
