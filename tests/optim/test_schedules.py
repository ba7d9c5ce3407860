import warnings
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from bnn_train.config.scheduler import (
    ExponentialConfig,
    FinalConfig,
    MultistepConfig,
    OneCycleConfig,
    SchedulerConfig,
    StepConfig,
)
from bnn_train.optim import schedules

EPOCHS, STEPS = 12, 7


def shares(config):
    share = schedules.build(config, STEPS, EPOCHS)
    return [share(number) for number in range(EPOCHS * STEPS)]


def torchs(make, per_epoch):
    """torch's own schedule from a learning rate of 1, asked at every step."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule, values = make(optimizer), []
    for number in range(EPOCHS * STEPS):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if not per_epoch or number % STEPS == STEPS - 1:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                schedule.step()
    return values


TOTAL = EPOCHS * STEPS
CASES = [
    (SchedulerConfig("constant"), lambda o: lr_scheduler.ConstantLR(o, 1.0), True),
    (StepConfig(step_size=5, gamma=0.1), lambda o: lr_scheduler.StepLR(o, 5, 0.1), True),
    (MultistepConfig(milestones=[3, 8], gamma=0.5), lambda o: lr_scheduler.MultiStepLR(o, [3, 8], 0.5), True),
    (ExponentialConfig(gamma=0.9), lambda o: lr_scheduler.ExponentialLR(o, 0.9), True),
    (FinalConfig("linear", final=0.1), lambda o: lr_scheduler.LinearLR(o, 1.0, 0.1, TOTAL), False),
    (FinalConfig("cosine", final=0.2), lambda o: lr_scheduler.CosineAnnealingLR(o, TOTAL, 0.2), False),
]


@pytest.mark.parametrize(("config", "make", "per_epoch"), CASES)
def test_equals_torchs_schedule(config, make, per_epoch):
    assert shares(config) == pytest.approx(torchs(make, per_epoch), rel=1e-6)


def test_onecycle_rises_to_1_and_falls_to_almost_nothing():
    values = shares(OneCycleConfig(rise=0.25))
    assert values[0] == pytest.approx(1 / 25)
    assert values[TOTAL // 4] == pytest.approx(1)
    assert values == sorted(values[: TOTAL // 4]) + sorted(values[TOTAL // 4 :], reverse=True)
    assert values[-1] < 0.002


@pytest.mark.parametrize(("config", "make", "per_epoch"), CASES)
def test_warmup_multiplies_a_linear_rise(config, make, per_epoch):
    plain = shares(config)
    config = replace(config, warmup=2.0)
    ramp = [min(1, (number + 1) / (2 * STEPS)) for number in range(TOTAL)]
    assert shares(config) == pytest.approx([p * r for p, r in zip(plain, ramp, strict=True)])


@given(st.integers(1, 400), st.integers(1, 50))
def test_drops_fall_on_the_first_step_of_their_epoch(steps, epoch):
    """No rounding of number / steps may move a drop."""
    share = schedules.build(MultistepConfig(milestones=[epoch], gamma=0.5), steps, 100)
    assert (share(epoch * steps - 1), share(epoch * steps)) == (1.0, 0.5)
