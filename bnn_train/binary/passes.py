"""Passes over large tensors on a processor by kernels of our own (kernels/elements.py): each reads and writes once.

torch's own operations say the same in several passes; callers have them for whatever `is_large` does not take.
"""

import torch
from torch import Tensor

from bnn_train.kernels import elements

LARGE = 2**18  # elements: above, several copies no longer fit into a processor's cache, and LLVM is soon paid for


def is_large(*tensors: Tensor) -> bool:
    """Whether all are of a size, type, device and layout that the passes take: one layout, without gaps."""
    x = tensors[0]
    if x.device.type != "cpu" or x.numel() <= LARGE or torch.compiler.is_compiling():
        return False
    if not (x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last)):
        return False
    if any(y.dtype != torch.float32 or y.stride() != x.stride() or y.shape != x.shape for y in tensors):
        return False
    return elements.available()


def sign(x: Tensor) -> Tensor:
    """int8: +1 where x >= 0 and where x is not a number, else -1."""
    signs = torch.empty_like(x, dtype=torch.int8)
    elements.run(elements.SIGN, x.numel(), (x.data_ptr(), signs.data_ptr()), threads=torch.get_num_threads())
    return signs


def within(g: Tensor, x: Tensor, window: float, out: Tensor | None = None) -> Tensor:
    """g where |x| <= window or x is not a number, else 0. out: what it is written to, g perhaps."""
    out = torch.empty_like(g) if out is None else out
    addresses = g.data_ptr(), x.data_ptr(), out.data_ptr()
    elements.run(elements.WITHIN, g.numel(), addresses, (window,), torch.get_num_threads())
    return out
