"""What was typed of bnn-study: its own arguments, and bnn-train's, which hold for every row alike. Loads no torch."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from bnn_train.cli import arguments, keys, names, own_files
from bnn_train.errors import ConfigError

OWN = ("methods", "seeds", "study.name")
TWIN = "twin"
_MOST_SEEDS = 1000  # of a mistyped number
# What a row decides itself, and what to type in its place.
_ELSEWHERE = {
    "method": "a study compares several: methods=bnn,xnor",
    "seed": "a study takes several: seeds=3 for 0, 1 and 2, or seeds=[3,4]",
    "resume": "a study goes on by itself: type the command that it was begun with",
    "hydra.run.dir": "each run has its place in the study's folder; study.name=NAME names that",
}


@dataclass(frozen=True)
class Typed:
    methods: list[str]
    seeds: list[int]
    name: str  # of the folder below studies/
    overrides: list[str]  # bnn-train's, as Hydra must see them, with its flags (-cd FOLDER)
    dry_run: bool = False


def read(given: Sequence[str]) -> Typed:
    """The command line. Raises ConfigError for what is missing, and for what a row decides itself."""
    own: dict[str, str] = {}
    rest, dry_run = [], False
    for argument in given:
        key, equals, value = argument.partition("=")
        if key.lstrip("+~") in _ELSEWHERE:
            raise ConfigError(key, value, _ELSEWHERE[key.lstrip("+~")])
        if argument in ("dry_run=true", "dry_run=false"):
            dry_run = argument == "dry_run=true"
        elif equals and key in OWN:
            if own.setdefault(key, value) != value:
                raise ConfigError(key, value, f"is given twice, {own[key]} and {value}; leave one out")
        else:
            rest.append(argument)
    if arguments.is_sweep(rest):
        raise ConfigError("", "", "-m: a study has its own runs, one for each method and seed; leave -m out")
    overrides = arguments.for_hydra(rest)
    arguments.check_flags(overrides)
    swept = names.swept([each for each in overrides if "=" in each and not each.startswith("-")])
    if swept:
        raise ConfigError(
            swept[0],
            keys.argument(swept[0], overrides).partition("=")[2],
            "a study compares methods; several values are a sweep, bnn-train -m",
        )
    return Typed(
        _methods(own.get("methods"), overrides),
        _seeds(own.get("seeds", "1")),
        _name(own.get("study.name"), overrides),
        overrides,
        dry_run,
    )


def without_flags(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """(the overrides without Hydra's flags, the folders of one's own options that these name)."""
    flags = [
        each for i, each in enumerate(overrides) if each.startswith("-") or (i and overrides[i - 1] in ("-cd", "--config-dir"))
    ]
    return [each for each in overrides if each not in flags], [str(folder.resolve()) for folder in own_files.folders(flags)]


def _items(value: str) -> list[str]:
    inner = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    return [item.strip().strip("'\"") for item in inner.split(",") if item.strip()]


def _methods(value: str | None, overrides: Sequence[str]) -> list[str]:
    there = own_files.options("method", overrides)
    if value is None or not (found := _items(value)):
        raise ConfigError("methods", value or "", f"needs names, as in methods=bnn,xnor; there are {', '.join(there)}")
    for method in found:
        if method not in there:
            near = keys.close(method, there)
            remedy = f"did you mean {' or '.join(near[:3])}?" if near else f"there are {', '.join(there)}"
            raise ConfigError("methods", value, f"there is no method {method}; {remedy}")
        if method == TWIN or method.startswith(f"{TWIN}_"):
            raise ConfigError("methods", value, f"{TWIN} is the name of the real-valued twin's row; give the method another name")
        if found.count(method) > 1:
            raise ConfigError("methods", value, f"names {method} twice; leave one out")
    return found


def _seeds(value: str) -> list[int]:
    listed = "," in value or value.startswith("[")
    items = _items(value)
    if not items or not all(re.fullmatch(r"\d{1,18}", item) for item in items):
        raise ConfigError("seeds", value, "must be how many, as in seeds=3 for 0, 1 and 2, or a list of them, seeds=[3,4]")
    numbers = [int(item) for item in items]
    if not listed and not 1 <= numbers[0] <= _MOST_SEEDS:
        raise ConfigError(
            "seeds", value, f"is how many seeds there are, 1 to {_MOST_SEEDS:,}; a single other one is seeds=[{value}]"
        )
    if len(set(numbers)) < len(numbers):
        raise ConfigError("seeds", value, "names one of them twice; it would be the same run")
    return numbers if listed else list(range(numbers[0]))


def _name(value: str | None, overrides: Sequence[str]) -> str:
    """By default what was typed besides: methods and seeds can be added later to the same study."""
    if value is None:
        return names.job_dir([each for each in overrides if "=" in each and not each.startswith("-")])
    name = value.strip("'\"")
    if not name or name in (".", "..") or re.search(r"[/\\\0]", name):
        raise ConfigError("study.name", value, f"must be the name of a folder below studies{os.sep}")
    return name
