import itertools

import pytest
import torch
import torch.nn.functional as F

from bnn_train.binary import ste, weights
from bnn_train.binary.layers import (
    BinaryConv2d,
    BinaryLinear,
    binary_layers,
    choose_products,
    constrain,
    note_largest,
    sampling,
)
from bnn_train.binary.products import int8_is_fast
from bnn_train.config import SteConfig, WeightsConfig
from bnn_train.errors import ConfigError


def binarizer(name="sign", activations="clipped", **options):
    return weights.build(WeightsConfig(name, **options), SteConfig(activations))


def test_linear_arithmetic_by_hand():
    """y = sign(x) sign(W)^T, dL/dW = g^T sign(x) and dL/dx = g sign(W), each inside the window [-1, 1] of the clipped estimator."""
    layer = BinaryLinear(2, 2, binarizer())
    layer.weight.data = torch.tensor([[0.5, -0.3], [-1.2, 0.0]])
    x = torch.tensor([[0.2, -2.0], [-0.7, -0.0]], requires_grad=True)
    y = layer(ste.build("clipped")(x))
    assert y.tolist() == [[2, -2], [-2, 2]]  # signs of x: (+,-), (-,+); of W: (+,-), (-,+)
    y.backward(torch.tensor([[1.0, 10.0], [100.0, 1000.0]]))
    assert layer.weight.grad.tolist() == [[1 - 100, -1 + 100], [0, -10 + 1000]]  # |W| = 1.2 is outside the window
    assert x.grad.tolist() == [[1 - 10, 0], [100 - 1000, -100 + 1000]]  # |x| = 2 is outside


def test_linear_is_exact_on_every_binary_input():
    layer = BinaryLinear(4, 3, binarizer())
    signs = ste.sign(layer.weight)
    for bits in itertools.product([-1.0, 1.0], repeat=4):
        expected = [sum(b * w for b, w in zip(bits, row, strict=True)) for row in signs.tolist()]
        assert layer(torch.tensor([bits]))[0].tolist() == expected


@pytest.mark.parametrize("pad_value", [0, 1, -1])
@pytest.mark.parametrize("stride", [1, 2])
def test_conv_is_a_convolution_of_signs_with_the_pad_value_around(pad_value, stride):
    torch.manual_seed(0)
    layer = BinaryConv2d(2, 3, 3, binarizer(), pad_value=pad_value, padding=1, stride=stride)
    x = ste.sign(torch.randn(2, 2, 5, 5))
    padded = torch.full((2, 2, 7, 7), float(pad_value))
    padded[:, :, 1:-1, 1:-1] = x
    assert torch.equal(layer(x), F.conv2d(padded, ste.sign(layer.weight), stride=stride))


def test_conv_pads_each_side_by_its_own_amount():
    layer = BinaryConv2d(1, 1, (3, 5), binarizer(), pad_value=-1, padding=(1, 2))
    assert layer(torch.ones(1, 1, 4, 6)).shape == (1, 1, 4, 6)


def test_conv_refuses_other_pad_values():
    with pytest.raises(ConfigError, match="pad_value=2: must be one of 0, 1, -1"):
        BinaryConv2d(1, 1, 3, binarizer(), pad_value=2)


def test_state_dict_has_the_keys_of_the_torch_layer():
    assert BinaryLinear(2, 2, binarizer(), bias=True).state_dict().keys() == torch.nn.Linear(2, 2).state_dict().keys()
    assert list(BinaryConv2d(1, 1, 3, binarizer()).state_dict()) == ["weight"]


def test_real_weights_make_the_torch_layer():
    layer, x = BinaryLinear(3, 2, binarizer("real")), torch.randn(4, 3)
    assert torch.equal(layer(x), F.linear(x, layer.weight))


def test_clipping_reaches_latent_weights_alone():
    model = torch.nn.Sequential(BinaryLinear(3, 3, binarizer()), BinaryLinear(3, 3, binarizer("real")), torch.nn.Linear(3, 3))
    for parameter in model.parameters():
        parameter.data.fill_(-7.0)
    layers = binary_layers(model)
    assert layers == [model[0]]
    constrain(layers[0], lr=0.1, clip=0.5)
    assert model[0].weight.unique().tolist() == [-0.5]
    assert model[1].weight.unique().tolist() == model[2].weight.unique().tolist() == [-7]


