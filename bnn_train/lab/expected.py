"""Expectations of estimators by enumeration: a sum over states or paths takes the place of samples, and bias has no sampling error.

Layer by layer, in a network of any depth, for estimators whose gradient goes back from one layer to the one before without looking
further: what arrives at a layer, given the values of the layer before, is a mean over the layer's states alone. Path by path, in a
network with few paths, for every estimator of what was drawn. The noise is that of the network that runs.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from bnn_train.binary import ste
from bnn_train.config.ste import SteConfig
from bnn_train.errors import ConfigError
from bnn_train.lab.estimators import METHODS, Deltas, flip_changes, last_flips
from bnn_train.lab.network import Network, Sample, parameter_gradients, state_probabilities, states

MOST_PATHS = 2**12


class Backward(NamedTuple):
    """How a gradient goes back. q is what is known of a layer's values x; its mean, over x, times `factor` is m."""

    last: Callable[[Network, Tensor, Tensor], Tensor]  # (network, theta, all states x of the last layer) -> q (states, data, units)
    factor: Callable[[Tensor, Tensor], Tensor]  # (a, x) -> what q is multiplied by
    delta: Callable[[Network, Tensor, Tensor], Tensor]  # (network, a, m) -> the gradient with respect to a
    before: Callable[[Network, Tensor, Tensor, Tensor, Tensor], Tensor]  # (network, W, a, values before, m) -> q of these


