"""The interval that holds a mean with 95% certainty, from few normal samples: Student's t."""

import functools
import math
import statistics
from collections.abc import Sequence

LEVEL = 0.95


def half_width(values: Sequence[float]) -> float | None:
    """The mean's interval reaches so far to both sides; None for fewer than two values."""
    if len(values) < 2:
        return None
    return quantile(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))


@functools.cache
def quantile(freedom: float) -> float:
    """The t within whose plus and minus Student's distribution has 95% of its mass. freedom: degrees, at least 1."""
    low, high = 0.0, math.pi / 2
    for _ in range(60):  # to the last bit of an angle
        middle = (low + high) / 2
        low, high = (middle, high) if _mass(middle, freedom) < LEVEL else (low, middle)
    return math.sqrt(freedom) * math.tan(high)


def beyond(t: float, freedom: float) -> float:
    """The mass of Student's distribution outside of plus and minus t: how probable it is by chance."""
    return max(0.0, 1 - _mass(math.atan(abs(t) / math.sqrt(freedom)), freedom))


def _mass(angle: float, freedom: float) -> float:
    """Between -t and t, where t = sqrt(freedom) tan(angle)."""
    return closed(angle, round(freedom)) if freedom == round(freedom) else integrated(angle, freedom)


def closed(angle: float, freedom: int) -> float:
    """Of whole degrees: Abramowitz & Stegun, 26.7.3 and 26.7.4."""
    sine, square = math.sin(angle), math.cos(angle) ** 2
    odd = freedom % 2
    term = sine * math.cos(angle) if odd else sine
    total = 0.0
    for k in range(2 + odd, freedom + 1, 2):
        total += term
        term *= square * (k - 1) / k
    return 2 / math.pi * (angle + total) if odd else total


def integrated(angle: float, freedom: float) -> float:
    """Of any: the integral of cos^(freedom - 1) from 0 to the angle, by Simpson's rule, as a share of that to pi / 2."""
    pieces = 400
    values = [math.cos(angle * i / pieces) ** (freedom - 1) for i in range(pieces + 1)]
    total = values[0] + values[-1] + 4 * sum(values[1::2]) + 2 * sum(values[2:-1:2])
    whole = math.sqrt(math.pi) / 2 * math.exp(math.lgamma(freedom / 2) - math.lgamma((freedom + 1) / 2))
    return total * angle / (3 * pieces) / whole
