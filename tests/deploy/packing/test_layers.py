"""Layers alone, of every geometry, between a first layer and a head."""

import itertools

import pytest
import torch
from torch import nn

from bnn_train.binary.layers import BinaryConv2d, BinaryLinear
from bnn_train.binary.weights import Real, Sign
from bnn_train.deploy import reference
from bnn_train.errors import ConfigError

SHAPE = (2, 6, 9)


def around(layer, channels=11, seed=0, norm=True):
    """The layer behind a first one with `channels` outputs, before a head of as many inputs as it gives; each with its sign."""
    torch.manual_seed(seed)
    first = [BinaryConv2d(2, channels, 3, estimator=None), *([nn.BatchNorm2d(channels)] if norm else [])]
    with torch.no_grad():
        y = nn.Sequential(*first, layer).eval()(torch.zeros(2, *SHAPE))
    end = [nn.Flatten(), BinaryLinear(y[0].numel(), 4)]
    return nn.Sequential(*first, layer, *([nn.BatchNorm2d(y.shape[1])] if norm else []), *end)


GEOMETRIES = {
    "stride": {"kernel_size": 3, "stride": 2, "padding": 1},
    "stride without padding": {"kernel_size": 2, "stride": (1, 3)},
    "dilation": {"kernel_size": 3, "dilation": (1, 2), "padding": (1, 2)},
    "even kernel": {"kernel_size": (2, 4), "padding": (1, 2)},
    "wide kernel": {"kernel_size": (1, 5), "padding": (0, 2)},
    "same": {"kernel_size": (3, 5), "padding": "same", "dilation": 1},
    "valid": {"kernel_size": (4, 3), "padding": "valid"},
    "whole image": {"kernel_size": (4, 7)},
    "all borders": {"kernel_size": (7, 13), "padding": (3, 6)},
    "one place": {"kernel_size": 3, "stride": 9, "padding": 1},
}


@pytest.mark.parametrize("pad_value", [0, 1, -1])
@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_convolutions_of_every_geometry_agree(agree, random_statistics, geometry, pad_value):
    agree(random_statistics(around(BinaryConv2d(11, 10, pad_value=pad_value, **geometry))), SHAPE, count=5)


@pytest.mark.parametrize("pad_value", [0, 1, -1])
@pytest.mark.parametrize("groups", [2, 12])
def test_groups_agree(agree, random_statistics, groups, pad_value):
    layer = BinaryConv2d(12, 24, 3, pad_value=pad_value, padding=1, groups=groups)
    agree(random_statistics(around(layer, channels=12)), SHAPE, count=5)


@pytest.mark.parametrize("estimator", ["clipped", None, nn.ReLU(), nn.PReLU(), nn.Identity()], ids=str)
@pytest.mark.parametrize("binarizer", [Sign, Real])
@pytest.mark.parametrize("pad_value", [0, -1])
def test_every_estimator_and_binarizer_agrees(agree, random_statistics, estimator, binarizer, pad_value):
    layer = BinaryConv2d(11, 5, 3, binarizer(), estimator, pad_value=pad_value, padding=1)
    agree(random_statistics(around(layer)), SHAPE, count=5, certain=False)


@pytest.mark.parametrize("scaling", ["none", "mean", "learned"])
@pytest.mark.parametrize("norm", [True, False])
def test_biases_agree(agree, random_statistics, scaling, norm):
    """Without a scale torch may add the bias before the products, so that sums of signs are rounded too."""
    layer = BinaryConv2d(11, 9, 3, Sign(scaling=scaling), padding=1, bias=True)
    model = around(layer, norm=norm)
    model[-1] = BinaryLinear(model[-1].in_features, 4, Sign(scaling=scaling), bias=True)
    agree(random_statistics(model), SHAPE, count=5)


def test_a_bias_of_whole_numbers_leaves_signs_certain(agree):
    layer = BinaryConv2d(11, 9, 3, padding=1, bias=True)
    model = around(layer, norm=False).eval()
    layer.bias.data = torch.arange(-4.0, 5.0)
    packed = agree(model, SHAPE)
    assert all(op.rounding is None for op in packed.ops if op.kind == "conv2d" and op.name != "0")


