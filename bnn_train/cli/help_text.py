"""How --help of the commands with flags of their own is laid out. A parser takes it as `formatter_class=HelpText`."""

import argparse
import textwrap


class HelpText(argparse.HelpFormatter):
    """Prose is broken at its spaces alone, paragraph by paragraph; indented lines, which are examples to copy, stay as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.strip().split("\n\n")
        return "\n\n".join("\n".join(indent + line for line in _paragraph(one, width - len(indent))) for one in paragraphs)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return _wrapped(text, width)


def _paragraph(text: str, width: int) -> list[str]:
    lines: list[str] = []
    prose: list[str] = []
    for line in [*text.split("\n"), "  "]:
        if line.startswith(" "):
            lines += [*_wrapped(" ".join(prose), width), line]
            prose = []
        else:
            prose.append(line)
    return lines[:-1]


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(" ".join(text.split()), width, break_long_words=False, break_on_hyphens=False)
