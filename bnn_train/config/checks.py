"""Fields of a typed configuration with their meaning and range, and the checks that follow from them.

`key` says once what a key means, its unit and its range; the check before a run and `--help` both read it there. Every refusal is a
ConfigError: one line with the key, the value and the remedy.
"""

import copy
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from omegaconf import MISSING

from bnn_train.errors import ConfigError, as_typed

Allowed = str | Collection[Any]  # an interval, as in "[0, 1)" or "(0, inf)", or the values that there are


def key(default: Any = MISSING, meaning: str = "", allowed: Allowed = "", unit: str = "") -> Any:
    """A field of a typed configuration. `allowed` is for the value, or for every number of a list; a null passes."""
    metadata = {"meaning": meaning, "allowed": allowed, "unit": unit}
    if isinstance(default, list | dict):
        return field(default_factory=lambda: copy.deepcopy(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class Group:
    """What the typed configurations share: every key is held against its range."""

    group: ClassVar[str] = ""  # the folder of configs/

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            for leaf in _leaves(value):
                check_allowed(f"{self.group}.{each.name}", leaf, each.metadata.get("allowed", ""), value)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif value is not None:
        yield value


def check_allowed(name: str, value: Any, allowed: Allowed, whole: Any = None) -> None:
    """Refuses a value outside `allowed`; `whole` is the list that it stands in, to be shown in its place."""
    if not isinstance(allowed, str):
        check_choice(name, value, allowed)
    elif allowed:
        low, high = (float(end) for end in allowed[1:-1].split(","))
        above = low <= value if allowed[0] == "[" else low < value
        below = value <= high if allowed[-1] == "]" else value < high
        if not (above and below):  # a NaN is neither
            every = "every number " if isinstance(whole, list) else ""
            raise ConfigError(name, value if whole is None else whole, f"{every}must be {in_words(allowed, value)}")


def in_words(allowed: str, value: Any) -> str:
    """An interval as a person would say it."""
    low, high = (end.strip() for end in allowed[1:-1].split(","))
    if isinstance(value, int) and high == "inf":
        return f"a whole number of at least {low}"
    if high == "inf":
        return f"a number above {low}" if allowed[0] == "(" else f"a number of at least {low}"
    return f"in {allowed}"


def check_choice(name: str, value: object, choices: Collection[Any]) -> None:
    """Refuses a value that is not one of `choices`."""
    if value not in choices:
        raise ConfigError(name, value, "must be one of " + ", ".join(as_typed(choice) for choice in choices))


def within(name: str, names: Collection[str]) -> bool:
    """Whether a dotted key is one of `names`, or below one."""
    return any(name == other or name.startswith(other + ".") for other in names)


def flat(tree: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} as {"a.b": 1}; lists are values."""
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        leaves |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return leaves


def nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """The other way round."""
    tree: dict[str, Any] = {}
    for name, value in leaves.items():
        *path, last = name.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[last] = value
    return tree
