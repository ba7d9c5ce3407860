import json
import math
from dataclasses import asdict, fields

import pytest
from omegaconf.errors import ConfigAttributeError, ValidationError

from bnn_train import models
from bnn_train.binary import weights
from bnn_train.cli.compose import CONFIGS
from bnn_train.config.checks import Group, flat
from bnn_train.config.edges import RULES
from bnn_train.config.root import OPTIONS as OPTIONS_OF
from bnn_train.config.root import SEVERAL, WHOLE, Config, typed
from bnn_train.errors import ConfigError, as_typed
from bnn_train.optim import optimizers, schedules

GROUPS = [
    each.name for each in fields(Config) if isinstance(each.type, type) and issubclass(each.type, Group) and each.name != "sweep"
] + [SEVERAL]
# protocol is bnn-lab's; tests/lab has its checks.
OPTIONS = [f"{path.parent.name}={path.stem}" for path in CONFIGS.glob("*/*.yaml") if path.parent.name != "protocol"]


PAIRS = {
    "weights=binary": ["optimizer=bop"],
    "weights=bayesbinn": ["optimizer=bayesbinn"],
    "ste=stompp": ["weights=stompp"],
    "distill=logits": ["distill.teacher=outputs/real"],
    "distill=attention": ["distill.teacher=outputs/real"],
}
BINARY = {typed: weights for weights, (typed,) in PAIRS.items() if typed.startswith("optimizer=")}


def test_every_group_is_a_folder():
    assert sorted([*GROUPS, *WHOLE, "hydra", "protocol"]) == sorted(path.name for path in CONFIGS.iterdir() if path.is_dir())


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_composes_and_builds(compose, option):
    config = compose(option, *PAIRS.get(option, []))
    model = models.build(config, (3, 32, 32), 10)
    optimizers.build(config.optimizer, model, 100)
    assert 0 < schedules.build(config.scheduler, 10, config.trainer.epochs)(0) <= 1
    weights.build(config.weights, config.ste)


@pytest.mark.parametrize("option", [option for option in OPTIONS if option.startswith(("experiment", "trainer"))])
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
    """An experiment that sets a value which only its own options take would make a sweep over options fail.

    Where it brings weights, and the other optimizer needs some of its own, both are typed.
    """
    both = BINARY.get(other, "") if compose(option).weights.ste is not None else ""
    config = compose(option, *other.split(), *both.split())
    model = models.build(config, (3, 32, 32), 10)
    optimizers.build(config.optimizer, model, 100)
    schedules.build(config.scheduler, 10, config.trainer.epochs)


def test_an_experiment_overrides_the_defaults_and_the_command_line_overrides_it(compose):
    assert compose("experiment=mnist_mlp").model.hidden == [2048] * 3
    assert compose("experiment=mnist_mlp", "model.hidden=[64]").model.hidden == [64]


