import math

import pytest
import torch

from bnn_train.binary import preparation
from bnn_train.binary.layers import BinaryConv2d, BinaryLinear
from bnn_train.binary.ste import Ste
from bnn_train.binary.weights import Sign

LATENT = torch.tensor([[1.0, 2.0, 3.0, 6.0], [0.5, -0.5, 0.5, -0.5]], dtype=torch.float64)
MASK = torch.tensor([[1.0, 1.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0]], dtype=torch.float64)


def test_every_function_by_hand():
    """Row 1: mean 3, deviations -2, -1, 0, 3, variance 14 / 4. Row 2: mean 0, variance 1 / 4."""
    assert preparation.centre(LATENT, None).tolist() == [[-2, -1, 0, 3], [0.5, -0.5, 0.5, -0.5]]
    standard = [[value / math.sqrt(3.5) for value in (-2, -1, 0, 3)], [1, -1, 1, -1]]
    torch.testing.assert_close(preparation.standardise(LATENT, None), torch.tensor(standard, dtype=torch.float64))
    widened = 2 * math.sqrt(2) * torch.tensor(standard, dtype=torch.float64)
    q = -math.log(2 - 2 * 0.75) * widened.abs().mean(dim=1, keepdim=True)
    torch.testing.assert_close(preparation.quantile(LATENT, None, tau=0.75), widened.clamp(-q, q))
    assert preparation.mean(LATENT, None).tolist() == [3, 0.5]
    assert preparation.power_of_two(LATENT, None).tolist() == [4, 0.5]  # log2 of 3 is nearer to 2


@pytest.mark.parametrize("shape", [(3, 5), (3, 4, 2, 3)])
@pytest.mark.parametrize("pruned", [False, True])
def test_each_kernel_position_loses_its_mean_over_the_input_channels(shape, pruned):
    torch.manual_seed(0)
    latent = torch.randn(shape, dtype=torch.float64)
    mask = (torch.rand(shape) < 0.6).double() if pruned else torch.ones(shape, dtype=torch.float64)
    found = latent.clone()
    preparation.centre_over_inputs(found, mask if pruned else None)
    flat, kept, done = (tensor.reshape(3, shape[1], -1) for tensor in (latent, mask, found))
    for o in range(3):
        for position in range(flat.shape[2]):
            column = [flat[o, c, position].item() for c in range(shape[1]) if kept[o, c, position]]
            middle = sum(column) / len(column) if len(column) > 1 else 0.0
            for c in range(shape[1]):
                expected = flat[o, c, position].item() - middle * kept[o, c, position].item()
                assert done[o, c, position].item() == pytest.approx(expected, rel=1e-12, abs=1e-15)
    assert torch.equal(found[mask == 0], latent[mask == 0])


def test_a_weight_of_one_input_channel_is_not_centred_to_nothing():
    latent = torch.randn(4, 1, 3, 3)
    found = latent.clone()
    preparation.centre_over_inputs(found, None)
    assert torch.equal(found, latent)
    preparation.centre_over_inputs(found, torch.ones_like(found))
    assert torch.equal(found, latent)


def test_tau_rises_along_an_exponential():
    assert preparation.tau_at(0.0, 0.85, 0.99) == 0.85
    assert preparation.tau_at(1.0, 0.85, 0.99) == pytest.approx(0.99, rel=1e-15)
    assert preparation.tau_at(0.3, 0.85, 0.99) == pytest.approx(0.85 + 0.14 * (math.e**0.3 - 1) / (math.e - 1), rel=1e-15)


def test_pruned_edges_count_in_no_statistic():
    """As if the filters had the connected edges alone, whatever the pruned ones hold."""
    for garbage in (6.0, 1e6, -3.0):
        latent = torch.where(MASK == 1, LATENT, garbage)
        for row, count in ((0, 3), (1, 2)):
            alone = LATENT[row : row + 1, :count]
            for prepare in (preparation.centre, preparation.standardise, lambda w, m: preparation.quantile(w, m, tau=0.8)):
                torch.testing.assert_close(prepare(latent, MASK)[row : row + 1, :count], prepare(alone, None))
            for scale in preparation.SCALING.values():
                torch.testing.assert_close(scale(latent, MASK)[row], scale(alone, None)[0])


@pytest.mark.parametrize("prepare", ["none", "centre", "standardise", "quantile"])
@pytest.mark.parametrize("scaling", ["none", "mean", "mean_detached", "power_of_two", "learned"])
@pytest.mark.parametrize("case", ["constant", "zero", "pruned"])
def test_a_filter_without_variety_stays_finite(prepare, scaling, case):
    layer = BinaryLinear(4, 3, Sign(prepare=prepare, scaling=scaling))
    layer.weight.data[1] = 0.0 if case == "zero" else 0.25
    if case == "pruned":
        pruned = torch.zeros(3, 4, dtype=torch.bool)
        pruned[1] = True
        layer.prune(pruned)
    x = torch.randn(5, 4, requires_grad=True)
    y = layer(x)
    y.square().sum().backward()
    found = [y, x.grad, layer.weight.grad, *([] if layer.scaling_factor is None else [layer.scaling_factor.grad])]
    assert all(tensor.isfinite().all() for tensor in found)
    assert layer.weight.grad.abs().max() < 1e6
    if case == "pruned":
        assert (y[:, 1] == 0).all()
        assert (layer.weight.grad[1] == 0).all()


