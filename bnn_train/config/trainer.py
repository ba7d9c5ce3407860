"""The loop, its evaluation, and the name of a sweep."""

import re
from dataclasses import dataclass
from typing import ClassVar

from omegaconf import MISSING

from bnn_train.config.checks import Group, key
from bnn_train.errors import ConfigError


@dataclass
class TrainerConfig(Group):
    group: ClassVar[str] = "trainer"

    epochs: int = key(MISSING, "passes over the training images", "[1, inf)")
    batch_size: int = key(MISSING, "images per step; an incomplete last batch of an epoch is left out", unit="images")
    max_steps: int | None = key(
        None, "the run ends after so many steps, if it has not ended before; null: by epochs alone", "[1, inf)", "steps"
    )
    eval_batch_size: int = key(1000, "images per evaluation step", "[1, inf)", "images")
    label_smoothing: float = key(0.0, "share of each label that is spread over all classes", "[0, 1)")
    class_weights: str = key(
        "none", "balanced: every class counts the same in the training loss, however many images it has", ("none", "balanced")
    )
    clip_grad_norm: float | None = key(None, "largest 2-norm of all gradients together; null: not clipped", "(0, inf)")
    ema: float | None = key(
        None, "also average the weights over the steps; the average keeps this share of itself at each; null: no average", "(0, 1)"
    )
    recalibrate: bool = key(False, "at the end, also measure with BatchNorm's statistics recomputed on the training images")
    result: str = key(
        "auto",
        "which network the run gives; auto: the held-out images choose, and where there are none it is the last",
        ("auto", "last", "averaged", "recalibrated"),
    )
    patience: int | None = key(
        None, "the run ends when the accuracy on the held-out images has not risen for so many; null: never", "[1, inf)", "epochs"
    )
    precision: str = key("float32", "fast: real products may run in TF32, on CUDA devices alone", ("float32", "fast"))
    step: str = key(
        "auto",
        "who takes the optimizer's step, which changes last bits; auto: kernels, in one pass, where that pays, else torch",
        ("auto", "kernels", "torch"),
    )
    sync_batchnorm: bool = key(True, "with several processes BatchNorm takes the statistics of the whole batch, not of their parts")
    compile: bool = key(False, "torch.compile the training step; takes a C++ compiler, and its time at the start")
    checkpoint_every: str | None = key(None, "also save within an epoch: 200 is every 200 steps, 60s every 60 seconds")
    keep: str = key(
        "last",
        "what stays after the end: the result alone, also where to go on from, also the save before",
        ("result", "last", "all"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.checkpoint_every is not None and not re.fullmatch(r"[1-9]\d*s?", self.checkpoint_every):
            remedy = "must be a number of steps (200) or of seconds (60s)"
            raise ConfigError("trainer.checkpoint_every", self.checkpoint_every, remedy)
        if self.batch_size < 2:
            remedy = "must be a whole number of at least 2: BatchNorm needs two images"
            raise ConfigError("trainer.batch_size", self.batch_size, remedy)
        if self.result == "averaged" and self.ema is None:
            raise ConfigError("trainer.result", self.result, "needs an average: trainer.ema=0.999, or another share of its own")
        if self.result == "recalibrated" and not self.recalibrate:
            raise ConfigError("trainer.result", self.result, "needs trainer.recalibrate=true")


@dataclass
class EvalConfig(Group):
    group: ClassVar[str] = "eval"

    mode: str = "deterministic"


@dataclass
class EnsembleConfig(EvalConfig):
    mode: str = "ensemble"
    samples: int = key(10, "drawn from a stochastic network; their mean prediction is reported too", "[1, inf)", "networks")


EVALS: dict[str, type[EvalConfig]] = {"deterministic": EvalConfig, "ensemble": EnsembleConfig}


@dataclass
class SweepConfig(Group):
    group: ClassVar[str] = "sweep"

    name: str | None = key(
        None, "of its directory, sweeps/NAME; null: the experiment's, the method's, or the swept keys", unit="name"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name is not None and not re.fullmatch(r"[\w.+-]+", self.name):
            raise ConfigError("sweep.name", self.name, "must be a folder name of letters, digits and . _ + -")
