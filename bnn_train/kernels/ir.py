"""Kernels as LLVM's intermediate code, written out as text: lines, loops, and the loops that every product has around its tile.

A kernel is one function of (x, rows, plan, limits, out). A tile is R rows against G groups of outputs: each vector of weights that
is loaded meets R rows, each word of x meets the outputs of G vectors.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

# What `plan` points at: int64 each, in this order. A row of x is full_words words, and one more where tail is 1: it is loaded at
# byte tail_at, so that it ends with the row, and shifted right by tail_shift bits.
PLAN = ("weight", "groups", "group_bytes", "row_bytes", "out_bytes", "full_words", "tail", "tail_at", "tail_shift", "chunk", "bias")


class Kernel(Protocol):
    """A tile's size and its code: tile(text, plan, row, group, rows, groups)."""

    @property
    def compare(self) -> bool: ...
    @property
    def rows(self) -> int: ...
    @property
    def groups(self) -> int: ...
    @property
    def declarations(self) -> str: ...
    def tile(self, text: "Text", plan: dict[str, str], row: str, group: str, rows: int, groups: int) -> None: ...


class Text:
    """Lines of code, with loops. Names of values are numbered."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names = 0
        self.block = "entry"

    def __call__(self, value: str) -> str:
        """A new name for a value."""
        self.names += 1
        self.lines.append(f"  %v{self.names} = {value}")
        return f"%v{self.names}"

    def do(self, instruction: str) -> None:
        self.lines.append(f"  {instruction}")

    def at(self, base: str, offset: str | int) -> str:
        """The address of a byte."""
        return self(f"getelementptr i8, ptr {base}, i64 {offset}")

    def times(self, left: str | int, right: str | int) -> str:
        return self(f"mul i64 {left}, {right}")

    @contextmanager
    def loop(self, start: str, stop: str, step: str | int, carried: list[str], kind: str = "") -> Iterator[tuple[str, list[str]]]:
        """While index + step <= stop. Gives the index and the names of the carried vectors, which the body sets anew in place;
        after the loop they are their last values, and `self.index` is the first index that was left over."""
        self.names += 1
        head, body, done = (f"{part}{self.names}" for part in ("head", "body", "done"))
        before = self.block
        self.do(f"br label %{head}")
        self.lines.append(f"{head}:")
        index, names = f"%i{self.names}", [f"%c{self.names}_{number}" for number in range(len(carried))]
        place = len(self.lines)
        after = self(f"add i64 {index}, {step}")
        self.do(f"br i1 {self(f'icmp ule i64 {after}, {stop}')}, label %{body}, label %{done}")
        self.lines.append(f"{body}:")
        self.block, values = body, list(names)
        yield index, values
        phis = [f"  {index} = phi i64 [{start}, %{before}], [{after}, %{self.block}]"]
        for name, first, last in zip(names, carried, values, strict=True):
            phis.append(f"  {name} = phi {kind} [{first}, %{before}], [{last}, %{self.block}]")
        self.lines[place:place] = phis
        self.do(f"br label %{head}")
        self.lines.append(f"{done}:")
        self.block, self.index, values[:] = done, index, names


@contextmanager
def span(text: Text, total: str, size: str | int, carried: list[str], kind: str) -> Iterator[tuple[str, str, list[str]]]:
    """Loop over parts of at most `size` of `total`: start and end of each, and the carried vectors."""
    last = text(f"add i64 {text(f'sub i64 {total}, 1')}, {size}")
    with text.loop("0", last, size, carried, kind) as (start, values):
        end = text(f"add i64 {start}, {size}")
        yield start, text(f"select i1 {text(f'icmp ult i64 {end}, {total}')}, i64 {end}, i64 {total}"), values


def module(kernel: Kernel) -> str:
    """A module with the one function `kernel`."""
    text = Text()
    plan = load_plan(text)
    # Rows go in chunks that stay in the first-level cache, all outputs against each chunk.
    with span(text, "%rows", plan["chunk"], [], "") as (start, end, _):
        tiles(text, plan["groups"], start, end, (kernel.rows, kernel.groups), functools.partial(kernel.tile, text, plan))
    return function(text, kernel.declarations)


Tile = Callable[[str, str, int, int], None]


def tiles(text: Text, all_groups: str, start: str, end: str, size: tuple[int, int], tile: Tile) -> None:
    """tile(row, group, rows, groups) for rows from start to end against all groups: by `size`, then what is left one by one."""
    group = "0"
    for groups in dict.fromkeys((size[1], 1)):
        with text.loop(group, all_groups, groups, []) as (group_index, _):
            row = start
            for rows in dict.fromkeys((size[0], 1)):
                with text.loop(row, end, rows, []) as (row_index, _):
                    tile(row_index, group_index, rows, groups)
                row = text.index
        group = text.index


def load_plan(text: Text, names: tuple[str, ...] = PLAN, pointers: tuple[str, ...] = ("weight", "bias")) -> dict[str, str]:
    plan = {name: text(f"load i64, ptr {text.at('%plan', 8 * number)}") for number, name in enumerate(names)}
    return plan | {name: text(f"inttoptr i64 {plan[name]} to ptr") for name in pointers}


def function(text: Text, declarations: str, more: tuple[str, ...] = ()) -> str:
    """more: names of further pointers that it takes."""
    taken = ["ptr noalias %x", "i64 %rows", *(f"ptr noalias %{name}" for name in ("plan", "limits", "out", *more))]
    head = f"define void @kernel({', '.join(taken)}) {{\nentry:\n"
    return head + "\n".join(text.lines) + f"\n  ret void\n}}\n{declarations}\n"


def splat(text: Text, vector: str, word: str) -> str:
    """A word in every lane."""
    lanes, kind = vector[1:-1].split(" x ")
    one = text(f"insertelement {vector} poison, {kind} {word}, i32 0")
    return text(f"shufflevector {vector} {one}, {vector} poison, <{lanes} x i32> zeroinitializer")


def backwards(text: Text, vector: str, value: str) -> str:
    """Each 8 lanes in the opposite order."""
    lanes = int(vector[1:-1].split(" x ")[0])
    order = ", ".join(f"i32 {lane ^ 7}" for lane in range(lanes))
    return text(f"shufflevector {vector} {value}, {vector} poison, <{lanes} x i32> <{order}>")


def write(text: Text, plan: dict[str, str], sums: str, lanes: int, row: str, group: str, comparison: str | None) -> None:
    """A vector of int32 sums of one row and group, lanes backwards, or the bits of their comparison with the limits."""
    vector = f"<{lanes} x i32>"
    out, offset = text.at("%out", text.times(row, plan["out_bytes"])), text.times(group, 4 * lanes)
    if comparison is None:
        text.do(f"store {vector} {backwards(text, vector, sums)}, ptr {text.at(out, offset)}, align 4")
        return
    limits = backwards(text, vector, text(f"load {vector}, ptr {text.at('%limits', offset)}, align 4"))
    bits = text(f"bitcast <{lanes} x i1> {text(f'icmp {comparison} {vector} {sums}, {limits}')} to i{lanes}")
    text.do(f"store i{lanes} {bits}, ptr {text.at(out, text.times(group, lanes // 8))}, align 1")


def row_loads(text: Text, plan: dict[str, str], bytes_: int) -> tuple[Callable[[str, str], str], Callable[[str], str]]:
    """How a word of that many bytes of a row is loaded: a full one by base and index, the tail by base."""
    kind = f"i{8 * bytes_}"

    def full(base: str, word: str) -> str:
        return text(f"load {kind}, ptr {text.at(base, text.times(word, bytes_))}, align 1")

    def tail(base: str) -> str:
        value, shift = text(f"load {kind}, ptr {text.at(base, plan['tail_at'])}, align 1"), plan["tail_shift"]
        return text(f"lshr {kind} {value}, {shift if kind == 'i64' else text(f'trunc i64 {shift} to {kind}')}")

    return full, tail


@dataclass(frozen=True)
class Scattered:
    """Rows whose words lie apart, as those under a kernel of a convolution do: word w at byte offsets[w] from the row's beginning.

    ragged: of each word only the bits of masks[w] belong to the row.
    """

    ragged: bool

    def addresses(self, text: Text, plan: dict[str, str], x: list[str], word: str) -> list[str]:
        offset = text(f"load i64, ptr {text.at(plan['offsets'], text.times(word, 8))}, align 8")
        return [text.at(base, offset) for base in x]

    def vectors(self, text: Text, plan: dict[str, str], x: list[str], word: str, kind: str) -> list[str]:
        """A word of each row at x in every lane."""
        number = kind[1:-1].split(" x ")[1]
        found = [splat(text, kind, text(f"load {number}, ptr {at}, align 1")) for at in self.addresses(text, plan, x, word)]
        if not self.ragged:
            return found
        mask = splat(text, kind, text(f"load i64, ptr {text.at(plan['masks'], text.times(word, 8))}, align 8"))
        return [text(f"and {kind} {vector}, {mask}") for vector in found]