def prepared_by_hand(w, mask, prepare, tau):
    """Plain autograd, with sums written out."""
    if prepare == "none":
        return w
    dims = tuple(range(1, w.ndim))
    n = mask.sum(dims, keepdim=True)
    centred = w - (w * mask).sum(dims, keepdim=True) / n
    if prepare == "centre":
        return centred
    standard = centred / ((centred**2 * mask).sum(dims, keepdim=True) / n) ** 0.5
    if prepare == "standardise":
        return standard
    wide = 8**0.5 * standard
    q = (-math.log(2 - 2 * tau) * (wide.abs() * mask).sum(dims, keepdim=True) / n).detach()
    return torch.where(wide.abs() <= q, wide, wide.sign() * q)


@pytest.fixture(params=[16, 1000])
def written(request, monkeypatch):
    """The written gradient, also of small weights, one or two outputs or all of them at a time."""
    monkeypatch.setattr(preparation, "LARGE", 0)
    monkeypatch.setattr(preparation, "CHUNK", request.param)


PREPARES = {"standardise": preparation.standardise, "quantile": lambda w, m: preparation.quantile(w, m, tau=0.8)}


@pytest.mark.usefixtures("written")
@pytest.mark.parametrize("prepare", PREPARES)
@pytest.mark.parametrize("pruned", [False, True])
@pytest.mark.parametrize("shape", [(5, 9), (5, 3, 2, 2)])
def test_the_written_gradient_is_autograds(prepare, pruned, shape, monkeypatch):
    torch.manual_seed(0)
    w = torch.randn(shape, dtype=torch.float64)
    w[1] = 0.25  # a filter without variety
    mask = (torch.rand(shape) < 0.6).double() if pruned else None
    if pruned:
        mask[2] = 0
    g, found = torch.randn(shape, dtype=torch.float64), []
    for large in (0, 1e9):
        monkeypatch.setattr(preparation, "LARGE", large)
        latent = w.clone().requires_grad_()
        prepared = PREPARES[prepare](latent, mask)
        assert ("_Standardised" in type(prepared.grad_fn).__name__) == (large == 0)
        prepared.backward(g)
        found.append((prepared.detach(), latent.grad))
    assert torch.equal(found[0][0], found[1][0])
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-12, atol=1e-13)


@pytest.mark.usefixtures("written")
@pytest.mark.parametrize("pruned", [False, True])
def test_the_written_gradient_is_that_of_small_differences(pruned):
    """Of standardise; the quantile is a constant of its backward, which differences do not know."""
    torch.manual_seed(0)
    latent = torch.randn(3, 7, dtype=torch.float64, requires_grad=True)
    mask = (torch.rand(3, 7) < 0.6).double() if pruned else None
    assert torch.autograd.gradcheck(lambda w: preparation.standardise(w, mask), latent)


@pytest.mark.usefixtures("written")
def test_the_written_gradient_keeps_the_layout_of_its_weight():
    """As channels_last, in which convolutions are fast."""
    latent = torch.randn(4, 3, 2, 2).contiguous(memory_format=torch.channels_last).requires_grad_()
    prepared = preparation.standardise(latent, None)
    prepared.sum().backward()
    assert prepared.stride() == latent.grad.stride() == latent.stride()


class HandSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a):
        ctx.save_for_backward(a)
        return torch.where(a >= 0, 1.0, -1.0).to(a.dtype)

    @staticmethod
    def backward(ctx, g):
        (a,) = ctx.saved_tensors
        return g * (1 - torch.tanh(a) ** 2)


@pytest.mark.parametrize("prepare", ["none", "centre", "standardise", "quantile"])
@pytest.mark.parametrize("scaling", ["none", "mean", "mean_detached", "power_of_two", "learned"])
@pytest.mark.parametrize("kind", ["linear", "conv"])
@pytest.mark.parametrize("pruned", [False, True])
def test_gradients_in_float64_are_those_of_plain_autograd(prepare, scaling, kind, pruned):
    torch.manual_seed(0)
    options = {
        "binarizer": Sign(Ste("tanh"), clip=None, prepare=prepare, scaling=scaling, tau=0.8),
        "estimator": "tanh",
        "bias": True,
    }
    layer = BinaryLinear(9, 5, **options) if kind == "linear" else BinaryConv2d(3, 5, 3, padding=1, **options)
    layer = layer.double()
    x = torch.randn(4, 9, dtype=torch.float64) if kind == "linear" else torch.randn(4, 3, 6, 5, dtype=torch.float64)
    mask = torch.ones_like(layer.weight)
    if pruned:
        mask = (torch.rand_like(layer.weight) < 0.7).double()
        layer.prune(mask == 0)
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    y = layer(mine)
    g = torch.randn_like(y)
    y.backward(g)

    weight, bias = (p.detach().clone().requires_grad_() for p in (layer.weight, layer.bias))
    learned = None if layer.scaling_factor is None else layer.scaling_factor.detach().clone().requires_grad_()
    prepared = prepared_by_hand(weight, mask, prepare, 0.8)
    signs = HandSign.apply(prepared) * mask
    dims = tuple(range(1, weight.ndim))
    sizes = (prepared.abs() * mask).sum(dims) / mask.sum(dims)
    scale = {
        "none": torch.ones(5, dtype=torch.float64),
        "mean": sizes,
        "mean_detached": sizes.detach(),
        "power_of_two": 2 ** sizes.detach().log2().round(),
        "learned": learned,
    }[scaling]
    a = HandSign.apply(theirs)
    if kind == "linear":
        expected = a @ signs.T * scale + bias
    else:
        expected = torch.nn.functional.conv2d(a, signs, padding=1) * scale.view(-1, 1, 1) + bias.view(-1, 1, 1)
    expected.backward(g)
    pairs = [(y, expected), (mine.grad, theirs.grad), (layer.weight.grad, weight.grad), (layer.bias.grad, bias.grad)]
    if learned is not None:
        pairs.append((layer.scaling_factor.grad, learned.grad))
    for found, by_hand in pairs:
        assert (found - by_hand).norm() <= 1e-12 * by_hand.norm()
