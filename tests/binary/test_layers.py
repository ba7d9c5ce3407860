import itertools
import pickle
from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F

from bnn_train.binary import layers, ste
from bnn_train.binary.layers import CLIPPED, BinaryConv2d, BinaryLinear, binary_layers, sampling
from bnn_train.binary.signs import Signs
from bnn_train.binary.ste import Ste, sign_int8
from bnn_train.binary.weights import BayesBinn, Binary, Real, Sign, Stochastic
from bnn_train.errors import ConfigError
from bnn_train.kernels import training as packing

NAMED = {"sign": Sign, "real": Real, "binary": Binary, "stochastic": Stochastic, "bayesbinn": BayesBinn}


def linear(*sizes, **options):
    """With real inputs, unless an estimator is given."""
    return BinaryLinear(*sizes, **{"estimator": None, **options})


def conv(*sizes, **options):
    return BinaryConv2d(*sizes, **{"estimator": None, **options})


def test_linear_arithmetic_by_hand():
    """y = sign(x) sign(W)^T, dL/dW = g^T sign(x) and dL/dx = g sign(W), each inside the window [-1, 1] of the clipped estimator."""
    layer = linear(2, 2)
    layer.weight.data = torch.tensor([[0.5, -0.3], [-1.2, 0.0]])
    x = torch.tensor([[0.2, -2.0], [-0.7, -0.0]], requires_grad=True)
    y = layer(Ste("clipped")(x))
    assert y.tolist() == [[2, -2], [-2, 2]]  # signs of x: (+,-), (-,+); of W: (+,-), (-,+)
    y.backward(torch.tensor([[1.0, 10.0], [100.0, 1000.0]]))
    assert layer.weight.grad.tolist() == [[1 - 100, -1 + 100], [0, -10 + 1000]]  # |W| = 1.2 is outside the window
    assert x.grad.tolist() == [[1 - 10, 0], [100 - 1000, -100 + 1000]]  # |x| = 2 is outside


def test_linear_is_exact_on_every_binary_input():
    layer = linear(4, 3)
    signs = ste.sign(layer.weight)
    for bits in itertools.product([-1.0, 1.0], repeat=4):
        expected = [sum(b * w for b, w in zip(bits, row, strict=True)) for row in signs.tolist()]
        assert layer(torch.tensor([bits]))[0].tolist() == expected


@pytest.mark.parametrize("pad_value", [0, 1, -1])
@pytest.mark.parametrize("stride", [1, 2])
def test_conv_is_a_convolution_of_signs_with_the_pad_value_around(pad_value, stride):
    torch.manual_seed(0)
    layer = conv(2, 3, 3, pad_value=pad_value, padding=1, stride=stride)
    x = ste.sign(torch.randn(2, 2, 5, 5))
    padded = torch.full((2, 2, 7, 7), float(pad_value))
    padded[:, :, 1:-1, 1:-1] = x
    assert torch.equal(layer(x), F.conv2d(padded, ste.sign(layer.weight), stride=stride))


def test_conv_pads_each_side_by_its_own_amount():
    layer = conv(1, 1, (3, 5), pad_value=-1, padding=(1, 2))
    assert layer(torch.ones(1, 1, 4, 6)).shape == (1, 1, 4, 6)


def test_conv_refuses_other_pad_values():
    with pytest.raises(ConfigError, match="pad_value=2: must be one of 0, 1, -1"):
        conv(1, 1, 3, pad_value=2)


def test_state_dict_has_the_keys_of_the_torch_layer():
    assert linear(2, 2, bias=True).state_dict().keys() == torch.nn.Linear(2, 2).state_dict().keys()
    assert list(conv(1, 1, 3).state_dict()) == ["weight"]


def test_real_weights_make_the_torch_layer():
    layer, x = linear(3, 2, binarizer=Real()), torch.randn(4, 3)
    assert torch.equal(layer(x), F.linear(x, layer.weight))


def test_clipping_reaches_latent_weights_alone():
    model = torch.nn.Sequential(linear(3, 3, binarizer=Sign(clip=0.5)), linear(3, 3, binarizer=Real()), torch.nn.Linear(3, 3))
    for parameter in model.parameters():
        parameter.data.fill_(-7.0)
    assert binary_layers(model) == [model[0]]
    for layer in model[:2]:
        layer.constrain(lr=0.1)
    assert model[0].weight.unique().tolist() == [-0.5]
    assert model[1].weight.unique().tolist() == model[2].weight.unique().tolist() == [-7]


