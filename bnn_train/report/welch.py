"""Whether the means of a few runs differ by more than their seeds: Welch's t-test, and Holm's correction for several.

Two networks of different kinds share nothing of what a seed draws but the order of the images, so their runs are taken as
independent: pairing them by seed would give up half of the degrees of freedom, of which three seeds have few.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bnn_train.report import interval

LEVEL = 0.05  # the share of comparisons in which chance alone may be taken for a difference


@dataclass(frozen=True)
class Sample:
    """Accuracies of runs that differ in their seed alone.

    images: of the test set. An accuracy is a whole number of them, so that a few runs may well agree to the last digit; their
    variance is taken to be at least that of rounding to whole images, 1 / (12 images^2).
    """

    values: Sequence[float]
    images: int

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float | None:
        """The sample's own; None of a single value."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def variance_of_mean(self) -> float:
        """s^2 / n. At least two values."""
        return max(statistics.variance(self.values), 1 / (12 * self.images**2)) / len(self.values)

    @property
    def half_width(self) -> float | None:
        """Of the mean's 95% interval, t s / sqrt(n), with Student's t of n - 1 degrees; None of a single value."""
        if len(self.values) < 2:
            return None
        return interval.quantile(len(self.values) - 1) * math.sqrt(self.variance_of_mean)


@dataclass(frozen=True)
class Difference:
    """Of two means. half_width: of its 95% interval; chance: the probability of one as large where there is none.

    Both are None where a sample has a single value.
    """

    mean: float
    half_width: float | None = None
    chance: float | None = None


def difference(a: Sample, b: Sample) -> Difference:
    """mean(a) - mean(b), after Welch (1947).

    With u = s_a^2 / n_a and v = s_b^2 / n_b the difference over sqrt(u + v) follows Student's distribution with
    (u + v)^2 / (u^2 / (n_a - 1) + v^2 / (n_b - 1)) degrees of freedom.
    """
    gap = a.mean - b.mean
    if min(len(a.values), len(b.values)) < 2:
        return Difference(gap)
    u, v = a.variance_of_mean, b.variance_of_mean
    freedom = (u + v) ** 2 / (u**2 / (len(a.values) - 1) + v**2 / (len(b.values) - 1))
    error = math.sqrt(u + v)
    return Difference(gap, interval.quantile(freedom) * error, interval.beyond(gap / error, freedom))


def carried(chances: Sequence[float], level: float = LEVEL) -> list[bool]:
    """Which of several differences chance does not explain, after Holm (1979): with probability 1 - level none is named wrongly.

    In rising order the first is held against level / m, the next against level / (m - 1) ...; the first that is above ends it.
    """
    named = [False] * len(chances)
    for passed, place in enumerate(sorted(range(len(chances)), key=lambda place: chances[place])):
        if chances[place] > level / (len(chances) - passed):
            break
        named[place] = True
    return named
