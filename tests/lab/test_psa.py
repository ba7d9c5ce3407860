"""PSA by enumeration of all that a network can draw."""

import pytest
import torch

from bnn_train.binary.noise import FAMILY, scaled
from bnn_train.lab import estimators, expected, problems
from bnn_train.lab.expected import over_paths
from bnn_train.lab.network import exact_gradient, exact_loss

LOGISTIC = scaled(FAMILY["logistic"], 0.5)


def moons(widths, seed=0, noise=LOGISTIC):
    net = problems.moons(widths, noise, 8, seed)
    return net, 2 * problems.start(net, seed)


@pytest.mark.parametrize("noise", FAMILY)
@pytest.mark.parametrize("widths", [[5], [1], [3, 1, 1]])
def test_its_mean_is_the_exact_gradient_where_a_flip_changes_one_unit_at_a_time(widths, noise):
    """One hidden layer, and layers of one unit after the first: nothing is linearized."""
    net, theta = moons(widths, noise=scaled(FAMILY[noise], 2.0))
    mean, _ = over_paths(net, theta, estimators.psa)
    torch.testing.assert_close(mean, exact_gradient(net, theta), rtol=0, atol=1e-12)


@pytest.mark.parametrize("problem", ["multilinear", "quadratic", "exponential"])
def test_its_mean_is_the_exact_gradient_under_any_loss_of_one_layer(problem):
    net = problems.known_loss(problem, 4, LOGISTIC, seed=1)
    theta = problems.start(net, 1)
    mean, _ = over_paths(net, theta, estimators.psa)
    torch.testing.assert_close(mean, exact_gradient(net, theta), rtol=0, atol=1e-12)


def test_its_mean_is_exact_in_the_last_stochastic_layer_and_the_output_of_any_network():
    net, theta = moons([3, 3, 2])
    mean, _ = over_paths(net, theta, estimators.psa)
    exact, blocks = exact_gradient(net, theta), net.blocks()
    for name in ("layer 3", "output"):
        torch.testing.assert_close(mean[blocks[name]], exact[blocks[name]], rtol=0, atol=1e-12)
    assert (mean - exact)[blocks["layer 1"]].abs().max() > 1e-6  # and not before it


@pytest.mark.parametrize("widths", [[3, 3], [2, 3, 2]])
@pytest.mark.parametrize("seed", range(4))
def test_it_is_less_biased_than_straight_through_in_deeper_networks(widths, seed):
    net, theta = moons(widths, seed)
    exact, tanh = exact_gradient(net, theta), expected.straight_through(lambda g, a, z: g * (1 - a.tanh().square()))
    psa, st = (expected.expectation(net, theta, rule) for rule in (expected.psa(), tanh))
    assert (psa - exact).norm() < 0.5 * (st - exact).norm()


def test_what_it_leaves_out_is_of_second_order_in_the_weights_after_the_first():
    """Its error in layer 1 falls with the square of the second layer's weights, that of straight-through with the first power."""
    net, theta = moons([3, 3])
    tanh = expected.straight_through(lambda g, a, z: g * (1 - a.tanh().square()))
    errors = {"psa": [], "st": []}
    for size in (1e-2, 1e-3):
        small = theta.clone()
        net.layers(small)[1][0].mul_(size)
        exact = exact_gradient(net, small)[net.blocks()["layer 1"]]
        for name, rule in (("psa", expected.psa()), ("st", tanh)):
            errors[name].append((expected.expectation(net, small, rule)[net.blocks()["layer 1"]] - exact).norm().item())
    assert 80 < errors["psa"][0] / errors["psa"][1] < 120
    assert 8 < errors["st"][0] / errors["st"][1] < 12


def test_derivatives_in_place_of_differences_give_straight_through():
    """With weights so small that a difference is a derivative, path by path."""
    net, theta = moons([3, 2])
    for weight, _ in net.layers(theta)[1:]:
        weight.mul_(1e-4)
    sample, _ = expected.paths(net, theta)
    matching = estimators.straight_through(lambda g, a, z: 2 * net.noise.pdf(a) * g)
    for psa, st in zip(*(deltas(net, theta, sample, None) for deltas in (estimators.psa, matching)), strict=True):
        torch.testing.assert_close(psa, st, rtol=2e-3, atol=0)


def test_layer_by_layer_is_path_by_path_and_paths_are_all_there_is():
    net, theta = moons([2, 3, 2])
    rule = expected.straight_through(lambda g, a, z: g * torch.sigmoid(-torch.sign(a - z) * a))  # depends on what is drawn
    for deltas, by_layers in (
        (estimators.psa, expected.psa()),
        (estimators.straight_through(lambda g, a, z: g * torch.sigmoid(-torch.sign(a - z) * a)), rule),
    ):
        torch.testing.assert_close(
            over_paths(net, theta, deltas)[0], expected.expectation(net, theta, by_layers), rtol=0, atol=1e-12
        )
    sample, chance = expected.paths(net, theta)
    torch.testing.assert_close(chance.sum(dim=0), torch.ones(8, dtype=torch.float64))
    torch.testing.assert_close((chance * net.loss(sample.last)).sum(dim=0).mean(), exact_loss(net, theta))
    reinforce, _ = over_paths(net, theta, estimators.reinforce)
    torch.testing.assert_close(reinforce, exact_gradient(net, theta), rtol=0, atol=1e-12)
