"""Trainings by several processes, for tests: each case is trained by all ranks together, and rank 0's result is kept."""

import os
import socket
from pathlib import Path

import torch
import torch.multiprocessing as multiprocessing


class Enough(Exception):
    """Ends training."""


def trained(cases, size, folder):
    """What `train` gives of each case, of {name: (overrides, steps)}, by so many processes."""
    start(size, _work, cases, str(folder))
    return {name: torch.load(Path(folder, f"{name}.pt")) for name in cases}


def start(size, work, *arguments):
    """Calls work(rank, *arguments) in so many processes that train together, and waits for them.

    They are forked from one that has loaded torch, which takes longer than what they do.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.get_context("forkserver").set_forkserver_preload(["bnn_train.runs.run", "bnn_train.cli.compose"])
    multiprocessing.start_processes(_joined, (size, port, work, arguments), nprocs=size, start_method="forkserver")


def train(overrides, steps=None):
    """{"rows", "losses", "gradients", "model"} after the first `steps` steps, or after all epochs."""
    from bnn_train import device
    from bnn_train.cli.compose import typed
    from bnn_train.data import datasets
    from bnn_train.runs.assemble import assemble
    from bnn_train.training.trainer import Trainer

    def after_step(trainer):
        if trainer.step == steps:
            raise Enough

    config = typed(list(overrides))
    data = datasets.load(config.data, device.CPU)
    losses, rows = [], []
    trainer = Trainer(config, *assemble(config, data, device.CPU), data, after_step)
    try:
        rows += trainer.fit()
    except Enough:
        losses = trainer.losses[: trainer.step].tolist()
    gradients = [parameter.grad for parameter in trainer.model.parameters() if parameter.grad is not None]
    return {"rows": rows, "losses": losses, "gradients": gradients, "model": trainer.model.state_dict()}


def _joined(rank, size, port, work, arguments):
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    from bnn_train.training import processes

    processes.start()
    work(rank, *arguments)
    processes.leave()


def _work(rank, cases, folder):
    for name, (overrides, steps) in cases.items():
        found = train(overrides, steps)
        if rank == 0:
            torch.save(found, Path(folder, f"{name}.pt"))
