import torch
from torch import nn

from bnn_train import models
from bnn_train.binary.layers import BinaryConv2d
from bnn_train.binary.ste import sign
from bnn_train.errors import ConfigError
from bnn_train.models.layer_table import layer_rows

import pytest  # isort: skip


def totals(compose, *overrides, model="resnet20"):
    network = models.build(compose(f"model={model}", *overrides), (3, 32, 32), 10)
    rows = layer_rows(network, torch.rand(1, 3, 32, 32))
    return [sum(getattr(row, key) for row in rows) for key in ("parameters", "binary_macs", "real_macs")]


def test_the_published_counts(compose):
    """16, 32, 64 channels on 32x32, 16x16, 8x8; without a convolution in the shortcut 269,722 parameters."""
    binary = (6 * 16 * 16 * 32**2 + (16 * 32 + 5 * 32 * 32) * 16**2 + (32 * 64 + 5 * 64 * 64) * 8**2) * 9
    stem_and_head = 3 * 16 * 9 * 32**2 + 64 * 10
    assert totals(compose) == [272_474, binary, stem_and_head + 16 * 32 * 16**2 + 32 * 64 * 8**2]
    assert totals(compose, "model.downsample=pool") == [269_722, binary, stem_and_head]
    assert (round(binary, -5), round(totals(compose)[2], -5)) == (40_100_000, 700_000)


def test_the_published_counts_of_resnet18(compose):
    """11.17 million parameters and 0.56 billion multiply-accumulates, as of the real network for CIFAR-10 (without BatchNorm's)."""
    stages = [4 * 64 * 64 * 32**2, *((n * n // 2 + 3 * n * n) * size**2 for n, size in ((128, 16), (256, 8), (512, 4)))]
    past = sum(n * n // 2 * size**2 for n, size in ((128, 16), (256, 8), (512, 4)))
    binary, real = 9 * sum(stages), 3 * 64 * 9 * 32**2 + past + 512 * 10
    for shortcut in ("per_conv", "per_block"):
        assert totals(compose, f"block.shortcut={shortcut}", model="resnet18") == [11_173_962, binary, real]
    assert (binary, real, round((binary + real) / 1e9, 2)) == (547_356_672, 8_066_048, 0.56)
    assert totals(compose, "model.downsample=pool", model="resnet18")[0] == 11_000_138


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


def test_a_shortcut_per_block_goes_around_two(compose):
    """Written out for the first block and for the first of the second stage, with an activation behind each layer and each sum."""
    model = models.build(compose("model=resnet20", "model.downsample=pool", "block=resnet"), (3, 8, 8), 10).eval()
    assert [name for name, _ in model.named_children()][:3] == ["stem", "norm_stem", "activation_stem"]
    assert list(dict(model.stage1.named_children())) == [f"{kind}{i}" for i in (1, 2, 3) for kind in ("block", "activation")]
    x = torch.randn(2, 16, 8, 8)
    for block, stride in ((model.stage1.block1, 1), (model.stage2.block1, 2)):
        past = x if stride == 1 else torch.cat([nn.functional.avg_pool2d(x, 2)] * 2, dim=1)
        y = block.norm1(nn.functional.conv2d(sign(x), sign(block.conv1.weight), stride=stride, padding=1)).clamp(-1, 1)
        y = block.norm2(nn.functional.conv2d(sign(y), sign(block.conv2.weight), padding=1))
        torch.testing.assert_close(block(x), past + y)
    torch.testing.assert_close(model.stage1.activation1(3 * x), (3 * x).clamp(-1, 1))


def test_images_that_are_too_small(compose):
    with pytest.raises(ConfigError, match="model=resnet20: halves images twice, but these are 3x8"):
        models.build(compose("model=resnet20"), (1, 3, 8), 10)
    with pytest.raises(ConfigError, match="model=resnet18: halves images 3 times, but these are 8x7: use images of 8x8 or more"):
        models.build(compose("model=resnet18"), (1, 8, 7), 10)


def test_the_twin_has_the_same_structure(compose):
    binary, twin = (models.build(compose("model=resnet20", *more), (3, 8, 8), 3) for more in ((), ("ste=none", "weights=real")))
    assert binary.state_dict().keys() == twin.state_dict().keys()
    assert twin(torch.randn(2, 3, 8, 8)).shape == (2, 3)
