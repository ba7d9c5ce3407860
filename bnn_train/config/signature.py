"""The keys of an option from the signature of a function or a class: its keyword-only parameters, as a dataclass."""

import dataclasses
import functools
import inspect
import operator
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bnn_train.config.checks import Group, key
from bnn_train.errors import ConfigError

_NUMBER = r"\s*[-+]?(\d+\.?\d*(e[-+]?\d+)?|\.\d+|inf)\s*"


class Signature(NamedTuple):
    positional: int  # arguments before the keys
    keys: dict[str, tuple[Any, Any]]  # type and field of each


def signature(function: Callable[..., Any], ways: Collection[str], handed: Collection[str] = ()) -> Signature:
    """Of a function, or of a class with an __init__ of its own. A default that is a `key` becomes the plain value for others.

    ways: what may stand before the keys, as in "latent, mask". handed: keywords that are no keys. Raises ValueError with a line.
    """
    name, maker = function.__name__, function
    if inspect.isclass(function):
        maker = vars(function).get("__init__", lambda: None)
    parameters = [each for each in inspect.signature(maker).parameters.values() if each.name != "self" or maker is function]
    plain = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    keywords = [each for each in parameters if each.kind is each.KEYWORD_ONLY]
    counts = {len(way.split(", ")) if way else 0 for way in ways}
    if len(plain) not in counts or len(plain) + len(keywords) != len(parameters):
        shown = " or ".join(f"({way}, *, keys)" if way else "(*, keys)" for way in ways)
        raise ValueError(f"{name} must take {shown}")
    found = {}
    for each in keywords:
        if each.name in handed:
            continue
        if each.annotation is each.empty or each.default is each.empty:
            raise ValueError(f"{name}: the key {each.name} needs a type and a default, as in {each.name}: int = 3")
        found[each.name] = _key(name, each, inspect.unwrap(maker))
    return Signature(len(plain), found)


def _key(name: str, parameter: inspect.Parameter, maker: Any) -> tuple[Any, Any]:
    """The type and the field of a key of the function `name`."""
    # A function that is registered once more has the plain value by then.
    default = getattr(maker, "_bnn_train_keys", {}).get(parameter.name, parameter.default)
    if isinstance(default, dataclasses.Field):
        made = default.default_factory
        assert maker.__kwdefaults__ is not None
        maker.__kwdefaults__[parameter.name] = made() if made is not dataclasses.MISSING else default.default
        maker._bnn_train_keys = {**getattr(maker, "_bnn_train_keys", {}), parameter.name: default}
    else:
        default = key(default, f"of {name}")
    allowed = default.metadata.get("allowed", "")
    if isinstance(allowed, str) and allowed and not re.fullmatch(rf"[\[(]{_NUMBER},{_NUMBER}[\])]", allowed):
        remedy = 'must be as in "[0, 1)", or a list of what there is to choose from'
        raise ValueError(f"{name}: the range of the key {parameter.name}, {allowed!r}, {remedy}")
    kind = _type(parameter.annotation, maker, f"{name}: the type of the key {parameter.name}")
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        default = dataclasses.field(default=default.default, metadata={**default.metadata, "allowed": choices})
        kind = type(choices[0])
    return kind, default


def _type(annotation: Any, function: Callable[..., Any], what: str) -> Any:
    """Of text, where annotations are not evaluated; Optional[int] as int | None."""
    try:
        kind = eval(annotation, function.__globals__) if isinstance(annotation, str) else annotation
    except Exception as error:
        raise ValueError(f"{what}, {annotation}, cannot be read ({type(error).__name__}: {error})") from error
    return functools.reduce(operator.or_, get_args(kind)) if get_origin(kind) is Union else kind


def dataclass_of(name: str, base: type[Group], option: str, keys: Mapping[str, tuple[Any, Any]], module: str) -> type[Group]:
    """`name`, of the base's keys and these, for an option. module: where pickles find it. Raises ValueError with a line."""
    if "name" in keys:
        raise ValueError(f"{option}: name is a key of every option; call yours otherwise")
    fields = [("name", str, dataclasses.field(default=option)), *((key, *typed) for key, typed in keys.items())]
    try:
        made = dataclasses.make_dataclass(name, fields, bases=(base,), namespace={"__module__": module})
        OmegaConf.to_object(OmegaConf.structured(made))
    except ConfigError as error:
        raise ValueError(f"{option}: the default of {error}") from error
    except (OmegaConfBaseException, ValueError, TypeError) as error:
        said = str(error).partition("\n")[0]
        kinds = "an int, float, bool or str, a list or dict of them, or one of them | None"
        raise ValueError(f"{option}: a key is {kinds} ({said})") from error
    return made
