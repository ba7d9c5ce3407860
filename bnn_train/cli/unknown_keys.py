"""Keys that there are not: in a file, in an experiment, typed, or added by +key=value."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from bnn_train.cli import keys, loggers, own_files
from bnn_train.config.checks import Group
from bnn_train.config.root import KEY_OF_NAME, NEED_SCHEMA, OPTIONS, Config
from bnn_train.errors import ConfigError


def unknown(error: Any, message: str, file: Path | None, arguments: Sequence[str], schema: type) -> str:
    """A key that the chosen option does not have: of a file, of an experiment, or typed."""
    key, kind = str(error.full_key), error.object_type
    named = re.match(r"Could not \w+(?: to config| from config)?\W+'?([\w./@+~-]+)", message)
    key = named[1].rstrip(".") if named and named[1].startswith(key) else key
    if file is not None and _has_no_schema(kind, file):
        return own_files.fault(file) or f"{key}: there is no such key{own_files.at_key(file, key)}"
    shown = keys.argument(key, arguments) if file is None else key
    return f"{shown}: {no_such_key(key, kind, error.parent_node, schema, file)}{own_files.at_key(file, key)}"


def _has_no_schema(kind: type, file: Path) -> bool:
    return (
        file.parent.name in NEED_SCHEMA and is_dataclass(kind) and kind is keys.groups_of(Config).get(file.parent.name, [None])[0]
    )


def no_such_key(key: str, kind: type, node: Any, schema: type, file: Path | None = None) -> str:
    """The remedy for a key that is not there, from the dataclass and the node at its place."""
    group, _, last = key.rpartition(".")
    if key.startswith("hydra.") or key == "hydra":
        return "there is no such key of Hydra's; --cfg hydra shows them"
    if of_logger := loggers.remedy(key):
        return of_logger
    if not (is_dataclass(kind) and issubclass(kind, Group)):
        if any(key.startswith(f"{name}.") for name in keys.known(schema)):  # below a dict, which may get new entries
            return f"there is no such key; to add it, type +{key}=..."
        if file is not None and "." not in last and key in keys.known(schema):
            first = key.partition(".")[0]
            return f"there is no such key; in a file {first} stands on a line of its own, and the rest indented below it"
        return f"there is no such key; {keys.meant(key, schema) or '--help lists them'}"
    takes = [each.name for each in fields(kind) if each.name != KEY_OF_NAME.get(group, "name")]
    whose = [name for name, other in OPTIONS.get(group, {}).items() if last in {each.name for each in fields(other)}]
    meant = keys.meant(key, schema, takes)
    if meant and not whose:
        return f"there is no such key; {meant}"
    listed = ", ".join(f"{group}.{name}" for name in takes) or "no keys"
    hint = f"; {key} is a key of {group}={', '.join(dict.fromkeys(whose))}" if whose else ""
    where = ""
    if file is not None or whose:
        where = f"; {file.parent.name}={file.stem} sets it, and goes with another {group}" if file is not None else ""
    return f"{_option(group, node)} takes {listed}{hint}{where}"


def _option(group: str, node: Any) -> str:
    """The option that a group's node is of, as typed."""
    name = dict(node.items_ex(resolve=False)).get(KEY_OF_NAME.get(group, "name")) if isinstance(node, DictConfig) else None
    return f"{group}={name}" if name is not None and not group.endswith(f".{name}") else group


def refuse_unknown(composed: DictConfig, schema: type = Config) -> None:
    """Raises ConfigError for a key that +key=value has added: it would be ignored."""
    for key, node, kind in _typed_nodes(composed):
        names = {each.name for each in fields(kind)}
        for name in map(str, node):
            if name not in names:
                full = f"{key}.{name}" if key else name
                value = OmegaConf.to_container(node)[name]  # type: ignore[index,call-overload]
                raise ConfigError(full, value, no_such_key(full, kind, node, schema))


def _typed_nodes(node: DictConfig, key: str = "") -> Iterator[tuple[str, DictConfig, type]]:
    kind = OmegaConf.get_type(node)
    if isinstance(kind, type) and is_dataclass(kind):
        yield key, node, kind
    for name, child in ((str(name), child) for name, child in node.items_ex(resolve=False)):
        if isinstance(child, DictConfig) and not OmegaConf.is_missing(node, name):
            yield from _typed_nodes(child, f"{key}.{name}" if key else name)
