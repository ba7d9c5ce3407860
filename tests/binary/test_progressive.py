"""Progressive binarization: the mask's distribution, the mixture and its gradient, and what is kept between steps."""

import copy
import math
import pickle

import pytest
import torch

from bnn_train.binary import ste, ways
from bnn_train.binary.layers import BinaryConv2d, BinaryLinear
from bnn_train.binary.progressive import Progressive, redrawn, share_at
from bnn_train.binary.weights import Stompp
from bnn_train.errors import ConfigError

VALUES = [-1.5, -1.0, -0.4, -0.0, 0.0, 0.4, 1.0, 1.5]
MANY = 40_000


def within(count, total, probability):
    """Whether a binomial count is within 4 standard deviations."""
    return abs(count - total * probability) <= 4 * math.sqrt(total * probability * (1 - probability))


def at(progressive, progress):
    progressive.progress = progress
    return progressive


def test_the_share_rises_from_0_to_1_within_the_window():
    assert [share_at(t, 0.2, 0.6) for t in (0, 0.2, 0.3, 0.4, 0.6, 1)] == pytest.approx([0, 0, 0.25, 0.5, 1, 1])
    assert (share_at(0.2, 0.2, 0.6), share_at(0.6, 0.2, 0.6)) == (0, 1)  # exactly


@pytest.mark.parametrize("refresh", [0.0, 0.1, 1.0])
@pytest.mark.parametrize(
    ("before", "now"), [(0.0, 0.3), (0.3, 0.3), (0.3, 0.8), (0.8, 1.0), (1.0, 1.0), (0.8, 0.2), (1.0, 0.5), (0.5, 0.0)]
)
def test_every_entry_is_one_with_the_probability_that_is_asked_for(before, now, refresh):
    torch.manual_seed(0)
    ones = torch.rand(MANY) < before
    after = redrawn(ones, before, now, refresh)
    assert within(int(after.sum()), MANY, now)
    # What was 1 and is none any more was drawn anew and came out as 0, or the share fell.
    kept = (1 - refresh) * min(1, now / before if before else 1) + refresh * now
    assert within(int((after & ones).sum()), int(ones.sum()), kept)


def test_without_a_refresh_what_is_a_sign_stays_one():
    torch.manual_seed(0)
    ones, before = torch.zeros(1000, dtype=torch.bool), 0.0
    for now in (0.1, 0.3, 0.7, 1.0):
        after = redrawn(ones, before, now, 0.0)
        assert not bool((ones & ~after).any())
        ones, before = after, now
    assert bool(ones.all())


@pytest.mark.parametrize("estimator", [None, "tanh", "identity"])
def test_forward_and_gradient_are_those_of_the_formula_entry_by_entry(estimator):
    """Every value with every value of the mask, in float64."""
    a = torch.tensor(VALUES, dtype=torch.float64).repeat(200).requires_grad_()
    module = at(Progressive(estimator, per_unit=False), 0.5)
    torch.manual_seed(0)
    y = module(a)
    ones = module.mask_ones
    g = torch.linspace(-3, 3, len(a), dtype=torch.float64)
    y.backward(g)
    of_sign = {None: lambda x: 0.0, "tanh": lambda x: 1 - math.tanh(x) ** 2, "identity": lambda x: 1.0}[estimator]
    seen = set()
    for x, m, value, gradient, incoming in zip(a.tolist(), ones.tolist(), y.tolist(), a.grad.tolist(), g.tolist(), strict=True):
        assert value == ((1 if x >= 0 else -1) if m else min(max(x, -1), 1))
        assert gradient == pytest.approx(incoming * (of_sign(x) if m else float(abs(x) <= 1)), abs=1e-15)
        seen.add((x, m))
    assert len(seen) == 2 * len(set(VALUES))


def test_before_the_window_it_is_hardtanh_and_after_it_the_sign_and_nothing_is_drawn():
    module, a = Progressive(), torch.tensor([VALUES], requires_grad=True)
    module.start, module.end = 0.25, 0.5
    state = torch.get_rng_state()
    for progress, forward, factor in (
        (0.25, torch.nn.functional.hardtanh, (a.abs() <= 1).float()),
        (0.5, ste.sign, torch.zeros_like(a)),
    ):
        y = at(module, progress)(a)
        assert torch.equal(y, forward(a))
        assert torch.equal(torch.autograd.grad(y.sum(), a)[0], factor)
        assert module.mask_ones is None
    assert torch.equal(torch.get_rng_state(), state)


def test_evaluation_takes_the_signs_and_leaves_mask_and_generator_as_they_are():
    torch.manual_seed(0)
    module, a = at(Progressive(), 0.5), torch.randn(5, 20)
    module(a)
    mask, state = module.mask_ones.clone(), torch.get_rng_state()
    assert torch.equal(module.eval()(a), ste.sign(a))
    assert torch.equal(module.mask_ones, mask)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_batch_shares_a_mask_of_activations_and_a_weight_has_one_of_its_own_shape():
    torch.manual_seed(0)
    module = at(Progressive(), 0.5)
    y = module(torch.full((7, 4, 5, 5), 0.5))
    assert module.mask_ones.shape == (4, 5, 5)
    assert torch.equal(y, torch.where(module.mask_ones, 1.0, 0.5).expand(7, 4, 5, 5))
    module(torch.zeros(3, 6))  # images of another size begin anew
    assert module.mask_ones.shape == (6,)
    module(torch.zeros(0, 6))
    weights = Stompp()
    at(weights.progressive, 0.5)
    weights(torch.zeros(3, 2))
    assert weights.progressive.mask_ones.shape == (3, 2)


