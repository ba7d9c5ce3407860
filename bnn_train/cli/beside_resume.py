"""What is typed beside resume=RUN, against the run itself.

Hydra composes it over the defaults, as for a new run: trainer.result=averaged would be told that it needs an average which the run
has, model.depth=3 that mlp has no depth, where the run's model is another one.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from bnn_train import startup
from bnn_train.cli import names
from bnn_train.cli.arguments import is_sweep
from bnn_train.config.checks import flat, within
from bnn_train.config.root import EXTENDS, FREE, WHOLE
from bnn_train.errors import ConfigError
from bnn_train.runs import directory, plan

# What has a check of its own, or one that the images take part in.
_ELSEWHERE = (*FREE, *EXTENDS, *WHOLE, "plugins", "resume", "init_from", "hydra", "data.mean", "data.std")


def settled(arguments: list[str]) -> list[str]:
    """The command line without what only repeats what the run has.

    Raises ConfigError for what the run has otherwise. What the run has not is left to whoever composes; so is all of it where there
    is no such run.
    """
    if is_sweep(arguments) or not any(argument.startswith("resume=") for argument in arguments):
        return arguments
    try:
        parsed = {each: OverridesParser.create().parse_override(each) for each in arguments if "=" in each and each[0] != "-"}
    except HydraException:
        return arguments  # it will say what is wrong
    keys = {each: override.key_or_group for each, override in parsed.items() if not override.is_sweep_override()}
    asked = {each: key for each, key in keys.items() if not within(key.replace("/", "."), _ELSEWHERE) and _is_plain(parsed[each])}
    run = next(override.value() for override in parsed.values() if override.key_or_group == "resume")
    if not asked or not isinstance(run, str) or set(WHOLE) & set(keys.values()):
        return arguments
    startup.prepare()  # before torch
    state = _state(run)
    if state is None:
        return arguments
    from bnn_train.runs import resume

    stored = flat(asdict(resume.config_of(state))) | dict(state.get("choices") or {})
    values = {each: (key, parsed[each].value()) for each, key in asked.items() if key in stored}
    same = [each for each, (key, value) in values.items() if value == stored[key] or resume.is_as_written(state, key, value)]
    differ = {key: parsed[each].value() for each, key in asked.items() if key in stored and each not in same}
    if differ:
        raise resume.other_than(stored, differ, list(parsed), state.get("overrides", ()))
    return [argument for argument in arguments if argument not in same]


def _is_plain(override: Override) -> bool:
    """Whether it sets a key, or chooses an option, to what can be compared: rules get their defaults where they are composed."""
    if override.is_add() or override.is_delete() or override.is_force_add():
        return False
    value = override.value()
    return not isinstance(value, dict) and not (isinstance(value, list) and any(isinstance(each, dict) for each in value))


def _state(given: str) -> Mapping[str, Any] | None:
    """Of its last checkpoint, or of its result, or of its stages; None where there is none that can be read here."""
    from bnn_train.runs import checkpoint, resume

    run, whole = Path(given).expanduser(), names.run_of(given)
    state: Mapping[str, Any] | None
    try:
        if whole is not None and directory.has_stages(whole):
            state = plan.read(whole)
        else:
            state = checkpoint.latest(run / "checkpoints") if run.is_dir() else checkpoint.load(run, "resume")
            state = state or checkpoint.load(checkpoint.find(run, "resume"), "resume")
        resume.config_of(state)  # with its plugins
    except ConfigError:
        return None
    return state
