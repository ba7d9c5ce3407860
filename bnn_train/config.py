"""The typed configuration: one dataclass per group of configs/, its units, and the checks that need no data and no torch.

Hydra merges the YAML files into these types, so a wrong key or type is refused before torch loads. `__post_init__` then checks
values; every refusal is a ConfigError: one line with the key, the value and what would be right.
"""

import math
import re
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bnn_train.checks import at_least, check_choice, in_range, positive, sizes
from bnn_train.errors import ConfigError, as_typed
from bnn_train.rule_config import RuleConfig

# Keys and groups that cannot change a result: they may differ when a run is continued, and are no part of a job's name.
FREE = ("data.root", "data.cache_dir", "logger", "device", "sweep", "trainer.checkpoint_every")


@dataclass
class DataConfig:
    name: str = MISSING
    root: str = "data"  # folder of the files; downloads go there; relative to the current directory
    cache_dir: str = "~/.cache/bnn_train"  # where image_folder keeps its decoded images
    val_size: int = 0  # training images held out, the classes in proportion; 0 selects nothing
    test_fraction: float = 0.2  # share held out as test set where the data has none of its own
    image_size: int | None = None  # pixels; image_folder crops to a square and resizes; null keeps the images' own size
    grayscale: bool = False  # image_folder: one channel instead of three
    mean: list[float] = field(default_factory=lambda: [0.5])  # per channel, or one for all; inputs are (x / 255 - mean) / std
    std: list[float] = field(default_factory=lambda: [0.5])
    crop_padding: int = 0  # pixels added on each side before a random crop of the original size; 0 is off
    flip: bool = False  # horizontal flip of half of the training images
    cutout: int = 0  # side of a square set to the mean in each training image, pixels; 0 is off

    def __post_init__(self) -> None:
        for key in ("val_size", "crop_padding", "cutout"):
            at_least(f"data.{key}", getattr(self, key), 0)
        if self.image_size is not None:
            at_least("data.image_size", self.image_size, 1)
        if not 0 < self.test_fraction < 1:
            raise ConfigError("data.test_fraction", self.test_fraction, "must be in (0, 1)")
        for value in self.std:
            positive("data.std", value)
        if len(self.mean) != len(self.std) or not self.mean:
            raise ConfigError("data.mean", self.mean, f"needs as many values as data.std={as_typed(self.std)}")


# In the groups below a value that only some of the options take is null unless the option sets it; an option refuses what it does
# not take (check_takes), so nothing is ignored silently.


@dataclass
class ModelConfig:
    name: str = MISSING
    hidden: list[int] = field(default_factory=list)  # units of each hidden linear layer
    dropout: float = 0.0  # probability of zeroing, after the last hidden linear layer
    binarize_input: bool = False  # true: the estimator also binarizes the network's input
    binarize_output: bool = False  # true: the last layer has binary weights and inputs, followed by BatchNorm
    # cnn: each inner list is a stage of convolutions (output channels), ended by a 2x2 max-pool
    stages: list[list[int]] | None = None
    kernel_size: int | None = None  # cnn: pixels, odd
    pad_value: int | None = None  # cnn: what surrounds a binary convolution's input: 0, 1 or -1

    def __post_init__(self) -> None:
        sizes("model.hidden", self.hidden)
        in_range("model.dropout", self.dropout, 0, 1)
        for stage in self.stages or []:
            sizes("model.stages", stage)
            if not stage:
                raise ConfigError("model.stages", self.stages, "every stage needs at least one convolution")
        if self.kernel_size is not None and (self.kernel_size < 1 or self.kernel_size % 2 == 0):
            raise ConfigError("model.kernel_size", self.kernel_size, "must be an odd whole number, so that images keep their size")
        if self.pad_value is not None:
            check_choice("model.pad_value", self.pad_value, (0, 1, -1))


@dataclass
class SteConfig:
    name: str = MISSING
    stochastic: bool = False  # binarize with the matching noise while training; evaluation adds none
    clip: float | None = None  # clipped: half width of the window in which gradients pass
    beta: float | None = None  # swish_sign: steepness
    scale: float | None = None  # uniform, triangular, logistic, normal, reinmax, gumbel: the noise is scale * (its standard form)
    temperature: float | None = None  # gumbel: of the relaxation; the nearer to 0, the nearer to the sign
    hard: bool | None = None  # gumbel: true is the sign with the relaxation's derivative, false the relaxation itself

    def __post_init__(self) -> None:
        for key in ("clip", "beta", "scale", "temperature"):
            positive(f"ste.{key}", getattr(self, key))
        if self.name == "none" and self.stochastic:
            raise ConfigError("ste.stochastic", True, "ste=none leaves activations real and takes no noise; choose an estimator")


