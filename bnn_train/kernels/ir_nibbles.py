"""The product of packed signs as a kernel for processors that count bits slowly: 4 bits of 32 or 64 weights are looked up at once.

4 bits of a row choose one of 16 tables in a register, in which 4 bits of an output's weights find how many differ: two look-ups and
two adds of bytes for 8 bits, where xor, shift, two masks, two look-ups and three adds stood. Against ir_bits.py on the same
processor (Zen 5 kept to AVX2): 2048 x 2048 at batch 256 1.31 ms and 2.45; 4096 places of a convolution of 576 inputs and 64 outputs
0.19 and 0.35; a single row is level. With AVX-512BW alone 0.73 and 1.34.
Weights lie as nibbles[group][byte of the row][high, low][lanes], a byte each, each 8 lanes backwards.
"""

from dataclasses import dataclass

from bnn_train.kernels.ir import Scattered, Text, span, write

MOST_BYTES = (2**16 - 1) // 8  # of a row: sums are of 16 bits
SPAN = 31  # bytes of a row, 8 differing bits each at most, that a byte can count


@dataclass(frozen=True)
class NibbleKernel:
    """compare: bits are written, not sums. lanes: 32 (AVX2) or 64 (AVX-512BW)."""

    compare: bool
    lanes: int

    @property
    def rows(self) -> int:
        return 4

    @property
    def groups(self) -> int:
        return 2 if self.lanes == 32 else 4

    @property
    def look_up(self) -> str:
        return "llvm.x86.avx2.pshuf.b" if self.lanes == 32 else "llvm.x86.avx512.pshuf.b.512"

    @property
    def declarations(self) -> str:
        tables = [", ".join(f"i8 {(a ^ b).bit_count()}" for b in range(16)) for a in range(16)]
        rows, lanes = ", ".join(f"[16 x i8] [{table}]" for table in tables), f"<{self.lanes} x i8>"
        return f"@tables = private constant [16 x [16 x i8]] [{rows}], align 16\ndeclare {lanes} @{self.look_up}({lanes}, {lanes})"

    def tile(self, text: Text, plan: dict[str, str], row: str, group: str, rows: int, groups: int) -> None:
        first = text.at("%x", text.times(row, plan["row_bytes"]))
        x = [text.at(first, text.times(plan["row_bytes"], number)) for number in range(rows)]
        sums = self.sums(text, plan, x, group, groups, None)
        for number in range(groups):
            for index in range(rows):
                place_of = text(f"add i64 {row}, {index}"), text(f"add i64 {group}, {number}")
                write(text, plan, sums[number * rows + index], self.lanes, *place_of, "sle" if self.compare else None)

    def sums(
        self, text: Text, plan: dict[str, str], x: list[str], group: str, groups: int, scattered: Scattered | None
    ) -> list[str]:
        """Differing bits of each row at x with each group, by group, int32, backwards; scattered: where its bytes are."""
        lanes, counts, wide, rows = self.lanes, f"<{self.lanes} x i8>", f"<{self.lanes} x i16>", len(x)
        repeated = ", ".join(f"i32 {lane % 16}" for lane in range(lanes))
        weights = text.at(plan["weight"], text.times(group, plan["group_bytes"]))
        bases = [text.at(weights, text.times(plan["group_bytes"], number)) for number in range(groups)]

        def tables(address: str) -> list[str]:
            """Of the high and the low 4 bits of a byte of a row."""
            value = text(f"zext i8 {text(f'load i8, ptr {address}')} to i64")
            found = []
            for offset in (text(f"and i64 {value}, 240"), text.times(text(f"and i64 {value}, 15"), 16)):
                table = text(f"load <16 x i8>, ptr {text.at('@tables', offset)}, align 16")
                found.append(text(f"shufflevector <16 x i8> {table}, <16 x i8> poison, <{lanes} x i32> <{repeated}>"))
            return found

        zeros = ["zeroinitializer"] * (rows * groups)
        with span(text, plan["full_words" if scattered is None else "words"], SPAN, zeros, wide) as (start, end, totals):
            with text.loop(start, end, 1, zeros, counts) as (byte, values):
                at = [text.at(base, text.times(byte, 2 * lanes)) for base in bases]
                pairs = [[text(f"load {counts}, ptr {text.at(one, half * lanes)}, align 8") for half in range(2)] for one in at]
                bytes_ = [text.at(base, byte) for base in x] if scattered is None else scattered.addresses(text, plan, x, byte)
                for index, address in enumerate(bytes_):  # one row's tables at a time: LLVM keeps the order, and registers are few
                    for half, table in enumerate(tables(address)):
                        for number, pair in enumerate(pairs):
                            differ = text(f"call {counts} @{self.look_up}({counts} {table}, {counts} {pair[half]})")
                            place = number * rows + index
                            values[place] = text(f"add {counts} {values[place]}, {differ}")
            more = [text(f"zext {counts} {value} to {wide}") for value in values]
            totals[:] = [text(f"add {wide} {total}, {value}") for total, value in zip(totals, more, strict=True)]
        return [text(f"zext {wide} {total} to <{lanes} x i32>") for total in totals]
