"""What a value must be, in the words of a person: from a field's type and its range; and which word was meant. For errors and the
checks before a run."""

import re
import types
from collections.abc import Collection, Iterable
from typing import Any, get_args, get_origin

from bnn_train.errors import as_typed

Allowed = str | Collection[Any]  # an interval, as in "[0, 1)" or "(0, inf)", or the values that there are

OVERRIDES = "overrides, each in quotes"  # the unit of a list of what could be typed


def in_words(allowed: str, value: Any) -> str:
    """An interval as a person would say it."""
    low, high = (end.strip() for end in allowed[1:-1].split(","))
    if isinstance(value, int) and high == "inf":
        return f"a whole number of at least {low}"
    if high == "inf":
        return f"a number above {low}" if allowed[0] == "(" else f"a number of at least {low}"
    return f"in {allowed}"


def must_be(kind: Any, allowed: Allowed = "", unit: str = "") -> str:
    """What the value of a field must be, from its type and `allowed`: "must be a whole number of at least 1"."""
    return f"must be {_words(kind, allowed, unit)}"


def _words(kind: Any, allowed: Allowed, unit: str, many: bool = False) -> str:
    if isinstance(kind, types.UnionType):
        part = next(part for part in get_args(kind) if part is not type(None))
        return f"{_words(part, allowed, unit)}, or null"
    if get_origin(kind) is list:
        return _list_in_words(get_args(kind)[0], allowed, unit)
    if not isinstance(allowed, str):
        return f"{'words out of' if many else 'one of'} " + ", ".join(as_typed(choice) for choice in allowed)
    if kind in (int, float):
        word = "whole number" if kind is int else "number"
        if not allowed:
            return f"{word}s" if many else f"a {word} from {unit}" if " to " in unit else f"a {word}"
        said = in_words(allowed, 1 if kind is int else 0.5)
        said = f"a {word} {said}" if said.startswith("in ") else said
        return said.removeprefix("a ").replace(word, f"{word}s", 1) if many else said
    if unit == OVERRIDES:
        return unit
    names = {bool: "true or false", str: f"a {unit}" if unit in ("path", "name") else "text"}
    return names.get(kind, "keys and values, as in {key: value}")


def _list_in_words(item: Any, allowed: Allowed, unit: str) -> str:
    if item is Any:
        return "a list, as in [{...},{...}]"
    nested = get_origin(item) is list
    leaf = get_args(item)[0] if nested else item
    example = {int: "[32,64]", str: "[a,b]"}.get(leaf, "[0.5,0.9]")
    if allowed and not isinstance(allowed, str):
        example = as_typed(list(allowed)[:2])
    if unit == OVERRIDES:
        example = "['weights=real'],[]"
    of, example = (" of lists", f"[{example}]") if nested else ("", example)
    return f"a list{of} of {_words(leaf, allowed, unit, many=True)}, as in {example}"


def plain(name: str) -> str:
    """A name without what is easily left out of it: case, - and _."""
    return re.sub(r"[_-]", "", name.lower())


def close(word: str, names: Iterable[str]) -> list[str]:
    """The names that are a slip or two away: letters left out, added, exchanged or swapped; one where the word is short."""
    distances = {name: _slips(plain(word), plain(name)) for name in names if name}
    nearest = min(distances.values(), default=99)
    return [name for name, slips in distances.items() if slips == nearest <= (1 if len(word) < 5 else 2)]


def _slips(a: str, b: str) -> int:
    """The least number of single-letter changes and swaps of neighbours between two words (optimal string alignment)."""
    rows = [list(range(len(b) + 1))]
    for i, letter in enumerate(a, start=1):
        row = [i]
        for j, other in enumerate(b, start=1):
            best = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == b[j - 2] and other == a[i - 2]:
                best = min(best, rows[-2][j - 2] + 1)
            row.append(best)
        rows.append(row)
    return rows[-1][-1]
