"""Pieces of HTML: every text that comes from a run is escaped here."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bnn_train.report.grid import Column


@dataclass
class Cells:
    """A column: its header, its texts, and, where it is sorted by numbers, these (None: always last)."""

    header: str
    texts: Sequence[str]
    numbers: Sequence[float | None] | None = None
    right: bool = True
    note: str = ""  # what the header means


def text(value: object) -> str:
    """Escaped, also for an attribute."""
    return html.escape(str(value))


def cells(column: Column, numbers: Sequence[float | None] | None = None) -> Cells:
    """A column of a table for the terminal."""
    return Cells(column.header, column.cells, numbers, column.right)


def table(columns: Sequence[Cells], caption: str, sortable: bool = False, marked: int | None = None, total: bool = False) -> str:
    """A table in a box of its own, which scrolls. marked: the number of the row that is best; total: the last row stands apart."""
    head = "".join(_header(column, sortable) for column in columns)
    count = len(columns[0].texts)
    body = []
    for i in range(count):
        kind = ' class="best"' if i == marked else ' class="total"' if total and i == count - 1 else ""
        body.append(f"<tr{kind}>{''.join(_cell(column, i, first=not n) for n, column in enumerate(columns))}</tr>")
    # A box that scrolls must be reached by the keyboard.
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{text(caption)}"><table{" class=sortable" * sortable}>'
        f"<caption>{text(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _header(column: Cells, sortable: bool) -> str:
    kind = ' class="number"' if column.right else ""
    note = f' title="{text(column.note)}"' if column.note else ""
    name = text(column.header)
    if sortable:
        name = f'<button type="button">{name}<span class="arrow" aria-hidden="true"></span></button>'
    return f'<th scope="col"{kind}{note}{" aria-sort=ascending" if sortable and column.header == "rank" else ""}>{name}</th>'


def _cell(column: Cells, i: int, first: bool) -> str:
    kind = ' class="number"' if column.right else ""
    number = ""
    if column.numbers is not None:
        value = column.numbers[i]
        number = f' data-sort="{"" if value is None else float(value)!r}"'
    tag = "th" if first else "td"
    return f"<{tag}{' scope=row' * first}{kind}{number}>{text(column.texts[i])}</{tag}>"


def pairs(rows: Sequence[tuple[str, str]]) -> str:
    """Names and values."""
    return f"<dl>{''.join(f'<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>' for name, value in rows)}</dl>" if rows else ""


def section(name: str, title: str, *content: str) -> str:
    """A part of the page with a heading, left out where it has no content."""
    inside = "".join(content)
    return f'<section id="{text(name)}"><h2>{text(title)}</h2>{inside}</section>' if inside else ""


def folded(summary: str, content: str, is_open: bool = False) -> str:
    """Content that is opened by its summary."""
    return f"<details{' open' * is_open}><summary>{text(summary)}</summary>{content}</details>"


def paragraph(words: str, kind: str = "") -> str:
    return f"<p{f' class={kind}' if kind else ''}>{text(words)}</p>"


def panel(name: str, kind: str, charts: Sequence[str], caption: str = "") -> str:
    """The place of charts, which the page's script fills. charts: what each is of."""
    places = "".join(f'<figure><figcaption>{text(said)}</figcaption><div class="chart"></div></figure>' for said in charts)
    below = f'<p class="note">{text(caption)}</p>' if caption else ""
    inside = f'<div class="controls"></div><div class="charts">{places}</div>{below}'
    return f'<div class="panel {kind}" data-panel="{text(name)}">{inside}</div>'


def number_or_none(value: Any) -> float | None:
    """What a text is sorted by: itself as a number, where it is one."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
