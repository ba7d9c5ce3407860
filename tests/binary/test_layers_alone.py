"""The layers alone, in anybody's module: pickled, copied, cast, called with what torch's layers take, read by others."""

import copy
import pickle

import pytest
import torch

from bnn_train.binary import layers, ste
from bnn_train.binary.layers import BinaryConv2d, BinaryLinear, binary_layers
from bnn_train.binary.ste import Ste
from bnn_train.binary.weights import BayesBinn, Real, Sign, Stochastic
from bnn_train.errors import ConfigError


def linear(*sizes, **options):
    """With real inputs."""
    return BinaryLinear(*sizes, **{"estimator": None, **options})


def everyday_layers():
    torch.manual_seed(0)
    return [
        (BinaryLinear(8, 4), torch.randn(5, 8)),
        (BinaryLinear(8, 4, Stochastic("uniform"), Ste("tanh", stochastic=True), bias=True).eval(), torch.randn(5, 8)),
        (BinaryLinear(8, 4, Sign(prepare="quantile", scaling="learned"), "ede"), torch.randn(5, 8)),
        (BinaryConv2d(2, 3, 3, Sign(scaling="mean"), "approx_sign", padding=1, pad_value=-1), torch.randn(2, 2, 5, 5)),
        (BinaryConv2d(2, 3, (3, 1), BayesBinn(), Ste("gumbel", hard=False)).eval(), torch.randn(2, 2, 5, 5)),
    ]


@pytest.mark.parametrize("number", range(5))
def test_a_layer_is_pickled_copied_cast_and_found_in_anybodys_module(number, tmp_path):
    layer, x = everyday_layers()[number]
    layer.prune(torch.rand_like(layer.weight) < 0.3)
    expected = layer(x)
    assert torch.equal(pickle.loads(pickle.dumps(layer))(x), expected)
    assert torch.equal(copy.deepcopy(layer)(x), expected)
    torch.save(layer, tmp_path / "layer.pt")
    assert torch.equal(torch.load(tmp_path / "layer.pt", weights_only=False)(x), expected)
    double = copy.deepcopy(layer).double()
    torch.testing.assert_close(double(x.double()), expected.double())
    assert double.connected.dtype == torch.float64
    assert copy.deepcopy(layer).to("meta").connected.device.type == "meta"
    nested = torch.nn.ModuleDict({"deep": torch.nn.Sequential(torch.nn.ModuleList([layer]))})
    assert binary_layers(nested) == [layer]
    assert "connected" not in layer.state_dict()


def test_a_linear_layer_takes_what_torchs_takes():
    layer = BinaryLinear(8, 4, bias=True)
    x = torch.randn(2, 3, 8)
    rows = layer(x.view(6, 8))
    assert torch.equal(layer(x), rows.view(2, 3, 4))
    assert torch.equal(layer(x[0, 0]), rows[0])
    assert layer(torch.randn(0, 8)).shape == (0, 4)
    layer(x).sum().backward()
    images = torch.randn(2, 8, 5, 5)
    conv = BinaryConv2d(8, 4, 3, padding=1, pad_value=1)
    assert torch.equal(conv(images[0]), conv(images)[0])


def test_defaults_are_a_binary_layer():
    layer = BinaryLinear(784, 512)
    x = torch.randn(3, 784)
    assert torch.equal(layer(x), ste.sign(x) @ ste.sign(layer.weight).T)
    assert layer.binary_input
    assert not linear(3, 2).binary_input
    assert layer.output_scale() is None
    assert [name for name, _ in layer.named_parameters()] == ["weight"]


def test_a_name_is_no_binarizer():
    with pytest.raises(ConfigError, match=r"binarizer=sign: must say how the weight is binarized, as Sign\(\) and Real\(\) do"):
        BinaryLinear(3, 3, "sign")


def test_what_export_and_tables_read_is_what_is_multiplied():
    for layer, _ in everyday_layers():
        layer.eval()
        layer.prune(torch.rand_like(layer.weight) < 0.3)
        assert set(layer.binary_weight().flatten().tolist()) <= {-1.0, 0.0, 1.0}
        n_in = layer.weight[0].numel()
        x = torch.eye(n_in) if isinstance(layer, BinaryLinear) else torch.eye(n_in).view(n_in, *layer.weight.shape[1:])
        layer.estimator = None
        if isinstance(layer, BinaryConv2d):
            layer.padding, layer._reversed_padding_repeated_twice = (0, 0), [0, 0, 0, 0]
        scale = 1 if layer.output_scale() is None else layer.output_scale().detach()
        layer.bias = None
        torch.testing.assert_close(layer(x).detach().view(n_in, -1), layer.binary_weight().flatten(1).T * scale)
    real = linear(3, 2, binarizer=Real())
    assert torch.equal(real.binary_weight(), real.weight)


def test_a_learned_scale_starts_from_the_weights_also_where_loaded_ones_have_none():
    layer = linear(4, 3, binarizer=Sign(scaling="learned"))
    torch.testing.assert_close(layer.scaling_factor.data, layer.weight.abs().mean(dim=1))
    assert linear(4, 3, binarizer=BayesBinn(scaling="learned")).scaling_factor.tolist() == [1, 1, 1]
    plain = linear(4, 3)
    layer.load_state_dict(plain.state_dict())
    torch.testing.assert_close(layer.scaling_factor.data, plain.weight.abs().mean(dim=1))
    layer.scaling_factor.data.fill_(7.0)
    other = linear(4, 3, binarizer=Sign(scaling="learned"))
    other.load_state_dict(layer.state_dict())
    assert other.scaling_factor.tolist() == [7, 7, 7]


def test_products_are_chosen_anew_from_each_input(monkeypatch):
    """By its device and type, in forward: nothing is set when a model is moved."""
    asked = []

    def spy(device_type):
        asked.append(device_type)
        return False

    monkeypatch.setattr(layers.probe.ways, "have_kernels", spy)
    monkeypatch.setattr(layers.probe.ways, "SMALLEST", 0)
    layer = BinaryLinear(8, 4)
    layer(torch.randn(2, 8))
    layer.to("meta")(torch.randn(2, 8, device="meta"))
    assert asked == ["cpu", "meta"]
    layer.double()(torch.randn(2, 8, device="meta", dtype=torch.float64))
    assert asked == ["cpu", "meta"]
