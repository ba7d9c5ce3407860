import pytest
import torch
from torch import nn

from bnn_train.binary.layers import BinaryLinear
from bnn_train.binary.weights import Binary
from bnn_train.config.optimizer import AdamConfig, BayesBinnOptimizerConfig, BopConfig, SgdConfig
from bnn_train.optim import optimizers


def model():
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


@pytest.mark.parametrize(
    ("config", "kind", "values"),
    [
        (AdamConfig("adam", 0.1, betas=[0.8, 0.9], eps=1e-3), torch.optim.Adam, {"betas": (0.8, 0.9), "eps": 1e-3}),
        (
            AdamConfig("adamw", 0.1, 0.3, betas=[0.8, 0.9], eps=1e-3),
            torch.optim.AdamW,
            {"betas": (0.8, 0.9), "weight_decay": 0.3},
        ),
        (SgdConfig("sgd", 0.1, momentum=0.9, nesterov=True), torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    ],
)
def test_builds_torchs_optimizer_with_the_given_values(config, kind, values):
    optimizer = optimizers.build(config, model(), 100)
    assert isinstance(optimizer, kind)
    assert {key: optimizer.param_groups[0][key] for key in ["lr", *values]} == {"lr": 0.1, **values}


def test_weight_decay_spares_batchnorm_and_biases_unless_asked():
    config = SgdConfig("sgd", 0.1, weight_decay=0.5, momentum=0.0, nesterov=False)
    network = model()
    decays = {
        id(p): group["weight_decay"] for group in optimizers.build(config, network, 100).param_groups for p in group["params"]
    }
    assert {name: decays[id(p)] for name, p in network.named_parameters()} == {
        "0.weight": 0.5,
        "0.bias": 0,
        "1.weight": 0,
        "1.bias": 0,
    }
    config.decay_norm_and_bias = True
    assert [group["weight_decay"] for group in optimizers.build(config, network, 100).param_groups] == [0.5]


def test_fused_step_equals_the_formula():
    """One step of SGD with weight decay: w - lr (g + decay w)."""
    network = nn.Linear(2, 1, bias=False)
    before = network.weight.detach().clone()
    network.weight.grad = torch.tensor([[3.0, -4.0]])
    optimizers.build(SgdConfig("sgd", 0.1, weight_decay=0.5, momentum=0.0, nesterov=False), network, 100).step()
    torch.testing.assert_close(network.weight.data, before - 0.1 * (torch.tensor([[3.0, -4.0]]) + 0.5 * before))


def binary_model():
    return nn.Sequential(BinaryLinear(3, 4, Binary()), nn.BatchNorm1d(4), nn.Linear(4, 2))


def test_several_optimizers_together_are_one(tmp_path):
    """Groups and state are the parts' own; a copy that loads its state takes the same next step."""
    models = [binary_model() for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    one, other = (optimizers.build(BopConfig(lr=0.1), network, 100) for network in models)
    assert isinstance(one, torch.optim.Optimizer)
    x = torch.randn(5, 3)

    def step(network, optimizer):
        optimizer.zero_grad()
        network(x).square().sum().backward()
        optimizer.step()

    step(models[0], one)
    assert {parameter for group in one.param_groups for parameter in group["params"]} == set(models[0].parameters())
    assert set(one.state) == set(models[0].parameters())
    one.param_groups[1]["lr"] = 0.5
    assert one.parts[1].param_groups[0]["lr"] == 0.5
    torch.save(one.state_dict(), tmp_path / "state.pt")
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert other.param_groups[1]["lr"] == 0.5
    models[1].load_state_dict(models[0].state_dict())
    for network, optimizer in zip(models, (one, other), strict=True):
        step(network, optimizer)
    assert all(torch.equal(a, b) for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True))


@pytest.mark.parametrize(
    ("config", "moves"),
    [
        (AdamConfig(), False),
        (AdamConfig(weight_decay=0.1), True),
        (SgdConfig(), False),
        (BopConfig(), False),
        (BopConfig(weight_decay=0.1), True),
        (BayesBinnOptimizerConfig(), True),
    ],
)
def test_what_a_step_moves_without_a_gradient(config, moves):
    """Asked of the optimizer, and seen: two steps with gradients of 0 leave the weights, or do not."""
    network = binary_model()
    optimizer = optimizers.build(config, network, 100)
    assert optimizers.moves_without_gradient(optimizer) == moves
    before = [parameter.detach().clone() for parameter in network.parameters()]
    for _ in range(2):
        for parameter in network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True)) != moves


def test_an_optimizer_that_says_nothing_is_taken_to_move():
    assert optimizers.moves_without_gradient(torch.optim.Rprop(model().parameters()))
