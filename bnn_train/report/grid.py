"""Tables as plain lines that fit into the width there is.

Cells are text: nothing in them is markup, and a control character is shown by its escape. Words and numbers stay whole. Where a
table is too wide, its headers and names are broken at their dots, what can be spared is left out, and then it goes on below itself.
"""

import functools
import itertools
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from bnn_train.errors import plain as plain
from bnn_train.report import terminal

GAP = 2  # spaces between columns; one where the table would otherwise go on below itself
LONGEST_NAME = 18  # characters to which a dotted name is broken before anything is left out


@dataclass(frozen=True)
class Column:
    """A header and its cells."""

    header: str
    cells: Sequence[str]
    right: bool = True
    dotted: bool = False  # names such as stage1.block1.conv and cats/large/1.png, which may be broken
    spare: int = 0  # 0: always shown; else the larger, the sooner it is left out

    @functools.cached_property  # asked for by every cell of a row
    def width(self) -> int:
        return max(length(line) for text in (self.header, *self.cells) for line in text.split("\n"))


def table(columns: Sequence[Column], title: str = "", total: bool = False, width: int | None = None) -> str:
    """A header, a rule and a line for each cell; columns as `width` (terminal.width) allows. total: the last row stands apart."""
    width = width or terminal.width()
    columns = [replace(column, header=plain(column.header), cells=[plain(cell) for cell in column.cells]) for column in columns]
    shape: list[Column] = []
    for shape in _shapes(columns):
        if _width(shape) <= width:
            break
    gap = 1 if _width(shape) > width >= _width(shape, 1) else GAP
    drawn = [_draw(part, gap, total) for part in _below_each_other(shape, width, gap)]
    return "\n\n".join([_titled(title, drawn[0], width), *drawn[1:]])


def fits(columns: Sequence[Column]) -> bool:
    """Whether a table shows everything, side by side and unbroken but for its headers."""
    return _width([replace(column, header=_narrow(column)) for column in columns]) <= terminal.width()


def padded(texts: Sequence[str]) -> list[str]:
    """All as wide as the widest."""
    return [pad(text, max(map(length, texts))) for text in texts]


def pairs(rows: Sequence[tuple[str, str]], title: str) -> str:
    """A name and a value on each line."""
    width = terminal.width()
    names = max(length(name) for name, _ in rows)
    lines = []
    for name, value in rows:
        first, *rest = folded(plain(value), width - names - 6, " ").split("\n")
        lines += [f"  {pad(name, names)}    {first}", *(" " * (names + 6) + line for line in rest)]
    return _titled(title, "\n" + "\n".join(lines), width)


def fold(pieces: Sequence[str], indent: str = "  ", width: int | None = None, first: str = "", gap: str = " ") -> str:
    """Pieces one after the other, as many on a line as it takes; none is broken. `first` is the indent of the first line."""
    lines = [first]
    for piece in pieces:
        joined = lines[-1] + gap + piece if lines[-1].strip() else lines[-1] + piece
        if length(joined.rstrip()) <= (width or terminal.width()) or not lines[-1].strip():
            lines[-1] = joined
        else:
            lines.append(indent + piece)
    return "\n".join(lines)


def sentence(text: str, indent: str = "  ", first: str = "") -> str:
    """Prose, broken at its spaces alone. Not for a command that is to be copied."""
    pieces: list[str] = []
    for word in text.split():
        if pieces and re.fullmatch(r"\(?[\d.,]+", pieces[-1]) and re.fullmatch(r"(B|kB|MB|GB|s)[.,;:)]*", word):
            pieces[-1] += f" {word}"  # a figure and its unit
        else:
            pieces.append(plain(word))
    return fold(pieces, indent, first=first)


def folded(text: str, most: int, after: str = "._/ ") -> str:
    """A text in lines of at most `most` columns, where it has signs of `after` to be broken after."""
    lines = [""]
    for part in re.findall(f"[^{re.escape(after)}]*[{re.escape(after)}]+|[^{re.escape(after)}]+", text):
        if lines[-1] and length((lines[-1] + part).rstrip()) > most:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.rstrip() for line in lines)


