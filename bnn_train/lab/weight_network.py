"""Networks with Bernoulli weights, small enough to visit every state of all weights.

Each weight is w = sign(eta - Z), eta the latent weight, drawn once for all data of a pass: P(w = +1) = F(eta), E[w] = m = 2 F(eta)
- 1. A layer computes a = W x / sqrt(inputs); hidden ones follow it with their activation, the last is one linear unit v. The
objective is the mean over the data of the expected loss of v, and multilinear in the means m.

The gradient that is measured is the one with respect to the means m. With respect to the probabilities P(w = +1) it is twice as
large, with respect to the latent weights it is 2 F'(eta) times as large, weight by weight. Weights are one flat vector: W_1 row by
row, W_2, ... A 1 among the inputs stands for biases.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from bnn_train.binary import ste
from bnn_train.binary.noise import FAMILY, Noise, scaled
from bnn_train.binary.ste import Binarization
from bnn_train.lab.network import states
from bnn_train.lab.problems import half_moons

ACTIVATION_NOISE = scaled(FAMILY["logistic"], 0.5)  # of stochastic activations: E[x] = tanh(a)
CHUNK = 1024  # states of the weights at once
WITHIN = 0.95  # of the noise's support, where latent weights are kept, so that both values of a weight are possible


class WeightNetwork(NamedTuple):
    inputs: Tensor  # (data, inputs)
    widths: tuple[int, ...]  # units of each hidden layer
    activation: str  # of ACTIVATIONS
    loss: Callable[[Tensor], Tensor]  # of v, (..., data) -> (..., data)
    noise: Noise  # of the weights

    def blocks(self) -> dict[str, slice]:
        """Which weights belong to which layer, by name."""
        sizes = [self.inputs.shape[1], *self.widths, 1]
        ends = list(itertools.accumulate(n_in * n_out for n_in, n_out in itertools.pairwise(sizes)))
        names = [*(f"layer {i}" for i in range(1, len(self.widths) + 1)), "output"]
        return {name: slice(start, end) for name, start, end in zip(names, [0, *ends], ends, strict=False)}

    def size(self) -> int:
        """How many weights there are."""
        return self.blocks()["output"].stop

    def layers(self, w: Tensor) -> list[Tensor]:
        """The weights (..., weights) as matrices (..., units, inputs), layer by layer."""
        blocks, widths = self.blocks().values(), (*self.widths, 1)
        return [w[..., block].unflatten(-1, (n_out, -1)) for block, n_out in zip(blocks, widths, strict=True)]


def _clipped_sign(a: Tensor) -> Tensor:
    """The sign, with the derivative of hardtanh, as training without noise has it by default."""
    return ste.binarize(a, Binarization(ste.clipped))


def _drawn_sign(a: Tensor) -> Tensor:
    """sign(a - Z), with the derivative 2 F'(a) of its mean, the straight-through estimator of that noise."""
    return ste.binarize(a, Binarization(ste.tanh, ACTIVATION_NOISE.sample(a)))


def _itself(a: Tensor) -> Tensor:
    return a


# By name, the activation of hidden layers with the derivative that gradients of single passes take.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": _itself,
    "tanh": torch.tanh,
    "sign": _clipped_sign,
    "stochastic": _drawn_sign,
}


def outputs(net: WeightNetwork, w: Tensor) -> Tensor:
    """v, (samples, data), of weights (samples, weights), real or binary, in one pass each; differentiable in w, see ACTIVATIONS."""
    x = net.inputs.to(w.dtype)
    layers = net.layers(w)
    for i, weight in enumerate(layers):
        a = x @ weight.mT / weight.shape[-1] ** 0.5
        x = ACTIVATIONS[net.activation](a) if i < len(layers) - 1 else a
    return x.squeeze(-1)


def losses(net: WeightNetwork, w: Tensor) -> Tensor:
    """The loss, the mean over the data, of one pass for each of weights (samples, weights): (samples,)."""
    return net.loss(outputs(net, w)).mean(dim=-1)


def gradients(net: WeightNetwork, w: Tensor) -> Tensor:
    """Of the loss of one pass with respect to w, (samples, weights), by backpropagation."""
    w = w.detach().requires_grad_()
    return torch.autograd.grad(losses(net, w).sum(), w)[0]


def state_losses(net: WeightNetwork) -> Tensor:
    """The expected loss given each state of the weights, in the order of `states`: (2^weights,), float64.

    Stochastic activations are summed over too, so that nothing here is drawn.
    """
    return torch.cat([_expected_losses(net, w) for w in states(net.size()).split(CHUNK)])


