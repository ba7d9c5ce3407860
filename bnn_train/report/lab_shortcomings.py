"""The table, the sentence and the picture of one shortcoming, over networks."""

import itertools
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from bnn_train.report import drawn, grid, interval
from bnn_train.report.grid import Column
from bnn_train.report.lab import COLOURS

Found = dict[int, dict[str, Any]]  # by network: {"experiment": ..., "panels": {quantity: {line: {x: value}}}}


class Varied(NamedTuple):
    title: str
    over: str  # what x counts
    scale: str  # of that axis


EXPERIMENTS = {
    "depth": Varied("A wrong factor is multiplied layer by layer: the first layer's gradient", "stochastic layers", "linear"),
    "sharp": Varied("The less noise, the sharper the steps", "scale of the noise", "log"),
    "forward": Varied("A forward pass with less noise than the factor follows from", "share of the noise that is drawn", "linear"),
    "saturation": Varied("Units far from 0: what is left of the first layer's gradient", "mean distance from 0", "linear"),
    "clamp": Varied("A clamp of what arrives depends on the loss's unit", "what the loss is multiplied by", "log"),
    "batch": Varied("Averaging takes away deviation and leaves bias", "averaged gradients of single data", "log"),
}
LEAST = 1e-3  # where axes with a logarithm end
DASHED = (0, (4, 2))
BLACK = "#000000"  # the exact gradient


def text(report: dict[str, Any]) -> str:
    """Of lab.json."""
    return table(dict(enumerate(report["found"])))


def write_plots(report: dict[str, Any], folder: Path) -> list[Path]:
    return picture(dict(enumerate(report["found"])), folder)


def compared(reports: dict[str, dict[str, Any]]) -> str:
    """Of several studies of one shortcoming: each line of the first quantity at its last x."""
    found = {name: dict(enumerate(report["found"])) for name, report in reports.items()}
    varied, panels = _first(next(iter(found.values())))
    quantity, lines = next(iter(panels.items()))
    shared = [label for label in lines if all(label in _first(each)[1][quantity] for each in found.values())]
    columns = [Column("line", shared, right=False)]
    columns += [Column(name, [cell(_ends(each, quantity, label)[1]) for label in shared]) for name, each in found.items()]
    return grid.table(columns, f"{quantity}, {varied.over} at its last value")


def table(found: Found) -> str:
    """A table for each quantity, with the change from the first x to the last; of errors, what the estimators differ in from the
    first of them; and what the first quantity amounts to, in a sentence."""
    varied, panels = _first(found)
    parts = []
    for quantity, lines in panels.items():
        columns = [Column(varied.over, list(lines), right=False)]
        for x in _xs(lines):
            columns.append(Column(x, [cell(values(found, quantity, label, x)) if x in lines[label] else "-" for label in lines]))
        columns.append(Column("last - first", [cell(_change(found, quantity, label), signed=True) for label in lines]))
        parts.append(grid.table(columns, f"{varied.title}: {quantity}"))
        if quantity.startswith("relative"):
            parts.append(_against_the_first(found, varied, quantity, lines))
    return "\n\n".join([*parts, grid.sentence(sentence(found), "")])


def _against_the_first(found: Found, varied: Varied, quantity: str, lines: dict[str, dict[str, float]]) -> str:
    """Paired: a mean whose interval is without 0 is a difference."""
    first, *others = [label for label in lines if ", " not in label]
    columns = [Column(varied.over, others, right=False)]
    for x in _xs(lines):
        start = values(found, quantity, first, x)
        pairs = [zip(values(found, quantity, label, x), start, strict=True) for label in others]
        columns.append(Column(x, [cell([a - b for a, b in pair], signed=True) for pair in pairs]))
    return grid.table(columns, f"{quantity}, less that of {first} in the same network")


def sentence(found: Found) -> str:
    """Of each line of the first quantity: where it begins, where it ends, and whether that is a difference."""
    varied, panels = _first(found)
    quantity, lines = next(iter(panels.items()))
    xs, said = list(_xs(lines)), []
    for label in lines:
        ends = " to ".join(cell(of) for of in _ends(found, quantity, label))
        said.append(f"{label} {_verdict(_change(found, quantity, label))} ({ends})")
    return (
        f"{quantity[0].upper()}{quantity[1:]}, {varied.over}, {xs[0]} to {xs[-1]}: {'; '.join(said)}. Means over "
        f"{networks(found)} with half of their 95% intervals; rises and falls are those whose paired difference, last - first, has "
        "an interval without 0."
    )


def values(found: Found, quantity: str, label: str, x: str) -> list[float]:
    """Of each network."""
    return [result["panels"][quantity][label][x] for result in found.values()]


