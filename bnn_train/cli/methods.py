"""What the chosen method brings: the options that its file names, so that a refusal can say where a value comes from."""

import re
from collections.abc import Sequence
from pathlib import Path

from bnn_train import plugins, register
from bnn_train.cli import keys, own_files
from bnn_train.config.root import OF_METHODS, WHOLE
from bnn_train.errors import ConfigError

_OVERRIDE = re.compile(r"^\s*-\s*override\s+/?(\w+)\s*:\s*(\w+)", re.MULTILINE)
_PAIR = re.compile(rf"\b({'|'.join(OF_METHODS)})=(\w+)")


def files(arguments: Sequence[str]) -> list[Path]:
    """Those of the method and the experiment that were typed, a method's first."""
    folders = [*own_files.folders(arguments), keys.CONFIGS]
    options = [(group, keys.argument(group, arguments).partition("=")[2].strip("'\"")) for group in WHOLE]  # Python types quotes
    candidates = [[folder / group / f"{option}.yaml" for folder in folders] for group, option in options if option]
    return [found for each in candidates if (found := next((file for file in each if file.is_file()), None)) is not None]


def head(file: Path) -> list[str]:
    """The comment that a file begins with, without its signs; what Hydra reads there is left out."""
    lines = []
    for line in file.read_text(encoding="utf-8-sig").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").removeprefix(" "))
    return [line for line in lines if not line.startswith("@package")]


def brings(file: Path) -> dict[str, str]:
    """The option of each group that a method chooses."""
    return dict(_OVERRIDE.findall(file.read_text(encoding="utf-8-sig")))


def behind(refusal: ConfigError, arguments: Sequence[str]) -> str:
    """ " (method=bop brings weights=binary)" after a refusal of an option, or of a key of one, that nobody typed; else ""."""
    chosen = {file.parent.name: file for file in files(arguments)}
    if "method" not in chosen:
        return ""
    over = brings(chosen["experiment"]) if "experiment" in chosen else {}
    brought = {group: name for group, name in brings(chosen["method"]).items() if group not in over}
    of_key = refusal.key.partition(".")[0] if keys.argument(refusal.key, arguments) == refusal.key else ""
    pairs = dict.fromkeys([(of_key, brought.get(of_key, "")), *_PAIR.findall(str(refusal))])
    named = [f"{group}={name}" for group, name in pairs if brought.get(group) == name and keys.argument(group, arguments) == group]
    return f" (method={chosen['method'].stem} brings {', '.join(named)})" if named else ""


def behind_plugged(key: str, arguments: Sequence[str]) -> str:
    """ " (method=mine of my_net.py sets it)" where a plugin's method says what nobody typed; else ""."""
    name = keys.argument("method", arguments).partition("=")[2].strip("'\"")
    plugged = register.FOUND["method"].get(name)
    if plugged is None or name in plugins.broken or keys.argument(key, arguments) != key:
        return ""
    return f" (method={name} of {plugged.source} sets it)" if key in plugins.overrides_of(plugged) else ""
