"""Plugins as the commands and Python import them: what they may be, what is refused, and the whole life of a run with one."""

import functools
import importlib
import json
import pickle
import sys
from dataclasses import asdict

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

import bnn_train
from bnn_train import models, plugins, register
from bnn_train.cli import evaluate, help_page, plug, predict
from bnn_train.cli.compose import typed
from bnn_train.errors import ConfigError, PluginError
from bnn_train.runs import resume

MODEL = '''
import math

import bnn_train
from bnn_train.register import key


@bnn_train.register.model
def my_net(parts, image_shape, num_classes, *, depth: int = key(1, "binary layers", "[1, inf)"), width: int = 8):
    """Linear layers of one width."""
    from torch import nn

    layers = [nn.Flatten(), parts.linear(math.prod(image_shape), width, binary_input=False), nn.BatchNorm1d(width)]
    for _ in range(depth):
        layers += [parts.linear(width, width), nn.BatchNorm1d(width)]
    return nn.Sequential(*layers, nn.Linear(width, num_classes))
'''


CLASS = """
from typing import Literal

from torch import nn

from bnn_train.register import key, model


@model
class Net(nn.Module):
    def __init__(self, image_shape, num_classes, *, end: Literal["plain", "wide"] = "wide", width: int = key(4, "of it", [4, 8])):
        super().__init__()
        self.end, self.width, self.layer = end, width, nn.Linear(64, num_classes)

    def forward(self, x):
        return self.layer(x.flatten(1))
"""


def refusal(argument, *others):
    with pytest.raises(ConfigError) as caught:
        bnn_train.train([argument, *others])
    assert "\n" not in str(caught.value)
    return str(caught.value)