def test_the_mask_follows_from_the_one_before():
    torch.manual_seed(0)
    module, a = at(Progressive(refresh=0.0), 0.3), torch.zeros(1, 500)
    module(a)
    before = module.mask_ones
    at(module, 0.6)(a)
    assert bool((module.mask_ones >= before).all())
    assert within(int(module.mask_ones.sum()), 500, 0.6)
    at(module, 1.0)(a)
    assert (module.share, module.mask_ones) == (1, None)
    at(module, 0.4)(a)  # a longer run moves the windows
    assert within(int(module.mask_ones.sum()), 500, 0.4)


def stompp_layer(estimator=None):
    return BinaryLinear(30, 20, Stompp(estimator), Progressive(estimator))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_layer_multiplies_what_its_masks_say(dtype):
    torch.manual_seed(0)
    layer = stompp_layer().to(dtype)
    for part in (layer.estimator, layer.binarizer.progressive):
        at(part, 0.5)
    x = torch.randn(9, 30, dtype=dtype)
    y = layer(x)
    w = torch.where(layer.binarizer.progressive.mask_ones, ste.sign(layer.weight), layer.weight)
    torch.testing.assert_close(y, torch.where(layer.estimator.mask_ones, ste.sign(x), x.clamp(-1, 1)) @ w.T)


@pytest.mark.parametrize("estimator", [None, "clipped"])
def test_after_its_window_a_layer_is_that_of_weights_sign_whose_products_are_whole(estimator, monkeypatch):
    monkeypatch.setattr(ways, "SMALLEST", 0)
    torch.manual_seed(0)
    layer = BinaryConv2d(16, 16, 3, Stompp(estimator), Progressive(estimator), pad_value=1, padding=1)
    for part in (layer.estimator, layer.binarizer.progressive):
        at(part, 1.0)
    plain = BinaryConv2d(16, 16, 3, pad_value=1, padding=1)
    plain.load_state_dict({"weight": layer.weight})
    x = torch.randn(2, 16, 8, 8)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    y = layer(ours)
    assert torch.equal(y, plain(theirs))
    assert ("BinaryProduct" in type(y.grad_fn).__name__) == ways.have_kernels("cpu")  # as of every other
    y.square().sum().backward()
    plain(theirs).square().sum().backward()
    none = estimator is None
    assert torch.equal(ours.grad, torch.zeros_like(x) if none else theirs.grad)
    assert torch.equal(layer.weight.grad, torch.zeros_like(layer.weight) if none else plain.weight.grad)


@pytest.mark.parametrize("binary", ["input", "weight"])
def test_one_binary_factor_is_multiplied_as_it_is(binary):
    torch.manual_seed(0)
    layer, x = stompp_layer(), torch.randn(9, 30)
    at(layer.estimator, float(binary == "input"))
    at(layer.binarizer.progressive, float(binary == "weight"))
    a = ste.sign(x) if binary == "input" else x.clamp(-1, 1)
    w = ste.sign(layer.weight) if binary == "weight" else layer.weight
    torch.testing.assert_close(layer(x), a @ w.T)


def test_masks_are_in_the_state_within_a_window_alone():
    layer, x = stompp_layer(), torch.randn(2, 30)
    always = {"weight", "estimator.mask_share", "binarizer.progressive.mask_share"}
    for progress, masks in ((0.0, False), (0.5, True), (1.0, False)):
        at(layer.estimator, progress)
        at(layer.binarizer.progressive, progress)
        layer(x)
        more = {"estimator.mask_ones", "binarizer.progressive.mask_ones"} if masks else set()
        assert set(layer.state_dict()) == always | more
        again = stompp_layer()
        again.load_state_dict(layer.state_dict())
        assert again.state_dict().keys() == layer.state_dict().keys()
        assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in layer.state_dict().items())
        again.load_state_dict(BinaryLinear(30, 20).state_dict())  # of a network of other weights: before all windows
        assert set(again.state_dict()) == always
        assert again.estimator.share == 0


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))], ids=["deepcopy", "pickle"])
def test_a_copy_goes_on_as_its_original(copied):
    torch.manual_seed(0)
    layer, x = stompp_layer("tanh"), torch.randn(2, 30)
    for part in (layer.estimator, layer.binarizer.progressive):
        at(part, 0.5)
    layer(x)
    other, outputs = copied(layer), []
    for each in (layer, other):
        torch.manual_seed(1)
        outputs.append(each(x))
    assert torch.equal(*outputs)


@pytest.mark.parametrize("kind", [Progressive, Stompp])
def test_an_unknown_estimator_is_named_by_its_key(kind):
    with pytest.raises(ConfigError, match=r"^weights\.ste=stompp: must be one of null, identity"):
        kind("stompp")


def test_masks_are_no_parameters():
    assert [name for name, _ in stompp_layer().named_parameters()] == ["weight"]
