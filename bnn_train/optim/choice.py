"""Who takes the optimizer's step, torch or Numba (optim/fused.py): a written rule."""

import importlib.util
from typing import NamedTuple

import torch

from bnn_train.config.root import Config
from bnn_train.errors import ConfigError

KEY = "trainer.step"
OPTIMIZERS = ("adam", "adamw", "sgd", "bop")

# Weights times steps from which Numba is worth its start: importing it and loading the kernels takes 0.3 to 0.7 s, a few seconds
# where none are kept yet; each weight then saves 0.3 ns a step or more.
WORTH = 10**10


class Choice(NamedTuple):
    kind: str  # "numba" or "torch"
    why: str

    def line(self) -> str:
        who = "Numba's, in one pass over the weights" if self.kind == "numba" else "torch's"
        return f"optimizer's step: {who} ({self.why})"


def choose(config: Config, where: torch.device, weights: int, steps: int, started: str | None = None) -> Choice:
    """By what is trained, not by time, so that a run gives the same numbers however busy the machine is.

    weights: of all layers. steps: of the whole run. started: who has taken the first step of a run that is continued. Raises
    ConfigError where Numba is asked for, or has taken it, and cannot now.
    """
    check(config, where, started)
    if config.trainer.step != "auto":
        return Choice(config.trainer.step, f"{KEY}={config.trainer.step}")
    if started is not None:
        return Choice(started, "as the run was started")
    if why_not := _why_not(config, where):
        return Choice("torch", why_not)
    size = f"{weights:,} weights, {steps:,} steps"
    return Choice("numba", size) if weights * steps >= WORTH else Choice("torch", f"{size}: too few for Numba")


def check(config: Config, where: torch.device, started: str | None = None) -> None:
    """Raises ConfigError as `choose` does, without the network."""
    why_not = _why_not(config, where)
    asked = config.trainer.step
    if why_not and (asked == "numba" or (asked == "auto" and started == "numba")):
        raise missing(why_not)


def missing(why_not: str) -> ConfigError:
    """The refusal to take other steps than were asked for, or than a run was started with."""
    remedy = f"takes the steps of this run, but {why_not}; {KEY}=torch takes torch's, whose last bits differ"
    return ConfigError(KEY, "numba", remedy)


def _why_not(config: Config, where: torch.device) -> str:
    """Why Numba cannot take the step; "" where it can."""
    if where.type != "cpu":
        return f"there is none for {where.type}"
    if config.trainer.compile:
        return "trainer.compile=true keeps torch's"
    if config.optimizer.name not in OPTIMIZERS:
        return f"there is none for optimizer={config.optimizer.name}"
    if importlib.util.find_spec("numba") is None:
        return "Numba is not installed (pip install numba)"
    return ""
