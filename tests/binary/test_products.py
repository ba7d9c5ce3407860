import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from bnn_train.binary import passes, ste, tables, ways
from bnn_train.binary.packed import PackedWeights
from bnn_train.binary.products import Conv2d, Linear, gradients, torchs_gradients
from bnn_train.binary.ste import sign, sign_int8

needs_kernels = pytest.mark.skipif(not ways.have_kernels("cpu"), reason="no llvmlite, or no AVX2")
ONE = (1, 1)


def signs(*shape):
    return sign_int8(torch.randn(shape))


def image_signs(*shape):
    return signs(*shape).to(memory_format=torch.channels_last)


def forward(geometry, x, w):
    return PackedWeights().product(geometry, x, lambda: w, w.shape, bool((w == 0).any()), None)


@pytest.mark.parametrize("large", [passes.LARGE, 0])
def test_signs_as_bytes_are_the_signs(large, monkeypatch):
    """By torch's operations and by the kernel, which takes what is larger; a number that is none counts as +1."""
    monkeypatch.setattr(passes, "LARGE", large)
    special = torch.tensor([0.0, -0.0, 1e-45, -1e-45, math.inf, -math.inf, 3.0, -3.0, math.nan])
    assert sign_int8(special).tolist() == [1, 1, 1, -1, 1, -1, 1, -1, 1]
    for x in (torch.randn(3000, 300), torch.randn(5, 4, 3, 2).to(memory_format=torch.channels_last), torch.randn(0, 3)):
        assert torch.equal(sign_int8(x).float(), sign(x))
        assert sign_int8(x).stride() == x.stride()


@pytest.mark.parametrize("size", [1, 17, 8191, 8193])
def test_the_window_is_the_same_by_a_kernel_and_in_place(size, monkeypatch):
    a = torch.randn(size)
    a[0] = 1.0  # the boundary itself passes
    a[-1] = math.nan
    g, right = torch.randn(size), ste.clipped(torch.ones(size), a)
    monkeypatch.setattr(passes, "LARGE", 0)
    assert torch.equal(ste.clipped(g, a), torch.where(right > 0, g, 0.0))
    how = ste.Ste("clipped").binarization(a)
    into = g.clone()
    found = how.backward_into(into, a)
    assert torch.equal(found, torch.where(right > 0, g, 0.0))
    assert not passes.is_large(g, a) or found.data_ptr() == into.data_ptr()


