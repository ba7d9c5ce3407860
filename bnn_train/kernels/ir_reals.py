"""Sums of real numbers as a kernel, rounded as docs/format.md says: 8 outputs in a vector of float64.

Products of two float32 are exact in float64, their sums in any order are off by at most a bound. Where the float32 that comes out
does not depend on it, it is right; else the sum is made again with what each addition loses (Knuth's two-sum) added to it: one
vector in ten thousand. Where even that is not certain, the kernel says so, and whoever called it must go another way.
Weights lie as numbers[group][word][8], each 8 backwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bnn_train.kernels.ir import Scattered, Text, splat

LANES = 8
NUMBERS, FLOATS = "<8 x double>", "<8 x float>"
WIDE_NUMBERS, WIDE_FLOATS = "<16 x double>", "<16 x float>"


@dataclass(frozen=True)
class RealKernel:
    """is_exact: float64 holds every sum. rows, groups: of a tile. Of plan: `biases`, float64 of each output, are what sums begin
    with. Only where sums are not exact: no sum is off by more than its output's `errors`, float64, times `largest`; `slack` times
    what all additions lose, in size, is more than what is lost again where that is added; `unsure` is a byte that is set."""

    is_exact: bool
    rows: int
    groups: int
    lanes: int = LANES
    declarations: str = ""

    def sums(self, text: Text, plan: dict[str, str], x: list[str], group: str, groups: int, scattered: Scattered) -> list[str]:
        """float64 of each row at x with each group, group by group, lanes backwards."""
        bases = self.weights(text, plan, group, groups)
        starts = [self.start(text, plan, text(f"add i64 {group}, {number}")) for number in range(groups) for _ in x]
        with text.loop("0", plan["words"], 1, starts, NUMBERS) as (word, values):
            vectors = scattered.vectors(text, plan, x, word, NUMBERS)
            for number, base in enumerate(bases):
                weight = text(f"load {NUMBERS}, ptr {text.at(base, text.times(word, 8 * LANES))}, align 8")
                for index, one in enumerate(vectors):
                    place = number * len(x) + index
                    product = text(f"fmul contract {NUMBERS} {weight}, {one}")  # exact: it may be part of the addition or not
                    values[place] = text(f"fadd contract {NUMBERS} {values[place]}, {product}")
        return values

    def weights(self, text: Text, plan: dict[str, str], group: str, groups: int) -> list[str]:
        first = text.at(plan["weight"], text.times(group, plan["group_bytes"]))
        return [text.at(first, text.times(plan["group_bytes"], number)) for number in range(groups)]

    def start(self, text: Text, plan: dict[str, str], group: str) -> str:
        return text(f"load {NUMBERS}, ptr {text.at(plan['biases'], text.times(group, 8 * LANES))}, align 8")

    def rounded(self, text: Text, plan: dict[str, str], x: str, group: str, value: str, scattered: Scattered) -> str:
        """The float32 of a row's sums."""
        if self.is_exact:
            return text(f"fptrunc {NUMBERS} {value} to {FLOATS}")
        error = text(f"load {NUMBERS}, ptr {text.at(plan['errors'], text.times(group, 8 * LANES))}, align 8")
        error = text(f"fmul {NUMBERS} {error}, {plan['largest']}")
        below, again = differ(text, *(text(f"{sign} {NUMBERS} {value}, {error}") for sign in ("fsub", "fadd")))
        with text.loop("0", again, 1, [below], FLOATS) as (_, values):  # at most once
            again_sums = self.with_losses(text, plan, x, group, scattered)
            values[0], unsure = rounded(text, again_sums, splat(text, NUMBERS, plan["slack"]))
            with text.loop("0", unsure, 1, []):
                text.do(f"store i8 1, ptr {plan['unsure']}")
        return values[0]

    def with_losses(self, text: Text, plan: dict[str, str], x: str, group: str, scattered: Scattered) -> tuple[str, str, str]:
        """A row's sums, what their additions have lost, and the sizes of all that they lost."""
        base = self.weights(text, plan, group, 1)[0]
        carried = [self.start(text, plan, group), "zeroinitializer", "zeroinitializer"]
        with text.loop("0", plan["words"], 1, carried, NUMBERS) as (word, values):
            weight = text(f"load {NUMBERS}, ptr {text.at(base, text.times(word, 8 * LANES))}, align 8")
            product = text(f"fmul {NUMBERS} {weight}, {scattered.vectors(text, plan, [x], word, NUMBERS)[0]}")
            longer, loss = two_sum(text, values[0], product)
            size = text(f"call {NUMBERS} @llvm.fabs.v8f64({NUMBERS} {loss})")
            values[:] = [longer, text(f"fadd {NUMBERS} {values[1]}, {loss}"), text(f"fadd {NUMBERS} {values[2]}, {size}")]
        return values[0], values[1], values[2]


