import pytest
import torch

from bnn_train import models
from bnn_train.errors import ConfigError
from bnn_train.models.layer_table import layer_rows


def test_the_published_counts(compose):
    """Caffe's LeNet on MNIST has 431,080 numbers, 80 of them biases of layers that BatchNorm follows here."""
    rows = {row.name: row for row in layer_rows(models.build(compose("model=lenet"), (1, 28, 28), 10), torch.rand(1, 1, 28, 28))}
    weights = {"conv1": 1 * 20 * 25, "conv2": 20 * 50 * 25, "linear1": 50 * 16 * 500, "output": 500 * 10}
    assert sum(weights.values()) + 20 + 50 + 500 + 10 == 431_080
    assert sum(row.parameters for row in rows.values()) == sum(weights.values()) + 10 + 2 * (20 + 50 + 500)
    assert {name for name, row in rows.items() if row.binary_weights} == {"conv2", "linear1"}
    assert rows["conv2"].binary_macs + rows["linear1"].binary_macs == weights["conv2"] * 8 * 8 + weights["linear1"] == 2_000_000
    assert sum(row.real_macs for row in rows.values()) == weights["conv1"] * 24 * 24 + weights["output"]


@pytest.mark.parametrize(
    ("shape", "features"), [((3, 32, 32), 50 * 25), ((1, 8, 8), 50 * 4), ((1, 16, 15), 50 * 4 * 3), ((3, 4, 5), 50)]
)
def test_images_of_many_sizes(compose, shape, features):
    """Below 16 pixels convolutions are padded."""
    model = models.build(compose("model=lenet"), shape, 5).eval()
    assert model.linear1.in_features == features
    assert model(torch.randn(2, *shape)).shape == (2, 5)


def test_images_that_are_too_small(compose):
    with pytest.raises(ConfigError, match="model=lenet: halves images twice, but these are 3x8: use images of 4x4 or more"):
        models.build(compose("model=lenet"), (1, 3, 8), 10)
