import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from bnn_train.binary.noise import FAMILY, scaled
from bnn_train.binary.ste import sign
from bnn_train.lab import problems
from bnn_train.lab.network import Network, draw, exact_gradient, exact_loss, parameter_gradients, states

LOGISTIC = scaled(FAMILY["logistic"], 0.5)


def tiny(noise=LOGISTIC):
    """A 2-3-2-1 network on three points."""
    inputs = torch.tensor([[0.5, -1.0], [1.5, 0.2], [-0.3, 0.8]], dtype=torch.float64)
    sides = torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64)
    return Network(inputs, (3, 2), True, lambda v: F.softplus(-sides.to(v.dtype) * v.squeeze(-1)), noise)


def theta_of(net, seed=0):
    return problems.start(net, seed)


def test_states_are_all_states():
    assert sorted(map(tuple, states(3).tolist())) == sorted(itertools.product([-1.0, 1.0], repeat=3))


def test_blocks_cover_theta_and_layers_are_its_views():
    net = tiny()
    assert net.blocks() == {"layer 1": slice(0, 9), "layer 2": slice(9, 17), "output": slice(17, 20)}
    shapes = [(w.shape, b.shape) for w, b in net.layers(theta_of(net))]
    assert shapes == [((3, 2), (3,)), ((2, 3), (2,)), ((1, 2), (1,))]


@pytest.mark.parametrize("name", FAMILY)
def test_exact_loss_is_the_sum_over_all_paths(name):
    """Every x_1 and x_2 of every datum, in plain arithmetic."""
    net = tiny(scaled(FAMILY[name], 0.7))
    theta = theta_of(net)
    (w1, b1), (w2, b2), (w3, b3) = net.layers(theta)
    total = 0.0
    for i, x0 in enumerate(net.inputs):
        for x1 in states(3):
            for x2 in states(2):
                p1 = net.noise.cdf(x1 * (w1 @ x0 + b1)).prod()
                p2 = net.noise.cdf(x2 * (w2 @ x1 + b2)).prod()
                total += (p1 * p2 * net.loss((w3 @ x2 + b3).expand(3, 1))[i]).item()
    assert exact_loss(net, theta).item() == pytest.approx(total / 3, rel=1e-12)


def test_exact_gradient_is_the_finite_difference():
    net = tiny()
    theta, gradient, h = theta_of(net), exact_gradient(tiny(), theta_of(net)), 1e-6
    for i in range(len(theta)):
        step = torch.zeros_like(theta)
        step[i] = h
        difference = (exact_loss(net, theta + step) - exact_loss(net, theta - step)) / (2 * h)
        assert gradient[i].item() == pytest.approx(difference.item(), abs=1e-8)


def test_exact_loss_can_be_mapped_over_parameters():
    net = tiny()
    thetas = torch.stack([theta_of(net, seed) for seed in range(4)])
    mapped = torch.vmap(lambda theta: exact_loss(net, theta))(thetas)
    torch.testing.assert_close(mapped, torch.stack([exact_loss(net, theta) for theta in thetas]))


def test_the_mean_loss_of_samples_is_the_exact_loss():
    net, count = tiny(), 20_000
    theta = theta_of(net)
    torch.manual_seed(0)
    losses = net.loss(draw(net, theta, count, sign).last).mean(dim=1)
    assert abs(losses.mean() - exact_loss(net, theta)) < 4 * losses.std() / math.sqrt(count)


def test_parameter_gradients_are_those_of_autograd_sample_by_sample():
    net, forward = tiny(), torch.tanh
    theta = theta_of(net)
    torch.manual_seed(0)
    sample = draw(net, theta, 3, forward)
    found = []
    for s in range(3):
        at = theta.clone().requires_grad_()
        x = net.inputs
        for (weight, bias), z in zip(net.layers(at)[:2], sample.z, strict=True):
            x = forward(x @ weight.T + bias - z[s])
        weight, bias = net.layers(at)[2]
        found.append(torch.autograd.grad(net.loss(x @ weight.T + bias).mean(), at)[0])
    # The same by hand: the chain of derivatives of tanh.
    g = torch.autograd.functional.jacobian(lambda v: net.loss(v).sum(), sample.last)
    deltas = [g]
    weights = [weight for weight, _ in net.layers(theta)]
    for weight, x in zip(weights[:0:-1], sample.x[:0:-1], strict=True):
        deltas.insert(0, deltas[0] @ weight * (1 - x.square()))
    torch.testing.assert_close(parameter_gradients(net, sample, deltas), torch.stack(found))


def test_without_noise_it_is_the_deterministic_network():
    net = tiny()
    sample = draw(net, theta_of(net), 1, sign, noise=False)
    assert all((z == 0).all() for z in sample.z)
    assert torch.equal(sample.x[1], sign(sample.a[0]))
