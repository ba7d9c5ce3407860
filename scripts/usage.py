"""The help of a script: its docstring, as wide as the terminal."""

import argparse
import re
import shutil
import textwrap


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose --help shows the docstring: prose folded, commands and lists line by line."""
    return argparse.ArgumentParser(
        description=folded(doc or "", shutil.get_terminal_size().columns), formatter_class=argparse.RawDescriptionHelpFormatter
    )


def folded(text: str, width: int) -> str:
    """The paragraphs of a text in lines of at most `width`; an indented line with a comment has it below where both do not fit."""
    return "\n\n".join(_paragraph(each, width) for each in re.split(r"\n\s*\n", text.strip("\n")))


def _paragraph(text: str, width: int) -> str:
    if text.startswith("    "):
        return "\n".join(line for each in text.splitlines() for line in _command(each, width))
    items = re.split(r"\n(?=- )", text)
    return "\n".join(
        textwrap.fill(" ".join(each.split()), width, subsequent_indent="  " if each.startswith("- ") else "") for each in items
    )


def _command(line: str, width: int) -> list[str]:
    command, _, comment = (part.rstrip() for part in line.partition(" # "))
    if len(line) <= width or not comment:
        return [line]
    return [command, *textwrap.wrap(comment, width, initial_indent="        # ", subsequent_indent="        # ")]