MISTAKES = {
    "import bnn_train\n\nx = nothing": "cannot be imported: mine.py, line 3: NameError: name 'nothing' is not defined",
    "def f(:": "cannot be imported: mine.py, line 1: SyntaxError: invalid syntax",
    "import not_there": "cannot be imported: mine.py, line 1: ModuleNotFoundError: No module named 'not_there'",
    "raise SystemExit(3)": "cannot be imported: mine.py, line 1: SystemExit: 3",
    "x = 1": "registers nothing; a function becomes an option under @bnn_train.register.model, .data, ",
    "@model\ndef cnn(parts, image_shape, num_classes): ...": "registers model=cnn, an option of bnn-train's own; give",
    "@estimator\ndef tanh(g, a): ...": "registers ste=tanh, an option of bnn-train's own; give the function another name",
    "@loss\ndef mine(logits): ...": "mine must take (inputs, logits, labels, *, keys)",
    "@model\ndef m(a, *more): ...": "m must take (parts, image_shape, num_classes, *, keys) or (image_shape, num_classes, *, keys)",
    "@loss\ndef mine(i, z, y, *, k=1): ...": "mine: the key k needs a type and a default, as in k: int = 3",
    "@loss\ndef mine(i, z, y, *, k: int): ...": "mine: the key k needs a type and a default, as in k: int = 3",
    "@loss\ndef mine(i, z, y, *, k: complex = 1j): ...": "mine: a key is an int, float, bool or str, a list or dict of them",
    "@loss\ndef mine(i, z, y, *, name: str = ''): ...": "mine: name is a key of every option; call yours otherwise",
    "@loss\ndef mine(i, z, y, *, k: int = key(0, '', '[1, inf)')): ...": "mine: the default of loss.k=0: must be a whole number of",
    "@method\ndef mine(*, k: int = 1): ...": "mine: a method takes no keys",
    "import bnn_train as b\nb.register.loss(lambda i, z, y: 0)": "registers a function without a name: an option is called",
    "@loss\nclass Mine: ...": "registers the class Mine as loss: write a function of (inputs, logits, labels) that makes and calls",
    "@data\nclass Mine: ...": "registers the class Mine as data: write a function of () that makes and calls one",
    "@model\nclass Mine:\n    def __init__(self, a): ...": "Mine must take (parts, image_shape, num_classes, *, keys) or (image_",
    "@loss\ndef nan(i, z, y): ...": "registers loss=nan, which cannot be typed as an option: its name has letters a to z, digits",
    "@loss\ndef True_(i, z, y): ...\nTrue_.__name__ = 'TRUE'\nloss(True_)": "registers loss=TRUE, which cannot be typed",
    "@loss\ndef verlust_\u00e4(i, z, y): ...": "registers loss=verlust_\u00e4, which cannot be typed as an option",
    "@loss\ndef mine(i, z, y, *, gr\u00f6\u00dfe: int = 1): ...": "mine: the key gr\u00f6\u00dfe cannot be typed; it needs letters",
    "@loss\ndef m(i, z, y): ...\n@loss\ndef m(i, z, y): ...": "registers loss=m twice; give one of the two functions another name",
    "@loss\ndef m(i, z, y, *, k: 'No' = 1): ...": "m: the type of the key k, No, cannot be read (NameError: name 'No' is",
    "@loss\ndef m(i, z, y, *, k: int = key(1, '', '[1, inf')): ...": "m: the range of the key k, '[1, inf', must be as in",
    "@loss\ndef m(i, z, y, *, k: int = key(1, '', '> 0')): ...": "m: the range of the key k, '> 0', must be as in",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_what_is_no_plugin_is_told_in_a_line_and_leaves_nothing(plugin, text):
    plugin(("from bnn_train.register import *\n" if text.startswith("@") else "") + text)
    with pytest.raises(ConfigError) as caught:
        plugins.load(["mine.py"])
    assert str(caught.value).startswith(f"plugins=[mine.py]: {MISTAKES[text]}")
    assert "\n" not in str(caught.value)
    assert not register.of("mine.py")
    assert not plugins._loaded


def refusal_of(*names):
    with pytest.raises(ConfigError) as caught:
        plugins.load(names)
    return str(caught.value)


def test_what_is_not_there_is_told_with_what_is(plugin):
    plugin(MODEL, "my_net.py")
    assert refusal_of("mine.py").startswith("plugins=[mine.py]: there is no such file (/")
    assert refusal_of("my_net") == (
        "plugins=[my_net]: there is no module my_net on Python's path; of the file here: plugins=[my_net.py]"
    )
    assert refusal_of("some/folder") == "plugins=[some/folder]: is neither a module nor a .py file"
    plugin(MODEL, "other.py")
    assert refusal_of("my_net.py", "other.py") == (
        "plugins=[other.py]: registers model=my_net, and so does my_net.py; give one of the two functions another name"
    )
    assert refusal_of("a/b.py", "c/b.py").startswith("plugins=[a/b.py]: there is no such file")
    assert refusal_of("my_net.py", "./my_net.py").endswith("names my_net twice; two plugins need two names")
    assert refusal_of("my_net.py", "my_net").endswith("names my_net twice; two plugins need two names")


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("1 / 0", "mine.py, line 4: ZeroDivisionError: division by zero"),
        ("3", "mine.py: gives int; a model is a torch.nn.Module"),
        ("torch.nn.Flatten()", "mine.py: gives (2, 64) for 2 images; 10 classes need (2, 10)"),
        ("torch.nn.Linear(3, 9)", "mine.py: RuntimeError: mat1 and mat2 shapes cannot be multiplied (16x8 and 3x9), for images of"),
    ],
)
def test_a_model_that_makes_no_class_scores_is_told_in_a_line(plugin, body, line):
    plugin("import bnn_train, torch\n@bnn_train.register.model\ndef mine(image_shape, num_classes):\n    return " + body)
    plugins.load(["mine.py"])
    with pytest.raises(PluginError) as caught:
        models.check(typed(["model=mine"]), (1, 8, 8), 10)
    assert str(caught.value).startswith(f"model=mine: {line}")


def test_a_file_never_causes_an_import(plugin, tmp_path):
    """Neither a checkpoint nor a configuration file; it is enough to name the plugin, wherever its file lies now."""
    run = bnn_train.train([plugin(MODEL), "model=my_net", "trainer.epochs=1", "hydra.run.dir=run"])
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "sly.yaml").write_text("# @package _global_\nplugins: [mine.py]\n")
    register.forget("mine.py")
    plugins._loaded.clear()
    with pytest.raises(ConfigError, match=r"^plugins=\[\]: the run needs the plugin mine.py: add plugins=\[mine.py\]$"):
        bnn_train.load(run.directory)
    assert refusal("resume=run") == "plugins=[]: the run needs the plugin mine.py: add plugins=[mine.py]"
    assert refusal("experiment=sly", f"hydra.searchpath=[{tmp_path}]") == (
        "plugins=[mine.py]: a file never causes an import; name it on the command line, plugins=[mine.py]"
    )
    assert not plugins._loaded
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "mine.py").rename(tmp_path / "elsewhere" / "mine.py")
    assert bnn_train.load(run.directory, plugins=["elsewhere/mine.py"]).image_shape == (1, 8, 8)
    assert len(bnn_train.train(["plugins=[elsewhere/mine.py]", "resume=run", "trainer.epochs=2"]).history) == 2


