"""Fields of a typed configuration with their meaning and range, and the checks that follow from them.

`key` says once what a key means, its unit and its range; the check before a run and `--help` both read it there. Every refusal is a
ConfigError: one line with the key, the value and the remedy.
"""

import copy
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, get_args, get_origin

from omegaconf import MISSING

from bnn_train.config.words import Allowed, in_words, must_be
from bnn_train.errors import ConfigError, as_typed

LARGEST = 2**63  # whole numbers are below it: torch's and the seed's are of 64 bits


def key(default: Any = MISSING, meaning: str = "", allowed: Allowed = "", unit: str = "", kind: str = "") -> Any:
    """A field of a typed configuration. `allowed` is for the value, or for every number of a list; a null passes.

    kind: the type in words, where the annotation is Any because Hydra knows no type for it.
    """
    metadata = {"meaning": meaning, "allowed": allowed, "unit": unit, "kind": kind}
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
            if get_origin(each.type) is list and not _is_as_deep(value, each.type):
                raise ConfigError(f"{self.group}.{each.name}", value, must_be(each.type, each.metadata.get("allowed", "")))
            for leaf in _leaves(value):
                check_number(f"{self.group}.{each.name}", leaf)
                check_allowed(f"{self.group}.{each.name}", leaf, each.metadata.get("allowed", ""), value)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif value is not None:
        yield value


def _is_as_deep(value: list[Any], kind: Any) -> bool:
    """Whether a list holds lists where its type says so, and nowhere else: OmegaConf does not look."""
    (item,) = get_args(kind)
    if item is Any:
        return True
    nested = get_origin(item) is list
    return all(isinstance(part, list) == nested and (not nested or _is_as_deep(part, item)) for part in value)


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


def check_number(name: str, value: Any) -> None:
    """Refuses what no key takes: a NaN, an infinity, a whole number that torch cannot hold."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(name, value, "must be a finite number")
    if isinstance(value, int) and abs(value) >= LARGEST:
        raise ConfigError(name, value, "must be below 2^63")


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
