"""Chosen edges of a network: trained alone, frozen, pruned or penalised, as the rules of the configuration say.

A frozen edge's latent weight keeps its last bit under every optimizer: its gradient is set to 0 before the optimizer sees it, so
that no momentum, second moment or gradient norm knows it; where a step moves a weight without a gradient too (weight decay, priors,
clipping), its value is put back. A pruned edge is frozen, and contributes 0 to the layer's product: a binary layer multiplies its
binarized weight by a mask, and in a real layer the weight itself is 0.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from bnn_train.binary.centred import CentredConv2d
from bnn_train.binary.layers import BinaryLayer
from bnn_train.config.edges import MagnitudeRule, RuleConfig
from bnn_train.edges.held import Held, packed, unpacked
from bnn_train.edges.rules import Layers, Masks, matching, resolve, union
from bnn_train.kernels.marks import CONNECTED, FREE

NEAR_ZERO = 1e-3  # penalised latent weights below it are counted


@dataclass(frozen=True)
class EdgeRow:
    """The edges of one layer, in numbers, for a table. `near_zero` of the penalised latent weights are below NEAR_ZERO."""

    name: str
    edges: int
    trained: int
    frozen: int  # pruned ones apart
    pruned: int
    penalised: int
    near_zero: int


class Edges:
    """The rules, applied to a model whose weights are at their start and on their device.

    Where `saved`, what `state_dict` gave, is there, masks come from it: no file is read again, no weight looked at. Raises
    ConfigError as `resolve` does.
    """

    def __init__(self, rules: list[RuleConfig], model: nn.Module, saved: dict[str, Any] | None = None) -> None:
        self._layers = weighted_layers(model)
        self.masks = resolve(rules, self._layers) if saved is None else self._unpacked(saved)
        self._held: dict[str, Held] = {}
        self._names = {id(layer.weight): name for name, layer in self._layers.items()}
        self._marks: dict[str, Tensor] = {}
        self.in_step = False  # whether the optimizer's step holds edges itself, so that gradients may be left as they are
        ramps = [rule for rule in rules if isinstance(rule, MagnitudeRule) and rule.ramp is not None]
        self._ramps = [(rule, name) for rule in ramps for name in matching(rule, self._layers)]
        for name in self.masks:
            self._apply(name)
            self._layers[name].weight.register_post_accumulate_grad_hook(self._zero_gradient(name))

    def _apply(self, name: str) -> None:
        """Makes a layer's masks hold from now on, at the weight's present values."""
        layer, masks = self._layers[name], self.masks[name]
        self._marks.pop(name, None)
        _disconnect(layer, masks.pruned)
        held = masks.held
        if held is not None:
            self._held[name] = Held(layer.weight.detach(), held)

    def _zero_gradient(self, name: str) -> Callable[[Tensor], None]:
        def zero(weight: Tensor) -> None:
            if not self.in_step and name in self._held and weight.grad is not None:
                self._held[name].zero(weight.grad)

        return zero

    def zero_gradients(self) -> None:
        """Sets those of held edges to 0 where no hook has done it."""
        for name, held in self._held.items():
            gradient = self._layers[name].weight.grad
            if self.in_step and gradient is not None:
                held.zero(gradient)

    def marks(self, weight: Tensor) -> Tensor | None:
        """What a fused step asks of a layer's edges (kernels/marks.py): uint8, as its weight; None where all are trained."""
        name = self._names.get(id(weight))
        if name is None or name not in self._held:
            return None
        if name not in self._marks:
            held, pruned = self.masks[name].held, self.masks[name].pruned
            assert held is not None
            connected = CONNECTED if pruned is None else (~pruned).to(torch.uint8) * CONNECTED
            self._marks[name] = torch.empty_like(weight, dtype=torch.uint8).copy_((~held).to(torch.uint8) * FREE + connected)
        return self._marks[name]

    def penalty(self) -> Tensor | None:
        """The sum of strength * |latent weight| over the penalised edges, or None where there are none."""
        terms = [
            strength * (self._layers[name].weight.abs() * mask).sum()
            for name, masks in self.masks.items()
            for strength, mask in masks.penalties
        ]
        return torch.stack(terms).sum() if terms else None

    def restore(self) -> None:
        """After a step that may have moved weights without a gradient: held edges get their values back."""
        for name, held in self._held.items():
            held.restore(self._layers[name].weight)

    def disconnect(self) -> None:
        """Where other weights were written into the model: its pruned edges add 0 again."""
        for name, masks in self.masks.items():
            _disconnect(self._layers[name], masks.pruned)

    def are_within_bounds(self) -> bool:
        """Whether the constraint that follows a step leaves every held edge where it is: no prior, and no bound below its size.

        A binary layer's centring moves frozen edges, which is refused, and leaves pruned ones alone.
        """
        for name, held in self._held.items():
            layer = self._layers[name]
            if isinstance(layer, CentredConv2d):
                return False
            if isinstance(layer, BinaryLayer) and (layer.binarizer.kl > 0 or held.largest > layer.binarizer.bound):
                return False
        return True

    @torch.no_grad()
    def start_epoch(self, epoch: int, optimizer: Optimizer) -> None:
        """Prunes further where a ramp says so, and lets `optimizer` forget the newly pruned edges. Epochs count from 0."""
        for rule, name in self._ramps:
            weight = self._layers[name].weight
            if _prune_smallest(self.masks[name], weight, density_at(rule, epoch)):
                self._apply(name)
                for value in optimizer.state.get(weight, {}).values():
                    if isinstance(value, Tensor) and value.shape == weight.shape:
                        self._held[name].zero(value)

    def rows(self) -> list[EdgeRow]:
        """One for each layer that a rule names."""
        return [_row(name, masks, self._layers[name].weight.detach()) for name, masks in self.masks.items()]

    def state_dict(self) -> dict[str, Any]:
        """The masks, as plain tensors."""
        return {
            name: {
                **{key: packed(mask) for key, mask in (("frozen", masks.frozen), ("pruned", masks.pruned)) if mask is not None},
                "penalised": [[strength, packed(mask)] for strength, mask in masks.penalties],
            }
            for name, masks in self.masks.items()
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Masks as they were saved, holding the values that the model has now."""
        self.masks = self._unpacked(state)
        for name in self.masks:
            self._apply(name)

    def _unpacked(self, state: dict[str, Any]) -> dict[str, Masks]:
        found = {}
        for name, stored in state.items():
            weight = self._layers[name].weight
            frozen, pruned = (unpacked(stored[key], weight) if key in stored else None for key in ("frozen", "pruned"))
            found[name] = Masks(frozen, pruned, [(strength, unpacked(mask, weight)) for strength, mask in stored["penalised"]])
        return found


def weighted_layers(model: nn.Module) -> Layers:
    """The layers that have edges, by name, in the model's order."""
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)}


