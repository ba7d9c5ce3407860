"""The processes that train one network together: which part of a batch is this one's, and what all of them see alike.

Each is a rank of torch.distributed, as torchrun starts them; a process alone is rank 0 of 1. Within `sharing` a training step sees
its part of the global batch: noise is drawn for the whole of it, by every rank alike, and BatchNorm takes the statistics of the
whole (models/norm.py). So it does not matter to a training how many ranks share it, but for the order of additions.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor

_batch: list[int] = []  # the size of the global batch of the training step at hand
_joined: list[bool] = []  # a group that a program of the user's has made is not ours


def join() -> None:
    """From now on the processes of torch.distributed's group train together."""
    _joined.append(True)


def leave() -> None:
    """From now on this process is alone."""
    _joined.clear()


def count() -> int:
    """How many ranks there are."""
    return dist.get_world_size() if _joined else 1


def rank() -> int:
    """The number of this one, from 0."""
    return dist.get_rank() if count() > 1 else 0


def part(size: int) -> slice:
    """Of a global batch this rank's images: as many as the others', or one more."""
    return slice(size * rank() // count(), size * (rank() + 1) // count())


@contextmanager
def sharing(batch_size: int) -> Iterator[None]:
    """Within, what has images as its first dimension is this rank's `part` of a global batch."""
    if count() > 1:
        _batch.append(batch_size)
    try:
        yield
    finally:
        _batch.clear()


def is_sharing() -> bool:
    return bool(_batch)


def sampled(sample: Callable[[Tensor], Tensor], like: Tensor) -> Tensor:
    """sample(like), of like's shape. Where the batch is shared, every rank draws for the whole of it and takes its own part's."""
    if not _batch:
        return sample(like)
    own = part(_batch[0])
    rows = len(like) // (own.stop - own.start)  # of an image: a linear layer may have several
    whole = torch.empty(_batch[0] * rows, *like.shape[1:], dtype=like.dtype, device=like.device, memory_format=_format(like))
    return sample(whole)[own.start * rows : own.stop * rows]


def total(*tensors: Tensor) -> list[Tensor]:
    """The sum over all ranks of each tensor, floats of one device, in one message. Every rank gets the same bits."""
    if count() == 1:
        return list(tensors)
    flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
    dist.all_reduce(flat)
    return [piece.view_as(tensor) for piece, tensor in zip(flat.split([t.numel() for t in tensors]), tensors, strict=True)]


def gathered(tensor: Tensor) -> list[Tensor]:
    """Every rank's tensor, of one shape, in the order of the ranks."""
    found = [torch.empty_like(tensor) for _ in range(count())]
    dist.all_gather(found, tensor.contiguous())
    return found


def is_one(flag: bool) -> bool:
    """Whether it is true of one rank at least."""
    if count() == 1:
        return flag
    votes = torch.tensor([float(flag)])
    dist.all_reduce(votes)
    return votes.item() > 0


def _format(like: Tensor) -> torch.memory_format:
    channels_last = like.ndim == 4 and like.is_contiguous(memory_format=torch.channels_last) and not like.is_contiguous()
    return torch.channels_last if channels_last else torch.contiguous_format
