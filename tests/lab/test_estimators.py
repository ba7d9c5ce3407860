import math

import pytest
import torch

from bnn_train.binary import ste
from bnn_train.binary.noise import FAMILY, scaled
from bnn_train.config.protocol import estimator
from bnn_train.errors import ConfigError
from bnn_train.lab import estimators, problems
from bnn_train.lab.network import draw, exact_gradient, parameter_gradients, states

COUNT = 20_000
LOGISTIC = scaled(FAMILY["logistic"], 0.5)


def quantile(p):
    """The inverse of LOGISTIC's distribution function."""
    return 0.5 * torch.logit(p)


def chosen(name, stochastic=False, **options):
    """As in a protocol with noise of scale 1/2."""
    return estimator("protocol.estimators.a", {"name": name, "stochastic": stochastic, **options}, 0.5)


def moons(noise="logistic", scale=0.5, widths=(3, 3)):
    return problems.moons(list(widths), scaled(FAMILY[noise], scale), points=6, seed=0)


def samples_of(net, config, count=COUNT, seed=0):
    """(per-sample gradients, exact gradient) in float64."""
    theta = problems.start(net, seed) * 2
    method = estimators.build(config, 0.5)
    torch.manual_seed(seed)
    baseline = net.loss(draw(net, theta, 1000, method.forward).last).mean()
    sample = draw(net, theta, count, method.forward, method.stochastic)
    return parameter_gradients(net, sample, method.deltas(net, theta, sample, baseline)), exact_gradient(net, theta)


def deviations(gradients, exact):
    """Of the mean, in standard errors."""
    error = gradients.std(dim=0) / math.sqrt(len(gradients))
    return (gradients.mean(dim=0) - exact).abs() / error.clamp(min=1e-12)


@pytest.mark.parametrize("noise", FAMILY)
@pytest.mark.parametrize("name", ["reinforce", "reinforce_baseline", "arm", "disarm"])
def test_estimators_of_the_loss_alone_are_unbiased_in_a_deep_network(name, noise):
    """Every parameter of a 2-3-3-1 network within 4 standard errors of the enumerated gradient."""
    scale = 3.0 if noise in ("uniform", "triangular") else 0.5  # so wide that no state is impossible
    assert (deviations(*samples_of(moons(noise, scale), chosen(name))) < 4).all()


@pytest.mark.parametrize("name", ["tanh", "reinmax", "identity", "gumbel"])
def test_straight_through_is_biased_there_and_the_test_sees_it(name):
    assert (deviations(*samples_of(moons(), chosen(name, True))) > 4).any()


def test_every_estimator_is_unbiased_for_the_output_unit():
    for config in (chosen("arm"), chosen("reinforce"), chosen("identity", stochastic=True)):
        net = moons()
        assert (deviations(*samples_of(net, config))[net.blocks()["output"]] < 4).all()