def test_constrain_shrinks_by_the_prior_then_keeps_to_the_support_of_the_noise():
    layer = BinaryLinear(2, 2, binarizer("stochastic", noise="uniform", scale=0.5, kl=2.0))
    layer.weight.data = torch.tensor([[1.0, -0.4], [0.2, 0.0]])
    constrain(layer, lr=0.5, clip=None)
    assert layer.weight.tolist() == [[0.5, pytest.approx(-0.2)], [pytest.approx(0.1), 0]]
    constrain(layer, lr=0.0, clip=0.15)
    assert layer.weight.tolist() == [[pytest.approx(0.15), pytest.approx(-0.15)], [pytest.approx(0.1), 0]]


def test_binary_weights_start_as_signs():
    assert set(BinaryLinear(5, 5, binarizer("binary")).weight.flatten().tolist()) == {-1.0, 1.0}
    assert set(BinaryConv2d(2, 2, 3, binarizer("stochastic", noise="logistic", init=10.0)).weight.flatten().tolist()) == {
        -10.0,
        10.0,
    }


def test_sampling_draws_within_and_no_longer_after_also_where_it_fails():
    model = torch.nn.Sequential(BinaryLinear(4, 64, binarizer("stochastic", noise="uniform")), ste.build("tanh", stochastic=True))
    x = torch.randn(3, 4)
    model.eval()
    quiet = model(x)
    with sampling(model):
        assert not torch.equal(model(x), model(x))
    assert torch.equal(model(x), quiet)
    with pytest.raises(KeyError), sampling(model):
        raise KeyError
    assert torch.equal(model(x), quiet)


def twins(kind, weights_options, estimator_options, **extra):
    """Two equal layers, the second of which multiplies in int8."""
    pair = []
    for _ in range(2):
        torch.manual_seed(0)
        weight = weights.build(WeightsConfig(**weights_options), SteConfig("clipped"))
        estimator = ste.build(**estimator_options)
        if kind == "linear":
            pair.append(BinaryLinear(30, 20, weight, estimator, **extra))
        else:
            pair.append(BinaryConv2d(6, 7, 3, weight, estimator, padding=1, **extra))
    pair[1].int8 = True
    return pair


needs_int8 = pytest.mark.skipif(not int8_is_fast(torch.device("cpu")), reason="this processor has no fast int8 product")


def graph(y):
    """The names of what autograd goes back through."""
    names, nodes = "", [y.grad_fn]
    while nodes:
        node = nodes.pop()
        names += type(node).__name__
        nodes += [parent for parent, _ in node.next_functions if parent is not None]
    return names


