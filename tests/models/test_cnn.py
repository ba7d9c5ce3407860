import pytest
import torch
from torch import nn

from bnn_train import models
from bnn_train.binary.centred import CentredConv2d
from bnn_train.binary.layers import BinaryConv2d, BinaryLinear
from bnn_train.errors import ConfigError


def test_blocks_follow_binarynet(compose):
    model = models.build(compose("model=cnn", "model.stages=[[4,5],[6]]", "model.hidden=[7]"), (3, 8, 8), 10)
    assert [type(layer).__name__ for layer in model] == [
        *("BinaryConv2d", "BatchNorm2d"),
        *("BinaryConv2d", "MaxPool2d", "BatchNorm2d"),
        *("BinaryConv2d", "MaxPool2d", "BatchNorm2d"),
        *("Flatten", "BinaryLinear", "BatchNorm1d", "Linear"),
    ]
    assert model.linear1.in_features == 6 * 2 * 2
    layers = [layer for layer in model if isinstance(layer, BinaryConv2d | BinaryLinear)]
    assert [layer.estimator is not None for layer in layers] == [False, True, True, True]


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 33, 47), (3, 224, 224)])
def test_default_network_takes_images_of_many_sizes(compose, shape):
    model = models.build(compose("model=cnn"), shape, 5).eval()
    assert model(torch.randn(2, *shape)).shape == (2, 5)


def test_without_hidden_layers_features_go_to_the_output(compose):
    model = models.build(compose("model=cnn", "model.stages=[[4,4]]", "model.hidden=[]"), (1, 8, 8), 10)
    assert [type(layer).__name__ for layer in model][-3:] == ["BatchNorm2d", "Flatten", "Linear"]


def test_pad_value_surrounds_binary_inputs_alone(compose):
    model = models.build(compose("model=cnn", "model.pad_value=-1"), (3, 32, 32), 10)
    assert [m.pad_value for m in model if isinstance(m, BinaryConv2d)] == [0, -1, -1, -1, -1, -1]
    model = models.build(compose("model=cnn", "model.pad_value=1", "model.binarize_input=true"), (3, 32, 32), 10)
    assert [m.pad_value for m in model if isinstance(m, BinaryConv2d)] == [1] * 6


def test_images_too_small_for_the_pools(compose):
    with pytest.raises(ConfigError, match=r"model\.stages=.*these are 8x7: use at most 2 stages or larger images"):
        models.build(compose("model=cnn"), (1, 8, 7), 10)
    with pytest.raises(ConfigError, match="at least one stage"):
        compose("model=cnn", "model.stages=[]")
    with pytest.raises(ConfigError, match=r"model\.kernel_size=9: is larger than the images, 8x8"):
        models.build(compose("model=cnn", "model.kernel_size=9"), (1, 8, 8), 10)


STEMS = [("binary", BinaryConv2d, 10), ("real", nn.Conv2d, 10), ("centred", CentredConv2d, 8)]


@pytest.mark.parametrize(("stem", "kind", "size"), STEMS)
def test_the_first_convolution_is_what_stem_says(compose, stem, kind, size):
    model = models.build(compose("model=cnn", "model.stages=[[4],[6]]", f"model.stem={stem}"), (3, 10, 10), 5)
    assert type(model.conv1) is kind
    assert model.conv1(torch.zeros(2, 3, 10, 10)).shape == (2, 4, size, size)
    assert model(torch.zeros(2, 3, 10, 10)).shape == (2, 5)
    assert isinstance(model.conv2, BinaryConv2d)


def test_a_centred_stem_needs_images_that_are_larger_by_its_kernel(compose):
    with pytest.raises(ConfigError, match=r"model\.stages=.*these are 8x9: use at most 2 stages or larger images"):
        models.build(compose("model=cnn", "model.stem=centred"), (1, 8, 9), 10)
    with pytest.raises(ConfigError, match=r"model\.stem=centred: a single weight"):
        compose("model=cnn", "model.stem=centred", "model.kernel_size=1")
    with pytest.raises(ConfigError, match=r"model\.stem=real: has real inputs"):
        compose("model=cnn", "model.stem=real", "model.binarize_input=true")
