"""An optimizer's step in one pass over a weight: update, bound, held edges, and the sign of each of its numbers.

A step reads the gradient g of p and the optimizer's running means, and changes p and the means in place. With marks, what is not
FREE keeps its bits and sees a gradient of 0, and what is not CONNECTED has a sign of 0. Values end within [-bound, bound]; a NaN
stays one. Operations are those of the formulas in their order, none contracted, so that the bits depend neither on the number of
threads nor on the length of vectors.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

from bnn_train.kernels import elements
from bnn_train.kernels.ir_elements import Element, ElementKernel, Value
from bnn_train.kernels.marks import CONNECTED, FREE

Formula = Callable[[Element, Value, Value], Value]  # of p and of what is to be stepped along; gives the new p


class Weight(NamedTuple):
    """A parameter's arrays by address (torch's data_ptr), float32 but where it is said; each lies as p does, without gaps."""

    size: int
    p: int
    g: int
    signs: int | None  # int8: gets -1, +1, and 0 of pruned edges
    marks: int | None  # uint8, kernels/marks.py; None: all are free and connected
    bound: float
    l2: float
    threads: int


def adam(
    weight: Weight,
    mean: int,
    square: int,
    share: float,
    keep: float,
    rest: float,
    root: float,
    lr: float,
    eps: float,
    shrink: float,
) -> None:
    """Adam (Kingma & Ba 2015, arXiv 1412.6980), and AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101).

    With g <- g + l2 p: mean <- mean + share (g - mean), square <- keep square + rest g^2, p <- p - shrink p - lr mean /
    (root sqrt(square) + eps). For step t, from 1: share = 1 - beta1, keep = beta2, rest = 1 - beta2, lr is divided by 1 - beta1^t,
    and root = 1 / sqrt(1 - beta2^t).
    """
    numbers = {"share": share, "keep": keep, "rest": rest, "root": root, "lr": lr, "eps": eps, "shrink": shrink}
    _run(_adam, weight, {"mean": mean, "square": square}, numbers)


def sgd(weight: Weight, step: int | None, momentum: float, nesterov: bool, lr: float) -> None:
    """With g <- g + l2 p: step <- momentum step + g, p <- p - lr step; with nesterov p <- p - lr (g + momentum step).

    step: None where there is no momentum; 0 before the first step.
    """
    if step is None:
        _run(_descent, weight, {}, {"lr": lr})
    else:
        _run(_nesterov if nesterov else _momentum, weight, {"step": step}, {"lr": lr, "momentum": momentum})


def bop(weight: Weight, mean: int, gamma: float, threshold: float) -> None:
    """Bop (Helwegen et al. 2019, arXiv 1906.02107): mean <- mean + gamma (g - mean); p flips where it says so (optim/bop.py)."""
    _run(_bop, weight, {"mean": mean}, {"gamma": gamma, "threshold": threshold})


def _adam(e: Element, p: Value, g: Value) -> Value:
    mean, square = e.load("mean"), e.load("square")
    m = mean + e["share"] * (g - mean)
    v = e["keep"] * square + e["rest"] * g * g
    e.store("mean", m)
    e.store("square", v)
    return p - e["shrink"] * p - e["lr"] * m / (v.of("sqrt") * e["root"] + e["eps"])


def _descent(e: Element, p: Value, g: Value) -> Value:
    return p - e["lr"] * g


def _momentum(e: Element, p: Value, g: Value) -> Value:
    step = e["momentum"] * e.load("step") + g
    e.store("step", step)
    return p - e["lr"] * step


def _nesterov(e: Element, p: Value, g: Value) -> Value:
    step = e["momentum"] * e.load("step") + g
    e.store("step", step)
    return p - e["lr"] * (g + e["momentum"] * step)


def _bop(e: Element, p: Value, g: Value) -> Value:
    mean = e.load("mean")
    difference = g - mean
    is_small = e["gamma"].is_("olt", 0.5)  # as torch's lerp: exact at both ends
    mean = is_small.choose(mean + e["gamma"] * difference, g - difference * (g.constant(1) - e["gamma"]))
    e.store("mean", mean)
    agreement = p * mean
    flips = agreement.is_("oge", e["threshold"]) & agreement.is_("ogt", 0.0)
    return flips.choose(p * -1.0, p)


def _run(formula: Formula, weight: Weight, state: dict[str, int], numbers: dict[str, float]) -> None:
    others = {"signs": weight.signs, "marks": weight.marks}
    arrays = {"p": weight.p, "g": weight.g, **state, **{name: at for name, at in others.items() if at is not None}}
    constants = {**numbers, "l2": weight.l2, "bound": weight.bound, "least": -weight.bound}
    kernel = _kernel(formula, tuple(arrays), tuple(constants))
    elements.run(kernel, weight.size, tuple(arrays.values()), tuple(constants.values()), weight.threads)


@functools.cache
def _kernel(formula: Formula, arrays: tuple[str, ...], constants: tuple[str, ...]) -> ElementKernel:
    """What all steps share, around a formula."""

    def step(e: Element) -> None:
        before = e.load("p")
        g = e.load("g") + e["l2"] * before
        marks = e.load("marks", "i8") if "marks" in arrays else None
        if marks is not None:
            # Not `choose`: with masks of AVX-512 the gradient is loaded under one, once the marks are there; two waits for the
            # memory, one behind the other, took a third of the kernel's time.
            free = marks & FREE
            g = g.bits_and((free.constant(0) - free).to("i32"))
        after = formula(e, before, g)
        after = after.is_("ogt", e["bound"]).choose(e["bound"], after)
        after = after.is_("olt", e["least"]).choose(e["least"], after)
        if marks is not None:
            after = (marks & FREE).is_("ne", 0).choose(after, before)
        e.store("p", after)
        if "signs" in arrays:
            signs = elements.signs(after)
            if marks is not None:
                signs = (marks & CONNECTED).is_("ne", 0).choose(signs, signs.constant(0))
            e.store("signs", signs)

    return ElementKernel(step, arrays, constants)