def test_the_recipe_of_the_classic_mlp(compose):
    config = compose("experiment=mnist_mlp")
    assert (config.data.name, config.data.mean, config.data.std, config.data.val_size) == ("mnist", [0.5], [0.5], 0)
    assert (config.model.name, config.model.hidden, config.model.dropout) == ("mlp", [2048, 2048, 2048], 0.2)
    assert not config.model.binarize_input
    assert not config.model.binarize_output
    assert (config.ste.name, config.ste.clip, config.weights.name, config.weights.clip) == ("clipped", 1.0, "sign", 1.0)
    assert (config.optimizer.name, config.optimizer.lr, config.trainer.batch_size, config.trainer.epochs) == (
        "adam",
        0.003,
        100,
        100,
    )
    assert (config.scheduler.name, config.data.crop_padding) == ("cosine", 2)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=-1", "seed=-1: must be a whole number of at least 0, below 2^63"),
        ("device=gpu", "device=gpu: must be one of auto, cpu, cuda, cuda:N, mps"),
        ("data.val_size=-1", "data.val_size=-1: must be a whole number of at least 0"),
        ("data.mean=[nan]", "data.mean=nan: must be a finite number"),
        ("trainer.epochs=9223372036854775808", "trainer.epochs=9223372036854775808: must be below 2^63"),
        ("model.hidden=[[16]]", "model.hidden=[[16]]: must be a list of whole numbers of at least 1, as in [32,64]"),
        ("data.image_size=0", "data.image_size=0: must be a whole number of at least 1, two of them, [height,width], or null"),
        *(
            (f"data.image_size={value}", f"data.image_size={value}: must be a whole number of at least 1")
            for value in ("[48]", "[48,0]", "[48,64,3]", "48.5", "[48,true]", "[[48,64]]", "true", "48x64", "[]", "-1")
        ),
        ("data.fit=fill", "data.fit=fill: must be one of crop, pad, stretch"),
        ("data.test_fraction=1", "data.test_fraction=1.0: must be in (0, 1)"),
        ("data.std=[0]", "data.std=[0.0]: every number must be a number above 0"),
        ("data.mean=[0.1,0.2]", "data.mean=[0.1,0.2]: needs as many values as data.std=[0.5]"),
        ("model.hidden=[64,0]", "model.hidden=[64,0]: every number must be a whole number of at least 1"),
        ("model.dropout=1", "model.dropout=1.0: must be in [0, 1)"),
        ("model.dropout=-0.1", "model.dropout=-0.1: must be in [0, 1)"),
        ("model=cnn model.kernel_size=4", "model.kernel_size=4: must be odd, so that images keep their size"),
        ("model=cnn model.stages=[[8],[]]", "model.stages=[[8],[]]: every stage needs at least one convolution"),
        ("model=cnn model.stages=[[-8]]", "model.stages=[[-8]]: every number must be a whole number of at least 1"),
        ("model=cnn model.pad_value=2", "model.pad_value=2: must be one of 0, 1, -1"),
        ("ste.clip=0", "ste.clip=0.0: must be a number above 0"),
        ("ste=logistic ste.scale=0", "ste.scale=0.0: must be a number above 0"),
        ("ste=gumbel ste.temperature=-1", "ste.temperature=-1.0: must be a number above 0"),
        ("weights.clip=-1", "weights.clip=-1.0: must be a number above 0"),
        ("weights=stochastic weights.scale=0", "weights.scale=0.0: must be a number above 0"),
        ("weights=stochastic weights.kl=-1", "weights.kl=-1.0: must be a number of at least 0"),
        ("optimizer=bop optimizer.threshold=-1", "optimizer.threshold=-1.0: must be a number of at least 0"),
        ("optimizer=bop optimizer.gamma=0", "optimizer.gamma=0.0: must be in (0, 1]"),
        ("optimizer=bayesbinn optimizer.natural_lr=1.5", "optimizer.natural_lr=1.5: must be in (0, 1]"),
        ("optimizer=bop optimizer.scheduled=[lr]", "optimizer.scheduled=lr: must be one of gamma, threshold"),
        ("eval.mode=mean", "eval.mode=mean: must be one of deterministic, ensemble"),
        ("eval.mode=ensemble", "eval.mode=ensemble: names an option, and comes with its keys: choose it with eval=ensemble"),
        ("weights=bayesbinn", "weights=bayesbinn: weights=bayesbinn and optimizer=bayesbinn go together; use both, or neither"),
        ("eval=ensemble eval.samples=0", "eval.samples=0: must be a whole number of at least 1"),
        ("optimizer.lr=0", "optimizer.lr=0.0: must be a number above 0"),
        ("optimizer.lr=nan", "optimizer.lr=nan: must be a finite number"),
        ("optimizer.lr=inf", "optimizer.lr=inf: must be a finite number"),
        ("optimizer.weight_decay=-1", "optimizer.weight_decay=-1.0: must be a number of at least 0"),
        ("optimizer.betas=[0.9,1]", "optimizer.betas=[0.9,1.0]: every number must be in [0, 1)"),
        ("optimizer=sgd optimizer.nesterov=true optimizer.momentum=0", "optimizer.nesterov=true: needs optimizer.momentum above 0"),
        ("scheduler.warmup=-1", "scheduler.warmup=-1.0: must be a number of at least 0"),
        ("scheduler.warmup=21", "scheduler.warmup=21.0: is longer than trainer.epochs=20"),
        ("scheduler=multistep scheduler.milestones=[3,2]", "scheduler.milestones=[3,2]: must rise"),
        ("scheduler=exponential scheduler.gamma=0", "scheduler.gamma=0.0: must be a number above 0"),
        ("scheduler=step scheduler.step_size=0", "scheduler.step_size=0: must be a whole number of at least 1"),
        ("scheduler.final=1.1", "scheduler.final=1.1: must be in [0, 1]"),
        ("scheduler=onecycle scheduler.rise=1", "scheduler.rise=1.0: must be in (0, 1)"),
        ("trainer.epochs=0", "trainer.epochs=0: must be a whole number of at least 1"),
        ("trainer.batch_size=1", "trainer.batch_size=1: must be a whole number of at least 2: BatchNorm needs two images"),
        ("trainer.eval_batch_size=0", "trainer.eval_batch_size=0: must be a whole number of at least 1"),
        ("trainer.label_smoothing=1", "trainer.label_smoothing=1.0: must be in [0, 1)"),
        ("optimizer.betas=[0.9]", "optimizer.betas=[0.9]: must be two numbers in [0, 1)"),
        ("trainer.max_steps=0", "trainer.max_steps=0: must be a whole number of at least 1"),
        ("trainer.keep=some", "trainer.keep=some: must be one of result, last, all"),
        ("data.train_limit=1", "data.train_limit=1: must be a whole number of at least 2"),
        (
            "model=resnet20 block=plain",
            "block=plain: model=resnet20 has shortcuts: use block=bireal, resnet or another with shortcuts",
        ),
        ("model=resnet20 model.downsample=max", "model.downsample=max: must be one of conv, pool"),
        ("weights.prepare=whiten", "weights.prepare=whiten: must be one of none, centre, standardise, quantile"),
        ("weights.tau=0.8", "weights.tau=0.8: is for weights.prepare=quantile, not for none"),
        ("weights.tau_end=0.99", "weights.tau_end=0.99: is for weights.prepare=quantile, not for none"),
        ("weights.prepare=quantile weights.tau_end=0.9", "weights.tau_end=0.9: must be above weights.tau=0.9, from which it rises"),
        ("weights.prepare=quantile weights.tau_end=1", "weights.tau_end=1.0: must be in (0.5, 1)"),
        (
            "weights.prepare=quantile weights.tau_end=0.99 weights.scaling=mean",
            "weights.tau_end=0.99: weights.scaling=mean is computed from what tau clamps, so that it would change without a",
        ),
        ("weights.prepare=quantile weights.tau=1", "weights.tau=1.0: must be in (0.5, 1)"),
        ("optimizer=bop weights.scaling=mean", "weights.scaling=mean: must be one of none, learned"),
        ("trainer.ema=1", "trainer.ema=1.0: must be in (0, 1)"),
        ("trainer.result=best", "trainer.result=best: must be one of auto, last, averaged, recalibrated"),
        ("trainer.result=averaged", "trainer.result=averaged: needs an average: trainer.ema=0.999, or another share of its own"),
        ("trainer.result=recalibrated", "trainer.result=recalibrated: needs trainer.recalibrate=true"),
        ("trainer.patience=0 data.val_size=9", "trainer.patience=0: must be a whole number of at least 1"),
        (
            "trainer.patience=5",
            "trainer.patience=5: needs held-out images: data.val_size=N holds out N training images, and image_folder reads a val/",
        ),
        ("data.mixup=-0.1", "data.mixup=-0.1: must be in [0, 100]"),
        ("data.mixup=1e308", "data.mixup=1e+308: must be in [0, 100]"),
        ("distill=logits distill.teacher=''", "distill.teacher=: needs a run directory, a checkpoint or an exported file"),
        (
            "distill=logits distill.teacher=t distill.logits=0",
            "distill.logits=0.0: with distill.attention=0 the teacher teaches nothing; give one of them a weight, or choose ",
        ),
        ("distill=logits distill.teacher=t distill.logits=-1", "distill.logits=-1.0: must be a number of at least 0"),
        ("distill=logits distill.teacher=t distill.temperature=0", "distill.temperature=0.0: must be a number above 0"),
        ("distill=attention distill.teacher=t distill.at=[a,a]", "distill.at=[a,a]: must be names of layers, each once"),
        (
            "distill=attention distill.teacher=t trainer.compile=true",
            "distill.attention=30.0: looks into the network's layers, which trainer.compile=true takes apart; leave one of them o",
        ),
        ("trainer.clip_grad_norm=0", "trainer.clip_grad_norm=0.0: must be a number above 0"),
    ],
)
def test_a_bad_value_is_named_with_the_remedy(compose, override, message):
    with pytest.raises(ConfigError) as caught:
        compose(*override.split())
    assert str(caught.value).startswith(message)


