"""Settings that do nothing, told from the configuration alone: what a run says at its start and does not refuse."""

from collections.abc import Iterator
from dataclasses import fields

from bnn_train.config.data import WITHOUT_VAL, DataConfig
from bnn_train.config.distill import TeacherConfig
from bnn_train.config.model import MlpConfig
from bnn_train.config.optimizer import BayesBinnOptimizerConfig, BopConfig, SgdConfig
from bnn_train.config.root import Config
from bnn_train.config.scheduler import ExponentialConfig, FinalConfig, MultistepConfig, StepConfig
from bnn_train.config.trainer import EnsembleConfig
from bnn_train.config.weights import StochasticConfig, StomppConfig
from bnn_train.errors import as_typed

# The keys of `data` that the readers which come with the package do not look at.
_OF_FOLDERS = ("image_size", "fit", "grayscale", "cache_dir", "memory")
_IGNORED = {
    "digits": (*_OF_FOLDERS, "root"),
    **dict.fromkeys(("mnist", "fashion_mnist", "kmnist", "cifar10", "cifar100"), (*_OF_FOLDERS, "test_fraction")),
}


def notes(config: Config, steps: int | None = None) -> list[str]:
    """A line for each setting that does nothing in this run, `key=value: why`; none for most configurations.

    steps: in an epoch, where they are known. Without them nothing is said of what is counted in steps.
    """
    found = [*_of_the_schedule(config, steps), *_of_the_optimizer(config), *_of_the_data(config), *_of_the_end(config, steps)]
    found += [*_of_the_windows(config, steps), *_of_the_result(config), *_of_the_teacher(config)]
    if isinstance(config.eval, EnsembleConfig) and not (config.ste.stochastic or config.weights.drawn):
        why = f"nothing is drawn with ste.stochastic=false and weights={config.weights.name}, so every network of it is the same"
        found.append(_line("eval", config.eval.mode, why))
    if isinstance(config.model, MlpConfig) and config.model.dropout and not config.model.hidden:
        found.append(_line("model.dropout", config.model.dropout, "follows the last hidden linear layer, of which there is none"))
    if config.block.gate and config.model.name == "mlp":
        found.append(_line("block.gate", True, "is for convolutions, and model=mlp has none"))
    if isinstance(config.weights, StochasticConfig) and config.weights.kl and not _takes_plain_steps(config):
        why = "is in the units of the loss with optimizer=sgd optimizer.momentum=0 alone; beside other steps the prior weighs less"
        found.append(_line("weights.kl", config.weights.kl, why))
    for rule in config.edges.rules:
        if rule.strength == 0:
            found.append(_line("edges.rules.strength", rule.strength, f"penalises nothing in {rule.layers}"))
    return found


def _takes_plain_steps(config: Config) -> bool:
    return isinstance(config.optimizer, SgdConfig) and config.optimizer.momentum == 0


def _line(key: str, value: object, why: str) -> str:
    return f"{key}={as_typed(value)}: {why}"


def _of_the_schedule(config: Config, steps: int | None) -> Iterator[str]:
    scheduler, epochs = config.scheduler, _epochs(config, steps)
    constant = "the learning rate stays as it is"
    length = f"the run, {epochs:.4g} epoch{'s' if epochs != 1 else ''}"
    if isinstance(scheduler, MultistepConfig):
        behind = [milestone for milestone in scheduler.milestones if milestone >= epochs]
        if scheduler.milestones and behind == scheduler.milestones:
            yield _line("scheduler.milestones", scheduler.milestones, f"all lie behind the end of {length}: {constant}")
        elif behind:
            many = "lies" if len(behind) == 1 else "lie"
            which = ", ".join(map(str, behind))
            yield _line("scheduler.milestones", scheduler.milestones, f"{which} {many} behind the end of {length}")
        elif not scheduler.milestones:
            yield _line("scheduler.milestones", scheduler.milestones, f"there is none: {constant}")
    if isinstance(scheduler, StepConfig) and scheduler.step_size >= epochs:
        yield _line("scheduler.step_size", scheduler.step_size, f"the first drop lies behind the end of {length}: {constant}")
    if isinstance(scheduler, ExponentialConfig) and epochs <= 1:
        yield _line("scheduler", scheduler.name, f"drops after each epoch, but there is no second one in {length}: {constant}")
    if isinstance(scheduler, StepConfig | MultistepConfig | ExponentialConfig) and scheduler.gamma == 1:
        yield _line("scheduler.gamma", scheduler.gamma, f"a factor of 1: {constant}")
    if isinstance(scheduler, FinalConfig) and scheduler.final == 1:
        yield _line("scheduler.final", scheduler.final, f"all is left at the end: {constant}")
    if steps is not None and 0 < scheduler.warmup * steps <= 1:
        yield _line("scheduler.warmup", scheduler.warmup, f"is not longer than a step; an epoch has {steps}")


