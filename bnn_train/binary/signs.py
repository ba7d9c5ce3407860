"""The signs of a latent weight, kept from where it was written last to where they are multiplied."""

import torch
from torch import Tensor


class Signs:
    """The signs of one layer's weight as int8, -1 and +1 and 0 where an edge is pruned, for as long as they are those.

    They are for one training step: who has asked for them to learn may write to the weight next, and torch's fused optimizers leave
    the version of a tensor that they write to as it was.

    A copy of a layer, or one that comes from a file, has another weight: it knows no signs.
    """

    def __init__(self) -> None:
        self._signs: Tensor | None = None
        self._weight: Tensor | None = None
        self._connected: Tensor | None = None
        self._moment = (0, 0)

    def keep(self, signs: Tensor, weight: Tensor, connected: Tensor | None) -> None:
        """`signs` are those of the weight as it is now, of its shape and layout. connected: the layer's mask of edges."""
        self._signs, self._weight, self._connected, self._moment = signs, weight, connected, moment(weight)

    def of(self, weight: Tensor, connected: Tensor | None) -> Tensor | None:
        """What `keep` was given, not to be changed; None where the weight or the mask has been changed or exchanged since."""
        same = weight is self._weight and connected is self._connected and moment(weight) == self._moment
        if torch.is_grad_enabled():
            self._weight = None
        return self._signs if same else None

    def __reduce__(self) -> tuple[type["Signs"], tuple[()]]:
        return Signs, ()


def moment(weight: Tensor) -> tuple[int, int]:
    """Another one where the weight was written to since, or where its data were exchanged for another's (an average's)."""
    return weight._version, weight.data_ptr()