def test_a_file_that_has_changed_is_imported_anew_and_a_resumed_run_says_so(plugin, tmp_path):
    argument = plugin(MODEL)
    bnn_train.train([argument, "model=my_net", "trainer.epochs=1", "hydra.run.dir=run"])
    plugin(MODEL.replace("key(1,", "key(2,"))
    assert bnn_train.train([argument, "model=my_net", "trainer.epochs=1"]).network().module[5].weight.shape == (8, 8)
    bnn_train.train([argument, "resume=run", "trainer.epochs=2"])  # with the depth that it was started with
    bnn_train.load("run")
    plugin(MODEL.replace("nn.Flatten(),", "nn.Flatten(), nn.Identity(),", 1))
    unfit = r"mine\.py has changed since the run was saved, and what was saved does not fit: "
    with pytest.raises(bnn_train.ConfigError, match=f"^path=.*{unfit}"):
        bnn_train.load("run", plugins=["mine.py"])
    with pytest.raises(bnn_train.ConfigError, match=f"^resume=run: {unfit}"):
        bnn_train.train([argument, "resume=run", "trainer.epochs=3"])
    assert "note: mine.py has changed since the run was saved" in (tmp_path / "run" / "train.log").read_text()


def test_help_lists_a_plugin_with_what_its_author_says(plugin):
    plug.load([argument := plugin(MODEL)])
    assert help_page.page("train", [argument]).splitlines()[:4] == [
        "",
        "== plugins: mine.py ==",
        "",
        "  model=my_net  Linear layers of one width.",
    ]
    assert "my_net, resnet18" in " ".join(help_page.page("train", []).split())
    page = help_page.page("train", [argument, "model=my_net"])
    section = page.partition("== model (my_net) ==\n\n")[2].partition("\n\n")[0]
    assert section.splitlines() == [
        "  Linear layers of one width.",
        "  model.depth=1  (whole number, [1, inf))",
        "      binary layers",
        "  model.width=8  (whole number)",
        "      of my_net",
    ]


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["model=my_net", "model.depth=0"], "model.depth=0: must be a whole number of at least 1"),
        (["model=my_net", "model.dept=1"], "model.dept=1: there is no such key; did you mean model.depth?"),
        (["model=my_net", "model.depth=x"], "model.depth=x: must be a whole number of at least 1"),
        (["model=my_nt"], "did you mean my_net?"),
        (["model=widget"], "must be one of binarynet, cnn, lenet, mlp, my_net, resnet18, resnet20, vgg_small"),
        (["model.depth=1"], "model.depth is a key of model=my_net"),
    ],
)
def test_its_keys_are_checked_as_those_of_other_options(plugin, overrides, line):
    assert line in refusal(plugin(MODEL), *overrides)


def test_a_path_may_be_typed_as_it_is(plugin):
    plugin(MODEL, "my net (1).py")
    assert plug.named(["plugins=[my net (1).py]"]) == ["my net (1).py"] == plug.named(["plugins=my net (1).py"])
    assert plug.named(["+plugins=[a.py]"]) == ["a.py"] == plug.named(["++plugins=[a.py]"])
    assert plug.named(["seed=1"]) == []
    with pytest.raises(ConfigError, match="name all plugins in one list"):
        plug.named(["plugins=[a.py],[b.py]"])
    assert plug.flag(["a.py,b", "c.py"]) == ["a.py", "b", "c.py"]


def test_what_has_no_name_is_told_by_its_type():
    for what, kind in ((functools.partial(print), "partial"), (torch.nn.CrossEntropyLoss(), "CrossEntropyLoss"), (3, "int")):
        with pytest.raises(ConfigError, match=f"registers {kind}, which has no name: an option is called as its function"):
            register.loss(what)


def test_a_network_may_be_a_class_and_a_key_one_of_several_words(plugin):
    plugin(CLASS)
    plugins.load(["mine.py"])
    made = models.build(typed(["model=Net", "model.end=plain"]), (1, 8, 8), 10)
    assert (type(made).__name__, made.end, made.width, made.layer.out_features) == ("Net", "plain", 4, 10)
    with pytest.raises(ConfigError, match=r"^model\.end=x: must be one of plain, wide$"):
        typed(["model=Net", "model.end=x"])
    with pytest.raises(ConfigError, match=r"^model\.width=5: must be one of 4, 8$"):
        typed(["model=Net", "model.width=5"])


def test_a_key_keeps_its_range_where_its_function_is_registered_again(plugin):
    plugin("from bnn_train.register import *\n@loss\n@loss\ndef m(i, z, y, *, k: float = key(2.0, 'what', '[0, inf)')): ...")
    plugins.load(["mine.py"])
    with pytest.raises(ConfigError, match=r"^loss\.k=-1\.0: must be a number of at least 0$"):
        typed(["loss=m", "loss.k=-1"])


