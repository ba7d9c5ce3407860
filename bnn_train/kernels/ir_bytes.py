"""Products of bytes with signs as kernels: multiply and add four at a time in each of 8 or 16 lanes; and bytes taken apart to bits.

The instructions multiply unsigned with signed bytes. VNNI adds the four exactly; AVX2 and AVX-512BW add pairs in 16 bits first, and
64 times two times 255 fit. Weights lie as dwords[group][dword][lanes], each 8 lanes backwards.
"""

from dataclasses import dataclass

from bnn_train.kernels.ir import Text, function, load_plan, row_loads, span, splat, write

# Per level: lanes of 32 bits, then rows and groups of a tile; the best of those that fit the registers.
LEVELS = {"vnni512": (16, 4, 4), "bw512": (16, 4, 4), "vnni256": (8, 3, 4), "avx2": (8, 2, 4)}

SPAN = 64


@dataclass(frozen=True)
class ByteKernel:
    """compare: bits of sum >= limit are written, not sums. level: one of LEVELS."""

    compare: bool
    level: str

    @property
    def lanes(self) -> int:
        return LEVELS[self.level][0]

    @property
    def rows(self) -> int:
        return LEVELS[self.level][1]

    @property
    def groups(self) -> int:
        return LEVELS[self.level][2]

    @property
    def vectors(self) -> tuple[str, str, str]:
        """Of int32 sums, of sums of two products, and of bytes."""
        return f"<{self.lanes} x i32>", f"<{2 * self.lanes} x i16>", f"<{4 * self.lanes} x i8>"

    @property
    def steps(self) -> tuple[str, str]:
        """The instructions that multiply and add by twos, bytes and int16."""
        if self.level == "bw512":
            return "llvm.x86.avx512.pmaddubs.w.512", "llvm.x86.avx512.pmaddw.d.512"
        return "llvm.x86.avx2.pmadd.ub.sw", "llvm.x86.avx2.pmadd.wd"

    @property
    def declarations(self) -> str:
        sums, pairs, single = self.vectors
        if self.vnni:
            return f"declare {sums} @llvm.x86.avx512.vpdpbusd.{32 * self.lanes}({sums}, {sums}, {sums})"
        by_byte, by_pair = self.steps
        return f"declare {pairs} @{by_byte}({single}, {single})\ndeclare {sums} @{by_pair}({pairs}, {pairs})"

    @property
    def vnni(self) -> bool:
        return self.level.startswith("vnni")

    def by_fours(self, text: Text, total: str, x: str, weight: str) -> str:
        sums = self.vectors[0]
        if self.vnni:
            return text(f"call {sums} @llvm.x86.avx512.vpdpbusd.{32 * self.lanes}({sums} {total}, {sums} {x}, {sums} {weight})")
        return text(f"add {sums} {total}, {self.widened(text, self.by_twos(text, x, weight))}")

    def by_twos(self, text: Text, x: str, weight: str) -> str:
        sums, pairs, single = self.vectors
        x, weight = (text(f"bitcast {sums} {value} to {single}") for value in (x, weight))
        return text(f"call {pairs} @{self.steps[0]}({single} {x}, {single} {weight})")

    def widened(self, text: Text, value: str) -> str:
        sums, pairs, _ = self.vectors
        return text(f"call {sums} @{self.steps[1]}({pairs} {value}, {pairs} <{', '.join(['i16 1'] * 2 * self.lanes)}>)")

    def tile(self, text: Text, plan: dict[str, str], row: str, group: str, rows: int, groups: int) -> None:
        sums, pairs, _ = self.vectors
        first = text.at("%x", text.times(row, plan["row_bytes"]))
        x = [text.at(first, text.times(plan["row_bytes"], number)) for number in range(rows)]
        weights = text.at(plan["weight"], text.times(group, plan["group_bytes"]))
        bases = [text.at(weights, text.times(plan["group_bytes"], number)) for number in range(groups)]
        full, tail = row_loads(text, plan, 4)

        def products(word: str, loaded: list[str]) -> list[tuple[str, str]]:
            """Vectors of x and of weights that meet."""
            vectors = [splat(text, sums, one) for one in loaded]
            at = [text.at(base, text.times(word, 4 * self.lanes)) for base in bases]
            weights = [text(f"load {sums}, ptr {address}, align 4") for address in at]
            return [(one, weight) for weight in weights for one in vectors]

        zeros = ["zeroinitializer"] * (rows * groups)
        if self.vnni:
            with text.loop("0", plan["full_words"], 1, zeros, sums) as (word, totals):
                met = products(word, [full(base, word) for base in x])
                totals[:] = [self.by_fours(text, total, *pair) for total, pair in zip(totals, met, strict=True)]
        else:
            with span(text, plan["full_words"], SPAN, zeros, sums) as (start, end, totals):
                with text.loop(start, end, 1, zeros, pairs) as (word, values):
                    met = products(word, [full(base, word) for base in x])
                    # Each product is added at once: LLVM keeps the order, and eight products at a time spill registers.
                    values[:] = [
                        text(f"add {pairs} {value}, {self.by_twos(text, *pair)}") for value, pair in zip(values, met, strict=True)
                    ]
                fours = [self.widened(text, value) for value in values]
                totals[:] = [text(f"add {sums} {total}, {four}") for total, four in zip(totals, fours, strict=True)]
        with text.loop("0", plan["tail"], 1, totals, sums) as (_, totals):  # at most once
            met = products(plan["full_words"], [tail(base) for base in x])
            totals[:] = [self.by_fours(text, total, *pair) for total, pair in zip(totals, met, strict=True)]
        for number in range(groups):
            for index in range(rows):
                at = text(f"add i64 {row}, {index}"), text(f"add i64 {group}, {number}")
                write(text, plan, totals[number * rows + index], self.lanes, *at, "sge" if self.compare else None)


def planes_module() -> str:
    """A module whose kernel takes each row of bytes apart into 8 rows of bits, highest first: byte k is bit k, from the lowest on.

    Of the plan: row_bytes, out_bytes of the 8 together, full_words and tail of 64 bytes each. limits are not looked at.
    """
    text, block, signs = Text(), "<64 x i8>", "<64 x i1>"
    plan = load_plan(text)
    line = text(f"lshr i64 {plan['out_bytes']}, 3")

    def apart(source: str, out: str, word: str, shift: str | None) -> None:
        value = text(f"load {block}, ptr {source}, align 1")
        for bit in range(8):
            bits = text(f"bitcast {signs} {text(f'icmp slt {block} {value}, zeroinitializer')} to i64")
            bits = text(f"lshr i64 {bits}, {shift}") if shift else bits
            text.do(f"store i64 {bits}, ptr {text.at(text.at(out, text.times(line, bit)), text.times(word, 8))}, align 8")
            value = text(f"add {block} {value}, {value}")

    with text.loop("0", "%rows", 1, []) as (row, _):
        source, out = text.at("%x", text.times(row, plan["row_bytes"])), text.at("%out", text.times(row, plan["out_bytes"]))
        with text.loop("0", plan["full_words"], 1, []) as (word, _):
            apart(text.at(source, text.times(word, 64)), out, word, None)
        with text.loop("0", plan["tail"], 1, []) as _:
            apart(text.at(source, plan["tail_at"]), out, plan["full_words"], plan["tail_shift"])
    return function(text, "")
