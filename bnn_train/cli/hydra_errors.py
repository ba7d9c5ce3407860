"""Hydra's and OmegaConf's errors about what was typed, as one line with the key, the value and the remedy."""

import difflib
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from hydra.errors import MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, MissingMandatoryValue

from bnn_train.config.checks import Group
from bnn_train.config.root import KEY_OF_NAME, OPTIONS, Config
from bnn_train.errors import ConfigError


def one_line(error: BaseException, schema: type = Config) -> str:
    """What is wrong, and what would be right in a configuration of `schema`."""
    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.removesuffix(".yaml").rpartition("/")
        more = "; others come with pip install 'bnn-train[sweep]'" if group in ("hydra/launcher", "hydra/sweeper") else ""
        return f"{group}={option}: must be one of {', '.join(error.options)}{more}"
    if isinstance(error, MissingMandatoryValue):
        return f"{getattr(error, 'full_key', '')}: needs a value"
    unknown = next((cause for cause in _causes(error) if isinstance(cause, ConfigAttributeError | ConfigKeyError)), None)
    if unknown is not None and isinstance(unknown.object_type, type):
        return _unknown_key(str(unknown.full_key), unknown.object_type, unknown.parent_node, str(error), schema)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    no_key = re.match(r"Could not (?:override|append to config|delete from config)\W+'?([\w./@+~-]+)", lines[0]) if lines else None
    if no_key:
        return f"{no_key[1]}: there is no such key{_meant(no_key[1], schema)}"
    typed = re.match(r"Error merging override (.*)", lines[0]) if lines else None
    cause = str(error.__cause__ or (lines[1] if len(lines) > 1 else "")).splitlines()
    if typed and cause:
        hint = "; a list is written as [512] or [[32],[64]]" if "is not a ListConfig" in cause[0] else ""
        return f"{typed[1]}: {cause[0]}{hint}"
    return "; ".join(lines[:2])


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _unknown_key(key: str, kind: type, node: Any, message: str, schema: type) -> str:
    """A key that the chosen option does not have: of a file, of an experiment, or typed."""
    group, _, last = key.rpartition(".")
    if not (is_dataclass(kind) and issubclass(kind, Group)):
        return f"{key}: there is no such key{_meant(key, schema)}"
    takes = [each.name for each in fields(kind) if each.name != KEY_OF_NAME.get(group, "name")]
    close = difflib.get_close_matches(last, takes, n=1, cutoff=0.7)
    if close:
        return f"{key}: there is no such key; did you mean {group}.{close[0]}?"
    option = _option(group, node)
    listed = ", ".join(f"{group}.{name}" for name in takes) or "no keys"
    whose = [name for name, other in OPTIONS.get(group, {}).items() if last in {each.name for each in fields(other)}]
    hint = f"; it is a key of {group}={', '.join(dict.fromkeys(whose))}" if whose else ""
    file = re.match(r"In '([^']+)'", message)
    where = f"; {file[1].replace('experiment/', 'experiment=')} sets it, and goes with another {group}" if file else ""
    return f"{key}: {option} takes {listed}{hint}{where}"


def _option(group: str, node: Any) -> str:
    """The option that a group's node is of, as typed."""
    name = dict(node.items_ex(resolve=False)).get(KEY_OF_NAME.get(group, "name")) if isinstance(node, DictConfig) else None
    return f"{group}={name}" if name is not None else group


def refuse_unknown(composed: DictConfig, schema: type = Config) -> None:
    """Raises ConfigError for a key that +key=value has added: it would be ignored."""
    for key, node, kind in _typed_nodes(composed):
        names = {each.name for each in fields(kind)}
        for name in map(str, node):
            if name not in names:
                full = f"{key}.{name}" if key else name
                raise ConfigError(full, OmegaConf.to_container(node)[name], f"there is no such key{_meant(full, schema)}")  # type: ignore[index,call-overload]


def _typed_nodes(node: DictConfig, key: str = "") -> Iterator[tuple[str, DictConfig, type]]:
    kind = OmegaConf.get_type(node)
    if isinstance(kind, type) and is_dataclass(kind):
        yield key, node, kind
    for name, child in ((str(name), child) for name, child in node.items_ex(resolve=False)):
        if isinstance(child, DictConfig) and not OmegaConf.is_missing(node, name):
            yield from _typed_nodes(child, f"{key}.{name}" if key else name)


def known_keys(schema: type) -> list[str]:
    """Every key of every option, dotted."""
    keys: dict[str, None] = {}
    for name, kind in get_type_hints(schema).items():
        if isinstance(kind, type) and is_dataclass(kind):
            for each in (kind, *OPTIONS.get(name, {}).values()):
                keys |= dict.fromkeys(f"{name}.{key.name}" for key in fields(each))
        else:
            keys[name] = None
    return list(keys)


def _meant(key: str, schema: type) -> str:
    """A remedy: the key that looks most like it, or the same key of a group."""
    keys = known_keys(schema)
    key = key.lstrip("+~")
    if any(key.startswith(name + ".") for name in keys):  # below a dict, which may get new entries
        return f"; to add it, type +{key}=..."
    same = [known for known in keys if known.rpartition(".")[2] == key]
    close = same or difflib.get_close_matches(key, [*keys, *{known.partition(".")[0] for known in keys}], n=1)
    return f"; did you mean {' or '.join(close)}?" if close else "; --help lists them"
