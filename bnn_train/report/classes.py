"""How a network fares on each class: which images of it are taken for what. From plain data, for summary.json and the terminal."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bnn_train.report import grid
from bnn_train.report.grid import Column

MOST = 1000  # classes of which figures are kept: of more the matrix would be larger than all other files of a run
SHOWN = 20  # classes of which a table is printed
MATRIX = 10  # of which it has a column for each


def figures(predicted: Iterable[int], labels: Iterable[int], classes: Sequence[str]) -> dict[str, Any]:
    """{"classes": names, "per_class": accuracy of each in [0, 1], None where there is no image of it, "confusion": rows by class,
    in each how many of its images were taken for every class}; nothing where there are more than MOST classes.

    predicted, labels: class numbers, one for each image.
    """
    count = len(classes)
    if count > MOST:
        return {}
    confusion = [[0] * count for _ in classes]
    for label, number in zip(labels, predicted, strict=True):
        confusion[label][number] += 1
    per_class = [row[number] / sum(row) if any(row) else None for number, row in enumerate(confusion)]
    return {"classes": list(classes), "per_class": per_class, "confusion": confusion}


def table(result: Mapping[str, Any]) -> str:
    """Of what `figures` gave, as a part of `result`; "" where there is nothing to be shown.

    With the whole matrix where it fits, else with the class that images of each are most often taken for.
    """
    if not 0 < len(result.get("classes", ())) <= SHOWN:
        return ""
    classes, confusion = result["classes"], result["confusion"]
    accuracies = ["" if share is None else f"{share:.2%}" for share in result["per_class"]]
    columns = [
        Column("class", classes, right=False),
        Column("images", [f"{sum(row):,}" for row in confusion]),
        Column("accuracy", accuracies),
    ]
    taken = [Column(name, [f"{row[number]:,}" for row in confusion]) for number, name in enumerate(classes)]
    if len(classes) <= MATRIX and grid.fits([*columns, *taken]):
        return f"{grid.table([*columns, *taken], 'test images of each class, and what they are taken for')}"
    others = Column(
        "most often taken for", [_wrong(classes, row, number) for number, row in enumerate(confusion)], right=False, spare=1
    )
    return grid.table([*columns, others], "test images of each class")


def never_named(result: Mapping[str, Any]) -> list[str]:
    """The classes that have test images and are given to none."""
    confusion = result.get("confusion", [])
    named = [any(column) for column in zip(*confusion, strict=True)]
    return [
        name for name, row, is_named in zip(result.get("classes", ()), confusion, named, strict=True) if any(row) and not is_named
    ]


def _wrong(classes: Sequence[str], row: Sequence[int], number: int) -> str:
    """The most frequent mistake, of equals the first."""
    mistakes = [count * (i != number) for i, count in enumerate(row)]
    most = max(mistakes)
    return f"{classes[mistakes.index(most)]} ({most:,})" if most else ""
