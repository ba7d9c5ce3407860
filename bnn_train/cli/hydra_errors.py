"""Hydra's and OmegaConf's errors about what was typed or stands in a YAML file, as one line with what would be right."""

import copy
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    GrammarParseError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    ValidationError,
)

from bnn_train.cli import keys, mistyped, own_files
from bnn_train.config.checks import Group
from bnn_train.config.root import KEY_OF_NAME, OPTIONS, Config
from bnn_train.errors import ConfigError, as_typed

_COMPOSING = re.compile(r"[/\\]hydra[/\\](_internal[/\\](config_|defaults_list|utils)|core[/\\](override_parser|default_))")


def typed(composed: DictConfig, schema: type = Config) -> Any:
    """The typed configuration of what Hydra composed, with or without Hydra's own part.

    Raises ConfigError for a value out of range and for an unknown key, with the line of the user's file where it comes from one;
    OmegaConf's errors for an interpolation that leads nowhere and a value that is missing.
    """
    OmegaConf.select(composed, "hydra.run.dir")  # of an interpolation here Hydra would only warn, and go on
    own = copy.deepcopy(composed)
    with read_write(own), open_dict(own):
        own.pop("hydra", None)
    try:
        refuse_unknown(own, schema)
        return OmegaConf.to_object(own)
    except ConfigError as error:
        raise ConfigError(error.key, error.value, error.remedy + _written_in(error.key, sys.argv[1:])) from error


def _written_in(key: str, arguments: Sequence[str]) -> str:
    """ " (FILE, line N)" of the user's own file that sets a key, where no argument does."""
    if _argument(key, arguments) != key:
        return ""
    files = [file for file in own_files.typed(arguments) if own_files.line_of(file, key) is not None]
    return f" ({own_files.where(files[-1], own_files.line_of(files[-1], key))})" if files else ""


def is_of_the_configuration(error: BaseException) -> bool:
    """Whether an error is about what was typed or written: Hydra's own, a YAML file's, or anything raised while Hydra composes."""
    if isinstance(error, HydraException | OmegaConfBaseException | yaml.YAMLError):
        return True
    frame = error.__traceback__
    while frame is not None and isinstance(error, Exception):
        last = frame.tb_frame.f_code
        if _COMPOSING.search(last.co_filename) and last.co_name not in ("run_and_report", "_run_app", "_run_hydra"):
            return True
        frame = frame.tb_next
        if frame is None and _COMPOSING.search(last.co_filename):  # raised by Hydra's own start, of its flags
            return True
    return False


def one_line(error: BaseException, schema: type = Config, arguments: Sequence[str] | None = None) -> str:
    """What is wrong, and what would be right in a configuration of `schema`. arguments: by default this process's."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(error, mistyped.FlagError):
        return str(error)
    causes = list(_causes(error))
    lines = [line.strip() for each in causes for line in str(each).splitlines() if line.strip()]
    message = lines[0] if lines else ""
    inside = re.match(r"In '([^']+)'", message)
    file = own_files.named(inside[1], given) if inside else None
    for each in causes:
        if isinstance(each, OverrideParseException):
            return mistyped.override(each.override, given, schema)
        if isinstance(each, yaml.YAMLError):
            where = Path(getattr(getattr(each, "problem_mark", None) or each, "name", None) or "?")
            return own_files.fault(where) or own_files.of_yaml(where, each)
        if isinstance(each, GrammarParseError | InterpolationResolutionError):
            return _interpolation(each, given)
    if file is not None and (found := own_files.fault(file)) is not None:
        return found
    if isinstance(error, MissingConfigException):
        return _missing_file(error, file, given)
    if isinstance(error, MissingMandatoryValue):
        return _missing_value(str(error.full_key or ""), given, schema)
    unknown = next((each for each in causes if isinstance(each, ConfigAttributeError | ConfigKeyError)), None)
    if unknown is not None and isinstance(unknown.object_type, type):
        return _unknown(unknown, message, file, given, schema)
    invalid = next((each for each in causes if isinstance(each, ValidationError)), None)
    if invalid is not None:
        return _invalid(invalid, message, file, given, schema)
    if not isinstance(error, HydraException | OmegaConfBaseException):
        return _group_value(given, schema) or own_files.first_fault(given) or message.rstrip(".")
    return _said_by_hydra(message, lines, file, given, schema)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _argument(key: str, arguments: Sequence[str]) -> str:
    """The last argument that sets a key, as it was typed; the key itself where none does."""
    named = [argument for argument in arguments if argument.lstrip("+~").partition("=")[0] == key]
    return named[-1] if named else key


def _at(file: Path | None, key: str) -> str:
    """ " (FILE, line N)" of the user's own file in which Hydra found the mistake."""
    return f" ({own_files.where(file, own_files.line_of(file, key))})" if file is not None else ""