@pytest.mark.parametrize("problem", ["multilinear", "quadratic", "exponential"])
@pytest.mark.parametrize("name", ["arm", "disarm", "reinforce"])
def test_one_layer_by_enumeration_of_its_noise(problem, name):
    """ARM, DisARM and REINFORCE integrate to the exact gradient: u on a grid of midpoints for each of 3 units, all combinations."""
    net = problems.known_loss(problem, 3, LOGISTIC, seed=1)
    theta = torch.tensor([0.2, -0.4, 0.1], dtype=torch.float64)
    u = (torch.arange(40, dtype=torch.float64) + 0.5) / 40
    grid = torch.cartesian_prod(u, u, u)
    # a - Z >= 0 where u = F(Z) <= F(a). Cells that the steps at F(a) and 1 - F(a) cut cost accuracy: set them on the grid's lines.
    theta = quantile((net.noise.cdf(theta) * 40).round() / 40)
    sample = draw(net, theta, len(grid), ste.sign)
    z = quantile(grid)[:, None, :]
    sample = sample._replace(z=[z], x=[sample.x[0], ste.sign(sample.a[0] - z)], last=ste.sign(sample.a[0] - z))
    deltas = estimators.METHODS[name].deltas(net, theta, sample, torch.zeros(()))
    torch.testing.assert_close(
        parameter_gradients(net, sample, deltas).mean(dim=0), exact_gradient(net, theta), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("name", ["uniform", "triangular", "logistic", "normal"])
def test_matching_noise_in_the_laboratory_is_unbiased_under_a_multilinear_loss(name):
    net = problems.known_loss("multilinear", 4, scaled(FAMILY[name], 1.0), seed=0)
    gradients, exact = samples_of(net, chosen(name, True, scale=1.0))
    assert (deviations(gradients, exact) < 4).all()


def test_straight_through_is_autograd_through_the_modules_that_train(monkeypatch):
    """The same noise through bnn_train.binary.ste's modules and torch's autograd."""
    net = moons()
    for config in (chosen("tanh", True), chosen("clipped", True, clip=0.5), chosen("reinmax", True, scale=0.5)):
        theta = problems.start(net, 0).requires_grad_()
        module = ste.build(config)
        its = ste.ESTIMATORS[config.name]._replace(noise=net.noise, noise_scale=lambda **params: 1.0)
        monkeypatch.setitem(ste.ESTIMATORS, config.name, its)
        torch.manual_seed(3)
        x = net.inputs
        for weight, bias in net.layers(theta)[:-1]:
            x = module(x @ weight.T + bias)
        weight, bias = net.layers(theta)[-1]
        (expected,) = torch.autograd.grad(net.loss(x @ weight.T + bias).mean(), theta)
        torch.manual_seed(3)
        monkeypatch.undo()
        at = theta.detach()
        method = estimators.build(config, 0.5)
        sample = draw(net, at, 1, method.forward)
        torch.testing.assert_close(parameter_gradients(net, sample, method.deltas(net, at, sample, torch.zeros(())))[0], expected)


def test_soft_gumbel_is_the_gradient_of_its_own_relaxed_network():
    net = moons()
    method = estimators.build(chosen("gumbel", True, temperature=0.7, hard=False), 0.5)
    theta = problems.start(net, 0)
    torch.manual_seed(0)
    sample = draw(net, theta, 1, method.forward)
    found = parameter_gradients(net, sample, method.deltas(net, theta, sample, torch.zeros(())))[0]

    def relaxed(at):
        x = net.inputs
        for (weight, bias), z in zip(net.layers(at)[:-1], sample.z, strict=True):
            x = torch.tanh((x @ weight.T + bias - z[0]) / (2 * 0.7 * 0.5))
        weight, bias = net.layers(at)[-1]
        return net.loss(x @ weight.T + bias).mean()

    torch.testing.assert_close(found, torch.autograd.functional.jacobian(relaxed, theta))


def test_costs_in_passes():
    """By hand for 2-5-5-5-1: ARM completes 3, 2 and 1 of 4 layers; enumeration sees 1, 32, 32 and 32 states."""
    net = moons(widths=(5, 5, 5))
    costs = {name: method.cost(net) for name, method in estimators.METHODS.items()}
    assert costs == {
        "exact": (24.25, 24.25),
        "reinforce": (1, 0),
        "reinforce_baseline": (1, 0),
        "arm": (2.5, 0),
        "disarm": (2.5, 0),
        "psa": (1, 1),
    }
    assert estimators.METHODS["psa"].cost(problems.known_loss("quadratic", 5, LOGISTIC, 0)) == (3.5, 0)  # the loss of 5 flips
    assert estimators.build(chosen("tanh"), 0).cost(net) == (1, 1)


def test_every_estimator_of_the_package_can_be_measured():
    for name in ste.ESTIMATORS:
        for progress in (0.0, 1.0):
            net = moons()
            theta = problems.start(net, 0)
            method = estimators.build(chosen(name, True), progress)
            sample = draw(net, theta, 2, method.forward)
            assert parameter_gradients(net, sample, method.deltas(net, theta, sample, torch.zeros(()))).isfinite().all()
            assert method.noise[0] in FAMILY


def test_the_networks_scale_is_that_of_noise_derived_estimators_unless_they_name_their_own():
    assert estimators.build(chosen("logistic", True), 0).noise == ("logistic", 0.5)
    assert estimators.build(chosen("logistic", True, scale=2.0), 0).noise == ("logistic", 2.0)
    assert estimators.build(chosen("tanh", True), 0).noise == ("logistic", 0.5)


def test_bad_names_and_options():
    with pytest.raises(ConfigError, match=r"protocol\.estimators\.name=rebar: must be one of exact, reinforce"):
        estimators.build(chosen("rebar"), 0)
    with pytest.raises(ConfigError, match=r"protocol\.estimators\.a\.clip=1: arm takes name, stochastic"):
        chosen("arm", clip=1)
    with pytest.raises(ConfigError, match=r"protocol\.estimators\.a\.clip=1: tanh takes name, stochastic"):
        chosen("tanh", clip=1)


def test_known_losses_are_what_they_say():
    """Multilinear: no x_i^2, so the loss at 0 of any coordinate is the mean of its ends; quadratic: it is not."""
    for name, linear in (("multilinear", True), ("quadratic", False), ("exponential", False)):
        net = problems.known_loss(name, 3, LOGISTIC, seed=2)
        for x in states(3):
            flipped, middle = x.clone(), x.clone()
            flipped[1], middle[1] = -x[1], 0
            mean = (net.loss(x[None]) + net.loss(flipped[None])) / 2
            assert math.isclose(mean.item(), net.loss(middle[None]).item(), abs_tol=1e-12) is linear
