import pytest
import torch

from bnn_train.binary import noise as distributions
from bnn_train.binary import ste, weights
from bnn_train.binary.layers import BinaryLinear
from bnn_train.config.ste import ClippedConfig, SteConfig
from bnn_train.config.weights import RealConfig, SignConfig, WeightsConfig
from bnn_train.errors import ConfigError


def gradient(binarizer, latent):
    latent = latent.clone().requires_grad_()
    binarizer(latent).sum().backward()
    return latent.grad


LATENT = torch.tensor([-2.0, -0.5, 0.0, 0.3, 1.5])


def test_sign_binarizes_and_uses_the_activations_estimator():
    binarizer = weights.build(SignConfig(), ClippedConfig(clip=0.4))
    assert binarizer(LATENT).tolist() == [-1, -1, 1, 1, 1]
    assert gradient(binarizer, LATENT).tolist() == [0, 0, 1, 1, 0]
    assert binarizer.bits == 1


def test_weights_ste_names_another_estimator():
    binarizer = weights.build(SignConfig(ste="approx_sign"), ClippedConfig())
    torch.testing.assert_close(gradient(binarizer, LATENT), ste.approx_sign(torch.ones(5), LATENT))


def test_with_real_activations_the_estimator_is_the_identity():
    assert gradient(weights.build(SignConfig(), SteConfig("none")), LATENT).tolist() == [1] * 5


def test_weights_are_deterministic_where_activations_are_stochastic():
    binarizer = weights.build(SignConfig(), SteConfig("tanh", stochastic=True)).train()
    assert all(binarizer(LATENT).tolist() == [-1, -1, 1, 1, 1] for _ in range(20))


def test_real_passes_the_latent_weight_through():
    binarizer = weights.build(RealConfig(), ClippedConfig())
    assert torch.equal(binarizer(LATENT), LATENT)
    assert binarizer.bits == 32


def stochastic(noise="logistic", **options):
    return weights.Stochastic(noise, **options)


@pytest.mark.parametrize("noise", ["uniform", "triangular", "logistic", "normal"])
def test_bernoulli_weights_follow_their_distribution_and_evaluation_takes_the_sign(noise):
    binarizer, samples = stochastic(noise, scale=0.5), 40_000
    torch.manual_seed(0)
    for eta in (-0.4, 0.0, 0.2):
        w = binarizer(torch.full((samples,), eta, dtype=torch.float64))
        assert set(w.tolist()) == {-1.0, 1.0}
        p = distributions.FAMILY[noise].cdf(torch.tensor(eta / 0.5, dtype=torch.float64)).item()
        assert abs((w > 0).double().mean().item() - p) < 4 * (p * (1 - p) / samples) ** 0.5
    assert binarizer.eval()(LATENT).tolist() == [-1, -1, 1, 1, 1]


def test_bernoulli_weights_pass_the_gradient_on():
    assert gradient(stochastic(), LATENT).tolist() == [1] * 5


def step(noise, eta, g, lr, kl, scale=1.0):
    """One step of a layer y = w with loss g w: SGD on the latent weight, then what the trainer does after it."""
    layer = BinaryLinear(len(eta), 1, stochastic(noise, kl=kl, scale=scale), estimator=None)
    layer.weight.data = eta[None].clone()
    optimizer = torch.optim.SGD(layer.parameters(), lr)
    layer(g[None]).sum().backward()
    optimizer.step()
    layer.constrain(lr)
    return layer.weight.detach()[0]


ETA = torch.tensor([-2.0, -0.3, 0.0, 0.4, 1.5], dtype=torch.float64)
G = torch.tensor([0.7, -1.2, 0.5, 2.0, -3.0], dtype=torch.float64)


