"""What may be typed of loggers: one or a list, and a key without its logger's name where that is plain."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import fields

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from bnn_train.cli import keys, own_files
from bnn_train.config.logger import LOGGERS
from bnn_train.config.root import SEVERAL, SEVERAL_TYPED
from bnn_train.errors import ConfigError


def full_keys(arguments: list[str]) -> list[str]:
    """`logger.project=p` as `logger.wandb.project=p`, where one logger of those that are typed, or else of all, has that key."""
    chosen = [name for choice in _typed(arguments) for name in choice]
    result = []
    for argument in arguments:
        found = re.fullmatch(rf"{SEVERAL}\.(\w+)(=.*)", argument, re.DOTALL)
        if found and found[1] not in LOGGERS:
            of = [name for name in _having(found[1]) if name in chosen] or _having(found[1])
            argument = f"{SEVERAL}.{of[0]}.{found[1]}{found[2]}" if len(of) == 1 else argument
        result.append(argument)
    return result


def remedy(key: str) -> str:
    """What to type in place of a key that no chosen logger has; "" where it is none of a logger's."""
    group, _, rest = key.partition(".")
    name, _, own = rest.partition(".")
    if group != SEVERAL or not name:
        return ""
    if name in LOGGERS and own in _takes(name):
        return f"is a key of logger={name}, which is not chosen; add logger={name}, or that name to a list"
    if name in LOGGERS:
        return f"{SEVERAL}.{name} takes {', '.join(f'{SEVERAL}.{name}.{each}' for each in _takes(name)) or 'no keys'}"
    if own:
        return f"there is no logger {name}, only {', '.join(own_files.options(SEVERAL, ()))}"
    if having := _having(name):
        return f"is a key of {' and of '.join(having)}; say of which, as in {SEVERAL}.{having[0]}.{name}"
    meant = [f"{SEVERAL}.{each}" for each in keys.close(name, {own for each in LOGGERS for own in _takes(each)})]
    return f"there is no such key; did you mean {' or '.join(meant)}?" if meant else ""


def having(key: str) -> str:
    """A logger with this key, `logger.project` without its name; "" where there is none."""
    group, _, own = key.partition(".")
    return (_having(own) or [""])[0] if group == SEVERAL else ""


def _takes(name: str) -> list[str]:
    return [each.name for each in fields(LOGGERS[name]) if each.name != "name"]


def _having(key: str) -> list[str]:
    """The loggers with this key."""
    return [name for name in LOGGERS if key in _takes(name)]


def check(arguments: Sequence[str]) -> None:
    """Raises ConfigError for a list in which a name is no logger's or stands twice, and for keys that choose nothing."""
    for names in _typed(arguments, lists_alone=True):
        there = own_files.options(SEVERAL, arguments)
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(SEVERAL, names, f"names {name} twice")
            if name not in there:
                meant = keys.close(name, there)
                hint = f"; did you mean {' or '.join(meant)}?" if meant else ""
                raise ConfigError(SEVERAL, names, f"there is no logger {name}, only {', '.join(there)}{hint}")
    for argument in arguments:
        key, equals, value = argument.lstrip("+").partition("=")
        of = key.split(".")[1:2] if key.startswith(f"{SEVERAL}.") else []
        if equals and of and key.count(".") == 1 and of[0] in LOGGERS and not value.startswith("{"):
            raise ConfigError(key, value, f"is no key but a logger: {SEVERAL_TYPED.replace('csv', of[0], 1)}")


def _typed(arguments: Sequence[str], lists_alone: bool = False) -> Iterator[list[str]]:
    """The names of each choice of loggers that is typed; of a sweep there are several."""
    for argument in arguments:
        if argument.startswith(f"{SEVERAL}="):
            try:
                override = OverridesParser.create().parse_override(argument)
                values = list(override.sweep_iterator()) if override.is_sweep_override() else [override.value()]
            except (HydraException, ValueError):
                continue  # Hydra will say what is wrong
            for value in values:
                names = OverridesParser.create().parse_override(f"x={value}").value() if isinstance(value, str) else value
                if isinstance(names, list) or not lists_alone:
                    yield [str(name) for name in names] if isinstance(names, list) else [str(names)]
