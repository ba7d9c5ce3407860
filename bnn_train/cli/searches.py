"""What a sweep must be before it starts: each job what was typed, and a search towards the best network."""

from collections import Counter
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from bnn_train.errors import ConfigError

HELD_OUT = "a search chooses by held-out images, and test images choose nothing; set it, for example to 1000"

_ONE_FOR_ALL = {  # keys that have no meaning for one job alone, and the remedy
    "resume": "a sweep's own jobs continue by themselves with the same command; continue other runs one by one, without -m",
    "sweep.name": "names the one directory of all jobs",
    "dry_run": "holds for all jobs",
    "plugins": "hold for all jobs; name all of them in one list",
}


def check_sweep(config: DictConfig, typed: list[str], swept: list[str]) -> None:
    """Raises ConfigError for a command line that does not say which jobs to run."""
    values = {override.split("=", 1)[0].lstrip("+"): override.partition("=")[2] for override in typed}
    keys = [override.split("=", 1)[0].lstrip("+") for override in typed]
    for key, count in Counter(keys).items():
        if count > 1 and key in swept:
            raise ConfigError(key, values[key], "is typed twice, once with several values; type it once, with all of them")
    for key, remedy in _ONE_FOR_ALL.items():
        if key in swept:
            raise ConfigError(key, values[key], remedy)
    if config.get("resume") is not None:
        raise ConfigError("resume", config.resume, _ONE_FOR_ALL["resume"])


def is_search(sweeper: DictConfig) -> bool:
    """Whether a sweeper (hydra.sweeper) chooses later jobs by the results of earlier ones."""
    return OmegaConf.select(sweeper, "direction") is not None


def settle(config: DictConfig, given: list[str], swept: list[str]) -> None:
    """Lets a search look for the highest accuracy, on held-out images, and go on after a job that failed.

    given: the overrides of Hydra's own keys. Raises ConfigError for one that looks elsewhere.
    """
    sweeper = config.hydra.sweeper
    typed = {override.split("=", 1)[0].lstrip("+") for override in given}
    with read_write(config.hydra), open_dict(config.hydra):
        if "hydra.sweeper.direction" not in typed:
            sweeper.direction = "maximize"
        if "hydra.sweeper.max_failure_rate" not in typed and "max_failure_rate" in sweeper:
            sweeper.max_failure_rate = 1.0
    if _name(sweeper.direction) != "maximize":
        remedy = "would look for the worst network: a job gives its accuracy on held-out images; use maximize"
        raise ConfigError("hydra.sweeper.direction", _name(sweeper.direction), remedy)
    searched = {*swept, *(sweeper.get("params") or {}), *(sweeper.get("search_space") or {})}
    if config.data.val_size == 0 and config.data.name != "image_folder" and "data.val_size" not in searched:
        raise ConfigError("data.val_size", 0, HELD_OUT)


def _name(direction: Any) -> str:
    """A direction is a word, a member of an enumeration, or a list of either, which is none of ours."""
    return str(getattr(direction, "name", direction))
