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
CUT = "an interval that would reach below 0 or above 100% is cut there, and stands with its ends"
MARKS = "worse, tie: the seeds carry a difference from the best method, or do not (Welch's t-test, Holm's correction, 5%)"
ONE_SEED = "a single seed has no interval, and nothing is called better by it (?)"


def terminal(found: Mapping[str, Any]) -> str:
    """The table, what its columns mean, and what it leaves out."""
    rows = study.figures(found)
    blocks = []
    if rows:
        blocks.append(grid.table(columns(rows), f"{found['title']}, test accuracy in %"))
    blocks.append("\n".join(grid.sentence(line) for line in notes(found)))
    if missing := study.left_out(found, found["title"]):
        blocks.append("\n".join([f"not in the table, {len(missing)}:", *(grid.sentence(line, "    ", "  ") for line in missing)]))
    return "\n\n".join(blocks)


def notes(found: Mapping[str, Any], setting: bool = True) -> list[str]:
    """What the columns mean, what was compared, and what the runs complain of. setting: with what all rows have, where no command
    stands beside it."""
    said = [study.settings_line(found)] if setting else []
    said += [*_legend(study.figures(found)), study.selection_line(found), *study.stage_lines(found), *study.note_lines(found)]
    return [line for line in said if line]


def markdown(found: Mapping[str, Any], heading: str = "#", words: str = "") -> str:
    """The same as a page: the command, the table, machine, torch, seeds, times. words: paragraphs below the heading."""
    rows = study.figures(found)
    lines = [f"{heading} {found['title']}", "", *([words, ""] if words else []), f"    {found['command']}", ""]
    if rows:
        shown = _markdown_columns(rows)
        lines += [_line(header for header, _, _ in shown), _line("---:" if right else "---" for _, right, _ in shown)]
        lines += [_line(cells) for cells in zip(*(cells for _, _, cells in shown), strict=True)]
        lines.append("")
    said = [*notes(found, setting=False), *([machine_line(found)] if rows else [])]
    lines += [f"- {_escaped(note)}" for note in [*said, *(f"not in the table: {line}" for line in study.left_out(found))]]
    return "\n".join(lines) + "\n"


def machine_line(found: Mapping[str, Any]) -> str:
    """Seeds, time and machine."""
    seeds = ", ".join(map(str, found["seeds"]))
    return f"seeds {seeds}; {duration(study.times(found))} of training in all; {' and '.join(study.machines(found))}"


def _legend(rows: Sequence[Figures]) -> list[str]:
    lines = [INTERVALS] if any(row.sample.half_width is not None for row in rows) else []
    lines += [CUT] if any("(" in text for row in rows for text in (_mean(row), _gap(row.gap))) else []
    lines += [MARKS] if any(row.standing in (study.TIE, study.WORSE) for row in rows) else []
    single = any(len(row.sample.values) == 1 for row in rows)
    return [*lines, ONE_SEED] if single else lines


def columns(rows: Sequence[Figures]) -> list[Column]:
    """Of the terminal's table."""
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
    return _with_interval(row.sample.mean, row.sample.half_width, 0, "")


def _gap(gap: Difference | None) -> str:
    return "" if gap is None else _with_interval(gap.mean, gap.half_width, -1, "+")


def _with_interval(mean: float, half_width: float | None, least: float, sign: str) -> str:
    """A share and how far its interval reaches; its two ends where one of them would lie outside of `least` to 1, which is cut."""
    text = f"{100 * mean:{sign}.2f}"
    if half_width is None:
        return text
    low, high = mean - half_width, mean + half_width
    if least <= low and high <= 1:
        return f"{text} ±{_percent(half_width)}"
    ends = [f"{100 * end:{sign}{'.1f' if least < end < 1 else '.0f'}}" for end in (max(low, least), min(high, 1))]
    return f"{text} ({(' to ' if sign else '–').join(ends)})"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f}"


def short(count: int) -> str:
    """A count in three digits: 0, 512, 37.9k, 1.20M."""
    value, unit = float(count), ""
    for unit in ("", "k", "M", "G"):
        if value < 999.5 or unit == "G":
            break
        value /= 1000
    rounded = float(f"{value:.3g}")
    return f"{rounded:.{0 if not unit or rounded >= 100 else 1 if rounded >= 10 else 2}f}{unit}"


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Names of keys and files with what Markdown would read as a sign of its own."""
    return text.replace("*", "\\*").replace("_", "\\_").replace("<", "\\<")
