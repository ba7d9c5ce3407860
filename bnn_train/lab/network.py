"""A stochastic binary network small enough to enumerate: its exact loss, and samples of it.

x_0 = inputs, x_l = sign(a_l - Z), a_l = W_l x_{l-1} + b_l for the layers of `widths`; then, where `output` is set, one real linear
unit. The objective is the mean over the data of the expected `loss` of what comes last. All parameters are one flat vector theta:
W_1 row by row, b_1, W_2, ... Leading dimensions of values are samples: shapes are (samples, data, units).
"""

import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from bnn_train.binary.noise import Noise


class Network(NamedTuple):
    inputs: Tensor  # (data, inputs); with 0 inputs the parameters are the biases alone, the pre-activations themselves
    widths: tuple[int, ...]  # units of each stochastic layer
    output: bool  # whether a real linear unit follows
    loss: Callable[[Tensor], Tensor]  # (..., data, units of what comes last) -> (..., data)
    noise: Noise

    def sizes(self) -> list[int]:
        """Units of everything that theta connects, from the inputs on."""
        return [self.inputs.shape[1], *self.widths, *([1] if self.output else [])]

    def blocks(self) -> dict[str, slice]:
        """Which part of theta belongs to which layer, by name."""
        names = [*(f"layer {i}" for i in range(1, len(self.widths) + 1)), *(["output"] if self.output else [])]
        ends = list(itertools.accumulate((n_in + 1) * n_out for n_in, n_out in itertools.pairwise(self.sizes())))
        return {name: slice(start, end) for name, start, end in zip(names, [0, *ends], ends, strict=False)}

    def layers(self, theta: Tensor) -> list[tuple[Tensor, Tensor]]:
        """(W, b) of each layer; W is (units, inputs)."""
        sizes, blocks = list(itertools.pairwise(self.sizes())), self.blocks().values()
        return [
            (theta[block][: n_in * n_out].view(n_out, n_in), theta[block][n_in * n_out :])
            for (n_in, n_out), block in zip(sizes, blocks, strict=True)
        ]


def states(width: int) -> Tensor:
    """All 2^width states of a layer, in {-1, +1}: (states, width), float64."""
    return torch.tensor(list(itertools.product([-1.0, 1.0], repeat=width)), dtype=torch.float64)


def exact_loss(net: Network, theta: Tensor) -> Tensor:
    """The objective, by summing over all states of all layers. theta in float64; differentiable, and can be mapped over (vmap)."""
    layers = net.layers(theta)
    x, probabilities = net.inputs, None  # the states that the layer can see; their probabilities, (data, states)
    for (weight, bias), width in zip(layers, net.widths, strict=False):
        p = state_probabilities(net, x @ weight.T + bias)
        probabilities = p if probabilities is None else probabilities @ p
        x = states(width)
    assert probabilities is not None
    values = x[:, None, :].expand(-1, len(net.inputs), -1)  # (states, data, units)
    if net.output:
        weight, bias = layers[-1]
        values = values @ weight.T + bias
    return (probabilities * net.loss(values).T).sum(dim=1).mean()


def state_probabilities(net: Network, a: Tensor) -> Tensor:
    """Of each state, in the order of `states`, given the layer's pre-activations (..., units): a product over the units."""
    p = torch.ones_like(a[..., :1])
    for unit in a.unbind(dim=-1):
        pair = net.noise.cdf(torch.stack([-unit, unit], dim=-1))  # P(-1) = 1 - F(a) = F(-a)
        p = (p[..., :, None] * pair[..., None, :]).flatten(-2)
    return p


def exact_gradient(net: Network, theta: Tensor) -> Tensor:
    theta = theta.detach().requires_grad_()
    return torch.autograd.grad(exact_loss(net, theta), theta)[0]


class Sample(NamedTuple):
    """What a forward pass leaves of each stochastic layer: pre-activations, noise, and values, x[0] being the inputs."""

    a: list[Tensor]
    z: list[Tensor]
    x: list[Tensor]
    last: Tensor  # the output unit's value, or x[-1]


def draw(net: Network, theta: Tensor, count: int, forward: Callable[[Tensor], Tensor], noise: bool = True) -> Sample:
    """`count` independent passes of all data, with `forward` of a - Z where the network has the sign."""
    inputs = net.inputs.to(theta.dtype).expand(count, -1, -1)
    return _continue(net, theta, 0, inputs, forward, noise)


def complete(net: Network, theta: Tensor, layer: int, x: Tensor, forward: Callable[[Tensor], Tensor]) -> Tensor:
    """The loss, (samples, data), of passes that go on with fresh noise from values x of the layer of that number (from 1)."""
    return net.loss(_continue(net, theta, layer, x, forward, noise=True).last)


def _continue(net: Network, theta: Tensor, start: int, x: Tensor, forward: Callable[[Tensor], Tensor], noise: bool) -> Sample:
    layers = net.layers(theta)
    sample = Sample([], [], [x], x)
    for weight, bias in layers[start : len(net.widths)]:
        a = x @ weight.T + bias
        z = net.noise.sample(a) if noise else torch.zeros_like(a)
        x = forward(a - z)
        for kept, value in ((sample.a, a), (sample.z, z), (sample.x, x)):
            kept.append(value)
    last = x
    if net.output:
        weight, bias = layers[-1]
        last = x @ weight.T + bias
    return sample._replace(last=last)


def parameter_gradients(net: Network, sample: Sample, deltas: list[Tensor]) -> Tensor:
    """Per sample, the gradient with respect to theta from that of the mean loss with respect to the pre-activations.

    deltas: of each layer, the output included, (samples, data, units), not yet divided by the number of data. Returns
    (samples, parameters).
    """
    return torch.cat(list(_blocks_of_gradient(sample, deltas)), dim=1) / len(net.inputs)


def _blocks_of_gradient(sample: Sample, deltas: list[Tensor]) -> Iterator[Tensor]:
    for x, delta in zip(sample.x, deltas, strict=False):
        yield (delta.mT @ x).flatten(1)
        yield delta.sum(dim=1)
