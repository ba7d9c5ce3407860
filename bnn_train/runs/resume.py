"""Continuing a run: which configuration, and which data and device it may be continued with."""

from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

from bnn_train import plugins
from bnn_train.config.checks import flat, nested, within
from bnn_train.config.root import EXTENDS, FREE, OF_METHODS, WHOLE, Config, typed
from bnn_train.data import checks
from bnn_train.data.signature import digest
from bnn_train.data.splits import Data
from bnn_train.errors import ConfigError, as_typed
from bnn_train.training.selection import end_of_patience

_FEW = 3  # keys that a refusal lists
_OF_TRAINING = ("loss", "distill", "logger", "stages")  # groups that a trained network does without


def config_of(state: Mapping[str, Any], to_train: bool = True) -> Config:
    """The typed configuration of a loaded checkpoint. Raises ConfigError where a plugin that it needs is not imported.

    to_train: whether the run is to go on. Else its loss, teacher, loggers and earlier stages are not needed, nor what plugins add
    of these.
    """
    config = state["config"]
    config = config if to_train else {group: values for group, values in config.items() if group not in _OF_TRAINING}
    own = {option: of for option, of in state.get("registered", {}).items() if to_train or option.split("=")[0] not in _OF_TRAINING}
    spared = {of[1] for of in state.get("registered", {}).values()} - {of[1] for of in own.values()}
    names = config.get("plugins", ())
    plugins.require([name for name in names if not isinstance(name, str) or plugins.identity(name) not in spared], "the run")
    plugins.require_registered(own)
    if state.get("format") == 1 and config["weights"].get("init") is not None:  # then a key of weights=stochastic
        config = {**config, "weights": {"name": "bayesbinn", "init": config["weights"]["init"], "clip": config["weights"]["clip"]}}
    if (kl := _older_kl(state)) is not None:
        config = {**config, "weights": {**config["weights"], "kl": 2 * config["weights"]["scale"] * kl}}
    return typed(config)


def _older_kl(state: Mapping[str, Any]) -> float | None:
    """weights.kl as an older version wrote it, where latent weights shrank by 1 / (1 + lr * kl); None where it is as it is now."""
    weights = state["config"]["weights"]
    older = state.get("format", 0) in (1, 2) and weights["name"] == "stochastic"
    return weights["kl"] if older and weights.get("kl") else None


def older_meanings(state: Mapping[str, Any]) -> list[str]:
    """A line for each key that meant something else in the version that wrote the checkpoint, with what the run goes on with."""
    if (kl := _older_kl(state)) is None:
        return []
    now = as_typed(config_of(state).weights.kl)  # type: ignore[attr-defined]
    why = "of an older version is 2 * weights.scale times as much; the run goes on as it was, which is now"
    return [f"weights.kl={as_typed(kl)} {why} weights.kl={now}"]


def is_as_written(state: Mapping[str, Any], key: str, value: object) -> bool:
    """Whether a key has the value that was typed when the run was started, though it is another one in terms of this version."""
    return key == "weights.kl" and value == _older_kl(state)


def settle(state: Mapping[str, Any], asked: Config, overrides: Collection[str] | None) -> Config:
    """The configuration to continue with: the stored one, with what `asked` changes of it by right.

    overrides: what the user typed ("ste=tanh"; "method=..." stands for the groups that methods speak of, "experiment=..." for
    all), None for all keys. Of the keys in them, the FREE ones (config/root.py) are taken over, the device's kind being checked
    apart; a later end (EXTENDS) continues the run; and any other that differs raises ConfigError.
    """
    stored, new = flat(asdict(config_of(state))), flat(asdict(asked))  # typed: keys that are newer than the file get their defaults
    named = {_name(override) for override in overrides or ()}
    named |= set(OF_METHODS) if "method" in named else set()
    whole = overrides is None or "experiment" in named
    new["resume"] = stored["resume"]  # not part of what is run
    if not new["data.mean"]:  # then they are those of the images
        new["data.mean"], new["data.std"] = stored["data.mean"], stored["data.std"]
    kept = [name for name in stored["plugins"] if plugins.identity(name) not in map(plugins.identity, new["plugins"])]
    new["plugins"] = [*new["plugins"], *kept]  # those that it needs are there, wherever they lie now
    if whole or "logger" in named:
        stored = {key: value for key, value in stored.items() if not within(key, ["logger"])}  # another one has other keys
    differ, ends = [], []
    for key in (key for key in new if whole or within(key, named)):
        if new[key] == stored.get(key) or is_as_written(state, key, new[key]):
            continue
        if key in EXTENDS:
            ends.append(key)
        elif within(key, (*FREE, "plugins")):
            stored[key] = new[key]
        else:
            differ.append(key)
    if differ:
        raise other_than(stored, {key: new[key] for key in differ}, overrides, state.get("overrides", ()))
    for key in ends:  # after what says that this is another run
        _check_end(key, new[key], state, stored)
        stored[key] = new[key]
    return typed(nested(stored))