def test_constrain_shrinks_by_the_prior_then_keeps_to_the_support_of_the_noise():
    layer = linear(2, 2, binarizer=Stochastic(noise="uniform", scale=0.25, kl=2.0))
    layer.weight.data = torch.tensor([[0.6, -0.4], [0.2, 0.0]])
    layer.constrain(lr=0.25)  # 1 + lr / (2 scale) * kl = 2
    assert layer.weight.tolist() == [[0.25, pytest.approx(-0.2)], [pytest.approx(0.1), 0]]
    layer.binarizer.clip = 0.15
    layer.constrain(lr=0.0)
    assert layer.weight.tolist() == [[pytest.approx(0.15), pytest.approx(-0.15)], [pytest.approx(0.1), 0]]


def test_only_a_prior_or_a_centring_is_more_than_a_clip():
    assert Stochastic("uniform").only_clips
    assert Sign().only_clips
    assert not Stochastic("uniform", kl=0.1).only_clips
    assert not Sign(centre=True).only_clips


def test_binary_weights_start_as_signs():
    assert set(linear(5, 5, binarizer=Binary()).weight.flatten().tolist()) == {-1.0, 1.0}
    assert set(conv(2, 2, 3, binarizer=BayesBinn()).weight.flatten().tolist()) == {-10.0, 10.0}


def test_sampling_draws_within_and_no_longer_after_also_where_it_fails():
    model = torch.nn.Sequential(linear(4, 64, binarizer=Stochastic("uniform")), Ste("tanh", stochastic=True))
    x = torch.randn(3, 4)
    model.eval()
    quiet = model(x)
    with sampling(model):
        assert not torch.equal(model(x), model(x))
    assert torch.equal(model(x), quiet)
    with pytest.raises(KeyError), sampling(model):
        raise KeyError
    assert torch.equal(model(x), quiet)


def made(kind, weights_options, estimator_options, **extra):
    """The same layer each time."""
    torch.manual_seed(0)
    options = dict(weights_options)
    name = options.pop("name")
    binarizer = Sign(Ste(options.pop("ste", "clipped")), **options) if name == "sign" else NAMED[name](**options)
    if kind == "linear":
        return BinaryLinear(32, 24, binarizer, Ste(**estimator_options), **extra)
    return BinaryConv2d(16, 8, 3, binarizer, Ste(**estimator_options), padding=1, **extra)


@pytest.fixture
def kernels(monkeypatch):
    """Products by kernels, however small."""
    if not layers.probe.ways.have_kernels("cpu"):
        pytest.skip("no llvmlite, or no AVX2")
    monkeypatch.setattr(layers.probe.ways, "SMALLEST", 0)


def graph(y):
    """The names of what autograd goes back through."""
    names, nodes = "", [y.grad_fn]
    while nodes:
        node = nodes.pop()
        names += type(node).__name__
        nodes += [parent for parent, _ in node.next_functions if parent is not None]
    return names


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", ["linear", "conv"])
@pytest.mark.parametrize(
    "weights_options",
    [
        {"name": "sign"},
        {"name": "sign", "ste": "tanh"},
        {"name": "stochastic", "noise": "logistic"},
        {"name": "binary"},
        {"name": "sign", "prepare": "centre", "scaling": "mean"},
        {"name": "sign", "prepare": "standardise", "scaling": "power_of_two"},
        {"name": "sign", "prepare": "quantile", "scaling": "learned"},
    ],
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
def test_kernels_change_no_bit_of_the_forward_and_no_draw(kind, weights_options, estimator_options, training, pruned, monkeypatch):
    """And the gradients are those of float32 products, with the same noise; soft activations keep the real product."""
    results = []
    for quick in (False, True):
        monkeypatch.setattr(layers.probe.ways, "have_kernels", lambda device_type, answer=quick: answer)
        layer = made(kind, weights_options, estimator_options, bias=True)
        torch.manual_seed(1)
        layer.train(training)
        if pruned:
            layer.prune(torch.rand_like(layer.weight) < 0.5)
        x = torch.randn(8, 32) if kind == "linear" else torch.randn(8, 16, 8, 9)
        x.requires_grad_()
        y = layer(x)
        soft = training and not estimator_options.get("hard", True)
        assert ("_BinaryProduct" in graph(y)) == (quick and not soft)
        y.backward(torch.randn(y.shape))
        learned = [] if layer.scaling_factor is None else [layer.scaling_factor.grad]
        draw = torch.rand(3)
        layer.bias = None
        torch.manual_seed(2)
        results.append((y, [x.grad, layer.weight.grad, *learned], draw, layer(x)))
    (y, gradients, draw, plain), (y8, gradients8, draw8, plain8) = results
    assert torch.equal(draw, draw8)
    torch.testing.assert_close(y8, y, rtol=1e-6, atol=2e-5)  # the same sums, up to 144; only where the bias is added may differ
    assert torch.equal(plain8, plain)
    for gradient, gradient8 in zip(gradients, gradients8, strict=True):
        torch.testing.assert_close(gradient8, gradient, rtol=1e-5, atol=5e-6 * gradient.abs().max().item())


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (lambda: BinaryConv2d(16, 8, 3, groups=2), torch.randn(1, 16, 5, 5)),
        (lambda: BinaryConv2d(8, 8, 3, padding=1, padding_mode="circular"), torch.randn(1, 8, 5, 5)),
        (lambda: BinaryConv2d(8, 8, 3, padding="same"), torch.randn(1, 8, 5, 5)),
        (lambda: BinaryLinear(8, 4).double(), torch.randn(3, 8, dtype=torch.float64)),
        (lambda: BinaryLinear(8, 4), torch.randn(0, 8)),
        (lambda: BinaryLinear(12, 4), torch.randn(3, 12)),
    ],
)
def test_what_kernels_do_not_cover_keeps_the_real_product(layer, x):
    y = layer()(x)
    assert y.dtype == x.dtype
    assert "_BinaryProduct" not in graph(y)


