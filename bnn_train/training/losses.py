"""The loss: one callable of (inputs, logits, labels), the mean over the batch."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from bnn_train.config.trainer import TrainerConfig

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def build(config: TrainerConfig) -> Loss:
    """Cross-entropy, with trainer.label_smoothing of each label spread over all classes."""

    def cross_entropy(inputs: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, label_smoothing=config.label_smoothing)

    return cross_entropy
