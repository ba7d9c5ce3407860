"""Expectations over the drawn weights are taken by visiting all of them, so that "exact" means 1e-12 and needs no samples."""

import itertools
import math

import pytest
import torch

from bnn_train.binary.noise import FAMILY, scaled
from bnn_train.config import lab_weights
from bnn_train.config.lab_weights import WeightEstimator
from bnn_train.errors import ConfigError
from bnn_train.lab import weight_estimators, weight_network
from bnn_train.lab.network import states
from bnn_train.lab.weight_estimators import METHODS
from bnn_train.lab.weight_network import means_of, start, state_losses

LOGISTIC = scaled(FAMILY["logistic"], 0.5)
NO_BASELINE = torch.zeros((), dtype=torch.float64)
UNBIASED = ("reinforce", "reinforce_baseline", "arm", "disarm")
DETERMINISTIC = ("multilinear", "quadratic", "tanh", "sign")  # problems without stochastic activations


def network(problem, widths=(1, 2), units=5, points=4, noise=LOGISTIC):
    """Of five or seven weights, in one to three layers."""
    return weight_network.build(problem, list(widths), units, noise, points, seed=1)


def case(problem, sharpness=0.9, **options):
    """(network, latent weights, means, exact gradient)."""
    net = network(problem, **options)
    eta = start(net, sharpness, seed=2)
    m = means_of(net.noise, eta)
    return net, eta, m, weight_network.exact_gradient(state_losses(net), m)


def middles(net, eta):
    """Of the three intervals between 0, min(p, 1-p), max(p, 1-p) and 1, in all combinations: the middles (combinations, weights),
    and the probability of each combination."""
    p = net.noise.cdf(eta)
    ends = torch.stack([torch.zeros_like(p), torch.minimum(p, 1 - p), torch.maximum(p, 1 - p), torch.ones_like(p)])
    choices = torch.tensor(list(itertools.product(range(3), repeat=len(p))))
    return ((ends[1:] + ends[:-1]) / 2).gather(0, choices), ends.diff(dim=0).gather(0, choices).prod(dim=1)


def mean_of(estimate, net, eta, baseline=NO_BASELINE):
    """The estimator's expectation over u: in each interval the drawn weight and its mirror image stay the same and what is
    estimated is linear in u, so that the interval's middle stands for it."""
    u, probability = middles(net, eta)
    return probability @ estimate(net, eta, u, baseline)