@pytest.fixture
def packed(monkeypatch):
    """Gets an entry for each packing of weights."""
    calls = []
    right = packing.SignConvolution.set
    monkeypatch.setattr(packing.SignConvolution, "set", lambda self, weight: calls.append(1) or right(self, weight))
    return calls


@pytest.mark.usefixtures("kernels")
def test_where_nobody_writes_to_them_weights_are_packed_once(packed):
    layer = BinaryLinear(32, 24).eval()
    x = torch.randn(8, 32)
    with torch.no_grad():
        first = layer(x)
        layer(x[:3])
        packed.clear()  # with those of trying out both sizes
        for _ in range(2):
            with layers.unchanged(layer), layers.unchanged(layer):
                assert torch.equal(layer(x), first)
                assert torch.equal(layer(x[:3]), first[:3])
            layer.weight.data.neg_()  # which no version tells of
            first = -first
        assert len(packed) == 2
        layer(x), layer(x)
    assert len(packed) == 4


@pytest.mark.usefixtures("kernels")
def test_what_a_binarizer_prepares_may_be_drawn_and_is_packed_anew():
    class Noisy(Sign):
        def prepared(self, latent, mask=None):
            return latent + torch.randn_like(latent)

    layer, x = BinaryLinear(32, 24, Noisy()).eval(), torch.randn(8, 32)
    with torch.no_grad(), layers.unchanged(layer):
        assert not torch.equal(layer(x), layer(x))


def test_a_layer_works_on_tensors_that_have_no_version():
    with torch.inference_mode():
        layer = BinaryLinear(8, 4)
        layer.constrain(0.1)
        assert layer(torch.randn(3, 8)).shape == (3, 4)


@pytest.mark.usefixtures("kernels")
def test_drawn_weights_are_packed_anew_between_others_that_stay(packed):
    layer = BinaryLinear(32, 24, Stochastic()).eval()
    x = torch.randn(8, 32)
    with torch.no_grad(), layers.unchanged(layer):
        first = layer(x)
        packed.clear()
        with layers.sampling(layer):
            assert not torch.equal(layer(x), first)
        assert torch.equal(layer(x), first)
        assert torch.equal(layer(x), first)
    assert len(packed) == 2


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("estimator", [CLIPPED, None])
@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize("is_told", [False, True])
def test_a_step_of_torchs_fused_optimizer_is_seen_by_the_next_product(estimator, clip, is_told):
    """It writes to the weight and leaves its version as it was."""
    layer = BinaryLinear(64, 64, Sign(clip=clip), estimator)
    optimizer = torch.optim.SGD(layer.parameters(), 1.0, fused=True)
    x = torch.randn(8, 64)
    if is_told:  # as after a step of the trainer's
        layer.signs = Signs()
        layer.signs.keep(sign_int8(layer.weight), layer.weight, None)
        layer.constrain(0.0)
    before = layer(x)
    layer.weight.grad = 2e3 * layer.weight.detach()
    optimizer.step()
    torch.testing.assert_close(layer(x), -before)
    layer.weight.grad = None
    layer(x).sum().backward()
    beyond = layer.weight.detach().abs() > 1
    assert beyond.any()
    assert not layer.weight.grad[beyond].any()


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("scaling", ["none", "mean"])
@pytest.mark.parametrize("weights", [Sign, lambda **options: Stochastic(**options)], ids=["sign", "stochastic"])
def test_real_inputs_are_multiplied_by_kernels_too(weights, scaling, monkeypatch):
    """As a first layer's: the same draws, the products and gradients of float32."""
    found = []
    for quick in (False, True):
        monkeypatch.setattr(layers.probe.ways, "have_kernels", lambda device_type, answer=quick: answer)
        torch.manual_seed(0)
        layer = BinaryLinear(40, 64, weights(scaling=scaling), None, bias=True)
        x = torch.randn(7, 40, requires_grad=True)
        y = layer(x)
        assert ("_RealProduct" in graph(y)) == quick
        y.square().sum().backward()
        found.append([y, x.grad, layer.weight.grad, layer.bias.grad, torch.rand(3)])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5 * a.abs().max().item())


