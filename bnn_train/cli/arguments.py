"""What was typed, made ready for Hydra: paths stand as text, flags come first. Pure functions of the command line.

Hydra reads a value by a grammar of its own: 2024_05_12 is a number there, `a,b` a sweep, and parentheses and spaces are refused.
A path is text, so the values of the keys that hold one are given to Hydra in quotes.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

from bnn_train.cli import loggers, mistyped
from bnn_train.cli.keys import groups_of
from bnn_train.config.root import WHOLE, Config
from bnn_train.errors import ConfigError

# Hydra's own keys that hold a path. They cannot be swept; what follows a ~ is expanded here, since Hydra does not.
HYDRAS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir")
SEARCHPATH = "hydra.searchpath"
PLUGINS = "plugins"
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
_FUNCTION = re.compile(r"(choice|glob|shuffle|sort)\s*\(.*\)")  # Hydra's, of a sweep


def text_keys() -> set[str]:
    """The keys whose value is a path, or else a name that Hydra could read as a number: what the typed fields say of themselves."""
    places = [("", Config), *((f"{group}.", kind) for group, kinds in groups_of(Config).items() for kind in kinds)]
    return {prefix + each.name for prefix, kind in places for each in fields(kind) if each.metadata.get("unit") in ("path", "name")}


def for_hydra(arguments: list[str]) -> list[str]:
    """The command line as Hydra must see it. `method=null` is the default, but no choice of Hydra's, and is left out."""
    given = quoted(loggers.full_keys(flags_first(arguments)))
    return [argument for argument in given if argument not in {f"{group}=null" for group in WHOLE}]


def quoted(arguments: list[str]) -> list[str]:
    """Paths in Hydra's quotes where it would read them as anything but the text that they are.

    What is quoted already stays, and so do null and interpolations. In a sweep (-m) a comma separates, unless a file or folder
    of that name, comma and all, is there.
    """
    keys = text_keys()
    sweep = is_sweep(arguments)
    result = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        name = key.lstrip("+")
        if not equals or argument.startswith("-"):
            result.append(argument)
        elif name in (SEARCHPATH, PLUGINS):
            items = value[1:-1] if value.startswith("[") and value.endswith("]") else value
            result.append(f"{key}=[{','.join(_as_text(os.path.expanduser(item.strip())) for item in _split(items))}]")
        elif name in HYDRAS:
            result.append(f"{key}={_as_text(os.path.expanduser(value))}")
        elif name in keys and sweep and not _FUNCTION.fullmatch(value) and not Path(value).expanduser().exists():
            result.append(f"{key}={','.join(_as_text(item) for item in _split(value))}")
        elif name in keys and not (sweep and _FUNCTION.fullmatch(value)):
            result.append(f"{key}={_as_text(value)}")
        else:
            result.append(argument)
    return result


def is_sweep(arguments: list[str]) -> bool:
    """Whether -m, --multirun or an unambiguous beginning of it is among them."""
    return any(argument == "-m" or (len(argument) > 3 and "--multirun".startswith(argument)) for argument in arguments)


def _split(value: str) -> list[str]:
    """The pieces between commas that stand outside of quotes; "" has one piece."""
    pieces = [""]
    for part in re.findall(rf"{_QUOTED.pattern}|,|[^,'\"]+|['\"]", value):
        if part == ",":
            pieces.append("")
        else:
            pieces[-1] += part
    return pieces


def _as_text(value: str) -> str:
    """A value that Hydra reads as this very text."""
    if value in ("", "null") or "${" in value or _QUOTED.fullmatch(value) or _is_read_as(value):
        return value
    return QuotedString(value, Quote.single).with_quotes()


def _is_read_as(value: str) -> bool:
    """Whether Hydra's grammar gives the text itself."""
    try:
        override = OverridesParser.create().parse_override(f"key={value}")
        return not override.is_sweep_override() and str(override.value()) == value
    except HydraException:
        return False


def value_of(override: str) -> str:
    """The text of an override's value, without Hydra's quotes."""
    return str(OverridesParser.create().parse_override(override).value())


def flags_first(arguments: list[str]) -> list[str]:
    """The same with every flag before every key=value: argparse takes no key=value that follows a flag after another one."""
    flags, others, waits = [], [], False
    for argument in arguments:
        if waits or (argument.startswith("-") and argument != "-"):
            flags.append(argument)
            waits = not waits and argument in _flags_with_value()
        else:
            others.append(argument)
    return flags + others


def _flags_with_value() -> Iterator[str]:
    for action in get_args_parser()._actions:
        if action.option_strings and action.nargs is None:
            yield from action.option_strings


def check_typed_once(overrides: list[str]) -> None:
    """Raises ConfigError where a group or key was given two values, of which Hydra would take the last without a word.

    Several values at once, of a sweep, are its own to check (searches.py), and Hydra's own keys are Hydra's.
    """
    first: dict[str, str] = {}
    for override in overrides:
        key, equals, value = override.lstrip("+").partition("=")
        if not equals or key.startswith(("~", "hydra.", "hydra/")):
            continue
        other = first.setdefault(key, override)
        if other.partition("=")[2] != value and not any(_is_sweep_of(each) for each in (other, override)):
            raise ConfigError(key, value, f"{key} is given twice, {other} and {override}; leave one out")


def _is_sweep_of(override: str) -> bool:
    """Whether it has several values; so has what Hydra cannot read, and then refuses itself."""
    try:
        return bool(OverridesParser.create().parse_override(override).is_sweep_override())
    except HydraException:
        return True


def check_flags(arguments: list[str], schema: type = Config) -> None:
    """Raises FlagError for a flag that Hydra does not have, or without its value; ConfigError for a folder that is not there."""
    parser = get_args_parser()

    def error(message: str) -> NoReturn:
        raise mistyped.flag(message, arguments, schema)

    parser.error = error  # type: ignore[method-assign]
    given = parser.parse_args(arguments)
    if given.config_dir is not None and not Path(given.config_dir).is_dir():
        raise ConfigError("--config-dir", given.config_dir, "is not a folder")
    if given.config_path is not None:
        remedy = "would replace every option of the program; a folder of your own is added with -cd"
        raise ConfigError("--config-path", given.config_path, remedy)
    check_typed_once(given.overrides)
    loggers.check(given.overrides)
    for override in given.overrides:
        if override.startswith(f"{SEARCHPATH}=["):
            for item in _split(override.partition("=")[2][1:-1]):
                folder = item.strip("'\"")
                if folder and "://" not in folder and not Path(folder).is_dir():
                    raise ConfigError(SEARCHPATH, folder, "is not a folder")
