"""Dropout that does not spend more time on random numbers than a binary layer on its product."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnn_train import ranks

_STEPS = 2**16  # probabilities are multiples of 1 / _STEPS


class Dropout(nn.Module):
    """In training sets each element to 0 with probability p, to the nearest 1/65536, and scales the others by 1 / (1 - p).

    torch's own Dropout draws a whole random number for each element, one after the other. Here four elements share one of 64 bits.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            if ranks.is_sharing():
                return x * ranks.sampled(lambda like: F.dropout(torch.ones_like(like), self.p), x)
            return F.dropout(x, self.p)  # one loop there
        dropped = min(round(self.p * _STEPS), _STEPS - 1)
        kept = ranks.sampled(lambda like: _words(like) >= dropped - _STEPS // 2, x)
        return x * kept * (_STEPS / (_STEPS - dropped))

    def extra_repr(self) -> str:
        return f"p={self.p:g}"


def _words(like: Tensor) -> Tensor:
    """Random int16, of like's shape."""
    words = torch.empty(-(-like.numel() // 4), dtype=torch.int64, device=like.device).random_(-(2**63), None)
    return words.view(torch.int16)[: like.numel()].view(like.shape)
