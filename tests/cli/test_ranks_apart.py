"""torchrun -m bnn_train, in real processes."""

import json
import os
import subprocess
import sys

import pytest
import torch

from bnn_train.cli import ranks_apart
from bnn_train.errors import ConfigError
from bnn_train.runs import checkpoint

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "bnn_train"]
SMALL = ["model.hidden=[16,16]", "ste.stochastic=true", "model.dropout=0.1", "trainer.batch_size=101", "data.val_size=100"]


@pytest.fixture
def together(tmp_path):
    """Runs torchrun's two processes with these arguments, in tmp_path."""

    def run(*arguments):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        line = [*TORCHRUN, *arguments]
        return subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)

    return run


def test_two_processes_train_one_run_which_goes_on_with_the_same_bits_and_with_one_process(together, command, tmp_path):
    whole = together(*SMALL, "trainer.epochs=3", "hydra.run.dir=whole")
    assert whole.returncode == 0, whole.stderr
    assert whole.stdout.count("epoch 3/3") == whole.stdout.count("saved in whole") == 1
    assert json.loads((tmp_path / "whole" / "summary.json").read_text())["device"].endswith("processes: 2")
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]

    assert together(*SMALL, "trainer.epochs=3", "trainer.max_steps=20", "hydra.run.dir=run").returncode == 0
    assert together("resume=run", "trainer.max_steps=null").returncode == 0
    one, other = (checkpoint.load(tmp_path / run / "checkpoints" / "last.pt")["trainer"] for run in ("whole", "run"))
    assert one["history"] == other["history"]
    assert all(torch.equal(tensor, other["model"][name]) for name, tensor in one["model"].items())

    alone = command("resume=run", "trainer.epochs=4")
    assert alone.returncode == 0, alone.stderr
    assert "epoch 4/4" in alone.stdout


def test_a_mistake_is_said_once_and_ends_all(together, tmp_path):
    found = together("ste=nonsense")
    assert found.returncode != 0
    assert (found.stdout + found.stderr).count("nonsense") == 1
    assert not list(tmp_path.iterdir())


def test_a_sweep_is_for_one_process(monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="one job with several processes"):
        ranks_apart.check(["-m", "seed=0,1"])
    ranks_apart.check(["seed=0"])