def other_than(
    stored: Mapping[str, Any], differ: Mapping[str, Any], overrides: Collection[str] | None, first: Collection[str]
) -> ConfigError:
    """The refusal of keys that differ from the run's, in terms of what was typed now and `first`.

    A method changes a dozen keys at once, most of which nobody has heard of: the line lists a few, of those that the run has.
    """
    now, before = ({_name(each): _value(each) for each in typed or ()} for typed in (overrides, first))
    blamed: dict[str, None] = {}
    there: dict[str, None] = {}
    for key, value in differ.items():
        cause = _cause(key, now, before)
        blamed[f"{cause}={now[cause]}" if cause else f"{key.removesuffix('.name')}={as_typed(value)}"] = None
        if cause in before and before[cause] != now[cause]:
            there[f"{cause}={before[cause]}"] = None
        elif key in stored:
            there[f"{key.removesuffix('.name')}={as_typed(stored[key])}"] = None
    key, _, value = next(iter(blamed)).partition("=")
    started = ", ".join(list(there)[:_FEW]) + (f" and {len(there) - _FEW} more" if len(there) > _FEW else "")
    out = " and ".join(blamed) if len(blamed) <= _FEW else "what differs"
    remedy = f"the run was started with {started or 'other options'}; leave {out} out to continue, or start a run of its own"
    return ConfigError(key, value, remedy)


def _cause(key: str, now: Mapping[str, str], before: Mapping[str, str]) -> str:
    """What was typed that sets a key: it or its group, else a method or an experiment, the one that has changed; "" if unknown."""
    named = [name for name in now if name not in WHOLE and within(key, [name])]
    whole = [name for name in WHOLE if name in now and (name != "method" or within(key, OF_METHODS))]
    causes = [name for name in named or whole if now[name]]
    return next((name for name in causes if now[name] != before.get(name)), causes[0] if causes else "")


def _name(override: str) -> str:
    """The key or group that an override speaks of."""
    return override.lstrip("+~").partition("=")[0].partition("@")[0]


def _value(override: str) -> str:
    return override.partition("=")[2].strip("'\"")


def _check_end(key: str, end: int | None, state: Mapping[str, Any], stored: Mapping[str, Any]) -> None:
    """Refuses an end that the run has left behind it."""
    if "trainer" not in state or end is None:
        return
    history, step = state["trainer"]["history"], state["trainer"]["step"]
    epochs, steps_of_one = len(history), state["data"]["train"] // stored["trainer.batch_size"]
    if key == "trainer.patience":
        last = end_of_patience(history, typed(nested({**stored, key: end})), steps_of_one)
        if last is not None and (last < epochs or step):
            raise ConfigError(key, end, f"would have ended the run after epoch {last}, which it has behind it already")
        return
    steps = epochs * steps_of_one + step
    done, unit = (epochs, "epochs") if key == "trainer.epochs" else (steps, "steps")
    if end < done:
        raise ConfigError(key, end, f"the run has {done} {unit} behind it already")


def changed_plugins(state: Mapping[str, Any]) -> list[str]:
    """A line for each file of a plugin that is not what it was when the checkpoint was written."""
    now = plugins.digests(state["config"].get("plugins", ()))
    changed = [name for name, digest in state.get("plugins", {}).items() if now.get(name, digest) != digest]
    return [f"{name} has changed since the run was saved: what it makes is what is there now" for name in changed]


def data_signature(data: Data, like: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What must be the same about the data for a run to go on: classes, shape, numbers, and digests of all pixels and labels.

    like: a signature to compare it with, whose digests may be of another kind (data/signature.py).
    """
    splits = {"train": data.train, "val": data.val, "test": data.test}
    sizes = {name: len(split) if split else 0 for name, split in splits.items()}
    same = {"classes": data.classes, "image_shape": list(data.image_shape), **sizes}
    there, kind = [split for split in splits.values() if split], (like or {}).get("digest")
    return {**same, "digest": digest(there, kind), "test_digest": digest([data.test], kind)}


def check_same(state: Mapping[str, Any], config: Config, data: Data, device_kind: str) -> None:
    """Raises ConfigError where the data or the kind of device are not those that the run was started with."""
    if state["device"] != device_kind:
        raise ConfigError("device", config.device, f"the run was started on {state['device']}, and continues exactly only there")
    check_data(state, config, data)


def check_data(state: Mapping[str, Any], config: Config, data: Data) -> None:
    """Raises ConfigError where the images are not those that the run was started with."""
    found = data_signature(data, state["data"])
    for key, value in state["data"].items():
        if key.endswith("digest") and found[key] != value:
            remedy = (
                "these are other images than the run was started with: as many, but not the same pixels; put those "
                "back, or train on these in a directory of their own (sweep.name, hydra.run.dir)"
            )
            raise checks.fault(config.data, remedy)
        if found[key] != value:
            remedy = f"the data have changed since the run was started: {key} was {as_typed(value)}, is {as_typed(found[key])}"
            raise checks.fault(config.data, remedy)


def network_state(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """{"model": tensors, "edges": masks} of a checkpoint to go on from, or of a result."""
    found: Mapping[str, Any] = state.get("trainer", state)
    return found
