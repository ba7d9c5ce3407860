"""Sums of real numbers that float64 holds exactly, as a kernel: 8 outputs in a vector of float64, added in any order.

A weight of more bits than there is room for comes in two parts that add up to it. Each part's sum is exact, so that their one
addition gives the float64 nearest to the exact sum. Weights lie as numbers[group][part][word][8], each 8 backwards.
"""

from dataclasses import dataclass

from bnn_train.deploy.kernels.ir import Scattered, Text

LANES = 8
NUMBERS = "<8 x double>"


@dataclass(frozen=True)
class RealKernel:
    """parts: of a weight, 1 or 2. rows, groups: of a tile."""

    parts: int
    rows: int
    groups: int
    lanes: int = LANES
    declarations: str = ""

    def sums(self, text: Text, plan: dict[str, str], x: list[str], group: str, groups: int, scattered: Scattered) -> list[str]:
        """float64 of each row at x with each group, group by group, lanes backwards."""
        weights = text.at(plan["weight"], text.times(group, plan["group_bytes"]))
        bases = [text.at(weights, text.times(plan["group_bytes"], number)) for number in range(groups)]
        part_bytes, totals = text.times(plan["words"], 8 * LANES), [""] * (len(x) * groups)
        for part in range(self.parts):
            at_part = [text.at(base, text.times(part_bytes, part)) for base in bases]
            with text.loop("0", plan["words"], 1, ["zeroinitializer"] * len(totals), NUMBERS) as (word, values):
                vectors = scattered.vectors(text, plan, x, word, NUMBERS)
                for number, base in enumerate(at_part):
                    weight = text(f"load {NUMBERS}, ptr {text.at(base, text.times(word, 8 * LANES))}, align 8")
                    for index, one in enumerate(vectors):
                        place = number * len(x) + index
                        product = text(f"fmul contract {NUMBERS} {weight}, {one}")
                        values[place] = text(f"fadd contract {NUMBERS} {values[place]}, {product}")
            totals = [text(f"fadd {NUMBERS} {a}, {b}") if a else b for a, b in zip(totals, values, strict=True)]
        return totals
