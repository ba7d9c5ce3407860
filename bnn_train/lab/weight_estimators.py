"""Estimators of the gradient with respect to the means m of Bernoulli weights, as functions of one uniform number for each weight.

Each takes (net, eta, u, baseline), u (samples, weights) uniform in [0, 1], and returns (samples, weights). The weight that u draws
is +1 where u < p. In the formulas g is the gradient of the pass with respect to the weights that it used, p = P(w = +1), P(w) the
probability of the value that was drawn; 1 - m^2 = 4 p (1 - p). All are for dE[L]/dm: one for the logit of p, as papers have it, is
divided by dm / d logit p = (1 - m^2) / 2.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from bnn_train.binary.ste import sign
from bnn_train.config.lab_weights import WeightEstimator
from bnn_train.lab.weight_network import ACTIVATIONS, WeightNetwork, gradients, losses, means_of

Estimate = Callable[..., Tensor]  # of (net, eta, u, baseline), and of the temperature where it takes one
EPSILON = 1e-10  # of BayesBiNN


class Method(NamedTuple):
    """One estimator, as the laboratory uses it."""

    estimate: Estimate | None  # None: the exact gradient, by enumeration
    drawn: bool  # whether it draws weights
    cost: Callable[[WeightNetwork], tuple[float, float]]  # (forward, backward) passes of one sample


def drawn(p: Tensor, u: Tensor) -> Tensor:
    return torch.where(u < p, 1.0, -1.0).to(u.dtype)


def straight_through(net: WeightNetwork, eta: Tensor, u: Tensor, baseline: Tensor) -> Tensor:
    """g: the weights are drawn, the backward is the identity (Shekhovtsov & Yanush 2021, arXiv 2006.06880).

    The other derived form, 2 F'(eta) g, is of the gradient with respect to eta: the same estimator in other units. Exact on average
    where the loss is multilinear in the weights.
    """
    return gradients(net, drawn(net.noise.cdf(eta), u))


def deterministic(net: WeightNetwork, eta: Tensor, u: Tensor, baseline: Tensor) -> Tensor:
    """g at w = sign(eta): BinaryConnect (Courbariaux et al. 2015, arXiv 1511.00363), whose latent weights keep to its window."""
    return gradients(net, sign(eta).expand_as(u))


def stochastic_binaryconnect(net: WeightNetwork, eta: Tensor, u: Tensor, baseline: Tensor) -> Tensor:
    """g at weights with P(w = +1) = min(max((eta + 1) / 2, 0), 1), BinaryConnect's other form (arXiv 1511.00363).

    Where the network's noise is uniform on [-1, 1] it is the straight-through estimator.
    """
    return gradients(net, drawn(((eta + 1) / 2).clamp(0, 1), u))


def reinmax(net: WeightNetwork, eta: Tensor, u: Tensor, baseline: Tensor) -> Tensor:
    """g / (2 P(w)) (Liu et al. 2023, arXiv 2304.08612, for two values). Exact on average where L is quadratic in each weight."""
    w = drawn(net.noise.cdf(eta), u)
    return gradients(net, w) / (2 * net.noise.cdf(w * eta))


def gumbel(net: WeightNetwork, eta: Tensor, u: Tensor, baseline: Tensor, *, temperature: float) -> Tensor:
    """g (1 - s^2) / (temperature (1 - m^2)) at the weights s = tanh((logit p - logit u) / (2 temperature)), which are real numbers
    (Jang et al. 2017, arXiv 1611.01144; Maddison et al. 2017, arXiv 1611.00712)."""
    s = _relaxed(net, eta, u, temperature)
    return gradients(net, s) * _relaxed_slope(net, eta, s, temperature)


def gumbel_straight_through(net: WeightNetwork, eta: Tensor, u: Tensor, baseline: Tensor, *, temperature: float) -> Tensor:
    """The same with g at the drawn weights, the signs of s (arXiv 1611.01144)."""
    factor = _relaxed_slope(net, eta, _relaxed(net, eta, u, temperature), temperature)
    return gradients(net, drawn(net.noise.cdf(eta), u)) * factor


def bayesbinn(net: WeightNetwork, eta: Tensor, u: Tensor, baseline: Tensor, *, temperature: float) -> Tensor:
    """g (1 - s^2 + e) / (temperature (1 - m^2 + e)), e = 1e-10, at the relaxed weights s of `gumbel` (BayesBiNN, Meng et al. 2020,
    arXiv 2002.10778).

    At its authors' temperature of 1e-10 every s is -1 or +1, so that it is g / (1 - m^2). bnn_train.optim.bayesbinn takes that.
    """
    s = _relaxed(net, eta, u, temperature)
    m = means_of(net.noise, eta)
    return gradients(net, s) * ((1 - s.square() + EPSILON) / temperature / (1 - m.square() + EPSILON))


def _relaxed(net: WeightNetwork, eta: Tensor, u: Tensor, temperature: float) -> Tensor:
    logit = net.noise.cdf(eta).log() - net.noise.cdf(-eta).log()
    return torch.tanh((logit - torch.logit(u, eps=torch.finfo(u.dtype).eps)) / (2 * temperature))


def _relaxed_slope(net: WeightNetwork, eta: Tensor, s: Tensor, temperature: float) -> Tensor:
    """ds / dm."""
    return (1 - s.square()) / (temperature * _variance(net, eta))


def _variance(net: WeightNetwork, eta: Tensor) -> Tensor:
    """1 - m^2, without cancellation."""
    return 4 * net.noise.cdf(eta) * net.noise.cdf(-eta)


def reinforce(net: WeightNetwork, eta: Tensor, u: Tensor, baseline: Tensor) -> Tensor:
    """L w / (2 P(w)), the loss times the derivative of log P(w) (Williams 1992)."""
    w = drawn(net.noise.cdf(eta), u)
    return losses(net, w)[:, None] * w / (2 * net.noise.cdf(w * eta))


def reinforce_baseline(net: WeightNetwork, eta: Tensor, u: Tensor, baseline: Tensor) -> Tensor:
    """REINFORCE with the mean loss, known from earlier samples, subtracted."""
    w = drawn(net.noise.cdf(eta), u)
    return (losses(net, w) - baseline)[:, None] * w / (2 * net.noise.cdf(w * eta))


def arm(net: WeightNetwork, eta: Tensor, u: Tensor, baseline: Tensor) -> Tensor:
    """(L(w') - L(w)) (u - 1/2) 2 / (1 - m^2), w' drawn by 1 - u: +1 where u > 1 - p (ARM, Yin & Zhou 2019, arXiv 1807.11143).

    All weights are drawn at once, so that two passes do whatever the depth.
    """
    _, _, difference = _antithetic(net, eta, u)
    return difference * (u - 0.5) * 2 / _variance(net, eta)


def disarm(net: WeightNetwork, eta: Tensor, u: Tensor, baseline: Tensor) -> Tensor:
    """(L(w) - L(w')) / 2 w / (1 - |m|), and 0 where w = w' (DisARM, Dong et al. 2020, arXiv 2006.10680; arXiv 2007.05385)."""
    w, mirrored, difference = _antithetic(net, eta, u)
    return torch.where(w == mirrored, 0, -difference / 2 * w / (2 * net.noise.cdf(-eta.abs())))


def _antithetic(net: WeightNetwork, eta: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(w, w', L(w') - L(w))."""
    p = net.noise.cdf(eta)
    w, mirrored = drawn(p, u), drawn(p, 1 - u)
    return w, mirrored, (losses(net, mirrored) - losses(net, w))[:, None]


def local_reparametrization(
    net: WeightNetwork, eta: Tensor, u: Tensor, baseline: Tensor, *, normal: Callable[[Tensor], Tensor] = torch.randn_like
) -> Tensor:
    """Backpropagation to m through pre-activations drawn as normal numbers, one for each datum and unit, with the mean sum m_i x_i
    and the variance sum (1 - m_i^2) x_i^2 (Shayer et al. 2018, arXiv 1710.07739).

    Exact on average where all units are linear and the loss is linear or quadratic, which sees these two moments alone. u gives the
    number of samples.
    """
    m = means_of(net.noise, eta).expand_as(u).detach().requires_grad_()
    layers = net.layers(m)
    x = net.inputs.to(u.dtype)
    for i, weight in enumerate(layers):
        mean, variance = x @ weight.mT, x.square() @ (1 - weight.square()).mT
        a = (mean + variance.clamp(min=torch.finfo(u.dtype).tiny).sqrt() * normal(mean)) / weight.shape[-1] ** 0.5
        x = ACTIVATIONS[net.activation](a) if i < len(layers) - 1 else a
    return torch.autograd.grad(net.loss(x.squeeze(-1)).mean(dim=-1).sum(), m)[0]


def _enumeration_cost(net: WeightNetwork) -> tuple[float, float]:
    """A pass for each state of the weights, with what follows a stochastic activation at each of its states."""
    widths = net.widths if net.activation == "stochastic" else (0,) * len(net.widths)
    seen = [1, *(2**width for width in widths)]
    return 2 ** net.size() * sum(seen) / len(seen), 0


def _passes(forward: float, backward: float) -> Callable[[WeightNetwork], tuple[float, float]]:
    return lambda net: (forward, backward)


METHODS = {
    "exact": Method(None, False, _enumeration_cost),
    "straight_through": Method(straight_through, True, _passes(1, 1)),
    "deterministic": Method(deterministic, False, _passes(1, 1)),
    "stochastic_binaryconnect": Method(stochastic_binaryconnect, True, _passes(1, 1)),
    "reinmax": Method(reinmax, True, _passes(1, 1)),
    "gumbel": Method(gumbel, True, _passes(1, 1)),
    "gumbel_straight_through": Method(gumbel_straight_through, True, _passes(1, 1)),
    "bayesbinn": Method(bayesbinn, True, _passes(1, 1)),
    "reinforce": Method(reinforce, True, _passes(1, 0)),
    "reinforce_baseline": Method(reinforce_baseline, True, _passes(1, 0)),
    "arm": Method(arm, True, _passes(2, 0)),
    "disarm": Method(disarm, True, _passes(2, 0)),
    "local_reparametrization": Method(local_reparametrization, True, _passes(2, 2)),  # of means and of variances
}


def build(config: WeightEstimator) -> Method:
    method = METHODS[config.name]
    if config.temperature is None:
        return method
    assert method.estimate is not None
    return method._replace(estimate=functools.partial(method.estimate, temperature=config.temperature))
