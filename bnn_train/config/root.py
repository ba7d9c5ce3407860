"""The whole configuration of a run: its groups, and what must hold between them."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from omegaconf import MISSING, OmegaConf

from bnn_train.config.checks import Group, check_choice, key
from bnn_train.config.data import DATA, WITHOUT_VAL, DataConfig
from bnn_train.config.distill import DISTILLS, DistillConfig, TeacherConfig
from bnn_train.config.edges import EdgesConfig
from bnn_train.config.logger import LOGGERS, LoggerConfig, by_name
from bnn_train.config.loss import LOSSES, LossConfig
from bnn_train.config.model import MODELS, BlockConfig, MlpConfig, ModelConfig
from bnn_train.config.optimizer import OPTIMIZERS, OptimizerConfig
from bnn_train.config.scheduler import SCHEDULERS, SchedulerConfig
from bnn_train.config.stages import STAGES, StagesConfig
from bnn_train.config.ste import STES, SteConfig
from bnn_train.config.trainer import EVALS, EvalConfig, SweepConfig, TrainerConfig
from bnn_train.config.weights import WEIGHTS, WeightsConfig
from bnn_train.errors import ConfigError

_PACKAGE = Path(__file__).parent.parent
CONFIGS = _PACKAGE / "configs" if (_PACKAGE / "configs").is_dir() else _PACKAGE.parent / "configs"  # in a wheel, in a checkout

# Keys and groups that cannot change a result, or its last bits alone: they may differ when a run is continued, and are no part of a
# job's name.
FREE = (
    "data.root",
    "data.cache_dir",
    "data.memory",
    "logger",
    "device",
    "sweep",
    "trainer.checkpoint_every",
    "trainer.keep",
    "trainer.step",
    "dry_run",
)

EXTENDS = ("trainer.epochs", "trainer.max_steps", "trainer.patience")  # keys that say how long a run is; a later end continues it

# The options that have a dataclass of their own, by group and name.
OPTIONS: dict[str, Mapping[str, type[Group]]] = {
    "data": DATA,
    "model": MODELS,
    "ste": STES,
    "weights": WEIGHTS,
    "loss": LOSSES,
    "optimizer": OPTIMIZERS,
    "scheduler": SCHEDULERS,
    "distill": DISTILLS,
    "logger": LOGGERS,
    "eval": EVALS,
    "stages": STAGES,
}
SEVERAL = "logger"  # the group of which any number of options holds at once, each below its name
# Groups whose other options take the keys of one dataclass.
ALIKE: dict[str, type[Group]] = {"data": DataConfig, "ste": SteConfig, "loss": LossConfig, "stages": StagesConfig}
# Groups whose options' files begin with their keys' schema. A logger's may, and one that only chooses others need not.
NEED_SCHEMA = [group for group in OPTIONS if group not in (*ALIKE, SEVERAL) or group == "ste"]
KEY_OF_NAME = {"eval": "mode"}  # where it is not `name`

# Groups whose files choose options and set keys of the whole run, the later over the earlier; no part of the configuration.
WHOLE = ("method", "experiment")
# The groups that a method speaks of.
OF_METHODS = ("model", "block", "ste", "weights", "loss", "optimizer", "scheduler", "distill", "stages")

SEVERAL_TYPED = "choose it with logger=csv, or several with logger=[csv,tensorboard]"
NO_IMAGES_FOR_PATIENCE = "needs held-out images: data.val_size=N holds out N training images, and image_folder reads a val/ folder"


@dataclass
class Config:
    data: DataConfig = MISSING
    model: ModelConfig = MISSING
    block: BlockConfig = field(default_factory=BlockConfig)
    ste: SteConfig = MISSING
    weights: WeightsConfig = MISSING
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = MISSING
    scheduler: SchedulerConfig = MISSING
    distill: DistillConfig = field(default_factory=DistillConfig)
    trainer: TrainerConfig = MISSING
    logger: dict[str, LoggerConfig] = field(
        default_factory=dict
    )  # by name; each option stands below its own, so that any can be added
    eval: EvalConfig = field(default_factory=EvalConfig)
    edges: EdgesConfig = field(default_factory=EdgesConfig)
    stages: StagesConfig = field(default_factory=StagesConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)
    plugins: list[str] = key([], "modules or .py files, imported first, that add options")
    seed: int = key(0, "of weights, order, augmentation and noise", unit="0 to 2^63 - 1")
    device: str = key("auto", "auto (a GPU where there is one), cpu, cuda, cuda:N or mps")
    resume: str | None = key(None, "a run directory (or one of its checkpoints) to continue, in place", unit="path")
    init_from: str | None = key(None, "a run, a checkpoint or a plain state_dict whose weights a new run starts with", unit="path")
    dry_run: bool = key(False, "load the data, print the tables and what would be done, train nothing, leave nothing")

    def __post_init__(self) -> None:
        self.resume, self.init_from = (path and os.path.expanduser(path) for path in (self.resume, self.init_from))
        if not 0 <= self.seed < 2**63:
            raise ConfigError("seed", self.seed, "must be a whole number of at least 0, below 2^63")
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", self.device):
            raise ConfigError("device", self.device, "must be one of auto, cpu, cuda, cuda:N, mps")
        for name in ("resume", "init_from"):
            if getattr(self, name) == "":
                raise ConfigError(name, "", "needs a run directory; leave it out for a new run")
        if self.resume is not None and self.init_from is not None:
            raise ConfigError("init_from", self.init_from, f"starts a new run, but resume={self.resume} continues one; choose one")
        self._check_names()
        self._check_pairs()

    def _check_names(self) -> None:
        """An option's name stands for its keys: another name with these keys would be another option's."""
        for name, logger in self.logger.items():
            if type(logger) is not LOGGERS.get(name) or logger.name != name:
                raise ConfigError(f"logger.{name}.name", logger.name, f"names a logger, and comes with its keys: {SEVERAL_TYPED}")
        for group in OPTIONS:
            if group == SEVERAL:
                continue
            key_of_name = KEY_OF_NAME.get(group, "name")
            chosen = getattr(self, group)
            name = getattr(chosen, key_of_name)
            if type(chosen) is not _kind(group, name):
                remedy = f"names an option, and comes with its keys: choose it with {group}={name}"
                raise ConfigError(f"{group}.{key_of_name}", name, remedy)

    def _check_pairs(self) -> None:
        if isinstance(self.model, MlpConfig) and self.ste.name == "none":
            for name in ("binarize_input", "binarize_output"):
                if getattr(self.model, name):
                    raise ConfigError(f"model.{name}", True, "needs an estimator, but ste=none leaves activations real")
        if self.optimizer.weights not in (None, self.weights.name) or self.weights.optimizer not in (None, self.optimizer.name):
            weights, optimizer = self.optimizer.weights or self.weights.name, self.weights.optimizer or self.optimizer.name
            remedy = f"weights={weights} and optimizer={optimizer} go together; use both, or neither"
            raise ConfigError("weights", self.weights.name, remedy)
        if self.ste.name == "stompp" and self.weights.name != "stompp":
            remedy = f"follows the schedule of weights=stompp, which brings it along; weights={self.weights.name} has none"
            raise ConfigError("ste", "stompp", remedy)
        if self.trainer.label_smoothing and self.loss.name != "cross_entropy":
            remedy = f"is for loss=cross_entropy, and loss={self.loss.name} does not use it; leave it at 0"
            raise ConfigError("trainer.label_smoothing", self.trainer.label_smoothing, remedy)
        if self.trainer.class_weights != "none" and self.loss.name in LOSSES:
            remedy = (
                f"is for loss=cross_entropy and squared_hinge, and loss={self.loss.name} weighs its images itself; leave it out"
            )
            raise ConfigError("trainer.class_weights", self.trainer.class_weights, remedy)
        if isinstance(self.distill, TeacherConfig) and self.distill.attention and self.trainer.compile:
            remedy = "looks into the network's layers, which trainer.compile=true takes apart; leave one of them out"
            raise ConfigError("distill.attention", self.distill.attention, remedy)
        if self.model.has_shortcuts and self.block.shortcut == "none":
            remedy = f"model={self.model.name} has shortcuts: use block=bireal, resnet or another with shortcuts"
            raise ConfigError("block", self.block.name, remedy)
        is_new = self.resume is None  # else the run that is continued may have held images out
        if self.trainer.patience is not None and is_new and not self.data.val_size and self.data.name in WITHOUT_VAL:
            raise ConfigError("trainer.patience", self.trainer.patience, NO_IMAGES_FOR_PATIENCE)
        if self.edges.complete_after >= self.trainer.epochs:
            ramp = next(rule.ramp for rule in self.edges.rules if rule.end_of_ramp >= self.trainer.epochs)
            remedy = f"must end before the last of the {self.trainer.epochs} epochs, so that what is left is trained; "
            remedy += f"use trainer.epochs={self.edges.complete_after + 1} or more, or an earlier end"
            raise ConfigError("edges.rules.ramp", ramp, remedy)
        if self.scheduler.warmup > self.trainer.epochs:
            raise ConfigError("scheduler.warmup", self.scheduler.warmup, f"is longer than trainer.epochs={self.trainer.epochs}")


def choices(chosen: Mapping[str, Any]) -> dict[str, str]:
    """Option by group, of the groups that a person chooses from, out of all that Hydra has chosen (hydra.runtime.choices).

    An option's name need not be that of its keys: weights=irnet is of the kind sign, and so may be one of the user's own.
    """
    groups = (*WHOLE, *(each.name for each in fields(Config)))
    return {group: str(chosen[group]) for group in groups if chosen.get(group) is not None}  # of a list Hydra says None


def typed(tree: Mapping[str, Any]) -> Config:
    """The typed configuration of a plain tree, such as a checkpoint's. Keys that are newer than the tree get their defaults.

    A null under a key that the option does not take says nothing and is left out. Raises ConfigError for any other such key.
    """
    node = OmegaConf.structured(Config)
    whose = f"bnn-train or of {', '.join(tree['plugins'])}" if tree.get("plugins") else "bnn-train"
    known: dict[str, Any] = {}
    for group, values in tree.items():
        if group == "block" and isinstance(values.get("shortcut"), bool):  # what it was before there were two kinds
            values = {**values, "shortcut": "per_conv" if values["shortcut"] else "none"}
        if group == SEVERAL:
            known[group] = {}
            for name, keys in by_name(values).items():
                node[group][name] = OmegaConf.structured(_logger(name, whose))
                known[group][name] = _taken(f"{group}.{name}", keys, node[group][name], whose)
            continue
        if group in OPTIONS:
            node[group] = OmegaConf.structured(_kind(group, values.get(KEY_OF_NAME.get(group, "name"))))
        known[group] = _taken(group, values, node[group], whose) if isinstance(values, dict) and group in node else values
    config = OmegaConf.to_object(OmegaConf.merge(node, known))
    assert isinstance(config, Config)
    return config


def _taken(group: str, values: dict[str, Any], node: Any, whose: str) -> dict[str, Any]:
    """The keys that the option takes, whose node it is. Raises ConfigError where another one has a value."""
    kind = OmegaConf.get_type(node)
    assert kind is not None
    takes = {each.name for each in fields(kind)}
    for name in values:
        if name not in takes and values[name] is not None:
            raise ConfigError(f"{group}.{name}", values[name], f"is a key of another version of {whose}")
    return {name: value for name, value in values.items() if name in takes}


def _logger(name: str, whose: str) -> type[Group]:
    if name not in LOGGERS:
        raise ConfigError("logger", name, f"is a logger of another version of {whose}")
    return LOGGERS[name]


def _kind(group: str, name: Any) -> type[Group]:
    """The dataclass of an option."""
    if group in ALIKE:
        return OPTIONS[group].get(name, ALIKE[group])
    check_choice(f"{group}.{KEY_OF_NAME.get(group, 'name')}", name, OPTIONS[group])
    return OPTIONS[group][name]
