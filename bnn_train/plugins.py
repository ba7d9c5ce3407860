"""Plugins: modules and .py files that the user names, imported so that what they register can be chosen. Loads no torch.

A file never causes an import: what a checkpoint or a configuration file names is refused unless the user has named it too.
"""

import hashlib
import importlib
import importlib.util
import json
import os
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser

from bnn_train import register
from bnn_train.config.checks import flat, nested
from bnn_train.config.root import OPTIONS, SEVERAL
from bnn_train.errors import ConfigError

VARIABLE = "BNN_TRAIN_PLUGINS"  # in the environment of a sweep's jobs: what the command has imported, as JSON


class _Loaded(NamedTuple):
    source: str  # as it was named
    path: str  # of a file: absolute
    digest: str


_loaded: dict[str, _Loaded] = {}  # by `identity`


def load(names: Iterable[str]) -> None:
    """Imports plugins, each once; a file that has changed since is imported anew.

    Raises ConfigError for one that is not there, cannot be imported, or registers nothing.
    """
    named = list(names)
    for number, name in enumerate(named):
        if not isinstance(name, str) or not name:
            raise ConfigError("plugins", name, "must be modules or .py files, as in [my_net.py]")
        if identity(name) in map(identity, named[:number]):
            raise ConfigError("plugins", named, f"names {identity(name)} twice; two files need two names")
        path = Path(name).expanduser()
        if name.endswith(".py"):
            _load_file(name, path)
        elif identity(name) not in _loaded:
            if "/" in name or path.is_dir():
                raise ConfigError("plugins", [name], "is neither a module nor a .py file")
            _import(name, lambda name=name, path=path: _module(name, path))
            _loaded[identity(name)] = _Loaded(name, "", "")


def missing(names: Iterable[str]) -> list[str]:
    """Those of them that are not imported, wherever their files lie."""
    return [name for name in names if identity(name) not in _loaded]


def require(names: Iterable[str], whose: str) -> None:
    """Raises ConfigError where `whose` network or data needs plugins that are not imported."""
    needed = list(names)
    if absent := missing(needed):
        many = "plugin" if len(absent) == 1 else "plugins"
        there = [each.source for each in _loaded.values()]
        raise ConfigError("plugins", there, f"{whose} needs the {many} {', '.join(absent)}: add plugins=[{','.join(needed)}]")


def digests(names: Iterable[str]) -> dict[str, str]:
    """Of the files among these, as they were imported."""
    return {identity(name): each.digest for name in names if (each := _loaded.get(identity(name))) is not None and each.digest}


def identity(name: str) -> str:
    """What a plugin is known by wherever it lies: a file's name, a module's dotted one."""
    return Path(name).name if name.endswith(".py") else name


def hand_on(names: Sequence[str]) -> None:
    """Lets the jobs that a launcher runs in other processes import the same."""
    paths = [os.path.abspath(os.path.expanduser(name)) if name.endswith(".py") else name for name in names]
    os.environ[VARIABLE] = json.dumps(paths)


def handed_on() -> None:
    """In such a job: imports them."""
    load(json.loads(os.environ.get(VARIABLE, "[]")))


def store() -> None:
    """Makes the options of plugins known to Hydra."""
    into = ConfigStore.instance()
    for group, found in register.FOUND.items():
        for name, each in found.items():
            if each.kind is not None:
                into.store(group=group, name=name, node=each.kind, package=f"{group}.{name}" if group == SEVERAL else None)
            else:
                into.store(group=group, name=name, node=_of_method(each), package="_global_")


def __getattr__(name: str) -> Any:
    """The dataclass of an option, by which the pickle of a sweep's job names it."""
    if name.startswith("Option_"):
        handed_on()
        for found in register.FOUND.values():
            for each in found.values():
                if each.kind is not None and each.kind.__name__ == name:
                    return each.kind
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _load_file(name: str, path: Path) -> None:
    if not path.is_file():
        raise ConfigError("plugins", [name], f"there is no such file ({path.absolute()})")
    found = _Loaded(name, str(path.resolve()), hashlib.sha256(path.read_bytes()).hexdigest()[:16])
    before = _loaded.get(identity(name))
    if before is not None and before[1:] == found[1:]:
        return
    if before is not None:
        register.forget(before.source)
        del _loaded[identity(name)]
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)  # for what lies beside it; last, so that it hides nothing
    _import(name, lambda: _of_file(path))
    _loaded[identity(name)] = found


def _of_file(path: Path) -> str:
    """Imports it under a name that hides no other module, and gives that name."""
    module_name = f"bnn_train_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[module_name]
        raise
    return module_name


def _module(name: str, path: Path) -> str:
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        found = None
    if found is None and name not in sys.modules:
        here = f"; of the file here: plugins=[{name}.py]" if path.with_name(f"{path.name}.py").is_file() else ""
        raise ConfigError("plugins", [name], f"there is no module {name} on Python's path{here}")
    module: ModuleType = importlib.import_module(name)
    return module.__name__


def _import(name: str, run: Any) -> None:
    """Runs an import. Raises ConfigError with the place of what it raises, and where it has registered nothing."""
    try:
        with register.importing(name):
            module = run()
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError("plugins", [name], f"cannot be imported: {_place(error, name)}{register.said(error)}") from error
    earlier = any(each.function.__module__ == module for found in register.FOUND.values() for each in found.values())
    if not register.of(name) and not earlier:  # a module may have been imported before
        remedy = "registers nothing; a function becomes an option under @bnn_train.register.model, .data, .estimator, .weights, "
        raise ConfigError("plugins", [name], f"{remedy}.loss, .logger or .method")


def _place(error: BaseException, name: str) -> str:
    if isinstance(error, SyntaxError) and error.lineno is not None:
        return f"{Path(error.filename or name).name}, line {error.lineno}: "
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_own(frame.filename)]
    return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}: " if frames else ""


def _is_own(file: str) -> bool:
    """Whether it is the user's code, and neither ours nor an importer's."""
    return not file.startswith("<frozen") and Path(file) not in (Path(__file__), Path(register.__file__), Path(importlib.__file__))


def _of_method(plugged: register.Plugged) -> dict[str, Any]:
    """What Hydra reads in a file of the group `method`."""
    try:
        given = plugged.function()
    except Exception as error:
        raise plugged.fault(register.said(error)) from error
    if isinstance(given, Mapping):
        pairs = flat(dict(given))
    elif isinstance(given, list | tuple) and all(isinstance(each, str) and "=" in each for each in given):
        parsed = OverridesParser.create().parse_overrides(list(given))
        pairs = {each.key_or_group: each.value() for each in parsed}
    else:
        raise plugged.fault('must give overrides, as in ["model=my_net", "optimizer.lr=0.01"] or {"model": "my_net"}')
    groups = {key: value for key, value in pairs.items() if key in (*OPTIONS, "block", "trainer", "edges")}
    defaults: list[Any] = [{f"override /{group}": value} for group, value in groups.items()]
    return {"defaults": [*defaults, "_self_"], **nested({key: value for key, value in pairs.items() if key not in groups})}
