"""What Tab offers behind bnn-study: its own arguments, and bnn-train's."""

import os
from collections.abc import Sequence

from bnn_train.cli import compose, plug
from bnn_train.cli.study_arguments import OWN
from bnn_train.report import terminal

_FLAGS = ("-sc", "--shell_completion")


def is_asked(given: Sequence[str]) -> bool:
    """Whether a shell asks, or its user for what makes it ask."""
    return any(flag in given for flag in _FLAGS)


def answer(given: Sequence[str]) -> None:
    """One word a line, as every shell takes them."""
    line = os.environ.get("COMP_LINE", "")
    asks = any(each.startswith("query=") for each in given)
    words = line.split()
    typed = "" if line.endswith(" ") or not words else words[-1]
    if asks:
        terminal.write("".join(f"{word}\n" for word in offered(typed)))
        if typed.partition("=")[0] in OWN:
            return
        others = [word for word in words if word.partition("=")[0] not in OWN]
        os.environ["COMP_LINE"] = " ".join(others) + " " * line.endswith(" ")
        plug.load_of([])
    compose.compose_and_call("train", lambda composed: None)


def offered(typed: str) -> list[str]:
    """Of a beginning: the own arguments; behind methods=, and each comma, the methods that are not named yet."""
    key, equals, value = typed.partition("=")
    if not equals:
        return [f"{name}=" for name in OWN if name.startswith(typed)]
    if key != "methods":
        return []
    from bnn_train.cli.keys import CONFIGS, options

    *before, last = value.split(",")
    there = [name for name in options("method", [CONFIGS]) if name not in before and name.startswith(last)]
    return [f"{key}={','.join([*before, name])}" for name in there]
