import json
import logging
import os
import random
import threading

import hydra
import pytest
import torch
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf
from omegaconf.basecontainer import BaseContainer

import bnn_train
from bnn_train.errors import PluginError

SHORT = ["model.hidden=[16,16]", "trainer.epochs=2"]


def test_it_is_the_run_of_the_command(run, command, tmp_path):
    """The same epochs byte for byte, the same network, twice in one process; the command goes on with it."""
    assert command(*SHORT, "hydra.run.dir=shell").returncode == 0
    again = bnn_train.train([*SHORT, f"hydra.run.dir={tmp_path}/again"])
    shell = tmp_path / "shell"
    for directory in (run.directory, again.directory):
        assert (directory / "metrics.jsonl").read_bytes() == (shell / "metrics.jsonl").read_bytes()
        assert {file.name for file in directory.iterdir()} == {file.name for file in shell.iterdir()}
    weights = [torch.load(folder / "checkpoints" / "result.pt", weights_only=True)["model"] for folder in (run.directory, shell)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[1])
    told = json.loads((shell / "summary.json").read_text())
    assert all(run.summary[key] == told[key] for key in ("test_accuracy", "choices"))
    assert "mlp on digits, ste=clipped, weights=sign," in (run.directory / "train.log").read_text()
    assert [row["epoch"] for row in run.history] == [1, 2]
    assert repr(run) == f"<Run in {run.directory}, test accuracy {run.summary['test_accuracy']:.2%}>"
    assert command("resume=again", "trainer.epochs=3").returncode == 0
    assert len(again.directory.joinpath("metrics.jsonl").read_text().splitlines()) == 3


def test_a_run_is_resumed(tmp_path):
    first = bnn_train.train([*SHORT, "trainer.max_steps=5", f"hydra.run.dir={tmp_path}/run"])
    assert [(row["epoch"], row["steps"]) for row in first.history] == [(1, 5)]
    assert len(bnn_train.train({"resume": first.directory, "trainer.max_steps": None}).history) == 2


def test_nothing_else_in_the_process_is_changed(tmp_path, capfd):
    """Generators, threads, flags and logging are as before, also after a mistake; nothing is printed."""
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    logging.getLogger().addHandler(handler)
    torch.set_num_threads(3)
    torch.set_float32_matmul_precision("medium")

    def state():
        flags = (torch.get_num_threads(), torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled())
        logger = logging.getLogger("bnn_train")
        return (*flags, torch.backends.cudnn.benchmark, logger.level, logger.propagate, list(logger.handlers))

    torch.manual_seed(7)
    random.seed(7)
    before, drawn = state(), (torch.get_rng_state(), random.getstate())
    try:
        bnn_train.train([*SHORT, f"hydra.run.dir={tmp_path}/run"])
        with pytest.raises(bnn_train.ConfigError):
            bnn_train.train([*SHORT, "data=mnist", f"data.root={tmp_path}/none", f"hydra.run.dir={tmp_path}/refused"])
        assert state() == before
        assert torch.equal(torch.get_rng_state(), drawn[0])
        assert random.getstate() == drawn[1]
    finally:
        torch.set_num_threads(1)
        torch.set_float32_matmul_precision("highest")
        logging.getLogger().removeHandler(handler)
    assert capfd.readouterr() == ("", "")
    assert all(record.levelno >= logging.WARNING for record in records)  # what the root logger asks for
    assert not (tmp_path / "refused").exists()


def test_it_runs_in_a_thread(tmp_path):
    found = []
    thread = threading.Thread(target=lambda: found.append(bnn_train.train([*SHORT, f"hydra.run.dir={tmp_path}/run"])))
    thread.start()
    thread.join()
    assert found[0].summary["status"] == "finished"


