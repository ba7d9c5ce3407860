import pytest
import torch
from torch import nn

from bnn_train.config import OptimizerConfig
from bnn_train.errors import ConfigError
from bnn_train.optim import optimizers


def model():
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


@pytest.mark.parametrize(
    ("config", "kind", "values"),
    [
        (OptimizerConfig("adam", 0.1, betas=[0.8, 0.9], eps=1e-3), torch.optim.Adam, {"betas": (0.8, 0.9), "eps": 1e-3}),
        (
            OptimizerConfig("adamw", 0.1, 0.3, betas=[0.8, 0.9], eps=1e-3),
            torch.optim.AdamW,
            {"betas": (0.8, 0.9), "weight_decay": 0.3},
        ),
        (OptimizerConfig("sgd", 0.1, momentum=0.9, nesterov=True), torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    ],
)
def test_builds_torchs_optimizer_with_the_given_values(config, kind, values):
    optimizer = optimizers.build(config, model(), 100)
    assert type(optimizer) is kind
    assert {key: optimizer.param_groups[0][key] for key in ["lr", *values]} == {"lr": 0.1, **values}


def test_weight_decay_spares_batchnorm_and_biases_unless_asked():
    config = OptimizerConfig("sgd", 0.1, weight_decay=0.5, momentum=0.0, nesterov=False)
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
    optimizers.build(OptimizerConfig("sgd", 0.1, weight_decay=0.5, momentum=0.0, nesterov=False), network, 100).step()
    torch.testing.assert_close(network.weight.data, before - 0.1 * (torch.tensor([[3.0, -4.0]]) + 0.5 * before))


def test_an_option_of_another_optimizer_is_refused():
    with pytest.raises(ConfigError, match=r"optimizer\.momentum=0\.9: optimizer=adam takes optimizer\.betas, optimizer\.eps"):
        optimizers.build(OptimizerConfig("adam", 0.1, betas=[0.9, 0.99], eps=1e-8, momentum=0.9), model(), 100)