def test_networks_without_any_batch_norm_agree(agree):
    layer = BinaryConv2d(11, 9, 3, padding=1)
    packed = agree(around(layer, norm=False).eval(), SHAPE)
    assert "affine" not in {op.kind for op in packed.ops}


POOLS = [
    nn.MaxPool2d(2),
    nn.MaxPool2d(3, stride=2, padding=1),
    nn.MaxPool2d(3, stride=1),
    nn.MaxPool2d((2, 3), ceil_mode=True),
    nn.MaxPool2d(2, stride=3, ceil_mode=True),
    nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True),
    *(
        nn.AvgPool2d(kernel, stride, padding, ceil, count)
        for (kernel, stride, padding), ceil, count in itertools.product(
            [(2, 2, 0), (3, 2, 1), ((2, 3), (1, 2), (1, 0)), ((4, 7), 9, 1)], (False, True), (False, True)
        )
    ),
    nn.AdaptiveAvgPool2d(1),
    nn.AdaptiveAvgPool2d((2, 7)),
    nn.AdaptiveAvgPool2d((None, 1)),
    nn.AdaptiveMaxPool2d((1, 7)),
]


@pytest.mark.parametrize("pool", POOLS, ids=lambda pool: " ".join(str(pool).split()))
def test_pools_before_and_behind_the_sign_agree(agree, random_statistics, pool):
    for layer in (pool, nn.Sequential(nn.BatchNorm2d(11), pool)):
        agree(random_statistics(around(layer)), SHAPE, count=5, certain=False)
    signed = BinaryConv2d(11, 11, 1)
    agree(random_statistics(around(nn.Sequential(signed, pool))), SHAPE, count=5)


@pytest.mark.parametrize("affine", [True, False])
def test_batch_norms_with_and_without_factors_agree(agree, random_statistics, affine):
    model = nn.Sequential(
        nn.Flatten(),
        BinaryLinear(108, 21),
        nn.BatchNorm1d(21, affine=affine),
        BinaryLinear(21, 4),
        nn.BatchNorm1d(4, affine=affine),
    )
    agree(random_statistics(model), SHAPE)


def test_several_affine_functions_in_a_row_agree(agree, random_statistics):
    model = nn.Sequential(
        *(nn.Flatten(), BinaryLinear(108, 21, Sign(scaling="mean"), bias=True), nn.BatchNorm1d(21), nn.BatchNorm1d(21)),
        *(BinaryLinear(21, 16, Sign(scaling="learned"), bias=True), nn.BatchNorm1d(16), nn.BatchNorm1d(16), nn.Linear(16, 4)),
    )
    agree(random_statistics(model), SHAPE)


@pytest.mark.parametrize("broken", ["running_mean", "running_var", "weight", "bias"])
def test_a_batch_norm_that_holds_no_numbers_is_refused(packed_of, broken):
    norm = nn.BatchNorm1d(4)
    getattr(norm, broken).data[1] = float("nan")
    with pytest.raises(ConfigError, match="no number"):
        packed_of(nn.Sequential(nn.Flatten(), BinaryLinear(108, 4), norm), SHAPE)


def test_a_channel_without_variance_and_without_eps_is_refused(packed_of):
    norm = nn.BatchNorm1d(4, eps=0)
    norm.running_var[1] = 0
    with pytest.raises(ConfigError, match="number"):
        packed_of(nn.Sequential(nn.Flatten(), BinaryLinear(108, 4), norm), SHAPE)


def test_gamma_0_gives_beta_itself(packed_of, random_pixels):
    norm = nn.BatchNorm1d(4)
    norm.weight.data.zero_()
    norm.bias.data = torch.tensor([0.1, -3.0, 1e-20, 7e5])
    norm.running_mean[:] = torch.tensor([1e6, 3.0, 0.0, -2.0])
    packed = packed_of(nn.Sequential(nn.Flatten(), BinaryLinear(108, 4), norm), SHAPE)
    scores = reference.run(packed, random_pixels(3, SHAPE))[-1]
    assert (scores == norm.bias.detach().numpy()).all()
