import copy

import pytest
import torch
from torch import nn

from bnn_train.binary.layers import BinaryConv2d, BinaryLinear
from bnn_train.binary.ste import sign_int8
from bnn_train.binary.weights import Binary, Sign
from bnn_train.config.optimizer import AdamConfig, BopConfig, SgdConfig
from bnn_train.errors import ConfigError
from bnn_train.kernels import elements
from bnn_train.kernels.marks import CONNECTED, FREE
from bnn_train.optim import choice, fused, optimizers

CPU = torch.device("cpu")
ADAM = AdamConfig("adam", 0.05)
CONFIGS = {
    "adam": ADAM,
    "adam with decay": AdamConfig("adam", 0.05, 0.1, betas=[0.5, 0.9], eps=1e-3),
    "adamw": AdamConfig("adamw", 0.05, 0.3),
    "momentum": SgdConfig("sgd", 0.1, 0.01, momentum=0.9),
    "nesterov": SgdConfig("sgd", 0.1, 0.01, momentum=0.9, nesterov=True),
    "plain descent": SgdConfig("sgd", 0.1, momentum=0.0),
    "bop": BopConfig(lr=0.05, gamma=0.3, threshold=1e-6),
}

needs_kernels = pytest.mark.skipif(not elements.available(), reason="needs llvmlite")


def network(weights=Sign):
    torch.manual_seed(0)
    convolution = BinaryConv2d(2, 4, 3, weights(), estimator=None, padding=1)
    layers = convolution, nn.BatchNorm2d(4), nn.Flatten(), BinaryLinear(64, 9, weights(), bias=True), nn.Linear(9, 3)
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def by_kernels(config, model, marks=lambda weight: None):
    optimizer = optimizers.build(config, model, 100)
    return fused.FusedStep(optimizer, model, marks), optimizer


def train(model, step, number=3, first=0):
    """Some steps, each of which follows from its number."""
    for i in range(first, first + number):
        torch.manual_seed(i)
        model.zero_grad()
        nn.functional.cross_entropy(model(torch.randn(20, 2, 4, 4)), torch.randint(3, (20,))).backward()
        step()


@needs_kernels
@pytest.mark.parametrize("name", CONFIGS)
def test_steps_are_torchs_but_for_last_bits(name):
    """Weights, biases, state and the bound; also of a convolution whose channels lie together."""
    config, kind = CONFIGS[name], Binary if name == "bop" else Sign
    ours, theirs = network(kind), network(kind)
    assert not ours[0].weight.is_contiguous()
    step, own = by_kernels(config, ours)
    torchs = optimizers.build(config, theirs, 100)

    def torch_step():
        torchs.step()
        for layer in (theirs[0], theirs[3]):
            layer.constrain(config.lr)

    for i in range(3):
        train(ours, step, 1, i)
        train(theirs, torch_step, 1, i)
        for (key, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6, msg=key)
            assert a.grad is not None
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert own.state[a].keys() == torchs.state[b].keys()
            for key, value in torchs.state[b].items():
                if value is not None:
                    torch.testing.assert_close(own.state[a][key], value, rtol=1e-5, atol=1e-7)
                    assert own.state[a][key].stride() == value.stride()


@needs_kernels
@pytest.mark.parametrize("name", ["adamw", "nesterov", "bop"])
def test_either_step_goes_on_from_the_others_state(name):
    config, kind = CONFIGS[name], Binary if name == "bop" else Sign
    models = network(kind), network(kind)
    step, one = by_kernels(config, models[0])
    train(models[0], step)
    models[1].load_state_dict(models[0].state_dict())
    other = optimizers.build(config, models[1], 100)
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    optimizers.match_layout(other)
    train(models[0], step, 1, 7)
    train(models[1], lambda: (other.step(), models[1][0].constrain(0), models[1][3].constrain(0)), 1, 7)
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    one.load_state_dict(other.state_dict())
    optimizers.match_layout(one)
    train(models[0], step, 1, 8)  # a loaded state is another tensor
    assert one.state[models[0][3].weight] is not other.state[models[1][3].weight]


@needs_kernels
def test_autograd_notices_that_a_weight_was_written_to():
    model = network()
    step, _ = by_kernels(ADAM, model)
    train(model, lambda: None, 1)
    loss = model(torch.randn(2, 2, 4, 4)).sum()
    step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@needs_kernels
