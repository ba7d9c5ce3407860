"""Which operations one kernel computes together (deploy/direct.py): a convolution and what follows it, up to the next signs."""

from collections.abc import Sequence
from typing import NamedTuple

from bnn_train.deploy.packed import Op, Packed, Value

EACH = ("affine", "relu", "prelu", "clamp")  # functions of each number


class Chain(NamedTuple):
    """Numbers of operations, None where there is none of that kind. They follow each other in this order; nothing else takes what
    is between them, but for the numbers that are signed at last, which may be kept."""

    normalise: int | None
    product: int
    affine: int | None
    add: int | None
    pool: int | None
    sign: int | None
    keeps_numbers: bool
    multiply: int | None = None  # by a number for each image and channel, before the addition
    each: tuple[int, ...] = ()  # functions of each number, behind it

    @property
    def ops(self) -> tuple[int, ...]:
        numbers = (self.normalise, self.product, self.affine, self.multiply, self.add, *self.each, self.pool, self.sign)
        return tuple(i for i in numbers if i is not None)

    @property
    def last_number(self) -> int:
        """The operation that makes the numbers which are kept or signed."""
        return next(i for i in (*self.each[::-1], self.add, self.multiply, self.affine, self.product) if i is not None)

    @property
    def place(self) -> int:
        """The operation where the chain stands among others, so that what it multiplies by and adds is there."""
        return next(i for i in (self.add, self.multiply, self.product) if i is not None)

    @property
    def outputs(self) -> tuple[int, ...]:
        """Values: numbers, bits."""
        return (*([self.last_number + 1] if self.keeps_numbers else []), *([] if self.sign is None else [self.sign + 1]))


def chains(packed: Packed, known: Sequence[Value], takers: Sequence[Sequence[int]]) -> list[Chain]:
    """takers: of each value the operations that take it."""
    found: list[Chain] = []
    for i in range(len(packed.ops)):
        chain = _chain(packed.ops, known, takers, i, {i for chain in found for i in (chain.multiply, chain.add)})
        if chain is not None:
            found.append(chain)
    return found


def _chain(
    ops: Sequence[Op], known: Sequence[Value], takers: Sequence[Sequence[int]], product: int, added: set[int | None]
) -> Chain | None:
    """added: additions and multiplications that another chain has."""
    op = ops[product]
    if op.kind != "conv2d" or op.settings["groups"] != 1:
        return None

    def only(value: int, *kinds: str) -> int | None:
        """The operation that alone takes a value, if it is of these kinds."""
        by = set(takers[value])
        return next(iter(by)) if len(by) == 1 and ops[next(iter(by))].kind in kinds else None

    normalise = None
    x = op.inputs[0]
    if known[x].kind == "real":
        if ops[x - 1].kind == "normalise" and only(x, "conv2d") is not None:
            normalise = x - 1
        elif known[x].shape[0] % 8 and known[x].shape[1:] != (1, 1):
            return None
    elif known[x].kind != "bits" or known[product + 1].kind != "whole":
        return None
    affine = only(product + 1, "affine")
    at = (product if affine is None else affine) + 1
    multiply = only(at, "multiply")
    if multiply in added or (multiply is not None and not _is_gate(ops[multiply], known, at)):
        multiply = None
    at = at if multiply is None else multiply + 1
    add = only(at, "add")
    if add in added or (add is not None and not _fits(ops[add], known, at)):
        add = None
    at = at if add is None else add + 1
    each: list[int] = []
    while (function := only(at, *EACH)) is not None:
        each.append(function)
        at = function + 1
    before, more = (normalise, product, affine, add), (multiply, tuple(each))
    pool = only(at, "max_pool")
    if pool is not None:
        sign = only(pool + 1, "sign")
        if sign is not None:
            return Chain(*before, pool, sign, False, *more)
        return Chain(*before, None, None, True, *more)
    signs = [i for i in takers[at] if ops[i].kind == "sign"]
    is_whole = known[at].kind == "whole"
    if not signs or (is_whole and len(takers[at]) > 1):  # sums and their signs are two ends of a kernel
        return Chain(*before, None, None, True, *more)
    return Chain(*before, None, signs[0], len(takers[at]) > 1, *more)


def _fits(op: Op, known: Sequence[Value], value: int) -> bool:
    """Whether what is added is another value of the same shape, so many channels that vectors of 8 hold them."""
    other = op.inputs[1] if op.inputs[0] == value else op.inputs[0]
    numbers = known[other].kind in ("real", "whole") and known[other].shape == known[value].shape
    return other != value and numbers and known[value].shape[0] % 8 == 0


def _is_gate(op: Op, known: Sequence[Value], value: int) -> bool:
    """Whether what is multiplied is a number for each image and channel, so many channels that vectors of 8 hold them."""
    other = op.inputs[1] if op.inputs[0] == value else op.inputs[0]
    channels = known[value].shape[0]
    return other != value and known[other] == Value("real", (channels, 1, 1)) and channels % 8 == 0
