"""Gradient estimators as functions of samples: the straight-through ones of binary/ste.py, and those that see losses alone.

Each returns, for every layer, the gradient of each datum's loss with respect to the pre-activations, (samples, data, units); the
last entry is the output unit's, if there is one, which needs no estimator.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from bnn_train.binary import ste
from bnn_train.binary.noise import FAMILY
from bnn_train.config.checks import check_choice
from bnn_train.config.ste import SteConfig
from bnn_train.lab.network import Network, Sample, complete

Deltas = Callable[[Network, Tensor, Sample, Tensor], list[Tensor]]  # (network, theta, sample, baseline) -> deltas


class Method(NamedTuple):
    """One estimator, as the laboratory uses it."""

    deltas: Deltas | None  # None: the exact gradient, by enumeration
    noise: tuple[str, float] | None  # family and scale of the noise that it belongs to; None fits any
    forward: Callable[[Tensor], Tensor]  # of a - Z
    stochastic: bool  # False: one pass without noise
    cost: Callable[[Network], tuple[float, float]]  # (forward, backward) passes of one sample of one datum


def build(config: SteConfig, progress: float, key: str = "protocol.estimators") -> Method:
    """The method of `config`, of METHODS or of binary/ste.py; `progress` is for annealed estimators.

    `key` is where in the configuration it stands. Raises ConfigError for a name that is in neither.
    """
    check_choice(f"{key}.name", config.name, [*METHODS, *ste.ESTIMATORS])
    if config.name in METHODS:
        return METHODS[config.name]
    estimator = ste.Ste(config.name, config.stochastic, **config.params)
    estimator.progress = progress
    family = next(name for name, noise in FAMILY.items() if noise is estimator.estimator.noise)

    def backward(g: Tensor, a: Tensor, z: Tensor) -> Tensor:
        return estimator.backward(z)(g, a)

    # The sign is named as itself, so that estimators which differ in their backward alone share samples.
    noise, forward = (family, estimator.noise_scale()), estimator.forward_of_training()
    return Method(straight_through(backward), noise, forward, config.stochastic, lambda net: (1, 1))


def straight_through(backward: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Deltas:
    """Backpropagation in which each sign has the derivative backward(g, a, z)."""

    def deltas(net: Network, theta: Tensor, sample: Sample, baseline: Tensor) -> list[Tensor]:
        weights = [weight for weight, _ in net.layers(theta)]
        g = _last_gradient(net, sample)
        found = []
        if net.output:
            found.append(g)
            g = g @ weights.pop()
        for weight, a, z in zip(reversed(weights), reversed(sample.a), reversed(sample.z), strict=True):
            found.append(backward(g, a, z))
            g = found[-1] @ weight
        return found[::-1]

    return deltas


def reinforce(net: Network, theta: Tensor, sample: Sample, baseline: Tensor) -> list[Tensor]:
    """Loss times the derivative of log P(x) (Williams 1992), P(x) = F(x a)."""
    loss = net.loss(sample.last)[..., None]
    return _with_output(net, sample, [loss * _score(net, a, x) for a, x in zip(sample.a, sample.x[1:], strict=True)])


def reinforce_baseline(net: Network, theta: Tensor, sample: Sample, baseline: Tensor) -> list[Tensor]:
    """REINFORCE with the mean loss, known from earlier samples, subtracted."""
    loss = (net.loss(sample.last) - baseline)[..., None]
    return _with_output(net, sample, [loss * _score(net, a, x) for a, x in zip(sample.a, sample.x[1:], strict=True)])


def arm(net: Network, theta: Tensor, sample: Sample, baseline: Tensor) -> list[Tensor]:
    """ARM (Yin & Zhou 2019, arXiv 1807.11143), layer by layer, with respect to the logit of F(a).

    With u uniform, b = 1[u < p] and b' = 1[u > 1 - p]: (f(b') - f(b)) (u - 1/2). b is the sample itself, as u = F(z).
    """
    found = []
    for a, z, _, difference in _antithetic(net, theta, sample):
        found.append(difference * (net.noise.cdf(z) - 0.5) * _logit_slope(net, a))
    return _with_output(net, sample, found)


def disarm(net: Network, theta: Tensor, sample: Sample, baseline: Tensor) -> list[Tensor]:
    """DisARM (Dong, Mnih & Tucker 2020, arXiv 2006.10680; U2G, arXiv 2007.05385): ARM with u integrated out, given b and b'.

    (f(b') - f(b)) / 2 (-1)^b sigma(|logit p|), and 0 where b = b'.
    """
    found = []
    for (a, _, mirrored, difference), x in zip(_antithetic(net, theta, sample), sample.x[1:], strict=True):
        p = net.noise.cdf(a)
        found.append(difference / 2 * torch.where(mirrored == x, 0, -x) * torch.maximum(p, 1 - p) * _logit_slope(net, a))
    return _with_output(net, sample, found)


def psa(net: Network, theta: Tensor, sample: Sample, baseline: Tensor) -> list[Tensor]:
    """The path sample-analytic estimator (Shekhovtsov, Yanush & Flach 2020, arXiv 2006.03143).

    Let h(x) be the expected loss given the values x of one layer. The sum over both values of unit i is taken by hand: the exact
    gradient is the expectation of x_i F'(a_i) q_i with q_i = h(x) - h(x with x_i flipped). In the last layer these are two losses.
    Before it, the flip moves the next layer's a_j to a_j - 2 x_i W_ji, and P(x_j) by Delta_ij = x_j (F(a_j) - F(a_j - 2 x_i W_ji)).
    The joint probability, a product over j, moves by the sum over j of Delta_ij times the other factors, and by products of two and
    more Delta_ij, which are left out (the linearization): q_i = sum_j Delta_ij q_j, on the one path that was drawn.

    So its mean is exact in the last stochastic layer, and in every layer that only layers of one unit follow. The derivative in
    place of both differences gives straight-through with factor 2 F'(a).
    """
    weights, x = [weight for weight, _ in net.layers(theta)], sample.x[1:]
    q = last_flips(net, theta, x[-1], sample.last)
    found = [x[-1] * net.noise.pdf(sample.a[-1]) * q]
    for i in range(len(x) - 2, -1, -1):
        change = x[i + 1][..., None] * flip_changes(net, weights[i + 1], sample.a[i + 1], x[i])
        q = (change * q[..., None]).sum(dim=-2)
        found.append(x[i] * net.noise.pdf(sample.a[i]) * q)
    return _with_output(net, sample, found[::-1])


def last_flips(net: Network, theta: Tensor, x: Tensor, last: Tensor) -> Tensor:
    """What the loss falls by if unit i of the last stochastic layer were flipped, for each i; x (..., data, units) to the same."""
    if net.output:
        weight, _ = net.layers(theta)[-1]
        flipped = (last - 2 * weight * x).movedim(-1, 0)[..., None]
    else:
        flipped = x * (1 - 2 * torch.eye(x.shape[-1], dtype=x.dtype)).view(-1, *[1] * (x.dim() - 1), x.shape[-1])
    return net.loss(last)[..., None] - net.loss(flipped).movedim(0, -1)


def flip_changes(net: Network, weight: Tensor, a: Tensor, x: Tensor) -> Tensor:
    """F(a_j) - F(a_j - 2 x_i W_ji): a (..., units), x (..., units before) to (..., units, units before)."""
    return net.noise.cdf(a)[..., None] - net.noise.cdf(a[..., None] - 2 * weight * x[..., None, :])


def _antithetic(net: Network, theta: Tensor, sample: Sample) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """(a, z, the values that the mirrored noise gives, their loss less that of the sample) of each layer."""
    loss, found = net.loss(sample.last), []
    for i, (a, z) in enumerate(zip(sample.a, sample.z, strict=True), start=1):
        mirrored = ste.sign(a + z)
        found.append((a, z, mirrored, (complete(net, theta, i, mirrored, ste.sign) - loss)[..., None]))
    return found


def _score(net: Network, a: Tensor, x: Tensor) -> Tensor:
    """The derivative of log P(x); x has been drawn, so P(x) > 0."""
    return x * net.noise.pdf(a) / net.noise.cdf(x * a)


def _logit_slope(net: Network, a: Tensor) -> Tensor:
    """The derivative of logit F(a), 0 where F(a) is 0 or 1."""
    return net.noise.pdf(a) / (net.noise.cdf(a) * net.noise.cdf(-a)).clamp(min=1e-30)


def _last_gradient(net: Network, sample: Sample) -> Tensor:
    last = sample.last.detach().requires_grad_()
    return torch.autograd.grad(net.loss(last).sum(), last)[0]


def _with_output(net: Network, sample: Sample, deltas: list[Tensor]) -> list[Tensor]:
    return [*deltas, _last_gradient(net, sample)] if net.output else deltas


def _enumeration_cost(net: Network) -> tuple[float, float]:
    """Every layer, and what follows the last, at every state of what it sees."""
    seen = [1, *(2**width for width in net.widths)]
    return sum(seen) / len(seen), sum(seen) / len(seen)


def _antithetic_cost(net: Network) -> tuple[float, float]:
    """One pass, and for each stochastic layer one from the layer after it to the end."""
    layers = len(net.widths) + 1  # with the output unit or the loss
    return 1 + sum(layers - i for i in range(1, len(net.widths) + 1)) / layers, 0


def _psa_cost(net: Network) -> tuple[float, float]:
    """One pass, and one back of as many products, with a distribution function of each in place of one of each unit; without an
    output unit, which makes the last flips cheap, the loss of each of them."""
    layers = len(net.widths) + 1
    return (1, 1) if net.output else (1 + net.widths[-1] / layers, (layers - 2) / layers)


METHODS = {
    "exact": Method(None, None, ste.sign, False, _enumeration_cost),
    "reinforce": Method(reinforce, None, ste.sign, True, lambda net: (1, 0)),
    "reinforce_baseline": Method(reinforce_baseline, None, ste.sign, True, lambda net: (1, 0)),
    "arm": Method(arm, None, ste.sign, True, _antithetic_cost),
    "disarm": Method(disarm, None, ste.sign, True, _antithetic_cost),
    "psa": Method(psa, None, ste.sign, True, _psa_cost),
}
