import math

import pytest
from omegaconf.errors import ConfigAttributeError, ValidationError

from bnn_train import models
from bnn_train.binary import weights
from bnn_train.cli import CONFIGS
from bnn_train.config import Config
from bnn_train.errors import ConfigError, as_typed
from bnn_train.optim import optimizers, schedules

GROUPS = [
    field for field in vars(Config)["__dataclass_fields__"] if field not in ("seed", "device", "resume", "init_from", "sweep")
]
# protocol is bnn-lab's; tests/lab has its checks.
OPTIONS = [f"{path.parent.name}={path.stem}" for path in CONFIGS.glob("*/*.yaml") if path.parent.name != "protocol"]


def test_every_group_is_a_folder():
    assert sorted([*GROUPS, "experiment", "hydra", "protocol"]) == sorted(path.name for path in CONFIGS.iterdir() if path.is_dir())


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_composes_and_builds(compose, option):
    config = compose(option, *{"weights=binary": ["optimizer=bop"], "weights=bayesbinn": ["optimizer=bayesbinn"]}.get(option, []))
    model = models.build(config, (3, 32, 32), 10)
    optimizers.build(config.optimizer, model, 100)
    assert 0 < schedules.build(config.scheduler, 10, config.trainer.epochs)(0) <= 1
    weights.build(config.weights, config.ste)


@pytest.mark.parametrize("option", [option for option in OPTIONS if option.startswith(("experiment", "trainer", "data"))])
@pytest.mark.parametrize(
    "other",
    [
        "ste=tanh",
        "ste=none",
        "weights=real weights.clip=null",
        "optimizer=sgd",
        "optimizer=bop",
        "optimizer=bayesbinn",
        "scheduler=cosine",
    ],
)
def test_every_experiment_lets_its_parts_be_exchanged(compose, option, other):
    """An experiment that sets a value which only its own options take would make a sweep over options fail."""
    config = compose(option, *other.split())
    model = models.build(config, (3, 32, 32), 10)
    optimizers.build(config.optimizer, model, 100)
    schedules.build(config.scheduler, 10, config.trainer.epochs)


def test_an_experiment_overrides_the_defaults_and_the_command_line_overrides_it(compose):
    assert compose("experiment=mnist_mlp").model.hidden == [2048] * 3
    assert compose("experiment=mnist_mlp", "model.hidden=[64]").model.hidden == [64]


