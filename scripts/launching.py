"""Processes that train together, for scripts: as torchrun starts them, but with a function instead of a command."""

import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as multiprocessing


def results(size: int, work: Callable[..., Any], *arguments: Any) -> Any:
    """What work(*arguments), a module's function, gives on the first of `size` processes of one thread each that have joined."""
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        file = Path(folder, "result.pt")
        free.close()
        multiprocessing.spawn(_work, (size, port, str(file), work, arguments), nprocs=size)
        return torch.load(file)


def _work(rank: int, size: int, port: int, file: str, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    from bnn_train.training import processes

    processes.start()
    found = work(*arguments)
    if rank == 0:
        torch.save(found, file)
