"""Methods: what their files say, what wins over them, and which networks they go with."""

import re
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from bnn_train import models
from bnn_train.binary.layers import BinaryLayer
from bnn_train.cli import compose as compose_module
from bnn_train.cli import help_page, hydra_errors, methods
from bnn_train.cli.keys import CONFIGS
from bnn_train.config.model import MODELS
from bnn_train.config.root import OF_METHODS, typed
from bnn_train.errors import ConfigError

ROOT = Path(__file__).parent.parent.parent
FILES = sorted((CONFIGS / "method").glob("*.yaml"))
NAMES = [file.stem for file in FILES]
BINARY_ALONE = ("bop", "bayesbinn")  # their optimizer moves binary weights, which the real twin does not have
SHORTCUT_OF_EACH = ("bireal", "reactnet", "real2binary", "recu")  # which needs a layer as wide as its input


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_the_head_of_a_method_names_its_paper_its_formula_what_differs_and_what_it_gives(file):
    paper, *rest = methods.head(file)
    assert re.fullmatch(r"\S.* \(.+ 20\d\d, arXiv \d{4}\.\d{5}( and \d{4}\.\d{5})?\), W1A(1|32)", paper)
    assert [line.partition(":")[0] for line in rest if re.match(r"[A-Z][\w ()/.]*:", line)] == [
        "Formula",
        "Differs",
        "On the digits (scripts/method_table.py)",
    ]


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_a_method_chooses_options_alone(file):
    """A value that it set itself would stay where another option was typed, and mean something else there or be no key of it."""
    assert list(yaml.safe_load(file.read_text())) == ["defaults"]
    brought = methods.brings(file)
    assert list(brought) == [group for group in OF_METHODS if group in brought]
    assert {"model", "ste", "weights", "optimizer", "scheduler"} <= set(brought)
    for group, option in brought.items():
        assert (CONFIGS / group / f"{option}.yaml").is_file()


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_the_head_says_how_many_bits_an_activation_has(file, compose):
    assert methods.head(file)[0].endswith("W1A32" if compose(f"method={file.stem}").ste.name == "none" else "W1A1")


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_the_page_about_methods_has_a_line_for_each(file):
    paper, _, bits = methods.head(file)[0].rpartition(", ")
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    assert f"| `{file.stem}` | {paper} | {bits} | `{methods.brings(file)['model']}` | " in page
    assert page.count(f"| `{file.stem}` | ") == 2


def test_help_begins_with_the_head_of_the_methods_file():
    text = help_page.page("train", ["method=xnor", "model=mlp"])
    assert text.startswith("\n== method=xnor ==\n\n  XNOR-Net (Rastegari et al. 2016, arXiv 1603.05279), W1A1\n  Formula: w = ")
    assert "@package" not in text
    assert max(map(len, text.splitlines())) <= help_page.WIDTH


def test_what_is_typed_wins_over_an_experiment_and_an_experiment_over_a_method(compose):
    def choices(*typed):
        config = compose(*typed)
        return config.model.name, config.block.name, config.ste.name, config.optimizer.name

    assert choices("method=bireal") == ("resnet20", "bireal", "approx_sign", "adam")
    assert choices("method=bireal", "model=cnn", "optimizer=sgd") == ("cnn", "bireal", "approx_sign", "sgd")
    assert choices("method=bireal", "experiment=mnist_cnn") == ("cnn", "bireal", "clipped", "adam")
    assert choices("method=bireal", "experiment=mnist_mlp", "model=cnn") == ("cnn", "bireal", "approx_sign", "adam")
    # A method without a block of its own leaves it to the model.
    assert choices("method=bop", "model=resnet20") == ("resnet20", "bireal", "clipped", "bop")


def test_a_typed_option_takes_the_place_of_all_that_the_method_set_in_its_group(compose):
    config = compose("method=irnet", "weights=sign", "optimizer=adam")
    assert (config.weights, config.optimizer) == (compose().weights, compose().optimizer)
    assert compose("method=irnet").weights.prepare == "standardise"


def trains_or_says_why(config):
    """ "" where the network can be built for the digits, else the one line of the refusal."""
    try:
        model = models.check(typed(config), (1, 8, 8), 10)
    except ConfigError as refusal:
        return str(refusal)
    assert any(isinstance(layer, BinaryLayer) for layer in model.modules())
    return ""


@pytest.mark.parametrize("name", NAMES)
def test_every_method_trains_every_network_or_says_why_not(name, compose):
    method, brought = asdict(compose(f"method={name}")), methods.brings(CONFIGS / "method" / f"{name}.yaml")
    for model in MODELS:
        other = asdict(compose(f"model={model}"))
        said = trains_or_says_why({**method, "model": other["model"], "block": (method if "block" in brought else other)["block"]})
        refused = name in SHORTCUT_OF_EACH and model == "lenet"
        assert said.startswith("block.shortcut=per_conv: needs a layer") if refused else said == "", model


