"""A convolution as a kernel: images are laid into a scratch with their padding around them, and rows are read where they lie there.

The kernel is one function of (x, images, plan, scratch, out, other, bits). So many images at a time that they stay in the
first-level cache are laid into the scratch; the words under each place, and the limits of each place, are found by tables of the
plan. Copies of patches, and a call for each region of a border, took two thirds of a network's time.
"""

from dataclasses import dataclass
from typing import Protocol

from bnn_train.kernels.ir import Scattered, Text, backwards, function, load_plan, span, splat, tiles
from bnn_train.kernels.ir_reals import FLOATS, NUMBERS, FloatKernel, RealKernel

POINTERS = (
    "weight", "offsets", "masks", "table", "limits", "scale", "shift", "threshold", "flip", "lookup", "biases", "errors",
    "each", "of_image",
)  # fmt: skip
# What `plan` points at: int64 each, in this order. Where each is described: kernels/places.py.
PLAN = (
    *POINTERS, "groups", "group_bytes", "words", "block", "places", "results", "image_bytes", "padded_bytes", "inner",
    "padded_line", "pixel_bytes", "channels", "height", "width", "out_bytes", "bits_bytes",
    "largest", "slack",
)  # fmt: skip
DECLARATIONS = f"""
declare {NUMBERS} @llvm.fabs.v8f64({NUMBERS})
declare double @llvm.vector.reduce.fmax.v8f64({NUMBERS})"""
EACH = {"affine": 16, "shift": 4, "prelu": 4, "clamp": 8, "relu": 0}  # bytes of what each of geometry.Each takes for an output
WINDOW = 4  # places of a pool that is part of the kernel: 2 x 2


class Sums(Protocol):
    """What makes a tile's sums: BitKernel, NibbleKernel, RealKernel, FloatKernel."""

    @property
    def rows(self) -> int: ...
    @property
    def groups(self) -> int: ...
    @property
    def lanes(self) -> int: ...
    @property
    def declarations(self) -> str: ...
    def sums(self, text: Text, plan: dict[str, str], x: list[str], group: str, groups: int, scattered: Scattered) -> list[str]: ...


@dataclass(frozen=True)
class Ending:
    """What becomes of a sum. Whole ones are distances: their sum is limit - 2 * distance; others are float32. In this order:

    affine: scale * sum + shift, real. multiply: times `gate`, of the image. add: `other` is added to it. each: functions in turn,
    by the kinds of geometry.Each. numbers: it is written to `out`, int32, or float32 where it is real. is_sign: a bit, real
    number >= threshold, or of whole ones distance <= limit; pool: OR of the bits of each window; then turned around where flip
    has 1, and written to `bits`. floats: whole numbers are written as float32.
    """

    whole: bool
    numbers: bool
    is_sign: bool
    affine: bool = False
    multiply: bool = False
    add: bool = False
    each: tuple[str, ...] = ()
    pool: bool = False
    floats: bool = False

    @property
    def real(self) -> bool:
        return not self.whole or self.affine or self.multiply or self.add or bool(self.each)


