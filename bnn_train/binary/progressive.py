"""StoMPP: hardtanh turns into sign, entry by entry and layer by layer, from the input to the output of a network (Smith & Islam
2026, arXiv 2601.22660 and 2606.27759).

A tensor a gives m sign(a) + (1 - m) hardtanh(a), m a mask of ones and zeros. The share of ones rises from 0 to 1 in the window of
training that is the layer's; at each step some of the mask is drawn anew. Where m is 0 the gradient passes as hardtanh's; where it
is 1 none passes, or that of a straight-through estimator. Evaluation takes the sign everywhere.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bnn_train.binary import ste
from bnn_train.binary.ste import Binarization, Ste
from bnn_train.config.checks import check_choice
from bnn_train.config.ste import SteConfig
from bnn_train.config.weights import StomppConfig, WeightsConfig

Backward = Callable[[Tensor, Tensor], Tensor]  # (g, a) -> dL/da


def share_at(progress: float, start: float, end: float) -> float:
    """The share of ones at that progress of training: from 0 at the window's start to 1 at its end, linearly."""
    return min(max((progress - start) / (end - start), 0.0), 1.0)


def redrawn(ones: Tensor, before: float, now: float, refresh: float) -> Tensor:
    """The mask, boolean, that follows the mask `ones`, where the share of ones goes from `before` to `now`, both in [0, 1].

    An entry is drawn anew with probability `refresh`: it is 1 with probability `now`. Any other keeps its value, but for the zeros
    that the higher share asks for, (now - before) / (1 - before) of them (or of the ones, where it falls). So each entry is 1 with
    probability `now`, independently of all others, if it was with probability `before`. One uniform number is drawn for each.
    """
    if now >= before:
        stays, comes = 1.0, (now - before) / (1 - before) if before < 1 else 1.0
    else:
        stays, comes = now / before, 0.0
    of_ones, of_zeros = ((1 - refresh) * kept + refresh * now for kept in (stays, comes))
    uniform = torch.rand_like(ones, dtype=torch.float32)
    return torch.where(ones, uniform < of_ones, uniform < of_zeros)


def hardtanh(a: Tensor) -> Tensor:
    return a.clamp(-1, 1)


def mixed(a: Tensor, *, ones: Tensor) -> Tensor:
    """sign(a) where the mask is 1, hardtanh(a) where it is 0."""
    return torch.where(ones, ste.sign(a), hardtanh(a))


def nothing(g: Tensor, a: Tensor) -> Tensor:
    """The derivative of the sign."""
    return torch.zeros_like(g)


def mixed_gradient(g: Tensor, a: Tensor, *, ones: Tensor, of_sign: Backward) -> Tensor:
    """`of_sign` where the mask is 1, hardtanh's derivative where it is 0: factor 1 where |a| <= 1."""
    return torch.where(ones, of_sign(g, a), ste.clipped(g, a))


class Progressive(nn.Module):
    """From hardtanh to sign in the window [`start`, `end`] of training, both shares of it; windows.py spreads them over a network.

    estimator: of the entries that are signs already, a name of binary/ste.py; None: no gradient. refresh: the share of the mask
    that is drawn anew at each forward of training. per_unit: the mask has no dimension for the first one of the tensor, the
    batch, whose samples share it.

    `progress`, the share of training that is done, in [0, 1], is set by the trainer. `share` is that of ones at the last draw; it
    and, within the window, the mask are in the state_dict, since the next mask is drawn from them.
    """

    binary = True  # what leaves it in evaluation is -1 or +1
    annealed = True
    setting = "weights=stompp"  # which sets the schedule of activations, too
    STATE = ("mask_share", "mask_ones")  # names in a state_dict, the second one within a window alone

    def __init__(self, estimator: str | None = None, refresh: float = 0.1, per_unit: bool = True) -> None:
        super().__init__()
        check_choice("weights.ste", estimator, [None, *ste.ESTIMATORS])
        self.of_sign = None if estimator is None else Ste(estimator)
        self.refresh, self.per_unit = refresh, per_unit
        self.start, self.end = 0.0, 1.0
        self.progress, self.share = 0.0, 0.0
        self.register_buffer("mask_ones", None)
        self.mask_ones: Tensor | None

    def binarization(self, a: Tensor) -> Binarization:
        """How `a` is binarized now, with the mask that is drawn for it in training."""
        of_sign = nothing if self.of_sign is None else self.of_sign.backward()
        if not self.training:
            return Binarization(of_sign)
        before, self.share = self.share, share_at(self.progress, self.start, self.end)
        if self.share in (0, 1):
            self.mask_ones = None
            return Binarization(of_sign) if self.share == 1 else Binarization(ste.clipped, forward=hardtanh, binary=False)
        ones = self.mask_ones = self._draw(a, before)
        backward = functools.partial(mixed_gradient, ones=ones, of_sign=of_sign)
        return Binarization(backward, forward=functools.partial(mixed, ones=ones), binary=False)

    @torch.no_grad()
    def _draw(self, a: Tensor, before: float) -> Tensor:
        like = a.new_empty(a.shape[1:]) if self.per_unit else a
        ones = self.mask_ones
        if ones is None or ones.shape != like.shape:  # all 0 before a window, all 1 after it; another shape begins anew
            full = ones is None and before == 1
            ones, before = torch.full_like(like, full, dtype=torch.bool), float(full)
        return redrawn(ones.to(a.device), before, self.share, self.refresh)

    def forward(self, a: Tensor) -> Tensor:
        return ste.binarize(a, self.binarization(a))

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}mask_share"] = torch.tensor(self.share, dtype=torch.float64)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        """Without the names of STATE the mask is as before training; torch's own would refuse that, and a mask that comes."""
        share, ones = (state_dict.get(f"{prefix}{name}") for name in self.STATE)
        self.share = 0.0 if share is None else share.item()
        self.mask_ones = None if ones is None else ones.clone()

    def extra_repr(self) -> str:
        return f"{self.start:g} to {self.end:g}, refresh={self.refresh:g}"


def is_state(name: str) -> bool:
    """Whether a name in a state_dict is that of a mask's state, which belongs to the run and not to its network."""
    return name.rpartition(".")[2] in Progressive.STATE


def activations(config: SteConfig, weights: WeightsConfig) -> nn.Module:
    """The module of an estimator, as ste.build; ste=stompp follows the schedule of weights=stompp.

    Raises ConfigError for a name that is unknown.
    """
    if config.name == "stompp" and isinstance(weights, StomppConfig):
        return Progressive(weights.ste, weights.refresh)
    return ste.build(config)
