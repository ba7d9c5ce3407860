"""The part of the page about a study of methods: its table, as the terminal and study.md have it."""

from collections.abc import Mapping, Sequence
from typing import Any

from bnn_train.report import study, study_table
from bnn_train.report.jobs import Job
from bnn_train.report.page import markup
from bnn_train.report.page.markup import Cells
from bnn_train.report.study import Figures

_HEADERS = {"size": "bytes", "": "beside the best"}  # in place of the terminal's


def table(found: Mapping[str, Any], title: str, runs: str) -> str:
    """A section: the table, its notes, what is not in it. runs: HTML that stands below."""
    rows = study.figures(found)
    notes = [*study_table.notes(found), *([study_table.machine_line(found)] if rows else [])]
    notes += [f"Not in the table: {line}" for line in study.left_out(found)]
    return markup.section(
        "methods",
        "Methods and their twin",
        markup.table(_columns(rows), f"{title}, test accuracy in %", sortable=True) if rows else "",
        *(markup.paragraph(note, "note") for note in notes),
        runs,
    )


def _columns(rows: Sequence[Figures]) -> list[Cells]:
    """The terminal's, with multiplications and bytes to the last digit; each sorts by its numbers."""
    numbers: dict[str, list[float | None]] = {
        "n": [float(len(row.sample.values)) for row in rows],
        "mean": [row.sample.mean for row in rows],
        "std": [row.sample.deviation for row in rows],
        "gap to twin": [None if row.gap is None else row.gap.mean for row in rows],
        "time": [row.seconds for row in rows],
    }
    exact = {"binary MACs": "binary_macs", "real MACs": "real_macs", "size": "bytes"}
    name, *others = study_table.columns(rows)
    columns = [Cells("row", name.cells, right=False)]
    for column in others:
        header = _HEADERS.get(column.header, column.header)
        if key := exact.get(column.header):
            counts = [row.network[key] for row in rows]
            columns.append(Cells(header, [f"{count:,}" for count in counts], [float(count) for count in counts]))
        else:
            cells = [cell.strip() for cell in column.cells]
            columns.append(Cells(header, cells, numbers.get(column.header), column.right))
    return columns


def shown_first(found: Mapping[str, Any], jobs: Sequence[Job]) -> list[Job]:
    """The run whose classes and layers are shown: of the method that stands first, else of any that has begun."""
    rows = sorted(study.figures(found), key=lambda row: row.row["twin"] is None)  # the twins last
    ended = [job for row in rows for job in jobs if job.folder.parent.name == row.name and job.summary]
    return (ended or [job for job in jobs if (job.folder / "metrics.jsonl").exists()])[:1]
