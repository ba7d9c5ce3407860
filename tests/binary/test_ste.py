import itertools
import math
import runpy
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bnn_train.binary import ste
from bnn_train.config.ste import NoneConfig, SteConfig
from bnn_train.errors import ConfigError

BY_HAND = runpy.run_path(str(Path(__file__).with_name("closed_forms.py")))
CLOSED_FORMS, PROBABILITIES = BY_HAND["CLOSED_FORMS"], BY_HAND["PROBABILITIES"]
# 0 and -0.0, each estimator's boundary, a step to both sides of it, and far out.
EPS = 1e-9
BOUNDARIES = (0.1, 0.5, 1.0, 1.5)
POINTS = [0.0, -0.0, 1e-3, 1e4, *(s * (b + d) for b in BOUNDARIES for d in (-EPS, 0, EPS) for s in (1, -1)), -1e-3, -1e4, 2.5, -3.0]


def test_every_estimator_has_a_closed_form_here():
    assert {name for name, *_ in CLOSED_FORMS} == set(ste.ESTIMATORS)


# With noise too, unless the factor depends on what is drawn.
CASES = [(*form, noisy) for form in CLOSED_FORMS for noisy in (False, True) if not (noisy and form[0] in ("reinmax", "gumbel"))]


@pytest.mark.parametrize(("name", "params", "progress", "factor", "stochastic"), CASES)
def test_backward_multiplies_by_the_factor(name, params, progress, factor, stochastic):
    a = torch.tensor(POINTS, dtype=torch.float64, requires_grad=True)
    module = ste.Ste(name, stochastic, **params)
    module.progress = progress
    incoming = torch.linspace(-0.9, 0.9, len(POINTS), dtype=torch.float64)
    module(a).backward(incoming)
    expected = torch.tensor([factor(x) for x in POINTS], dtype=torch.float64) * incoming
    torch.testing.assert_close(a.grad, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("clip", [1.0, 0.1, 3.3])
def test_the_window_of_clipped_ends_at_the_boundary_in_every_dtype(dtype, clip):
    edge = torch.tensor(clip, dtype=dtype)
    step = 2 * torch.finfo(dtype).eps
    a = torch.stack([edge, -edge, edge * (1 + step), -edge * (1 + step), edge * (1 - step)])
    inside = a.double().abs() <= torch.tensor(clip, dtype=torch.float64 if dtype == torch.float64 else torch.float32).double()
    assert torch.equal(ste.clipped(torch.full_like(a, 0.5), a, clip=clip), torch.where(inside, 0.5, 0.0).to(dtype))


WINDOWS = {
    **{("clipped", clip): clip for clip in (1.0, 0.5)},
    **{("uniform", scale): scale for scale in (1.0, 0.5)},
    ("triangular", 1.5): 1.5,
    ("approx_sign", None): 1.0,
    ("hard_st", None): 1.0,
    ("reste", None): 1.5,
    ("identity", None): math.inf,
    ("clamped_grad", None): math.inf,
}


@pytest.mark.parametrize(("name", "params", "progress", "factor"), CLOSED_FORMS)
def test_beyond_the_window_the_factor_is_below_a_hundredth_of_its_largest(name, params, progress, factor):
    """And within it, it is not, up to the end; the zero that swish_sign's crosses on its way is no end."""
    module = ste.Ste(name, **params)
    module.progress = progress
    window = module.window()
    assert WINDOWS.get((name, next(iter(params.values()), None)), window) == window
    if window == math.inf:
        return
    largest = max(abs(factor(i * window / 1000)) for i in range(1001))
    assert all(abs(factor(window * (1 + i / 100))) < 0.01 * largest for i in range(1, 2000))
    assert abs(factor(window * 0.9)) > 0.01 * largest


def test_clamped_grad_clamps_the_incoming_gradient():
    a = torch.zeros(4, requires_grad=True)
    ste.Ste("clamped_grad")(a).backward(torch.tensor([-3.0, -0.5, 1.0, 7.0]))
    assert a.grad.tolist() == [-1.0, -0.5, 1.0, 1.0]


@pytest.mark.parametrize("name", ste.ESTIMATORS)
def test_forward_is_the_sign_with_both_zeros_positive(name):
    x = torch.tensor([0.0, -0.0, 1e-45, -1e-45, 5.0, -5.0, math.inf, -math.inf])
    assert ste.Ste(name)(x).tolist() == [1, 1, 1, -1, 1, -1, 1, -1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_sign_keeps_the_dtype(dtype):
    assert ste.sign(torch.zeros(2, dtype=dtype)).dtype == dtype


@given(st.lists(st.floats(allow_nan=False, width=32), min_size=1))
def test_sign_is_always_binary(values):
    assert set(ste.sign(torch.tensor(values)).abs().tolist()) == {1.0}


@pytest.mark.parametrize(("name", "params", "probability"), PROBABILITIES)
def test_stochastic_forward_follows_the_noise(name, params, probability):
    """The share of +1 is F(a), within 4 standard errors; in evaluation the noise is gone."""
    module, samples = ste.Ste(name, stochastic=True, **params), 40_000
    module.progress = 0.5
    torch.manual_seed(0)
    for a in (-0.7, -0.1, 0.0, 0.3, 0.9):
        x = module(torch.full((samples,), a, dtype=torch.float64))  # gumbel: hard
        assert set(x.tolist()) <= {-1.0, 1.0}
        p = probability(a)
        assert abs((x > 0).double().mean().item() - p) < 4 * math.sqrt(max(p * (1 - p), 1e-9) / samples)
    module.eval()
    assert module(torch.tensor([-0.1, 0.0, 0.1])).tolist() == [-1, 1, 1]


EVERY_FLOAT = st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1)


@given(EVERY_FLOAT, st.sampled_from([torch.float32, torch.float64]))
@pytest.mark.parametrize(("name", "distribution"), [("clipped", "uniform"), ("approx_sign", "triangular")])
def test_named_estimators_are_those_of_their_noise_to_the_last_bit(name, distribution, values, dtype):
    a = torch.tensor(values, dtype=dtype)
    g = torch.linspace(-3, 7, len(a), dtype=dtype)
    named, derived = (ste.ESTIMATORS[key].backward(g, a) for key in (name, distribution))
    assert torch.equal(named, derived)


@pytest.mark.parametrize(("name", "distribution", "scale"), [("tanh", "logistic", 0.5), ("gaussian", "normal", 1.0)])
def test_tanh_and_gaussian_are_those_of_their_noise(name, distribution, scale):
    a, g = torch.linspace(-3, 3, 61, dtype=torch.float64), torch.linspace(-3, 7, 61, dtype=torch.float64)
    named, derived = ste.ESTIMATORS[name].backward(g, a), ste.ESTIMATORS[distribution].backward(g, a, scale=scale)
    torch.testing.assert_close(named, derived, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_reinmax_is_the_mean_of_st_and_darn(scale):
    """DARN: L(x) - L(E x) taken as g (x - E x), times the derivative of log P(x); sample by sample."""
    a = torch.linspace(-4, 4, 41, dtype=torch.float64)
    g = torch.linspace(-3, 7, 41, dtype=torch.float64)
    p = torch.sigmoid(a / scale)
    for x in (-1, 1):
        z = a - x  # then sign(a - z) = x
        probability = p if x > 0 else 1 - p
        darn = g * (x - (2 * p - 1)) * x * p * (1 - p) / scale / probability
        st_gradient = ste.ESTIMATORS["logistic"].backward(g, a, scale=scale)
        torch.testing.assert_close(ste.reinmax(g, a, z=z, scale=scale), (st_gradient + darn) / 2)
        if scale == 1:
            torch.testing.assert_close(ste.reinmax(g, a, z=z), g * torch.sigmoid(-x * a))


@pytest.mark.parametrize("temperature", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("hard", [True, False])
def test_gumbel_is_the_derivative_of_its_relaxation_at_what_was_drawn(temperature, hard):
    module = ste.Ste("gumbel", stochastic=True, temperature=temperature, hard=hard)
    a = torch.linspace(-2, 2, 50, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(0)
    x = module(a)
    torch.manual_seed(0)
    relaxed = torch.tanh((a - module.estimator.noise.sample(a)) / (2 * temperature))
    (expected,) = torch.autograd.grad(relaxed.sum(), a)
    torch.testing.assert_close(x, ste.sign(relaxed) if hard else relaxed)
    x.sum().backward()
    torch.testing.assert_close(a.grad, expected)
    module.eval()
    assert torch.equal(module(a), ste.sign(a))


def test_hard_st_draws_from_the_logistic():
    assert ste.ESTIMATORS["hard_st"].noise is ste.ESTIMATORS["logistic"].noise


def enumerate_layer(name, loss, a):
    """(mean of the estimator's gradient, exact gradient) of E[loss(x)] over all states x of one layer of independent units."""
    estimator = ste.ESTIMATORS[name]
    p = estimator.noise.cdf(a)
    mean, exact = torch.zeros_like(a), torch.zeros_like(a)
    for bits in itertools.product([-1.0, 1.0], repeat=len(a)):
        x = torch.tensor(bits, dtype=torch.float64, requires_grad=True)
        each = torch.where(x > 0, p, 1 - p)
        probability = each.prod()
        value = loss(x)
        (g,) = torch.autograd.grad(value, x)
        drawn = {"z": (a - x).detach()} if name == "reinmax" else {}
        mean += probability * estimator.backward(g, a, **drawn)
        exact += probability * value.detach() * x.detach() * estimator.noise.pdf(a) / each  # the derivative of the probability
    return mean.detach(), exact.detach()


A = torch.tensor([0.3, -0.8, 0.5, 0.1], dtype=torch.float64)
C = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)


def multilinear(x):
    return (C * x).sum() + 2 * x[0] * x[1] * x[2] - x[1] * x[3] + 4 * x.prod()


def quadratic(x):
    return ((C * x).sum() - 1) ** 2 + 3 * x[0] * x[3] + x[2]


def quartic(x):
    return ((C * x).sum() - 1) ** 4


@pytest.mark.parametrize("name", ["uniform", "triangular", "logistic", "normal"])
def test_matching_noise_is_unbiased_under_a_multilinear_loss_and_biased_under_a_quadratic_one(name):
    mean, exact = enumerate_layer(name, multilinear, A)
    torch.testing.assert_close(mean, exact, rtol=1e-12, atol=1e-12)
    mean, exact = enumerate_layer(name, quadratic, A)
    assert ((mean - exact).abs() > 0.01).all()


def test_reinmax_is_unbiased_under_a_quadratic_loss_and_biased_under_a_quartic_one():
    for loss in (multilinear, quadratic):
        mean, exact = enumerate_layer("reinmax", loss, A)
        torch.testing.assert_close(mean, exact, rtol=1e-12, atol=1e-12)
    mean, exact = enumerate_layer("reinmax", quartic, A)
    assert ((mean - exact).abs() > 0.01).all()


def test_a_mismatched_estimator_is_biased_under_a_linear_loss():
    mean, exact = enumerate_layer("hard_st", multilinear, A)
    assert ((mean - exact).abs() > 0.01).all()


@pytest.mark.parametrize("name", ["clipped", "tanh", "approx_sign", "gaussian"])
def test_factor_is_twice_the_density_of_its_noise(name):
    estimator, a = ste.ESTIMATORS[name], torch.linspace(-2, 2, 41, dtype=torch.float64)
    scale = estimator.noise_scale()
    density = estimator.noise.pdf(a / scale) / scale
    torch.testing.assert_close(estimator.backward(torch.ones_like(a), a), 2 * density)


def test_ede_in_mid_training_is_tanh_and_fits_its_noise():
    a = torch.linspace(-2, 2, 9, dtype=torch.float64)
    one = torch.ones_like(a)
    torch.testing.assert_close(ste.ede(one, a, progress=0.5), ste.tanh(one, a))
    scale = ste.ESTIMATORS["ede"].noise_scale(progress=0.75)
    torch.testing.assert_close(ste.ede(one, a, progress=0.75), 2 * ste.ESTIMATORS["ede"].noise.pdf(a / scale) / scale)


def test_noise_comes_from_torchs_generator():
    module, a = ste.Ste("tanh", stochastic=True), torch.zeros(100)
    draws = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        draws.append(module(a))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_none_is_relu_or_tanh():
    x = torch.tensor([-1.0, 2.0])
    assert ste.build(NoneConfig())(x).tolist() == [0, 2]
    assert ste.build(NoneConfig(activation="tanh"))(x).tolist() == pytest.approx([math.tanh(-1), math.tanh(2)])


def test_unknown_names_and_parameters_are_refused():
    with pytest.raises(ConfigError, match=r"ste\.name=clip: must be one of none, identity"):
        ste.build(SteConfig("clip"))
    with pytest.raises(ConfigError, match=r"ste\.clip=2: tanh takes no parameters"):
        ste.Ste("tanh", clip=2)
    with pytest.raises(ConfigError, match=r"ste\.progress"):
        ste.Ste("ede", progress=0.5)
