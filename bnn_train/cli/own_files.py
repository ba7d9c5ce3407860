"""YAML files of the user's own: which were chosen, and what is wrong in one, with its line."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from bnn_train.cli import keys
from bnn_train.config.root import NEED_SCHEMA, WHOLE
from bnn_train.files import for_people


def folders(arguments: Sequence[str]) -> list[Path]:
    """Those that -cd, --config-dir or hydra.searchpath add."""
    found = [arguments[i + 1] for i, argument in enumerate(arguments[:-1]) if argument in ("-cd", "--config-dir")]
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if equals and name in ("-cd", "--config-dir"):
            found.append(value)
        elif name == "hydra.searchpath":
            found += [item.strip().strip("'\"").removeprefix("file://") for item in value.strip("[]").split(",")]
    return [Path(os.path.abspath(os.path.expanduser(folder))) for folder in found if folder and "://" not in folder]


def typed(arguments: Sequence[str]) -> list[Path]:
    """The files of the options that were typed, as far as they are the user's own."""
    found = []
    for argument in arguments:
        group, equals, options = argument.lstrip("+").partition("=")
        if equals and not argument.startswith("-"):
            for option in options.strip("[]").split(","):
                found += [file for folder in folders(arguments) if (file := folder / group / f"{option.strip()}.yaml").is_file()]
    return found


def chosen(arguments: Sequence[str]) -> Iterator[Path]:
    """Those, then all others of the user's own."""
    yield from typed(arguments)
    for folder in folders(arguments):
        yield from sorted(folder.rglob("*.yaml"))


def named(config_path: str, arguments: Sequence[str]) -> Path | None:
    """The user's own file that Hydra calls `config_path`, as in model/mine."""
    return next((file for folder in folders(arguments) if (file := folder / f"{config_path}.yaml").is_file()), None)


def first_fault(arguments: Sequence[str]) -> str | None:
    """What is wrong in the first of the user's own files in which anything is; None where nothing is."""
    return next((line for file in chosen(arguments) if (line := fault(file)) is not None), None)


def fault(file: Path) -> str | None:
    """`group=option: FILE, line N: what is wrong`, of a file that is no options file of ours; None for one that is."""
    group = file.parent.name
    others = [option for option in keys.options(group, [keys.CONFIGS]) if option != file.stem]
    begin = f"begin it with defaults: [{others[0] if others else 'OPTION'}, _self_], of which it then takes the keys"
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        return at(file, f"cannot be read ({error.strerror})")
    except UnicodeDecodeError as error:
        line = file.read_bytes()[: error.start].count(b"\n") + 1
        return at(file, "is not UTF-8, in which YAML is written; save it as UTF-8", line)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        return of_yaml(file, error)
    if node is None:
        return at(file, "is empty; " + (begin if group in NEED_SCHEMA else "give it keys, as in KEY: VALUE"))
    if not isinstance(node, yaml.MappingNode):
        what = "a list" if isinstance(node, yaml.SequenceNode) else "a single value"
        return at(file, f"is {what}, where keys and values are needed, as in KEY: VALUE", node.start_mark.line + 1)
    seen: set[str] = set()
    defaults = None
    for key, value in node.value:
        if key.value in seen:
            return at(file, f"the key {key.value} stands there twice; leave one out", key.start_mark.line + 1)
        seen.add(key.value)
        defaults = value if key.value == "defaults" else defaults
    if group in WHOLE and not re.match(r"\s*#\s*@package\s+_global_", text):
        return at(file, "its first line must be  # @package _global_  so that its keys are those of the whole run")
    if defaults is None:
        return at(file, f"names no option whose keys it takes; {begin}") if group in NEED_SCHEMA else None
    return _fault_of_defaults(file, defaults)


def _fault_of_defaults(file: Path, defaults: yaml.Node) -> str | None:
    line = defaults.start_mark.line + 1
    if not isinstance(defaults, yaml.SequenceNode):
        return at(file, "defaults must be a list, as in defaults: [OPTION, _self_]", line)
    for entry in defaults.value:
        line = entry.start_mark.line + 1
        if isinstance(entry, yaml.ScalarNode) and entry.value == file.stem:
            return at(file, f"names itself, {file.stem}, among its defaults; name another option", line)
        number = isinstance(entry, yaml.ScalarNode) and entry.tag != "tag:yaml.org,2002:str"
        if number or isinstance(entry, yaml.SequenceNode):
            return at(file, f"{text_of(entry)} is no entry of defaults; an option is a word, or GROUP: WORD", line)
    return None


def text_of(node: yaml.Node) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else "a list"


