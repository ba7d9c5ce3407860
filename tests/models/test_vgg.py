import pytest
import torch

from bnn_train import models
from bnn_train.binary.layers import BinaryConv2d, BinaryLinear
from bnn_train.errors import ConfigError
from bnn_train.models.layer_table import layer_rows

CONVOLUTIONS = [(3, 128, 32), (128, 128, 32), (128, 256, 16), (256, 256, 16), (256, 512, 8), (512, 512, 8)]  # in, out, side
WEIGHTS = [9 * n_in * n_out for n_in, n_out, _ in CONVOLUTIONS]
MACS = [9 * n_in * n_out * side**2 for n_in, n_out, side in CONVOLUTIONS]


def totals(compose, model):
    rows = layer_rows(models.build(compose(f"model={model}"), (3, 32, 32), 10), torch.rand(1, 3, 32, 32))
    return {key: sum(getattr(row, key) for row in rows) for key in ("parameters", "binary_weights", "binary_macs", "real_macs")}


def test_the_published_counts_of_vgg_small(compose):
    """4.66 million parameters, the first and the last layer real."""
    head, norms = 512 * 16 * 10, 2 * sum(n_out for _, n_out, _ in CONVOLUTIONS)
    found = totals(compose, "vgg_small")
    assert found == {
        "parameters": sum(WEIGHTS) + head + 10 + norms,
        "binary_weights": sum(WEIGHTS[1:]),
        "binary_macs": sum(MACS[1:]),
        "real_macs": MACS[0] + head,
    }
    assert round(found["parameters"] / 1e6, 2) == 4.66


def test_the_published_counts_of_binarynet(compose):
    """14.02 million weights, all binary; the first layer's inputs are real."""
    linear = 512 * 16 * 1024 + 1024 * 1024 + 1024 * 10
    found = totals(compose, "binarynet")
    assert found["binary_weights"] == sum(WEIGHTS) + linear == 14_022_016
    assert (found["binary_macs"], found["real_macs"]) == (sum(MACS[1:]) + linear, MACS[0])
    assert found["parameters"] == 14_022_016 + 2 * (sum(n_out for _, n_out, _ in CONVOLUTIONS) + 1024 + 1024 + 10)


def test_the_order_of_their_layers(compose):
    with torch.device("meta"):
        small, all_binary = (models.build(compose(f"model={name}"), (3, 32, 32), 10, torch.device("meta")) for name in NAMES)
    stack = ["conv1", "norm_conv1", "conv2", "pool2", "norm_conv2", "conv3", "norm_conv3", "conv4", "pool4", "norm_conv4"]
    stack += ["conv5", "norm_conv5", "conv6", "pool6", "norm_conv6", "flatten"]
    ends = ["linear1", "norm_linear1", "linear2", "norm_linear2", "output", "norm_output"]
    assert [name for name, _ in small.named_children()] == [*stack, "output"]
    assert [name for name, _ in all_binary.named_children()] == [*stack, *ends]
    assert not any(isinstance(layer, BinaryConv2d | BinaryLinear) for layer in (small.conv1, small.output))


NAMES = ("vgg_small", "binarynet")


@pytest.mark.parametrize("name", NAMES)
def test_images_that_are_too_small(compose, name):
    message = f"model={name}: halves images 3 times, but these are 7x8: use images of 8x8 or more"
    with pytest.raises(ConfigError, match=message):
        models.check(compose(f"model={name}"), (1, 7, 8), 10)
