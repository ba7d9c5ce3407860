"""What makes options of a user's functions: `@bnn_train.register.model` and its like. Loads no torch.

    @bnn_train.register.model
    def my_net(parts, image_shape, num_classes, *, depth: int = 3): ...

The function's name is the option's, and the first line of its docstring is what --help says of it. Its keyword-only parameters
are its keys, each with a type and a default, which may be `key(3, "blocks", "[1, inf)")`: with meaning, range and unit.
docs/plugins.md has an example of each kind.
"""

import functools
import inspect
import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, overload

from bnn_train.config.checks import Group, key
from bnn_train.config.data import OwnDataConfig
from bnn_train.config.logger import LoggerConfig
from bnn_train.config.loss import LossConfig
from bnn_train.config.model import ModelConfig
from bnn_train.config.root import CONFIGS, OPTIONS
from bnn_train.config.signature import dataclass_of, signature
from bnn_train.config.ste import SteConfig
from bnn_train.config.weights import OwnWeightsConfig, WeightsConfig
from bnn_train.errors import ConfigError, PluginError

__all__ = ["data", "estimator", "key", "logger", "loss", "method", "model", "weights"]

F = TypeVar("F", bound=Callable[..., Any])
NOISE = ("uniform", "triangular", "logistic", "normal")

# Of each group: the keys that all its options have, and what a function takes besides keys of its own, in one of the ways.
_KINDS: dict[str, tuple[type[Group] | None, tuple[str, ...]]] = {
    "model": (ModelConfig, ("parts, image_shape, num_classes", "image_shape, num_classes")),
    "data": (OwnDataConfig, ("",)),
    "ste": (SteConfig, ("g, a",)),
    "weights": (OwnWeightsConfig, ("latent, mask",)),
    "loss": (LossConfig, ("inputs, logits, labels",)),
    "logger": (LoggerConfig, ("row, run_dir", "run_dir")),
    "method": (None, ("",)),
}
_HANDED = {"ste": ("progress", "z")}  # keywords that are no keys
_NAME = r"(?!(?i:true|false|null|nan|inf)$)[A-Za-z_][A-Za-z0-9_]*"  # what Hydra's grammar reads as a word


@dataclass(frozen=True)
class Plugged:
    """An option that a plugin has registered."""

    group: str
    name: str
    function: Callable[..., Any]  # or a class
    source: str  # the plugin as it was named, or the module of what was registered without one
    file: str
    positional: int  # how many arguments the function takes besides its keys
    keys: tuple[str, ...]
    kind: type[Group] | None  # the dataclass of its keys
    noise: str  # of an estimator: the family that it belongs to
    program: str = ""  # the file of the program that registered it, where it comes from no plugin

    @property
    def about(self) -> str:
        """The first line of its docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    def given(self, config: Any) -> dict[str, Any]:
        """Its keys, as keywords."""
        return {name: getattr(config, name) for name in self.keys}

    def call(self, *arguments: Any, **keys: Any) -> Any:
        """What its function gives. Raises PluginError with the place where it raised."""
        try:
            return self.function(*arguments, **keys)
        except ConfigError:
            raise
        except Exception as error:
            raise PluginError(self.group, self.name, f"{_place(error, self)}: {said(error)}") from error

    def fault(self, what: str) -> PluginError:
        """Its function gave what it must not, or raised."""
        return PluginError(self.group, self.name, f"{self.source}: {what}")


FOUND: dict[str, dict[str, Plugged]] = {group: {} for group in _KINDS}  # by group and name
_rooms: dict[str, list[tuple[dict[str, Any], Callable[[Plugged], Any]]]] = {group: [] for group in _KINDS}
_importing: list[str] = []  # the plugin that is being imported, if any


def model(function: F) -> F:
    """(parts, image_shape, num_classes, *, keys) -> nn.Module from images, (N, *image_shape), to (N, num_classes) class scores.

    parts makes the binary layers that ste and weights ask for, parts.conv(n_in, n_out, 3) and parts.linear(n_in, n_out), and
    parts.around(name, layer) sets around one what block asks for. Without it, (image_shape, num_classes, *, keys), the module is
    what its own layers are. image_shape: (channels, height, width). An nn.Module class whose __init__ takes these will do.
    """
    return _add("model", function)


def data(function: F) -> F:
    """(*, keys) -> images and labels, as bnn_train/data/given.py has them: arrays, or lists of {"image": ..., "label": ...}."""
    return _add("data", function)


@overload
def estimator(function: F) -> F: ...
@overload
def estimator(*, noise: str) -> Callable[[F], F]: ...
def estimator(function: F | None = None, *, noise: str = "uniform") -> F | Callable[[F], F]:
    """(g, a, *, keys) -> the gradient of the sign's input a, given that of its output, g; tensors of one shape.

    noise: the family that it belongs to where it is stochastic: uniform, triangular, logistic or normal. With a key `scale` the
    noise is that much wider. A keyword `progress` is the share of training that is done, `z` the noise that was drawn.
    """
    if noise not in NOISE:
        raise ConfigError("noise", noise, f"must be one of {', '.join(NOISE)}")
    if function is None:
        return functools.partial(_add, "ste", noise=noise)
    return _add("ste", function, noise=noise)


def weights(function: F) -> F:
    """(latent, mask, *, keys) -> the prepared weight, of the same shape, which gets its sign and an estimator as in weights=sign.

    latent: (outputs, inputs) or (outputs, inputs, height, width); mask: 1 and 0 of that shape, or None where nothing is pruned. Or
    a subclass of bnn_train.binary.weights.Binarizer, whose keys are the keywords of its __init__.
    """
    return _add("weights", function)


def loss(function: F) -> F:
    """(inputs, logits, labels, *, keys) -> the mean over the batch, a scalar. labels: int64 (N,)."""
    return _add("loss", function)


def logger(function: F) -> F:
    """(row, run_dir, *, keys), called after each epoch with its row of metrics.jsonl; or (run_dir, *, keys) -> a function of it."""
    return _add("logger", function)


def method(function: F) -> F:
    """() -> overrides, as ["model=my_net", "ste=tanh", "optimizer.lr=0.01"] or as a dict: what `method=NAME` stands for."""
    return _add("method", function)


def into(group: str, registry: dict[str, Any], entry: Callable[[Plugged], Any]) -> None:
    """Has a room's registry hold what plugins have registered under `group`, and what they will; entry: what it holds of each."""
    _rooms[group].append((registry, entry))
    registry.update((name, entry(each)) for name, each in FOUND[group].items())