def test_layers_get_the_signs_of_the_weight_and_know_them_to_be_clipped():
    model = network()
    step, _ = by_kernels(ADAM, model)
    train(model, step)
    linear = model[3]
    signs = linear.signs.of(linear.weight, None)
    assert torch.equal(signs, sign_int8(linear.weight))
    assert linear.binarizer._is_within(linear.weight, 1.0)
    assert model[0].signs is None  # its inputs are real
    x, y = torch.randn(5, 64), None
    y = linear(x)
    linear.signs = None
    assert torch.equal(linear(x), y)


@needs_kernels
def test_a_layer_whose_constraint_is_more_than_a_bound_keeps_it():
    model = nn.Sequential(BinaryLinear(6, 4, Sign(centre=True)), BinaryLinear(4, 3))
    step, _ = by_kernels(ADAM, model)
    assert step.rest == [model[0]]
    assert model[0].signs is None


@needs_kernels
def test_held_edges_stay_and_pruned_ones_are_0_among_the_signs():
    model = network()
    linear = model[3]
    pruned = torch.zeros(9, 64, dtype=torch.bool)
    pruned[:, ::2] = True
    linear.prune(pruned)
    marks = torch.full((9, 64), FREE | CONNECTED, dtype=torch.uint8)
    marks[:, 1], marks[pruned] = CONNECTED, 0
    config = CONFIGS["adamw"]
    step, _ = by_kernels(config, model, lambda weight: marks if weight is linear.weight else None)
    before = linear.weight.detach().clone()
    train(model, step)
    held = marks & FREE == 0
    assert torch.equal(linear.weight[held], before[held])
    assert not torch.equal(linear.weight[~held], before[~held])
    assert torch.equal(linear.signs.of(linear.weight, linear.connected), sign_int8(linear.weight) * ~pruned)


def test_where_it_is_not_worth_its_start_torch_takes_the_steps_and_goes_on_with_them(small):
    config, most = small(), choice.WORTH
    assert choice.choose(config, CPU, 10**6, most // 10**6 - 1).kind == "torch"
    assert choice.choose(config, CPU, 10**6, most, "torch").kind == "torch"


@needs_kernels
@pytest.mark.parametrize(
    ("override", "where", "said"),
    [
        ("trainer.step=torch", CPU, "trainer.step=torch"),
        ("trainer.compile=true", CPU, "trainer.compile=true keeps torch's"),
        ("optimizer=bayesbinn", CPU, "there is none for optimizer=bayesbinn"),
        ("seed=0", torch.device("cuda"), "there is none for cuda"),
    ],
)
def test_who_takes_the_steps_and_why(small, override, where, said):
    assert choice.choose(small(), CPU, 10**7, 10**6).kind == "kernels"
    assert choice.choose(small(override), where, 10**7, 10**6) == choice.Choice("torch", said)
    if override != "trainer.step=torch":
        with pytest.raises(ConfigError, match=said):
            choice.choose(small(override), where, 10**7, 10**6, "kernels")


def test_without_llvm_torch_takes_the_steps_but_those_of_a_run_that_kernels_have_begun(small, monkeypatch):
    monkeypatch.setattr(elements, "available", lambda: False)
    remedy = "llvmlite is not installed, or what it compiles may not run here (pip install llvmlite)"
    assert choice.choose(small(), CPU, 10**7, 10**6) == choice.Choice("torch", remedy)
    with pytest.raises(ConfigError) as error:
        choice.check(small(), CPU, "kernels")
    assert str(error.value) == (
        f"trainer.step=kernels: cannot take the steps: {remedy}; trainer.step=torch takes torch's, whose last bits differ"
    )
    with pytest.raises(ConfigError, match="pip install llvmlite"):
        choice.check(small("trainer.step=kernels"), CPU)
    assert choice.choose(small("trainer.step=torch"), CPU, 10**7, 10**6, "kernels").kind == "torch"


@needs_kernels
def test_what_kernels_cannot_take_is_left_to_torch(small, monkeypatch):
    config, marks = small("trainer.epochs=1"), lambda weight: None
    monkeypatch.setattr(choice, "WORTH", 1)
    shared, double, other = network(), network().double(), network()
    shared.append(nn.Linear(3, 3))
    shared.append(nn.Linear(3, 3))
    shared[-1].weight = shared[-2].weight
    for model, said in ((shared, "share a weight"), (double, "float32")):
        settled, step = fused.settle(config, model, optimizers.build(ADAM, model, 10), 1, marks)
        assert (settled.kind, step) == ("torch", None)
        assert said in settled.why
    settled, step = fused.settle(config, other, torch.optim.Adam(other.parameters()), 1, marks)  # as a plugin makes it
    assert settled == choice.Choice("torch", "there is none for Adam")
