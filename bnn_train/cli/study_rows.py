"""The rows of a study: the real-valued twins, then the methods, each composed and checked before any run begins. Loads no torch."""

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString

from bnn_train import startup
from bnn_train.cli import compose, methods
from bnn_train.cli.arguments import quoted
from bnn_train.cli.study_arguments import TWIN, Typed, without_flags
from bnn_train.config.root import Config
from bnn_train.errors import ConfigError

REAL = ["ste=none", "weights=real"]
_OF_THE_TWIN = ("ste", "weights", "stages")  # groups that it settles itself: what was typed of them is the methods' alone


@dataclass(frozen=True)
class Row:
    """One line of the table. overrides: bnn-train's, but for seed and directory."""

    name: str
    method: str | None  # None of a twin
    overrides: list[str]
    model: str = ""
    twin: str | None = None  # the name of its twin's row
    epochs: list[int] = field(default_factory=list)  # of each stage
    refused: str = ""  # why it cannot be run
    config: Config | None = None  # composed, with seed 0


def rows(typed: Typed, held_out: Sequence[str] = ()) -> list[Row]:
    """Twins first. held_out: overrides that hold images out, of all rows.

    A method whose options do not go together with what was typed is a row that says so. Raises ConfigError with the first reason
    where no method is left.
    """
    common = [*typed.overrides, *held_out]
    compared = [_row(method, method, [*common, f"method={method}"]) for method in typed.methods]
    if is_shared := _brings_model(typed.overrides):
        twins = {"": _twin(TWIN, _without(common))}
    else:
        models = dict.fromkeys(row.model for row in compared if not row.refused)
        twins = {model: _twin(f"{TWIN}_{model}", [*_without(common), f"model={model}"]) for model in models}
    found = [*twins.values()]
    for row in compared:
        twin = twins.get("" if is_shared else row.model)
        found.append(row if twin is None else replace(row, twin=twin.name))
    needs_a_method(found)
    return [replace(row, twin=row.twin or TWIN) if row.method else row for row in found]  # one that is refused has a twin in name


def needs_a_method(found: Sequence[Row]) -> None:
    """Raises ConfigError where every method is refused: a twin alone is nothing to compare."""
    compared = [row for row in found if row.method is not None]
    reasons = list(dict.fromkeys(row.refused for row in compared))
    if len(reasons) == 1 and reasons[0]:
        raise ConfigError("", "", reasons[0])
    if all(reasons):
        names = ",".join(row.name for row in compared)
        raise ConfigError("methods", names, f"all are refused, {compared[0].name} for one: {compared[0].refused}")


def _twin(name: str, overrides: Sequence[str]) -> Row:
    """Trained in one piece, also where an experiment brings stages."""
    row = _row(name, None, [*overrides, *REAL])
    return _row(name, None, [*overrides, *REAL, "stages=none"]) if len(row.epochs) > 1 else row


def _row(name: str, method: str | None, overrides: list[str]) -> Row:
    try:
        config, model = composed(overrides)
    except ConfigError as error:
        return Row(name, method, overrides, refused=str(error))
    each = [list(stage) for stage in config.stages.each]
    if not each:
        return Row(name, method, overrides, model, None, [config.trainer.epochs], config=config)
    staged, epochs = under_one_budget(overrides, each, config.trainer.epochs)
    try:
        return Row(name, method, staged, model, None, epochs, config=composed(staged)[0])
    except ConfigError as error:
        return Row(name, method, staged, refused=str(error))


def under_one_budget(overrides: Sequence[str], each: list[list[str]], budget: int) -> tuple[list[str], list[int]]:
    """(the overrides of a run in stages that divide so many epochs between them, the epochs of each stage).

    A stage that sets trainer.epochs itself keeps that; the others share what is left.
    """
    own = [[int(one.partition("=")[2]) for one in stage if re.fullmatch(r"trainer\.epochs=\d+", one)] for stage in each]
    free = [place for place, values in enumerate(own) if not values]
    if not free:
        return list(overrides), [values[-1] for values in own]
    shared = iter(divided(budget - sum(values[-1] for values in own if values), len(free)))
    epochs = [values[-1] if values else next(shared) for values in own]
    first, last = epochs[free[0]], epochs[free[-1]]
    staged = [*_without_keys(overrides, "trainer.epochs"), f"trainer.epochs={first}"]
    if last != first:
        each[free[-1]].append(f"trainer.epochs={last}")
        staged = [*_without_keys(staged, "stages.each"), f"stages.each={_as_list(each)}"]
    return staged, epochs


def divided(epochs: int, stages: int) -> list[int]:
    """The epochs of each stage under one budget: equal parts of at least 1, the rest in the last."""
    each = max(1, epochs // stages)
    return [each] * (stages - 1) + [max(1, epochs - each * (stages - 1))]


def _without_keys(overrides: Sequence[str], key: str) -> list[str]:
    return [each for each in overrides if not each.startswith(f"{key}=")]


def _as_list(each: Sequence[Sequence[str]]) -> str:
    """A list of lists of texts, as Hydra reads it."""
    texts = ["[" + ",".join(QuotedString(text, Quote.single).with_quotes() for text in stage) + "]" for stage in each]
    return f"[{','.join(texts)}]"


def composed(overrides: Sequence[str]) -> tuple[Config, str]:
    """(the typed configuration, the chosen model). Raises ConfigError with the line that bnn-train would say."""
    plain, folders = without_flags(overrides)
    search = quoted([f"hydra.searchpath=[{','.join(folders)}]"]) if folders else []
    config, found = compose.checked([*plain, *search])
    return config, str(found.hydra.runtime.choices.model)


def _brings_model(overrides: Sequence[str]) -> bool:
    """Whether all rows have one model: it was typed, or an experiment brings it and wins over the methods."""
    brought = [methods.brings(file) for file in methods.files(overrides)]
    return any(each.startswith("model=") for each in overrides) or any("model" in each for each in brought)


def _without(overrides: Sequence[str]) -> list[str]:
    """Without what was typed of the groups that the twin settles itself, their keys too."""
    return [each for each in overrides if each.lstrip("+~").partition("=")[0].partition(".")[0] not in _OF_THE_TWIN]


def to_hold_out(found: Sequence[Row], typed: Typed) -> tuple[int | str, list[str]]:
    """(how many images are held out, or "own" where the data set has some itself; the overrides that say so).

    A tenth of the training images where nothing else is said. Raises ConfigError where the data cannot be read: for all rows alike.
    """
    config = next(row.config for row in found if row.config is not None)
    if config.data.val_size or any(each.startswith("data.val_size=") for each in typed.overrides):
        return config.data.val_size, []
    startup.prepare()
    from bnn_train import device  # loads torch
    from bnn_train.runs import assemble

    data = assemble.load_data(copy.deepcopy(config), device.CPU)
    if data.val is not None:
        return "own", []
    count = len(data.train) // 10
    return count, [f"data.val_size={count}"] if count else []


def described(row: Row) -> dict[str, Any]:
    """What study.json says of a row, without its runs."""
    return {key: getattr(row, key) for key in ("name", "method", "twin", "model", "epochs", "overrides", "refused")}


def folder_of(study: Path, row: str, seed: int) -> Path:
    """The directory of a run."""
    return study / row / f"seed={seed}"
