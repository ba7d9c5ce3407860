"""Noise distributions of the stochastic binary network (SBN): x = sign(a - Z), Z with distribution function F, so P(x = +1) = F(a).

Then E[x] = 2 F(a) - 1, and the surrogate factor that belongs to the noise is its derivative 2 F'(a): every density below, doubled,
is the backward of one estimator in ste.py (Shekhovtsov & Yanush 2021, arXiv 2006.06880). All distributions are symmetric about 0
and have one parameter, a scale: Z = scale * (standard Z); the entries of FAMILY are standard, `scaled` gives the others.

Functions take a tensor of any shape and return one of the same shape; samples come from torch's generator of the tensor's device.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Noise(NamedTuple):
    """A distribution: `cdf` F, `pdf` F', `sample`, which draws a tensor like its argument, and `support`: |Z| never exceeds it."""

    cdf: Callable[[Tensor], Tensor]
    pdf: Callable[[Tensor], Tensor]
    sample: Callable[[Tensor], Tensor]
    support: float = math.inf


def scaled(noise: Noise, scale: float) -> Noise:
    """The distribution of scale * Z."""
    return Noise(
        cdf=lambda z: noise.cdf(z / scale),
        pdf=lambda z: noise.pdf(z / scale) / scale,
        sample=lambda like: noise.sample(like) * scale,
        support=noise.support * scale,
    )


def _uniform_symmetric(like: Tensor) -> Tensor:
    return torch.rand_like(like) * 2 - 1


def _triangular_sample(like: Tensor) -> Tensor:
    """The sum of two uniforms on [-1/2, 1/2]."""
    return torch.rand_like(like) - torch.rand_like(like)


def _logistic_sample(like: Tensor) -> Tensor:
    """logit(u), u uniform and kept away from 0 and 1, where the logit is infinite."""
    return torch.logit(torch.rand_like(like), eps=torch.finfo(like.dtype).eps)


uniform = Noise(  # on [-1, 1]
    cdf=lambda z: ((z + 1) / 2).clamp(0, 1),
    pdf=lambda z: (z.abs() <= 1).to(z.dtype) / 2,
    sample=_uniform_symmetric,
    support=1.0,
)
triangular = Noise(  # on [-1, 1], density 1 - |z|
    cdf=lambda z: torch.where(z < 0, (1 + z).clamp(min=0) ** 2 / 2, 1 - (1 - z).clamp(min=0) ** 2 / 2),
    pdf=lambda z: (1 - z.abs()).clamp(min=0),
    sample=_triangular_sample,
    support=1.0,
)
logistic = Noise(
    cdf=torch.sigmoid,
    pdf=lambda z: torch.sigmoid(z) * torch.sigmoid(-z),
    sample=_logistic_sample,
)
normal = Noise(
    cdf=torch.special.ndtr,
    pdf=lambda z: torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi),
    sample=torch.randn_like,
)
FAMILY = {"uniform": uniform, "triangular": triangular, "logistic": logistic, "normal": normal}
