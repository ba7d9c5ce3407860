"""The table and the plots of a laboratory study, from its lab.json."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bnn_train.report import drawn, grid
from bnn_train.report.grid import Column
from bnn_train.report.lab_legend import meaning as meaning

Report = dict[str, Any]  # the content of lab.json
# Told apart by readers of every kind of colour vision (Okabe & Ito 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31", "#7F7F7F", "#B2182B")
STYLES = {"loss": (0, (4, 2)), "gradient": "solid", "no noise": "dotted"}  # by what an estimator sees


def text(report: Report) -> str:
    return f"{table(report)}\n\n{legend(report)}"


MOST_PLACES = 4  # whose whole tables are printed behind a measurement


def summary(report: Report) -> str | None:
    """Of many places one table in place of theirs: each estimator's cosine of a mean of 100 samples. None where they are few."""
    places = report["measured"]
    if len(places) <= MOST_PLACES:
        return None
    columns = [Column("estimator", list(places[0]["estimators"]), right=False)]
    for place in places:
        cells = [_figure(_mean(each["blocks"]["all"], "100")) + _mark(each) for each in place["estimators"].values()]
        columns.append(Column(where(place), grid.padded(cells)))
    meaning = (
        "Means over networks, with ± half of the 95% interval. +, -: better or worse than the straight-through estimator, in the "
        "same networks, by a paired t-test at 5%, corrected for the number of estimators."
    )
    return f"{grid.table(columns, 'cosine of a mean of 100 samples with the exact gradient')}\n\n{grid.sentence(meaning, '')}"


def _mark(estimator: dict[str, Any]) -> str:
    return {"better": " +", "worse": " -"}.get(_verdict(estimator, "100"), "  ")


def table(report: Report) -> str:
    """One table for each place that was measured: every estimator's passes, errors, directions and gains, over networks."""
    return "\n\n".join(grid.table(columns_of(measured), heading(measured)) for measured in report["measured"])


def heading(measured: dict[str, Any]) -> str:
    """Which networks were measured."""
    return f"{where(measured)}: loss {_figure(measured['loss'])}, norm of its gradient {_figure(measured['gradient_norm']['all'])}"


def columns_of(measured: dict[str, Any]) -> list[Column]:
    """The estimators and their figures, at one place."""
    layers = [name for name in measured["gradient_norm"] if name != "all"]
    rows = []
    for estimator in measured["estimators"].values():
        whole = estimator["blocks"]["all"]
        bias = _figure(whole["bias"]) if _shows(whole) else f"<{_number(whole['bias_floor'][0])}"
        cells = {
            "passes": "+".join(_passes(estimator[f"{way}_passes"]) for way in ("forward", "backward")),
            "bias": bias,
            "std": _figure(whole["std"]),
            "rmse 100": _figure(whole["rmse"].get("100")),
        }
        for count in ("1", "100"):
            cells[f"cosine {count}"] = _figure(_mean(whole, count))
            cells[f"{count}: than ST"] = _verdict(estimator, count)
        cells |= {f"gain {count}": _figure(whole["improvement"].get(count)) for count in ("1", "100")}
        cells |= {name: _figure(_mean(estimator["blocks"][name], "100")) for name in layers if len(layers) > 1}
        rows.append(cells)
    left = ("1: than ST", "100: than ST")
    columns = [Column("estimator", list(measured["estimators"]), right=False)]
    return [*columns, *(Column(name, [row[name] for row in rows], right=name not in left) for name in rows[0])]


def _verdict(estimator: dict[str, Any], count: str) -> str:
    return (estimator.get("against", {}).get(count) or {}).get("verdict") or "-"


def compared(reports: dict[str, Report]) -> str:
    """Of studies with the same places: every estimator's cosine of a mean of 100 samples, in each of them."""
    parts = []
    for places in zip(*(report["measured"] for report in reports.values()), strict=False):
        labels = [label for label in places[0]["estimators"] if all(label in place["estimators"] for place in places)]
        columns = [Column("estimator", labels, right=False)]
        for name, place in zip(reports, places, strict=True):
            estimators = [place["estimators"][label] for label in labels]
            columns.append(Column(name, [_figure(_mean(each["blocks"]["all"], "100")) for each in estimators]))
            columns.append(Column("than ST", [_verdict(each, "100") for each in estimators], right=False))
        parts.append(grid.table(columns, f"{where(places[0])}: cosine of a mean of 100 samples"))
    return "\n\n".join(parts)


