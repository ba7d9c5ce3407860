"""How each binary layer fares: after every epoch a few figures of its weights, inputs and gradient.

NumPy compares and counts on a processor five times as fast as torch does, and an epoch may be a few dozen short steps.
"""

import functools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bnn_train.binary.layers import BinaryLayer, binary_layers
from bnn_train.edges.apply import Edges
from bnn_train.training.bits import Bits, ones, pack, starts

Row = dict[str, Any]  # one line of health.jsonl
Figures = dict[str, float]

IMAGES = 16  # whose activations are measured: thousands of numbers in each layer, which is enough for a share
DIGITS = 4  # of a figure


class Health:
    """The figures of each binary layer after an epoch, and what must be remembered for them: three bits a weight.

    An epoch goes: `note` after its last step, evaluation within `watching`, `measure`, which changes nothing, and `end_epoch`. All
    that is measured is a function of what `state_dict` and the model's hold, so a run that is continued gives the same rows.
    Weights that the rules of `edges` hold (frozen, pruned) count in no figure of the weights.
    """

    def __init__(self, model: nn.Module, edges: Edges) -> None:
        binary = {id(layer) for layer in binary_layers(model)}
        self.layers: dict[str, BinaryLayer] = {
            name: module for name, module in model.named_modules() if isinstance(module, BinaryLayer) and id(module) in binary
        }
        self.row: Row = {"epoch": 0, "layers": {}}  # the newest
        self._edges = edges
        self._counts = [layer.weight.numel() for layer in self.layers.values()]
        self._starts = starts(self._counts)
        self._start(is_new=True)

    def _start(self, is_new: bool) -> None:
        """From the weights as they are now. is_new: whether the run begins here."""
        self._is_whole = is_new  # whether it is known since the run's start which weights have moved
        signs = pack([_prepared(layer) for layer in self.layers.values()], _is_positive)
        # Three rows: is the sign +1, did it flip in the last epoch, has it ever? And what they become with the epoch's end.
        self._flips = self._next = np.stack([signs, np.zeros_like(signs), np.zeros_like(signs)])
        self._gradients: dict[str, float] = {}  # norms at the end of an epoch
        self._inputs: dict[str, Tensor] = {}  # the first images' of each layer, in evaluation

    @torch.no_grad()
    def note(self) -> None:
        """Takes down the gradients of an epoch's last step, as the optimizer saw them: a run continued behind it has none."""
        for name, layer in self.layers.items():
            if layer.weight.grad is not None:
                self._gradients[name] = torch.linalg.vector_norm(layer.weight.grad).item()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within, the inputs of each binary layer are kept when it is called first, of the first IMAGES."""
        self._inputs = {}
        handles = [
            layer.register_forward_pre_hook(functools.partial(self._look, name))
            for name, layer in self.layers.items()
            if getattr(layer.estimator, "binary", False)
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _look(self, name: str, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if name not in self._inputs:
            self._inputs[name] = inputs[0][:IMAGES].detach().to("cpu", torch.float32, copy=True)

    @torch.no_grad()
    def measure(self, epoch: int, steps: int | None = None) -> Row:
        """The row of an epoch (from 1): {"epoch", "layers": {name: figures}}. steps: done of it, where these are not all."""
        prepared = {name: _prepared(layer) for name, layer in self.layers.items()}
        free = {name: self._free(name) for name in self.layers}
        self._next = _after(self._flips, pack(list(prepared.values()), _is_positive))
        layers = {}
        for (name, layer), figures in zip(self.layers.items(), self._flip_figures(free), strict=True):
            mask, window = free[name], _window(getattr(layer.binarizer, "estimator", None))
            if figures and window is not None:
                seen = prepared[name] if mask is None else prepared[name][_array(mask)]
                figures["weights_outside"] = 0.0 if _is_bounded(layer, window) else _outside(seen, window)
            size = torch.linalg.vector_norm(layer.weight if mask is None else layer.weight[mask]).item()
            if "weights_outside" in figures:
                figures["weights_size"] = size / math.sqrt(layer.weight.numel() if mask is None else int(mask.sum())) / window
            gradient = self._gradients.get(name, math.inf)
            if math.isfinite(gradient) and size > 0:
                figures["gradient"] = gradient / size
            layers[name] = {key: _rounded(value) for key, value in {**figures, **self._input_figures(name)}.items()}
        self.row = {"epoch": epoch, **({} if steps is None else {"steps": steps}), "layers": layers}
        return self.row

    def _flip_figures(self, free: dict[str, Tensor | None]) -> list[Figures]:
        """Of each layer's weights that are free, if any are: the shares that flipped in the epoch that is over, in this and in the
        one before, never so far, and that are +1."""
        among, counts = None, self._counts
        if any(mask is not None for mask in free.values()):
            masks = zip(free.values(), counts, strict=True)
            among = pack([np.ones(count, bool) if mask is None else _array(mask) for mask, count in masks])
            counts = ones(among, self._starts)
        signs, flipped, moved = self._next
        shown = {"flipped": flipped, "back_and_forth": flipped & self._flips[1], "never_moved": moved, "weights_positive": signs}
        found = {name: ones(bits if among is None else bits & among, self._starts) for name, bits in shown.items()}
        shares = [{name: found[name][i] / count for name in found} if count else {} for i, count in enumerate(counts)]
        for figures in filter(None, shares):
            moved_share = figures.pop("never_moved")
            if self._is_whole:
                figures["never_moved"] = 1 - moved_share
        return shares

    def _input_figures(self, name: str) -> Figures:
        """Of the inputs before their sign: shares that become +1, and that are outside the window, where there is one."""
        if name not in self._inputs:
            return {}
        a, window = self._inputs[name].numpy(), _window(self.layers[name].estimator)
        figures = {"inputs_positive": float(np.count_nonzero(a >= 0) / max(1, a.size))}
        return figures if window is None else {**figures, "inputs_outside": _outside(a, window)}

    def end_epoch(self) -> None:
        """The epoch that was measured is over."""
        self._flips, self._inputs = self._next, {}

    def _free(self, name: str) -> Tensor | None:
        """The edges of a layer that may move; None where all may."""
        held = self._edges.masks[name].held if name in self._edges.masks else None
        return None if held is None else ~held

    def state_dict(self) -> dict[str, Any]:
        """Plain types, and one tensor: a file of many small ones takes long to write."""
        return {
            "flips": torch.from_numpy(self._flips.view(np.uint8)),
            "is_whole": self._is_whole,
            "gradients": dict(self._gradients),
            "row": self.row,
        }

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        """None: of a run that kept no such state, so that it is not known what its weights did before."""
        if state is None:
            self._start(is_new=False)
            return
        self._flips = state["flips"].numpy().view(np.uint64)
        self._is_whole, self.row = state["is_whole"], state["row"]
        self._gradients = dict(state["gradients"])


def _is_positive(values: np.ndarray) -> np.ndarray:
    return values >= 0


def _after(flips: Bits, signs: Bits) -> Bits:
    """An epoch later, with these signs."""
    after = np.empty_like(flips)
    after[0] = signs
    np.bitwise_xor(flips[0], signs, out=after[1])
    np.bitwise_or(flips[2], after[1], out=after[2])
    return after


def _outside(values: np.ndarray, window: float) -> float:
    return float(np.count_nonzero(np.abs(values) > window) / max(1, values.size))


def _rounded(figure: float) -> float:
    """To DIGITS digits; a share that is nearly 1 keeps those of what is missing."""
    rounded = float(f"{figure:.{DIGITS}g}")
    return round(1 - float(f"{1 - figure:.{DIGITS}g}"), 12) if figure < 1 <= rounded else rounded


def _prepared(layer: BinaryLayer) -> np.ndarray:
    """The weight before its sign."""
    return _array(layer.binarizer.prepared(layer.weight.detach(), layer.connected))


def _array(tensor: Tensor) -> np.ndarray:
    """On the processor; of a convolution's with the channels last, as they lie in memory."""
    return (tensor.permute(0, 2, 3, 1) if tensor.ndim == 4 else tensor).detach().cpu().numpy()


def _is_bounded(layer: BinaryLayer, window: float) -> bool:
    """Whether no weight can be outside, because each step clips them: then none is looked at."""
    return layer.binarizer.prepare == "none" and layer.binarizer.bound <= window


def _window(estimator: Any) -> float | None:
    """An estimator's window now; None where there is none, or it has no end."""
    window = getattr(estimator, "window", None)
    width = math.inf if window is None else window()
    return width if width < math.inf else None
