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
from hydra.errors import HydraException

from bnn_train import register
from bnn_train.config.checks import flat, nested, within
from bnn_train.config.root import OPTIONS, SEVERAL
from bnn_train.errors import ConfigError

VARIABLE = "BNN_TRAIN_PLUGINS"  # in the environment of a sweep's jobs: what the command has imported, as JSON


class _Loaded(NamedTuple):
    source: str  # as it was named
    path: Path | None = None  # of a file: absolute
    helpers: Mapping[str, Path] = {}  # modules beside the file that its import brought in, by name
    digest: str = ""  # of the bytes of all of these


_loaded: dict[str, _Loaded] = {}  # by `identity`
_folders: list[str] = []  # that are on Python's path for their sake
_stored: set[tuple[str, str]] = set()  # group and name of the options that Hydra knows
broken: dict[str, ConfigError] = {}  # methods that give no overrides, by name


def load(names: Iterable[str]) -> None:
    """Imports plugins, each once; a file that has changed since is imported anew.

    Raises ConfigError for one that is not there, cannot be imported, or registers nothing.
    """
    named = list(names)
    for number, name in enumerate(named):
        if not isinstance(name, str) or not name:
            raise ConfigError("plugins", name, "must be modules or .py files, as in [my_net.py]")
        stems = [identity(each).removesuffix(".py") for each in named[:number]]
        if (stem := identity(name).removesuffix(".py")) in stems:
            raise ConfigError("plugins", named, f"names {stem} twice; two plugins need two names")
        path = Path(name).expanduser()
        if name.endswith(".py"):
            _load_file(name, path)
        elif identity(name) not in _loaded:
            if "/" in name:
                raise ConfigError("plugins", [name], "is neither a module nor a .py file")
            _import(name, lambda name=name, path=path: _module(name, path))
            _loaded[identity(name)] = _Loaded(name)


def missing(names: Iterable[str]) -> list[str]:
    """Those of them that are not imported, wherever their files lie."""
    return [name for name in names if identity(name) not in _loaded]


def require(names: Iterable[str], whose: str) -> None:
    """Raises ConfigError where `whose` network or data needs plugins that are not imported."""
    needed = list(names)
    if odd := [name for name in needed if not isinstance(name, str)]:
        raise ConfigError("plugins", odd, f"{whose} is said to need these, which are no names: its file is damaged")
    if absent := missing(needed):
        many = "plugin" if len(absent) == 1 else "plugins"
        there = [each.source for each in _loaded.values()]
        raise ConfigError("plugins", there, f"{whose} needs the {many} {', '.join(absent)}: add plugins=[{','.join(needed)}]")


def registered(config: Any) -> dict[str, list[str]]:
    """What of a configuration is of a plugin or a program: {"model=my_net": ["plugin", "my_net.py"]}, or ["program", its file]."""
    chosen: list[tuple[str, Any]] = [(group, getattr(getattr(config, group, None), "name", None)) for group in register.FOUND]
    chosen.append(("ste", getattr(config.weights, "ste", None)))
    chosen += [(SEVERAL, name) for name in config.logger]
    found = {}
    for group, name in chosen:
        if (each := register.FOUND[group].get(name)) is not None:
            of = ["program", each.program] if each.program else ["plugin", identity(each.source)]
            found[f"{group}={name}"] = of
    return found


