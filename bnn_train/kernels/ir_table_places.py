"""The gradients of a convolution of signs, float32, by tables (ir_tables.py). Images lie as (N, height, width, channels).

Of the input: out[p, c] = sum over taps t and outputs o of g[p + t, o] * w[t, o, c], with the filters turned around: four
neighbouring outputs of g make a table, into which all taps and channels look. Of the filters: out[o, t, c] = sum over images n
and places p of g[n, p, o] * x[n, p + t, c]: four images make a table.
"""

from dataclasses import dataclass

from bnn_train.kernels.ir import Text
from bnn_train.kernels.ir_tables import BYTES, ROWS, TERMS, Tables, kernel, numbers_of


@dataclass(frozen=True)
class InputKernel:
    """A function of (plan, first, last, scratch): images `first` to `last` - 1. `plan`: g, height, width, groups of four outputs;
    the zeros above and left of g; bytes of the tables of a pixel and of a padded line; `ring` lines have their tables at a time;
    segments of taps without gaps, int64: line, and bytes from the first tap; run: tables of a segment; fours, uint8 (segments *
    run, channels); out, its rows, columns, channels. scratch: zeros, a ring's tables. (Fewer outputs at a time, so that their
    tables stay in the first-level cache, took longer: the processor's permutations are what limits it.)"""

    lanes: int
    takes = 4
    PLAN = (
        "g", "height", "width", "groups", "above", "left", "pixel", "line", "ring", "segments", "count", "run", "four", "out",
        "rows", "columns", "channels", )  # fmt: skip

    def module(self) -> str:
        text, tables = Text(), Tables(self.lanes)
        plan = numbers_of(text, self.PLAN, ("g", "segments", "four", "out"))
        row_bytes = text.times(text.times(plan["columns"], plan["channels"]), 4)
        before = text(f"sub i64 {plan['ring']}, 1")
        with text.loop("%first", "%last", 1, []) as (image, _):
            out = text.at(plan["out"], text.times(text.times(image, plan["rows"]), row_bytes))
            size = text.times(text.times(plan["height"], plan["width"]), text.times(plan["groups"], 4 * TERMS))
            g = text.at(plan["g"], text.times(image, size))
            with text.loop("0", before, 1, []) as (line, _):
                self.make(text, tables, plan, g, line)
            with text.loop("0", plan["rows"], 1, []) as (row, _):
                self.make(text, tables, plan, g, text(f"add i64 {row}, {before}"))
                self.row(text, tables, plan, row, text.at(out, text.times(row, row_bytes)))
        return kernel(text, tables)

    def make(self, text: Text, tables: Tables, plan: dict[str, str], g: str, line: str) -> None:
        """The tables of a padded line of g; zeros where it is outside the image."""
        source = text(f"sub i64 {line}, {plan['above']}")
        inside = text(f"icmp ult i64 {source}, {plan['height']}")
        here = text.times(text(f"urem i64 {line}, {plan['ring']}"), plan["line"])
        to = text.at("%scratch", text(f"add i64 {here}, {text.times(plan['left'], plan['pixel'])}"))
        count = text.times(plan["width"], plan["groups"])
        source = text.at(g, text.times(text.times(source, count), 4 * TERMS))
        with text.loop("0", text(f"select i1 {inside}, i64 {count}, i64 0"), 1, []) as (group, _):
            first = text.at(source, text.times(group, 4 * TERMS))
            tables.make(text, [text.at(first, 4 * j) for j in range(TERMS)], text.at(to, text.times(group, BYTES)))
        with text.loop("0", text(f"select i1 {inside}, i64 0, i64 {count}"), 1, []) as (group, _):
            tables.zeros(text, text.at(to, text.times(group, BYTES)))

    def row(self, text: Text, tables: Tables, plan: dict[str, str], row: str, out: str) -> None:
        """A row of out."""
        pixel, channel = text.times(plan["channels"], 4), "0"
        for side in (2, 1):
            with text.loop(channel, plan["channels"], self.lanes * side, []) as (first, _):
                start = "0"
                for size in ROWS if self.lanes == 16 else ROWS[1:]:  # as many sums as there are registers
                    with text.loop(start, plan["columns"], size, []) as (column, _):
                        to = text.at(text.at(out, text.times(column, pixel)), text.times(first, 4))
                        places = [
                            text.at(text.at(to, text.times(pixel, i)), 4 * self.lanes * j) for i in range(size) for j in range(side)
                        ]
                        for place, value in zip(
                            places, self.sums(text, tables, plan, (row, column, first), size, side), strict=True
                        ):
                            text.do(f"store {tables.numbers} {value}, ptr {place}, align 4")
                    start = text.index
            channel = text.index

    def sums(self, text: Text, tables: Tables, plan: dict[str, str], at: tuple[str, str, str], rows: int, side: int) -> list[str]:
        row, column, channel = at
        zeros = ["zeroinitializer"] * (rows * side)
        with text.loop("0", plan["count"], 1, zeros, tables.numbers) as (segment, totals):
            of_segment = text.at(plan["segments"], text.times(segment, 16))
            down, offset = (text(f"load i64, ptr {text.at(of_segment, 8 * i)}, align 8") for i in range(2))
            line = text(f"urem i64 {text(f'add i64 {row}, {down}')}, {plan['ring']}")
            made = text.at(text.at("%scratch", text.times(line, plan["line"])), text.times(column, plan["pixel"]))
            base, first = text.at(made, offset), text.times(segment, plan["run"])
            with text.loop("0", plan["run"], 1, list(totals), tables.numbers) as (one, sums):
                number = text.times(text(f"add i64 {first}, {one}"), plan["channels"])
                four = text.at(plan["four"], text(f"add i64 {number}, {channel}"))
                chosen = [tables.chosen(text, text.at(four, self.lanes * j)) for j in range(side)]
                here = text.at(base, text.times(one, BYTES))
                for i in range(rows):
                    table = tables.load(text, text.at(here, text.times(plan["pixel"], i)))
                    for j in range(side):
                        sums[i * side + j] = tables.plus(text, sums[i * side + j], table, chosen[j])
            totals[:] = sums
        return totals


