"""The optimizer's step and the bound of latent weights in one pass over the weights, by the kernels of kernels/steps.py.

The optimizer stays torch's: its groups and its state are read and written here, so that either step goes on where the other one
ended. They differ in last bits alone. This one gives the same bits for every number of threads.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.autograd.graph import increment_version
from torch.optim import Optimizer

from bnn_train.binary.layers import BinaryLayer, constrained_layers
from bnn_train.binary.signs import Signs
from bnn_train.config.root import Config
from bnn_train.kernels import steps
from bnn_train.optim import choice, updates
from bnn_train.optim.choice import Choice
from bnn_train.optim.together import Together
from bnn_train.optim.updates import layout

Marks = Callable[[Tensor], Tensor | None]


def settle(
    config: Config, model: nn.Module, optimizer: Optimizer, steps: int, marks: Marks, started: str | None = None
) -> "tuple[Choice, FusedStep | None]":
    """Who takes the steps of a run, by the rule of choice.py, and what takes them where it is not the optimizer itself.

    steps: of an epoch. marks: as in FusedStep. started: who has taken the first step of a run that is continued.
    """
    trainer, weights = config.trainer, [parameter for parameter in model.parameters() if parameter.ndim > 1]
    where = next(iter(model.parameters()), torch.empty(0)).device
    whole = min(trainer.epochs * steps, trainer.max_steps or math.inf)
    chosen = choice.choose(config, where, sum(map(torch.numel, weights)), int(whole), started)
    if chosen.kind == "torch":
        return chosen, None
    why_not = _why_not(model, optimizer)
    if not why_not:
        return chosen, FusedStep(optimizer, model, marks)
    if trainer.step == "kernels" or started == "kernels":
        raise choice.missing(why_not)
    return Choice("torch", why_not), None


class FusedStep:
    """In place of `optimizer.step()`, and of `constrain` for the layers of `model` that only clip their latent weights.

    Kernels take the weights of layers; what has one dimension (BatchNorm's, biases, scales) the optimizer takes itself. marks: of a
    weight, which of its edges are held (kernels/marks.py), or None. Each binary layer's signs are left in it. `rest` are the layers
    whose `constrain` is still to be called.
    """

    def __init__(self, optimizer: Optimizer, model: nn.Module, marks: Marks = lambda weight: None) -> None:
        self._optimizer = optimizer
        layers = {id(layer.weight): layer for layer in model.modules() if isinstance(layer, BinaryLayer)}
        self._weights = [
            _Weight(parameter, layers.get(id(parameter)), (part, number), marks)
            for part in _parts(optimizer)
            for number, group in enumerate(part.param_groups)
            for parameter in group["params"]
            if parameter.ndim > 1
        ]
        clipped = [weight.layer for weight in self._weights if weight.clips]
        self.rest = [layer for layer in constrained_layers(model) if all(layer is not other for other in clipped)]

    def __call__(self) -> None:
        gradients = [weight.parameter.grad for weight in self._weights]
        for weight, gradient in zip(self._weights, gradients, strict=True):
            if gradient is not None:
                weight.step(gradient)
            weight.parameter.grad = None  # the optimizer leaves it alone
        self._optimizer.step()
        for weight, gradient in zip(self._weights, gradients, strict=True):
            weight.parameter.grad = gradient


def _why_not(model: nn.Module, optimizer: Optimizer) -> str:
    """Why kernels cannot take the weights of a model; "" where they can."""
    weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    owned = [layer.weight for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    if any(type(part) not in updates.updates() for part in _parts(optimizer)):
        return f"there is none for {type(optimizer).__name__}"
    if len({id(weight) for weight in owned}) < len(owned):
        return "two layers of the network share a weight"
    if any(weight.dtype != torch.float32 or layout(weight) is None for weight in weights):
        return "not all weights of the network are float32 and dense"
    return ""


def _parts(optimizer: Optimizer) -> tuple[Optimizer, ...]:
    return optimizer.parts if isinstance(optimizer, Together) else (optimizer,)


class _Weight:
    """A parameter and what its step needs. place: the optimizer that has it, and which of its groups."""

    def __init__(self, parameter: nn.Parameter, layer: BinaryLayer | None, place: tuple[Optimizer, int], marks: Marks) -> None:
        self.parameter, self.layer = parameter, layer
        self.clips = layer is not None and layer.binarizer.only_clips
        self._place, self._marks = place, marks
        has_signs = layer is not None and self.clips and _multiplies_signs(layer)
        self._signs = torch.empty_like(parameter, dtype=torch.int8) if has_signs else None
        if layer is not None:
            layer.signs = Signs() if has_signs else None

    def step(self, gradient: Tensor) -> None:
        parameter, layer, (part, group) = self.parameter, self.layer, self._place
        if layout(gradient) != layout(parameter):  # autograd's own is laid out as the parameter; so is the state (match_layout)
            gradient = torch.empty_like(parameter).copy_(gradient)
        marks = self._marks(parameter)
        arrays = steps.Weight(
            parameter.numel(),
            parameter.data_ptr(),
            gradient.data_ptr(),
            None if self._signs is None else self._signs.data_ptr(),
            None if marks is None else marks.data_ptr(),
            layer.binarizer.bound if layer is not None and self.clips else math.inf,
            0.0,
            torch.get_num_threads(),
        )
        changed = updates.updates()[type(part)](parameter, arrays, part.state[parameter], part.param_groups[group])
        for tensor in (parameter, *changed):
            increment_version(tensor)
        if layer is None:
            return
        if self.clips:
            layer.binarizer.is_clipped(parameter)
        if self._signs is not None and (layer.connected is None or marks is not None):
            assert layer.signs is not None
            layer.signs.keep(self._signs, parameter, layer.connected)


def _multiplies_signs(layer: BinaryLayer) -> bool:
    """Whether what the layer multiplies is the sign of its latent weight itself."""
    binarizer = layer.binarizer
    return layer.binary_input and binarizer.bits == 1 and binarizer.prepare == "none" and not binarizer.stochastic
