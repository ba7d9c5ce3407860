"""Edges that must not change: a mask of one weight, kept in the form that takes less memory, and the two things done with it."""

import torch
from torch import Tensor

_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # of the same size as a floating-point type of so many bytes


class Held:
    """The edges of `weight` where `mask` is True, with the values that they have now.

    Many are kept as a bit mask, as large as the weight, few as indices. Bits are set without arithmetic: a NaN or an infinity in
    place of a held edge is overwritten like any number, and a held value keeps its last bit.
    """

    def __init__(self, weight: Tensor, mask: Tensor) -> None:
        integer = _INTEGERS[weight.element_size()]
        self.largest = weight.detach()[mask].abs().max().item() if mask.any() else 0.0
        self._indices: tuple[Tensor, ...] | None = None
        count = int(mask.sum())
        if count * mask.ndim * 8 < weight.numel() * weight.element_size():
            self._indices = mask.nonzero(as_tuple=True)
            self._values = weight.detach()[self._indices].clone()
        else:
            self._free = torch.where(mask, 0, -1).to(integer)  # all bits set where the edge is free
            self._values = weight.detach().view(integer) & ~self._free

    @property
    def is_sparse(self) -> bool:
        return self._indices is not None

    @torch.no_grad()
    def zero(self, tensor: Tensor) -> None:
        """Sets the held edges of a tensor of the weight's shape and type to 0, in place."""
        if self._indices is not None:
            tensor[self._indices] = 0
        else:
            tensor.view(self._free.dtype).bitwise_and_(self._free)

    @torch.no_grad()
    def restore(self, weight: Tensor) -> None:
        """Gives the held edges of the weight their values back, in place."""
        if self._indices is not None:
            weight[self._indices] = self._values
        else:
            weight.view(self._free.dtype).bitwise_and_(self._free).bitwise_or_(self._values)


def packed(mask: Tensor) -> Tensor:
    """A boolean mask as what is smaller in a file: itself, or the flat indices of its True elements (int32 or int64)."""
    mask = mask.cpu()
    kind = torch.int32 if mask.numel() < 2**31 else torch.int64
    indices = mask.flatten().nonzero().flatten().to(kind)
    return indices if indices.numel() * indices.element_size() < mask.numel() else mask.clone()


def unpacked(stored: Tensor, like: Tensor) -> Tensor:
    """The boolean mask again, with the shape and on the device of `like`."""
    if stored.dtype == torch.bool:
        return stored.to(like.device)
    mask = torch.zeros(like.numel(), dtype=torch.bool, device=like.device)
    mask[stored.to(device=like.device, dtype=torch.int64)] = True
    return mask.view(like.shape)