def straight_through(backward: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Backward:
    """backward(g, a, z), linear in g, where z enters by sign(a - z) alone."""

    def factor(a: Tensor, x: Tensor) -> Tensor:
        a, x = torch.broadcast_tensors(a, x)
        return backward(torch.ones_like(a), a, a - x)

    return Backward(_last_gradients, factor, lambda net, a, m: m, lambda net, weight, a, x, m: m @ weight)


def psa() -> Backward:
    """Of lab/estimators.py: x_j of Delta_ij goes into the mean, the rest is known from the layer before."""

    def before(net: Network, weight: Tensor, a: Tensor, x: Tensor, m: Tensor) -> Tensor:
        return (flip_changes(net, weight, a, x) * m[..., None]).sum(dim=-2)

    return Backward(_last_flips, lambda a, x: x.expand_as(a + x), lambda net, a, m: net.noise.pdf(a) * m, before)


def rule(name: str, config: SteConfig) -> Backward:
    """Of psa, or of an estimator of binary/ste.py, half-way through training; `name` is where it stands in the configuration.

    Raises ConfigError for one whose mean is not found layer by layer.
    """
    check(name, config)
    return psa() if config.name == "psa" else straight_through(_backward(config))


NO_MEAN = "has the exact gradient as its mean, or none of its own; measure it with protocol=psa"
NOT_LINEAR = "is not linear in what arrives, so that its mean is no sum over one layer's states; clamp measures it"
NOT_OF_STATES = "depends on the noise itself, not on states alone, and no enumeration gives its mean; measure it with protocol=psa"


def check(name: str, config: SteConfig, linear: bool = True) -> None:
    """Raises ConfigError for an estimator whose mean no enumeration gives: of states, or with `linear` unset of whole paths."""
    if config.name == "psa":
        return
    if config.name in METHODS:
        raise ConfigError(f"{name}.name", config.name, NO_MEAN)
    if not config.stochastic:
        raise ConfigError(
            f"{name}.stochastic", False, "is measured with noise in the forward; protocol=shortcoming_forward takes it away"
        )
    backward = _backward(config)
    if linear and not _is_linear(backward):
        raise ConfigError(f"{name}.name", config.name, NOT_LINEAR)
    if not _takes_the_sign_alone(backward):
        raise ConfigError(f"{name}.name", config.name, NOT_OF_STATES)


def is_found(config: SteConfig) -> bool:
    """Whether `rule` gives its mean."""
    try:
        check("", config)
    except ConfigError:
        return False
    return True


def _backward(config: SteConfig) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    estimator = ste.Ste(config.name, config.stochastic, **config.params)
    estimator.progress = 0.5
    return lambda g, a, z: estimator.backward(z)(g, a)


# A look at the function itself holds for plugins too, and needs no list of names.
PROBE = torch.linspace(-2, 2, 41, dtype=torch.float64)


def _is_linear(backward: Callable[[Tensor, Tensor, Tensor], Tensor]) -> bool:
    one, hundred = (backward(torch.full_like(PROBE, g), PROBE, PROBE - 1) for g in (1.0, 100.0))
    return torch.allclose(100 * one, hundred)


def _takes_the_sign_alone(backward: Callable[[Tensor, Tensor, Tensor], Tensor]) -> bool:
    ones = torch.ones_like(PROBE)
    return all(torch.equal(backward(ones, PROBE, PROBE - x), backward(ones, PROBE, PROBE - 3 * x)) for x in (-1, 1))


def expectation(net: Network, theta: Tensor, rule: Backward) -> Tensor:
    """The expected gradient, (parameters,), by enumeration of each layer's states; theta in float64."""
    layers, data = net.layers(theta), len(net.inputs)
    seen = [net.inputs[None]]  # the values that each layer sees: (states, data or 1, units)
    chances = [torch.ones(data, 1, dtype=theta.dtype)]  # of these, (data, states)
    steps = []  # of each layer: a, (states before, data or 1, units); the states' probabilities, (states before, data or 1, states)
    for (weight, bias), width in zip(layers, net.widths, strict=False):
        a = seen[-1] @ weight.T + bias
        steps.append((a, state_probabilities(net, a)))
        seen.append(states(width)[:, None, :])
        chances.append(torch.einsum("dp,pds->ds", chances[-1], steps[-1][1].expand(-1, data, -1)))
    blocks = [_output_gradient(net, theta, seen[-1], chances[-1])] if net.output else []
    q = rule.last(net, theta, seen[-1])
    for i in range(len(steps) - 1, -1, -1):
        (a, p), x = steps[i], seen[i + 1][:, 0]
        weighted = p[..., None] * rule.factor(a[:, :, None, :], x)
        m = torch.einsum("pdsu,sdu->pdu", weighted, q)
        blocks.append(_block(chances[i], rule.delta(net, a, m), seen[i]))
        q = rule.before(net, layers[i][0], a, seen[i], m)
    return torch.cat(blocks[::-1]) / data


def _block(chances: Tensor, delta: Tensor, x: Tensor) -> Tensor:
    """The gradient of a layer's (W, b), summed over data: each state's delta and values, with its probability."""
    delta = chances.T[..., None] * delta
    return torch.cat([torch.einsum("pdu,pdi->ui", delta, x.expand(*delta.shape[:2], -1)).flatten(), delta.sum(dim=(0, 1))])


def _last(net: Network, theta: Tensor, x: Tensor) -> Tensor:
    """(states, data, units of what comes last) of the last stochastic layer's values (states, 1, units)."""
    values = x.expand(-1, len(net.inputs), -1)
    if not net.output:
        return values
    weight, bias = net.layers(theta)[-1]
    return values @ weight.T + bias


def _gradient_of_last(net: Network, last: Tensor) -> Tensor:
    last = last.detach().requires_grad_()
    return torch.autograd.grad(net.loss(last).sum(), last)[0]


def _last_gradients(net: Network, theta: Tensor, x: Tensor) -> Tensor:
    g = _gradient_of_last(net, _last(net, theta, x))
    return g @ net.layers(theta)[-1][0] if net.output else g


def _last_flips(net: Network, theta: Tensor, x: Tensor) -> Tensor:
    return last_flips(net, theta, x.expand(-1, len(net.inputs), -1), _last(net, theta, x))


def _output_gradient(net: Network, theta: Tensor, x: Tensor, chances: Tensor) -> Tensor:
    return _block(chances, _gradient_of_last(net, _last(net, theta, x)), x)


def paths(net: Network, theta: Tensor) -> tuple[Sample, Tensor]:
    """Every path once, as samples, (paths, data, units), with noise that gives it; and its probability, (paths, data)."""
    count = math.prod(2**width for width in net.widths)
    assert count <= MOST_PATHS
    values = torch.cartesian_prod(*(torch.arange(2**width) for width in net.widths)).view(count, -1)
    x = [net.inputs.expand(count, -1, -1)]
    a, z = [], []
    chance = torch.ones(count, len(net.inputs), dtype=theta.dtype)
    layers = net.layers(theta)
    for i, ((weight, bias), width) in enumerate(zip(layers, net.widths, strict=False)):
        a.append(x[-1] @ weight.T + bias)
        x.append(states(width)[values[:, i], None].expand(-1, len(net.inputs), -1))
        z.append(a[-1] - x[-1])
        chance = chance * net.noise.cdf(x[-1] * a[-1]).prod(dim=-1)
    last = x[-1] @ layers[-1][0].T + layers[-1][1] if net.output else x[-1]
    return Sample(a, z, x, last), chance


def over_paths(net: Network, theta: Tensor, deltas: Deltas) -> tuple[Tensor, Tensor]:
    """The expected gradient, (parameters,), and the variance of one sample of one datum drawn at random, summed over parameters.

    For estimators of what was drawn alone (not those that draw more), in a network of at most MOST_PATHS paths.
    """
    sample, chance = paths(net, theta)
    found = deltas(net, theta, sample, torch.zeros((), dtype=theta.dtype))
    squares = sum(
        delta.square().sum(dim=-1) * (x.square().sum(dim=-1) + 1) for x, delta in zip(sample.x, found, strict=False)
    )  # of each path's gradient of each datum: an outer product's norm is the product of its vectors'
    mean = parameter_gradients(net, sample, [delta * chance[..., None] for delta in found]).sum(dim=0)
    assert isinstance(squares, Tensor)
    return mean, (squares * chance).sum(dim=0).mean() - mean.square().sum()
