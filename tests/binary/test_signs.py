import copy
import pickle

import torch
from torch import nn

from bnn_train.binary import probe
from bnn_train.binary.layers import BinaryLinear
from bnn_train.binary.signs import Signs
from bnn_train.binary.ste import sign_int8


def kept():
    weight, connected, signs = nn.Parameter(torch.randn(3, 4)), torch.ones(3, 4), Signs()
    signs.keep(sign_int8(weight.detach()), weight, connected)
    return signs, weight, connected


def test_signs_are_for_one_training_step():
    signs, weight, connected = kept()
    with torch.no_grad():
        assert all(signs.of(weight, connected) is not None for _ in range(2))
    assert signs.of(weight, connected) is not None
    assert signs.of(weight, connected) is None


@torch.no_grad()
def test_signs_are_known_until_the_weight_or_its_mask_changes():
    signs, weight, connected = kept()
    assert torch.equal(signs.of(weight, connected), sign_int8(weight))
    assert signs.of(weight, connected.clone()) is None
    assert signs.of(weight, None) is None
    assert signs.of(nn.Parameter(weight.detach()), connected) is None
    weight.neg_()
    assert signs.of(weight, connected) is None


@torch.no_grad()
def test_signs_are_unknown_while_another_tensor_stands_in_for_the_weights_data():
    signs, weight, connected = kept()
    own, average = weight.data, torch.randn(3, 4)
    weight.data = average
    assert signs.of(weight, connected) is None
    weight.data = own
    assert signs.of(weight, connected) is not None


def test_a_copy_of_a_layer_knows_no_signs():
    layer = BinaryLinear(4, 3)
    layer.signs = Signs()
    layer.signs.keep(sign_int8(layer.weight.detach()), layer.weight, None)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert other.signs.of(other.weight, None) is None
        assert other.signs.of(layer.weight, None) is None
    assert "signs" not in "".join(layer.state_dict())


def test_a_layer_multiplies_with_the_data_that_its_weight_has_now(monkeypatch):
    """An average's data stand in for the weight's own without a write that the weight would count."""
    monkeypatch.setattr(probe, "by_kernels", lambda *shapes: True)
    layer, x = BinaryLinear(16, 8), torch.randn(5, 16)
    with torch.no_grad():
        y = layer(x)
        own, layer.weight.data = layer.weight.data, -layer.weight.data
        assert torch.equal(layer(x), -y)
        layer.weight.data = own
        assert torch.equal(layer(x), y)