@dataclass
class WeightsConfig:
    name: str = MISSING
    clip: float | None = None  # latent weights are clipped to [-clip, clip] after each step; null: never
    ste: str | None = None  # sign: estimator of the weights; null: that of the activations (identity where ste=none)
    noise: str | None = None  # stochastic: distribution F of P(w = +1) = F(latent): uniform, triangular, logistic, normal
    scale: float | None = None  # stochastic: of that distribution
    kl: float | None = None  # stochastic: weight of the KL divergence from fair coins; shrinks the latents by 1 / (1 + lr * kl)
    init: float | None = (
        None  # with bayesbinn: size of every latent weight at the start, signs at random; null: as torch draws them
    )

    def __post_init__(self) -> None:
        for key in ("clip", "scale", "init"):
            positive(f"weights.{key}", getattr(self, key))
        in_range("weights.kl", self.kl, 0, math.inf)
        for key in ("clip", "ste"):
            if self.name == "real" and getattr(self, key) is not None:
                raise ConfigError(f"weights.{key}", getattr(self, key), "weights=real binarizes nothing; leave it null")
        if self.name == "binary" and self.clip is not None:
            raise ConfigError("weights.clip", self.clip, "weights=binary has no latent weights; leave it null")


@dataclass
class OptimizerConfig:
    name: str = MISSING
    lr: float = MISSING  # peak learning rate (bop, bayesbinn: Adam's, for all but the binary weights); the scheduler multiplies it
    weight_decay: float = 0.0  # on weights; adam and sgd add it to the gradient, adamw shrinks the weights by lr * weight_decay
    decay_norm_and_bias: bool = False  # true: weight decay on BatchNorm and biases too
    betas: list[float] | None = None  # adam, adamw: decay of the running means of the gradient and of its square
    eps: float | None = None  # adam, adamw: added to the root of the latter
    momentum: float | None = None  # sgd
    nesterov: bool | None = None  # sgd
    threshold: float | None = None  # bop: size that the mean gradient of a weight must reach to flip it
    gamma: float | None = None  # bop: share of the new gradient in that mean
    scheduled: list[str] | None = None  # bop: which of gamma and threshold the scheduler multiplies, as it does lr
    natural_lr: float | None = None  # bayesbinn: step size of the latent (natural) parameters; the scheduler multiplies it

    def __post_init__(self) -> None:
        positive("optimizer.lr", self.lr)
        in_range("optimizer.weight_decay", self.weight_decay, 0, math.inf)
        if self.betas is not None and (len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas)):
            raise ConfigError("optimizer.betas", self.betas, "must be two numbers in [0, 1)")
        positive("optimizer.eps", self.eps)
        in_range("optimizer.momentum", self.momentum, 0, 1)
        in_range("optimizer.threshold", self.threshold, 0, math.inf)
        for key in ("gamma", "natural_lr"):
            value = getattr(self, key)
            if value is not None and not 0 < value <= 1:
                raise ConfigError(f"optimizer.{key}", value, "must be in (0, 1]")
        for key in self.scheduled or []:
            check_choice("optimizer.scheduled", key, ("gamma", "threshold"))
        if self.nesterov and not self.momentum:
            raise ConfigError("optimizer.nesterov", True, "needs optimizer.momentum above 0, for example 0.9")


@dataclass
class SchedulerConfig:
    name: str = MISSING
    warmup: float = 0.0  # epochs over which the learning rate first rises linearly to its value
    step_size: int | None = None  # step: epochs between drops
    milestones: list[int] | None = None  # multistep: epochs after which it drops
    gamma: float | None = None  # step, multistep: factor of a drop; exponential: factor per epoch
    final: float | None = None  # linear, cosine: share of optimizer.lr that is left at the end
    rise: float | None = None  # onecycle: share of the run in which the learning rate rises

    def __post_init__(self) -> None:
        in_range("scheduler.warmup", self.warmup, 0, math.inf)
        at_least("scheduler.step_size", self.step_size, 1)
        sizes("scheduler.milestones", self.milestones)
        if self.milestones is not None and self.milestones != sorted(set(self.milestones)):
            raise ConfigError("scheduler.milestones", self.milestones, "must rise")
        positive("scheduler.gamma", self.gamma)
        in_range("scheduler.final", self.final, 0, 1, closed=True)
        if self.rise is not None and not 0 < self.rise < 1:
            raise ConfigError("scheduler.rise", self.rise, "must be in (0, 1)")


@dataclass
class TrainerConfig:
    epochs: int = MISSING
    batch_size: int = MISSING  # images per step; an incomplete last batch of an epoch is left out
    eval_batch_size: int = 1000  # images per evaluation step
    label_smoothing: float = 0.0
    clip_grad_norm: float | None = None  # largest 2-norm of all gradients together; null: not clipped
    precision: str = "float32"  # float32: the numbers of plain float32; fast: gradients are rounded where products are then faster
    compile: bool = False  # torch.compile the training step; takes a C++ compiler, and its time at the start
    checkpoint_every: str | None = None  # also save within an epoch: 200 is every 200 steps, 60s every 60 seconds

    def __post_init__(self) -> None:
        if self.checkpoint_every is not None and not re.fullmatch(r"[1-9]\d*s?", self.checkpoint_every):
            raise ConfigError(
                "trainer.checkpoint_every", self.checkpoint_every, "must be a number of steps (200) or of seconds (60s)"
            )
        at_least("trainer.epochs", self.epochs, 1)
        if self.batch_size < 2:
            raise ConfigError(
                "trainer.batch_size",
                self.batch_size,
                "must be a whole number of at least 2: BatchNorm needs two images",
            )
        at_least("trainer.eval_batch_size", self.eval_batch_size, 1)
        in_range("trainer.label_smoothing", self.label_smoothing, 0, 1)
        check_choice("trainer.precision", self.precision, ("float32", "fast"))
        positive("trainer.clip_grad_norm", self.clip_grad_norm)