def assert_same(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("problem", DETERMINISTIC)
@pytest.mark.parametrize("name", UNBIASED)
def test_estimators_of_the_loss_alone_have_the_exact_gradient_as_their_mean(name, problem):
    net, eta, _, exact = case(problem)
    assert_same(mean_of(METHODS[name].estimate, net, eta, torch.tensor(0.3, dtype=torch.float64)), exact)


@pytest.mark.parametrize("noise", FAMILY)
def test_straight_through_is_exact_where_the_loss_is_multilinear(noise):
    """A network of three layers of linear units and a loss that is linear in what comes out."""
    net, eta, _, exact = case("multilinear", noise=scaled(FAMILY[noise], 1.0))
    assert_same(mean_of(METHODS["straight_through"].estimate, net, eta), exact)
    assert_same(mean_of(METHODS["reinmax"].estimate, net, eta), exact)


def test_the_bias_of_straight_through_under_a_quadratic_loss_is_its_closed_form():
    """L = mean over data of (x w / sqrt n - y)^2. E dL/dw_i = 2 E x_i / sqrt n (x m / sqrt n - y), while E L = (x m / sqrt n - y)^2
    + sum_j (1 - m_j^2) x_j^2 / n has the further term -2 m_i x_i^2 / n: straight-through does not see that a surer weight makes the
    output vary less."""
    net, eta, m, exact = case("quadratic")
    missed = 2 * m * net.inputs.square().mean(dim=0) / 5
    assert_same(mean_of(METHODS["straight_through"].estimate, net, eta) - exact, missed)
    assert missed.abs().max() > 0.05


def test_the_bias_of_the_deterministic_sign_under_a_quadratic_loss_is_its_closed_form():
    """Its gradient is that at w = sign(m): the same as above with C (sign(m) - m) more, C = 2 E x x^T / n."""
    net, eta, m, exact = case("quadratic")
    curvature = 2 * net.inputs.T @ net.inputs / len(net.inputs) / 5
    missed = curvature.diagonal() * m + curvature @ (m.sign() - m)
    assert_same(METHODS["deterministic"].estimate(net, eta, torch.rand(1, 5), NO_BASELINE)[0] - exact, missed)


def test_reinmax_is_exact_under_a_quadratic_loss_of_one_layer_and_biased_beyond():
    net, eta, _, exact = case("quadratic")
    assert_same(mean_of(METHODS["reinmax"].estimate, net, eta), exact)
    net, eta, _, exact = case("tanh")
    assert (mean_of(METHODS["reinmax"].estimate, net, eta) - exact).abs().max() > 1e-4


def test_straight_through_is_biased_where_activations_are_not_linear():
    for problem in ("tanh", "sign"):
        net, eta, _, exact = case(problem)
        assert (mean_of(METHODS["straight_through"].estimate, net, eta) - exact).norm() > 0.1 * exact.norm()


def local_mean(net, eta, shapes):
    """The expectation of the local reparametrization over its normal numbers, in the shape of each layer's pre-activations: -1 and
    +1 in all combinations stand for them, which is right where the estimate is quadratic in each."""
    sizes = [math.prod(shape) for shape in shapes]
    parts = states(sum(sizes)).split(sizes, dim=1)
    normal = iter([part.unflatten(1, shape) for part, shape in zip(parts, shapes, strict=True)])
    samples = torch.empty(2 ** sum(sizes), net.size(), dtype=torch.float64)
    return METHODS["local_reparametrization"].estimate(net, eta, samples, NO_BASELINE, normal=lambda like: next(normal)).mean(dim=0)


def test_the_local_reparametrization_is_exact_for_a_linear_unit_under_a_quadratic_loss():
    net, eta, _, exact = case("quadratic")
    assert_same(local_mean(net, eta, [(4, 1)]), exact)


def test_the_local_reparametrization_is_exact_for_a_linear_network_under_a_linear_loss():
    net, eta, _, exact = case("multilinear", widths=(2,), points=2)
    assert_same(local_mean(net, eta, [(2, 2), (2, 1)]), exact)


def test_binaryconnects_stochastic_form_is_straight_through_where_the_noise_is_uniform():
    u = torch.rand(50, 7, dtype=torch.float64)
    both = ("stochastic_binaryconnect", "straight_through")
    net, eta, *_ = case("tanh", noise=FAMILY["uniform"])
    one, other = (METHODS[name].estimate(net, eta, u, NO_BASELINE) for name in both)
    assert torch.equal(one, other)
    net, eta, *_ = case("tanh")
    assert not torch.equal(*(METHODS[name].estimate(net, eta, u, NO_BASELINE) for name in both))


def test_gumbel_is_autograd_through_its_relaxed_network():
    net, eta, *_ = case("tanh")
    u, temperature = torch.rand(6, 7, dtype=torch.float64), 0.7
    at = eta.clone().requires_grad_()
    relaxed = torch.tanh((2 * at - torch.logit(u)) / (2 * temperature))  # with this noise the logit of p is twice eta
    drawn = torch.where(u < torch.sigmoid(2 * eta), 1.0, -1.0).double()
    slope = 2 * net.noise.pdf(eta)
    for name, forward in (("gumbel", relaxed), ("gumbel_straight_through", relaxed + (drawn - relaxed).detach())):
        found = METHODS[name].estimate(net, eta, u, NO_BASELINE, temperature=temperature)
        (expected,) = torch.autograd.grad(weight_network.losses(net, forward).sum(), at, retain_graph=True)
        assert_same(found.sum(dim=0) * slope, expected)


def test_bayesbinn_is_gumbel_at_temperature_1_and_a_natural_gradient_at_its_own():
    net, eta, m, _ = case("tanh")
    u = torch.rand(6, 7, dtype=torch.float64)
    bayesbinn, gumbel = (METHODS[name].estimate for name in ("bayesbinn", "gumbel"))
    warm, soft = (estimate(net, eta, u, NO_BASELINE, temperature=1.0) for estimate in (bayesbinn, gumbel))
    torch.testing.assert_close(warm, soft, rtol=1e-7, atol=1e-9)  # the 1e-10 apart
    found = bayesbinn(net, eta, u, NO_BASELINE, temperature=1e-10)
    expected = METHODS["straight_through"].estimate(net, eta, u, NO_BASELINE) / (1 - m.square())
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=0)


@pytest.mark.parametrize("problem", DETERMINISTIC)
def test_disarm_is_arm_averaged_over_what_leaves_both_draws_the_same(problem):
    """Not on the whole alone: ARM is linear in u - 1/2, so that the middles of the intervals give its mean in each of them."""
    net, eta, *_ = case(problem)
    u, _ = middles(net, eta)
    arm, disarm = (METHODS[name].estimate(net, eta, u, NO_BASELINE) for name in ("arm", "disarm"))
    assert_same(disarm, arm)


def test_arm_is_the_same_from_either_of_both_draws():
    net, eta, *_ = case("tanh")
    u = torch.rand(20, net.size(), dtype=torch.float64)
    assert_same(METHODS["arm"].estimate(net, eta, u, NO_BASELINE), METHODS["arm"].estimate(net, eta, 1 - u, NO_BASELINE))


def test_disarm_says_nothing_of_weights_drawn_alike_even_where_activations_differ():
    net, eta, *_ = case("stochastic", widths=(2,))
    u, p = torch.rand(200, net.size(), dtype=torch.float64), net.noise.cdf(eta)
    alike = weight_estimators.drawn(p, u) == weight_estimators.drawn(p, 1 - u)
    assert alike.any()
    assert (METHODS["disarm"].estimate(net, eta, u, NO_BASELINE)[alike] == 0).all()