def prune(model: nn.Module, state: dict[str, Any]) -> None:
    """Prunes the edges of a model that is only evaluated, from what `Edges.state_dict` saved."""
    for name, layer in weighted_layers(model).items():
        if "pruned" in state.get(name, {}):
            _disconnect(layer, unpacked(state[name]["pruned"], layer.weight))


def density_at(rule: MagnitudeRule, epoch: int) -> float:
    """The share that a rule with a ramp has pruned in an epoch (from 0).

    from_density until the epoch ramp[0], density from ramp[1] on, and between them d1 + (d0 - d1) (1 - t)^power, t being the share
    of the way (Zhu & Gupta 2017, arXiv 1710.01878, with power 3).
    """
    assert rule.ramp is not None
    start, end = rule.ramp
    t = min(max((epoch - start) / (end - start), 0), 1)
    return rule.density + (rule.from_density - rule.density) * (1 - t) ** rule.power


def _disconnect(layer: nn.Linear | nn.Conv2d, pruned: Tensor | None) -> None:
    if pruned is None:
        return
    if isinstance(layer, BinaryLayer) and layer.binarizer.bits == 1:
        layer.prune(pruned)
    else:
        layer.weight.data.masked_fill_(pruned, 0)


def _prune_smallest(masks: Masks, weight: Tensor, density: float) -> bool:
    """Prunes up to the share `density`, the smallest first; what is pruned stays so. Returns whether anything changed."""
    assert masks.pruned is not None
    missing = round(density * weight.numel()) - int(masks.pruned.sum())
    if missing <= 0:
        return False
    sizes = weight.detach().abs().masked_fill(masks.pruned, math.inf)
    order = sizes.flatten().sort(stable=True).indices[:missing]  # of equals, the first: the same on every machine
    masks.pruned = masks.pruned.flatten().index_fill(0, order, True).view_as(weight)
    if masks.frozen is not None:
        masks.frozen = masks.frozen & ~masks.pruned
    masks.penalties = [(strength, mask & ~masks.pruned) for strength, mask in masks.penalties]
    return True


def _row(name: str, masks: Masks, weight: Tensor) -> EdgeRow:
    frozen, pruned = (0 if mask is None else int(mask.sum()) for mask in (masks.frozen, masks.pruned))
    penalised = union([mask for _, mask in masks.penalties])
    sizes = weight[penalised].abs() if penalised is not None else weight.new_empty(0)
    edges = weight.numel()
    return EdgeRow(name, edges, edges - frozen - pruned, frozen, pruned, sizes.numel(), int((sizes < NEAR_ZERO).sum()))