def test_the_classic_script_to_the_letter(compose):
    config = compose("experiment=mnist_mlp")
    assert (config.data.name, config.data.mean, config.data.std, config.data.val_size) == ("mnist", [0.5], [0.5], 0)
    assert (config.model.name, config.model.hidden, config.model.dropout) == ("mlp", [2048, 2048, 2048], 0.5)
    assert not config.model.binarize_input
    assert not config.model.binarize_output
    assert (config.ste.name, config.ste.clip, config.weights.name, config.weights.clip) == ("clipped", 1.0, "sign", None)
    assert (config.optimizer.name, config.optimizer.lr, config.trainer.batch_size, config.trainer.epochs) == (
        "adam",
        0.01,
        100,
        100,
    )
    assert (config.scheduler.name, config.scheduler.step_size, config.scheduler.gamma) == ("step", 40, 0.1)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=-1", "seed=-1: must be a whole number of at least 0, below 2^63"),
        ("device=gpu", "device=gpu: must be one of auto, cpu, cuda, cuda:N, mps"),
        ("data.val_size=-1", "data.val_size=-1: must be a whole number of at least 0"),
        ("data.image_size=0", "data.image_size=0: must be a whole number of at least 1"),
        ("data.test_fraction=1", "data.test_fraction=1.0: must be in (0, 1)"),
        ("data.std=[0]", "data.std=0.0: must be a number above 0"),
        ("data.mean=[0.1,0.2]", "data.mean=[0.1,0.2]: needs as many values as data.std=[0.5]"),
        ("model.hidden=[64,0]", "model.hidden=[64,0]: every size must be a whole number of at least 1"),
        ("model.dropout=1", "model.dropout=1.0: must be in [0, 1)"),
        ("model.dropout=-0.1", "model.dropout=-0.1: must be in [0, 1)"),
        ("model.kernel_size=4", "model.kernel_size=4: must be an odd whole number, so that images keep their size"),
        ("model.stages=[[8],[]]", "model.stages=[[8],[]]: every stage needs at least one convolution"),
        ("model.stages=[[-8]]", "model.stages=[-8]: every size must be a whole number of at least 1"),
        ("model.pad_value=2", "model.pad_value=2: must be one of 0, 1, -1"),
        ("ste.clip=0", "ste.clip=0.0: must be a number above 0"),
        ("ste.scale=0", "ste.scale=0.0: must be a number above 0"),
        ("ste.temperature=-1", "ste.temperature=-1.0: must be a number above 0"),
        ("weights.clip=-1", "weights.clip=-1.0: must be a number above 0"),
        ("weights.scale=0", "weights.scale=0.0: must be a number above 0"),
        ("weights.kl=-1", "weights.kl=-1.0: must be in [0, inf)"),
        ("optimizer.threshold=-1", "optimizer.threshold=-1.0: must be in [0, inf)"),
        ("optimizer.gamma=0", "optimizer.gamma=0.0: must be in (0, 1]"),
        ("optimizer.natural_lr=1.5", "optimizer.natural_lr=1.5: must be in (0, 1]"),
        ("optimizer.scheduled=[lr]", "optimizer.scheduled=lr: must be one of gamma, threshold"),
        ("eval.mode=mean", "eval.mode=mean: must be one of deterministic, ensemble"),
        ("eval.samples=5", "eval.samples=5: is for an ensemble: add eval.mode=ensemble"),
        ("weights=bayesbinn", "weights.init=10.0: goes with optimizer=bayesbinn; others could not turn such weights"),
        ("eval.samples=0", "eval.samples=0: must be a whole number of at least 1"),
        ("optimizer.lr=0", "optimizer.lr=0.0: must be a number above 0"),
        ("optimizer.lr=nan", "optimizer.lr=nan: must be a number above 0"),
        ("optimizer.lr=inf", "optimizer.lr=inf: must be a number above 0"),
        ("optimizer.weight_decay=-1", "optimizer.weight_decay=-1.0: must be in [0, inf)"),
        ("optimizer.betas=[0.9,1]", "optimizer.betas=[0.9,1.0]: must be two numbers in [0, 1)"),
        ("optimizer.nesterov=true", "optimizer.nesterov=true: needs optimizer.momentum above 0, for example 0.9"),
        ("scheduler.warmup=-1", "scheduler.warmup=-1.0: must be in [0, inf)"),
        ("scheduler.warmup=21", "scheduler.warmup=21.0: is longer than trainer.epochs=20"),
        ("scheduler.milestones=[3,2]", "scheduler.milestones=[3,2]: must rise"),
        ("scheduler.gamma=0", "scheduler.gamma=0.0: must be a number above 0"),
        ("scheduler.step_size=0", "scheduler.step_size=0: must be a whole number of at least 1"),
        ("scheduler.final=1.1", "scheduler.final=1.1: must be in [0, 1]"),
        ("scheduler.rise=1", "scheduler.rise=1.0: must be in (0, 1)"),
        ("trainer.epochs=0", "trainer.epochs=0: must be a whole number of at least 1"),
        ("trainer.batch_size=1", "trainer.batch_size=1: must be a whole number of at least 2: BatchNorm needs two images"),
        ("trainer.eval_batch_size=0", "trainer.eval_batch_size=0: must be a whole number of at least 1"),
        ("trainer.label_smoothing=1", "trainer.label_smoothing=1.0: must be in [0, 1)"),
        ("trainer.clip_grad_norm=0", "trainer.clip_grad_norm=0.0: must be a number above 0"),
    ],
)
def test_a_bad_value_is_named_with_the_remedy(compose, override, message):
    with pytest.raises(ConfigError) as caught:
        compose(override)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["ste=none", "ste.stochastic=true"], "ste.stochastic"),
        (["ste=none", "model.binarize_input=true"], "model.binarize_input"),
        (["ste=none", "model.binarize_output=true"], "model.binarize_output"),
        (["weights=real", "weights.clip=1"], "weights.clip"),
        (["weights=real", "weights.ste=tanh"], "weights.ste"),
        (["weights=binary", "optimizer=bop", "weights.clip=1"], "weights.clip"),
        (["optimizer=bop", "weights=sign"], "weights"),
        (["optimizer=adam", "weights=binary"], "weights"),
        (["optimizer=bayesbinn", "weights=sign"], "weights"),
        (["optimizer=bayesbinn", "weights=stochastic"], "weights"),
    ],
)
def test_values_that_contradict_each_other(compose, overrides, key):
    with pytest.raises(ConfigError) as caught:
        compose(*overrides)
    assert caught.value.key == key


def test_hydra_refuses_wrong_types_and_unknown_keys(compose):
    with pytest.raises(Exception, match=r"ste\.clip") as caught:
        compose("ste.clip=abc")
    assert isinstance(caught.value.__cause__, ValidationError)
    with pytest.raises(Exception, match="klip") as caught:
        compose("ste.klip=1")
    assert isinstance(caught.value.__cause__, ConfigAttributeError)


def test_values_read_as_they_are_typed():
    assert [as_typed(value) for value in (None, True, [1, [2.5]], "x", math.inf)] == ["null", "true", "[1,[2.5]]", "x", "inf"]