def _options(group: str, arguments: Sequence[str]) -> list[str]:
    return keys.options(group, [keys.CONFIGS, *own_files.folders(arguments)])


def _missing_file(error: MissingConfigException, file: Path | None, arguments: Sequence[str]) -> str:
    """An option, or a whole configuration, that is not there."""
    name = (error.missing_cfg_file or "").removesuffix(".yaml")
    group, _, option = name.rpartition("/")
    there = list(error.options or _options(group, arguments))
    if not group or not there:
        return f"--config-name={name}: there is no {name}.yaml; leave it out, or add its folder with -cd"
    more = "; others come with pip install 'bnn-train[sweep]'" if group in ("hydra/launcher", "hydra/sweeper") else ""
    for folder in own_files.folders(arguments):
        if (wrong := folder / group / f"{option}.yml").is_file():
            more = f"; {own_files.where(wrong)} would be one if its name ended in .yaml"
        elif folder.name == group and (folder / f"{option}.yaml").is_file():
            more = f"; -cd takes the folder above {group}/, so type -cd {own_files.for_people(folder.parent)}"
    typed = next((each for each in arguments if each.lstrip("+").replace("=", "/", 1) == name), f"{group}={option}")
    if file is None and typed not in arguments:
        file = next((each for each in own_files.typed(arguments) if own_files.line_with(each, option)), None)
    at = f" ({own_files.where(file, own_files.line_with(file, option))})" if file is not None else ""
    return f"{typed}: must be one of {', '.join(there)}{more}{at}"


def _missing_value(key: str, arguments: Sequence[str], schema: type) -> str:
    """A group without an option, or an option's file that sets nothing."""
    group, _, name = key.rpartition(".")
    there = _options(key, arguments)
    if there:
        files = [file for file in own_files.typed(arguments) if own_files.line_with(file, key)]
        at = f" ({own_files.where(files[-1], own_files.line_with(files[-1], key))})" if files else ""
        return f"{_argument(key, arguments)}: must be one of {', '.join(there)}{at}"
    if name == KEY_OF_NAME.get(group, "name"):
        fault = own_files.first_fault([argument for argument in arguments if not argument.startswith(f"{key}=")])
        if fault is not None:
            return fault
    must_be = keys.value_must_be(key, schema)
    return f"{key}: needs a value" + (f"; it {must_be}" if must_be else "")


def _interpolation(error: BaseException, arguments: Sequence[str]) -> str:
    """${...} that leads nowhere."""
    key = str(getattr(error, "full_key", None) or "")
    return f"{_argument(key, arguments)}: {_leads_nowhere(error)}{_written_in(key, arguments)}"


def _leads_nowhere(error: BaseException) -> str:
    said = str(error).splitlines()[0]
    missing = re.search(r"Environment variable '([^']+)' not found", said)
    if missing:
        return f"there is no environment variable {missing[1]}; set it, or give a default: ${{oc.env:{missing[1]},VALUE}}"
    missing = re.search(r"Interpolation key '([^']+)' not found", said)
    if missing:
        return f"there is no key {missing[1]} from which ${{{missing[1]}}} could be taken"
    missing = re.search(r"Unsupported interpolation type (\S+)", said)
    if missing:
        return f"there is nothing called {missing[1]} that ${{{missing[1]}:...}} could ask; ${{oc.env:NAME}} asks the environment"
    if isinstance(error, GrammarParseError):
        return "cannot be read; an interpolation is typed '${KEY}', in single quotes"
    return f"{said.partition(': ')[2] or said}"


def _unknown(error: Any, message: str, file: Path | None, arguments: Sequence[str], schema: type) -> str:
    """A key that the chosen option does not have: of a file, of an experiment, or typed."""
    key, kind = str(error.full_key), error.object_type
    named = re.match(r"Could not \w+(?: to config| from config)?\W+'?([\w./@+~-]+)", message)
    key = named[1].rstrip(".") if named and named[1].startswith(key) else key
    if file is not None and _has_no_schema(kind, file):
        return own_files.fault(file) or f"{key}: there is no such key{_at(file, key)}"
    shown = _argument(key, arguments) if file is None else key
    return f"{shown}: {_no_such_key(key, kind, error.parent_node, schema, file)}{_at(file, key)}"


