"""Checks that the configuration and the builders share. Every refusal is a ConfigError: one line with key, value and remedy."""

import inspect
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

from bnn_train.errors import ConfigError, as_typed


def check_choice(key: str, value: object, choices: Collection[Any]) -> None:
    """Refuses a value that is not one of `choices`."""
    if value not in choices:
        raise ConfigError(key, value, "must be one of " + ", ".join(as_typed(choice) for choice in choices))


def options(group: object, *common: str) -> dict[str, Any]:
    """What a group's dataclass sets for its option alone: every value that is not null, but for `name` and the `common` keys."""
    return {key: value for key, value in vars(group).items() if key not in ("name", *common) and value is not None}


def check_takes(
    group: str, name: str, given: Mapping[str, Any], builder: Callable[..., Any], supplied: Collection[str] = ()
) -> None:
    """Holds the keys `given` for option `name` of `group` against the keyword-only parameters of what builds it.

    A key that would be ignored is refused, and so is one that is missing. `supplied` are parameters that the program fills in.
    """
    keywords = {k: p for k, p in inspect.signature(builder).parameters.items() if p.kind is p.KEYWORD_ONLY and k not in supplied}
    for key in given:
        if key not in keywords:
            takes = ", ".join(f"{group}.{keyword}" for keyword in keywords) or "no options"
            raise ConfigError(f"{group}.{key}", given[key], f"{group}={name} takes {takes}")
    for key, parameter in keywords.items():
        if parameter.default is parameter.empty and key not in given:
            raise ConfigError(f"{group}.{key}", None, f"{group}={name} needs a value here")


def within(key: str, names: Collection[str]) -> bool:
    """Whether a dotted key is one of `names`, or below one."""
    return any(key == name or key.startswith(name + ".") for name in names)


def flat(tree: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} as {"a.b": 1}; lists are values."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return leaves


def at_least(key: str, value: int | None, least: int) -> None:
    """Refuses a number below `least`; like the checks below, lets None pass."""
    if value is not None and value < least:
        raise ConfigError(key, value, f"must be a whole number of at least {least}")


def sizes(key: str, values: list[int] | None) -> None:
    """Refuses a list with anything below 1."""
    if any(value < 1 for value in values or []):
        raise ConfigError(key, values, "every size must be a whole number of at least 1")


def positive(key: str, value: float | None) -> None:
    """Refuses 0, negative numbers, infinity and NaN."""
    if value is not None and not (0 < value < math.inf):
        raise ConfigError(key, value, "must be a number above 0")


def in_range(key: str, value: float | None, low: float, high: float, closed: bool = False) -> None:
    """Refuses what is not in [low, high), or with `closed` not in [low, high]."""
    if value is not None and not (low <= value < high or (closed and value == high)):
        raise ConfigError(key, value, f"must be in [{low:g}, {high:g}{']' if closed else ')'}")
