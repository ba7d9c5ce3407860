"""Each mistake of what can be typed, and the one line that answers it."""

import pytest
import yaml

from bnn_train.cli.hydra_errors import is_of_the_configuration
from bnn_train.cli.mistyped import reads

STES = "must be one of approx_sign, clamped_grad, clipped,"


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        # options
        ("ste=foo", f"ste=foo: {STES}"),
        ("optimizer=null", "optimizer=null: must be one of adam, adamw, bayesbinn, bop, "),
        ("logger=null", "logger=null: must be one of csv, files, mlflow, tensorboard, wandb"),
        (
            "logger=csv,wandb",
            "logger=csv,wandb: gives several values, which is a sweep and needs -m; without it choose one of csv, files, mlflow, "
            "tensorboard, wandb, or several as a list, logger=[csv,wandb]",
        ),
        (
            "logger=[csv,wand]",
            "logger=[csv,wand]: there is no logger wand, only csv, files, mlflow, tensorboard, wandb; did you mean",
        ),
        ("logger=[csv,csv]", "logger=[csv,csv]: names csv twice"),
        ("logger.tensorboard=true", "logger.tensorboard=true: is no key but a logger: choose it with logger=tensorboard, or"),
        ("logger.project=p", "logger.wandb.project=p: is a key of logger=wandb, which is not chosen; add logger=wandb, or"),
        ("logger=wandb logger.wandb.size=1", "logger.wandb.size=1: logger.wandb takes logger.wandb.project, logger.wandb.mode"),
        ("logger=wandb logger.projekt=p", "logger.projekt=p: there is no such key; did you mean logger.project?"),
        ("logger=csv logger.csv.size=1", "logger.csv.size=1: logger.csv takes no keys"),
        ("logger.mine.size=1", "logger.mine.size=1: there is no logger mine, only csv, files,"),
        ("logger=wandb logger.mode=of", "logger.wandb.mode=of: must be one of online, offline, disabled"),
        ("scheduler=null", "scheduler=null: must be one of constant, cosine,"),
        ("trainer=2", "trainer=2: must be one of default"),
        ("optimizer=", "optimizer=: must be one of adam, adamw,"),
        ("experiment=nope", "experiment=nope: must be one of cifar10_cnn,"),
        ("+optimizer=sgd", "+optimizer=sgd: the group has its option already; type optimizer=sgd"),
        ("++optimizer=sgd", "++optimizer=sgd: a group has its option already; type optimizer=sgd"),
        ("~ste", f"~ste: {STES}"),
        ("~optimizer=sgd", "~optimizer=sgd: cannot be taken away; choose one of adam,"),
        ("hydra/launcher=nosuch", "hydra/launcher=nosuch: must be one of basic"),
        ("hydra/launcher=null", "hydra/launcher=null: must be the name of an option; leave it out for Hydra's own"),
        (
            "model=mlp,cnn",
            "model=mlp,cnn: gives several values, which is a sweep and needs -m; without it choose one of binarynet, cnn,",
        ),
        # keys
        ("stee=tanh", "stee=tanh: there is no such key; did you mean ste?"),
        ("STE=tanh", "STE=tanh: there is no such key; did you mean ste?"),
        ("ste.klip=1", "ste.klip=1: there is no such key; did you mean ste.clip?"),
        ("lr=0.1", "lr=0.1: there is no such key; did you mean optimizer.lr?"),
        ("epochs=5", "epochs=5: there is no such key; did you mean trainer.epochs?"),
        ("trainer.lr=0.1", "trainer.lr=0.1: there is no such key; did you mean optimizer.lr?"),
        ("optimizer.learning_rate=0.1", "optimizer.learning_rate=0.1: there is no such key; did you mean optimizer.lr?"),
        ("trainer.batchsize=5", "trainer.batchsize=5: there is no such key; did you mean trainer.batch_size?"),
        ("optimizer/lr=0.1", "optimizer/lr=0.1: there is no such key; did you mean optimizer.lr?"),
        ("trainer.early_stopping=3", "trainer.early_stopping=3: trainer takes trainer.epochs, trainer.batch_size,"),
        ("+trainer.early_stopping=3", "trainer.early_stopping=3: trainer takes trainer.epochs, trainer.batch_size,"),
        ("early_stopping=3", "early_stopping=3: there is no such key; --help lists them"),
        ("foo.bar=1", "foo.bar=1: there is no such key; --help lists them"),
        ("+trainer.epoch=9", "trainer.epoch=9: there is no such key; did you mean trainer.epochs?"),
        ("+modle=cnn", "modle=cnn: there is no such key; did you mean model?"),
        ("+trainer.epochs=5", "+trainer.epochs=5: the key is there already; type trainer.epochs=5"),
        ("~trainer.epochs", "~trainer.epochs: cannot be taken away; must be a whole number of at least 1"),
        ("hydra.run.foo=1", "hydra.run.foo=1: there is no such key of Hydra's; --cfg hydra shows them"),
        ("ste.beta=2", "ste.beta=2: ste=clipped takes ste.stochastic, ste.clip; ste.beta is a key of ste=swish_sign"),
        ("model.stages=[[8]]", "model.stages=[[8]]: model=mlp takes model.hidden, model.dropout, model.binarize_input"),
        ("ste=tanh seed=1 ste=ede", "ste=ede: ste is given twice, ste=tanh and ste=ede; leave one out"),
        ("seed=1 +seed=2", "seed=2: seed is given twice, seed=1 and +seed=2; leave one out"),
        ("seed=1 hydra.run.dir=a seed=1 hydra.run.dir=b", ""),
        ("-m seed=1 seed=2 ste=tanh,ede", "seed=2: seed is given twice, seed=1 and seed=2; leave one out"),
        ("=5", "=5: needs a key before the =; --help lists them"),
        # values
        ("trainer.epochs=1e3", "trainer.epochs=1e3: must be a whole number of at least 1"),
        ("trainer.epochs=many", "trainer.epochs=many: must be a whole number of at least 1"),
        ("trainer.epochs=null", "trainer.epochs=null: must be a whole number of at least 1"),
        ("trainer.epochs=", "trainer.epochs=: must be a whole number of at least 1"),
        ("trainer.epochs=5.5", "trainer.epochs=5.5: must be a whole number of at least 1"),
        ("trainer.epochs=0", "trainer.epochs=0: must be a whole number of at least 1"),
        ("trainer.compile=maybe", "trainer.compile=maybe: must be true or false"),
        ("data.root=null", "data.root=null: must be a path"),
        ("model.hidden=512", "model.hidden=512: must be a list of whole numbers of at least 1, as in [32,64]"),
        ("model.hidden=null", "model.hidden=null: must be a list of whole numbers of at least 1, as in [32,64]"),
        ("model.hidden={a:1}", "model.hidden={a:1}: must be a list of whole numbers of at least 1, as in [32,64]"),
        ("seed=-1", "seed=-1: must be a whole number of at least 0, below 2^63"),
        ("seed=1.5", "seed=1.5: must be a whole number from 0 to 2^63 - 1"),
        ("seed=99999999999999999999", "seed=99999999999999999999: must be a whole number of at least 0, below 2^63"),
        ("optimizer.lr=1e400", "optimizer.lr=inf: must be a finite number"),
        ("ste=none model.binarize_input=true", "model.binarize_input=true: needs an estimator"),
        (
            "optimizer.lr=0,01",
            "optimizer.lr=0,01: gives several values, which is a sweep and needs -m; the decimal sign is a point: ",
        ),
        (
            "model.hidden=8,8",
            "model.hidden=8,8: gives several values, which is a sweep and needs -m; one list is typed model.hidden=[8,8]",
        ),
        (
            "seed=choice(1,2)",
            "seed=choice(1,2): gives several values, which is a sweep and needs -m; without it the value must be a",
        ),
        ("seed=${nope}", "seed=${nope}: there is no key nope from which ${nope} could be taken"),
        (
            "seed=${oc.env:NOPE}",
            "seed=${oc.env:NOPE}: there is no environment variable NOPE; set it, or give a default: ${oc.env:NOPE,",
        ),
        ("seed=${foo:1}", "seed=${foo:1}: there is nothing called foo that ${foo:...} could ask"),
        ("hydra.run.dir=${nope}", "hydra.run.dir=${nope}: there is no key nope"),
    ],
)
def test_a_mistake_is_one_line_with_what_would_be_right(line, typed, expected):
    assert line(*typed.split()).startswith(expected)


