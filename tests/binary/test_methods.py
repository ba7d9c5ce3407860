"""The weights and estimators of each method from a paper, in a whole layer: its output and all gradients, in float64.

The references are written from the papers in numpy, with the backward by hand. A layer is written as rows of its inputs, one for
each position of the output, times the matrix that its weight becomes; `weights` gives this matrix, and the way back through it.
"""

import math
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from bnn_train.binary import layers
from bnn_train.binary.layers import BinaryConv2d, BinaryLinear
from bnn_train.binary.ste import Ste
from bnn_train.binary.weights import Sign, Stochastic

reste_factor = np.vectorize(runpy.run_path(str(Path(__file__).with_name("closed_forms.py")))["reste_factor"], otypes=[float])


def signs(values):
    return np.where(values >= 0, 1.0, -1.0)


def window(values):
    return (np.abs(values) <= 1).astype(float)


def standardised(w):
    """(z, way back): dw = (dz - mean(dz) - z mean(dz z)) / std of each row, the deviation over n.

    The authors of IR-Net and ReCU divide by n - 1: z, and with it what passes back, is smaller by the factor sqrt(1 - 1/n).
    """
    deviation = np.sqrt(((w - w.mean(1, keepdims=True)) ** 2).mean(1, keepdims=True))
    z = (w - w.mean(1, keepdims=True)) / deviation
    return z, lambda dz: (dz - dz.mean(1, keepdims=True) - z * (dz * z).mean(1, keepdims=True)) / deviation


def binary_connect(w, _, progress):
    """The gradient of the sign is applied to the latent weight."""
    return signs(w), lambda g: (g, None)


def hubara(w, _, progress):
    return signs(w), lambda g: (g * window(w), None)


def xnor(w, _, progress):
    """With g = dL/d(alpha sign(W)): dL/dW = 1/n sum_j(g_j sign(W_j)) sign(W) + alpha g 1[|W| <= 1], by the product rule.

    The authors' code also multiplies it by the constant (1 - 1/s) n of each layer, s its input channels, which Adam does not see
    and a learning rate takes up.
    """
    alpha = np.abs(w).mean(1, keepdims=True)

    def back(g):
        return signs(w) * (g * signs(w)).mean(1, keepdims=True) + alpha * g * window(w), None

    return alpha * signs(w), back


def bireal(w, _, progress):
    """The size of the weights is a factor of sign and gradient alike, itself without gradient. (In the code the sign's is 1.)"""
    alpha = np.abs(w).mean(1, keepdims=True)
    return alpha * signs(w), lambda g: (alpha * g * window(w), None)


def irnet(w, _, progress):
    """sign((w - mean) / std) shifted by whole bits; EDE's k t (1 - tanh^2(t z)) for the sign, nothing for the shift."""
    z, back = standardised(w)
    shift = 2.0 ** np.round(np.log2(np.abs(z).mean(1, keepdims=True)))
    return shift * signs(z), lambda g: (back(shift * g * ede(z, progress)), None)


def recu(w, learned, progress):
    """tau rises from 0.85 to 0.99 along e^progress; Q is a constant of the backward; the sign passes its gradient as it is."""
    tau = 0.85 + (0.99 - 0.85) * (math.exp(progress) - 1) / (math.e - 1)
    z, back = standardised(w)
    wide = 2 * math.sqrt(2) * z
    q = -np.abs(wide).mean(1, keepdims=True) * math.log(2 - 2 * tau)
    within = np.abs(wide) < q
    assert not within.all()
    clamped = np.where(within, wide, np.sign(wide) * q)

    def back_(g):
        return back(2 * math.sqrt(2) * within * g * learned[:, None]), (g * signs(clamped)).sum(1)

    return learned[:, None] * signs(clamped), back_


def reste(w, _, progress):
    return signs(w), lambda g: (g * reste_factor(w, 1 + 2 * progress), None)