def _has_no_schema(kind: type, file: Path) -> bool:
    return file.parent.name in OPTIONS and is_dataclass(kind) and kind is keys.groups_of(Config).get(file.parent.name, [None])[0]


def _no_such_key(key: str, kind: type, node: Any, schema: type, file: Path | None = None) -> str:
    """The remedy for a key that is not there, from the dataclass and the node at its place."""
    group, _, last = key.rpartition(".")
    if key.startswith("hydra.") or key == "hydra":
        return "there is no such key of Hydra's; --cfg hydra shows them"
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
    hint = f"; it is a key of {group}={', '.join(dict.fromkeys(whose))}" if whose else ""
    where = ""
    if file is not None or whose:
        where = f"; {file.parent.name}={file.stem} sets it, and goes with another {group}" if file is not None else ""
    return f"{_option(group, node)} takes {listed}{hint}{where}"


def _option(group: str, node: Any) -> str:
    """The option that a group's node is of, as typed."""
    name = dict(node.items_ex(resolve=False)).get(KEY_OF_NAME.get(group, "name")) if isinstance(node, DictConfig) else None
    return f"{group}={name}" if name is not None else group


def _invalid(error: Any, message: str, file: Path | None, arguments: Sequence[str], schema: type) -> str:
    """A value of another type than the key's."""
    merged = re.match(r"Error merging override (.*)", message)
    key = re.sub(r"\[\d+\]", "", str(error.full_key or ""))
    if merged:
        key = merged[1].lstrip("+~").partition("=")[0]
    elif file is not None:
        key = key or _group_without_keys(file, schema)
    shown = merged[1] if merged else f"{key}={_written(file, key)}" if file is not None else _argument(key, arguments)
    there = [] if "." in key else _options(key, arguments)
    if there and file is not None:
        remedy = f"is a group; choose its option under defaults, as in  override /{key}: {there[0]}, or set keys below it"
    elif there:
        remedy = f"is a group; choose one of {', '.join(there)}, or set its keys, as in {key}.KEY=VALUE"
    else:
        remedy = keys.value_must_be(key, schema) or str(error).splitlines()[0].rstrip(".")
    return f"{shown}: {remedy}{_at(file, key)}"


def _group_without_keys(file: Path, schema: type) -> str:
    """The group to which a file of the whole run gives a single value."""
    tree = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    return next((str(key) for key, value in tree.items() if key in keys.groups_of(schema) and not isinstance(value, dict)), "")


def _written(file: Path, key: str) -> str:
    """The value of a dotted key in a file."""
    node: Any = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    for part in own_files.path_in(file, key):
        node = node.get(part) if isinstance(node, dict) else node
    return as_typed(node)


def _group_value(arguments: Sequence[str], schema: type) -> str | None:
    """A null or a number where an option's name belongs."""
    for argument in arguments:
        key, equals, value = argument.lstrip("+~").partition("=")
        if not equals or argument.startswith("-"):
            continue
        if not key:
            return f"{argument}: needs a key before the =; --help lists them"
        there = _options(key, arguments)
        no_name = any(re.fullmatch(r"null|true|false|[-+.\d_e]+|[\[{].*", part, re.IGNORECASE) for part in value.split(","))
        if no_name and there:
            return f"{argument}: must be one of {', '.join(there)}" + ("; leave it out for none" if key == "experiment" else "")
        if no_name and "/" in key:
            return f"{argument}: must be the name of an option; leave it out for Hydra's own"
    return None


