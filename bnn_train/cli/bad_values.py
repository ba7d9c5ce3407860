"""Values and options that there are not, of the wrong type, or missing: each as one line."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.errors import MissingConfigException
from omegaconf.errors import GrammarParseError

from bnn_train import register
from bnn_train.cli import keys, loggers, own_files
from bnn_train.config.checks import flat
from bnn_train.config.root import KEY_OF_NAME, WHOLE
from bnn_train.errors import as_typed


def missing_file(error: MissingConfigException, file: Path | None, arguments: Sequence[str]) -> str:
    """An option, or a whole configuration, that is not there."""
    name = (error.missing_cfg_file or "").removesuffix(".yaml")
    group, _, option = name.rpartition("/")
    there = list(error.options or own_files.options(group, arguments))
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
    meant = keys.close(option, there)
    if not more and meant:
        more = f"; did you mean {' or '.join(meant)}?"
    elif not more and group in register.FOUND and not any("plugins=" in each for each in arguments):
        more = "; for one of your own name its file, plugins=[FILE.py]"
    return f"{typed}: must be one of {', '.join(there)}{more}{at}"


def missing_value(key: str, arguments: Sequence[str], schema: type) -> str:
    """A group without an option, or an option's file that sets nothing."""
    group, _, name = key.rpartition(".")
    there = own_files.options(key, arguments)
    if there:
        files = [file for file in own_files.typed(arguments) if own_files.line_with(file, key)]
        at = f" ({own_files.where(files[-1], own_files.line_with(files[-1], key))})" if files else ""
        return f"{keys.argument(key, arguments)}: must be one of {', '.join(there)}{at}"
    if name == KEY_OF_NAME.get(group, "name"):
        fault = own_files.first_fault([argument for argument in arguments if not argument.startswith(f"{key}=")])
        if fault is not None:
            return fault
    must_be, meaning = keys.value_must_be(key, schema), keys.meaning(key, schema)
    return f"{key}: needs a value" + (f"; it {must_be}" if must_be else "") + (f", {meaning}" if meaning else "")


def interpolation(error: BaseException, arguments: Sequence[str]) -> str:
    """${...} that leads nowhere."""
    key = str(getattr(error, "full_key", None) or "")
    return f"{keys.argument(key, arguments)}: {_leads_nowhere(error)}{own_files.written_in(key, arguments)}"


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


def invalid(error: Any, message: str, file: Path | None, arguments: Sequence[str], schema: type) -> str:
    """A value of another type than the key's."""
    merged = re.match(r"Error merging override (.*)", message)
    key = re.sub(r"\[\d+\]", "", str(error.full_key or ""))
    if merged:
        key = merged[1].lstrip("+~").partition("=")[0]
    elif file is not None and (not key or key.isdecimal()):  # of a list in a list OmegaConf says the place alone
        key = _shallow_list(file, schema) or _group_without_keys(file, schema) or key
    shown = merged[1] if merged else f"{key}={_written(file, key)}" if file is not None else keys.argument(key, arguments)
    there = [] if "." in key else own_files.options(key, arguments)
    if there and file is not None:
        meant = written if (written := str(_written(file, key))) in there else there[0]
        remedy = f"is a group; choose its option under defaults, as in  override /{key}: {meant}, or set keys below it"
    elif there:
        remedy = f"is a group; choose one of {', '.join(there)}, or set its keys, as in {key}.KEY=VALUE"
    elif of := loggers.having(key):
        remedy = f"stands below its logger's name, as in  logger: {{{of}: {{{key.partition('.')[2]}: ...}}}}"
    elif (parent := key.rpartition(".")[0]) in keys.known(schema):
        remedy = f"{parent} has no keys below it; it {keys.value_must_be(parent, schema)}"
    else:
        remedy = keys.value_must_be(key, schema) or str(error).splitlines()[0].rstrip(".")
    return f"{shown}: {remedy}{own_files.at_key(file, key)}"


def _shallow_list(file: Path, schema: type) -> str:
    """The key of a file whose value is a list, where a list of lists belongs."""
    tree = flat(yaml.safe_load(file.read_text(encoding="utf-8-sig")))
    group = "" if file.parent.name in WHOLE else f"{file.parent.name}."
    lists = [group + key for key, value in tree.items() if isinstance(value, list) and any(not isinstance(v, list) for v in value)]
    return next((key for key in lists if keys.value_must_be(key, schema).startswith("must be a list of lists")), "")


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


def group_value(arguments: Sequence[str], schema: type) -> str | None:
    """A null or a number where an option's name belongs."""
    for argument in arguments:
        key, equals, value = argument.lstrip("+~").partition("=")
        if not equals or argument.startswith("-"):
            continue
        if not key:
            return f"{argument}: needs a key before the =; --help lists them"
        there = own_files.options(key, arguments)
        no_name = any(re.fullmatch(r"null|true|false|[-+.\d_e]+|[\[{].*", part, re.IGNORECASE) for part in value.split(","))
        if no_name and there:
            return f"{argument}: must be one of {', '.join(there)}" + ("; leave it out for none" if key in WHOLE else "")
        if no_name and "/" in key:
            return f"{argument}: must be the name of an option; leave it out for Hydra's own"
    return None
