"""Overrides as Python has them, as a command line has them."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString

from bnn_train.cli.arguments import check_typed_once, for_hydra
from bnn_train.errors import ConfigError, as_typed

Overrides = Sequence[str] | Mapping[str, Any]

_INSTEAD = {  # of a flag, in Python
    **dict.fromkeys(("-m", "--multirun"), "; a sweep is a loop over train(), or a command: bnn-train -m"),
    **dict.fromkeys(("-cd", "--config-dir"), '; a folder of your own options is "hydra.searchpath=[{}]"'),
}


def arguments(overrides: Overrides) -> list[str]:
    """["model=cnn", "trainer.epochs=3"] of that list itself, or of {"model": "cnn", "trainer.epochs": 3}, nested or not.

    Raises ConfigError for what is no override, such as a flag, and for a key that has two values.
    """
    if not isinstance(overrides, Mapping | Sequence):
        raise ConfigError("overrides", overrides, 'must be a list, as in ["trainer.epochs=3"], or a dict')
    if isinstance(overrides, str):
        raise ConfigError("overrides", overrides, f'must be a list of them, as in ["{overrides}"], or a dict')
    given = list(_of_mapping(overrides)) if isinstance(overrides, Mapping) else list(overrides)
    for each in given:
        if not isinstance(each, str):
            raise ConfigError("overrides", each, 'must be text, as in "trainer.epochs=3"; a dict takes values of other types')
        if each.startswith("-"):
            flag, _, value = each.partition("=")
            raise ConfigError("overrides", each, f"is a flag of the command line{_INSTEAD.get(flag, '').format(value or 'FOLDER')}")
        if "=" not in each and not each.startswith("~"):
            raise ConfigError("overrides", each, 'needs a value, as in "trainer.epochs=3"')
    ready = for_hydra(given)
    check_typed_once(ready)
    return ready


def _of_mapping(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _of_mapping(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}={_value(value)}"


def _value(value: Any) -> str:
    """A value as Hydra's grammar reads it back."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_value, value))}]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_value(each)}" for key, each in value.items()) + "}"
    if isinstance(value, str | os.PathLike):  # a Run among them
        text = os.fspath(value)
        return QuotedString(text, Quote.single).with_quotes() if text != "null" else text
    return as_typed(value)
