"""The product of real numbers with signs, float32, by tables: four terms for one look-up and one addition.

out[r, i] = sum over k of a[r, k] * b[k, i], b -1 or +1. The 16 sums that +-a[r, k] +- ... +- a[r, k + 3] can have are a vector, in
which four signs of a column choose one: 16 columns by one permutation and one addition, where multiplying takes four additions.
With vectors of 8 numbers the table holds the 8 sums in which the last term is positive, and the last sign turns them around.
"""

from dataclasses import dataclass

from bnn_train.kernels.ir import Text, span, splat

TERMS = 4
BYTES = 64  # of a table's place in memory
GROUPS = 64  # of four terms at a time: their tables stay in the first-level cache
ROWS = (8, 4, 1)
SCRATCH = GROUPS * ROWS[0] * BYTES


@dataclass(frozen=True)
class Tables:
    """lanes: 16 with AVX-512, 8 with AVX2."""

    lanes: int

    @property
    def is_half(self) -> bool:
        return self.lanes < 1 << TERMS

    @property
    def sides(self) -> tuple[int, ...]:
        """How many vectors of columns meet a table once it is loaded: as many as there are registers for their sums."""
        return (2, 1) if self.lanes == 16 else (1,)

    @property
    def numbers(self) -> str:
        return f"<{self.lanes} x float>"

    @property
    def words(self) -> str:
        return f"<{self.lanes} x i32>"

    @property
    def instruction(self) -> str:
        return "llvm.x86.avx512.permvar.sf.512" if self.lanes == 16 else "llvm.x86.avx2.permps"

    @property
    def declaration(self) -> str:
        return f"declare {self.numbers} @{self.instruction}({self.numbers}, {self.words})\n"

    def make(self, text: Text, terms: list[str], to: str) -> None:
        """Writes the table of the terms at four addresses: in lane b term j has a plus where bit j of b is 1, else a minus."""
        total = ""
        for j, address in enumerate(terms):
            one = splat(text, self.numbers, text(f"load float, ptr {address}, align 4"))
            is_plus = [bool(lane >> j & 1) or (self.is_half and j == TERMS - 1) for lane in range(self.lanes)]
            term = text(f"fmul {self.numbers} {one}, <{', '.join(f'float {1.0 if plus else -1.0}' for plus in is_plus)}>")
            total = text(f"fadd {self.numbers} {total}, {term}") if total else term
        text.do(f"store {self.numbers} {total}, ptr {to}, align 32")

    def load(self, text: Text, address: str) -> str:
        return text(f"load {self.numbers}, ptr {address}, align 32")

    def chosen(self, text: Text, address: str) -> tuple[str, str]:
        """Of fours at an address the lanes that they choose, and the bits that turn what is found there around, "" where none
        do."""
        four = text(f"load <{self.lanes} x i8>, ptr {address}, align 1")
        lane = text(f"zext <{self.lanes} x i8> {four} to {self.words}")
        if not self.is_half:
            return lane, ""
        moved = text(f"shl {self.words} {lane}, {self._all(28)}")
        return lane, text(f"and {self.words} {moved}, {self._all(-(2**31))}")

    def plus(self, text: Text, total: str, table: str, chosen: tuple[str, str]) -> str:
        lane, turn = chosen
        found = text(f"call {self.numbers} @{self.instruction}({self.numbers} {table}, {self.words} {lane})")
        if turn:
            bits = text(f"xor {self.words} {text(f'bitcast {self.numbers} {found} to {self.words}')}, {turn}")
            found = text(f"bitcast {self.words} {bits} to {self.numbers}")
        return text(f"fadd {self.numbers} {total}, {found}")

    def zeros(self, text: Text, to: str) -> None:
        text.do(f"store {self.numbers} zeroinitializer, ptr {to}, align 32")

    def _all(self, number: int) -> str:
        return f"<{', '.join([f'i32 {number}'] * self.lanes)}>"


