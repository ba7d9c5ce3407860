"""Hydra's and OmegaConf's errors about what was typed or stands in a YAML file, as one line with what would be right."""

import copy
import re
import sys
from collections.abc import Iterator, Sequence
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

from bnn_train import plugins
from bnn_train.cli import bad_values, keys, methods, mistyped, own_files, unknown_keys
from bnn_train.config.root import OPTIONS, SEVERAL, Config
from bnn_train.errors import ConfigError

_ONE_OPTION = "takes one option; several, without the brackets, are a sweep and need -m"
_COMPOSING = re.compile(r"[/\\]hydra[/\\](_internal[/\\](config_|defaults_list|utils)|core[/\\](override_parser|default_))")


def typed(composed: DictConfig, schema: type = Config, arguments: Sequence[str] | None = None) -> Any:
    """The typed configuration of what Hydra composed, with or without Hydra's own part.

    arguments: by default this process's.

    Raises ConfigError for a value out of range and for an unknown key, with the line of the user's file where it comes from one;
    OmegaConf's errors for an interpolation that leads nowhere and a value that is missing.
    """
    for argument in sys.argv[1:] if arguments is None else arguments:
        group, _, value = argument.partition("=")
        if value.startswith("[") and group in OPTIONS and group != SEVERAL:  # Hydra takes the last, of options without a schema
            raise ConfigError(group, value, _ONE_OPTION)
    OmegaConf.select(composed, "hydra.run.dir")  # of an interpolation here Hydra would only warn, and go on
    own = copy.deepcopy(composed)
    with read_write(own), open_dict(own):
        own.pop("hydra", None)
    if absent := plugins.missing(map(str, own.get("plugins") or ())):
        remedy = f"a file never causes an import; name it on the command line, plugins=[{','.join(absent)}]"
        raise ConfigError("plugins", absent, remedy)
    try:
        unknown_keys.refuse_unknown(own, schema)
        return OmegaConf.to_object(own)
    except ConfigError as error:
        raise with_origin(error, arguments) from error.__cause__  # it may be the error itself, which is no cause of its own


def with_origin(refusal: ConfigError, arguments: Sequence[str] | None = None) -> ConfigError:
    """The refusal, with the file of the user's own or the method that its key comes from, where nobody typed it.

    For what is refused when the configuration is typed, and also for what only the images' shape tells.
    """
    given = sys.argv[1:] if arguments is None else arguments
    where = own_files.written_in(refusal.key, given) or methods.behind_plugged(refusal.key, given) or methods.behind(refusal, given)
    said = not where or refusal.remedy.endswith(where)
    return refusal if said else type(refusal)(refusal.key, refusal.value, refusal.remedy + where)


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
    line = _line(error, schema, given)
    found = re.match(r"[\w.]+", line)
    where = methods.behind_plugged(found[0], given) if found else ""
    return line if line.endswith(where) else line + where


def _line(error: BaseException, schema: type, given: list[str]) -> str:
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
            return bad_values.interpolation(each, given)
    if file is not None and (found := own_files.fault(file)) is not None:
        return found
    if isinstance(error, MissingConfigException):
        group, _, name = str(error.missing_cfg_file or "").partition("/")
        if group == "method" and name in plugins.broken:
            return str(plugins.broken[name])
        return bad_values.missing_file(error, file, given)
    if isinstance(error, MissingMandatoryValue):
        return bad_values.missing_value(str(error.full_key or ""), given, schema)
    unknown = next((each for each in causes if isinstance(each, ConfigAttributeError | ConfigKeyError)), None)
    if unknown is not None and isinstance(unknown.object_type, type):
        return unknown_keys.unknown(unknown, message, file, given, schema)
    invalid = next((each for each in causes if isinstance(each, ValidationError)), None)
    if invalid is not None:
        return bad_values.invalid(invalid, message, file, given, schema)
    if not isinstance(error, HydraException | OmegaConfBaseException):
        return bad_values.group_value(given, schema) or own_files.first_fault(given) or message.rstrip(".")
    return _said_by_hydra(message, lines, file, given, schema)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _said_by_hydra(message: str, lines: Sequence[str], file: Path | None, arguments: Sequence[str], schema: type) -> str:
    """What Hydra says in words of its own, each of which stands for a mistake that is told by them alone."""
    found = re.match(r"Ambiguous value for argument '(.*)'$|Sweep parameters '(.*)' requires", message)
    if found:
        return _several_values(found[1] or found[2], arguments, schema)
    found = re.match(r"Sweeping over Hydra's configuration is not supported : '(.*)'", message)
    if found:
        return f"{found[1]}: holds for all jobs and takes one value"
    found = re.match(r"Multiple values for (?:schema/)?(\w+)[\w/.@]*\.", message)
    found = found or re.match(r"(?:schema/)?(\w+)(?:@\S+)? appears more than once in the final defaults list", message)
    if found:
        return _second_option(found[1], arguments)
    found = re.match(r"force-add of config groups is not supported: '\++(.*)'", message)
    if found:
        return f"++{found[1]}: a group has its option already; type {found[1]}"
    found = re.match(r"Could not append to config. An item is already at '(.*)'", message)
    if found:
        shown = keys.argument(found[1], arguments)
        return f"{shown}: the key is there already; type {shown.lstrip('+')}"
    found = re.match(r"Could not delete '([^'=]+)", message) or re.match(r"Error merging override ~(.*)", message)
    if found and (found[1] in keys.known(schema) or own_files.options(found[1], arguments)):
        there = own_files.options(found[1], arguments)
        remedy = f"choose one of {', '.join(there)}" if there else keys.value_must_be(found[1], schema)
        return f"{keys.argument(found[1], arguments)}: cannot be taken away; {remedy}"
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
        return f"{keys.argument(key, arguments)}: {remedy}{at}"
    text = [line for line in lines if "hydra.cc" not in line and set(line) != {"^"}]
    return "; ".join(text[:2]).rstrip(".")


def _several_values(shown: str, arguments: Sequence[str], schema: type) -> str:
    """a,b without -m."""
    key, _, value = shown.lstrip("+").partition("=")
    must_be = keys.value_must_be(key, schema)
    there = own_files.options(key, arguments)
    remedy = "gives several values, which is a sweep and needs -m"
    if there:
        several = f", or several as a list, {key}=[{value}]" if key == SEVERAL else ""
        return f"{shown}: {remedy}; without it choose one of {', '.join(there)}{several}"
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
        if argument.startswith(f"{group}=["):
            return f"{argument}: {_ONE_OPTION}"
        if argument.startswith(f"+{group}="):
            return f"{argument}: the group has its option already; type {argument.lstrip('+')}"
    for file in own_files.chosen(arguments):
        for line, text in enumerate(file.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
            found = re.search(rf"(?:^\s*-|[\[,{{])\s*(/?{re.escape(group)}\s*:[^,\]}}#]*)", text)
            if found:
                remedy = f"the group {group} has its option already; write  override /{found[1].strip().lstrip('/')}"
                return own_files.at(file, remedy, line)
    return f"{group}: has its option already; a file writes  override /{group}: OPTION"
