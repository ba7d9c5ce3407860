"""What bnn-predict shows: a table, JSON and CSV, from plain data, batch by batch as it is computed."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from bnn_train.report import grid, terminal

LONGEST_BAR, SHORTEST_BAR = 20, 5  # columns of a probability of 1; without room for the shortest there is no bar
NARROW = 60  # columns; with fewer, names are whole as long as they can be, and the bar is left out
PROBABILITY = "probability"


class Prediction(Protocol):
    """Of one file: the numbers of the classes, the most probable first, and the probability of each class, in their order."""

    @property
    def file(self) -> str: ...
    @property
    def ranking(self) -> Sequence[int]: ...
    @property
    def probabilities(self) -> Sequence[float]: ...


class Widths(NamedTuple):
    """Columns of the table's columns; 0 for a bar that there is no room for."""

    file: int
    name: int
    bar: int


def table(
    batches: Iterable[Sequence[Prediction]], files: Sequence[str], classes: Sequence[str], top: int, title: str
) -> Iterator[str]:
    """The lines of each batch: one for each of the `top` most probable classes of a file, under title and header.

    files: of all batches together, so that the columns of the first one fit the last one, too. Without a batch nothing comes.
    """
    names = [_plain(name) for name in classes]
    widths = _widths([_plain(file) for file in files], names)
    names = [_cell(name, widths.name) for name in names]
    before = "\n".join([title, "", *_header(widths)]) + "\n"
    for batch in batches:
        yield before + "".join(_rows(each, names, top, widths) for each in batch)
        before = ""


def _widths(files: Sequence[str], names: Sequence[str]) -> Widths:
    """File, class, probability and bar on one line: first the bar is made shorter, then the names are."""
    width = terminal.width()
    file, name = (max(map(grid.length, ("file", *files))), max(map(grid.length, ("class", *names))))
    room = width - len(PROBABILITY) - 2 * grid.GAP  # for names and bar
    for_names = room - (grid.GAP + SHORTEST_BAR if width >= NARROW else 0)
    name = min(name, max(for_names // 2, for_names - file))
    file = min(file, for_names - name)
    bar = min(LONGEST_BAR, room - file - name - grid.GAP)
    return Widths(file, name, bar if bar >= SHORTEST_BAR else 0)


def _header(widths: Widths) -> list[str]:
    header = (" " * grid.GAP).join([grid.pad("file", widths.file), grid.pad("class", widths.name), PROBABILITY])
    return [header, terminal.as_written("─") * (len(header) + (grid.GAP + widths.bar if widths.bar else 0))]


def _rows(one: Prediction, names: Sequence[str], top: int, widths: Widths) -> str:
    lines = []
    for place, number in enumerate(one.ranking[:top]):
        file, share = "" if place else _plain(one.file), one.probabilities[number]
        cells = [_cell(file, widths.file), names[number], f"{share:{len(PROBABILITY)}.2%}", "█" * round(share * widths.bar)]
        lines.append((" " * grid.GAP).join(cells).rstrip() + "\n")
    return "".join(lines)


def _plain(text: str) -> str:
    """As it will be seen, also on a stream without some of its characters: escapes are longer than what they stand for."""
    return terminal.as_written(grid.plain(text))


def _cell(text: str, width: int) -> str:
    return grid.pad(grid.shortened(text, width, terminal.as_written("…")), width)


def as_json(batches: Iterable[Sequence[Prediction]], classes: Sequence[str], top: int) -> Iterator[str]:
    """One array, an object on each line: file, class, index, probability, and `top`, the most probable classes."""
    before = "[\n"
    for batch in batches:
        rows = []
        for each in batch:
            best = [{"class": classes[i], "index": i, "probability": each.probabilities[i]} for i in each.ranking[:top]]
            rows.append(json.dumps({"file": each.file, **best[0], "top": best}))
        yield before + ",\n".join(rows)
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def as_csv(batches: Iterable[Sequence[Prediction]], classes: Sequence[str]) -> Iterator[str]:
    """file, class, probability, and for each class its probability, in a column called probability_CLASS."""
    yield csv_header(classes)
    for batch in batches:
        yield csv_rows(batch, classes)


def csv_header(classes: Sequence[str]) -> str:
    return _csv([["file", "class", "probability", *(f"probability_{name}" for name in classes)]])


def csv_rows(batch: Sequence[Prediction], classes: Sequence[str]) -> str:
    best = [each.ranking[0] for each in batch]
    return _csv([[each.file, classes[i], each.probabilities[i], *each.probabilities] for each, i in zip(batch, best, strict=True)])


def _csv(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
