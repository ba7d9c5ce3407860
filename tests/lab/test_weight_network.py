import itertools
import math

import pytest
import torch

from bnn_train.binary.noise import FAMILY, scaled
from bnn_train.config.lab_weights import PROBLEMS
from bnn_train.lab import weight_network
from bnn_train.lab.network import states
from bnn_train.lab.problems import half_moons
from bnn_train.lab.weight_network import expected, losses, means_of, start, state_losses

LOGISTIC = scaled(FAMILY["logistic"], 0.5)


def network(problem, widths=(2,), units=5, points=4, seed=0, noise=LOGISTIC):
    return weight_network.build(problem, list(widths), units, noise, points, seed)


def means(net, sharpness=1.5, seed=0):
    return means_of(net.noise, start(net, sharpness, seed))


def autograd(values, at):
    at = at.clone().requires_grad_()
    return torch.autograd.grad(expected(values, at), at)[0]


def test_blocks_cover_the_weights_and_layers_are_their_matrices():
    net = network("tanh", (3, 2))
    assert net.blocks() == {"layer 1": slice(0, 9), "layer 2": slice(9, 15), "output": slice(15, 17)}
    assert net.size() == 17
    w = torch.arange(34.0).view(2, 17)
    assert [layer.shape for layer in net.layers(w)] == [(2, 3, 3), (2, 2, 3), (2, 1, 2)]
    assert net.layers(w)[1][1].tolist() == [[26, 27, 28], [29, 30, 31]]
    assert network("quadratic").blocks() == {"output": slice(0, 5)}


@pytest.mark.parametrize("problem", [*PROBLEMS])
def test_the_exact_loss_is_the_sum_over_all_states_in_plain_arithmetic(problem):
    """And over all states of stochastic activations, unit by unit, datum by datum."""
    net = network(problem, widths=(2, 1) if problem == "stochastic" else (2,), points=3)
    m = means(net)
    total = 0.0
    for w in states(net.size()):
        probability = math.prod((1 + w_i * m_i) / 2 for w_i, m_i in zip(w.tolist(), m.tolist(), strict=True))
        total += probability * sum(loss_of(net, w, datum) for datum in range(3)) / 3
    assert expected(state_losses(net), m).item() == pytest.approx(total, rel=1e-12)


def loss_of(net, w, datum):
    """The expected loss of one datum given w."""
    *hidden, output = [matrix.tolist() for matrix in net.layers(w)]
    branches = [(1.0, net.inputs[datum].tolist())]
    for matrix in hidden:
        branches = [(p * q, x) for p, before in branches for q, x in units_of(net.activation, matrix, before)]
    found = 0.0
    for p, x in branches:
        v = sum(w_i * x_i for w_i, x_i in zip(output[0], x, strict=True)) / math.sqrt(len(x))
        found += p * net.loss(torch.full((len(net.inputs),), v, dtype=torch.float64))[datum].item()
    return found


def units_of(activation, matrix, before):
    """(probability, values) of a layer."""
    a = [sum(w * x for w, x in zip(row, before, strict=True)) / math.sqrt(len(row)) for row in matrix]
    if activation == "stochastic":
        for x in itertools.product([-1.0, 1.0], repeat=len(a)):
            yield math.prod(1 / (1 + math.exp(-2 * x_j * a_j)) for x_j, a_j in zip(x, a, strict=True)), list(x)
    else:
        of = {"tanh": math.tanh, "linear": lambda v: v, "sign": lambda v: 1.0 if v >= 0 else -1.0}[activation]
        yield 1.0, [of(a_j) for a_j in a]


@pytest.mark.parametrize("noise", FAMILY)
@pytest.mark.parametrize("problem", [*PROBLEMS])
def test_the_enumerated_gradient_is_autograd_through_the_probabilities(problem, noise):
    """With respect to the means, the probabilities and the latent weights, to 1e-12."""
    net = network(problem, noise=scaled(FAMILY[noise], 0.8))
    values, eta = state_losses(net), start(net, 0.7, 0)
    gradient = weight_network.exact_gradient(values, means_of(net.noise, eta))
    close = {"rtol": 0, "atol": 1e-12}
    torch.testing.assert_close(gradient, autograd(values, means_of(net.noise, eta)), **close)
    p = net.noise.cdf(eta).requires_grad_()
    (of_p,) = torch.autograd.grad(expected(values, 2 * p - 1), p)
    torch.testing.assert_close(of_p, 2 * gradient, **close)
    eta = eta.requires_grad_()
    (of_eta,) = torch.autograd.grad(expected(values, means_of(net.noise, eta)), eta)
    torch.testing.assert_close(of_eta, weight_network.latent_gradient(net.noise, eta.detach(), gradient), **close)


