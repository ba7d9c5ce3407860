"""Runs of two processes, of which the second follows the first."""

import json
from dataclasses import replace

import several
import torch

from bnn_train.runs import checkpoint
from bnn_train.runs.run import run

SMALL = ("ste.stochastic=true", "model.dropout=0.1", "trainer.batch_size=101", "data.val_size=100", "trainer.epochs=3")


def test_a_run_of_two_processes_goes_on_with_the_same_bits_and_with_one_process(small, tmp_path):
    config = small(*SMALL)
    several.start(2, train, config, tmp_path)
    assert json.loads((tmp_path / "whole" / "summary.json").read_text())["device"].endswith("processes: 2")
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["run", "whole"]
    one, other = (checkpoint.load(tmp_path / name / "checkpoints" / "last.pt")["trainer"] for name in ("whole", "run"))
    assert one["history"] == other["history"]
    assert all(torch.equal(tensor, other["model"][name]) for name, tensor in one["model"].items())

    longer = replace(config, trainer=replace(config.trainer, epochs=4))
    assert run(longer, tmp_path / "run", ["trainer.epochs=4"])["epochs"] == 4


def train(rank, config, folder):
    from bnn_train.runs.follow import follow
    from bnn_train.training import processes

    if rank:
        follow(None)
        return
    run(config, folder / "whole")
    run(replace(config, trainer=replace(config.trainer, max_steps=20)), folder / "run", ["trainer.max_steps=20"])
    run(config, folder / "run", ["trainer.max_steps=null"])
    processes.end()
