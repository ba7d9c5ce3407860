"""Figures for papers, as PNG and SVG: curves with bands, confusion matrices, flips of each layer."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnn_train.errors import ConfigError
from bnn_train.report import drawn, laboratory
from bnn_train.report.given import Given
from bnn_train.report.jobs import Job
from bnn_train.report.page import layers, predicted
from bnn_train.report.page.charts import COLOURS, OTHERS, hue
from bnn_train.report.page.curves import Setting, settings
from bnn_train.report.page.html import in_detail
from bnn_train.report.page.matrix import MOST_WITH_NUMBERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DASHES = ("-", (0, (5, 2)), (0, (1, 1)), (0, (6, 2, 1, 2)))
SMALL = 8  # points


def write(given: Given, folder: Path) -> list[Path]:
    """Writes the figures that the runs, or the study, have something for; returns the files.

    Raises ConfigError where the folder cannot be made or written to, or there is nothing to draw.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError("png", folder, f"cannot be made ({error.strerror}); give a folder") from error
    try:
        if given.study is not None:
            return laboratory.kind(given.study).write_plots(given.study, folder)
        figures = _figures(given)
        if not figures:
            raise ConfigError("png", folder, "nothing to draw: no epoch has been measured yet")
        return [path for name, figure in figures.items() for path in drawn.save(figure, folder / name, dpi=200)]
    except OSError as error:
        raise ConfigError("png", folder, f"could not be written ({error.strerror}); free or open it") from error


def _figures(given: Given) -> dict[str, "Figure"]:
    found = settings(given.jobs, given.rows)
    splits = list(dict.fromkeys(split for setting in found for split in setting.curves))
    figures = {}
    if len(found) == 1:
        figures["curves"] = _curves([(split.replace("_", " "), found[0], split) for split in splits], "")
    elif found:
        for split in splits:
            shown = [(setting.label, setting, split) for setting in found if split in setting.curves]
            figures[f"curves_{split}"] = _curves(shown, split.replace("_", " "))
    detailed = in_detail(given)
    for i, job in enumerate(detailed):
        suffix = f"_{i + 1}" if len(detailed) > 1 else ""
        for name, figure in (("confusion", _confusion(job)), ("flips", _flips(job))):
            if figure is not None:
                figures[f"{name}{suffix}"] = figure
    return figures


def _curves(shown: Sequence[tuple[str, Setting, str]], what: str) -> "Figure":
    """Loss and accuracy side by side; the line is the mean, the band from the smallest to the largest run."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    rows = -(-len(shown) // 3)
    figure = Figure(figsize=(6.8, 2.6 + 0.17 * min(rows, 12)), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    for i, (label, setting, split) in enumerate(shown):
        style = {"color": COLOURS[i], "linestyle": DASHES[i % 4]} if i < len(COLOURS) else {"color": OTHERS, "alpha": 0.5}
        points = setting.curves[split]
        for axis, kind in ((loss, "loss"), (accuracy, "accuracy")):
            drawn = [(point.epoch, *value) for point in points if (value := getattr(point, kind)) is not None]
            if drawn:
                _line(axis, drawn, style, label if i < len(COLOURS) else "_others", band=len(setting.jobs) > 1)
    words = f"{what} " if what else ""
    for axis, name in ((loss, "loss"), (accuracy, "accuracy")):
        _dress(axis, f"{words}{name}")
    if loss.lines and min(_values(loss)) > 0:
        _logarithmic(loss)
    accuracy.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g}%"))
    if len(shown) > 1:
        handles, labels = (loss if loss.lines else accuracy).get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(labels)), fontsize=SMALL, frameon=False)
    return figure


def _line(axis: "Axes", points: Sequence[tuple[float, ...]], style: dict[str, Any], label: str, band: bool) -> None:
    epochs, mean, low, high = zip(*points, strict=True)
    axis.plot(epochs, mean, linewidth=1.4, label=_plain(label), marker="o" if len(epochs) == 1 else None, markersize=4, **style)
    if band:
        axis.fill_between(epochs, low, high, color=style["color"], alpha=0.15, linewidth=0)


def _dress(axis: "Axes", name: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_xlabel("epoch", fontsize=SMALL)
    axis.set_ylabel(name, fontsize=SMALL)
    axis.tick_params(which="both", labelsize=SMALL - 1)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(alpha=0.25)


def _logarithmic(axis: "Axes") -> None:
    """1, 2, 5, 10, ... in plain numbers: the values span few powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_yscale("log", nonpositive="mask")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())


def _values(axis: "Axes") -> list[float]:
    return [float(value) for line in axis.lines for value in list(line.get_ydata())]  # type: ignore[arg-type]


def _plain(text: str) -> str:
    """As it is, and no formula."""
    return text.replace("$", r"\$")


def _confusion(job: Job) -> "Figure | None":
    """Shares of the images of a class; their numbers in the cells of up to 20 classes."""
    from matplotlib.figure import Figure

    found = predicted.read(job.folder)
    if found is None:
        return None
    count, few = len(found.classes), len(found.classes) <= MOST_WITH_NUMBERS
    shares = found.confusion / found.confusion.sum(axis=1, keepdims=True).clip(1)
    side = max(2.8, min(7.5, 0.36 * count + 1.0)) if few else 6.0
    figure = Figure(figsize=(side + 0.5, side), layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if few:
        for i in range(count):
            for j in range(count):
                if found.confusion[i, j]:
                    colour = "white" if shares[i, j] > 0.55 else "black"
                    axis.text(j, i, f"{found.confusion[i, j]}", ha="center", va="center", fontsize=SMALL - 1, color=colour)
    ticks = list(range(0, count, max(1, count // 25)))
    names = [_plain(found.classes[i]) for i in ticks]
    axis.set_xticks(ticks, names, rotation=0 if max(map(len, names)) <= 3 and few else 90, fontsize=SMALL - 1)
    axis.set_yticks(ticks, names, fontsize=SMALL - 1)
    axis.set_xlabel("taken for", fontsize=SMALL)
    axis.set_ylabel("class", fontsize=SMALL)
    bar = figure.colorbar(image, ax=axis, shrink=0.8)
    bar.set_label("share of the class", fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL - 1)
    return figure


def _flips(job: Job) -> "Figure | None":
    """Which share of the binary weights of each layer has flipped in each epoch."""
    from matplotlib.figure import Figure

    found = layers.of_health(job.folder, 100_000)
    if found is None or "flipped" not in found.figures:
        return None
    figure = Figure(figsize=(4.6, 2.9), layout="constrained")
    axis = figure.subplots()
    count = len(found.layers)
    for i, layer in enumerate(found.layers):
        points = [(value.epoch, 100 * value.value) for value in found.values if value.layer == layer and value.figure == "flipped"]
        if points:
            epochs, shares = zip(*points, strict=True)
            style: dict[str, Any] = {"color": COLOURS[i], "linestyle": DASHES[i % 4]} if count <= len(COLOURS) else {}
            style = style or {"color": hue(i / (count - 1))}
            axis.plot(epochs, shares, linewidth=1.3, label=_plain(layer), marker="o" if len(epochs) == 1 else None, **style)
    _dress(axis, "flipped weights in %")
    if max(_values(axis), default=0) > 0:
        _logarithmic(axis)
    figure.legend(loc="outside right upper", fontsize=SMALL - 1, frameon=False, ncols=1 + count // 20)
    return figure
