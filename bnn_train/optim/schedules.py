"""Learning-rate schedules: pure functions of the time in training, so there is no state to save.

A schedule maps (t, config, epochs) to the share of `optimizer.lr` that is used: t is the time since the start in epochs, 0 <= t <
epochs, a fraction within an epoch. step, multistep and exponential change once an epoch, as torch's do; the others at every step.
Warm-up multiplies whatever the schedule says.
"""

import math
from collections.abc import Callable

from bnn_train.config import SchedulerConfig, check_choice


def constant(t: float, config: SchedulerConfig, epochs: int) -> float:
    return 1.0


def step(t: float, config: SchedulerConfig, epochs: int) -> float:
    """gamma^(number of whole step_size periods so far)."""
    return config.gamma ** (int(t) // config.step_size)


def multistep(t: float, config: SchedulerConfig, epochs: int) -> float:
    """gamma^(number of milestones reached)."""
    return config.gamma ** sum(t >= milestone for milestone in config.milestones)


def exponential(t: float, config: SchedulerConfig, epochs: int) -> float:
    """gamma^(whole epochs so far)."""
    return config.gamma ** int(t)


def linear(t: float, config: SchedulerConfig, epochs: int) -> float:
    """From 1 to `final`."""
    return 1 + (config.final - 1) * t / epochs


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def cosine(t: float, config: SchedulerConfig, epochs: int) -> float:
    """From 1 to `final` along half a cosine (Loshchilov & Hutter 2017, arXiv 1608.03983, without restarts)."""
    return _cosine(1, config.final, t / epochs)


def onecycle(t: float, config: SchedulerConfig, epochs: int) -> float:
    """From 1/25 up to 1 within `rise` of the run, then down to 1/250,000, both along a cosine (Smith & Topin, arXiv 1708.07120)."""
    share = t / epochs
    if share < config.rise:
        return _cosine(1 / 25, 1, share / config.rise)
    return _cosine(1, 1 / 250_000, (share - config.rise) / (1 - config.rise))


REGISTRY: dict[str, Callable[[float, SchedulerConfig, int], float]] = {
    "constant": constant,
    "step": step,
    "multistep": multistep,
    "exponential": exponential,
    "linear": linear,
    "cosine": cosine,
    "onecycle": onecycle,
}


def lr_share(config: SchedulerConfig, number: int, steps_per_epoch: int, epochs: int) -> float:
    """The share of `optimizer.lr` for step `number` (from 0) of a run of `epochs` epochs."""
    check_choice("scheduler.name", config.name, REGISTRY)
    # number // steps and number % steps apart: an epoch's first step must not fall below its whole number by rounding
    epoch, within = divmod(number, steps_per_epoch)
    share = REGISTRY[config.name](epoch + within / steps_per_epoch, config, epochs)
    warmup_steps = config.warmup * steps_per_epoch
    return share * min(1, (number + 1) / warmup_steps) if warmup_steps else share
