"""One network's study of latent weights: the same steps as mirror descent over probabilities, and as training takes them.

A loss of 8 Bernoulli weights is small enough to visit all their states: its expectation and the gradient of that are exact. So the
two ways differ by rounding, or by what training does besides: see CHANGES.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bnn_train.binary.noise import FAMILY, scaled
from bnn_train.binary.weights import Stochastic
from bnn_train.config.lab import LabConfig
from bnn_train.config.lab_mirror import MirrorConfig
from bnn_train.config.optimizer import AdamConfig, OptimizerConfig, SgdConfig
from bnn_train.lab import means
from bnn_train.lab.divergences import DIVERGENCES
from bnn_train.optim import optimizers

WEIGHTS, DATA = 8, 16
PRODUCTS = 0.25  # their size beside the squares: with much more of them a loss has many minima, and which is reached is chance
MOMENTUM = 0.9


@dataclass(frozen=True)
class Objective:
    """The mean square error of a linear unit with weights w on a few data, and products of three weights.

    The square has each weight's square in it, which is 1 in every state and yet has a slope: a drawn weight's backward is biased.
    """

    features: Tensor  # (data, weights)
    targets: Tensor  # (data,)
    products: Tensor  # (triples of weights,), their coefficients

    def loss(self, w: Tensor) -> Tensor:
        """Of weights (..., weights), which need not be signs."""
        error = (w @ self.features.T - self.targets).square().mean(-1)
        return error + w[..., _triples(w.shape[-1])].prod(-1) @ self.products


def objective(seed: int, weights: int = WEIGHTS) -> Objective:
    """Random, by the seed alone, in float64; its gradient by the probabilities is of the order of 1."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    triples = len(_triples(weights))
    return Objective(draw(DATA, weights) / weights**0.5, draw(DATA), PRODUCTS * draw(triples) / triples**0.5)


def _triples(weights: int) -> Tensor:
    return torch.tensor(list(itertools.combinations(range(weights), 3)))


class Table(NamedTuple):
    """An objective at all states of its weights."""

    states: Tensor  # (states, weights), -1 or +1
    losses: Tensor  # (states,)
    slopes: Tensor  # (states, weights): by the weights, as backpropagation gives it to a drawn one


def enumerated(objective: Objective) -> Table:
    weights = objective.features.shape[1]
    states = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * weights).requires_grad_()
    losses = objective.loss(states)
    (slopes,) = torch.autograd.grad(losses.sum(), states)
    return Table(states.detach(), losses.detach(), slopes)


def expected(table: Table, p: Tensor) -> Tensor:
    """The mean loss of weights with the probabilities `p`, (2, weights), of -1 and +1."""
    return _chances(table, p).prod(dim=1) @ table.losses


def gradient(table: Table, p: Tensor) -> Tensor:
    """Its derivative by each P(w = +1): the loss where w is +1 less that where it is -1, averaged over the others."""
    chances = _chances(table, p)
    ones = torch.ones_like(chances[:, :1])
    before = torch.cat([ones, chances[:, :-1]], dim=1).cumprod(dim=1)
    after = torch.cat([chances[:, 1:], ones], dim=1).flip(1).cumprod(dim=1).flip(1)
    return table.losses @ (table.states * before * after)


def mean_backward(table: Table, p: Tensor) -> Tensor:
    """The mean over draws of the gradient that reaches a drawn weight, twice: what stands for `gradient` in training."""
    return 2 * _chances(table, p).prod(dim=1) @ table.slopes


def _chances(table: Table, p: Tensor) -> Tensor:
    """Of each weight's value in each state, (states, weights)."""
    return torch.where(table.states > 0, p[1], p[0])


Gradient = Callable[[Table, Tensor], Tensor]


class Change(NamedTuple):
    """What training does besides plain gradient descent on latent weights."""

    momentum: float = 0.0  # the learning rate is then multiplied by 1 - momentum, so that equal gradients make equal steps
    adam: bool = False
    clip_gradient: bool = False  # its norm to protocol.clip_grad
    clip_latent: bool = False  # to protocol.clip
    gradient: Gradient = gradient


CHANGES = {
    "none": Change(),
    "gradient clipped": Change(clip_gradient=True),
    "latent clipped": Change(clip_latent=True),
    "momentum": Change(momentum=MOMENTUM),
    "adam": Change(adam=True),
    "drawn": Change(gradient=mean_backward),
}


def start(seed: int) -> Tensor:
    """Standard latent weights, latent / scale, (weights,), within [-1/2, 1/2]."""
    generator = torch.Generator().manual_seed(seed + 1)
    return torch.rand(WEIGHTS, generator=generator, dtype=torch.float64) - 0.5


def pair(noise: str, scale: float, latent: Tensor) -> Tensor:
    """The probabilities of -1 and +1, (2, weights), of latent weights."""
    cdf = scaled(FAMILY[noise], scale).cdf
    return torch.stack([cdf(-latent), cdf(latent)])


