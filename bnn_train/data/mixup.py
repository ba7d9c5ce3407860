"""Mixup: each training image mixed with another one of its batch, and the loss accordingly (Zhang et al. 2018, arXiv 1710.09412).

With lambda of Beta(alpha, alpha), drawn for each batch, an input becomes lambda x + (1 - lambda) x' and the loss
lambda L(y) + (1 - lambda) L(y'), where (x', y') is another image of the batch in a random order.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Mix:
    """Of one batch: the share of each image's own, at least a half, and which image is mixed into each, int64 (batch,)."""

    share: float
    others: Tensor

    def inputs(self, inputs: Tensor, part: slice = slice(None)) -> Tensor:
        """Of the batch's inputs those of a part, mixed."""
        return torch.lerp(inputs[self.others[part]], inputs[part], self.share)

    def loss(self, of_labels: Callable[[Tensor], Tensor], labels: Tensor, part: slice = slice(None)) -> Tensor:
        """of_labels: the loss as a function of a part's labels. labels: the batch's."""
        return self.share * of_labels(labels[part]) + (1 - self.share) * of_labels(labels[self.others[part]])


def draw(alpha: float, batches: int, batch_size: int, seed: int, epoch: int, device: torch.device) -> list[Mix]:
    """One for each batch of an epoch (from 0): a pure function of (seed, epoch), as the order and all augmentation are."""
    generator = np.random.default_rng([seed, epoch])
    shares = generator.beta(alpha, alpha, batches)
    orders = generator.permuted(np.tile(np.arange(batch_size), (batches, 1)), axis=1)
    # The larger of lambda and 1 - lambda: in a random order (lambda, x, x') is as likely as (1 - lambda, x', x), and so the image
    # whose label counts in the training accuracy is always the batch's own.
    others = torch.from_numpy(orders).to(device)
    return [Mix(max(share, 1 - share), each) for share, each in zip(shares.tolist(), others, strict=True)]