@pytest.mark.parametrize("scale", [0.05, 0.5, 2.0])
@pytest.mark.parametrize("kl", [0.0, 0.3])
def test_logistic_weights_take_a_step_of_mirror_descent(kl, scale):
    """The minimiser over p of <2 G, p> + kl KL(p, 1/2) + KL(p, p_0) / tau, tau = lr / (2 scale), found by ternary search.

    G is dL/dw, and 2 G is dL/dp. (Its closed form is logit p = (logit p_0 - 2 tau G) / (1 + tau kl).)
    """
    lr, before = 0.5 * scale, torch.sigmoid(ETA / scale)
    tau = lr / (2 * scale)

    def divergence(p, q):
        return p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()

    def objective(p):
        return 2 * G * p + kl * divergence(p, torch.full_like(p, 0.5)) + divergence(p, before) / tau

    low, high = torch.full_like(ETA, 1e-30), torch.full_like(ETA, 1 - 1e-15)
    for _ in range(200):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        worse = objective(left) > objective(right)
        low, high = torch.where(worse, left, low), torch.where(worse, high, right)
    eta = step("logistic", ETA, G, lr, kl, scale)
    torch.testing.assert_close(torch.sigmoid(eta / scale), (low + high) / 2, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(eta / scale, (ETA / scale - 2 * tau * G) / (1 + tau * kl))


@pytest.mark.parametrize("noise", list(distributions.FAMILY))
@pytest.mark.parametrize("scale", [0.05, 0.5, 2.0])
@pytest.mark.parametrize("kl", [0.01, 0.3, 4.0])
def test_the_prior_is_in_the_units_of_the_loss_at_every_scale(noise, scale, kl):
    """At the minimum of E[loss] + kl D(p, 1/2) a step moves nothing: there dE[loss]/dp = -kl F^-1(p), F^-1(p) = latent / scale."""
    latent = scale * torch.tensor([-0.9, -0.3, 0.0, 0.4, 0.8], dtype=torch.float64)
    slope = -kl * latent / scale / 2  # of the mean of w, which is 2 p - 1
    torch.testing.assert_close(step(noise, latent, slope, 0.3 * scale, kl, scale), latent)


def test_natural_parameters_shrink_as_those_of_bayes_binn_do():
    """Noise of scale 1/2: the latent weight is the natural parameter of a weight in {-1, +1}, the log-odds' half."""
    torch.testing.assert_close(step("logistic", ETA, 0 * G, 0.25, 2.0, scale=0.5), ETA / (1 + 0.25 * 2.0))


def test_uniform_weights_take_the_step_of_binary_connect():
    """mu <- clip(mu - lr G, -1, 1), mu = E[w] = eta for uniform noise on [-1, 1]."""
    start = ETA.clamp(-1, 1)
    torch.testing.assert_close(step("uniform", start, G, 0.5, 0.0).double(), (start - 0.5 * G).clamp(-1, 1), rtol=0, atol=0)


def test_bad_names():
    with pytest.raises(ConfigError, match=r"weights\.name=xxx"):
        weights.build(WeightsConfig("xxx"), SteConfig("clipped"))
    with pytest.raises(ConfigError, match=r"weights\.ste=none"):
        weights.build(SignConfig(ste="none"), SteConfig("clipped"))
    with pytest.raises(ConfigError, match=r"weights\.noise=cauchy: must be one of uniform, triangular, logistic, normal"):
        weights.Stochastic("cauchy")
    with pytest.raises(ConfigError, match=r"weights\.prepare=whiten: must be one of none, centre, standardise, quantile"):
        weights.Sign(prepare="whiten")
    with pytest.raises(ConfigError, match=r"weights\.scaling=max: must be one of none, mean, mean_detached, power_of_two, learned"):
        weights.Sign(scaling="max")


def test_a_centred_weight_is_so_from_the_start_and_after_each_step():
    layer = BinaryLinear(4, 3, weights.Sign(centre=True, scaling="learned"))
    torch.testing.assert_close(layer.weight.mean(dim=1), torch.zeros(3))
    assert torch.equal(layer.scaling_factor, layer.weight.abs().mean(dim=1))  # of the centred weight
    layer.weight.data = torch.tensor([[3.0, 1.0, -1.0, 1.0], [0.5, 0.5, 0.5, 0.5], [0.5, -0.25, 0.0, -0.25]])
    layer.constrain(lr=0.1)
    assert layer.weight.tolist() == [[1, 0, -1, 0], [0] * 4, [0.5, -0.25, 0.0, -0.25]]
    layer.prune(torch.tensor([[False, False, False, True]] * 3))
    layer.weight.data = torch.tensor([[0.75, 0.25, -0.25, 0.8]] * 3)
    layer.constrain(lr=0.1)
    assert layer.weight.tolist() == [[0.5, 0, -0.5, pytest.approx(0.8)]] * 3


def test_tau_follows_the_progress_and_moves_no_sign():
    binarizer = weights.build(SignConfig(prepare="quantile", tau=0.6, tau_end=0.9), ClippedConfig())
    assert binarizer.annealed
    assert not weights.build(SignConfig(prepare="quantile"), ClippedConfig()).annealed
    latent = torch.randn(3, 50)
    largest, signs = [], []
    for progress in (0.0, 0.5, 1.0):
        binarizer.progress = progress
        largest.append(binarizer.prepared(latent).abs().amax(dim=1))
        signs.append(binarizer(latent))
    assert (largest[0] < largest[1]).all()
    assert (largest[1] < largest[2]).all()
    assert torch.equal(signs[0], signs[1])
    assert torch.equal(signs[1], signs[2])


def test_starts_and_what_they_say_of_themselves():
    """Others ask these attributes, and never which binarizer it is."""
    latent = torch.tensor([[0.3, -0.2], [-4.0, 0.0]])
    started = {}
    for name, binarizer in {"sign": weights.Sign(), "binary": weights.Binary(), "bayesbinn": weights.BayesBinn(init=2.0)}.items():
        started[name] = latent.clone()
        binarizer.start(started[name])
        assert (binarizer.sized, bool(binarizer.no_penalty)) == (name == "sign", name != "sign")
    assert torch.equal(started["sign"], latent)
    assert started["binary"].tolist() == [[1, -1], [-1, 1]]
    assert started["bayesbinn"].tolist() == [[2, -2], [-2, 2]]