def length(text: str) -> int:
    """Columns that a terminal gives it: two for a wide character, none for an accent that stands on the one before."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.category(c) in ("Mn", "Me", "Cf") for c in text)


def pad(text: str, width: int, right: bool = False) -> str:
    """As wide as `width`, or as it is where it is wider."""
    space = " " * (width - length(text))
    return space + text if right else text + space


def shortened(text: str, most: int, ellipsis: str = "…") -> str:
    """At most `most` columns, without its middle where it has more: of a path the end says more than the beginning."""
    if length(text) <= most:
        return text
    room = most - length(ellipsis)
    start = _start(text, room // 3)
    end = _start(text[::-1], room - length(start))[::-1]
    return start + ellipsis + "".join(itertools.dropwhile(lambda c: not length(c), end))  # no accent of a letter that is gone


def _start(text: str, most: int) -> str:
    """So much of the beginning as `most` columns hold."""
    width = 0
    for count, character in enumerate(text):
        width += length(character)
        if width > most:
            return text[:count]
    return text


def _shapes(columns: Sequence[Column]) -> Iterator[list[Column]]:
    """The table in ever narrower forms."""
    yield list(columns)
    columns = [replace(column, header=_narrow(column)) for column in columns]
    yield columns
    yield [_broken(column, LONGEST_NAME) for column in columns]
    while any(column.spare for column in columns):
        columns = [column for column in columns if column.spare < max(each.spare for each in columns)]
        yield [_broken(column, LONGEST_NAME) for column in columns]
    yield [_broken(column, 1) for column in columns]


def _narrow(column: Column) -> str:
    """The header in lines no wider than the cells, as far as its words allow."""
    return folded(column.header, max((length(line) for cell in column.cells for line in cell.split("\n")), default=1))


def _broken(column: Column, most: int) -> Column:
    """Names on several lines, each no longer than `most` or than the longest word of them all."""
    if not column.dotted:
        return column
    words = [length(word) for text in (column.header, *column.cells) for word in re.findall(r"[^._/]*[._/]?", text)]
    most = max(most, *words)

    def lines(cell: str) -> str:
        """At its dots, and only where these leave too much of it at the other signs too."""
        whole = folded(cell, most, "./ ")
        return whole if max(map(length, whole.split("\n"))) <= most else folded(cell, most)

    return replace(column, cells=[lines(cell) for cell in column.cells])


def _width(columns: Sequence[Column], gap: int = GAP) -> int:
    return sum(column.width for column in columns) + gap * (len(columns) - 1)


def _below_each_other(columns: list[Column], width: int, gap: int) -> list[list[Column]]:
    """The columns in groups that fit, each with the first column before it."""
    first, parts = columns[0], [columns[:1]]
    for column in columns[1:]:
        if len(parts[-1]) > 1 and _width([*parts[-1], column], gap) > width:
            parts.append([first])
        parts[-1].append(column)
    return parts


def _draw(columns: Sequence[Column], gap: int, total: bool) -> str:
    deep = max(column.header.count("\n") for column in columns)
    headers = [column.header.split("\n") for column in columns]
    lines = _lines(columns, gap, [[""] * (deep + 1 - len(header)) + header for header in headers])
    lines.append("─" * _width(columns, gap))
    rows = list(zip(*(column.cells for column in columns), strict=True))
    for i, row in enumerate(rows):
        if total and i == len(rows) - 1:
            lines.append("")
        lines += _lines(columns, gap, [cell.split("\n") for cell in row])
    return "\n".join(lines)


def _lines(columns: Sequence[Column], gap: int, cells: Sequence[Sequence[str]]) -> list[str]:
    """One row of a table, whose cells have one or more lines."""
    drawn = []
    for i in range(max(len(cell) for cell in cells)):
        texts = [cell[i] if i < len(cell) else "" for cell in cells]
        padded = [pad(text, column.width, column.right) for text, column in zip(texts, columns, strict=True)]
        drawn.append((" " * gap).join(padded).rstrip())
    return drawn


def _titled(title: str, drawn: str, width: int) -> str:
    """With the title in the middle above; one that is too long stands in lines of its own, broken where a path has signs for it."""
    if not title:
        return drawn
    title = plain(title)
    wide = max(length(line) for line in drawn.split("\n"))
    if length(title) <= wide:
        return f"{' ' * ((wide - length(title)) // 2)}{title}\n{drawn}"
    return f"{folded(title, width, ' /+,')}\n{drawn}"
