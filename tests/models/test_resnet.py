import torch
from torch import nn

from bnn_train import models
from bnn_train.binary.layers import BinaryConv2d
from bnn_train.binary.ste import sign
from bnn_train.errors import ConfigError
from bnn_train.models.layer_table import layer_rows

import pytest  # isort: skip


def totals(compose, *overrides):
    rows = layer_rows(models.build(compose("model=resnet20", *overrides), (3, 32, 32), 10), torch.rand(1, 3, 32, 32))
    return [sum(getattr(row, key) for row in rows) for key in ("parameters", "binary_macs", "real_macs")]


def test_the_published_counts(compose):
    """16, 32, 64 channels on 32x32, 16x16, 8x8; without a convolution in the shortcut 269,722 parameters."""
    binary = (6 * 16 * 16 * 32**2 + (16 * 32 + 5 * 32 * 32) * 16**2 + (32 * 64 + 5 * 64 * 64) * 8**2) * 9
    stem_and_head = 3 * 16 * 9 * 32**2 + 64 * 10
    assert totals(compose) == [272_474, binary, stem_and_head + 16 * 32 * 16**2 + 32 * 64 * 8**2]
    assert totals(compose, "model.downsample=pool") == [269_722, binary, stem_and_head]
    assert (round(binary, -5), round(totals(compose)[2], -5)) == (40_100_000, 700_000)


@pytest.mark.parametrize("downsample", ["conv", "pool"])
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (3, 33, 47), (3, 4, 5)])
def test_images_of_many_sizes(compose, downsample, shape):
    model = models.build(compose("model=resnet20", f"model.downsample={downsample}"), shape, 5).eval()
    assert model(torch.randn(2, *shape)).shape == (2, 5)


def test_a_shortcut_goes_around_each_binary_convolution(compose):
    """Written out for the first block and for the first of the second stage."""
    model = models.build(compose("model=resnet20", "model.downsample=pool"), (3, 8, 8), 10).eval()
    assert sum(isinstance(module, BinaryConv2d) for module in model.modules()) == 18
    x = torch.randn(2, 16, 8, 8)
    block = model.stage1.block1
    y = nn.functional.conv2d(sign(x), sign(block.conv.weight), padding=1)
    torch.testing.assert_close(block(x), x + block.norm(y))
    block = model.stage2.block1
    y = nn.functional.conv2d(sign(x), sign(block.conv.weight), stride=2, padding=1)
    pooled = nn.functional.avg_pool2d(x, 2)
    torch.testing.assert_close(block(x), torch.cat([pooled, pooled], dim=1) + block.norm(y))


def test_images_that_are_too_small(compose):
    with pytest.raises(ConfigError, match="model=resnet20: halves images twice, but these are 3x8"):
        models.build(compose("model=resnet20"), (1, 3, 8), 10)


def test_the_twin_has_the_same_structure(compose):
    binary, twin = (models.build(compose("model=resnet20", *more), (3, 8, 8), 3) for more in ((), ("ste=none", "weights=real")))
    assert binary.state_dict().keys() == twin.state_dict().keys()
    assert twin(torch.randn(2, 3, 8, 8)).shape == (2, 3)
