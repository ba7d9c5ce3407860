"""BatchNorm over a batch that several processes share (ranks.py); torch's SyncBatchNorm is for CUDA devices alone.

The modules stay torch's own, with their parameters and buffers.
"""

import types
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bnn_train import ranks


class _Shared(torch.autograd.Function):
    """y = (x - mean) / sqrt(variance + eps) * weight + bias, of the global batch. x: (N, C) or (N, C, H, W).

    Every rank's count, mean and sum of squared distances come together in the order of the ranks, so that all get the same bits.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        dims = [dim for dim in range(x.ndim) if dim != 1]
        own_count = x.numel() // x.shape[1]
        own = x.new_empty(3, x.shape[1])
        own[0] = own_count
        own[1] = x.mean(dim=dims)
        own[2] = (x - _along(own[1], x)).square_().sum(dim=dims)
        each = torch.stack(ranks.gathered(own)).double()
        counts, means, squares = each.unbind(dim=1)
        count = counts.sum(dim=0)
        mean = (counts * means).sum(dim=0) / count
        variance = (squares + counts * (means - mean).square()).sum(dim=0) / count
        mean, variance, invstd = mean.to(x), variance.to(x), (variance + eps).rsqrt().to(x)
        normal = (x - _along(mean, x)).mul_(_along(invstd, x))
        ctx.save_for_backward(normal, weight, invstd)
        ctx.count = count[0].item()
        ctx.mark_non_differentiable(mean, variance, count)
        return normal * _along(weight, x) + _along(bias, x), mean, variance, count[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        normal, weight, invstd = ctx.saved_tensors
        g = grads[0]
        dims = [dim for dim in range(g.ndim) if dim != 1]
        to_bias, to_weight = g.sum(dim=dims), (g * normal).sum(dim=dims)
        of_all, along = ranks.total(to_bias, to_weight)
        to_x = (g - _along(of_all / ctx.count, g) - normal * _along(along / ctx.count, g)) * _along(weight * invstd, g)
        return to_x, to_weight, to_bias, None


def over_ranks(model: nn.Module) -> None:
    """Makes every BatchNorm of a network take the statistics of the global batch within a shared step."""
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.forward = types.MethodType(_forward, module)  # type: ignore[method-assign]


def _forward(norm: Any, x: Tensor) -> Tensor:
    if not (norm.training and ranks.is_sharing()):
        found: Tensor = type(norm).forward(norm, x)
        return found
    weight = x.new_ones(x.shape[1]) if norm.weight is None else norm.weight
    bias = x.new_zeros(x.shape[1]) if norm.bias is None else norm.bias
    y, mean, variance, count = _Shared.apply(x, weight, bias, norm.eps)
    if norm.running_mean is not None:
        with torch.no_grad():
            norm.num_batches_tracked += 1
            share = 1 / norm.num_batches_tracked.item() if norm.momentum is None else norm.momentum
            norm.running_mean.lerp_(mean, share)
            norm.running_var.lerp_(variance * (count / (count - 1)).to(variance), share)
    return y


def _along(values: Tensor, x: Tensor) -> Tensor:
    """(C,) as what meets x, (N, C) or (N, C, H, W)."""
    return values if x.ndim == 2 else values.view(-1, 1, 1)
