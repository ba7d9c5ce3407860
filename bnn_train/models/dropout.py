"""Dropout that does not spend more time on random numbers than a binary layer on its product."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
            return F.dropout(x, self.p)  # one loop there
        dropped = min(round(self.p * _STEPS), _STEPS - 1)
        words = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device).random_(-(2**63), None)
        kept = words.view(torch.int16)[: x.numel()].view(x.shape) >= dropped - _STEPS // 2
        return x * kept * (_STEPS / (_STEPS - dropped))

    def extra_repr(self) -> str:
        return f"p={self.p:g}"