@dataclass(frozen=True)
class PlaceKernel:
    """laid: how images come into the scratch. "as they are"; "looked up": they are bytes, channels first, and a table has the
    float64 (FloatKernel: float32) of each; "widened": they are float32, a multiple of 8 in a line."""

    tile: Sums
    ending: Ending
    ragged: bool
    laid: str
    takes = 8

    def module(self) -> str:
        text, scattered = Text(), Scattered(self.ragged)
        plan = load_plan(text, PLAN, POINTERS)
        with span(text, "%rows", plan["block"], [], "") as (start, end, _):
            images = text(f"sub i64 {end}, {start}")
            source = text.at("%x", text.times(start, plan["image_bytes"]))
            start_size = [splat(text, NUMBERS, text(f"bitcast i64 {plan['largest']} to double"))]
            with text.loop("0", images, 1, start_size, NUMBERS) as (image, sizes):
                bare = text.at(source, text.times(image, plan["image_bytes"]))
                to = text.at(text.at("%limits", text.times(image, plan["padded_bytes"])), plan["inner"])
                if self.laid == "widened":
                    sizes[0] = widen(text, plan, bare, to, sizes[0])
                elif self.laid == "looked up":
                    look_up(text, plan, bare, to, "float" if isinstance(self.tile, FloatKernel) else "double")
                else:
                    lay(text, plan, bare, to)
            first = text.times(start, plan["places"])
            at = {name: text.at(f"%{name}", text.times(first, plan["out_bytes"])) for name in ("out", "other")}
            at["gate"] = text.at("%gate", text.times(start, plan["out_bytes"]))
            at |= {"unsure": "%limits", "slack": text(f"bitcast i64 {plan['slack']} to double")}
            if isinstance(self.tile, RealKernel) and not self.tile.is_exact:
                at["largest"] = splat(text, NUMBERS, text(f"call double @llvm.vector.reduce.fmax.v8f64({NUMBERS} {sizes[0]})"))
            at["bits"] = text.at("%bits", text.times(text.times(start, plan["results"]), plan["bits_bytes"]))

            def tile(row: str, group: str, rows: int, groups: int) -> None:
                pairs = [text(f"load i64, ptr {text.at(text.at(plan['table'], text.times(row, 8)), 8 * i)}") for i in range(rows)]
                x = [text.at("%limits", text(f"and i64 {pair}, 4294967295")) for pair in pairs]
                limits = [text.at(plan["limits"], text(f"lshr i64 {pair}, 32")) for pair in pairs]
                gates = []
                if self.ending.multiply:
                    own = text.at(plan["of_image"], text.times(row, 8))
                    gates = [text.at(at["gate"], text(f"load i64, ptr {text.at(own, 8 * i)}")) for i in range(rows)]
                sums = self.tile.sums(text, plan | at, x, group, groups, scattered)
                for number in range(groups):
                    one, of_group = text(f"add i64 {group}, {number}"), sums[number * rows : (number + 1) * rows]
                    if isinstance(self.tile, RealKernel | FloatKernel):
                        of_group = [
                            self.tile.rounded(text, plan | at, base, one, value, scattered)
                            for base, value in zip(x, of_group, strict=True)
                        ]
                    self.end(text, plan | at, of_group, limits, gates, row, one)

            tiles(text, plan["groups"], "0", text.times(images, plan["places"]), (self.tile.rows, self.tile.groups), tile)
        return function(text, self.tile.declarations + DECLARATIONS, ("other", "bits", "gate"))

    def end(
        self, text: Text, plan: dict[str, str], sums: list[str], limits: list[str], gates: list[str], row: str, group: str
    ) -> None:
        """One group's sums of neighbouring rows."""
        ending, lanes = self.ending, self.tile.lanes
        whole, real = (f"<{lanes} x {kind}>" for kind in ("i32", "float"))
        four, eight = text.times(group, 4 * lanes), text.times(group, 8 * lanes)
        above: list[str] = []
        for index, value in enumerate(sums):
            place = text.times(text(f"add i64 {row}, {index}"), plan["out_bytes"])
            if ending.whole:
                limit = text(f"load {whole}, ptr {text.at(limits[index], four)}, align 4")
                if not ending.real and ending.is_sign:
                    above.append(text(f"icmp sle {whole} {value}, {limit}"))
                    continue
                value = text(f"sub {whole} {limit}, {text(f'add {whole} {value}, {value}')}")
            kind = whole
            if ending.real:
                value, kind = self.real(text, plan, value, eight), real
            elif ending.floats:
                value, kind = text(f"sitofp {whole} {value} to {real}"), real
            if ending.multiply:
                gate = text(f"load {real}, ptr {text.at(gates[index], four)}, align 4")
                value = text(f"fmul {real} {value}, {backwards(text, real, gate)}")
            if ending.add:
                other = text(f"load {real}, ptr {text.at(text.at(plan['other'], place), four)}, align 4")
                value = text(f"fadd {real} {value}, {backwards(text, real, other)}")
            value = self.each(text, plan, value, group)
            if ending.numbers:
                text.do(f"store {kind} {backwards(text, kind, value)}, ptr {text.at(text.at(plan['out'], place), four)}, align 4")
            if ending.is_sign:
                threshold = text(f"load {real}, ptr {text.at(plan['threshold'], four)}, align 4")
                above.append(text(f"fcmp oge {real} {value}, {threshold}"))
        bits = [text(f"bitcast <{lanes} x i1> {one} to i{lanes}") for one in above]
        if ending.pool:
            while len(bits) > 1:
                bits = [text(f"or i{lanes} {a}, {b}") for a, b in zip(bits[::2], bits[1::2], strict=True)]
            row = text(f"udiv i64 {row}, {WINDOW}")
        byte = text.times(group, lanes // 8)
        for index, one in enumerate(bits):
            flip = text(f"load i{lanes}, ptr {text.at(plan['flip'], byte)}, align 1")
            turned = text(f"xor i{lanes} {one}, {flip}")
            to = text.at(plan["bits"], text.times(text(f"add i64 {row}, {index}"), plan["bits_bytes"]))
            text.do(f"store i{lanes} {turned}, ptr {text.at(to, byte)}, align 1")

    def each(self, text: Text, plan: dict[str, str], value: str, group: str) -> str:
        """float32 of float32. Constants of a group lie one behind the other: float64 of affine, else float32."""
        lanes = self.tile.lanes
        real, wide, bits = (f"<{lanes} x {kind}>" for kind in ("float", "double", "i1"))
        at = text.at(plan["each"], text.times(group, sum(EACH[kind] for kind in self.ending.each) * lanes))
        offset = 0

        def constant(kind: str, size: int) -> str:
            nonlocal offset
            offset += size * lanes
            return text(f"load {kind}, ptr {text.at(at, offset - size * lanes)}, align {size}")

        for kind in self.ending.each:
            if kind == "affine":
                value = text(f"fpext {real} {value} to {wide}")
                value = text(f"fmul contract {wide} {value}, {constant(wide, 8)}")
                value = text(f"fptrunc {wide} {text(f'fadd contract {wide} {value}, {constant(wide, 8)}')} to {real}")
            elif kind == "shift":
                value = text(f"fadd {real} {value}, {constant(real, 4)}")
            elif kind == "clamp":
                for outside in ("olt", "ogt"):
                    limit = constant(real, 4)
                    value = text(f"select {bits} {text(f'fcmp {outside} {real} {value}, {limit}')}, {real} {limit}, {real} {value}")
            else:
                above = text(f"fcmp ogt {real} {value}, zeroinitializer")
                below = text(f"fmul {real} {value}, {constant(real, 4)}") if kind == "prelu" else "zeroinitializer"
                value = text(f"select {bits} {above}, {real} {value}, {real} {below}")
        return value

    def real(self, text: Text, plan: dict[str, str], value: str, eight: str) -> str:
        """float32 of a sum, as docs/format.md rounds."""
        whole, real, wide = (f"<{self.tile.lanes} x {kind}>" for kind in ("i32", "float", "double"))
        if not self.ending.whole:
            if not self.ending.affine:
                return value
            value = text(f"fpext {real} {value} to {wide}")
        else:
            value = text(f"sitofp {whole} {value} to {wide}")
        if self.ending.affine:
            scale, shift = (text(f"load {wide}, ptr {text.at(plan[name], eight)}, align 8") for name in ("scale", "shift"))
            # The product is exact: rounded once or twice, it is the same.
            value = text(f"fadd contract {wide} {text(f'fmul contract {wide} {value}, {scale}')}, {shift}")
        return text(f"fptrunc {wide} {value} to {real}")


def lay(text: Text, plan: dict[str, str], bare: str, to: str) -> None:
    """An image's lines, by words and bytes."""
    line = text.times(plan["width"], plan["pixel_bytes"])
    with text.loop("0", plan["height"], 1, []) as (number, _):
        source, target = text.at(bare, text.times(number, line)), text.at(to, text.times(number, plan["padded_line"]))
        start = "0"
        for size in (8, 1):
            with text.loop(start, line, size, []) as (byte, _):
                value = text(f"load i{8 * size}, ptr {text.at(source, byte)}, align 1")
                text.do(f"store i{8 * size} {value}, ptr {text.at(target, byte)}, align 1")
            start = text.index


def look_up(text: Text, plan: dict[str, str], bare: str, to: str, kind: str) -> None:
    size = 4 if kind == "float" else 8
    with text.loop("0", plan["channels"], 1, []) as (channel, _):
        table = text.at(plan["lookup"], text.times(channel, size * 256))
        of_channel = text.at(to, text.times(channel, size))
        with text.loop("0", plan["height"], 1, []) as (line, _):
            pixels = text.times(text(f"add i64 {text.times(channel, plan['height'])}, {line}"), plan["width"])
            source, target = text.at(bare, pixels), text.at(of_channel, text.times(line, plan["padded_line"]))
            with text.loop("0", plan["width"], 1, []) as (column, _):
                pixel = text(f"zext i8 {text(f'load i8, ptr {text.at(source, column)}')} to i64")
                value = text(f"load {kind}, ptr {text.at(table, text.times(pixel, size))}, align {size}")
                text.do(f"store {kind} {value}, ptr {text.at(target, text.times(column, plan['pixel_bytes']))}, align {size}")


def widen(text: Text, plan: dict[str, str], bare: str, to: str, size: str) -> str:
    """Gives the largest sizes of numbers in each lane, where size has those before."""
    numbers = text(f"udiv i64 {text.times(plan['width'], plan['pixel_bytes'])}, 8")
    with text.loop("0", plan["height"], 1, [size], NUMBERS) as (line, sizes):
        source, target = text.at(bare, text.times(text.times(line, numbers), 4)), text.at(to, text.times(line, plan["padded_line"]))
        with text.loop("0", numbers, 8, list(sizes), NUMBERS) as (number, found):
            value = text(f"load {FLOATS}, ptr {text.at(source, text.times(number, 4))}, align 4")
            wide = text(f"fpext {FLOATS} {value} to {NUMBERS}")
            text.do(f"store {NUMBERS} {wide}, ptr {text.at(target, text.times(number, 8))}, align 8")
            each = text(f"call {NUMBERS} @llvm.fabs.v8f64({NUMBERS} {wide})")
            larger = text(f"fcmp ogt {NUMBERS} {each}, {found[0]}")
            found[0] = text(f"select <8 x i1> {larger}, {NUMBERS} {each}, {NUMBERS} {found[0]}")
        sizes[0] = found[0]
    return sizes[0]
