"""Learning-rate schedules: pure functions of the time in training, so there is no state to save.

A schedule maps (t, epochs) and its options to the share of `optimizer.lr` that is used. t is the time since the start in epochs,
0 <= t < epochs, a fraction within an epoch. step, multistep and exponential change once an epoch, as torch's do; the others at
every step. Warm-up multiplies whatever the schedule says.
"""

import math
from collections.abc import Callable

from bnn_train.config.checks import check_choice
from bnn_train.config.scheduler import SchedulerConfig


def constant(t: float, epochs: int) -> float:
    return 1.0


def step(t: float, epochs: int, *, step_size: int, gamma: float) -> float:
    """gamma^(number of whole step_size periods so far)."""
    return gamma ** (int(t) // step_size)


def multistep(t: float, epochs: int, *, milestones: list[int], gamma: float) -> float:
    """gamma^(number of milestones reached)."""
    return gamma ** sum(t >= milestone for milestone in milestones)


def exponential(t: float, epochs: int, *, gamma: float) -> float:
    """gamma^(whole epochs so far)."""
    return gamma ** int(t)


def linear(t: float, epochs: int, *, final: float) -> float:
    """From 1 to `final`."""
    return 1 + (final - 1) * t / epochs


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def cosine(t: float, epochs: int, *, final: float) -> float:
    """From 1 to `final` along half a cosine (Loshchilov & Hutter 2017, arXiv 1608.03983, without restarts)."""
    return _half_cosine(1, final, t / epochs)


def onecycle(t: float, epochs: int, *, rise: float) -> float:
    """From 1/25 up to 1 within `rise` of the run, then down to 1/250,000, both along a cosine (Smith & Topin, arXiv 1708.07120)."""
    share = t / epochs
    if share < rise:
        return _half_cosine(1 / 25, 1, share / rise)
    return _half_cosine(1, 1 / 250_000, (share - rise) / (1 - rise))


REGISTRY: dict[str, Callable[..., float]] = {
    "constant": constant,
    "step": step,
    "multistep": multistep,
    "exponential": exponential,
    "linear": linear,
    "cosine": cosine,
    "onecycle": onecycle,
}


def build(config: SchedulerConfig, steps_per_epoch: int, epochs: int) -> Callable[[int], float]:
    """The share of `optimizer.lr` as a function of the step's number, from 0, in the whole run."""
    check_choice("scheduler.name", config.name, REGISTRY)
    schedule, given = REGISTRY[config.name], config.params
    warmup_steps = config.warmup * steps_per_epoch

    def share(number: int) -> float:
        # Whole epochs and steps apart: an epoch's first step must not fall below its whole number by rounding.
        epoch, within = divmod(number, steps_per_epoch)
        value = schedule(epoch + within / steps_per_epoch, epochs, **given)
        return value * min(1, (number + 1) / warmup_steps) if warmup_steps else value

    return share