def test_patience_may_be_typed_where_a_run_is_continued(compose):
    """Its own configuration says which images it has held out."""
    assert compose("resume=run", "trainer.patience=5").trainer.patience == 5


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["ste=none", "ste.stochastic=true"], "ste.stochastic"),
        (["ste=none", "model.binarize_input=true"], "model.binarize_input"),
        (["ste=none", "model.binarize_output=true"], "model.binarize_output"),
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


def test_hydra_refuses_wrong_types_and_keys_that_the_option_does_not_take(compose):
    with pytest.raises(Exception, match=r"ste\.clip") as caught:
        compose("ste.clip=abc")
    assert isinstance(caught.value.__cause__, ValidationError)
    for overrides in (["ste.klip=1"], ["model.stages=[[8]]"], ["ste=tanh", "ste.clip=1"], ["weights=real", "weights.ste=tanh"]):
        with pytest.raises(Exception, match="Could not override") as caught:
            compose(*overrides)
        assert isinstance(caught.value.__cause__, ConfigAttributeError)


def test_every_key_of_the_configuration_says_what_it_means():
    kinds = [each.type for each in fields(Config) if isinstance(each.type, type) and issubclass(each.type, Group)]
    for kind in [*kinds, *(kind for options in OPTIONS_OF.values() for kind in options.values()), *RULES.values()]:
        for each in fields(kind):
            assert each.metadata.get("meaning") or each.name in ("name", "mode", "edges"), (kind, each.name)