@dataclass(frozen=True)
class FloatKernel:
    """Where nothing but signs of exact sums is wanted: 16 sums of float32, each the exact one or on the same side of its threshold.
    Sums that are nearer to it than `errors`, float32, are made again in float64. cifar10_cnn's first layer takes
    0.020 ms an image, 0.032 by float64, of 0.085 in all. Weights lie as numbers[group][word][16], float32."""

    rows: int
    groups: int
    lanes: int = 16
    declarations: str = f"declare {WIDE_FLOATS} @llvm.fabs.v16f32({WIDE_FLOATS})"

    def sums(self, text: Text, plan: dict[str, str], x: list[str], group: str, groups: int, scattered: Scattered) -> list[str]:
        """float32 of each row at x with each group, group by group, lanes backwards."""
        first = text.at(plan["weight"], text.times(group, plan["group_bytes"]))
        bases = [text.at(first, text.times(plan["group_bytes"], number)) for number in range(groups)]
        with text.loop("0", plan["words"], 1, ["zeroinitializer"] * (len(x) * groups), WIDE_FLOATS) as (word, values):
            vectors = scattered.vectors(text, plan, x, word, WIDE_FLOATS)
            for number, base in enumerate(bases):
                weight = text(f"load {WIDE_FLOATS}, ptr {text.at(base, text.times(word, 64))}, align 4")
                for index, one in enumerate(vectors):
                    place = number * len(x) + index
                    product = text(f"fmul contract {WIDE_FLOATS} {weight}, {one}")
                    values[place] = text(f"fadd contract {WIDE_FLOATS} {values[place]}, {product}")
        return values

    def rounded(self, text: Text, plan: dict[str, str], x: str, group: str, value: str, scattered: Scattered) -> str:
        """What stands for a row's sums where they are compared."""
        at = text.times(group, 64)
        threshold, error = (text(f"load {WIDE_FLOATS}, ptr {text.at(plan[name], at)}, align 4") for name in ("threshold", "errors"))
        distance = text(f"call {WIDE_FLOATS} @llvm.fabs.v16f32({WIDE_FLOATS} {text(f'fsub {WIDE_FLOATS} {value}, {threshold}')})")
        near = text(f"bitcast <16 x i1> {text(f'fcmp ule {WIDE_FLOATS} {distance}, {error}')} to i16")
        with text.loop("0", text(f"zext i1 {text(f'icmp ne i16 {near}, 0')} to i64"), 1, [value], WIDE_FLOATS) as (_, found):
            base = text.at(plan["weight"], text.times(group, plan["group_bytes"]))
            with text.loop("0", plan["words"], 1, ["zeroinitializer"], WIDE_NUMBERS) as (word, sums):
                weight = text(f"load {WIDE_FLOATS}, ptr {text.at(base, text.times(word, 64))}, align 4")
                both = weight, scattered.vectors(text, plan, [x], word, WIDE_FLOATS)[0]
                one, other = (text(f"fpext {WIDE_FLOATS} {vector} to {WIDE_NUMBERS}") for vector in both)
                sums[0] = text(f"fadd {WIDE_NUMBERS} {sums[0]}, {text(f'fmul {WIDE_NUMBERS} {one}, {other}')}")
            found[0] = text(f"fptrunc {WIDE_NUMBERS} {sums[0]} to {WIDE_FLOATS}")
        return found[0]


def rounded(text: Text, values: Sequence[str], slack: str) -> tuple[str, str]:
    """float32 of sums, given with what additions lost and with the sizes of all that: and 1 where one is not certain. What is lost
    is off by at most slack * sizes."""
    sums, lost, sizes = values
    off = text(f"fmul {NUMBERS} {sizes}, {slack}")
    return differ(text, *(text(f"fadd {NUMBERS} {sums}, {text(f'{sign} {NUMBERS} {lost}, {off}')}") for sign in ("fsub", "fadd")))


def differ(text: Text, below: str, above: str) -> tuple[str, str]:
    """The float32 of the first, and 1 where that of the second is another in some lane, or either is no number; else 0."""
    low, high = (text(f"fptrunc {NUMBERS} {value} to {FLOATS}") for value in (below, above))
    lanes = text(f"bitcast <8 x i1> {text(f'fcmp une {FLOATS} {low}, {high}')} to i8")
    return low, text(f"zext i1 {text(f'icmp ne i8 {lanes}, 0')} to i64")


def two_sum(text: Text, a: str, b: str) -> tuple[str, str]:
    """The float64 sum of two, and what it has lost."""
    longer = text(f"fadd {NUMBERS} {a}, {b}")
    part = text(f"fsub {NUMBERS} {longer}, {a}")
    of_a = text(f"fsub {NUMBERS} {a}, {text(f'fsub {NUMBERS} {longer}, {part}')}")
    return longer, text(f"fadd {NUMBERS} {of_a}, {text(f'fsub {NUMBERS} {b}, {part}')}")