def test_a_program_that_uses_hydra_itself_keeps_what_it_has(tmp_path):
    """Its composing, its options, its resolvers of the same names."""
    before = set(ConfigStore.instance().repo)
    resolver = BaseContainer._resolvers.get("run_dir")
    OmegaConf.register_new_resolver("run_dir", lambda: "mine", replace=True)
    ConfigStore.instance().store(group="model", name="mlp", node={"own": 1})
    try:
        with hydra.initialize(version_base=None, config_path=None):
            bnn_train.train([*SHORT, "dry_run=true", f"hydra.run.dir={tmp_path}/run"])
            composed = hydra.compose(overrides=["+model=mlp", "+place=${run_dir:}"])
            assert (composed.model, composed.place) == ({"own": 1}, "mine")
        assert set(ConfigStore.instance().repo) == before | {"model"}
    finally:
        BaseContainer._resolvers.pop("run_dir")
        BaseContainer._resolvers |= {"run_dir": resolver} if resolver else {}
        del ConfigStore.instance().repo["model"]["mlp.yaml"]


def test_the_programs_own_settings_of_torch_change_no_run(run, tmp_path):
    environment = dict(os.environ)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"), torch.inference_mode():
            found = bnn_train.train([*SHORT, f"hydra.run.dir={tmp_path}/run"])
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.history == run.history
    assert dict(os.environ) == environment


def test_another_thread_that_loads_and_measures_changes_no_run(run, tmp_path):
    given = ["ste=clipped", "ste.stochastic=true", *SHORT]
    alone = bnn_train.train([*given, f"hydra.run.dir={tmp_path}/alone"])
    found = []
    thread = threading.Thread(target=lambda: found.append(bnn_train.train([*given, f"hydra.run.dir={tmp_path}/run"])))
    thread.start()
    while thread.is_alive():
        bnn_train.load(run).evaluate()
    assert found[0].history == alone.history


@pytest.mark.parametrize("at", ["when it is imported", "when it is called"])
def test_a_training_within_a_training_is_refused(plugin, at):
    text = "import bnn_train\n@bnn_train.register.data\ndef mine():\n    return bnn_train.train([])\n"
    more = "" if at == "when it is called" else "mine()\n"
    with pytest.raises(bnn_train.ConfigError, match=r"^train\(\) is called within a training, .* __name__ == \"__main__\":$"):
        bnn_train.train([plugin(text + more), "data=mine"])


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("return logits.nothing", r"mine\.py, line 4: AttributeError: 'Tensor' object has no attribute 'nothing'"),
        ("return logits.detach().mean()", r"mine\.py: gives a number that does not follow from the class scores"),
    ],
)
def test_what_a_plugins_code_raises_is_a_line_that_names_its_place(plugin, body, line):
    loss = f"import bnn_train\n@bnn_train.register.loss\ndef mine(inputs, logits, labels):\n    {body}\n"
    with pytest.raises(PluginError, match=line) as caught:
        bnn_train.train([plugin(loss), "loss=mine", *SHORT])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["trainer.epohs=3"], "trainer.epohs=3: there is no such key; did you mean trainer.epochs?"),
        (["trainer.epochs=0"], "trainer.epochs=0: must be a whole number of at least 1"),
        (["resume=nowhere"], "resume=nowhere: there is no such run directory or checkpoint"),
        ({"model": "vgg"}, "model=vgg: must be one of"),
    ],
)
def test_a_mistake_is_an_exception_with_the_commands_line(overrides, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(bnn_train.ConfigError) as caught:
        bnn_train.train(overrides)
    assert str(caught.value).startswith(message)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("overrides", "brings"),
    [({"method": "bop", "optimizer": "adam"}, "weights=binary"), ({"method": "reactnet", "model": "lenet"}, "block=reactnet")],
    ids=["when typed", "when built"],
)
def test_a_mistake_names_the_method_that_brings_it(overrides, brings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(bnn_train.ConfigError, match=rf"\(method={overrides['method']} brings {brings}\)$"):
        bnn_train.train(overrides)


def test_importing_the_package_loads_no_torch(command):
    line = "import bnn_train, sys; assert 'torch' not in sys.modules; print(*bnn_train.__all__)"
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == set(bnn_train.__all__)
    for name in bnn_train.__all__:
        assert getattr(bnn_train, name).__doc__
