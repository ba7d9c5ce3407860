import pytest
import torch
from torch import nn

from bnn_train import models
from bnn_train.binary.layers import BinaryLinear
from bnn_train.binary.ste import sign
from bnn_train.errors import ConfigError


def kinds(model):
    return [type(layer).__name__ for layer in model]


def test_layers_are_in_the_order_of_the_classic_script(compose):
    model = models.build(compose("model.hidden=[7,6,5]", "model.dropout=0.5"), (1, 8, 8), 10)
    first, middle = ["Flatten", "BinaryLinear", "BatchNorm1d"], ["BinaryLinear", "BatchNorm1d"]
    last = ["BinaryLinear", "Dropout", "BatchNorm1d", "Linear"]
    assert kinds(model) == first + middle + last
    assert [(m.in_features, m.out_features) for m in model if isinstance(m, nn.Linear)] == [(64, 7), (7, 6), (6, 5), (5, 10)]
    assert model(torch.randn(3, 1, 8, 8)).shape == (3, 10)


def test_hidden_layers_multiply_binary_by_binary(compose):
    model = models.build(compose("model.hidden=[7,6,5]"), (1, 8, 8), 10)
    layers = [layer for layer in model if isinstance(layer, BinaryLinear)]
    assert [layer.estimator is not None for layer in layers] == [False, True, True]
    seen = []
    layers[1].register_forward_hook(lambda layer, args, out: seen.append((args[0], out)))
    model(torch.randn(3, 1, 8, 8))
    ((x, y),) = seen
    assert torch.equal(y, sign(x) @ sign(layers[1].weight).T)


def test_input_and_output_can_be_binary(compose):
    model = models.build(compose("model.hidden=[5]", "model.binarize_input=true", "model.binarize_output=true"), (1, 2, 2), 3)
    assert kinds(model) == ["Flatten", "BinaryLinear", "BatchNorm1d", "BinaryLinear", "BatchNorm1d"]
    assert all(layer.estimator is not None for layer in model if isinstance(layer, BinaryLinear))


def test_the_real_valued_twin_has_relu_for_sign_and_real_weights(compose):
    binary = models.build(compose("model.hidden=[5,5]"), (1, 2, 2), 3)
    twin = models.build(compose("model.hidden=[5,5]", "ste=none", "weights=real"), (1, 2, 2), 3)
    assert kinds(binary) == kinds(twin)
    assert binary.state_dict().keys() == twin.state_dict().keys()
    x = torch.randn(4, 1, 2, 2)
    by_hand = nn.Sequential(nn.Flatten(), nn.Linear(4, 5, False), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 5, False))
    by_hand.extend([nn.BatchNorm1d(5), nn.Linear(5, 3)])
    by_hand.load_state_dict(dict(zip(by_hand.state_dict(), twin.state_dict().values(), strict=True)))
    assert torch.equal(by_hand(x), twin(x))


def test_each_sign_is_the_configured_estimator(compose):
    model = models.build(compose("ste=swish_sign", "ste.beta=3", "ste.stochastic=true"), (1, 8, 8), 10)
    signs = [layer.estimator for layer in model if isinstance(layer, BinaryLinear) and layer.estimator is not None]
    assert [(s.name, s.params, s.stochastic) for s in signs] == [("swish_sign", {"beta": 3.0}, True)] * 2


@pytest.mark.parametrize("overrides", [("model.hidden=[9]",), ("model=cnn", "model.stages=[[4]]", "model.hidden=[]")])
def test_a_network_without_a_binary_activation_is_refused(compose, overrides):
    """It would be linear, and the estimator without effect."""
    with pytest.raises(ConfigError, match="no activation of this network is binary"):
        models.build(compose(*overrides), (1, 8, 8), 10)
    models.build(compose(*overrides, "model.binarize_output=true"), (1, 8, 8), 10)


def test_refusals(compose):
    with pytest.raises(ConfigError, match=r"model\.hidden=\[\]"):
        compose("model.hidden=[]")
    with pytest.raises(ConfigError, match=r"model\.name=vit: must be one of mlp, cnn"):
        compose("model.name=vit")
    with pytest.raises(ConfigError, match=r"model\.name=cnn: names an option, and comes with its keys: choose it with model=cnn"):
        compose("model.name=cnn")
