"""Several processes that train one network: what is added up behind the backward pass, and how the group comes to be.

Every rank holds the whole network and sees its part of each batch (ranks.py). Gradients, loss and hits are summed once a step in
one message, so that nothing depends on the order in which autograd comes to the layers, and every rank takes the same optimizer's
step with the same bits. torch's DistributedDataParallel sums in buckets, which it makes anew after a first step: a run that is
continued would not give the bits of one that was not.
"""

import os
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from bnn_train import device, ranks, startup
from bnn_train.config.trainer import TrainerConfig
from bnn_train.errors import ConfigError, Diverged, Lost
from bnn_train.training import last_words
from bnn_train.training.recalibration import norms

PATIENCE = timedelta(minutes=30)  # with a rank that writes, or decodes images, while the others wait
_LOST = "(?i)gloo|nccl|connection|peer|socket"


def start() -> None:
    """Joins the processes that torchrun, Slurm or submitit has started: gloo on processors, nccl on CUDA devices."""
    if startup.rank()[1] == 1 or dist.is_initialized():
        return
    _name_as_torchrun_does()
    has_nccl = torch.cuda.is_available() and dist.is_nccl_available()
    if has_nccl:
        torch.cuda.set_device(device.choose("cuda"))
    store, rank, size = next(dist.rendezvous("env://", timeout=PATIENCE))
    backend = "cpu:gloo,cuda:nccl" if has_nccl else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
    ranks.join()
    last_words.keep(store)


def _name_as_torchrun_does() -> None:
    """Sets torchrun's variables, by which torch finds the others, where another launcher has set its own."""
    if "RANK" in os.environ:
        return
    if "SUBMITIT_EXECUTOR" in os.environ:
        from submitit.helpers import TorchDistributedEnvironment

        TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
    else:
        number, count = startup.rank()
        os.environ |= {"RANK": str(number), "WORLD_SIZE": str(count), "LOCAL_RANK": os.environ.get("SLURM_LOCALID", "0")}


def check(config: TrainerConfig) -> None:
    """Raises ConfigError for what several ranks cannot train together."""
    least = 1 if config.sync_batchnorm else 2  # images of each, since BatchNorm needs two
    if config.batch_size < least * ranks.count():
        remedy = f"is the whole batch, and each of the {ranks.count()} processes needs {least} of its images at least; raise it"
        raise ConfigError("trainer.batch_size", config.batch_size, remedy)
    if config.compile and ranks.count() > 1:
        raise ConfigError("trainer.compile", True, "is for one process; leave it out, or train without torchrun")


def end() -> None:
    """Of rank 0: lets the others end as it does."""
    with together():
        start()
        tell(None)
        leave()


def leave() -> None:
    """Behind the last message. A process that ends with its connections open may abort."""
    dist.barrier()
    dist.destroy_process_group()
    ranks.leave()


def tell(job: dict[str, Any] | None) -> None:
    """Of rank 0: gives every other one something to train (runs/follow.py); None: there is nothing more."""
    if ranks.count() > 1:
        dist.broadcast_object_list([job])


def told() -> dict[str, Any] | None:
    """Of every other rank: what rank 0 tells next."""
    found: list[dict[str, Any] | None] = [None]
    dist.broadcast_object_list(found)
    return found[0]


@contextmanager
def together(go_on: Callable[[], str] = lambda: "what was saved stays") -> Iterator[None]:
    """Turns what a rank meets where another one has ended into Lost. go_on: says how the run goes on."""
    try:
        yield
    except RuntimeError as error:
        if ranks.count() == 1 or not (isinstance(error, dist.DistError) or re.search(_LOST, str(error))):
            raise
        said, teller = last_words.why()
        raise Lost(f"{said}; {go_on()}", teller == ranks.rank()) from error


def summed(model: nn.Module, loss: Tensor, hits: Tensor, apart: bool) -> tuple[Tensor, Tensor]:
    """Makes every gradient the sum over the ranks; returns the sums of loss and hits (an image that was classified correctly).

    apart: BatchNorm takes the statistics of each part, so that the running ones become their mean: those of one network.
    """
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    found = norms(model).values() if apart else ()
    statistics = [tensor for norm in found for tensor in norm.buffers() if tensor.is_floating_point()]
    *sums, loss, hits = ranks.total(*gradients, *(each / ranks.count() for each in statistics), loss.detach(), hits.to(loss.dtype))
    for tensor, each in zip([*gradients, *statistics], sums, strict=True):
        tensor.copy_(each)
    return loss, hits.to(torch.int64)


def check_equal(model: nn.Module, epoch: int) -> None:
    """Raises Diverged where the ranks no longer have the same network, after that epoch (from 1)."""
    digest = 0
    for tensor in model.state_dict().values():
        digest = zlib.crc32(tensor.cpu().contiguous().numpy().tobytes(), digest)
    each = ranks.gathered(torch.tensor([digest]))
    if any(int(other) != digest for other in each):
        raise Diverged(f"after epoch {epoch} the processes no longer have the same network; are their processors of one kind?")
