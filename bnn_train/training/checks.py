"""Checks of a network in training: nothing broken goes on."""

import torch
from torch import Tensor, nn

from bnn_train.errors import Diverged


def check_losses(losses: Tensor, epoch: int, lr: float) -> None:
    """Raises Diverged with the first step of the epoch (from 1) whose loss is not finite."""
    bad = (~torch.isfinite(losses)).nonzero()
    if len(bad):
        step = int(bad[0])
        remedy = f"lower optimizer.lr={lr:g} or set trainer.clip_grad_norm; what was saved stays"
        raise Diverged(f"the loss became {losses[step].item()} in epoch {epoch}, step {step + 1}; {remedy}")


def check_finite(model: nn.Module, epoch: int, step: int) -> None:
    """Raises Diverged where a parameter or buffer is NaN or infinite, in that epoch (from 1) after that step.

    A sign hides a NaN in its input, so the loss alone does not tell. But every latent weight is a parameter, and every
    pre-activation leaves its mean and variance in a BatchNorm's buffers.
    """
    for name, tensor in model.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise Diverged(f"{name} holds NaN or infinity in epoch {epoch}, after step {step}")
