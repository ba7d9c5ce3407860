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


def test_the_order_of_xnor_net_in_a_stack(compose):
    """BatchNorm - [sign] layer - ReLU; the first layer, whose inputs are real, has its BatchNorm behind it."""
    config = compose("model=cnn", "block=xnor", "model.stages=[[4,5]]", "model.hidden=[6]")
    model = models.build(config, (1, 4, 4), 3).eval()
    assert [name for name, _ in model.named_children()] == [
        *("conv1", "norm_conv1", "activation_conv1"),
        *("norm_conv2", "conv2", "pool2", "activation_conv2"),
        *("flatten", "norm_linear1", "linear1", "activation_linear1", "output"),
    ]
    x = torch.randn(2, 1, 4, 4)
    h = model.norm_conv1(nn.functional.conv2d(x, sign(model.conv1.weight), padding=1)).clamp(min=0)
    h = nn.functional.conv2d(sign(model.norm_conv2(h)), sign(model.conv2.weight), padding=1).clamp(min=0)
    h = nn.functional.max_pool2d(h, 2).flatten(1)
    h = (sign(model.norm_linear1(h)) @ sign(model.linear1.weight).T).clamp(min=0)
    torch.testing.assert_close(model(x), model.output(h))


def test_with_batch_norm_before_the_sign_a_binary_output_still_gives_scores(compose):
    model = models.build(compose("block=xnor", "model.hidden=[6]", "model.binarize_output=true"), (1, 2, 2), 3)
    assert [name for name, _ in model.named_children()][-3:] == ["norm_output", "output", "norm_scores"]


def test_the_order_of_reactnet(compose):
    """Shift - [sign] layer - BatchNorm, a shortcut around them, RPReLU behind the sum."""
    model = models.build(compose("model=cnn", "block=reactnet", "model.stages=[[4,4]]", "model.hidden=[]"), (1, 4, 4), 3).eval()
    block = model.block_conv2
    assert [name for name, _ in block.named_children()] == ["shift_conv2", "conv2", "pool2", "norm_conv2", "shortcut"]
    block.shift_conv2.shift.data.normal_()
    x = torch.randn(2, 4, 4, 4)
    shifted = x + block.shift_conv2.shift.view(4, 1, 1)
    y = nn.functional.max_pool2d(nn.functional.conv2d(sign(shifted), sign(block.conv2.weight), padding=1), 2)
    torch.testing.assert_close(block(x), nn.functional.avg_pool2d(x, 2) + block.norm_conv2(y))
    assert list(dict(model.named_children()))[-4:] == ["block_conv2", "activation_conv2", "flatten", "output"]


def test_the_order_of_real_to_binary(compose):
    """The gate sees what its layer's BatchNorm sees, and multiplies what the layer gives."""
    model = models.build(
        compose("model=cnn", "block=real_to_binary", "model.stages=[[8,8]]", "model.hidden=[]"), (1, 4, 4), 3
    ).eval()
    block = model.block_conv2
    inner = block.gated_conv2
    assert [name for name, _ in inner.named_children()] == ["norm_conv2", "conv2", "pool2", "gate"]
    x = torch.randn(2, 8, 4, 4)
    y = nn.functional.conv2d(sign(inner.norm_conv2(x)), sign(inner.conv2.weight), padding=1)
    y = nn.functional.max_pool2d(y, 2) * inner.gate(x)[:, :, None, None]
    torch.testing.assert_close(block(x), y + nn.functional.avg_pool2d(x, 2))


def test_the_real_twin_of_recu_divides_by_no_deviation(compose):
    """In training it would see other activations than in evaluation."""
    names = [type(m).__name__ for m in models.build(compose("block=recu", "ste=none", "weights=real"), (1, 2, 2), 3).modules()]
    assert "UnitVariance" not in names
    names = [type(m).__name__ for m in models.build(compose("block=recu"), (1, 2, 2), 3).modules()]
    assert names.count("UnitVariance") == 2