def test_modules_beside_two_plugins_may_have_one_name(tmp_path, monkeypatch, plugin):
    """Each gets its own, and one that has changed is imported anew with its plugin, whose digest it is part of."""
    text = "import helper\nfrom bnn_train.register import *\n@loss\ndef {0}(i, z, y):\n    return helper.value"
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "helper.py").write_text(f"value = '{name}'")
        (tmp_path / name / f"{name}.py").write_text(text.format(name))
    plugins.load(["one/one.py", "two/two.py"])
    assert [register.FOUND["loss"][name].function(0, 0, 0) for name in ("one", "two")] == ["one", "two"]
    before = plugins.digests(["one.py", "two.py"])
    (tmp_path / "two" / "helper.py").write_text("value = 'three'")
    plugins.load(["one/one.py", "two/two.py"])
    assert [register.FOUND["loss"][name].function(0, 0, 0) for name in ("one", "two")] == ["one", "three"]
    after = plugins.digests(["one.py", "two.py"])
    assert before["one.py"] == after["one.py"]
    assert before["two.py"] != after["two.py"]
    sys.modules.pop("helper")


def test_a_package_may_have_been_imported_before(tmp_path, monkeypatch, plugin):
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package" / "__init__.py").write_text("from own_package import inner")
    (tmp_path / "own_package" / "inner.py").write_text("from bnn_train.register import *\n@loss\ndef m(i, z, y): ...")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("own_package")
    plugins.load(["own_package"])
    assert plugins.missing(["own_package"]) == []
    for name in ("own_package", "own_package.inner"):
        del sys.modules[name]


def test_a_method_that_raises_hinders_nothing_until_it_is_chosen(plugin):
    plugin("from bnn_train.register import *\n@method\ndef bad():\n    return 1 / 0\n@method\ndef odd():\n    return ['seed=[']")
    plugins.load(["mine.py"])
    assert typed(["plugins=[mine.py]", "seed=3"]).seed == 3
    assert refusal("plugins=[mine.py]", "method=bad") == "method=bad: mine.py, line 4: ZeroDivisionError: division by zero"
    assert refusal("plugins=[mine.py]", "method=odd").startswith("method=odd: mine.py: OverrideParseException: ")


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("model=cnn', 'model.nope=3", "model.nope: model=cnn takes model.hidden"),
        ("model=cnm", "model=cnm: must be one of binarynet, cnn"),
        ("trainer.epochs=-3", "trainer.epochs=-3: must be a whole number of at least 1"),
        ("trainer.epochs=x", "trainer.epochs: must be a whole number of at least 1"),
    ],
)
def test_a_mistake_in_a_method_names_it(plugin, given, line):
    said = refusal(plugin(f"from bnn_train.register import *\n@method\ndef mine():\n    return ['{given}']"), "method=mine")
    assert said.startswith(line)
    assert said.endswith(" (method=mine of mine.py sets it)")


def test_a_checkpoint_cannot_write_on_the_terminal():
    with pytest.raises(ConfigError) as caught:
        plugins.require(["\x1b[2J\nevil.py"], "the run")
    assert str(caught.value).startswith(r"plugins=[]: the run needs the plugin \x1b[2J\nevil.py: add plugins=")
    with pytest.raises(ConfigError, match=r"plugins=\[3\]: the run is said to need these, which are no names"):
        plugins.require([3, "a.py"], "the run")