def numbers_of(text: Text, names: tuple[str, ...], pointers: tuple[str, ...]) -> dict[str, str]:
    """What `plan` points at: int64 each, of which some are addresses."""
    plan = {name: text(f"load i64, ptr {text.at('%plan', 8 * i)}") for i, name in enumerate(names)}
    return plan | {name: text(f"inttoptr i64 {plan[name]} to ptr") for name in pointers}


def kernel(text: Text, tables: Tables) -> str:
    head = "define void @kernel(ptr noalias readonly %plan, i64 %first, i64 %last, ptr noalias %scratch) {\nentry:\n"
    return head + "\n".join(text.lines) + f"\n  ret void\n}}\n{tables.declaration}"


@dataclass(frozen=True)
class TableKernel:
    """A function of (plan, first, last, scratch): rows `first` to `last` - 1 of out. `plan`: of a the address, the bytes from row
    to row and from term to term; groups of four terms; the signs as fours, uint8 (groups, columns); out; columns, a multiple of
    two vectors. scratch: SCRATCH bytes of its own, where a line of the cache begins."""

    lanes: int
    takes = 4
    PLAN = ("a", "row", "term", "groups", "four", "out", "columns")

    def module(self) -> str:
        text, tables = Text(), Tables(self.lanes)
        plan = numbers_of(text, self.PLAN, ("a", "four", "out"))
        start = "%first"
        for rows in ROWS:
            with text.loop(start, "%last", rows, []) as (row, _):
                self.tile(text, tables, plan, row, rows)
            start = text.index
        return kernel(text, tables)

    def tile(self, text: Text, tables: Tables, plan: dict[str, str], row: str, rows: int) -> None:
        line, side = text.times(plan["columns"], 4), tables.sides[0]
        a, out = text.at(plan["a"], text.times(row, plan["row"])), text.at(plan["out"], text.times(row, line))
        with span(text, plan["groups"], GROUPS, [], "") as (start, end, _):
            with text.loop(start, end, 1, []) as (group, _):
                terms = text.at(a, text.times(text.times(group, TERMS), plan["term"]))
                into = text.at("%scratch", text.times(text(f"sub i64 {group}, {start}"), BYTES * rows))
                for i in range(rows):
                    first = text.at(terms, text.times(plan["row"], i))
                    tables.make(text, [text.at(first, text.times(plan["term"], j)) for j in range(TERMS)], text.at(into, BYTES * i))
            is_first = text(f"icmp eq i64 {start}, 0")
            with text.loop("0", plan["columns"], self.lanes * side, []) as (column, _):
                places = [
                    text.at(text.at(out, text.times(line, i)), text.times(text(f"add i64 {column}, {self.lanes * j}"), 4))
                    for i in range(rows)
                    for j in range(side)
                ]
                # Each block of groups is added up by itself: the more a sum runs over one by one, the more digits it loses.
                zeros = ["zeroinitializer"] * len(places)
                with text.loop(start, end, 1, zeros, tables.numbers) as (group, sums):
                    at = text.at(plan["four"], text(f"add i64 {text.times(group, plan['columns'])}, {column}"))
                    chosen = [tables.chosen(text, text.at(at, self.lanes * j)) for j in range(side)]
                    made = text.at("%scratch", text.times(text(f"sub i64 {group}, {start}"), BYTES * rows))
                    for i in range(rows):
                        table = tables.load(text, text.at(made, BYTES * i))
                        for j in range(side):
                            sums[i * side + j] = tables.plus(text, sums[i * side + j], table, chosen[j])
                for place, value in zip(places, sums, strict=True):
                    there = text(f"load {tables.numbers}, ptr {place}, align 4")
                    before = text(f"select i1 {is_first}, {tables.numbers} zeroinitializer, {tables.numbers} {there}")
                    total = text(f"fadd {tables.numbers} {value}, {before}")
                    text.do(f"store {tables.numbers} {total}, ptr {place}, align 4")