def ede(values, progress):
    """t from 0.1 to 10, geometrically: 10^(-1 + 2 progress)."""
    t = 10 ** (-1 + 2 * progress)
    return max(1 / t, 1) * t * (1 - np.tanh(t * values) ** 2)


def approx_sign(values, _):
    """2 + 2a in [-1, 0), 2 - 2a in [0, 1), else 0."""
    return np.where(np.abs(values) >= 1, 0, np.where(values < 0, 2 + 2 * values, 2 - 2 * values))


# name: (weights of the layer, their estimator, that of its input, progresses, reference of the weights, factor of the input).
# An input without an estimator is real.
METHODS = {
    "binaryconnect": ({}, "identity", None, [0.0], binary_connect, None),
    "bnn": ({}, "clipped", "clipped", [0.0], hubara, lambda a, _: window(a)),
    "xnor": ({"scaling": "mean", "centre": True}, "clipped", "clipped", [0.0], xnor, lambda a, _: window(a)),
    "bireal": ({"scaling": "mean_detached"}, "clipped", "approx_sign", [0.0], bireal, approx_sign),
    "irnet": ({"prepare": "standardise", "scaling": "power_of_two", "clip": None}, "ede", "ede", [0.0, 0.35, 1.0], irnet, ede),
    "recu": (
        {"prepare": "quantile", "tau": 0.85, "tau_end": 0.99, "scaling": "learned", "clip": None},
        *("identity", "approx_sign", [0.0, 0.5, 1.0], recu, approx_sign),
    ),
    "reste": ({"clip": None}, "reste", "reste", [0.0, 0.4, 1.0], reste, lambda a, progress: reste_factor(a, 1 + 2 * progress)),
}


def made(method, kind, progress):
    """A layer whose latent weights have all sizes up to 2, the first of each output far larger, and its input of sizes up to 3."""
    options, of_weight, of_input, *_ = METHODS[method]
    torch.manual_seed(0)
    binarizer = Sign(Ste(of_weight), **options)
    if kind == "linear":
        layer, x = BinaryLinear(40, 4, binarizer, of_input), torch.randn(6, 40)
    else:
        layer, x = BinaryConv2d(8, 4, 3, binarizer, of_input, padding=1), torch.randn(2, 8, 4, 6)
    layer.weight.data = torch.randn_like(layer.weight) * torch.tensor([0.3, 0.6, 0.8, 1.0]).view(4, *[1] * (layer.weight.ndim - 1))
    layer.weight.data.view(4, -1)[:, 0] *= 8
    for module in layer.modules():
        if getattr(module, "annealed", False):
            module.progress = progress
    return layer, x


def rows_of(shape, kind):
    """Which element of the flat input each factor of each output is, -1 for the padding: (positions, factors)."""
    if kind == "linear":
        return np.arange(math.prod(shape)).reshape(shape)
    images, channels, height, width = shape
    padded = np.full((images, channels, height + 2, width + 2), -1)
    padded[:, :, 1:-1, 1:-1] = np.arange(math.prod(shape)).reshape(shape)
    return np.array(
        [padded[n, :, i : i + 3, j : j + 3].ravel() for n in range(images) for i in range(height) for j in range(width)]
    )


def per_position(y):
    """(N, outputs, H, W) or (N, outputs) as (positions, outputs)."""
    return y.numpy() if y.ndim == 2 else y.permute(0, 2, 3, 1).reshape(-1, y.shape[1]).numpy()


def close(found, expected):
    assert np.linalg.norm(found - expected) <= 1e-12 * np.linalg.norm(expected)


