"""What bnn-predict shows: a table, JSON and CSV, from plain data."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Protocol

from bnn_train.report import grid, terminal
from bnn_train.report.grid import Column

LONGEST_BAR, SHORTEST_BAR = 20, 5  # columns of a probability of 1; without room for the shortest there is no bar


class Prediction(Protocol):
    """Of one file: the numbers of the classes, the most probable first, and the probability of each class, in their order."""

    @property
    def file(self) -> str: ...
    @property
    def ranking(self) -> Sequence[int]: ...
    @property
    def probabilities(self) -> Sequence[float]: ...


def table(predictions: Sequence[Prediction], classes: Sequence[str], top: int) -> str:
    """A row for each of the `top` most probable classes of each file; a bar where the width has room for one."""
    files, names, shares = [], [], []
    for each in predictions:
        for place, number in enumerate(each.ranking[:top]):
            files.append("" if place else each.file)
            names.append(classes[number])
            shares.append(each.probabilities[number])
    columns = [
        Column("file", files, right=False, dotted=True),
        Column("class", names, right=False),
        Column("probability", [f"{share:.2%}" for share in shares]),
    ]
    room = min(LONGEST_BAR, terminal.width() - sum(column.width + grid.GAP for column in columns))
    if room >= SHORTEST_BAR:
        columns.append(Column("", ["█" * round(share * room) for share in shares], right=False, spare=1))
    return grid.table(columns)


def as_json(predictions: Sequence[Prediction], classes: Sequence[str], top: int) -> str:
    """One array, an object on each line: file, class, index, probability, and `top`, the most probable classes."""
    rows = []
    for each in predictions:
        best = [{"class": classes[i], "index": i, "probability": each.probabilities[i]} for i in each.ranking[:top]]
        rows.append(json.dumps({"file": each.file, **best[0], "top": best}))
    return "[\n" + ",\n".join(rows) + "\n]" if rows else "[]"


def as_csv(predictions: Sequence[Prediction], classes: Sequence[str]) -> str:
    """file, class, probability, and for each class its probability, in a column called probability_CLASS."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "class", "probability", *(f"probability_{name}" for name in classes)])
    for each in predictions:
        first = each.ranking[0]
        writer.writerow([each.file, classes[first], each.probabilities[first], *each.probabilities])
    return text.getvalue()