@pytest.mark.parametrize("name", NAMES)
def test_every_method_has_a_real_valued_twin_or_says_why_not(name, compose):
    real = asdict(compose("ste=none", "weights=real"))
    said = trains_or_says_why({**asdict(compose(f"method={name}")), "ste": real["ste"], "weights": real["weights"]})
    if name in BINARY_ALONE:
        assert said.endswith("go together; use both, or neither")
    else:
        assert said == ""


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("method=nope", "method=nope: must be one of bayesbinn, binaryconnect,"),
        ("method=3", "method=3: must be one of bayesbinn, "),
        ("mehtod=bnn", "mehtod=bnn: there is no such key; did you mean method?"),
        ("method", "method: needs an option, method=NAME with one of bayesbinn,"),
        ("bnn", "bnn: is not key=value; did you mean method=bnn?"),
        ("method=bnn weights=binary", "weights=binary: weights=binary and optimizer=bop go together; use both, or neither"),
        (
            "method=bop optimizer=adam",
            "weights=binary: weights=binary and optimizer=bop go together; use both, or neither (method=bop brings weights=binary)",
        ),
        (
            "method=bop weights=sign",
            "weights=sign: weights=binary and optimizer=bop go together; use both, or neither (method=bop brings optimizer=bop)",
        ),
        (
            "method=bireal block=plain",
            "block=plain: model=resnet20 has shortcuts: use block=bireal, resnet or another with shortcuts "
            "(method=bireal brings model=resnet20)",
        ),
        ("method=xnor method=bop", "method=bop: method is given twice, method=xnor and method=bop; leave one out"),
        ("method=bop ste=none", ""),
        ("method=null", ""),
    ],
)
def test_the_line_for_what_was_typed(line, typed, expected):
    said = line(*typed.split())
    assert said.startswith(expected)
    assert bool(said) == bool(expected)


@pytest.mark.parametrize(
    ("key", "value", "typed", "expected"),
    [
        ("block.shortcut", "per_conv", "method=reactnet model=lenet", " (method=reactnet brings block=reactnet)"),
        ("block.shortcut", "per_conv", "method='reactnet' model='lenet'", " (method=reactnet brings block=reactnet)"),  # Python's
        ("block.shortcut", "per_conv", "method=xnor block.shortcut=per_conv", ""),
        ("block.shortcut", "per_conv", "method=xnor block=bireal", ""),
        ("ste.clip", "3", "method=bireal experiment=mnist_cnn", ""),  # whose estimator is the experiment's
        ("data.root", "x", "method=reactnet", ""),
        ("block.shortcut", "per_conv", "block=reactnet", ""),
    ],
)
def test_a_refusal_of_a_key_that_nobody_typed_names_the_method_that_brings_it(key, value, typed, expected):
    refused = hydra_errors.with_origin(ConfigError(key, value, "is wrong"), typed.split())
    assert str(refused) == f"{key}={value}: is wrong{expected}"
    assert hydra_errors.with_origin(refused, typed.split()) is refused


def test_the_command_names_the_method_behind_what_only_the_images_shape_tells(line):
    refused = ConfigError("block.shortcut", "per_conv", "needs a layer")
    assert line("method=reactnet", "model=lenet") == ""  # and sets sys.argv
    assert compose_module.ending(refused) == (2, "block.shortcut=per_conv: needs a layer (method=reactnet brings block=reactnet)")


@pytest.mark.parametrize("group", ["block", "model", "optimizer", "scheduler", "ste", "weights"])
def test_a_method_of_ones_own_that_does_not_say_override(line, tmp_path, group):
    (tmp_path / "my" / "method").mkdir(parents=True)
    file, option = tmp_path / "my" / "method" / "mine.yaml", {"block": "plain", "model": "mlp", "ste": "ede"}.get(group)
    option = option or {"optimizer": "sgd", "scheduler": "linear", "weights": "sign"}[group]
    said = f"the group {group} has its option already; write  override /{group}: {option}"
    file.write_text(f"# @package _global_\ndefaults:\n  - /{group}: {option}\n")
    assert line("-cd", "my", "method=mine") == f"method=mine: my/method/mine.yaml, line 3: {said}"
    file.write_text(f"# @package _global_\ndefaults: [/{group}: {option}]\n")
    assert line("-cd", "my", "method=mine") == f"method=mine: my/method/mine.yaml, line 2: {said}"


def test_a_key_of_another_option_than_the_methods_is_said_to_be_so(line, tmp_path):
    (tmp_path / "my" / "method").mkdir(parents=True)
    (tmp_path / "my" / "method" / "two.yaml").write_text("# @package _global_\nweights:\n  scaling: mean\n")
    assert line("-cd", "my", "method=two", "weights=real") == (
        "weights.scaling: weights=real takes weights.clip; weights.scaling is a key of weights=sign, binary, stochastic, "
        "bayesbinn; method=two sets it, and goes with another weights (my/method/two.yaml, line 3)"
    )


def test_a_method_of_ones_own(line, tmp_path):
    folder = tmp_path / "my" / "method"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("# @package _global_\ndefaults:\n  - override /ste: tanh\nweights:\n  scaling: mean\n")
    assert line("-cd", "my", "method=mine") == ""
    assert line("-cd", "my", "method=mien").endswith("did you mean mine?")
    assert line("-cd", "my", "method=mine", "weights=binary").startswith("weights.scaling=mean: must be one of none, learned")
    (folder / "mine.yaml").write_text("weights:\n  scaling: mean\n")
    assert line("-cd", "my", "method=mine").startswith(
        "method=mine: my/method/mine.yaml: its first line must be  # @package _global_ "
    )
