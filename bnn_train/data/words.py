"""Names and numbers in the lines that a user reads."""

from collections.abc import Sequence
from pathlib import Path


def readable(name: str | Path) -> str:
    r"""A name that any UTF-8 output can hold: a byte that is no UTF-8, which Python keeps as a lone surrogate, as \udce9."""
    return str(name).encode("utf-8", "backslashreplace").decode("utf-8")


def listed(names: Sequence[str | Path], most: int = 3) -> str:
    """a, b, c and 5 more."""
    shown = ", ".join(readable(name) for name in names[:most])
    return f"{shown} and {len(names) - most:,} more" if len(names) > most else shown


def counted(count: int, noun: str) -> str:
    """1 image, 2,000 images; of several words the first is the one that is counted: 2 links to nowhere."""
    first, _, rest = noun.partition(" ")
    if count != 1:
        first = first[:-1] + "ies" if first.endswith("y") else first + "s"
    return f"{count:,} {first} {rest}".rstrip()


def in_bytes(count: int) -> str:
    """2.7 GB, 12 MB."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"