# Keys whose null says something: not limited, not clipped, the images' own size, no file.
NULL_SAYS_SOMETHING = {
    *("data.train_limit", "data.test_limit", "data.image_size", "data.crop_padding"),
    *("weights.clip", "weights.ste", "weights.tau_end", "trainer.clip_grad_norm"),
    *("logger.wandb.project", "logger.wandb.mode", "logger.mlflow.uri", "logger.mlflow.experiment"),
    *("trainer.checkpoint_every", "trainer.max_steps", "trainer.ema", "trainer.patience", "sweep.name", "resume", "init_from"),
}


@pytest.mark.parametrize("option", OPTIONS)
def test_a_configuration_survives_the_way_through_a_checkpoint_and_no_key_is_null_because_another_option_needs_it(compose, option):
    config = compose(option, *PAIRS.get(option, []))
    assert typed(json.loads(json.dumps(asdict(config)))) == config
    if "experiment" not in option:
        assert {key for key, value in flat(asdict(config)).items() if value is None} <= NULL_SAYS_SOMETHING


def test_a_key_of_another_version_is_named(compose):
    tree = asdict(compose())
    tree["ste"]["slope"] = None  # says nothing
    assert typed(tree) == compose()
    tree["ste"]["slope"] = 2
    with pytest.raises(ConfigError, match=r"ste\.slope=2: is a key of another version of bnn-train"):
        typed(tree)


@pytest.mark.parametrize(("before", "now"), [(True, "per_conv"), (False, "none")])
def test_a_shortcut_of_a_version_with_one_kind_is_understood(compose, before, now):
    tree = {**asdict(compose()), "block": {"name": "bireal" if before else "plain", "shortcut": before}}
    assert typed(tree).block.shortcut == now


def test_values_read_as_they_are_typed():
    assert [as_typed(value) for value in (None, True, [1, [2.5]], "x", math.inf)] == ["null", "true", "[1,[2.5]]", "x", "inf"]
