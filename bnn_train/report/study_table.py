"""The table of bnn-study: for the terminal, in 80 columns, and in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from bnn_train.report import grid, study
from bnn_train.report.grid import Column
from bnn_train.report.study import Figures
from bnn_train.report.tables import duration, size
from bnn_train.report.welch import Difference

INTERVALS = (
    "± reaches over a 95% interval: of a mean Student's, of the gap to the real-valued twin Welch's; both in % of the test images"
)
TIED = "tie: the seeds do not carry a difference from the best method (Welch's t-test, Holm's correction, 5%)"
ONE_SEED = "a single seed has no interval, and nothing is called better by it (?)"


def terminal(found: Mapping[str, Any]) -> str:
    """The table, what its columns mean, and what it leaves out."""
    rows = study.figures(found)
    blocks = []
    if rows:
        blocks.append(grid.table(_columns(rows), f"{found['title']}, test accuracy in %"))
    notes = [*_legend(rows), study.selection_line(found), *study.stage_lines(found)]
    blocks.append("\n".join(grid.sentence(line) for line in notes))
    if missing := study.left_out(found):
        blocks.append("\n".join([f"not in the table, {len(missing)}:", *(grid.sentence(line, "    ", "  ") for line in missing)]))
    return "\n\n".join(blocks)


def markdown(found: Mapping[str, Any], heading: str = "#") -> str:
    """The same as a page: the command, the table, machine, torch, seeds, times."""
    rows = study.figures(found)
    lines = [f"{heading} {found['title']}", "", f"    {found['command']}", ""]
    if rows:
        columns = _markdown_columns(rows)
        lines += [_line(header for header, _, _ in columns), _line("---:" if right else "---" for _, right, _ in columns)]
        lines += [_line(cells) for cells in zip(*(cells for _, _, cells in columns), strict=True)]
        lines.append("")
    notes = [*_legend(rows), study.selection_line(found), *study.stage_lines(found)]
    seeds = ", ".join(map(str, found["seeds"]))
    notes += (
        [f"seeds {seeds}; {duration(study.times(found))} of training in all; {' and '.join(study.machines(found))}"] if rows else []
    )
    lines += [f"- {_escaped(note)}" for note in [*notes, *(f"not in the table: {line}" for line in study.left_out(found))]]
    return "\n".join(lines) + "\n"


def _legend(rows: Sequence[Figures]) -> list[str]:
    lines = [INTERVALS] if any(row.sample.half_width is not None for row in rows) else []
    lines += [TIED] if any(row.standing == study.TIE for row in rows) else []
    single = any(len(row.sample.values) == 1 for row in rows)
    return [*lines, ONE_SEED] if single else lines


def _columns(rows: Sequence[Figures]) -> list[Column]:
    return [
        Column("", [row.name for row in rows], right=False, dotted=True),
        Column("n", [str(len(row.sample.values)) for row in rows]),
        Column("mean", grid.padded([_mean(row) for row in rows]), right=False),
        Column("std", [_percent(row.sample.deviation) for row in rows]),
        Column("gap to twin", grid.padded([_gap(row.gap) for row in rows]), right=False),
        Column("", [row.standing for row in rows], right=False),
        Column("binary MACs", [short(row.network["binary_macs"]) for row in rows]),
        Column("real MACs", [short(row.network["real_macs"]) for row in rows]),
        Column("size", [size(row.network["bytes"]) for row in rows]),
        Column("time", [duration(row.seconds) for row in rows]),
    ]


def _markdown_columns(rows: Sequence[Figures]) -> list[tuple[str, bool, list[str]]]:
    """(header, whether it stands at the right, cells)."""
    stages = [f" in {len(row.row['epochs'])} stages" if len(row.row["epochs"]) > 1 else "" for row in rows]
    names = [
        f"`{row.name}`{of}" if row.row["twin"] else row.name.replace("_", " ", 1) for row, of in zip(rows, stages, strict=True)
    ]
    return [
        ("", False, names),
        ("model", False, [f"`{row.row['model']}`" for row in rows]),
        ("n", True, [str(len(row.sample.values)) for row in rows]),
        ("mean, %", True, [_mean(row) for row in rows]),
        ("deviation", True, [_percent(row.sample.deviation) for row in rows]),
        ("gap to twin", True, [_gap(row.gap) for row in rows]),
        ("", False, [row.standing for row in rows]),
        ("binary MACs", True, [f"{row.network['binary_macs']:,}" for row in rows]),
        ("real MACs", True, [f"{row.network['real_macs']:,}" for row in rows]),
        ("bytes", True, [f"{row.network['bytes']:,}" for row in rows]),
        ("time of a run", True, [duration(row.seconds) for row in rows]),
    ]


def _mean(row: Figures) -> str:
    return _percent(row.sample.mean) + _plus_minus(row.sample.half_width)


def _gap(gap: Difference | None) -> str:
    return "" if gap is None else f"{100 * gap.mean:+.2f}{_plus_minus(gap.half_width)}"


def _plus_minus(half_width: float | None) -> str:
    return "" if half_width is None else f" ±{_percent(half_width)}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f}"


def short(count: int) -> str:
    """A count in three digits: 0, 512, 37.9k, 1.23M."""
    value = float(count)
    for unit in ("", "k", "M"):
        if value < 999.5:
            return f"{count}" if not unit else f"{value:.3g}{unit}"
        value /= 1000
    return f"{value:.3g}G"


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Names of keys and files with what Markdown would read as a sign of its own."""
    return text.replace("*", "\\*").replace("_", "\\_").replace("<", "\\<")