def _expected_losses(net: WeightNetwork, w: Tensor) -> Tensor:
    """Given weights (states, weights). x: (states or 1, paths, data, units), the paths being states of the activations before."""
    x, probabilities = net.inputs[None, None], torch.ones(1, 1, len(net.inputs), dtype=w.dtype)
    *hidden, output = (weight[:, None] / weight.shape[-1] ** 0.5 for weight in net.layers(w))
    for weight in hidden:
        a = x @ weight.mT
        if net.activation == "stochastic":
            found = states(a.shape[-1])
            p = ACTIVATION_NOISE.cdf(a[..., None, :] * found).prod(dim=-1)  # (states, paths, data, the layer's states)
            probabilities = (probabilities[..., None] * p).sum(dim=1).movedim(-1, 1)
            x = found[None, :, None]
        else:
            x = ACTIVATIONS[net.activation](a)
    return (probabilities * net.loss((x @ output.mT).squeeze(-1))).sum(dim=1).mean(dim=-1)


def expected(values: Tensor, means: Tensor) -> Tensor:
    """The expectation of `values`, one for each state of the weights, of which weight i has the mean means[..., i].

    values (2^weights,) and means (..., weights) to (...): the sum over all states of the product of (1 + w_i m_i) / 2, one weight
    at a time. Differentiable, and defined for any real means, since it is multilinear in them.
    """
    for mean in means.unbind(-1):
        low, high = values.unflatten(-1, (2, -1)).unbind(-2)
        values = low * (1 - mean[..., None]) / 2 + high * (1 + mean[..., None]) / 2
    return values.squeeze(-1)


def exact_gradient(values: Tensor, means: Tensor) -> Tensor:
    """Of `expected` with respect to the means, (weights,): half the difference that each weight makes, all else expected."""
    found = []
    for i in range(len(means)):
        low, high = (torch.cat([means[:i], torch.full_like(means[:1], side), means[i + 1 :]]) for side in (-1.0, 1.0))
        found.append((expected(values, high) - expected(values, low)) / 2)
    return torch.stack(found)


def means_of(noise: Noise, eta: Tensor) -> Tensor:
    """m = 2 F(eta) - 1 = F(eta) - F(-eta)."""
    return noise.cdf(eta) - noise.cdf(-eta)


def latent_gradient(noise: Noise, eta: Tensor, gradient: Tensor) -> Tensor:
    """With respect to eta, of one with respect to the means: times 2 F'(eta)."""
    return 2 * noise.pdf(eta) * gradient


def build(problem: str, widths: list[int], units: int, noise: Noise, points: int, seed: int) -> WeightNetwork:
    """The network of a problem; the seed fixes its data.

    quadratic: one linear unit of `units` inputs, the loss (v - y)^2. The others have hidden layers of `widths` and classify two
    half moons, with a 1 beside each point: multilinear has linear units and the loss -class v, which is linear in every weight;
    tanh, sign and stochastic are named after their activations and have the loss log(1 + exp(-class v)).
    """
    if problem == "quadratic":
        generator = torch.Generator().manual_seed(seed)
        inputs = torch.randn(points, units, generator=generator, dtype=torch.float64)
        y = torch.randn(points, generator=generator, dtype=torch.float64)
        return WeightNetwork(inputs, (), "linear", lambda v: (v - y.to(v.dtype)).square(), noise)
    found, moons = half_moons(points, noise=0.2, seed=seed % 2**32)
    inputs, sides = torch.from_numpy(found), torch.from_numpy(2.0 * moons - 1)
    inputs = torch.cat([(inputs - inputs.mean(dim=0)) / inputs.std(dim=0), torch.ones(points, 1, dtype=torch.float64)], dim=1)
    if problem == "multilinear":
        return WeightNetwork(inputs, tuple(widths), "linear", lambda v: -sides.to(v.dtype) * v, noise)
    return WeightNetwork(inputs, tuple(widths), problem, lambda v: F.softplus(-sides.to(v.dtype) * v), noise)


def start(net: WeightNetwork, sharpness: float, seed: int) -> Tensor:
    """Latent weights, uniform in +-sharpness, but no nearer to the end of the noise's support than WITHIN says."""
    generator = torch.Generator().manual_seed(seed + 1)  # other numbers than those of the data
    eta = sharpness * (2 * torch.rand(net.size(), generator=generator, dtype=torch.float64) - 1)
    end = WITHIN * net.noise.support
    return eta.clamp(-end, end)