@pytest.mark.usefixtures("kernels")
def test_packed_weights_serve_images_of_every_size():
    layer = BinaryConv2d(16, 8, 3, padding=1).eval()
    w = torch.where(layer.weight >= 0, 1.0, -1.0)
    with torch.no_grad():
        for side in (6, 6, 9, 6):
            x = torch.randn(2, 16, side, side)
            assert torch.equal(layer(x), torch.nn.functional.conv2d(torch.where(x >= 0, 1.0, -1.0), w, padding=1))


@pytest.mark.usefixtures("kernels")
def test_a_copy_of_a_layer_packs_its_own_weights():
    layer = BinaryLinear(32, 24)
    x = torch.randn(8, 32)
    y = layer(x)
    copy = pickle.loads(pickle.dumps(deepcopy(layer)))
    with torch.no_grad():
        copy.weight.neg_()
    assert torch.equal(copy(x), -y)
    assert torch.equal(layer(x), y)


def test_the_window_of_clipped_weights_is_left_out_only_where_nothing_has_written_to_them_since():
    """An identity backward in its place: the same numbers, a pass less."""
    layer = linear(2, 1, binarizer=Sign(Ste("clipped"), clip=0.5))

    def rests():
        return layer.binarizer.binarization(layer.binarizer.prepared(layer.weight)).backward is ste.identity

    assert not rests()
    layer.constrain(0.1)
    assert rests()
    with torch.no_grad():
        layer.weight.mul_(3)
    assert not rests()
    layer.constrain(0.1)
    layer.load_state_dict({"weight": torch.tensor([[5.0, -0.2]])})
    assert not rests()
    layer.constrain(0.1)
    layer.weight = torch.nn.Parameter(torch.tensor([[5.0, -0.2]]))
    assert not rests()
    layer.binarizer = Sign(Ste("clipped"), clip=0.5, centre=True)
    assert not rests()
    layer.weight.data = torch.tensor([[9.0, -1.0]])
    layer.constrain(0.1)
    assert layer.weight.tolist() == [[0.5, -0.5]]  # 9 and -1 without their mean, then within the bound
    assert rests()
    for binarizer in (
        Sign(Ste("clipped", clip=0.3), clip=0.5),  # a window narrower than the bound
        Sign(Ste("clipped"), clip=None),
        Sign(Ste("clipped"), clip=0.5, prepare="standardise"),  # a bound of the latent weight says nothing of the prepared one
        Sign(Ste("tanh"), clip=0.5),
    ):
        layer.binarizer = binarizer
        layer.constrain(0.1)
        assert not rests()


def test_a_standardised_weight_beyond_the_window_gets_no_gradient_though_the_latent_one_is_clipped():
    layer = linear(4, 1, binarizer=Sign(clip=0.1, prepare="standardise"))
    layer.weight.data = torch.tensor([[0.1, -0.01, 0.0, 0.01]])
    layer.constrain(0.1)
    layer(torch.eye(4)).sum().backward()
    prepared = layer.binarizer.prepared(layer.weight.detach())
    assert prepared.abs().max() > 1
    g = torch.where(prepared.abs() <= 1, 1.0, 0.0).requires_grad_(False)  # of the sign, at the prepared weight
    latent = layer.weight.detach().clone().requires_grad_()
    (layer.binarizer.prepared(latent) * g).sum().backward()
    torch.testing.assert_close(layer.weight.grad, latent.grad)