@needs_int8
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", ["linear", "conv"])
@pytest.mark.parametrize(
    "weights_options",
    [{"name": "sign"}, {"name": "sign", "ste": "tanh"}, {"name": "stochastic", "noise": "logistic"}, {"name": "binary"}],
    ids=str,
)
@pytest.mark.parametrize(
    "estimator_options",
    [
        {"name": "clipped"},
        {"name": "tanh", "stochastic": True},
        {"name": "reinmax", "stochastic": True},
        {"name": "ede", "stochastic": True},
        {"name": "gumbel", "stochastic": True, "hard": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("pruned", [False, True])
def test_int8_changes_no_bit_of_the_forward_and_no_draw(kind, weights_options, estimator_options, training, pruned):
    """And the gradients are those of float32 products, with the same noise; soft activations keep the real product."""
    plain, binary = twins(kind, weights_options, estimator_options, bias=True)
    results = []
    for layer in (plain, binary):
        torch.manual_seed(1)
        layer.train(training)
        if pruned:
            layer.connected = (torch.rand_like(layer.weight) < 0.5).float()
        x = torch.randn(5, 30) if kind == "linear" else torch.randn(5, 6, 8, 9)
        x.requires_grad_()
        y = layer(x)
        soft = training and not estimator_options.get("hard", True)
        assert ("_BinaryProduct" in graph(y)) == (layer is binary and not soft)
        y.backward(torch.randn(y.shape))
        results.append((y, x.grad, layer.weight.grad, layer.bias.grad, torch.rand(3)))
    (y, *gradients, draw), (y8, *gradients8, draw8) = results
    assert torch.equal(draw, draw8)
    torch.testing.assert_close(y8, y, rtol=1e-6, atol=1e-6)  # the same sums; only where the bias is added may differ
    for gradient, gradient8 in zip(gradients, gradients8, strict=True):
        torch.testing.assert_close(gradient8, gradient, rtol=1e-5, atol=1e-5)
    plain.bias = binary.bias = None
    torch.manual_seed(2)
    first = plain(x)
    torch.manual_seed(2)
    assert torch.equal(binary(x), first)


@needs_int8
def test_what_int8_does_not_cover_keeps_the_real_product():
    for layer, x in (
        (BinaryConv2d(4, 4, 3, binarizer(), ste.build("clipped"), groups=2), torch.randn(1, 4, 5, 5)),
        (BinaryConv2d(4, 4, 3, binarizer(), ste.build("clipped"), padding=1, padding_mode="circular"), torch.randn(1, 4, 5, 5)),
        (BinaryConv2d(4, 4, 3, binarizer(), ste.build("clipped"), padding="same"), torch.randn(1, 4, 5, 5)),
        (BinaryLinear(4, 4, binarizer(), ste.build("clipped")).double(), torch.randn(3, 4, dtype=torch.float64)),
    ):
        expected = layer(x)
        layer.int8 = True
        assert torch.equal(layer(x), expected)
        assert layer(x).dtype == x.dtype
        assert "_BinaryProduct" not in graph(layer(x))


@needs_int8
@pytest.mark.parametrize("kind", ["linear", "conv"])
@pytest.mark.parametrize("pruned", [False, True])
@pytest.mark.parametrize("needs_input", [False, True])
def test_fast_gradients_are_near_those_of_float32_and_not_the_same(kind, pruned, needs_input):
    found = []
    for fast in (False, True):
        layer = twins(kind, {"name": "sign"}, {"name": "clipped"}, **({"pad_value": -1} if kind == "conv" else {}))[1]
        layer.fast = fast
        torch.manual_seed(1)
        if pruned:
            layer.connected = (torch.rand_like(layer.weight) < 0.5).float()
        x = (torch.randn(5, 30) if kind == "linear" else torch.randn(5, 6, 8, 9)).requires_grad_(needs_input)
        y = layer(x)
        y.backward(torch.randn(y.shape))
        found.append([layer.weight.grad, *([x.grad] if needs_input else [])])
    for exact, rounded in zip(*found, strict=True):
        assert 0 < (rounded - exact).norm() < 1e-3 * exact.norm()
        assert torch.equal(rounded == 0, exact == 0)  # outside of windows, and where pruned


def test_products_are_chosen_for_all_binary_layers():
    model = torch.nn.Sequential(BinaryLinear(3, 3, binarizer()), torch.nn.Linear(3, 3), BinaryConv2d(1, 1, 3, binarizer()))
    choose_products(model, torch.device("cpu"), fast=True)
    assert {model[0].int8, model[2].int8} == {int8_is_fast(torch.device("cpu"))}
    assert model[0].fast
    choose_products(model, torch.device("meta"), fast=False)
    assert not model[0].int8
    assert not model[0].fast


def test_the_window_of_clipped_weights_is_left_out_only_where_all_are_within():
    layer = BinaryLinear(2, 1, binarizer("sign", clip=0.5))
    layer.weight.data = torch.tensor([[0.5, -0.2]])
    for clip, largest, rests in ((0.5, 0.5, True), (0.4, float("inf"), False), (None, float("inf"), False)):
        note_largest(layer, clip)
        assert layer.binarizer.largest == largest
        assert (layer.binarizer.rule(layer.weight).backward is ste.identity) == rests
    layer.binarizer.estimator = ste.build("clipped", clip=0.3)  # a window narrower than the weights
    note_largest(layer, 0.5)
    assert layer.binarizer.rule(layer.weight).backward is not ste.identity
    tanh = BinaryLinear(2, 1, binarizer("sign", "tanh", clip=0.5))
    note_largest(tanh, 5.0)
    assert tanh.binarizer.rule(tanh.weight).backward is not ste.identity