def _said_by_hydra(message: str, lines: Sequence[str], file: Path | None, arguments: Sequence[str], schema: type) -> str:
    """What Hydra says in words of its own, each of which stands for a mistake that is told by them alone."""
    found = re.match(r"Ambiguous value for argument '(.*)'$|Sweep parameters '(.*)' requires", message)
    if found:
        return _several_values(found[1] or found[2], arguments, schema)
    found = re.match(r"Sweeping over Hydra's configuration is not supported : '(.*)'", message)
    if found:
        return f"{found[1]}: holds for all jobs and takes one value"
    found = re.match(r"Multiple values for ([\w/.@]+)\.", message)
    if found:
        return _second_option(found[1], arguments)
    found = re.match(r"force-add of config groups is not supported: '\++(.*)'", message)
    if found:
        return f"++{found[1]}: a group has its option already; type {found[1]}"
    found = re.match(r"Could not append to config. An item is already at '(.*)'", message)
    if found:
        shown = _argument(found[1], arguments)
        return f"{shown}: the key is there already; type {shown.lstrip('+')}"
    found = re.match(r"Could not delete '([^'=]+)", message) or re.match(r"Error merging override ~(.*)", message)
    if found and (found[1] in keys.known(schema) or _options(found[1], arguments)):
        there = _options(found[1], arguments)
        remedy = f"choose one of {', '.join(there)}" if there else keys.value_must_be(found[1], schema)
        return f"{_argument(found[1], arguments)}: cannot be taken away; {remedy}"
    found = re.match(r"Error merging override (.*)", message)
    if found:
        key = found[1].lstrip("+~").partition("=")[0]
        return f"{found[1]}: {keys.value_must_be(key, schema) or (lines[1] if len(lines) > 1 else 'cannot be used').rstrip('.')}"
    found = re.search(r"Could not (?:override|delete from config|append to config)\W+'?([\w./@+~:-]+)", message)
    if found:
        key = found[1].rstrip(".").rstrip("'")
        group = key.partition("@")[0]
        remedy = f"there is no such key; {keys.meant(group, schema) or '--help lists them'}"
        at = f" ({own_files.where(file, own_files.line_with(file, group))})" if file is not None else ""
        return f"{_argument(key, arguments)}: {remedy}{at}"
    text = [line for line in lines if "hydra.cc" not in line and set(line) != {"^"}]
    return "; ".join(text[:2]).rstrip(".")


def _several_values(shown: str, arguments: Sequence[str], schema: type) -> str:
    """a,b without -m."""
    key, _, value = shown.lstrip("+").partition("=")
    must_be = keys.value_must_be(key, schema)
    there = _options(key, arguments)
    remedy = "gives several values, which is a sweep and needs -m"
    if there:
        return f"{shown}: {remedy}; without it choose one of {', '.join(there)}"
    if must_be.startswith("must be a list"):
        remedy += f"; one list is typed {key}=[{value}]"
    elif re.fullmatch(r"[+-]?\d+,\d+", value) and "number" in must_be and "whole" not in must_be:
        remedy += f"; the decimal sign is a point: {key}={value.replace(',', '.')}"
    elif must_be:
        remedy += f"; without it the value {must_be}"
    return f"{shown}: {remedy}"


def _second_option(group: str, arguments: Sequence[str]) -> str:
    """An option added where one is chosen already: by +group=option, or by a file that does not say override."""
    for argument in arguments:
        if argument.startswith(f"+{group}="):
            return f"{argument}: the group has its option already; type {argument.lstrip('+')}"
    for file in own_files.chosen(arguments):
        for line, text in enumerate(file.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
            found = re.match(rf"\s*-\s*(/?{re.escape(group)}\s*:.*)", text)
            if found:
                remedy = f"the group {group} has its option already; write  override /{found[1].strip().lstrip('/')}"
                return own_files.at(file, remedy, line)
    return f"{group}: has its option already; a file writes  override /{group}: OPTION"


def refuse_unknown(composed: DictConfig, schema: type = Config) -> None:
    """Raises ConfigError for a key that +key=value has added: it would be ignored."""
    for key, node, kind in _typed_nodes(composed):
        names = {each.name for each in fields(kind)}
        for name in map(str, node):
            if name not in names:
                full = f"{key}.{name}" if key else name
                value = OmegaConf.to_container(node)[name]  # type: ignore[index,call-overload]
                raise ConfigError(full, value, _no_such_key(full, kind, node, schema))


def _typed_nodes(node: DictConfig, key: str = "") -> Iterator[tuple[str, DictConfig, type]]:
    kind = OmegaConf.get_type(node)
    if isinstance(kind, type) and is_dataclass(kind):
        yield key, node, kind
    for name, child in ((str(name), child) for name, child in node.items_ex(resolve=False)):
        if isinstance(child, DictConfig) and not OmegaConf.is_missing(node, name):
            yield from _typed_nodes(child, f"{key}.{name}" if key else name)