@dataclass(frozen=True)
class FilterKernel:
    """A function of (plan, first, last, scratch): of units `first` to `last` - 1, which are tiles of ROWS outputs of a chunk of
    images. `plan`: g, bytes of its image, its height, width, outputs; x as fours, uint8 (groups, height, width, channels), bytes
    of its group, line, and channels; steps from place to place; of each line and column of the filter, int64: the first place,
    the one behind the last one, that it has in the image, and the offset of x; the filter's lines and columns; out, (chunks,
    outputs, lines, columns, channels), bytes of a chunk; tiles; groups, of a chunk; deep: lines of g at a time, whose tables fit
    into scratch."""

    lanes: int
    takes = 4
    PLAN = (
        "g", "image", "height", "width", "outputs", "four", "group", "line", "channels", "step_down", "step_right", "down", "right",
        "lines", "columns", "out", "chunk", "tiles", "groups", "each", "deep",
    )  # fmt: skip

    def module(self) -> str:
        text, tables = Text(), Tables(self.lanes)
        plan = numbers_of(text, self.PLAN, ("g", "four", "down", "right", "out"))
        rows = ROWS[0]
        with text.loop("%first", "%last", 1, []) as (unit, _):
            chunk, tile = (text(f"{operation} i64 {unit}, {plan['tiles']}") for operation in ("udiv", "urem"))
            start = text.times(chunk, plan["each"])
            end = _least(text, text(f"add i64 {start}, {plan['each']}"), plan["groups"])
            size = text.times(text.times(text.times(plan["lines"], plan["columns"]), plan["channels"]), 4)
            out = text.at(
                plan["out"], text(f"add i64 {text.times(chunk, plan['chunk'])}, {text.times(tile, text.times(size, rows))}")
            )
            g = text.at(plan["g"], text.times(tile, 4 * rows))
            with text.loop(start, end, 1, []) as (group, _):
                images = text.at(g, text.times(text.times(group, TERMS), plan["image"]))
                fours = text.at(plan["four"], text.times(group, plan["group"]))
                less_one = text(f"sub i64 {plan['deep']}, 1")
                rounded = text(f"add i64 {plan['height']}, {less_one}")
                blocks = text(f"udiv i64 {rounded}, {plan['deep']}")
                with text.loop("0", blocks, 1, []) as (block, _):
                    top = text.times(block, plan["deep"])
                    bottom = _least(text, text(f"add i64 {top}, {plan['deep']}"), plan["height"])
                    self.make(text, tables, plan, images, top, bottom)
                    self.taps(text, tables, plan, fours, (top, bottom), out, size)
        return kernel(text, tables)

    def make(self, text: Text, tables: Tables, plan: dict[str, str], images: str, top: str, bottom: str) -> None:
        first = text.times(top, plan["width"])
        count = text(f"sub i64 {text.times(bottom, plan['width'])}, {first}")
        pixel = text.times(plan["outputs"], 4)
        g = text.at(images, text.times(first, pixel))
        with text.loop("0", count, 1, []) as (place, _):
            one = text.at(g, text.times(place, pixel))
            each = [text.at(one, text.times(plan["image"], j)) for j in range(TERMS)]
            to = text.at("%scratch", text.times(place, BYTES * ROWS[0]))
            for i in range(ROWS[0]):
                tables.make(text, [text.at(address, 4 * i) for address in each], text.at(to, BYTES * i))

    def taps(
        self, text: Text, tables: Tables, plan: dict[str, str], fours: str, block: tuple[str, str], out: str, size: str
    ) -> None:
        top, bottom = block
        with text.loop("0", plan["lines"], 1, []) as (line, _):
            begin, end, down = self.range(text, plan["down"], line)
            begin = text(f"select i1 {text(f'icmp ult i64 {begin}, {top}')}, i64 {top}, i64 {begin}")
            end = _least(text, end, bottom)
            with text.loop("0", plan["columns"], 1, []) as (column, _):
                left, right, across = self.range(text, plan["right"], column)
                tap = text(f"add i64 {text.times(line, plan['columns'])}, {column}")
                of_tap = text.at(out, text.times(text.times(tap, plan["channels"]), 4))
                start = "0"
                for side in tables.sides:
                    with text.loop(start, plan["channels"], self.lanes * side, []) as (channel, _):
                        zeros = ["zeroinitializer"] * (ROWS[0] * side)
                        with text.loop(begin, end, 1, zeros, tables.numbers) as (row, totals):
                            source = text(f"add i64 {text.times(row, plan['step_down'])}, {down}")
                            x = text.at(fours, text(f"add i64 {text.times(source, plan['line'])}, {channel}"))
                            here = text.times(text(f"sub i64 {row}, {top}"), plan["width"])
                            with text.loop(left, right, 1, list(totals), tables.numbers) as (place, sums):
                                source = text(f"add i64 {text.times(place, plan['step_right'])}, {across}")
                                at = text.at(x, text.times(source, plan["channels"]))
                                chosen = [tables.chosen(text, text.at(at, self.lanes * j)) for j in range(side)]
                                made = text.at("%scratch", text.times(text(f"add i64 {here}, {place}"), BYTES * ROWS[0]))
                                for i in range(ROWS[0]):
                                    table = tables.load(text, text.at(made, BYTES * i))
                                    for j in range(side):
                                        sums[i * side + j] = tables.plus(text, sums[i * side + j], table, chosen[j])
                            totals[:] = sums
                        for i in range(ROWS[0]):
                            first = text.at(text.at(of_tap, text.times(size, i)), text.times(channel, 4))
                            for j in range(side):
                                to = text.at(first, 4 * self.lanes * j)
                                there = text(f"load {tables.numbers}, ptr {to}, align 4")
                                total = text(f"fadd {tables.numbers} {there}, {totals[i * side + j]}")
                                text.do(f"store {tables.numbers} {total}, ptr {to}, align 4")
                    start = text.index

    def range(self, text: Text, of: str, number: str) -> tuple[str, str, str]:
        at = text.at(of, text.times(number, 24))
        first, behind, offset = (text(f"load i64, ptr {text.at(at, 8 * i)}") for i in range(3))
        return first, behind, offset


def _least(text: Text, a: str, b: str) -> str:
    return text(f"select i1 {text(f'icmp ult i64 {a}, {b}')}, i64 {a}, i64 {b}")
