"""The moving average of a network over the steps of its training, `trainer.ema`."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from bnn_train.edges.apply import Edges
from bnn_train.training.recalibration import norms, recalibrate

# Batches from which the averaged network's BatchNorm takes its statistics before each measurement. 20 of 100 images gave what the
# whole training set gave, to 0.1% of the accuracy; the average of the running statistics, which are of other weights, lost up to
# 14% of a binary CNN's.
BATCHES = 20


class Average:
    """Of w_1 ... w_t, what the weights were after each of t steps: sum_i d^(t-i) w_i / sum_i d^(t-i), d the `decay`.

    That is a_t = d a_(t-1) + (1 - d) w_t, without the share d^t that its start would have: a run shorter than 1 / (1 - d) steps is
    averaged over its own weights, too. Averaged are all parameters, so the latent weights and not their signs; those that stand
    still keep their last bit. BatchNorm gets statistics of its own, and of other buffers (masks) the network's own hold.
    """

    def __init__(self, model: nn.Module, edges: Edges, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self._model, self._edges = model, edges
        self._weights: list[Tensor] = list(model.parameters())
        own = {**dict(model.named_parameters()), **_statistics(model)}
        self._own = list(own.values())
        self.tensors = {name: tensor.detach().clone() for name, tensor in own.items()}
        self._averages = list(self.tensors.values())[: len(self._weights)]

    def update(self) -> None:
        """Takes in the network as it is, after a step."""
        self.steps += 1
        share = (1 - self.decay) / (1 - self.decay**self.steps)
        get_ema_multi_avg_fn(1 - share)(self._averages, self._weights, self.steps)

    @contextmanager
    def in_place(self, inputs: Iterable[Tensor]) -> Iterator[None]:
        """Within, the model is the averaged network, in evaluation, with statistics of these batches; nothing may be trained."""
        self._exchange()
        try:
            self._edges.disconnect()
            recalibrate(self._model, inputs)
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        for own, averaged in zip(self._own, self.tensors.values(), strict=True):
            own.data, averaged.data = averaged.data, own.data  # the parameters stay the objects that the optimizer knows

    @torch.no_grad()
    def put(self) -> None:
        """Makes the model the averaged network as it was last measured, for good."""
        for own, averaged in zip(self._own, self.tensors.values(), strict=True):
            own.copy_(averaged)
        self._edges.disconnect()

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "tensors": self.tensors}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]
        for name, tensor in self.tensors.items():
            tensor.copy_(state["tensors"][name])


def _statistics(model: nn.Module) -> dict[str, Tensor]:
    return {f"{name}.{key}": tensor for name, norm in norms(model).items() for key, tensor in norm.named_buffers()}
