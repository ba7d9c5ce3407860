"""The table and the plots of a laboratory study, from its lab.json."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bnn_train.report import grid
from bnn_train.report.grid import Column

Report = dict[str, Any]  # the content of lab.json
# Told apart by readers of every kind of colour vision (Okabe & Ito 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31", "#7F7F7F", "#B2182B")
STYLES = {"loss": (0, (4, 2)), "gradient": "solid", "no noise": "dotted"}  # by what an estimator sees


def table(report: Report) -> str:
    """One table for each network that was measured: every estimator's passes, errors, directions and gains."""
    return "\n\n".join(_table(measured) for measured in report["measured"])


def _table(measured: dict[str, Any]) -> str:
    title, columns = heading(measured), columns_of(measured)
    if grid.fits(columns):
        return grid.table(columns, title)
    parts = [grid.table(columns[:9], title), *([grid.table([columns[0], *columns[9:]])] if columns[9:] else [])]
    return "\n\n".join(parts)


def heading(measured: dict[str, Any]) -> str:
    """Which network was measured."""
    norm = measured["gradient_norm"]["all"]
    return f"{where(measured)}: loss {measured['loss']:.4f}, norm of its gradient {norm:.4f}"


def columns_of(measured: dict[str, Any]) -> list[Column]:
    """The estimators and their figures, in one network."""
    layers = [name for name in measured["gradient_norm"] if name != "all"]
    names = [
        "passes",
        "bias",
        "std",
        "rmse 100",
        "cosine 1",
        "cosine 100",
        "gain 1",
        "gain 100",
        *(layers if len(layers) > 1 else []),
    ]
    rows = []
    for estimator in measured["estimators"].values():
        whole = estimator["blocks"]["all"]
        passes = f"{estimator['forward_passes']:.3g}+{estimator['backward_passes']:.3g}"
        bias = _number(whole["bias"]) if _shows(whole) else f"<{_number(whole['bias_floor'])}"
        cells = [passes, bias, _number(whole["std"])]
        cells.append(_number(whole["rmse"].get("100")))
        cells += [_number(_mean(whole, count)) for count in ("1", "100")]
        cells += [_number(whole["improvement"].get(count)) for count in ("1", "100")]
        cells += [_number(_mean(estimator["blocks"][layer], "100")) for layer in names[8:]]
        rows.append(cells)
    columns = [Column("estimator", list(measured["estimators"]), right=False)]
    columns += [Column(name, cells) for name, cells in zip(names, zip(*rows, strict=True), strict=True)]
    return columns


def legend() -> str:
    return grid.sentence(LEGEND, "")


LEGEND = """\
passes: forward + backward, of one sample. bias, std, rmse: of the whole gradient, as shares of the exact one's norm; < means that
no bias could be told from none, and how large one would have shown; std is that of one sample, rmse the error of a mean of 100.
cosine 1, 100: mean cosine of one sample, or of a mean of 100, with the exact gradient; the layers' columns give it for each, with
100. gain: what a step against the estimate lowers the loss, as a share of what the exact gradient's step does. -: too few samples.
Annealed estimators (ede, reste, any of your own that takes progress) are as at that share of the last epoch; half-way where
nothing is trained."""


def saved_line(report: Report, folder: Path, plots: list[Path]) -> str:
    names = ["lab.json", *(plot.name for plot in plots)]
    return grid.fold([f"{report['seconds']:.0f} s; saved in {folder}:", *(f"{name}," for name in names[:-1]), names[-1]])


def _shows(block: dict[str, Any]) -> bool:
    """Whether the bias can be told from none."""
    return block["bias"] > block["bias_floor"]


def where(measured: dict[str, Any]) -> str:
    return f"{measured['problem']}, epoch {measured['epoch']}" if measured["epoch"] else measured["problem"]


def _mean(block: dict[str, Any], count: str) -> float | None:
    return block["cosine"][count][0] if count in block["cosine"] else None


def _number(value: float | None) -> str:
    """Three digits, and never an exponent; a dash where there were too few samples."""
    return "-" if value is None else f"{value:.0f}" if abs(value) >= 100 else f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def write_plots(report: Report, folder: Path) -> list[Path]:
    """rmse, cosine and bias_std, each as PNG and SVG, into `folder`; returns the files."""
    protocol = report["config"]["protocol"]
    shown = [label for label in protocol["plotted"] or protocol["estimators"] if label != "exact"]
    figures = {
        "rmse": _curves(report, shown, _draw_rmse, "relative RMSE"),
        "cosine": _curves(report, shown, _draw_cosine, "cosine with the exact gradient:\nmean, 15% to 85%"),
        "bias_std": _scatter(report, shown),
    }
    files = []
    for name, figure in figures.items():
        for suffix, options in (("png", {"dpi": 150}), ("svg", {"metadata": {"Date": None}})):
            files.append(folder / f"{name}.{suffix}")
            with mpl.rc_context({"svg.hashsalt": "bnn-train"}):  # the same study gives the same file
                figure.savefig(files[-1], **options)
    return files


