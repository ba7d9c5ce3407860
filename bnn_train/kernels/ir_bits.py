"""The product of packed signs as a kernel: xor, count, add, on vectors of 8 words of 64 bits, which are of 8 outputs.

LLVM turns the vector and its count into what the processor has: one instruction each with AVX-512 VPOPCNTDQ, nibbles looked up with
AVX2. Carry-save adders before the count (Harley and Seal) gained a tenth with AVX2 on rows of 256 bytes and lost as much on 98.
Weights lie as words[group][word][7 - output], so that 8 comparisons are one byte in the order of numpy.packbits.
"""

from dataclasses import dataclass

from bnn_train.kernels.ir import Scattered, Text, row_loads, splat, write

WORDS = "<8 x i64>"
LANES = 8


@dataclass(frozen=True)
class BitKernel:
    """compare: bits are written, not sums. masked: a vector of mask follows each vector of weights. planes: 8 rows are the bits
    of one row of bytes, highest first, and sum to bias - sum(2 ** p * hamming_p), compared by >= where a distance is by <=."""

    compare: bool
    masked: bool
    planes: bool = False
    lanes: int = LANES
    declarations: str = f"declare {WORDS} @llvm.ctpop.v8i64({WORDS})"

    # 8 sums in registers with any R * G = 8 take the same time within a tenth; 1 x 1 takes twice as long.
    @property
    def rows(self) -> int:
        return 1 if self.planes else 4

    @property
    def groups(self) -> int:
        return 1 if self.planes else 2

    def tile(self, text: Text, plan: dict[str, str], row: str, group: str, rows: int, groups: int) -> None:
        lines = 8 if self.planes else 1
        first = text.at("%x", text.times(row, text.times(plan["row_bytes"], lines)))
        x = [text.at(first, text.times(plan["row_bytes"], number)) for number in range(rows * lines)]
        values = self.counts(text, plan, x, group, groups, None)
        for number in range(groups):
            for index in range(rows):
                start = (number * rows + index) * lines
                at = text(f"add i64 {row}, {index}"), text(f"add i64 {group}, {number}")
                write(text, plan, self.total(text, plan, values[start : start + lines], at[1]), LANES, *at, self.comparison)

    def counts(
        self, text: Text, plan: dict[str, str], x: list[str], group: str, groups: int, scattered: Scattered | None
    ) -> list[str]:
        """Differing bits of each row at x with each group, group by group; scattered: where the words of a row are."""
        weights = text.at(plan["weight"], text.times(group, plan["group_bytes"]))
        bases = [text.at(weights, text.times(plan["group_bytes"], number)) for number in range(groups)]
        full, tail = row_loads(text, plan, 8) if scattered is None else (None, None)

        def counted(sums: list[str], word: str, vectors: list[str]) -> list[str]:
            found: list[str] = []
            for base in bases:
                at = text.at(base, text.times(word, 128 if self.masked else 64))
                weight = text(f"load {WORDS}, ptr {at}, align 8")
                mask = text(f"load {WORDS}, ptr {text.at(at, 64)}, align 8") if self.masked else None
                for one in vectors:
                    bits = text(f"xor {WORDS} {weight}, {one}")
                    bits = text(f"and {WORDS} {bits}, {mask}") if mask else bits
                    count = text(f"call {WORDS} @llvm.ctpop.v8i64({WORDS} {bits})")
                    found.append(text(f"add {WORDS} {sums[len(found)]}, {count}"))
            return found

        sums = ["zeroinitializer"] * (len(x) * groups)
        if scattered is not None:
            with text.loop("0", plan["words"], 1, sums, WORDS) as (word, values):
                values[:] = counted(values, word, scattered.vectors(text, plan, x, word, WORDS))
            return values
        assert full is not None
        assert tail is not None
        with text.loop("0", plan["full_words"], 1, sums, WORDS) as (word, values):
            values[:] = counted(values, word, [splat(text, WORDS, full(base, word)) for base in x])
        with text.loop("0", plan["tail"], 1, values, WORDS) as (_, values):  # at most once
            values[:] = counted(values, plan["full_words"], [splat(text, WORDS, tail(base)) for base in x])
        return values

    def sums(self, text: Text, plan: dict[str, str], x: list[str], group: str, groups: int, scattered: Scattered) -> list[str]:
        """The same as vectors of int32, lanes backwards."""
        return [text(f"trunc {WORDS} {value} to <8 x i32>") for value in self.counts(text, plan, x, group, groups, scattered)]

    def total(self, text: Text, plan: dict[str, str], sums: list[str], group: str) -> str:
        total = sums[0]
        for plane in sums[1:]:
            total = text(f"add {WORDS} {text(f'add {WORDS} {total}, {total}')}, {plane}")
        value = text(f"trunc {WORDS} {total} to <8 x i32>")
        if not self.planes:
            return value
        bias = text(f"load <8 x i32>, ptr {text.at(plan['bias'], text.times(group, 32))}, align 4")
        return text(f"sub <8 x i32> {bias}, {value}")

    @property
    def comparison(self) -> str | None:
        return ("sge" if self.planes else "sle") if self.compare else None
