"""Mirror descent over the probabilities of Bernoulli weights: for each noise the divergence whose steps its latent weights take.

Where P(w = +1) = F(latent weight), the divergence is D(p, q) = psi(p) - psi(q) - psi'(q) (p - q) with psi' = F^-1, F standard:
Kullback and Leibler's for logistic noise, (p - q)^2 for uniform noise (Shekhovtsov & Yanush 2021, arXiv 2006.06880). A step goes

    from q  to  argmin over p of  slope p + kl D(p, 1/2) + D(p, q) / tau,

slope being the loss's derivative by p. Nothing here knows of latent weights or of binary/noise.py: a step has a closed form in the
probabilities, or is solved for them. Probabilities are pairs, (2, weights): of -1 in the first row and of +1 in the second, because
the smaller of both keeps digits that 1 - p has lost.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Step = Callable[[Tensor, Tensor, float, float], Tensor]  # (pairs, slope (weights,), tau, kl) -> pairs
TURNS = 200  # of a solution at most; some five are the rule


class Divergence(NamedTuple):
    """`from_coin`: D(p, 1/2) of each weight; `step`: that of mirror descent."""

    from_coin: Callable[[Tensor], Tensor]
    step: Step


def _kullback_leibler(p: Tensor) -> Tensor:
    return torch.special.xlogy(p, 2 * p).sum(dim=0)


def _multiplicative(p: Tensor, slope: Tensor, tau: float, kl: float) -> Tensor:
    """The exponentiated gradient: both probabilities are multiplied, raised to the power that the prior leaves, and normalised."""
    power, half = 1 / (1 + tau * kl), tau * slope / 2
    moved = p.pow(power) * torch.stack([half, -half]).mul(power).exp()
    return moved / moved.sum(dim=0)


def _euclidean(p: Tensor) -> Tensor:
    return (p[1] - p[0]).square() / 4


def _projected(p: Tensor, slope: Tensor, tau: float, kl: float) -> Tensor:
    """Gradient descent, the prior's share of the way to the fair coin, and the nearest probability to that."""
    half = tau * slope / 2
    return ((p + torch.stack([half, -half]) + tau * kl / 2) / (1 + tau * kl)).clamp(0, 1)


def _triangular(p: Tensor) -> Tensor:
    """psi(t) = (2 t)^1.5 / 3 - t below 1/2, of the smaller t, less its value at 1/2."""
    t = p.amin(dim=0)
    return (2 * t).pow(1.5) / 3 - t + 1 / 6


def _normal(p: Tensor) -> Tensor:
    """psi(t) = -density(F^-1(t)), less its value at 1/2."""
    return (1 - torch.exp(-_normal_inverse(p.amin(dim=0)).square() / 2)) / math.sqrt(2 * math.pi)


def _triangular_inverse(t: Tensor) -> Tensor:
    return (2 * t).sqrt() - 1


def _normal_inverse(t: Tensor) -> Tensor:
    return torch.special.ndtri(t)


def _solved(inverse: Callable[[Tensor], Tensor], density: Callable[[Tensor], Tensor]) -> Step:
    """Steps by Newton's method on the condition that the slope of what is minimised be 0, which is solved to rounding.

    inverse: F^-1 on [0, 1/2], where it is concave, since the density rises there; density: F' as a function of F^-1.
    """

    def step(p: Tensor, slope: Tensor, tau: float, kl: float) -> Tensor:
        dual = torch.where(p[1] <= p[0], inverse(p[1]), -inverse(p[0]))  # psi' of P(w = +1)
        # slope + kl psi'(p) + (psi'(p) - dual) / tau is 0 where psi' is `wanted`; by symmetry it is sought for the smaller of both.
        wanted = (dual - tau * slope) / (1 + tau * kl)
        t = _smaller(inverse, density, -wanted.abs(), start=p.amin(dim=0))
        return torch.where(wanted <= 0, torch.stack([1 - t, t]), torch.stack([t, 1 - t]))

    return step


def _smaller(inverse: Callable[[Tensor], Tensor], density: Callable[[Tensor], Tensor], wanted: Tensor, start: Tensor) -> Tensor:
    """The t in [0, 1/2] with inverse(t) = wanted, or 0 where all are larger: then the least is at the end of the interval.

    A step of Newton's that leaves the interval in which t is known to lie is replaced by its middle.
    """
    low, high = torch.zeros_like(wanted), torch.full_like(wanted, 0.5)
    at_end = wanted <= inverse(low)
    rounding = 2 * torch.finfo(wanted.dtype).eps * wanted.abs().clamp(min=1)
    t = torch.where(start > 0, start, 0.25)
    for _ in range(TURNS):
        dual = inverse(t)
        excess = dual - wanted
        low, high = torch.where(excess < 0, t, low), torch.where(excess > 0, t, high)
        newton = t - excess * density(dual)
        t = torch.where((newton >= low) & (newton <= high), newton, (low + high) / 2)
        if ((excess.abs() <= rounding) | at_end).all():  # and the step just taken from there changes nothing but the last digits
            break
    return torch.where(at_end, 0.0, t)


DIVERGENCES = {
    "logistic": Divergence(_kullback_leibler, _multiplicative),
    "uniform": Divergence(_euclidean, _projected),
    "triangular": Divergence(_triangular, _solved(_triangular_inverse, lambda z: (1 - z.abs()).clamp(min=0))),
    "normal": Divergence(_normal, _solved(_normal_inverse, lambda z: torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi))),
}