def _of_the_optimizer(config: Config) -> Iterator[str]:
    optimizer = config.optimizer
    if optimizer.decay_norm_and_bias and not optimizer.weight_decay:
        yield _line("optimizer.decay_norm_and_bias", True, "there is no decay, optimizer.weight_decay=0")
    if optimizer.weight_decay and isinstance(optimizer, BopConfig | BayesBinnOptimizerConfig):
        why = f"holds for the real weights alone; {optimizer.name} decays none of the binary ones"
        yield _line("optimizer.weight_decay", optimizer.weight_decay, why)


def _of_the_data(config: Config) -> Iterator[str]:
    defaults = {each.name: each.default for each in fields(DataConfig)}
    for name in _IGNORED.get(config.data.name, ()):
        value = getattr(config.data, name)
        if value != defaults[name]:
            whose = "which has a test set of its own" if name == "test_fraction" else "which comes as it is"
            yield _line(f"data.{name}", value, f"is not for data={config.data.name}, {whose}")
    if config.data.crop == "random_resized" and config.data.crop_padding:
        why = "is for data.crop=padded, and the images are cropped by data.crop=random_resized"
        yield _line("data.crop_padding", config.data.crop_padding, why)
    if config.data.name == "image_folder" and config.data.size is None and config.data.fit != "crop":
        yield _line("data.fit", config.data.fit, "does nothing with data.image_size=null, which leaves the images' size as it is")


def _of_the_end(config: Config, steps: int | None) -> Iterator[str]:
    trainer = config.trainer
    if steps is None:
        return
    total = trainer.epochs * steps
    if trainer.max_steps is not None and trainer.max_steps > total:
        why = f"the run ends before, after trainer.epochs={trainer.epochs} of {steps} steps each"
        yield _line("trainer.max_steps", trainer.max_steps, why)
    total = min(total, trainer.max_steps or total)
    every = trainer.checkpoint_every
    if every is not None and not every.endswith("s") and int(every) >= total:
        why = f"the run has {total} steps in all; it is saved after each epoch, and when it is stopped"
        yield _line("trainer.checkpoint_every", every, why)


def _of_the_windows(config: Config, steps: int | None) -> Iterator[str]:
    weights, trainer = config.weights, config.trainer
    if steps is None or not isinstance(weights, StomppConfig):
        return
    total = trainer.epochs * steps
    epoch, step = divmod(min(total, trainer.max_steps or total) - 1, steps)
    if (epoch + step / steps) / trainer.epochs < weights.end:
        why = f"the windows end at {weights.end:.0%} of {total} steps, and the run before: its network will not be binary"
        yield _line("weights.end", weights.end, why)


def _of_the_result(config: Config) -> Iterator[str]:
    trainer = config.trainer
    if trainer.patience is not None and trainer.patience >= trainer.epochs:
        yield _line("trainer.patience", trainer.patience, f"the run ends before, after trainer.epochs={trainer.epochs}")
    if trainer.result != "auto" or config.data.val_size or config.data.name not in WITHOUT_VAL:
        return
    for name, value, result in (("ema", trainer.ema, "averaged"), ("recalibrate", trainer.recalibrate or None, "recalibrated")):
        if value is not None:
            why = f"is measured alone; to get that network take trainer.result={result}, or data.val_size=N images that choose it"
            yield _line(f"trainer.{name}", value, why)


def _of_the_teacher(config: Config) -> Iterator[str]:
    teacher, trainer = config.distill, config.trainer
    if not isinstance(teacher, TeacherConfig):
        return
    if teacher.temperature != 1 and not teacher.logits:
        yield _line("distill.temperature", teacher.temperature, "is for the class scores, which distill.logits=0 leaves out")
    if teacher.at and not teacher.attention:
        yield _line("distill.at", teacher.at, "says where attention is matched, and distill.attention=0 leaves it out")
    if not teacher.labels:
        why = "is for the loss of the labels, which distill.labels=0 leaves out"
        if trainer.label_smoothing:
            yield _line("trainer.label_smoothing", trainer.label_smoothing, why)
        if trainer.class_weights != "none":
            yield _line("trainer.class_weights", trainer.class_weights, why)


def _epochs(config: Config, steps: int | None) -> float:
    """How long the run is."""
    trainer = config.trainer
    if trainer.max_steps is None or steps is None:
        return trainer.epochs
    return min(trainer.epochs, trainer.max_steps / steps)
