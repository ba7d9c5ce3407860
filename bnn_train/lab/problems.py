"""What the laboratory's networks are asked to do: a small classification problem, and known losses of one layer."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bnn_train.binary.noise import Noise
from bnn_train.lab.network import Network


def moons(widths: list[int], noise: Noise, points: int, seed: int) -> Network:
    """Two interleaved half moons in the plane; an output unit v gives the class +-1, the loss is log(1 + exp(-class v))."""
    x, y = half_moons(points, noise=0.2, seed=seed % 2**32)
    inputs, sides = torch.from_numpy(x), torch.from_numpy(2.0 * y - 1)
    inputs = (inputs - inputs.mean(dim=0)) / inputs.std(dim=0)

    def loss(v: Tensor) -> Tensor:
        return F.softplus(-sides.to(v.dtype) * v.squeeze(-1))

    return Network(inputs, tuple(widths), True, loss, noise)


def half_moons(count: int, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(count, 2) points on two half circles, with normal noise, in random order, and the moon (0 or 1) of each.

    The points are those of scikit-learn's make_moons, whose generator is numpy's legacy one: its numbers never change.
    """
    generator = np.random.RandomState(seed)
    upper, lower = (np.linspace(0, np.pi, size) for size in (count // 2, count - count // 2))
    x = np.append(np.cos(upper), 1 - np.cos(lower))
    y = np.append(np.sin(upper), 1 - np.sin(lower) - 0.5)
    order = generator.permutation(count)
    points = np.stack([x, y], axis=1)[order]
    return points + generator.normal(scale=noise, size=points.shape), (order >= len(upper)).astype(int)


def known_loss(name: str, width: int, noise: Noise, seed: int) -> Network:
    """One layer whose parameters are the pre-activations themselves, and a loss of its values x with coefficients drawn by `seed`.

    multilinear: c x, and a product for every pair and for all units; quadratic: (c x - 1)^2; exponential: exp(c x).
    """
    generator = torch.Generator().manual_seed(seed)
    c = torch.randn(width, generator=generator, dtype=torch.float64) / width**0.5
    pairs = torch.randn(width, width, generator=generator, dtype=torch.float64).triu(diagonal=1) / width

    def multilinear(x: Tensor) -> Tensor:
        return x @ c.to(x.dtype) + ((x @ pairs.to(x.dtype)) * x).sum(-1) + x.prod(-1)

    def quadratic(x: Tensor) -> Tensor:
        return (x @ c.to(x.dtype) - 1).square()

    def exponential(x: Tensor) -> Tensor:
        return (x @ c.to(x.dtype)).exp()

    loss = {"multilinear": multilinear, "quadratic": quadratic, "exponential": exponential}[name]
    return Network(torch.empty(1, 0, dtype=torch.float64), (width,), False, loss, noise)


def build(name: str, widths: list[int], noise: Noise, points: int, seed: int) -> Network:
    """The network of a problem; the seed fixes its data or its coefficients."""
    return moons(widths, noise, points, seed) if name == "moons" else known_loss(name, widths[0], noise, seed)


def start(net: Network, seed: int) -> Tensor:
    """Parameters to begin with, uniform in +-1 / sqrt(inputs of the layer), or in +-1 where there are none."""
    generator = torch.Generator().manual_seed(seed)
    bounds = torch.cat([torch.full((w.numel() + b.numel(),), max(w.shape[1], 1) ** -0.5) for w, b in net.layers(_empty(net))])
    return (torch.rand(len(bounds), generator=generator, dtype=torch.float64) * 2 - 1) * bounds


def _empty(net: Network) -> Tensor:
    return torch.empty(max(block.stop for block in net.blocks().values()))