def test_the_expectation_is_multilinear_in_the_means_and_takes_many_at_once():
    values = state_losses(network("sign"))
    m = torch.rand(3, 4, 8, dtype=torch.float64) * 2 - 1
    m[0, 0, 3], m[0, 1] = 0.5, m[0, 0]
    m[0, 2] = m[0, 0]
    m[0, 1, 3], m[0, 2, 3] = 0.0, 1.0
    found = expected(values, m)
    assert found.shape == (3, 4)
    torch.testing.assert_close(found[1, 2], expected(values, m[1, 2]))
    torch.testing.assert_close(found[0, 0], (found[0, 1] + found[0, 2]) / 2)


@pytest.mark.parametrize("problem", [problem for problem in PROBLEMS if problem != "stochastic"])
def test_one_pass_gives_the_loss_of_its_state(problem):
    net = network(problem)
    torch.testing.assert_close(losses(net, states(net.size())), state_losses(net))


def test_passes_with_stochastic_activations_have_the_expected_loss_on_average():
    net, count = network("stochastic", widths=(2, 2)), 20_000
    w = states(net.size())[777].expand(count, -1)
    torch.manual_seed(0)
    found = losses(net, w)
    assert abs(found.mean() - state_losses(net)[777]) < 4 * found.std() / math.sqrt(count)


def test_known_losses_are_what_they_say():
    """Linear in each weight or not: the loss at 0 of any one is the mean of its ends."""
    for problem, linear in (("multilinear", True), ("quadratic", False), ("tanh", False)):
        net = network(problem, points=6)
        w = states(net.size())[5:6].repeat(3, 1)
        w[1:, 2] = torch.tensor([0.0, -w[0, 2]])
        found = losses(net, w)
        assert math.isclose(found[1].item(), (found[0] + found[2]).item() / 2, abs_tol=1e-12) is linear


def test_networks_follow_from_problem_sizes_and_seed_alone():
    for problem in PROBLEMS:
        for _ in range(2):
            torch.manual_seed(_)
            same = [state_losses(network(problem, seed=seed)) for seed in (3, 3, 4)]
            assert torch.equal(same[0], same[1])
            assert not torch.equal(same[0], same[2])
    net = network("tanh")
    assert torch.equal(start(net, 2.0, 5), 2 * start(net, 1.0, 5))
    assert not torch.equal(start(net, 1.0, 5), start(net, 1.0, 6))
    assert start(net, 1.0, 5).abs().max() <= 1


def test_latent_weights_stay_within_the_noises_support():
    eta = start(network("tanh", noise=scaled(FAMILY["uniform"], 0.5)), 10.0, 0)
    assert eta.abs().max().item() == pytest.approx(0.475)


SLOPES = {"sign": lambda a: float(abs(a) <= 1), "stochastic": lambda a: 1 - math.tanh(a) ** 2}


@pytest.mark.parametrize(("name", "slope"), SLOPES.items())
def test_gradients_pass_activations_by_the_derivative_that_training_takes(name, slope):
    """One datum, two units, and v as the loss: its derivative by W_ji is w_j / sqrt 2 slope(a_j) input_i / sqrt 2."""
    inputs = torch.tensor([[0.4, -1.5]], dtype=torch.float64)
    net = weight_network.WeightNetwork(inputs, (2,), name, lambda v: v, LOGISTIC)
    w = torch.tensor([[1.0, 1.0, 1.0, -1.0, 1.0, -1.0]], dtype=torch.float64)
    found = weight_network.gradients(net, w)[0]
    for j, (a, w_j) in enumerate(((-1.1 / 2**0.5, 1.0), (1.9 / 2**0.5, -1.0))):
        for i in range(2):
            assert found[2 * j + i].item() == pytest.approx(w_j / 2**0.5 * slope(a) * inputs[0, i].item() / 2**0.5, abs=1e-12)
    assert found[4:].abs().tolist() == pytest.approx([1 / 2**0.5] * 2)


def test_moons_are_told_by_the_sign_of_the_output():
    _, moon = half_moons(10, noise=0.2, seed=3)
    v = torch.linspace(-2, 2, 10, dtype=torch.float64)
    sides = torch.from_numpy(2.0 * moon - 1)
    assert torch.equal(network("multilinear", points=10, seed=3).loss(v), -sides * v)
    torch.testing.assert_close(network("tanh", points=10, seed=3).loss(v), (1 + (-sides * v).exp()).log())
