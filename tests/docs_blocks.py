"""Reads the code blocks of a page: what each is, what stands before it, and what is said about running it.

A fenced block is what its tag says: sh, python, yaml, or text for what is neither typed nor run. An indented block is told by its
first line: a command, `$ ` and a command with what it prints, Python (`>>>`, import), an option file (`defaults:`, `# @package`),
else text. HTML comments before a block speak to the test alone:

    <!-- not run: needs a GPU -->                     why it is not run
    <!-- before: bnn-train hydra.run.dir=run -->      a command that makes what the block takes for granted
"""

import re
from pathlib import Path
from typing import NamedTuple

COMMAND = re.compile(r"(bnn-\w+|python3?|pip|cc(?= -)|cp|\./\w+|\.venv/bin/\S+|scripts/\S+|source|[A-Z_]+=\S+ bnn-\w+)( |$)")
COMMENT = re.compile(r"<!-- (not run|before): (.*) -->")
FENCE = re.compile(r"^ {0,3}```(\w*)$")


class Block(NamedTuple):
    line: int  # of the page, from 1
    kind: str  # sh, session (`$ ` and output), python, yaml, text
    text: str
    above: str  # the page's text so far
    not_run: str  # why, or nothing
    before: tuple[str, ...]  # commands


def kind_of(text: str) -> str:
    first = text.lstrip().splitlines()[0]
    if first.startswith("$ "):
        return "session"
    if COMMAND.match(first):
        return "sh"
    if re.match(r">>> |import |from ", first):
        return "python"
    return "yaml" if re.match(r"defaults:|# @package ", first) else "text"


def blocks(page: str) -> list[Block]:
    """All code blocks of a page of Markdown, in order."""
    lines = page.splitlines()
    found: list[Block] = []
    not_run, before = "", []
    i = 0
    while i < len(lines):
        start = i
        if fence := FENCE.match(lines[i]):
            i = next(k for k in range(i + 1, len(lines)) if lines[k].strip() == "```")
            text, tag = "\n".join(lines[start + 1 : i]), fence.group(1)
            i += 1
        elif lines[i].startswith("    ") and lines[i].strip() and (i == 0 or not lines[i - 1].strip()):
            while i < len(lines) and (lines[i].startswith("    ") or not lines[i].strip()):
                i += 1
            text, tag = "\n".join(line[4:] for line in lines[start:i]).rstrip(), ""
        else:
            if comment := COMMENT.fullmatch(lines[i].strip()):
                if comment.group(1) == "before":
                    before.append(comment.group(2))
                else:
                    not_run = comment.group(2)
            elif lines[i].strip():
                not_run, before = "", []
            i += 1
            continue
        kind = tag or kind_of(text)
        found.append(Block(start + 1, kind, text + "\n", "\n".join(lines[:start]), not_run, tuple(before)))
        not_run, before = "", []
    return found


def pages(root: Path) -> list[Path]:
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]


def not_run(root: Path) -> list[str]:
    """A line for each block that is not run: where it is, and why."""
    return [
        f"{page.relative_to(root)}:{block.line}: not run: {block.not_run}"
        for page in pages(root)
        for block in blocks(page.read_text(encoding="utf-8"))
        if block.not_run
    ]