def _curves(report: Report, shown: list[str], draw: Any, quantity: str) -> Figure:
    """A panel for each measured network (rows) and layer (columns), against the number of averaged samples."""
    rows = report["measured"]
    columns = list(rows[0]["gradient_norm"])
    columns = columns if len(columns) > 2 else columns[:1]
    figure = Figure(figsize=(2.6 * len(columns) + 2.2, 2.3 * len(rows) + 0.6), layout="constrained")
    axes = figure.subplots(len(rows), len(columns), sharex=True, sharey="row", squeeze=False)
    for measured, line in zip(rows, axes, strict=True):
        for block, axis in zip(columns, line, strict=True):
            for i, label in enumerate(shown):
                estimator = measured["estimators"][label]
                draw(axis, estimator["blocks"][block], _kind(estimator), _colour(i, len(shown)), label)
            axis.set_xscale("log")
            axis.grid(alpha=0.25)
            axis.set_title(f"{where(measured)}: {'all layers' if block == 'all' else block}", fontsize=8)
            axis.tick_params(labelsize=7)
        line[0].set_ylabel(quantity, fontsize=8)
    for axis in axes[-1]:
        axis.set_xlabel("averaged samples", fontsize=8)
    _legend(figure, axes[0, 0].get_legend_handles_labels()[0])
    return figure


def _draw_rmse(axis: Axes, block: dict[str, Any], kind: str, colour: str, label: str) -> None:
    counts = [int(count) for count in block["rmse"]]
    axis.plot(counts, list(block["rmse"].values()), color=colour, linestyle=STYLES[kind], linewidth=1.3, label=label)
    axis.set_yscale("log")


def _draw_cosine(axis: Axes, block: dict[str, Any], kind: str, colour: str, label: str) -> None:
    """The mean, and the band from the 15% to the 85% percentile."""
    counts = [int(count) for count in block["cosine"]]
    mean, low, high = zip(*block["cosine"].values(), strict=True)
    axis.plot(counts, mean, color=colour, linestyle=STYLES[kind], linewidth=1.3, label=label)
    axis.fill_between(counts, low, high, color=colour, alpha=0.1, linewidth=0)


def _colour(i: int, count: int) -> Any:
    return COLOURS[i] if count <= len(COLOURS) else mpl.colormaps["turbo"](i / (count - 1))


def _kind(estimator: dict[str, Any]) -> str:
    if estimator["samples"] == 1:
        return "no noise"
    return "gradient" if estimator["backward_passes"] else "loss"


def _scatter(report: Report, shown: list[str]) -> Figure:
    """Bias against standard deviation of one sample, over all layers, a panel for each measured network.

    Triangles mark biases that cannot be told from none: they are at most where the mark is. Without noise there is no deviation.
    """
    rows = report["measured"]
    figure = Figure(figsize=(3.4 * len(rows) + 1.8, 3.6), layout="constrained")
    axes = figure.subplots(1, len(rows), squeeze=False)[0]
    for measured, axis in zip(rows, axes, strict=True):
        for i, label in enumerate(shown):
            block = measured["estimators"][label]["blocks"]["all"]
            if measured["estimators"][label]["samples"] > 1:
                bias, marker = (block["bias"], "o") if _shows(block) else (block["bias_floor"], "v")
                axis.scatter([block["std"]], [bias], s=28, marker=marker, color=_colour(i, len(shown)))
        axis.set_xscale("log")
        axis.set_yscale("log")
        for side in (axis.xaxis, axis.yaxis):  # 1, 2, 5, 10, ... in plain numbers: the axes span few powers of ten
            side.set_major_locator(LogLocator(subs=(1, 2, 5)))
            side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            side.set_minor_formatter(NullFormatter())
        axis.grid(alpha=0.25)
        axis.tick_params(labelsize=7)
        axis.set_title(where(measured), fontsize=9)
        axis.set_xlabel("relative standard deviation of one sample", fontsize=8)
    axes[0].set_ylabel("relative bias", fontsize=8)
    noisy = [(i, label) for i, label in enumerate(shown) if rows[0]["estimators"][label]["samples"] > 1]
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
