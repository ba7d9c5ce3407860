"""What is done to each output's latent weights before their sign, and the factor by which its sum is multiplied afterwards.

Pure functions of a latent or prepared weight, (outputs, inputs) or (output channels, input channels, height, width), and a mask
of its shape, 1 where an edge is connected and 0 where it is pruned, or None where all are connected. Pruned edges count in no
mean, deviation, quantile or factor. A filter that is constant, zero or fully pruned gives finite values and gradients.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

Mask = Tensor | None


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
    centred = centre(latent, mask)
    variance = mean_of(centred.square(), mask)
    # Where it is 0 the root would have an infinite derivative.
    constant = variance <= torch.finfo(variance.dtype).tiny
    return centred / torch.where(constant, 1.0, variance).sqrt()


def quantile(latent: Tensor, mask: Mask, *, tau: float) -> Tensor:
    """2 sqrt(2) (w - mean(w)) / std(w), clamped to [-Q, Q], Q = -mean|.| log(2 - 2 tau) (ReCU, Xu et al. 2021, arXiv 2103.12369).

    Q is the quantile tau of a Laplace distribution of that mean size. Beyond it the gradient is 0, so that no weight drifts away.
    """
    w = 2 * math.sqrt(2) * standardise(latent, mask)
    q = (-math.log(2 - 2 * tau) * mean_of(w.abs(), mask)).detach()
    return torch.maximum(torch.minimum(w, q), -q)


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
