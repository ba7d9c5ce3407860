"""What a command line says of plugins, which are imported before anything else is read of it."""

import os
import shlex
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from io import StringIO

from hydra.core.override_parser.overrides_parser import OverridesParser

from bnn_train import plugins
from bnn_train.cli import compose
from bnn_train.cli.arguments import quoted
from bnn_train.errors import ConfigError


def load(arguments: Sequence[str]) -> None:
    """Imports what plugins=[...] names. Raises ConfigError as `plugins.load` does."""
    names = named(arguments)
    plugins.load(names)
    plugins.hand_on(names)


def load_of(arguments: Sequence[str]) -> None:
    """In a command, with errors in one line; where Tab was pressed, those of the line that is being typed, if they can be."""
    if "COMP_LINE" in os.environ:
        with suppress(Exception), redirect_stdout(StringIO()):
            load(shlex.split(os.environ["COMP_LINE"]))
    compose.command(lambda: load(arguments))


def named(arguments: Sequence[str]) -> list[str]:
    """The plugins of the last plugins=[a.py,b] of a command line, or plugins=a.py; none where there is none."""
    given = [argument.lstrip("+") for argument in arguments if argument.lstrip("+").startswith("plugins=")]
    if not given:
        return []
    if "],[" in given[-1]:
        raise ConfigError("plugins", given[-1].partition("=")[2], "holds for all jobs; name all plugins in one list")
    names = OverridesParser.create().parse_override(quoted(given)[-1]).value()
    assert isinstance(names, list)
    return [str(name) for name in names]


def flag(values: Sequence[str] | None) -> list[str]:
    """The plugins of --plugin a.py --plugin b.py, or --plugin a.py,b.py."""
    return [name for value in values or () for name in value.split(",")]