@dataclass
class EdgesConfig:
    # Each becomes a RuleConfig; not typed as such, since a command line cannot give a list of typed dicts.
    rules: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        typed = []
        for rule in self.rules:
            if not isinstance(rule, dict | RuleConfig):
                raise ConfigError("edges.rules", as_typed(rule), "every rule is {layers: NAME, what: ..., ...}")
            try:
                merged = OmegaConf.merge(OmegaConf.structured(RuleConfig), rule)
            except OmegaConfBaseException as error:
                takes = ", ".join(vars(RuleConfig)["__dataclass_fields__"])
                raise ConfigError("edges.rules", rule, f"{str(error).splitlines()[0]}; a rule takes {takes}") from error
            for key in ("layers", "what"):
                if OmegaConf.is_missing(merged, key):
                    raise ConfigError(f"edges.rules.{key}", None, "every rule needs it, as in {layers: linear2, what: freeze}")
            typed.append(OmegaConf.to_object(merged))
        self.rules = typed


@dataclass
class EvalConfig:
    mode: str = "deterministic"  # deterministic: without noise; ensemble: that, and the mean prediction of sampled networks
    samples: int | None = None  # networks in the ensemble; null: 10

    def __post_init__(self) -> None:
        check_choice("eval.mode", self.mode, ("deterministic", "ensemble"))
        at_least("eval.samples", self.samples, 1)
        if self.mode == "ensemble":
            self.samples = self.samples or 10
        elif self.samples is not None:
            raise ConfigError("eval.samples", self.samples, "is for an ensemble: add eval.mode=ensemble")


@dataclass
class LoggerConfig:
    tensorboard: bool = False  # also write tensorboard/ into the run directory


@dataclass
class SweepConfig:
    name: str | None = None  # of its directory, sweeps/NAME; null: the experiment's, or the swept keys

    def __post_init__(self) -> None:
        if self.name is not None and not re.fullmatch(r"[\w.+-]+", self.name):
            raise ConfigError("sweep.name", self.name, "must be a folder name of letters, digits and . _ + -")


@dataclass
class Config:
    data: DataConfig = MISSING
    model: ModelConfig = MISSING
    ste: SteConfig = MISSING
    weights: WeightsConfig = MISSING
    optimizer: OptimizerConfig = MISSING
    scheduler: SchedulerConfig = MISSING
    trainer: TrainerConfig = MISSING
    logger: LoggerConfig = MISSING
    eval: EvalConfig = field(default_factory=EvalConfig)
    edges: EdgesConfig = field(default_factory=EdgesConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)
    seed: int = 0
    device: str = "auto"  # auto, cpu, cuda, cuda:N or mps
    resume: str | None = None  # a run directory (or one of its checkpoints) to continue, in place
    init_from: str | None = None  # a run directory or checkpoint whose weights a new run starts with

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise ConfigError("seed", self.seed, "must be a whole number of at least 0, below 2^63")
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", self.device):
            raise ConfigError("device", self.device, "must be one of auto, cpu, cuda, cuda:N, mps")
        if self.resume is not None and self.init_from is not None:
            raise ConfigError("init_from", self.init_from, f"starts a new run, but resume={self.resume} continues one; choose one")
        if self.model.binarize_input and self.ste.name == "none":
            raise ConfigError("model.binarize_input", True, "needs an estimator, but ste=none leaves activations real")
        if self.model.binarize_output and self.ste.name == "none":
            raise ConfigError("model.binarize_output", True, "needs an estimator, but ste=none leaves activations real")
        if (self.optimizer.name == "bop") != (self.weights.name == "binary"):
            raise ConfigError("weights", self.weights.name, "weights=binary and optimizer=bop go together; use both, or neither")
        if self.optimizer.name == "bayesbinn" and (self.weights.noise, self.weights.scale) != ("logistic", 0.5):
            remedy = "optimizer=bayesbinn goes with weights=bayesbinn: logistic noise of scale 0.5"
            raise ConfigError("weights", self.weights.name, remedy)
        if self.optimizer.name != "bayesbinn" and self.weights.init is not None:
            raise ConfigError(
                "weights.init", self.weights.init, "goes with optimizer=bayesbinn; others could not turn such weights"
            )
        for rule in self.edges.rules:
            if rule.ramp is not None and rule.ramp[1] >= self.trainer.epochs:
                remedy = f"must end before the last of the {self.trainer.epochs} epochs, so that what is left is trained"
                raise ConfigError("edges.rules.ramp", rule.ramp, remedy)
        if self.scheduler.warmup > self.trainer.epochs:
            raise ConfigError("scheduler.warmup", self.scheduler.warmup, f"is longer than trainer.epochs={self.trainer.epochs}")
