"""Each against its formula, written out in float64, gradients included."""

import math
from collections import OrderedDict

import pytest
import torch

from bnn_train.models.around import Gated, Shift, UnitVariance, activation


def gradients(y, g, *leaves):
    return torch.autograd.grad((y * g).sum(), leaves)


@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 4, 2)])
def test_a_shift_adds_a_number_to_each_channel(shape):
    x, g = (torch.randn(shape, dtype=torch.float64) for _ in range(2))
    layer = Shift(3, images=len(shape) == 4).double()
    assert torch.equal(layer(x), x)  # 0 at the start
    layer.shift.data.copy_(torch.tensor([0.5, -1.0, 2.0]))
    y = layer(x)
    for channel, b in enumerate((0.5, -1.0, 2.0)):
        assert torch.equal(y[:, channel], x[:, channel] + b)
    (of_shift,) = gradients(y, g, layer.shift)
    torch.testing.assert_close(of_shift, g.transpose(0, 1).flatten(1).sum(1))


@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 4, 2)])
def test_rprelu_is_a_prelu_between_two_shifts(shape):
    """With before = -gamma, slope beta, after = zeta: x - gamma + zeta where x > gamma, else beta (x - gamma) + zeta."""
    x, g = (torch.randn(shape, dtype=torch.float64) for _ in range(2))
    x.requires_grad_()
    layer = activation("rprelu", 3, images=len(shape) == 4).double()
    gamma, beta, zeta = (torch.tensor(v, dtype=torch.float64) for v in ([0.3, -0.4, 0.0], [0.25, -0.5, 1.5], [1.0, 0.1, -0.7]))
    for part, values in ((layer.before.shift, -gamma), (layer.prelu.weight, beta), (layer.after.shift, zeta)):
        part.data.copy_(values)
    along = [1, 3, *[1] * (len(shape) - 2)]
    gamma, beta, zeta = (v.view(along) for v in (gamma, beta, zeta))
    above = x.detach() > gamma
    y = layer(x)
    torch.testing.assert_close(y, torch.where(above, x - gamma + zeta, beta * (x - gamma) + zeta))

    others = [dim for dim in range(x.ndim) if dim != 1]
    of_x, of_before, of_slope, of_after = gradients(y, g, x, layer.before.shift, layer.prelu.weight, layer.after.shift)
    slope = torch.where(above, 1.0, beta)
    torch.testing.assert_close(of_x, g * slope)
    torch.testing.assert_close(of_before, (g * slope).sum(others))
    torch.testing.assert_close(of_slope, torch.where(above, 0.0, g * (x.detach() - gamma)).sum(others))
    torch.testing.assert_close(of_after, g.sum(others))


def test_a_new_rprelu_is_a_prelu_of_slope_a_quarter():
    x = torch.randn(4, 3)
    assert torch.equal(activation("rprelu", 3, images=False)(x), torch.where(x > 0, x, x / 4))


@pytest.mark.parametrize("shape", [(3, 7), (2, 3, 2, 2)])
def test_unit_variance_divides_each_sample_by_its_deviation_in_training(shape):
    x, g = (torch.randn(shape, dtype=torch.float64) * 3 for _ in range(2))
    x.requires_grad_()
    layer = UnitVariance()
    y = layer(x)
    of_x = gradients(y, g, x)[0]
    for i, sample in enumerate(x.detach()):
        values, n = sample.flatten().tolist(), sample.numel()
        mean = sum(values) / n
        deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1) + 1e-5)
        torch.testing.assert_close(y[i], sample / deviation)
        # d(x_j / s)/dx_i = [i = j] / s - x_j (x_i - mean) / ((n - 1) s^3)
        along = (g[i] * sample).sum()
        torch.testing.assert_close(of_x[i], g[i] / deviation - along * (sample - mean) / ((n - 1) * deviation**3))
    assert torch.equal(layer.eval()(x), x)


def test_a_constant_sample_stays_finite():
    x = torch.ones(2, 5, requires_grad=True)
    y = UnitVariance()(x)
    y.sum().backward()
    assert torch.isfinite(y).all()
    assert torch.isfinite(x.grad).all()


def test_a_gate_multiplies_channels_by_what_their_means_say():
    x = torch.randn(2, 16, 3, 5, dtype=torch.float64)
    inner = torch.nn.Conv2d(16, 4, 3, stride=2, padding=1)
    gated = Gated(OrderedDict(conv=inner), 16, 4).double()
    narrow, wide = gated.gate[2], gated.gate[4]
    assert (narrow.out_features, wide.out_features) == (2, 4)
    means = x.mean(dim=(2, 3))
    gate = 1 / (1 + torch.exp(-((means @ narrow.weight.T + narrow.bias).clamp(min=0) @ wide.weight.T + wide.bias)))
    torch.testing.assert_close(gated(x), inner(x) * gate.view(2, 4, 1, 1))


def test_hardtanh_and_relu_are_torchs():
    x = torch.linspace(-2, 2, 9)
    assert torch.equal(activation("hardtanh", 1, images=False)(x), x.clamp(-1, 1))
    assert torch.equal(activation("relu", 1, images=False)(x), x.clamp(min=0))
    assert activation("none", 1, images=False) is None