def of_yaml(file: Path, error: yaml.YAMLError) -> str:
    """What the YAML reader stumbled over, in a line."""
    if isinstance(error, yaml.reader.ReaderError):
        line = file.read_bytes()[: int(error.position)].count(b"\n") + 1
        return at(file, "holds a character that YAML does not allow; delete it", line)
    mark = getattr(error, "problem_mark", None)
    problem, context = str(getattr(error, "problem", None) or error), str(getattr(error, "context", None) or "")
    start = getattr(error, "context_mark", None)
    remedy = f"cannot be read as YAML: {problem}".replace("\n", " ")
    if "'\\t'" in problem:
        remedy = "holds a tab; YAML is indented with spaces"
    elif "flow sequence" in context and re.search(r"got '[\[{]'", problem) and _is_value(file, mark):
        remedy = "a text with brackets in it stands in quotes, as in ['model.hidden=[7,7]']"
    elif "flow sequence" in context or "flow mapping" in context:
        bracket, other = ("[", "]") if "sequence" in context else ("{", "}")
        mark, remedy = start or mark, f"the {bracket} is not closed by a {other}"
    elif "stream end" in problem:
        mark, remedy = None, "ends before a bracket or a quote is closed"
    elif "quoted scalar" in context:
        mark, remedy = start or mark, "the quote is not closed"
    elif "duplicate key" in problem:
        remedy = f"the key {problem.rpartition(' ')[2]} stands there twice; leave one out"
    elif "could not find expected ':'" in problem:
        mark, remedy = start or mark, "a key needs a colon and a space after it, as in KEY: VALUE"
    elif "mapping values are not allowed" in problem:
        remedy = "has a second colon; a value that holds one stands in quotes, and each key on a line of its own"
    elif "block mapping" in context or "block collection" in context:
        remedy = "is indented otherwise than the lines around it"
    elif "alias" in problem or "cannot start any token" in problem:
        remedy = f"{problem}; a value that begins with a sign stands in quotes"
    elif "constructor" in problem:
        remedy = "names a type with !; leave it out"
    found = _last_open(file) if mark is None else mark.line + 1
    return at(file, remedy, found)


def _is_value(file: Path, mark: yaml.Mark) -> bool:
    """Whether an = stands before it."""
    return file.read_text(encoding="utf-8-sig").splitlines()[mark.line][: mark.column].rstrip().endswith("=")


def _last_open(file: Path) -> int | None:
    """The last line with more brackets opened than closed."""
    lines = file.read_text(encoding="utf-8-sig").splitlines()
    opened = [i for i, line in enumerate(lines, start=1) if len(re.findall(r"[\[{]", line)) > len(re.findall(r"[\]}]", line))]
    return opened[-1] if opened else len(lines)


def at(file: Path, remedy: str, line: int | None = None) -> str:
    """`model=mine: my/model/mine.yaml, line 3: remedy`."""
    return f"{file.parent.name}={file.stem}: {where(file, line)}: {remedy}"


def where(file: Path, line: int | None = None) -> str:
    return f"{for_people(file)}, line {line}" if line else str(for_people(file))


def path_in(file: Path, key: str) -> list[str]:
    """Where a dotted key stands in a file: that of an option begins below its group."""
    path = key.split(".")
    return path[1:] if path[0] == file.parent.name else path


def line_of(file: Path, key: str) -> int | None:
    """The line of a dotted key in a file; None where it is not there, or the file cannot be read."""
    try:
        node = yaml.compose(file.read_text(encoding="utf-8-sig"), Loader=yaml.SafeLoader)
    except (OSError, ValueError, yaml.YAMLError):
        return None
    line = None
    for part in path_in(file, key):
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        node, line = next(((value, name.start_mark.line + 1) for name, value in pairs if name.value == part), (None, None))
    return line


def line_with(file: Path, word: str) -> int | None:
    """The first line that holds a word."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError):
        return None
    return next((i for i, line in enumerate(lines, start=1) if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", line)), None)


def at_key(file: Path | None, key: str) -> str:
    """ " (FILE, line N)" of the user's own file in which Hydra found the mistake."""
    return f" ({where(file, line_of(file, key))})" if file is not None else ""


def written_in(key: str, arguments: Sequence[str]) -> str:
    """ " (FILE, line N)" of the user's own file that sets a key, where no argument does."""
    if keys.argument(key, arguments) != key:
        return ""
    files = [file for file in typed(arguments) if line_of(file, key) is not None]
    return f" ({where(files[-1], line_of(files[-1], key))})" if files else ""


def options(group: str, arguments: Sequence[str]) -> list[str]:
    """The options of a group, those of the user among them."""
    return keys.options(group, [keys.CONFIGS, *folders(arguments)])
