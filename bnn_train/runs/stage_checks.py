"""What a run in stages is refused for before it begins, or goes on."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from bnn_train import device, models
from bnn_train.config.distill import DistillConfig, TeacherConfig
from bnn_train.config.root import Config
from bnn_train.config.stages import NAMED, of_stage
from bnn_train.data import datasets
from bnn_train.errors import ConfigError
from bnn_train.report import grid
from bnn_train.runs import assemble, checkpoint, directory, loggers, resume, start, teacher
from bnn_train.runs.plan import Plan
from bnn_train.training import distillation

log = logging.getLogger(__name__)


def check(planned: Plan, run_dir: Path, exported: teacher.Reader | None) -> None:
    """Refuses, before the first stage, what would be refused at the beginning of a later one."""
    where = device.choose(planned.config.device)
    loggers.check(planned.config.logger)
    begun = [directory.holds_run(directory.stage(run_dir, number)) for number in range(1, len(planned.stages) + 1)]
    assemble.check(planned.config, where, is_new=not begun[0])  # what is no stage's own fault
    networks: dict[str, nn.Module] = {}  # by the names of the stages, without numbers in them
    for number, stage in enumerate(planned.stages, start=1):
        config, is_new = alone(stage.config), not begun[number - 1]
        try:
            assemble.check(config, where, is_new)
            if is_new:
                teacher.find(config, directory.stage(run_dir, number), True, exported)
            if (peeked := datasets.peek(config.data)) is not None:
                networks[f"stage{number}"] = network = models.check(config, *peeked)
                _check_beside(stage.config, network, networks, peeked[0])
        except ConfigError as error:
            raise of_stage(number, stage.overrides, str(error)) from error


def check_same(planned: Plan, run_dir: Path) -> None:
    """Refuses to begin a stage on other images, or another kind of device, than the one before it had, in an earlier process."""
    folders = [directory.stage(run_dir, number) for number in range(1, len(planned.stages) + 1)]
    number = next((n for n, folder in enumerate(folders) if directory.read_summary(folder) is None), 0)
    if number == 0 or directory.holds_run(folders[number]):  # of one that goes on `run` says it
        return
    state = checkpoint.load(folders[number - 1] / "checkpoints" / checkpoint.RESULT, "resume")
    config = planned.stages[number - 1].config
    where = device.choose(config.device)
    resume.check_same(state, config, assemble.load_data(config, where), where.type)
    for line in resume.changed_plugins(state):
        log.warning("%s", grid.sentence(f"note: {line}"))


def _check_beside(config: Config, network: nn.Module, earlier: Mapping[str, nn.Module], shape: models.Shape) -> None:
    """Refuses a stage whose network does not fit those of earlier stages that it starts from or is taught by."""
    first = earlier.get(config.init_from or "")
    if first is not None and (wrong := start.misfit(first.state_dict(), network.state_dict())):
        raise ConfigError(start.KEY, config.init_from, f"does not fit the network: {wrong}")
    if isinstance(config.distill, TeacherConfig) and config.distill.teacher in earlier:
        image = torch.zeros(1, *shape, device=next((each.device for each in network.parameters()), device.CPU))
        distillation.layers(config.distill, network, earlier[config.distill.teacher], image)


def alone(config: Config) -> Config:
    """Without what earlier stages give it."""
    taught = isinstance(config.distill, TeacherConfig) and NAMED.fullmatch(config.distill.teacher)
    return replace(
        config,
        init_from=None if NAMED.fullmatch(config.init_from or "") else config.init_from,
        distill=DistillConfig() if taught else config.distill,
    )