def legend(report: Report) -> str:
    return grid.sentence(meaning(report), "")


def _shows(block: dict[str, Any]) -> bool:
    """Whether the bias can be told from none."""
    bias: float = block["bias"][0]
    return bias > block["bias_floor"][0]


def where(measured: dict[str, Any]) -> str:
    if "sharpness" in measured:
        return f"{measured['problem']}, sharpness {measured['sharpness']:g}"
    return f"{measured['problem']}, epoch {measured['epoch']}" if measured["epoch"] else measured["problem"]


def _mean(block: dict[str, Any], count: str) -> Sequence[Any] | None:
    return block["cosine"][count][0] if count in block["cosine"] else None


def _figure(figure: Sequence[Any] | None) -> str:
    """A mean with half of its interval's width, where there is one; a dash where there were too few samples."""
    if figure is None:
        return "-"
    mean, half = figure
    return _number(mean) if not half else f"{_number(mean)} ±{_number(half)}"


def _passes(count: float) -> str:
    return f"{count:.3g}" if count < 1000 else f"{count:.0f}"


def _number(value: float) -> str:
    """Three digits, and never an exponent."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def write_plots(report: Report, folder: Path) -> list[Path]:
    """rmse, cosine and bias_std, each as PNG and SVG, into `folder`; returns the files."""
    protocol = report["config"]["protocol"]
    shown = [label for label in protocol["plotted"] or protocol["estimators"] if label != "exact"]
    figures = {
        "rmse": _curves(report, shown, _draw_rmse, "relative RMSE"),
        "cosine": _curves(report, shown, _draw_cosine, "cosine with the exact gradient"),
        "bias_std": _scatter(report, shown),
    }
    return [file for name, figure in figures.items() for file in drawn.save(figure, folder / name)]


def _curves(report: Report, shown: list[str], draw: Any, quantity: str) -> Figure:
    """A panel for each measured place and layer, against the number of averaged samples."""
    rows = _panels(report["measured"])
    figure = Figure(figsize=(2.6 * len(rows[0]) + 2.2, 2.3 * len(rows) + 0.6), layout="constrained")
    axes = figure.subplots(len(rows), len(rows[0]), sharex=True, sharey="row", squeeze=False)
    for row, line in zip(rows, axes, strict=True):
        for (measured, block), axis in zip(row, line, strict=True):
            for i, label in enumerate(shown):
                estimator = measured["estimators"][label]
                draw(axis, estimator["blocks"][block], _kind(estimator), _colour(i, len(shown)), label)
            axis.set_xscale("log")
            axis.grid(alpha=0.25)
            axis.set_title(f"{where(measured)}: {'all layers' if block == 'all' else block}", fontsize=8)
            axis.tick_params(labelsize=7)
        line[0].set_ylabel(quantity, fontsize=8)
        if line[0].get_yscale() == "linear":  # cosines
            drawn.within(line[0].set_ylim, line[0].get_ylim(), -1, 1)
    for axis in axes[-1]:
        axis.set_xlabel("averaged samples", fontsize=8)
    _legend(figure, axes[0, 0].get_legend_handles_labels()[0])
    return figure


def _panels(places: list[dict[str, Any]]) -> list[list[tuple[dict[str, Any], str]]]:
    """Rows of panels: a place's layers beside each other, or, where places differ in their layers, a problem's places."""
    layers = list(places[0]["gradient_norm"])
    if any(list(place["gradient_norm"]) != layers for place in places):
        return [[(place, "all") for place in row] for row in _by_problem(places)]
    return [[(place, layer) for layer in (layers if len(layers) > 2 else layers[:1])] for place in places]


def _by_problem(places: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """A row for each problem, or one of them all where each has one place."""
    problems = list(dict.fromkeys(place["problem"] for place in places))
    rows = [[place for place in places if place["problem"] == problem] for problem in problems]
    return rows if len(rows[0]) > 1 else [places]


def _draw_rmse(axis: Axes, block: dict[str, Any], kind: str, colour: str, label: str) -> None:
    _line(axis, {int(count): figure for count, figure in block["rmse"].items()}, kind, colour, label, least=1e-3)
    axis.set_yscale("log")


def _draw_cosine(axis: Axes, block: dict[str, Any], kind: str, colour: str, label: str) -> None:
    _line(axis, {int(count): figures[0] for count, figures in block["cosine"].items()}, kind, colour, label)


def _line(axis: Axes, figures: dict[int, Any], kind: str, colour: str, label: str, least: float | None = None) -> None:
    """Means, and the band of their 95% intervals over networks; not below `least`, where a logarithm is drawn."""
    counts, means = list(figures), [mean for mean, _ in figures.values()]
    axis.plot(counts, means, color=colour, linestyle=STYLES[kind], linewidth=1.3, label=label)
    if all(half is not None for _, half in figures.values()):
        low = [mean - half if least is None else max(mean - half, least) for mean, half in figures.values()]
        axis.fill_between(counts, low, [mean + half for mean, half in figures.values()], color=colour, alpha=0.15, linewidth=0)


def _colour(i: int, count: int) -> Any:
    return COLOURS[i] if count <= len(COLOURS) else mpl.colormaps["turbo"](i / (count - 1))


def _kind(estimator: dict[str, Any]) -> str:
    if estimator["samples"] == 1:
        return "no noise"
    return "gradient" if estimator["backward_passes"] else "loss"


def _scatter(report: Report, shown: list[str]) -> Figure:
    """Bias against standard deviation of one sample, over all layers, with 95% intervals over networks; a panel for each place.

    Triangles mark biases that cannot be told from none: they are at most where the mark is. Without noise there is no deviation.
    """
    places = report["measured"]
    rows = _by_problem(places)
    figure = Figure(figsize=(3.4 * len(rows[0]) + 1.8, 3.2 * len(rows) + 0.4), layout="constrained")
    axes = figure.subplots(len(rows), len(rows[0]), squeeze=False)
    for measured, axis in zip(places, axes.flat, strict=True):
        for i, label in enumerate(shown):
            block = measured["estimators"][label]["blocks"]["all"]
            if measured["estimators"][label]["samples"] > 1:
                (bias, half), marker = (block["bias"], "o") if _shows(block) else (block["bias_floor"], "v")
                std, wide = block["std"]
                colour = _colour(i, len(shown))
                axis.scatter([std], [bias], s=28, marker=marker, color=colour)
                if half is not None and marker == "o":
                    low, left = min(half, 0.9 * bias), min(wide, 0.9 * std)  # a logarithm's axis ends above 0
                    axis.errorbar([std], [bias], [[low], [half]], [[left], [wide]], color=colour, linewidth=0.8)
        axis.set_xscale("log")
        axis.set_yscale("log")
        for side in (axis.xaxis, axis.yaxis):  # 1, 2, 5, 10, ... in plain numbers: the axes span few powers of ten
            side.set_major_locator(LogLocator(subs=(1, 2, 5)))
            side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            side.set_minor_formatter(NullFormatter())
        axis.grid(alpha=0.25)
        axis.tick_params(labelsize=7)
        axis.set_title(where(measured), fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel("relative standard deviation of one sample", fontsize=8)
    for axis in axes[:, 0]:
        axis.set_ylabel("relative bias", fontsize=8)
    noisy = [(i, label) for i, label in enumerate(shown) if any(place["estimators"][label]["samples"] > 1 for place in places)]
    handles = [Line2D([], [], linestyle="", marker="s", color=_colour(i, len(shown)), label=label) for i, label in noisy]
    handles += [
        Line2D([], [], linestyle="", marker=marker, markerfacecolor="none", color="black", label=label)
        for marker, label in (("o", "bias"), ("v", "bias, at most"))
    ]
    _legend(figure, handles)
    return figure


def _legend(figure: Figure, handles: list[Any]) -> None:
    """Beside the panels, in as many columns as it takes to be no higher than they are."""
    columns = 1 + len(handles) // max(1, int(figure.get_figheight() * 5))
    figure.legend(handles=handles, loc="outside right upper", fontsize=8, frameon=False, ncols=columns)
