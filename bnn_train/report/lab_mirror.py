"""The tables and the picture of a study of latent weights beside mirror descent, from its lab.json."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bnn_train.report import drawn, grid
from bnn_train.report.grid import Column

Report = dict[str, Any]  # the content of lab.json
# Told apart by readers of every kind of colour vision (Okabe & Ito 2008).
COLOURS = {"logistic": "#0072B2", "uniform": "#D55E00", "triangular": "#009E73", "normal": "#CC79A7"}
ROUNDING = 1e-16  # below which nothing is drawn


def text(report: Report) -> str:
    return "\n\n".join([tables(report), grid.sentence(meaning(report), "")])


def tables(report: Report) -> str:
    """How equal the two ways are; by how much what training does besides parts them; and what that does to the objective."""
    rows = report["rows"]
    return "\n\n".join(
        grid.table(columns_of(rows, quantity), title)
        for quantity, title in (
            ("equality", "largest difference of a probability from mirror descent that knows of the change"),
            ("difference", "largest difference of a probability from plain mirror descent"),
            ("excess", "objective after the last step, above that of plain mirror descent"),
        )
    )


def columns_of(rows: Sequence[dict[str, Any]], quantity: str) -> list[Column]:
    """A row for each noise, without and with the prior, and a column for each change, of one of the three quantities."""
    places = list(dict.fromkeys((row["noise"], row["kl"]) for row in rows))
    columns = [Column("noise", [noise for noise, _ in places], right=False), Column("kl", [f"{kl:g}" for _, kl in places])]
    for change in dict.fromkeys(row["change"] for row in rows):
        by_place = {(row["noise"], row["kl"]): _cell(row, quantity) for row in rows if row["change"] == change}
        if all(by_place.values()):
            columns.append(Column(change, [by_place[place] for place in places]))
    return columns


def _cell(row: dict[str, Any], quantity: str) -> str:
    """ "" where the row has no such figure."""
    if quantity == "equality":
        equal = row["largest"] if row["change"] == "none" else row["matched"]
        return "" if equal is None else f"{equal:.0e}"
    if row["change"] == "none":
        return ""
    mean, half = row[quantity]
    return f"{mean:.3f}" if half is None else f"{mean:.3f} ±{half:.3f}"


def meaning(report: Report) -> str:
    """What the tables' columns and figures are."""
    protocol = report["config"]["protocol"]
    given = {"clip_grad": protocol["clip_grad"], "size": protocol["clip"] * protocol["scale"]}
    count = report["networks"]
    one = "The figures are of one network."
    several = (
        f"The first table has the largest figure of {count} networks, the others means over them with ± half of the 95% interval."
    )
    return f"{one if count == 1 else several} {LEGEND.format(**given)}"


LEGEND = """\
kl: the weight of the prior, each noise's own divergence from fair coins. none: gradient descent on latent weights, as
optimizer=sgd with momentum=0 takes it. gradient clipped: to a norm of {clip_grad:g}; the loss's part of a step gets shorter and
the prior's does not, which then weighs more. latent clipped: to {size:g}, which keeps mirror descent to an interval of
probabilities. momentum: 0.9, with a learning rate with which equal gradients take equal steps; the prior then weighs a tenth.
adam: its steps have a length of their own, beside which the prior has no weight in units of the loss. drawn: with the mean
gradient that reaches drawn weights, which the squares in the loss bias."""


def write_plots(report: Report, folder: Path) -> list[Path]:
    """mirror.png and mirror.svg, the differences of every change, into `folder`; returns the files."""
    from matplotlib.figure import Figure

    rows = report["rows"]
    changes, priors = list(dict.fromkeys(row["change"] for row in rows)), list(dict.fromkeys(row["kl"] for row in rows))
    figure = Figure(figsize=(1.2 + 3.4 * len(priors), 3.0), layout="constrained")
    for axis, kl in zip(figure.subplots(1, len(priors), sharey=True, squeeze=False)[0], priors, strict=True):
        for i, noise in enumerate(dict.fromkeys(row["noise"] for row in rows)):
            shown = [row for row in rows if (row["noise"], row["kl"]) == (noise, kl)]
            heights = [changes.index(row["change"]) + 0.15 * (i - 1.5) for row in shown]
            means = [max(row["difference"][0], ROUNDING) for row in shown]
            axis.scatter(means, heights, s=22, color=COLOURS[noise], label=noise)
            known = [(row["matched"], height) for row, height in zip(shown, heights, strict=True) if row["matched"] is not None]
            for equal, height in known:
                axis.scatter([max(equal, ROUNDING)], [height], s=22, facecolors="none", edgecolors=COLOURS[noise])
        axis.set_xscale("log")
        axis.set_xlim(ROUNDING / 2, 2)
        axis.set_yticks(range(len(changes)), changes)
        axis.grid(alpha=0.25)
        axis.tick_params(labelsize=7)
        axis.set_title(f"kl = {kl:g}", fontsize=9)
        axis.set_xlabel("largest difference of a probability", fontsize=8)
    figure.axes[0].invert_yaxis()
    dots = figure.axes[0].get_legend_handles_labels()[0]
    hollow = figure.axes[0].scatter([], [], s=22, facecolors="none", edgecolors="black", label="knowing of the change")
    figure.legend(handles=[*dots, hollow], loc="outside right upper", fontsize=8, frameon=False)
    return drawn.save(figure, folder / "mirror")


def compared(reports: dict[str, Report]) -> str:
    """Of studies with the same protocol: what each changed objective is above plain mirror descent's, in each of them."""
    return "\n\n".join(grid.table(columns_of(report["rows"], "excess"), name) for name, report in reports.items())
