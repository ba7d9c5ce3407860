import pytest
import torch
from torch import nn

from bnn_train import models
from bnn_train.binary.ste import sign
from bnn_train.errors import ConfigError
from bnn_train.models.around import Residual, Widen


def test_widen_averages_and_repeats():
    x = torch.arange(32.0).view(1, 2, 4, 4)
    y = Widen(2, 2, 3)(x)
    assert y.shape == (1, 3, 2, 2)
    assert torch.equal(y[:, 0], y[:, 2])
    assert y[0, 0, 0, 0] == (0 + 1 + 4 + 5) / 4
    assert torch.equal(Widen(1, 2, 4)(x), torch.cat([x, x], dim=1))


def test_the_mlp_gets_shortcuts_where_they_fit(compose):
    """Written out; the first layer's input is real, and a layer that changes the width has none."""
    model = models.build(compose("block=bireal", "model.hidden=[6,6,4]"), (1, 2, 2), 3).eval()
    assert [name for name, _ in model.named_children()] == [
        *("flatten", "linear1", "norm_linear1", "block_linear2", "linear3", "norm_linear3", "output"),
    ]
    h = model.norm_linear1(model.linear1(torch.randn(5, 4)))
    block = model.block_linear2
    torch.testing.assert_close(block(h), h + block.norm_linear2(sign(h) @ sign(block.linear2.weight).T))
    with pytest.raises(ConfigError, match=r"block\.shortcut=per_conv: needs a layer with binary inputs that is as wide"):
        models.build(compose("block=bireal", "model.hidden=[6,5,4]"), (1, 2, 2), 3)


def test_the_cnn_gets_one_around_each_convolution_but_the_first(compose):
    config = compose("model=cnn", "block=bireal", "model.stages=[[4,4],[8]]", "model.hidden=[]")
    model = models.build(config, (3, 8, 8), 10).eval()
    assert sum(isinstance(module, Residual) for module in model.modules()) == 2
    x = torch.randn(2, 4, 8, 8)
    block = model.block_conv2
    y = nn.functional.max_pool2d(nn.functional.conv2d(sign(x), sign(block.conv2.weight), padding=1), 2)
    torch.testing.assert_close(block(x), nn.functional.avg_pool2d(x, 2) + block.norm_conv2(y))
    assert model(torch.randn(2, 3, 8, 8)).shape == (2, 10)


def test_the_average_head_sees_each_channels_mean(compose):
    model = models.build(compose("model=cnn", "model.head=average", "model.stages=[[4]]", "model.hidden=[6]"), (3, 9, 8), 10).eval()
    assert model.linear1.in_features == 4
    x = torch.randn(2, 3, 9, 8)
    features = model[:3](x)
    torch.testing.assert_close(model(x), model.output(model.norm_linear1(model.linear1(features.mean(dim=(2, 3))))))
