"""The table and the picture of the protocol that holds the laboratory against training, over networks."""

import itertools
import statistics
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from bnn_train.report import drawn, grid, interval
from bnn_train.report.grid import Column
from bnn_train.report.lab import COLOURS
from bnn_train.report.lab_shortcomings import cell, networks

Found = dict[int, dict[str, Any]]  # by network, what bnn_train/lab/training.py returns
MARKS = ("o", "s", "^", "D")


def text(report: dict[str, Any]) -> str:
    """Of lab.json."""
    return table(dict(enumerate(report["found"])), report["against"])


def write_plots(report: dict[str, Any], folder: Path) -> list[Path]:
    return picture(dict(enumerate(report["found"])), folder)


def compared(reports: dict[str, dict[str, Any]]) -> str:
    """Of several studies: the held-out accuracy that each estimator came to."""
    of = {name: report["found"] for name, report in reports.items()}
    shared = [
        label for label in next(iter(of.values()))[0]["estimators"] if all(label in found[0]["estimators"] for found in of.values())
    ]
    columns = [Column("trained by", ["exact", *shared], right=False)]
    for name, found in of.items():
        trained = [[each["estimators"][label]["held-out accuracy"] for each in found] for label in shared]
        columns.append(
            Column(name, [cell(values) for values in ([each["exact"]["held-out accuracy"] for each in found], *trained)])
        )
    return grid.table(columns, "held-out accuracy")


def table(found: Found, against: dict[str, Any] | None = None) -> str:
    """What each estimator's direction was and what it led to, how these agree, and that in a sentence.

    against: what bnn_train/lab/training.py's `gathered` says of held-out accuracies; without it no verdicts are shown.
    """
    said = sentence(found)
    if against:
        said += (
            f" than ST: the held-out accuracy less that of {against['matching']}, the straight-through estimator which the noise "
            "gives, in the same networks, by a paired t-test at 5%, corrected for the number of estimators."
        )
    return "\n\n".join([_estimators(found, against or {}), _agreement(found), grid.sentence(said, "")])


def _estimators(found: Found, against: dict[str, Any]) -> str:
    results = list(found.values())
    first = results[0]["estimators"]
    columns = [Column("trained by", ["exact", *first], right=False)]
    for count, places in next(iter(first.values()))["cosine"].items():
        for place in places:
            measured = [cell([each["estimators"][label]["cosine"][count][place] for each in results]) for label in first]
            columns.append(Column(f"cosine {count}, {place}", ["1", *measured]))
    for outcome in [name for name in results[0]["exact"] if name != "lr"]:
        exact = cell([each["exact"][outcome] for each in results])
        trained = [cell([each["estimators"][label][outcome] for each in results]) for label in first]
        columns.append(Column(outcome, [exact, *trained]))
    if against:
        verdicts = [against["verdicts"].get(label) for label in first]
        columns.append(Column("than ST", ["-", *("-" if each is None else _verdict(each) for each in verdicts)], right=False))
    lrs = [[each["exact"]["lr"] for each in results], *([each["estimators"][label]["lr"] for each in results] for label in first)]
    columns.append(Column("lr", [f"{statistics.median(of):g}" for of in lrs]))
    return grid.table(columns, f"From the laboratory to training: {networks(found)}")


def _verdict(of: dict[str, Any]) -> str:
    """A difference, half of its interval, and what it amounts to."""
    half = "" if of["half_width"] is None else f" ±{of['half_width']:.3f}"
    return f"{of['difference']:+.3f}{half} {of['verdict'] or ''}".strip()


def _agreement(found: Found) -> str:
    rows = [(outcome, count) for outcome, counts in _rhos(found).items() for count in counts]
    columns = [
        Column("what came out", [outcome for outcome, _ in rows], right=False),
        Column("cosine of", [count for _, count in rows]),
    ]
    for place in next(iter(next(iter(_rhos(found).values())).values())):
        cells = [cell([each["spearman"][outcome][count][place] for each in found.values()]) for outcome, count in rows]
        columns.append(Column(place, cells))
    return grid.table(columns, "Rank correlation, over estimators, of the cosine and what came out (better: higher)")


def _rhos(found: Found) -> dict[str, Any]:
    rhos: dict[str, Any] = next(iter(found.values()))["spearman"]
    return rhos


def sentence(found: Found) -> str:
    """Whether the mean cosine along the path predicts each outcome."""
    said = []
    for outcome, counts in _rhos(found).items():
        rhos = {count: [one["spearman"][outcome][count]["mean"] for one in found.values()] for count in counts}
        said.append(f"{outcome}: {', '.join(f'{cell(of)} for a mean of {count}' for count, of in rhos.items())}")
    return (
        "Rank correlation, over estimators, of the mean cosine along the exact gradient's path with what training came to, "
        f"{'; '.join(said)}. Means over {networks(found)} with half of their 95% intervals. Cosine 1, 100: of one sample, of a "
        "mean of 100; start, middle, end: of the exact gradient's path. Losses and accuracies are expectations over the noise, by "
        "enumeration; lr is the median of those that gave the least training loss."
    )


def picture(found: Found, folder: Path) -> list[Path]:
    """training.png and .svg: of each estimator the cosine across, the held-out accuracy up; means and intervals over networks."""
    results = list(found.values())
    first = results[0]["estimators"]
    counts = list(next(iter(first.values()))["cosine"])
    figure = Figure(figsize=(4.2 * len(counts), 4.6), layout="constrained")
    title = "Does the direction in the laboratory say how well training ends?"
    figure.suptitle(f"{title} {networks(found)}, 95% intervals", fontsize=9)
    axes = figure.subplots(1, len(counts), sharey=True, squeeze=False)[0]
    styles = [(colour, mark) for mark, colour in itertools.product(MARKS, COLOURS[:6])]
    for axis, count in zip(axes, counts, strict=True):
        for label, (colour, mark) in zip(first, itertools.cycle(styles), strict=False):
            x, wide = _interval([statistics.fmean(each["estimators"][label]["cosine"][count].values()) for each in results])
            y, high = _interval([each["estimators"][label]["held-out accuracy"] for each in results])
            axis.errorbar(x, y, high, wide, fmt=mark, color=colour, markersize=4.5, elinewidth=0.7, label=label)
        drawn.within(axis.set_xlim, axis.get_xlim(), -1, 1)
        drawn.within(axis.set_ylim, axis.get_ylim(), 0, 1)
        exact = statistics.fmean(each["exact"]["held-out accuracy"] for each in results)
        axis.axhline(exact, color="black", linestyle="dotted", linewidth=1, label="the exact gradient")
        rho = cell([each["spearman"]["held-out accuracy"][count]["mean"] for each in results])
        samples = "one sample" if count == "1" else f"a mean of {count}"
        axis.set_title(f"rank correlation {rho}", fontsize=8)
        axis.set_xlabel(f"cosine of {samples} with the exact gradient, along its path", fontsize=8)
        axis.grid(alpha=0.25)
        axis.tick_params(labelsize=7)
    axes[0].set_ylabel("held-out accuracy after training, expected", fontsize=8)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", fontsize=7, frameon=False, ncols=5)
    return drawn.save(figure, folder / "training")


def _interval(of: list[float]) -> tuple[float, float]:
    return statistics.fmean(of), interval.half_width(of) or 0.0
