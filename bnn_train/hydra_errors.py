"""Hydra's and OmegaConf's errors about what was typed, as one line with the key, the value and the remedy."""

import difflib
import re
from dataclasses import is_dataclass
from typing import get_type_hints

from hydra.errors import MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from bnn_train.checks import flat, within
from bnn_train.config import Config
from bnn_train.errors import ConfigError


def one_line(error: Exception, schema: type = Config) -> str:
    """What is wrong, and what would be right in a configuration of `schema`."""
    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.removesuffix(".yaml").rpartition("/")
        more = "; others come with pip install 'bnn-train[sweep]'" if group in ("hydra/launcher", "hydra/sweeper") else ""
        return f"{group}={option}: must be one of {', '.join(error.options)}{more}"
    if isinstance(error, MissingMandatoryValue):
        return f"{getattr(error, 'full_key', '')}: needs a value"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    unknown = re.match(r"Could not (?:override|append to config|delete from config)\W+'?([\w./@+~-]+)", lines[0]) if lines else None
    if unknown:
        return f"{unknown[1]}: there is no such key{_meant(unknown[1], schema)}"
    typed = re.match(r"Error merging override (.*)", lines[0]) if lines else None
    cause = str(error.__cause__ or (lines[1] if len(lines) > 1 else "")).splitlines()
    if typed and cause:
        hint = "; a list is written as [512] or [[32],[64]]" if "is not a ListConfig" in cause[0] else ""
        return f"{typed[1]}: {cause[0]}{hint}"
    return "; ".join(lines[:2])


def refuse_unknown(composed: DictConfig, schema: type = Config) -> None:
    """Raises ConfigError for a key that +key=value has added: it would be ignored."""
    known = known_keys(schema)
    tree = OmegaConf.to_container(composed)
    assert isinstance(tree, dict)
    for key, value in flat(tree).items():
        if not within(key, known) and value != "???":
            raise ConfigError(key, value, f"there is no such key{_meant(key, schema)}")


def known_keys(of: type = Config, prefix: str = "") -> list[str]:
    """Every key of the configuration, dotted."""
    keys = []
    for name, kind in get_type_hints(of).items():
        keys += known_keys(kind, f"{prefix}{name}.") if isinstance(kind, type) and is_dataclass(kind) else [prefix + name]
    return keys


def _meant(key: str, schema: type) -> str:
    """A remedy: the key that looks most like it, or the same key of a group."""
    keys = known_keys(schema)
    if within(key, keys):  # below a dict, which may get new entries
        return f"; to add it, type +{key}=..."
    same = [known for known in keys if known.rpartition(".")[2] == key.lstrip("+~")]
    close = same or difflib.get_close_matches(key.lstrip("+~"), [*keys, *{known.partition(".")[0] for known in keys}], n=1)
    return f"; did you mean {' or '.join(close)}?" if close else "; --help lists them"
