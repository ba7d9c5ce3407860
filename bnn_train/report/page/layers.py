"""The layers of a run: their table, and how the binary ones fared over the epochs."""

from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

from bnn_train.report import health, tables
from bnn_train.report.grid import Column
from bnn_train.report.page import read
from bnn_train.report.page.curves import thinned

# As the page shows them: name, and by what the stored figure is multiplied.
FIGURES = {
    "flipped": ("flipped, % of the weights", 100),
    "back_and_forth": ("flipped back and forth, %", 100),
    "never_moved": ("never moved, %", 100),
    "weights_outside": ("weights outside their window, %", 100),
    "inputs_outside": ("inputs outside their window, %", 100),
    "weights_positive": ("weights that are +1, %", 100),
    "inputs_positive": ("inputs that are +1, %", 100),
    "weights_size": ("size of the latent weights, in windows", 1),
    "gradient": ("gradient over weight", 1),
}


class Value(NamedTuple):
    """Of a figure of a layer after an epoch."""

    epoch: int
    layer: str
    figure: str
    value: float


class Health(NamedTuple):
    """The binary layers of a run over its epochs."""

    layers: list[str]  # from the first to the last of the network
    figures: list[str]  # that are recorded
    values: list[Value]
    newest: list[Column]  # the table of the newest epoch
    epoch: int


def network(run_dir: Path) -> tuple[list[Column], str] | None:
    """(the columns of the table that a run prints, with the totals last; its size in words), where network.json is whole."""
    rows = read.content(run_dir / "network.json")
    try:
        layers = [SimpleNamespace(**row) for row in rows]
        totals = tables.network_totals(layers)
        return tables.network_columns(layers, totals), tables.network_size(totals)
    except (TypeError, KeyError, AttributeError, ZeroDivisionError):
        return None


def of_health(run_dir: Path, most: int) -> Health | None:
    """What health.jsonl holds, in at most about `most` values; None where nothing is recorded."""
    rows = [row for row in health.rows_of(run_dir / "health.jsonl") if row["layers"]]
    by_epoch = {row["epoch"]: row for row in rows if all(isinstance(each, dict) for each in row["layers"].values())}
    if not by_epoch:
        return None
    newest = by_epoch[max(by_epoch)]
    layers = list(dict.fromkeys(name for row in by_epoch.values() for name in row["layers"]))
    figures = [name for name in FIGURES if any(name in each for row in by_epoch.values() for each in row["layers"].values())]
    points = max(10, min(300, most // max(1, len(layers) * len(figures))))
    values = []
    for epoch in thinned(sorted(by_epoch), points):
        for layer, found in by_epoch[epoch]["layers"].items():
            for figure in figures:
                value = read.number(found.get(figure))
                if value is not None:
                    values.append(Value(epoch, layer, figure, value))
    return Health(layers, figures, values, health.columns(newest), newest["epoch"])
