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
    """BatchNorm of the global batch: y = (x - mean) / sqrt(variance + eps) * weight + bias. x: (N, C) or (N, C, H, W).

    Sums are float64, as torch's own are on a processor, and y is put together from the same factors as there: a sign that follows
    would not forgive another last bit. The ranks' sums come together in their order, so that all get the same ones.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        dims = [dim for dim in range(x.ndim) if dim != 1]
        count = x.new_full((1, x.shape[1]), x.numel() // x.shape[1], dtype=torch.float64)
        sums = x.sum(dim=dims, dtype=torch.float64)[None]
        squares = torch.linalg.vector_norm(x, dim=dims, dtype=torch.float64).square()[None]
        count, sums, squares = torch.stack(ranks.gathered(torch.cat([count, sums, squares]))).sum(dim=0)
        mean = sums / count
        variance = squares / count - mean.square()
        invstd = (variance + eps).rsqrt().to(x)
        mean, variance = mean.to(x), variance.to(x)
        ctx.save_for_backward(x, weight, mean, invstd)
        ctx.count = count[0].item()
        ctx.mark_non_differentiable(mean, variance, count)
        factor = invstd * weight
        return x * _along(factor, x) + _along(bias - mean * factor, x), mean, variance, count[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, invstd = ctx.saved_tensors
        g = grads[0]
        dims = [dim for dim in range(g.ndim) if dim != 1]
        far = x - _along(mean, x)
        own = g.sum(dim=dims, dtype=torch.float64), (g * far).sum(dim=dims, dtype=torch.float64)
        of_all, along = ranks.total(*own)
        shift = (of_all / ctx.count).to(x)
        slope = (along * invstd.double().square() / ctx.count).to(x)
        to_x = (g - _along(shift, x) - far * _along(slope, x)) * _along(invstd * weight, x)
        return to_x, (own[1] * invstd).to(x), own[0].to(x), None


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
