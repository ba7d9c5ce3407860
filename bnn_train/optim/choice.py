"""Who takes the optimizer's step, torch or a kernel of our own (optim/fused.py): a written rule."""

from typing import NamedTuple

import torch

from bnn_train.config.root import Config
from bnn_train.errors import ConfigError
from bnn_train.kernels import elements

KEY = "trainer.step"
OPTIMIZERS = ("adam", "adamw", "sgd", "bop")

# Weights times steps from which kernels are worth their start: LLVM takes 0.1 s where no product has loaded it; each weight then
# saves 0.1 to 0.2 ns a step.
WORTH = 2 * 10**9


class Choice(NamedTuple):
    kind: str  # "kernels" or "torch"
    why: str

    def line(self) -> str:
        who = "torch's" if self.kind == "torch" else "kernels', in one pass over the weights"
        return f"optimizer's step: {who} ({self.why})"


def choose(config: Config, where: torch.device, weights: int, steps: int, started: str | None = None) -> Choice:
    """By what is trained, not by time, so that a run gives the same numbers however busy the machine is.

    weights: of all layers. steps: of the whole run. started: who has taken the first step of a run that is continued. Raises
    ConfigError where kernels are asked for, or have taken it, and cannot now.
    """
    check(config, where, started)
    if config.trainer.step != "auto":
        return Choice(config.trainer.step, f"{KEY}={config.trainer.step}")
    if started is not None:
        return Choice(started, "as the run was started")
    size = f"{weights:,} weights, {steps:,} steps"
    if weights * steps < WORTH:  # before LLVM is asked for
        return Choice("torch", f"{size}: too few for kernels")
    why_not = _why_not(config, where)
    return Choice("torch", why_not) if why_not else Choice("kernels", size)


def check(config: Config, where: torch.device, started: str | None = None) -> None:
    """Raises ConfigError as `choose` does, without the network."""
    asked = config.trainer.step
    if "kernels" in (asked, started if asked == "auto" else None) and (why_not := _why_not(config, where)):
        raise missing(why_not)


def missing(why_not: str) -> ConfigError:
    """The refusal to take other steps than were asked for, or than a run was started with."""
    remedy = f"cannot take the steps: {why_not}; {KEY}=torch takes torch's, whose last bits differ"
    return ConfigError(KEY, "kernels", remedy)


def mixed(started: str | None, now: Choice) -> str:
    """What is to be known of a run that goes on with another step than it was started with."""
    who = "torch" if started == "torch" else "kernels"
    return f"its first steps were taken by {who}, and now {KEY}={now.kind} is asked for: the result is that of neither alone"


def _why_not(config: Config, where: torch.device) -> str:
    """Why kernels cannot take the step; "" where they can."""
    if where.type != "cpu":
        return f"there is none for {where.type}"
    if config.trainer.compile:
        return "trainer.compile=true keeps torch's"
    if config.optimizer.name not in OPTIMIZERS:
        return f"there is none for optimizer={config.optimizer.name}"
    if not elements.available():
        return "llvmlite is not installed, or what it compiles may not run here (pip install llvmlite)"
    return ""
