import json
import logging
import random
import threading

import pytest
import torch

import bnn_train

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
    assert run.summary["test_accuracy"] == json.loads((shell / "summary.json").read_text())["test_accuracy"]
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


def test_importing_the_package_loads_no_torch(command):
    line = "import bnn_train, sys; assert 'torch' not in sys.modules; print(*bnn_train.__all__)"
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == set(bnn_train.__all__)
    for name in bnn_train.__all__:
        assert getattr(bnn_train, name).__doc__