def require_registered(options: Mapping[str, Sequence[str]]) -> None:
    """Raises ConfigError for one of what `registered` gave that is of a program, and not here."""
    for option, (kind, source) in options.items():
        group, _, name = option.partition("=")
        if kind == "program" and name not in register.FOUND.get(group, {}):
            remedy = f"was registered in {source}, by the program that trained the run; put it into a file of its own and name that"
            raise ConfigError(group, name, f"{remedy}: plugins=[FILE.py]")


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
    for group, name in _stored:  # a plugin that was imported anew may have other options
        into.repo.get(group, {}).pop(f"{name}.yaml", None)
    _stored.clear()
    for group, found in register.FOUND.items():
        for name, each in found.items():
            _stored.add((group, name))
            if each.kind is not None:
                into.store(group=group, name=name, node=each.kind, package=f"{group}.{name}" if group == SEVERAL else None)
                continue
            broken.pop(name, None)
            try:
                into.store(group=group, name=name, node=_of_method(each), package="_global_")
            except ConfigError as error:  # hinders nothing until the method is chosen
                broken[name] = error


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
    path, before = path.resolve(), _loaded.get(identity(name))
    if before is not None and before.path == path and before.digest == _digest(path, before.helpers):
        return
    if before is not None:
        register.forget(before.source)
        _forget_modules(before)
        del _loaded[identity(name)]
    for other in _loaded.values():  # whose modules may be called as this one's
        if other.path is not None and other.path.parent != path.parent:
            _forget_modules(other)
    _find_first(str(path.parent))
    there = set(sys.modules)
    _import(name, lambda: _of_file(path))
    helpers = {each: file for each in set(sys.modules) - there if (file := _file_in(path.parent, each)) is not None}
    _loaded[identity(name)] = _Loaded(name, path, helpers, _digest(path, helpers))


def _find_first(folder: str) -> None:
    """Has what lies beside a plugin be found: behind all else, so that it hides nothing, but before what lies beside others."""
    if folder not in sys.path or folder in _folders:
        sys.path[:] = [each for each in sys.path if each not in _folders]
        _folders[:] = [folder, *(each for each in _folders if each != folder)]
        sys.path += _folders


def _digest(path: Path, helpers: Mapping[str, Path]) -> str:
    """Of the bytes of a plugin's file and of what it has imported from beside it."""
    digest = hashlib.sha256()
    for each in (path, *sorted(helpers.values())):
        digest.update(each.read_bytes() if each.is_file() else b"")
    return digest.hexdigest()[:16]


def _file_in(folder: Path, name: str) -> Path | None:
    """The file of an imported module where the folder is what it was found in."""
    file = getattr(sys.modules.get(name), "__file__", None)
    below = folder.joinpath(*name.split("."))
    return Path(file).resolve() if file and Path(file).resolve() in (below.with_suffix(".py"), below / "__init__.py") else None


def _forget_modules(of: _Loaded) -> None:
    """Has what lies beside a plugin's file be imported anew, by whoever asks next."""
    for name, file in of.helpers.items():
        if of.path is not None and _file_in(of.path.parent, name) == file:
            del sys.modules[name]


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
        if path.is_dir():
            raise ConfigError("plugins", [name], "is neither a module nor a .py file")
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
    modules = [each.function.__module__ for found in register.FOUND.values() for each in found.values()]
    earlier = [each for each in modules if within(each, [module])]  # a module may have been imported before
    if not register.of(name) and not earlier:
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


def overrides_of(plugged: register.Plugged) -> dict[str, Any]:
    """What a method stands for, by key or group. Raises PluginError where it gives no overrides."""
    given = plugged.call()
    if isinstance(given, Mapping):
        return flat(dict(given))
    if isinstance(given, list | tuple) and all(isinstance(each, str) and "=" in each for each in given):
        try:
            parsed = OverridesParser.create().parse_overrides(list(given))
        except HydraException as error:
            raise plugged.fault(register.said(error)) from error
        return {each.key_or_group: each.value() for each in parsed}
    raise plugged.fault('must give overrides, as in ["model=my_net", "optimizer.lr=0.01"] or {"model": "my_net"}')


def _of_method(plugged: register.Plugged) -> dict[str, Any]:
    """What Hydra reads in a file of the group `method`."""
    pairs = overrides_of(plugged)
    groups = {key: value for key, value in pairs.items() if key in (*OPTIONS, "block", "trainer", "edges")}
    defaults: list[Any] = [{f"override /{group}": value} for group, value in groups.items()]
    return {"defaults": [*defaults, "_self_"], **nested({key: value for key, value in pairs.items() if key not in groups})}
