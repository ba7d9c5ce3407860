import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from bnn_train.binary import probe
from bnn_train.binary.products import Conv2d, Linear, fixed_point
from bnn_train.binary.ste import sign, sign_int8
from bnn_train.binary.ways import Way

needs_int8 = pytest.mark.skipif(
    not probe.is_exact(Linear(), (8, 64), (8, 64), Way("int8", "int8")), reason="no exact int8 product here"
)
ONE = (1, 1)


def signs(*shape):
    return sign_int8(torch.randn(shape))


def image_signs(*shape):
    return signs(*shape).to(memory_format=torch.channels_last)


def test_signs_as_bytes_are_the_signs():
    special = torch.tensor([0.0, -0.0, 1e-45, -1e-45, math.inf, -math.inf, 3.0, -3.0])
    assert sign_int8(special).tolist() == [1, 1, 1, -1, 1, -1, 1, -1]
    for x in (torch.randn(3000, 300), torch.randn(5, 4, 3, 2).to(memory_format=torch.channels_last), torch.randn(0, 3)):
        assert torch.equal(sign_int8(x).float(), sign(x))
        assert sign_int8(x).stride() == x.stride()


@needs_int8
@given(n=st.integers(1, 9), n_in=st.integers(1, 70), n_out=st.integers(1, 40), seed=st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_a_linear_product_of_bytes_is_bit_for_bit_that_of_floats(n, n_in, n_out, seed):
    torch.manual_seed(seed)
    x, w, g = signs(n, n_in), signs(n_out, n_in), torch.randn(n, n_out)
    assert torch.equal(Linear().forward(x, w), x.float() @ w.float().T)
    of_x, of_w = Linear().gradients(g, x, w, fast=False)
    assert torch.equal(of_x, g @ w.float())
    assert torch.equal(of_w, g.T @ x.float())


GEOMETRIES = [  # stride, padding, dilation, kernel
    (ONE, ONE, ONE, (3, 3)),
    ((2, 2), ONE, ONE, (3, 3)),
    (ONE, (0, 0), ONE, (1, 1)),
    (ONE, (2, 1), (2, 1), (3, 3)),
    ((2, 1), (2, 0), ONE, (5, 1)),
    (ONE, (3, 3), ONE, (3, 3)),
]


def reference(x, w, stride, padding, dilation, pad_value):
    padded = F.pad(x, [padding[1], padding[1], padding[0], padding[0]], value=pad_value)
    return F.conv2d(padded, w, stride=stride, dilation=dilation)


@needs_int8
@pytest.mark.parametrize("pad_value", [0, 1, -1])
@pytest.mark.parametrize(("stride", "padding", "dilation", "kernel"), GEOMETRIES)
def test_a_convolution_of_bytes_is_bit_for_bit_that_of_floats(stride, padding, dilation, kernel, pad_value):
    torch.manual_seed(0)
    x, w = image_signs(5, 6, 9, 8), image_signs(7, 6, *kernel)
    y = Conv2d(stride, padding, dilation, pad_value).forward(x, w)
    assert torch.equal(y, reference(x.float(), w.float(), stride, padding, dilation, pad_value))
    assert torch.equal(y, Conv2d(stride, padding, dilation, pad_value).forward(x.contiguous(), w.contiguous()))


@needs_int8
@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("pad_value", [0, 1])
@pytest.mark.parametrize(("stride", "padding", "dilation", "kernel"), GEOMETRIES)
def test_gradients_of_a_convolution(stride, padding, dilation, kernel, pad_value, fast, monkeypatch):
    """Against autograd's; `fast` within the rounding of g, also where a part holds one image."""
    torch.manual_seed(0)
    x, w = image_signs(5, 6, 9, 8), image_signs(7, 6, *kernel)
    real_x, real_w = x.double().requires_grad_(), w.double().requires_grad_()
    y = reference(real_x, real_w, stride, padding, dilation, pad_value)
    g = torch.randn(y.shape).to(memory_format=torch.channels_last)
    y.backward(g.double())
    for size in (2**23, 1):
        monkeypatch.setattr("bnn_train.binary.products.PATCH_BYTES", size)
        of_x, of_w = Conv2d(stride, padding, dilation, pad_value).gradients(g, x, w, fast)
        step = g.abs().max().item() / 8128
        for found, exact, terms in ((of_x, real_x.grad, 7 * math.prod(kernel)), (of_w, real_w.grad, 5 * y[0, 0].numel())):
            error = (found - exact).abs().max().item()
            assert error < (terms * step / 2 if fast else 1e-4)
            assert found.dtype == torch.float32
        assert Conv2d(stride, padding, dilation, pad_value).gradients(g, x, w, fast, to_x=False).of_x is None


@needs_int8
@given(n=st.integers(1, 9), n_in=st.integers(1, 70), n_out=st.integers(1, 40), seed=st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_fast_gradients_are_those_of_the_rounded_gradient(n, n_in, n_out, seed):
    """Exact but for the rounding of g: whole numbers up to 2^24 have no other error than the scale's."""
    torch.manual_seed(seed)
    x, w, g = signs(n, n_in), signs(n_out, n_in), torch.randn(n, n_out)
    halves, scale = fixed_point(g, 0)
    high, low = halves.double().chunk(2)
    rounded = (64 * high + low) * scale.double()
    of_x, of_w = Linear().gradients(g, x, w, fast=True)
    torch.testing.assert_close(of_x.double(), rounded @ w.double(), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(of_w.double(), rounded.T @ x.double(), rtol=1e-6, atol=1e-7)


@given(values=st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=50), dim=st.integers(0, 1))
@settings(max_examples=200, deadline=None)
def test_fixed_point_rounds_to_the_nearest_step(values, dim):
    g = torch.tensor(values).view(1, -1)
    halves, scale = fixed_point(g, dim)
    high, low = halves.double().chunk(2, dim)
    assert low.min() >= 0
    assert low.max() <= 63
    assert high.abs().max() <= 127
    error = ((64 * high + low) * scale.double() - g.double()).abs().max().item()
    assert error <= scale.item() * (0.5 + 1e-3)
    assert scale.item() == pytest.approx(max(g.abs().max().item() / 8128, 1e-30 / 8128), rel=1e-6)


@needs_int8
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_gradient_that_is_not_finite_does_not_pass_silently(bad):
    g = torch.randn(4, 3, 5, 5)
    g[0, 0, 0, 0] = bad
    for gradient in Conv2d(ONE, ONE, ONE, 0).gradients(g, image_signs(4, 2, 5, 5), image_signs(3, 2, 3, 3), fast=True):
        assert not gradient.isfinite().all()
    for gradient in Linear().gradients(g[:, :, 0, 0], signs(4, 6), signs(3, 6), fast=True):
        assert not gradient.isfinite().all()


def test_a_gradient_of_zero_stays_zero():
    halves, scale = fixed_point(torch.zeros(2, 3), 0)
    assert not halves.any()
    assert 0 < scale.item() < 1e-30
