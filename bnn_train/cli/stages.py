"""From a run's command line to those of its stages: composed and checked, all of them, before any work."""

from collections.abc import Iterable, Sequence
from typing import Any

from bnn_train.cli import compose
from bnn_train.cli.arguments import quoted
from bnn_train.config.checks import within
from bnn_train.config.distill import TeacherConfig
from bnn_train.config.root import FREE, Config, choices
from bnn_train.config.stages import NAMED, name_of_override, of_stage
from bnn_train.errors import ConfigError
from bnn_train.runs.plan import Stage

_OF_THE_RUN = (*FREE, "plugins", "resume", "hydra", "stages")


def composed(config: Config, typed: Sequence[str], searchpath: Iterable[str] = ()) -> list[Stage]:
    """The stages of a run whose own command line `typed` gave `config`; none where it has none.

    searchpath: the folders of options that are the user's own. Raises ConfigError, naming the stage, for what is wrong in one.
    """
    each = config.stages.each
    own = quoted([f"hydra.searchpath=[{','.join(searchpath)}]"]) if searchpath else []
    found: list[Stage] = []
    for number, overrides in enumerate(each, start=1):
        try:
            _check_keys(overrides)
            with compose.apart():
                settled, whole = compose.checked([*own, *_command_line(typed, overrides, is_first=number == 1)])
            if number > 1 and "init_from" not in map(name_of_override, overrides):
                settled.init_from = f"stage{number - 1}"
            _check_named(settled, number, len(each))
        except ConfigError as error:
            raise of_stage(number, overrides, str(error)) from error
        found.append(Stage(list(overrides), settled, choices(whole.hydra.runtime.choices)))
    return found


def folders(sources: Iterable[Any]) -> list[str]:
    """Of `hydra.runtime.config_sources` those that are the user's own, by -cd, --config-dir or hydra.searchpath."""
    own = [(source["provider"], source["path"]) for source in sources if source["schema"] == "file"]
    return [path for provider, path in own if provider not in ("main", "hydra", "schema")]


def _command_line(typed: Sequence[str], overrides: Sequence[str], is_first: bool) -> list[str]:
    """The run's own, without what the stage sets otherwise, and the stage's behind it.

    Where a stage chooses an option, the keys typed for the run's own option of that group are no keys of it. What the run starts
    with is where its first stage starts.
    """
    said = [name_of_override(override) for override in overrides]
    typed = [each for each in typed if not within(name_of_override(each), [*said, "stages", "resume"])]
    if not is_first and "init_from" not in said:
        typed = [each for each in typed if name_of_override(each) != "init_from"]
    return [*typed, *quoted(list(overrides)), "stages=none"]


def _check_keys(overrides: Sequence[str]) -> None:
    for override in overrides:
        name = name_of_override(override)
        if within(name, _OF_THE_RUN):
            raise ConfigError("", "", f"{override}: holds for the whole run; type it there")
        if name == "data":
            raise ConfigError("", "", f"{override}: all stages are on the same images; type it for the whole run")


def _check_named(config: Config, number: int, count: int) -> None:
    """Refuses the name of a stage that does not come before."""
    teacher = config.distill.teacher if isinstance(config.distill, TeacherConfig) else None
    for key, value in (("init_from", config.init_from), ("distill.teacher", teacher)):
        found = NAMED.fullmatch(value or "")
        if found and int(found[1]) >= number:
            there = "there is no earlier one" if number == 1 else " or ".join(f"stage{i}" for i in range(1, number))
            what = "there is no such stage" if int(found[1]) > count else "is not an earlier stage"
            raise ConfigError(key, value, f"{what}: {there}")