@needs_kernels
@given(n=st.integers(1, 9), n_in=st.integers(1, 12), n_out=st.integers(1, 40), pruned=st.booleans(), seed=st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_a_linear_product_of_bits_is_bit_for_bit_that_of_floats(n, n_in, n_out, pruned, seed):
    torch.manual_seed(seed)
    x, w = signs(n, 8 * n_in), signs(n_out, 8 * n_in) * (torch.rand(n_out, 8 * n_in) < (0.5 if pruned else 2)).to(torch.int8)
    assert torch.equal(forward(Linear(), x, w), x.float() @ w.float().T)


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


@needs_kernels
@pytest.mark.parametrize("pad_value", [0, 1, -1])
@pytest.mark.parametrize("pruned", [False, True])
@pytest.mark.parametrize(("stride", "padding", "dilation", "kernel"), GEOMETRIES)
def test_a_convolution_of_bits_is_bit_for_bit_that_of_floats(stride, padding, dilation, kernel, pruned, pad_value):
    torch.manual_seed(0)
    x, w = image_signs(5, 24, 9, 8), image_signs(7, 24, *kernel)
    w = w * (torch.rand(w.shape) < 0.7).to(torch.int8) if pruned else w
    y = forward(Conv2d(stride, padding, dilation, pad_value), x, w)
    assert torch.equal(y, reference(x.float(), w.float(), stride, padding, dilation, pad_value))
    assert torch.equal(y, forward(Conv2d(stride, padding, dilation, pad_value), x.contiguous(), w.contiguous()))


@pytest.mark.parametrize("pruned", [False, True])
@pytest.mark.parametrize("pad_value", [0, 1])
@pytest.mark.parametrize(("images", "inputs", "outputs"), [(4, 16, 8), (8, 48, 24), (5, 6, 7)])
@pytest.mark.parametrize(("stride", "padding", "dilation", "kernel"), GEOMETRIES)
def test_gradients_of_a_convolution(stride, padding, dilation, kernel, images, inputs, outputs, pad_value, pruned):
    """Against autograd's in float64, of sizes that tables take and of others."""
    torch.manual_seed(0)
    x, w = image_signs(images, inputs, 9, 8), image_signs(outputs, inputs, *kernel)
    w = w * (torch.rand(w.shape) < 0.7).to(torch.int8) if pruned else w
    real_x, real_w = x.double().requires_grad_(), w.double().requires_grad_()
    y = reference(real_x, real_w, stride, padding, dilation, pad_value)
    g = torch.randn(y.shape).to(memory_format=torch.channels_last)
    y.backward(g.double())
    geometry = Conv2d(stride, padding, dilation, pad_value)
    found = gradients(geometry, g, x, w, pruned)
    for gradient, exact in zip(found, (real_x.grad, real_w.grad), strict=True):
        assert gradient.dtype == torch.float32
        assert (gradient - exact).abs().max() < 2e-6 * exact.abs().max()
    assert gradients(geometry, g, x, w, pruned, to_x=False).of_x is None
    assert gradients(geometry, g, x, w, pruned, to_w=False).of_w is None


@given(
    n=st.sampled_from([1, 4, 12, 100]),
    n_in=st.sampled_from([7, 32, 96]),
    n_out=st.sampled_from([3, 4, 20, 300]),
    pruned=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_gradients_of_a_linear_product(n, n_in, n_out, pruned, seed):
    """300 outputs are more groups of four than there are tables at a time."""
    torch.manual_seed(seed)
    x, w, g = signs(n, n_in), signs(n_out, n_in), torch.randn(n, n_out)
    w = w * (torch.rand(w.shape) < 0.5).to(torch.int8) if pruned else w
    of_x, of_w = gradients(Linear(), g, x, w, pruned)
    torch.testing.assert_close(of_x.double(), g.double() @ w.double(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(of_w.double(), g.double().T @ x.double(), rtol=1e-5, atol=1e-5)


def test_gradients_that_are_no_numbers_reach_the_result():
    for count in (4, 5):  # by tables, and by torch
        g = torch.randn(count, 8, 5, 5)
        g[0, 0, 2, 2] = math.nan
        for gradient in gradients(Conv2d(ONE, ONE, ONE, 0), g, image_signs(count, 16, 5, 5), image_signs(8, 16, 3, 3)):
            assert gradient.isnan().any()
        for gradient in gradients(Linear(), g[:, :, 2, 2], signs(count, 32), signs(8, 32)):
            assert gradient.isnan().any()


@needs_kernels
def test_gradients_do_not_depend_on_the_number_of_threads():
    assert tables.takes((8, 32, 12, 12), (16, 32, 3, 3))
    g, x, w = torch.randn(8, 16, 12, 12), image_signs(8, 32, 12, 12), image_signs(16, 32, 3, 3)
    rows, wide, tall = torch.randn(40, 64), signs(40, 96), signs(64, 96)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append([*gradients(Conv2d(ONE, ONE, ONE, 0), g, x, w), *gradients(Linear(), rows, wide, tall)])
            found[-1].append(forward(Conv2d(ONE, ONE, ONE, 0), x, w))
    finally:
        torch.set_num_threads(before)
    for others in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], others, strict=True))


def test_torchs_gradients_are_those_of_autograd():
    x, w, g = signs(3, 5), signs(2, 5), torch.randn(3, 2)
    of_x, of_w = torchs_gradients(Linear(), g, x, w)
    assert torch.equal(of_x, g @ w.float())
    assert torch.equal(of_w, g.T @ x.float())
