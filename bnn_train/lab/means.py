"""What several networks say together: means with their 95% intervals, and whether an estimator beats another in them."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from bnn_train.report import interval, welch

Figure = list[float | None]  # [mean, half width of its 95% interval; None for a single network]
COMPARED = ("1", "100")  # averaged samples of which the direction is compared


def of(values: Sequence[float]) -> Figure:
    return [statistics.fmean(values), interval.half_width(values)]


def over(trees: Sequence[Any]) -> Any:
    """Dictionaries and lists of the same form, with a Figure in place of each number."""
    first = trees[0]
    if isinstance(first, Mapping):
        return {name: over([tree[name] for tree in trees]) for name in first}
    if isinstance(first, list):
        return [over(values) for values in zip(*trees, strict=True)]
    return of(trees)


def gathered(networks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of networks whose "measured" have the same places and labels: the same with Figures, and each label's verdicts.

    In a place's "estimators" an estimator gets "against": {"1": {...}, "100": {...}}, its cosine with the exact gradient less that
    of the estimator that `matching` names, network by network: difference, half_width, chance, verdict.
    """
    places = []
    for same in zip(*(network["measured"] for network in networks), strict=True):
        first = same[0]
        blocks = {name: over([place["estimators"][name]["blocks"] for place in same]) for name in first["estimators"]}
        found = {name: {**each, "blocks": blocks[name]} for name, each in first["estimators"].items()}
        for count in COMPARED:
            for name, verdict in _verdicts(same, count).items():
                found[name].setdefault("against", {})[count] = verdict
        whole = {name: over([place[name] for place in same]) for name in ("loss", "gradient_norm")}
        places.append({**first, **whole, "estimators": found})
    return {"kind": "measured", "measured": places}


def _verdicts(same: Sequence[Mapping[str, Any]], count: str) -> dict[str, dict[str, Any]]:
    """By label, of one place in all networks; those alone that have another to be held against."""
    differences = {}
    for name, each in same[0]["estimators"].items():
        if (other := each["matching"]) not in (None, name) and count in each["blocks"]["all"]["cosine"]:
            pairs = [[place["estimators"][label]["blocks"]["all"]["cosine"][count][0] for label in (name, other)] for place in same]
            differences[name] = [round(a - b, 6) for a, b in pairs]  # the same backward in another order of sums
    return verdicts(differences)


def verdicts(differences: Mapping[str, Sequence[float]]) -> dict[str, dict[str, Any]]:
    """Of paired differences, one a network: by a paired t-test, corrected after Holm for how many there are.

    verdict: "better" where they are above 0 by more than chance explains, "worse" where below, else "no difference"; None of a
    single network.
    """
    chances = {name: chance(values) for name, values in differences.items() if len(values) > 1}
    told = dict(zip(chances, welch.carried(list(chances.values())), strict=True))
    found = {}
    for name, values in differences.items():
        mean, half = statistics.fmean(values), interval.half_width(values)
        verdict = None if name not in told else "no difference" if not told[name] else "better" if mean > 0 else "worse"
        found[name] = {"difference": mean, "half_width": half, "chance": chances.get(name), "verdict": verdict}
    return found


def chance(differences: Sequence[float]) -> float:
    """How probable a mean so far from 0 is where there is no difference, by Student's t. At least two values."""
    mean, deviation = statistics.fmean(differences), statistics.stdev(differences)
    if deviation == 0:
        return 1.0 if mean == 0 else 0.0
    return interval.beyond(mean * math.sqrt(len(differences)) / deviation, len(differences) - 1)
