"""What is done to each output's latent weights before their sign, and the factor by which its sum is multiplied afterwards.

Pure functions of a latent or prepared weight, (outputs, inputs) or (output channels, input channels, height, width), and a mask
of its shape, 1 where an edge is connected and 0 where it is pruned, or None where all are connected. Pruned edges count in no
mean, deviation, quantile or factor. A filter that is constant, zero or fully pruned gives finite values and gradients.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Mask = Tensor | None

CHUNK = 2**16  # weights that fit into a processor's cache, several copies at a time
LARGE = 2**20  # weights from which going through CHUNK of them at a time is clearly faster than through all at once
WIDTH = 2 * math.sqrt(2)  # of ReCU's weights, in standard deviations


def mean_of(values: Tensor, mask: Mask) -> Tensor:
    """Of each output over its connected edges, keeping the dimensions; 0 where it has none."""
    inputs = tuple(range(1, values.ndim))
    if mask is None:
        return values.mean(dim=inputs, keepdim=True)
    mask = mask.to(values.dtype)
    return (values * mask).sum(dim=inputs, keepdim=True) / mask.sum(dim=inputs, keepdim=True).clamp(min=1)


def centre(latent: Tensor, mask: Mask) -> Tensor:
    """w - mean(w) (XNOR-Net, Rastegari et al. 2016, arXiv 1603.05279, as in its code)."""
    return latent - mean_of(latent, mask)


def standardise(latent: Tensor, mask: Mask) -> Tensor:
    """(w - mean(w)) / std(w) (IR-Net, Qin et al. 2020, arXiv 1909.10788); w - mean(w) where all weights are the same."""
    return _standardised(latent, mask, None)


def quantile(latent: Tensor, mask: Mask, *, tau: float) -> Tensor:
    """2 sqrt(2) (w - mean(w)) / std(w), clamped to [-Q, Q], Q = -mean|.| log(2 - 2 tau) (ReCU, Xu et al. 2021, arXiv 2103.12369).

    Q is the quantile tau of a Laplace distribution of that mean size, and a constant of the backward. Beyond it the gradient is 0,
    so that no weight drifts away.
    """
    return _standardised(latent, mask, tau)


def _standardised(latent: Tensor, mask: Mask, tau: float | None) -> Tensor:
    # torch.compile makes few loops of the steps and their gradient itself; on a GPU a few outputs at a time would be slower.
    if latent.numel() < LARGE or latent.device.type != "cpu" or torch.compiler.is_compiling():
        return _steps(latent, mask, tau).prepared
    prepared: Tensor = _Standardised.apply(latent, mask, tau)
    return prepared


class _Steps(NamedTuple):
    prepared: Tensor
    mean: Tensor
    constant: Tensor  # whether all weights of the output are the same
    deviation: Tensor  # 1 where they are
    q: Tensor | None


def _steps(latent: Tensor, mask: Mask, tau: float | None) -> _Steps:
    mean = mean_of(latent, mask)
    centred = latent - mean
    variance = mean_of(centred.square(), mask)
    # Where it is 0 the root would have an infinite derivative.
    constant = variance <= torch.finfo(variance.dtype).tiny
    deviation = torch.where(constant, 1.0, variance).sqrt()
    z = centred / deviation
    if tau is None:
        return _Steps(z, mean, constant, deviation, None)
    wide = WIDTH * z
    q = (-math.log(2 - 2 * tau) * mean_of(wide.abs(), mask)).detach()
    return _Steps(torch.clamp(wide, -q, q), mean, constant, deviation, q)


class _Standardised(torch.autograd.Function):
    """The same bits, and the gradient written out, a few outputs at a time, so that what is between the steps stays in the cache.

    A step of a linear layer of 2048 x 2048 takes half the time of one with autograd's passes over whole tensors.
    With z = (w - mean) / std, m the mask and n the connected edges of an output, a gradient g of z is one of w of
    (g - m / n (sum(g) + z sum(g z))) / std.
    """

    @staticmethod
    def forward(ctx: Any, latent: Tensor, mask: Mask, tau: float | None) -> Tensor:
        prepared = torch.empty_like(latent)
        found = []
        for w, m, into in _few(latent, mask, prepared):
            steps = _steps(w, m, tau)
            into.copy_(steps.prepared)
            found.append(steps[1:])
        ctx.save_for_backward(latent, mask)
        ctx.found = found
        return prepared

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        latent, mask = ctx.saved_tensors
        of_latent = torch.empty_like(latent)
        inputs = tuple(range(1, latent.ndim))
        for (w, m, g, into), (mean, constant, deviation, q) in zip(_few(latent, mask, grads[0], of_latent), ctx.found, strict=True):
            z = (w - mean).div_(deviation)
            if q is not None:
                g = torch.where((WIDTH * z).abs() <= q, g, 0.0).mul_(WIDTH)
            along = (g * z).sum(dim=inputs, keepdim=True).masked_fill_(constant, 0.0)
            common = z.mul_(along).add_(g.sum(dim=inputs, keepdim=True))
            if m is None:
                common.div_(w[0].numel())
            else:
                common.mul_(m / m.sum(dim=inputs, keepdim=True).clamp(min=1))
            torch.sub(g, common, out=into).div_(deviation)
        return of_latent, None, None


def _few(latent: Tensor, mask: Mask, *others: Tensor) -> Iterator[tuple[Any, ...]]:
    """(latent, mask, *others) of a few outputs at a time: views."""
    outputs = max(1, CHUNK * len(latent) // max(1, latent.numel()))
    parts = [tensor.split(outputs) for tensor in (latent, *others)]
    masks = itertools.repeat(None) if mask is None else mask.split(outputs)
    for m, w, *rest in zip(masks, *parts, strict=False):
        yield w, m, *rest


def tau_at(progress: float, start: float, end: float) -> float:
    """The share tau of `quantile` when that share of training is done: from start to end along e^progress, as ReCU has it."""
    return start + (end - start) * math.expm1(progress) / math.expm1(1)


PREPARE: dict[str, Callable[..., Tensor]] = {"centre": centre, "standardise": standardise, "quantile": quantile}


@torch.no_grad()
def centre_over_inputs(latent: Tensor, mask: Mask) -> None:
    """In place: each kernel position of an output loses its mean over the input channels (of a linear layer, over the inputs).

    What XNOR-Net's code does to the stored weight. Pruned edges count in no mean and keep their value. So does an edge that is
    alone at its position (images of one channel): it would be 0 from then on, and its sign always +1.
    """
    if mask is None:
        if latent.shape[1] > 1:
            latent.sub_(latent.mean(dim=1, keepdim=True))
        return
    mask = mask.to(latent.dtype)
    count = mask.sum(dim=1, keepdim=True)
    means = (latent * mask).sum(dim=1, keepdim=True) / count.clamp(min=1)
    latent.sub_(means * (mask * (count > 1)))


def mean(prepared: Tensor, mask: Mask) -> Tensor:
    """mean|w| of each output, (outputs,) (XNOR-Net): the least squares fit of a * sign(w) to w."""
    return mean_of(prepared.abs(), mask).flatten()


def mean_detached(prepared: Tensor, mask: Mask) -> Tensor:
    """The same without gradient, so that the sign alone passes one on (Bi-Real Net, Liu et al. 2018, arXiv 1808.00278)."""
    return mean(prepared.detach(), mask)


def power_of_two(prepared: Tensor, mask: Mask) -> Tensor:
    """2^round(log2 mean|w|), without gradient (IR-Net): a shift in hardware."""
    with torch.no_grad():
        sizes = mean(prepared, mask)
        return torch.exp2(torch.round(torch.log2(sizes.clamp(min=torch.finfo(sizes.dtype).tiny))))


SCALING: dict[str, Callable[[Tensor, Mask], Tensor]] = {
    "mean": mean,
    "mean_detached": mean_detached,
    "power_of_two": power_of_two,
}  # learned is the layer's parameter