@contextmanager
def importing(source: str) -> Iterator[None]:
    """Within, what is registered is the plugin `source`'s; where its import fails, nothing of it stays."""
    _importing.append(source)
    try:
        yield
    except BaseException:
        forget(source)
        raise
    finally:
        _importing.pop()


def forget(source: str) -> None:
    """Takes back what the plugin has registered."""
    for group, found in FOUND.items():
        for name in [name for name, each in found.items() if each.source == source]:
            del found[name]
            _options(group).pop(name, None)
            for registry, _ in _rooms[group]:
                registry.pop(name, None)


def of(source: str) -> list[Plugged]:
    """What the plugin has registered."""
    return [each for found in FOUND.values() for each in found.values() if each.source == source]


def behind(error: BaseException) -> str | None:
    """The line for an error that a plugin's code has raised, with its place there; None for one that has another origin."""
    by_file = {each.file: each for found in FOUND.values() for each in found.values()}
    whose = [by_file[frame.filename] for frame in traceback.extract_tb(error.__traceback__) if frame.filename in by_file]
    return f"{_place(error, whose[-1])}: {said(error)}" if whose else None


def _place(error: BaseException, plugged: Plugged) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == plugged.file]
    return f"{plugged.source}, line {lines[-1]}" if lines else plugged.source


def said(error: BaseException) -> str:
    """An error in a line: its type and the first line of what it says."""
    text = (error.msg if isinstance(error, SyntaxError) else str(error)).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _add(group: str, function: F, noise: str = "") -> F:
    source = _importing[-1] if _importing else str(getattr(function, "__module__", "") or "__main__")
    name = getattr(function, "__name__", "")
    if not name or name == "<lambda>":
        what = "a function without a name" if name else f"{type(function).__name__}, which has no name"
        raise _refusal(source, f"registers {what}: an option is called as its function, so write def NAME(...) around it")
    if not re.fullmatch(_NAME, name):
        remedy = "letters a to z, digits and _, and not true, false, null, nan or inf; give the function another name"
        raise _refusal(source, f"registers {group}={name}, which cannot be typed as an option: its name has {remedy}")
    base, ways = _KINDS[group]
    if inspect.isclass(function):
        if group not in ("model", "weights"):
            way = " or ".join(f"({way})" for way in ways)
            raise _refusal(source, f"registers the class {name} as {group}: write a function of {way} that makes and calls one")
        base, ways = (WeightsConfig, ("",)) if group == "weights" else (base, ways)
    codes = [each.__code__ for each in (function, *vars(function).values()) if hasattr(each, "__code__")]
    file = codes[0].co_filename if codes else ""
    _check_free(group, name, source, file, function)
    try:
        positional, own = signature(function, ways, _HANDED.get(group, ()))
        if base is None and own:
            raise ValueError(f"{name}: a method takes no keys")
        if odd := [key for key in own if not re.fullmatch(_NAME, key)]:
            raise ValueError(f"{name}: the key {odd[0]} cannot be typed; it needs letters a to z, digits and _")
        # Pickles of a sweep's jobs find it there, in a process that has not imported the plugin.
        kind = None if base is None else dataclass_of(f"Option_{group}_{name}", base, name, own, "bnn_train.plugins")
    except ValueError as error:
        raise _refusal(source, str(error)) from error
    program = "" if _importing else Path(file).name if Path(file).is_file() else "a notebook or at a prompt"
    plugged = Plugged(group, name, function, source, file, positional, tuple(own), kind, noise, program)
    FOUND[group][name] = plugged
    if kind is not None:
        _options(group)[name] = kind
    for registry, entry in _rooms[group]:
        registry[name] = entry(plugged)
    return function


def _check_free(group: str, name: str, source: str, file: str, function: Callable[..., Any]) -> None:
    """Refuses a name that something else has. What is defined again, as a cell of a notebook is, takes its own place."""
    there = FOUND[group].get(name)
    if there is None:
        if name in OPTIONS.get(group, {}) or (CONFIGS / group / f"{name}.yaml").is_file():
            raise _refusal(source, f"registers {group}={name}, an option of bnn-train's own; give the function another name")
        return
    same = there.source == source and there.function.__module__ == function.__module__
    if there.file != file and not same:
        raise _refusal(source, f"registers {group}={name}, and so does {there.source}; give one of the two functions another name")
    if _importing and there.source == source and there.function is not function:
        raise _refusal(source, f"registers {group}={name} twice; give one of the two functions another name")


def _refusal(source: str, what: str) -> ConfigError:
    return ConfigError("plugins", [source], what)


def _options(group: str) -> dict[str, type[Group]]:
    found: Mapping[str, type[Group]] = OPTIONS.get(group, {})
    assert isinstance(found, dict)
    return found
