import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bnn_train.binary import ste
from bnn_train.errors import ConfigError

# 0 and -0.0, each estimator's boundary, a step to both sides of it, and far out.
EPS = 1e-9
BOUNDARIES = (0.1, 0.5, 1.0, 1.5)
POINTS = [0.0, -0.0, 1e-3, 1e4, *(s * (b + d) for b in BOUNDARIES for d in (-EPS, 0, EPS) for s in (1, -1)), -1e-3, -1e4, 2.5, -3.0]


def reste_factor(x: float, o: float) -> float:
    if abs(x) > 1.5:
        return 0.0
    return 0.1 ** (1 / o) / 0.1 if abs(x) <= 0.1 else abs(x) ** ((1 - o) / o) / o


def swish_sign_factor(x: float, beta: float) -> float:
    y = min(beta * abs(x), 700)  # cosh overflows above; the factor is 0 there to the last bit
    return beta * (2 - y * math.tanh(y / 2)) / (1 + math.cosh(y))


# (name, parameters, progress, the surrogate factor in plain arithmetic)
CLOSED_FORMS = [
    ("identity", {}, 0, lambda x: 1),
    ("clamped_grad", {}, 0, lambda x: 1),
    ("clipped", {}, 0, lambda x: 1 if abs(x) <= 1 else 0),
    ("clipped", {"clip": 0.5}, 0, lambda x: 1 if abs(x) <= 0.5 else 0),
    ("tanh", {}, 0, lambda x: 1 - math.tanh(x) ** 2),
    ("approx_sign", {}, 0, lambda x: max(0, 2 - 2 * abs(x))),
    ("gaussian", {}, 0, lambda x: 2 * math.exp(-x * x / 2) / math.sqrt(2 * math.pi)),
    ("swish_sign", {}, 0, lambda x: swish_sign_factor(x, 5)),
    ("swish_sign", {"beta": 2}, 0, lambda x: swish_sign_factor(x, 2)),
    ("ede", {}, 0.0, lambda x: 10 * 0.1 * (1 - math.tanh(0.1 * x) ** 2)),
    ("ede", {}, 0.5, lambda x: 1 - math.tanh(x) ** 2),
    ("ede", {}, 1.0, lambda x: 10 * (1 - math.tanh(10 * x) ** 2)),
    ("reste", {}, 0.0, lambda x: reste_factor(x, 1)),
    ("reste", {}, 1.0, lambda x: reste_factor(x, 3)),
]


def test_every_estimator_has_a_closed_form_here():
    assert {name for name, *_ in CLOSED_FORMS} == set(ste.ESTIMATORS)


@pytest.mark.parametrize("stochastic", [False, True])
@pytest.mark.parametrize(("name", "params", "progress", "factor"), CLOSED_FORMS)
def test_backward_multiplies_by_the_factor(name, params, progress, factor, stochastic):
    a = torch.tensor(POINTS, dtype=torch.float64, requires_grad=True)
    module = ste.build(name, stochastic, **params)
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


def test_clamped_grad_clamps_the_incoming_gradient():
    a = torch.zeros(4, requires_grad=True)
    ste.build("clamped_grad")(a).backward(torch.tensor([-3.0, -0.5, 1.0, 7.0]))
    assert a.grad.tolist() == [-1.0, -0.5, 1.0, 1.0]


@pytest.mark.parametrize("name", ste.ESTIMATORS)
def test_forward_is_the_sign_with_both_zeros_positive(name):
    x = torch.tensor([0.0, -0.0, 1e-45, -1e-45, 5.0, -5.0, math.inf, -math.inf])
    assert ste.build(name)(x).tolist() == [1, 1, 1, -1, 1, -1, 1, -1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_sign_keeps_the_dtype(dtype):
    assert ste.sign(torch.zeros(2, dtype=dtype)).dtype == dtype


@given(st.lists(st.floats(allow_nan=False, width=32), min_size=1))
def test_sign_is_always_binary(values):
    assert set(ste.sign(torch.tensor(values)).abs().tolist()) == {1.0}


@pytest.mark.parametrize("name", ste.ESTIMATORS)
def test_stochastic_forward_follows_the_noise(name):
    """The share of +1 is F(a), within 4 standard errors; in evaluation the noise is gone."""
    module, samples = ste.build(name, stochastic=True), 40_000
    module.progress = 0.5
    params = {"progress": 0.5} if module.annealed else {}
    scale = module.estimator.noise_scale(**params)
    torch.manual_seed(0)
    for a in (-0.7, -0.1, 0.0, 0.3, 0.9):
        x = module(torch.full((samples,), a, dtype=torch.float64))
        assert set(x.tolist()) <= {-1.0, 1.0}
        p = module.estimator.noise.cdf(torch.tensor(a / scale, dtype=torch.float64)).item()
        assert abs((x > 0).double().mean().item() - p) < 4 * math.sqrt(max(p * (1 - p), 1e-9) / samples)
    module.eval()
    assert module(torch.tensor([-0.1, 0.0, 0.1])).tolist() == [-1, 1, 1]


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
    module, a = ste.build("tanh", stochastic=True), torch.zeros(100)
    draws = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        draws.append(module(a))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_none_is_relu():
    assert ste.build("none")(torch.tensor([-1.0, 2.0])).tolist() == [0, 2]


def test_unknown_names_and_parameters_are_refused():
    with pytest.raises(ConfigError, match=r"ste\.name=clip: must be one of none, identity"):
        ste.build("clip")
    with pytest.raises(ConfigError, match=r"ste\.clip=2: ste=tanh takes no options"):
        ste.build("tanh", clip=2)
    with pytest.raises(ConfigError, match=r"ste\.progress"):
        ste.build("ede", progress=0.5)