def by_mirror(table: Table, config: MirrorConfig, noise: str, kl: float, first: Tensor, change: Change = CHANGES["none"]) -> Tensor:
    """Mirror descent from the probabilities `first`, (2, weights): the path, (steps, 2, weights).

    Of `change` it knows two: where the gradient is clipped, the step is as much shorter, and where latent weights are clipped,
    probabilities keep to the interval between those of the bound.
    """
    step = DIVERGENCES[noise].step
    tau, p, path = config.lr / (2 * config.scale), first, []
    end = torch.tensor([config.clip * config.scale], dtype=first.dtype)
    low, high = pair(noise, config.scale, end)[:, 0].tolist() if change.clip_latent else (0.0, 1.0)
    for _ in range(config.steps):
        slope = gradient(table, p)
        norm = slope.norm().item() / 2  # of the gradient by the latent weights, to which torch's clipping adds 1e-6
        share = min(1.0, config.clip_grad / (norm + 1e-6)) if change.clip_gradient else 1.0
        p = step(p, slope, tau * share, kl / share).clamp(low, high)
        path.append(p)
    return torch.stack(path)


def by_latent(table: Table, config: MirrorConfig, noise: str, kl: float, first: Tensor, change: Change = CHANGES["none"]) -> Tensor:
    """Training's own steps from the latent weights `first`, (weights,): the path of the probabilities, (steps, 2, weights)."""
    latent, path = nn.Parameter(first.clone()), []
    lr = config.lr * (1 - change.momentum)
    binarizer = Stochastic(noise, config.scale, kl, config.clip * config.scale if change.clip_latent else None)
    chosen: OptimizerConfig = AdamConfig(lr=lr) if change.adam else SgdConfig(lr=lr, momentum=change.momentum)
    optimizer = optimizers.REGISTRY[chosen.name]([{"params": [latent]}], chosen)
    for _ in range(config.steps):
        # A weight's mean is 2 p - 1: its derivative is half of that by p.
        latent.grad = change.gradient(table, pair(noise, config.scale, latent.detach())) / 2
        if change.clip_gradient:
            nn.utils.clip_grad_norm_([latent], config.clip_grad)
        optimizer.step()
        binarizer.constrain(latent, lr)
        path.append(pair(noise, config.scale, latent.detach()))
    return torch.stack(path)


def whole(table: Table, noise: str, kl: float, p: Tensor) -> float:
    """What is minimised: the mean loss and the prior."""
    return (expected(table, p) + kl * DIVERGENCES[noise].from_coin(p).sum()).item()


def check(config: LabConfig) -> None:
    """The types of the configuration have refused all that there is to refuse."""


def run(config: LabConfig, folder: Path, tick: Callable[[float], None]) -> dict[str, Any]:
    """The figures of the network of config.seed: {"rows": [{noise, kl, change, difference, matched, start, objective, excess}]}.

    difference: the largest of any probability at any step, from plain mirror descent; matched: the same from mirror descent that
    knows of the change, None where it is of no such kind; objective: after the last step, and excess, by how much it is above that
    of plain mirror descent; start: before the first.
    """
    protocol = config.protocol
    assert isinstance(protocol, MirrorConfig)
    return {"rows": rows(protocol, config.seed, tick)}


def rows(protocol: MirrorConfig, seed: int, tick: Callable[[float], None] = lambda share: None) -> list[dict[str, Any]]:
    """See `run`."""
    table, standard, found = enumerated(objective(seed)), start(seed), []
    places = [(noise, kl) for noise in protocol.noises for kl in dict.fromkeys((0.0, protocol.kl))]
    for noise, kl in places:
        latent = standard * protocol.scale
        before = pair(noise, protocol.scale, latent)
        plain = by_mirror(table, protocol, noise, kl, before)
        least = whole(table, noise, kl, plain[-1])
        for name, change in CHANGES.items():
            path = by_latent(table, protocol, noise, kl, latent, change)
            own = by_mirror(table, protocol, noise, kl, before, change) if change.clip_gradient or change.clip_latent else None
            reached = whole(table, noise, kl, path[-1])
            found.append(
                {
                    "noise": noise,
                    "kl": kl,
                    "change": name,
                    "difference": (path - plain).abs().max().item(),
                    "matched": None if own is None else (path - own).abs().max().item(),
                    "start": whole(table, noise, kl, before),
                    "objective": reached,
                    "excess": reached - least,
                }
            )
            tick(1 / len(places) / len(CHANGES))
    return found


def gathered(networks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of several networks' figures: each row with the largest difference of all, and [mean, half width of its 95% interval]."""
    found = []
    for same in zip(*(network["rows"] for network in networks), strict=True):
        first = same[0]
        figures = {name: means.of([row[name] for row in same]) for name in ("difference", "start", "objective", "excess")}
        matched = None if first["matched"] is None else max(row["matched"] for row in same)
        place = {name: first[name] for name in ("noise", "kl", "change")}
        found.append({**place, **figures, "largest": max(row["difference"] for row in same), "matched": matched})
    return {"kind": "mirror", "rows": found}