def test_what_a_program_registered_is_asked_for_by_its_place(monkeypatch, tmp_path, plugin):
    """A network that has it needs its model from then on, and not the loss that it was trained with."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prog.py").write_text(MODEL + "\n\n@bnn_train.register.loss\ndef other(i, z, y):\n    return z.square().mean()\n")
    exec(compile((tmp_path / "prog.py").read_text(), str(tmp_path / "prog.py"), "exec"), {"__name__": "__main__"})
    config = typed(["model=my_net", "loss=other"])
    stored = plugins.registered(config)
    assert stored == {"model=my_net": ["program", "prog.py"], "loss=other": ["program", "prog.py"]}
    state = {"config": asdict(config), "registered": stored}
    register.forget("__main__")
    line = (
        r"^model=my_net: was registered in prog\.py, by the program that trained the run; put it into a file of its own and name "
    )
    with pytest.raises(ConfigError, match=line + r"that: plugins=\[FILE\.py\]$"):
        resume.config_of(state, to_train=False)
    (tmp_path / "alone.py").write_text(MODEL)
    plugins.load(["alone.py"])
    assert resume.config_of(state, to_train=False).loss.name == "cross_entropy"
    with pytest.raises(ConfigError, match=r"^loss=other: was registered in prog\.py, by the program"):
        resume.config_of(state)


def test_a_loss_is_not_needed_to_load_a_network(plugin):
    plugin(MODEL, "net.py")
    plugin("from bnn_train.register import *\n@loss\ndef other(i, z, y): ...", "loss.py")
    plugins.load(["net.py", "loss.py"])
    config = typed(["plugins=[net.py,loss.py]", "model=my_net", "loss=other"])
    state = {"config": asdict(config), "registered": plugins.registered(config)}
    register.forget("loss.py")
    del plugins._loaded["loss.py"]
    assert resume.config_of(state, to_train=False).model.depth == 1
    with pytest.raises(ConfigError, match=r"needs the plugin loss\.py"):
        resume.config_of(state)


def test_what_is_registered_in_a_program_needs_no_file(plugin, monkeypatch, tmp_path):
    """As in a notebook: a cell that is run again replaces the option."""
    monkeypatch.chdir(tmp_path)
    space = {"__name__": "notebook"}
    for depth in (1, 2):
        exec(compile(MODEL.replace("key(1,", f"key({depth},"), f"<cell {depth}>", "exec"), space)
    assert space["my_net"].__kwdefaults__ == {"depth": 2, "width": 8}
    run = bnn_train.train(["model=my_net", "trainer.epochs=1"])
    assert json.loads((run.directory / "network.json").read_text())[-3]["name"] == "5"


def run_command(monkeypatch, main, *arguments):
    """In this process, which knows no plugin."""
    register.forget("mine.py")
    plugins._loaded.clear()
    monkeypatch.setattr("sys.argv", ["command", *arguments])
    try:
        main()
    except SystemExit as end:
        return end.code
    return 0


def test_the_life_of_a_run_with_a_plugin(command, plugin, tmp_path, monkeypatch, capsys):
    """Trained in a sweep, resumed, evaluated and predicted with; tests/test_docs_plugins.py exports one."""
    argument = plugin(MODEL)
    short = [argument, "model=my_net", "trainer.epochs=1", "sweep.name=s"]
    sweep = command("-m", *short, "model.depth=1,2")
    assert sweep.returncode == 0, sweep.stdout + sweep.stderr
    one, two = sorted((tmp_path / "sweeps" / "s").glob("model.depth=*"))
    assert one.name == "model.depth=1,model=my_net,plugins=[mine.py],trainer.epochs=1"
    assert [len(json.loads((run / "network.json").read_text())) for run in (one, two)] == [5, 7]
    one = one.rename(tmp_path / "one")
    assert len(bnn_train.train([argument, "resume=one", "trainer.epochs=2"]).history) == 2
    figures = json.loads((one / "summary.json").read_text())

    assert run_command(monkeypatch, evaluate.main, "one") == 2
    assert capsys.readouterr().err == "error: --plugin=[]: the run needs the plugin mine.py: add --plugin=mine.py\n"
    assert run_command(monkeypatch, evaluate.main, "one", "--plugin=mine.py", "--json") == 0
    assert json.loads(capsys.readouterr().out)["test_accuracy"] == figures["test_accuracy"]
    Image.fromarray(np.zeros((8, 8), np.uint8)).save("zero.png")
    assert run_command(monkeypatch, predict.main, "one", "zero.png") == 2
    assert capsys.readouterr().err.endswith("add --plugin=mine.py\n")
    assert run_command(monkeypatch, predict.main, "one", "zero.png", "--json", "--plugin", "mine.py") == 0
    assert len(json.loads(capsys.readouterr().out)) == 1


def test_the_pickle_of_a_job_imports_what_its_command_has_imported(plugin):
    plug.load([plugin(MODEL)])
    pickled = pickle.dumps(OmegaConf.structured(register.FOUND["model"]["my_net"].kind))
    register.forget("mine.py")
    plugins._loaded.clear()
    assert OmegaConf.get_type(pickle.loads(pickled)) is register.FOUND["model"]["my_net"].kind


@pytest.mark.slow
def test_jobs_in_other_processes_have_the_plugin(command, plugin, tmp_path):
    launcher = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "sweep.name=s", "trainer.epochs=1")
    sweep = command("-m", plugin(MODEL), "model=my_net,mlp", *launcher)
    assert sweep.returncode == 0, sweep.stdout + sweep.stderr
    assert len(list((tmp_path / "sweeps" / "s").glob("*/summary.json"))) == 2