@pytest.mark.parametrize("kind", ["linear", "conv"])
@pytest.mark.parametrize(("method", "progress"), [(name, progress) for name, m in METHODS.items() for progress in m[3]])
def test_a_layer_and_its_gradients_are_those_of_the_paper(method, progress, kind):
    *_, weights, factor = METHODS[method]
    layer, x = made(method, kind, progress)
    layer, x = layer.double(), x.double().requires_grad_()
    latent = layer.weight.detach().numpy().copy()
    if method == "xnor":  # what is stored: without its mean over the input channels, then within [-1, 1]
        latent = np.clip(latent - latent.mean(axis=1, keepdims=True), -1, 1)
        layer.constrain(lr=0.1)
        close(layer.weight.detach().numpy(), latent)
    y = layer(x)
    g = torch.randn_like(y)
    y.backward(g)

    learned = None if layer.scaling_factor is None else layer.scaling_factor.detach().numpy()
    matrix, back = weights(latent.reshape(4, -1), learned, progress)
    a, where = x.detach().numpy().ravel(), rows_of(x.shape, kind)
    factors = np.append(a if factor is None else signs(a), 0.0)[where]
    g = per_position(g)
    close(per_position(y.detach()), factors @ matrix.T)
    of_weight, of_scale = back(g.T @ factors)
    close(layer.weight.grad.numpy().reshape(4, -1), of_weight)
    assert np.count_nonzero(of_weight) > 0
    if learned is not None:
        close(layer.scaling_factor.grad.numpy(), of_scale)
    of_input = np.zeros(len(a) + 1)  # the last of them is the padding
    np.add.at(of_input, where, g @ matrix)
    close(x.grad.numpy().ravel(), of_input[:-1] * (1 if factor is None else factor(a, progress)))


@pytest.mark.parametrize("kind", ["linear", "conv"])
@pytest.mark.parametrize("method", [name for name, m in METHODS.items() if m[2] is not None])
def test_kernels_change_no_bit_of_a_methods_output(method, kind, monkeypatch):
    if not layers.probe.ways.have_kernels("cpu"):
        pytest.skip("no llvmlite, or no AVX2")
    monkeypatch.setattr(layers.probe.ways, "SMALLEST", 0)
    found = []
    for quick in (False, True):
        monkeypatch.setattr(layers.probe.ways, "have_kernels", lambda device_type, answer=quick: answer)
        layer, x = made(method, kind, 0.5)
        y = layer(x)
        y.square().sum().backward()
        found.append((y, layer.weight.grad))
        assert ("_BinaryProduct" in type(y.grad_fn).__name__) == quick
    assert torch.equal(found[0][0], found[1][0])
    torch.testing.assert_close(found[1][1], found[0][1], rtol=1e-4, atol=1e-3)


def test_stochastic_binaryconnect_draws_by_the_hard_sigmoid_and_passes_gradients_as_they_are():
    """P(w = +1) = clip((W + 1) / 2, 0, 1), within 4 standard errors; dL/dW = dL/dw for what was drawn; W is clipped to [-1, 1]."""
    latent, samples = [-1.3, -1.0, -0.6, 0.0, 0.35, 1.0, 2.0], 20_000
    layer = BinaryLinear(len(latent), samples, Stochastic("uniform", scale=1.0), None).double()
    layer.weight.data = torch.tensor([latent] * samples, dtype=torch.float64)
    torch.manual_seed(0)
    x = torch.eye(len(latent), dtype=torch.float64, requires_grad=True)
    y = layer(x)
    drawn = y.detach().T
    assert set(drawn.unique().tolist()) == {-1.0, 1.0}
    for value, share in zip(latent, (drawn > 0).double().mean(dim=0).tolist(), strict=True):
        p = min(max((value + 1) / 2, 0), 1)
        assert abs(share - p) <= 4 * math.sqrt(p * (1 - p) / samples)
    g = torch.randn_like(y)
    y.backward(g)
    assert torch.equal(layer.weight.grad, g.T)
    torch.testing.assert_close(x.grad, g @ drawn)
    layer.constrain(lr=0.1)
    assert layer.weight[0].tolist() == [min(max(value, -1), 1) for value in latent]