def cell(of: Sequence[float], signed: bool = False) -> str:
    """A mean, and half of its interval over networks."""
    mean, half = statistics.fmean(of), interval.half_width(of)
    number = _number(mean)
    number = f"+{number}" if signed and float(number) > 0 else number
    return number if half is None else f"{number} ±{_number(half)}"


def _number(value: float) -> str:
    """Three digits, and no minus before a zero."""
    size = abs(value)
    text = f"{size:.0f}" if size >= 100 else f"{size:.2f}" if size >= 0.9995 else f"{size:.3f}"
    return f"-{text}" if value < 0 and float(text) else text


def _first(found: Found) -> tuple[Varied, dict[str, Any]]:
    one = next(iter(found.values()))
    return EXPERIMENTS[one["experiment"]], one["panels"]


def _xs(lines: dict[str, dict[str, float]]) -> list[str]:
    return sorted({x for line in lines.values() for x in line}, key=float)


def networks(found: Found) -> str:
    return f"{len(found)} network{'s' if len(found) > 1 else ''}"


def _change(found: Found, quantity: str, label: str) -> list[float]:
    """From the first x to the last, network by network."""
    return [last - first for first, last in zip(*_ends(found, quantity, label), strict=True)]


def _ends(found: Found, quantity: str, label: str) -> tuple[list[float], list[float]]:
    """At the first x of a line and at its last, of each network."""
    lines = [list(result["panels"][quantity][label].values()) for result in found.values()]
    return [line[0] for line in lines], [line[-1] for line in lines]


def _verdict(change: list[float]) -> str:
    mean, half = statistics.fmean(change), interval.half_width(change)
    if half is None:
        return "goes"
    if max(map(abs, change)) < 1e-9:  # rounding
        return "stays"
    return "does not differ" if abs(mean) <= half else "rises" if mean > 0 else "falls"


def picture(found: Found, folder: Path) -> list[Path]:
    """One panel for each quantity, means and bands of their 95% intervals over networks, as PNG and SVG in `folder`."""
    varied, panels = _first(found)
    figure = Figure(figsize=(4.2 * len(panels), 4), layout="constrained")
    figure.suptitle(f"{varied.title}; {networks(found)}, 95% intervals", fontsize=9)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    names = list(dict.fromkeys(label.split(", ")[0] for lines in panels.values() for label in lines if label != "exact"))
    colours = dict(zip(names, itertools.cycle(colour for colour in COLOURS if colour != BLACK), strict=False))
    for axis, (quantity, lines) in zip(axes, panels.items(), strict=True):
        _prepare(axis, varied, quantity, [float(x) for x in _xs(lines)])
        for label, line in lines.items():
            style = "dotted" if label == "exact" else DASHED if ", " in label else "solid"
            points = {float(x): values(found, quantity, label, x) for x in line}
            _line(axis, points, colours.get(label.split(", ")[0], BLACK), style, label)
        if quantity.startswith("cosine"):
            drawn.within(axis.set_ylim, axis.get_ylim(), -1, 1)
        if axis.get_yscale() == "log":
            least = min(statistics.fmean(values(found, quantity, label, x)) for label, line in lines.items() for x in line)
            axis.set_ylim(bottom=max(LEAST, least / 2))
    handles = {label: line for axis in axes for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    columns = 3 if any(", " in label for label in handles) else 6
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", fontsize=8, frameon=False, ncols=columns)
    return drawn.save(figure, folder / f"shortcoming_{next(iter(found.values()))['experiment']}")


def _prepare(axis: Axes, varied: Varied, quantity: str, xs: list[float]) -> None:
    axis.set_xscale(varied.scale)
    axis.set_xticks(xs, [f"{x:g}" for x in xs])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.tick_params(labelsize=7)
    axis.grid(alpha=0.25)
    axis.set_xlabel(varied.over, fontsize=8)
    axis.set_ylabel(quantity, fontsize=8)
    if not quantity.startswith("cosine"):
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.yaxis.set_minor_formatter(NullFormatter())


def _line(axis: Axes, points: dict[float, list[float]], colour: str, style: Any, label: str) -> None:
    """Of a logarithm's axis, what is below LEAST is not shown."""
    xs, means = list(points), [statistics.fmean(of) for of in points.values()]
    halves = [interval.half_width(of) or 0.0 for of in points.values()]
    low, high = ([mean + side * half for mean, half in zip(means, halves, strict=True)] for side in (-1, 1))
    if axis.get_yscale() == "log":
        means, low, high = ([max(each, LEAST / 10) for each in side] for side in (means, low, high))
    axis.plot(xs, means, color=colour, linestyle=style, linewidth=1.3, marker="o", markersize=2.5, label=label)
    axis.fill_between(xs, low, high, color=colour, alpha=0.15, linewidth=0)