def test_a_baseline_is_subtracted_from_the_loss_sample_by_sample():
    net, eta, *_ = case("sign")
    u, p, baseline = torch.rand(20, net.size(), dtype=torch.float64), net.noise.cdf(eta), torch.tensor(0.7, dtype=torch.float64)
    plain = METHODS["reinforce"].estimate(net, eta, u, baseline)
    score = torch.where(u < p, 1 / (2 * p), -1 / (2 * (1 - p)))  # the derivative of log P(w) by m
    assert_same(METHODS["reinforce_baseline"].estimate(net, eta, u, baseline), plain - baseline * score)


def test_estimators_that_return_the_gradient_of_some_weights_are_exact_where_the_gradient_is_the_same_everywhere():
    """A linear unit under a linear loss."""
    net, eta, _, exact = case("multilinear", widths=())
    u = torch.rand(3, net.size(), dtype=torch.float64)
    for name in ("straight_through", "deterministic", "stochastic_binaryconnect"):
        assert_same(METHODS[name].estimate(net, eta, u, NO_BASELINE), exact.expand_as(u))


def test_the_local_reparametrization_is_exact_in_deep_linear_networks_under_a_quadratic_loss():
    """It keeps both moments of each layer: units share no weights, so that given the layer before they are independent anyway."""
    inputs = torch.tensor([[0.7, -1.2]], dtype=torch.float64)
    net = weight_network.WeightNetwork(inputs, (2, 2), "linear", lambda v: (v - 0.3).square() + v, LOGISTIC)
    eta = start(net, 0.9, seed=2)
    choices = states(5)  # of the normal numbers of two units, of two more and of the output, see local_mean
    numbers = iter(choices[:, None, block] for block in (slice(0, 2), slice(2, 4), slice(4, 5)))
    samples = torch.empty(len(choices), net.size(), dtype=torch.float64)
    found = weight_estimators.local_reparametrization(net, eta, samples, NO_BASELINE, normal=lambda like: next(numbers))
    exact = weight_network.exact_gradient(state_losses(net), means_of(net.noise, eta))
    assert_same(found.mean(dim=0), exact)
    straight_through = mean_of(METHODS["straight_through"].estimate, net, eta)
    assert (straight_through - exact).norm() > 0.1 * exact.norm()


@pytest.mark.parametrize("name", UNBIASED)
def test_samples_are_within_4_standard_errors_with_stochastic_activations(name):
    net, eta, _, exact = case("stochastic", widths=(2,))
    torch.manual_seed(0)
    count = 20_000
    found = METHODS[name].estimate(net, eta, torch.rand(count, net.size(), dtype=torch.float64), torch.tensor(0.7))
    error = found.std(dim=0) / math.sqrt(count)
    assert ((found.mean(dim=0) - exact).abs() < 4 * error).all()


def test_costs_in_passes():
    """3-2-1 with eight weights; of stochastic activations the output is computed for each of their 4 states."""
    costs = {name: method.cost(network("tanh", widths=(2,))) for name, method in METHODS.items()}
    one = dict.fromkeys((name for name in METHODS if name not in ("exact", *UNBIASED, "local_reparametrization")), (1, 1))
    loss = {"reinforce": (1, 0), "reinforce_baseline": (1, 0), "arm": (2, 0), "disarm": (2, 0)}
    assert costs == {"exact": (256, 0), "local_reparametrization": (2, 2), **one, **loss}
    assert METHODS["exact"].cost(network("stochastic", widths=(2,))) == (256 * (1 + 4) / 2, 0)


def test_every_estimator_is_finite_in_every_network_even_a_very_sharp_one():
    for problem, sharpness in itertools.product(lab_weights.PROBLEMS, (0.1, 15.0)):
        net, eta, *_ = case(problem, sharpness)
        for name in lab_weights.ESTIMATORS[1:]:
            config = WeightEstimator(name, 0.5 if name in lab_weights.RELAXED else None)
            u = torch.rand(20, net.size(), dtype=torch.float64)
            assert weight_estimators.build(config).estimate(net, eta, u, NO_BASELINE).isfinite().all(), name


def test_the_configuration_knows_the_names():
    assert tuple(METHODS) == lab_weights.ESTIMATORS


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": "rebar"}, r"a\.name=rebar: must be one of exact, straight_through"),
        ({"name": "arm", "temperature": 1.0}, r"a\.temperature=1\.0: arm takes name"),
        ({"name": "gumbel"}, r"a\.temperature=null: gumbel needs one, as in {name: gumbel, temperature: 1\.0}"),
        ({"name": "gumbel", "temperature": 0.0}, r"a\.temperature=0\.0: must be a number above 0"),
        ({"name": "gumbel", "temperature": "warm"}, r"a=.*warm"),
        ({"nam": "gumbel"}, r"a\.name=null: needs an estimator, as in {name: straight_through}"),
    ],
)
def test_bad_estimators_are_refused_with_their_place(given, message):
    with pytest.raises(ConfigError, match="protocol.estimators." + message):
        lab_weights.estimator("protocol.estimators.a", given)
