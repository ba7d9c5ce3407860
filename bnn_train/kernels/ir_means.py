"""Means over windows of an image as a kernel, rounded as docs/format.md says: 8 channels in a vector of float64.

What each addition loses is kept (Knuth's two-sum). Where the float32 that comes out is not certain even so, a byte is set.
"""

from dataclasses import dataclass

from bnn_train.kernels.ir import Text, function, load_plan, splat
from bnn_train.kernels.ir_reals import FLOATS, LANES, NUMBERS, rounded, two_sum

# counts: float32 of each place. slack: float64. channels: a multiple of 8. What of a window is behind the image is left out.
PLAN = (
    "counts", "slack", "channels", "height", "width", "rows", "columns", "kernel_height", "kernel_width", "stride_down",
    "stride_right",
)  # fmt: skip


@dataclass(frozen=True)
class MeanKernel:
    """A function of (x, images, plan, unsure, out): float32 (images, height, width, channels) to the same of rows and columns."""

    takes = 5

    def module(self) -> str:
        text = Text()
        plan = load_plan(text, PLAN, ("counts",))
        slack = splat(text, NUMBERS, text(f"bitcast i64 {plan['slack']} to double"))
        pixel = text.times(4, plan["channels"])
        line, places = text.times(plan["width"], pixel), text.times(plan["rows"], plan["columns"])
        with text.loop("0", "%rows", 1, []) as (image, _), text.loop("0", plan["rows"], 1, []) as (row, _):
            top, bottom = self.window(text, plan, row, "height", "down")
            of_image = text.at("%x", text.times(text.times(image, plan["height"]), line))
            with text.loop("0", plan["columns"], 1, []) as (column, _):
                left, right = self.window(text, plan, column, "width", "right")
                place = text(f"add i64 {text.times(row, plan['columns'])}, {column}")
                count = text(f"load float, ptr {text.at(plan['counts'], text.times(place, 4))}, align 4")
                of_place = text(f"add i64 {text.times(image, places)}, {place}")
                out = text.at("%out", text.times(of_place, pixel))
                with text.loop("0", plan["channels"], LANES, []) as (channel, _):
                    offset = text.times(channel, 4)
                    zeros = ["zeroinitializer"] * 3
                    with text.loop(top, bottom, 1, zeros, NUMBERS) as (y, sums):
                        of_line = text.at(text.at(of_image, text.times(y, line)), offset)
                        with text.loop(left, right, 1, list(sums), NUMBERS) as (z, values):
                            one = text(f"load {FLOATS}, ptr {text.at(of_line, text.times(z, pixel))}, align 4")
                            whole, loss = two_sum(text, values[0], text(f"fpext {FLOATS} {one} to {NUMBERS}"))
                            size = text(f"call {NUMBERS} @llvm.fabs.v8f64({NUMBERS} {loss})")
                            lost, sizes = (text(f"fadd {NUMBERS} {a}, {b}") for a, b in ((values[1], loss), (values[2], size)))
                            values[:] = [whole, lost, sizes]
                        sums[:] = values
                    found, unsure = rounded(text, sums, slack)
                    with text.loop("0", unsure, 1, []):
                        text.do("store i8 1, ptr %limits")
                    mean = text(f"fdiv {FLOATS} {found}, {splat(text, FLOATS, count)}")
                    text.do(f"store {FLOATS} {mean}, ptr {text.at(out, offset)}, align 4")
        return function(text, f"declare {NUMBERS} @llvm.fabs.v8f64({NUMBERS})")

    def window(self, text: Text, plan: dict[str, str], place: str, size: str, direction: str) -> tuple[str, str]:
        """The first line or column of a window, and the one behind its last in the image."""
        start = text.times(place, plan[f"stride_{direction}"])
        end = text(f"add i64 {start}, {plan[f'kernel_{size}']}")
        return start, text(f"select i1 {text(f'icmp ult i64 {end}, {plan[size]}')}, i64 {end}, i64 {plan[size]}")