@pytest.mark.parametrize(
    ("typed", "expected", "right"),
    [
        (["model.hidden=[8,", "8]"], "model.hidden=[8,: a space ends a value; type ", "model.hidden=[8,8]"),
        (["model.hidden=[8", "8]"], "model.hidden=[8: a space ends a value; type ", "model.hidden=[8,8]"),
        (["model.hidden=[8,8"], "model.hidden=[8,8: the brackets do not match; type ", "model.hidden=[8,8]"),
        (["model.hidden=[8,,8]"], "model.hidden=[8,,8]: has a comma too many; type ", "model.hidden=[8,8]"),
        (["model.hidden=(8,8)"], "model.hidden=(8,8): cannot be read; type ", "model.hidden=[8,8]"),
        (["trainer.epochs=5,"], "trainer.epochs=5,: has a comma too many; type ", "trainer.epochs=5"),
        (["trainer.epochs=5;"], "trainer.epochs=5;: cannot be read; type ", "trainer.epochs=5"),
        (["trainer.epochs==5"], "trainer.epochs==5: cannot be read; type ", "trainer.epochs=5"),
        (["trainer.epochs", "=", "5"], "trainer.epochs = 5: has spaces around the =; type ", "trainer.epochs=5"),
        (["trainer.epochs =5"], "trainer.epochs =5: holds a space; type ", "trainer.epochs=5"),
        (["trainer.epochs:5"], "trainer.epochs:5: needs an = after the key; type ", "trainer.epochs=5"),
        (["optimizer.lr=1e−3"], "optimizer.lr=1e−3: holds −, not the signs of a keyboard; type ", "optimizer.lr=1e-3"),
        (["“trainer.epochs=5”"], "“trainer.epochs=5”: holds “ ”, no quotes of a shell; type ", "trainer.epochs=5"),
        (
            ["edges.rules=[{layers:linear2,", "what:freeze}]"],
            "edges.rules=[{layers:linear2,: a space",
            "edges.rules=[{layers:linear2,what:freeze}]",
        ),
    ],
)
def test_what_cannot_be_read_is_answered_with_what_can(line, typed, expected, right):
    said = line(*typed)
    assert said.startswith(expected)
    assert said.endswith(right)
    assert line(right) == ""


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("model=[mlp,cnn]", "model=[mlp,cnn]: takes one option; several, without the brackets, are a sweep and need -m"),
        ("loss=[cross_entropy,squared_hinge]", "loss=[cross_entropy,squared_hinge]: takes one option; several,"),
        ("trainer.epochs.x=2", "trainer.epochs.x=2: trainer.epochs has no keys below it; it must be a whole number of at least 1"),
        (
            "model=widget",
            "model=widget: must be one of binarynet, cnn, lenet, mlp, resnet18, resnet20, vgg_small; for one of your own",
        ),
        ("model.hidden=[,]", "model.hidden=[,]: must be a list of whole numbers of at least 1, as in [32,64]"),
        ("model.hidden=512]", "model.hidden=512]: the brackets do not match; must be a list of"),
        ("seed=${", "seed=${: the brackets do not match; must be a whole number"),
        ("seed=choice(", "seed=choice(: must be a whole number"),
        ("trainer.epochs=5=6", "trainer.epochs=5=6: must be a whole number of at least 1"),
        ("ste", "ste: needs an option, ste=NAME with one of approx_sign,"),
        ("distill=logits", "distill.teacher: needs a value; it must be a path, the network that teaches: a run directory, a check"),
        ("trainer.epochs", "trainer.epochs: needs a value, trainer.epochs=VALUE; it must be a whole number of at least 1"),
        ("mlp", "mlp: is not key=value; did you mean model=mlp?"),
        ("hello", "hello: is not key=value; --help lists the keys"),
    ],
)
def test_what_cannot_be_read_and_stands_for_nothing(line, typed, expected):
    assert line(typed).startswith(expected)


def test_a_path_without_its_key(line, tmp_path):
    (tmp_path / "my photos").mkdir()
    assert line("my photos") == "my photos: is not key=value; a path needs its key, as in 'data.root=my photos'"


@pytest.mark.parametrize("typed", ["experiment=null", "model={}", "seed=1_000", "optimizer=sgd optimizer=sgd"])
def test_what_is_right_is_let_through(line, typed):
    assert line(*typed.split()) == ""


def test_a_defect_is_none_of_the_configurations():
    def defect():
        raise ValueError("a defect")

    with pytest.raises(ValueError, match="defect") as caught:
        defect()
    assert not is_of_the_configuration(caught.value)
    assert is_of_the_configuration(yaml.YAMLError())
    assert reads("seed=1")
    assert not reads("seed=[")


@pytest.mark.parametrize(("typed", "meant"), [("ste=Tanh", "tanh"), ("ste=cliped", "clipped"), ("optimizer=Adam", "adam")])
def test_an_option_that_is_spelled_nearly_so(line, typed, meant):
    assert line(typed).endswith(f"; did you mean {meant}?")


def test_an_unquoted_path_with_a_space(line):
    assert line("data.root=my", "photos") == "photos: is not key=value; a space ends a value: type 'data.root=my photos'"
