from pathlib import Path

import pytest

from bnn_train.cli.compose import typed
from bnn_train.errors import ConfigError
from bnn_train.interface.train import Run
from bnn_train.interface.typed import arguments


def test_a_dict_says_what_the_command_line_says():
    tree = {"model": "cnn", "model.stages": [[4, 4], [8]], "optimizer": {"lr": 1e-3, "betas": (0.8, 0.99)}, "data.val_size": 5}
    rules = [{"layers": "linear*", "what": "freeze", "edges": "random", "density": 0.5}]
    config = typed(arguments({**tree, "trainer.compile": False, "trainer.max_steps": None, "edges.rules": rules}))
    assert (config.model.name, config.model.stages, config.optimizer.lr) == ("cnn", [[4, 4], [8]], 1e-3)
    assert (config.optimizer.betas, config.data.val_size, config.trainer.max_steps) == ([0.8, 0.99], 5, None)
    assert config.edges.rules[0].density == 0.5


@pytest.mark.parametrize("root", ["photos (1)", "a,b", "2024_05_12", "it's", "x=y"])
def test_a_path_is_text_whatever_stands_in_it(root):
    assert typed(arguments({"data": "image_folder", "data.root": Path(root)})).data.root == root


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("model=cnn", r'overrides=model=cnn: must be a list of them, as in \["model=cnn"\], or a dict'),
        (["-m"], "overrides=-m: is a flag of the command line; a sweep is a loop"),
        (["--config-dir=my"], r'is a flag of the command line; a folder of your own options is "hydra.searchpath=\[my\]"'),
        (["--help"], "overrides=--help: is a flag of the command line$"),
        (3, "overrides=3: must be a list"),
        (["model"], 'overrides=model: needs a value, as in "trainer.epochs=3"'),
        ([3], "overrides=3: must be text"),
        (["seed=1", "seed=2"], "seed=2: seed is given twice"),
        ({"model": {"hidden": [3]}, "model.hidden": [4]}, r"model\.hidden=\[4\]: model\.hidden is given twice"),
    ],
)
def test_what_is_no_override_is_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        arguments(given)


def test_a_run_stands_for_its_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert arguments({"resume": Run(Path("a"), {})}) == arguments({"resume": "a"})
