"""What rounding can make: torch keeps within it, and an error does not."""

import dataclasses
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from bnn_train.binary.layers import BinaryConv2d, BinaryLinear
from bnn_train.binary.weights import Sign
from bnn_train.deploy import reference
from bnn_train.deploy.bounds import UNIT, _error, bounds
from bnn_train.deploy.packed import Op, Value
from bnn_train.models.around import Gated, Residual, Shift

SHAPE = (2, 5, 6)


def network(kind, seed):
    torch.manual_seed(seed)
    if kind == "mlp":
        return nn.Sequential(
            *(nn.Flatten(), BinaryLinear(60, 24, estimator=None), nn.BatchNorm1d(24)),
            *(BinaryLinear(24, 24, Sign(scaling="mean"), bias=True), nn.BatchNorm1d(24), nn.Linear(24, 4)),
        )
    if kind == "block":
        gated = Gated(OrderedDict(conv=BinaryConv2d(10, 10, 3, padding=1, bias=True), norm=nn.BatchNorm2d(10)), 10, 10)
        rprelu = [Shift(10, True), nn.PReLU(10), Shift(10, True)]
        for shift in rprelu[::2]:
            shift.shift.data.normal_()
        first = [nn.Conv2d(2, 10, 3, padding=1), nn.BatchNorm2d(10), nn.Hardtanh(-1.5, 2)]
        return nn.Sequential(*first, Residual(OrderedDict(gated=gated)), *rprelu, nn.Flatten(), nn.Linear(300, 4))
    estimator = {"real": nn.PReLU, "tanh": nn.Tanh}.get(kind, lambda: "clipped")
    return nn.Sequential(
        *(BinaryConv2d(2, 10, 3, estimator=None, padding=1), nn.BatchNorm2d(10)),
        *(BinaryConv2d(10, 12, 3, None, estimator(), pad_value=-1, padding=1, bias=True), nn.AvgPool2d(2), nn.BatchNorm2d(12)),
        *(BinaryConv2d(12, 6, 2, None, estimator(), bias=True), nn.Sigmoid(), nn.Flatten(), nn.Linear(12, 4)),
    )


def by_hand(model, packed, images, torch_scores):
    values = reference.run(packed, images)
    return np.abs(values[-1] - torch_scores(model, images)), bounds(packed, values)


@pytest.mark.parametrize("kind", ["mlp", "cnn", "real", "tanh", "block"])
@pytest.mark.parametrize("seed", range(6))
def test_torch_keeps_within_them(packed_of, random_statistics, random_pixels, torch_scores, kind, seed):
    model = random_statistics(network(kind, seed), seed)
    packed = packed_of(model, SHAPE)
    differ, found = by_hand(model, packed, random_pixels(60, SHAPE, seed), torch_scores)
    inside = (differ <= found.scores).all(axis=1)
    assert inside[~found.uncertain].all()
    assert inside.mean() > 0.9


def changed(packed, number, name, change):
    """The network with a tensor of an operation changed in place by `change`."""
    op = packed.ops[number]
    tensor = op.tensors[name].copy()
    change(tensor)
    ops = list(packed.ops)
    ops[number] = dataclasses.replace(op, tensors={**op.tensors, name: tensor})
    return dataclasses.replace(packed, ops=tuple(ops))


def first_of(packed, kind, after=0):
    return next(i for i, op in enumerate(packed.ops) if op.kind == kind and i >= after)


def test_one_wrong_bit_or_threshold_is_outside(packed_of, random_statistics, random_pixels, torch_scores):
    model = random_statistics(network("mlp", 0))
    packed = packed_of(model, SHAPE)
    images = random_pixels(200, SHAPE)
    layer, sign = first_of(packed, "linear"), first_of(packed, "sign")
    head = len(packed.ops) - 1

    def flip(weight):
        weight[0] ^= 128

    def raise_threshold(threshold):
        threshold[0] += 3 * 255

    def move(weight):
        weight[0, 0] *= 1 + 2.0**-8

    right, found = by_hand(model, packed, images, torch_scores)
    assert ((right <= found.scores).all(axis=1) | found.uncertain).all()
    for number, name, change in ((layer, "weight", flip), (sign, "threshold", raise_threshold), (head, "weight", move)):
        wrong = changed(packed, number, name, change)
        differ, found = by_hand(model, wrong, images, torch_scores)
        outside = (differ > found.scores).any(axis=1) & ~found.uncertain
        assert outside.any(), (number, name)


def test_whole_sums_of_signs_have_none(packed_of, random_pixels, torch_scores):
    torch.manual_seed(0)
    model = nn.Sequential(BinaryConv2d(2, 8, 3, padding=1), BinaryConv2d(8, 8, 3, padding=1), nn.Flatten(), BinaryLinear(240, 4))
    packed = packed_of(model, SHAPE)
    differ, found = by_hand(model, packed, random_pixels(30, SHAPE), torch_scores)
    assert not differ.any()
    assert not found.scores.any()
    assert not found.uncertain.any()


def test_a_channel_that_never_flips_makes_no_image_uncertain(packed_of, random_pixels):
    """Its threshold is the smallest sum that there is, which an output without edges always has."""
    torch.manual_seed(0)
    first = BinaryLinear(60, 16, estimator=None)
    pruned = torch.zeros_like(first.weight, dtype=torch.bool)
    pruned[::2] = True
    first.prune(pruned)
    packed = packed_of(nn.Sequential(nn.Flatten(), first, BinaryLinear(16, 3)), SHAPE)
    values = reference.run(packed, random_pixels(50, SHAPE))
    assert bounds(packed, values).uncertain.mean() < 0.2


def test_an_image_on_the_threshold_is_uncertain(packed_of):
    """Equal pixels cancel: whether torch's float32 sum is above or below 0 is a matter of order."""
    layer = BinaryLinear(60, 3, estimator=None)
    layer.weight.data[:] = torch.tensor([1.0, -1.0]).repeat(30)
    packed = packed_of(nn.Sequential(nn.Flatten(), layer, BinaryLinear(3, 2)), SHAPE)
    values = reference.run(packed, np.full((1, *SHAPE), 77, np.uint8))
    assert not values[2].any()
    assert bounds(packed, values).uncertain.all()


def test_a_bias_beside_a_whole_number_is_uncertain_where_the_sum_is_there(packed_of):
    """With bias -2 + 2^-20 a sum of 2 is above 0 by less than torch may round where it adds the bias first."""
    head = BinaryLinear(60, 3, bias=True)
    head.weight.data.fill_(1.0)
    head.bias.data[:] = torch.tensor([-2.0 + 2.0**-20, -2.5, -2.0])
    packed = packed_of(nn.Sequential(nn.Flatten(), head, BinaryLinear(3, 2)), SHAPE)
    bright, dark = np.full(60, 255, np.uint8), np.zeros(60, np.uint8)
    images = np.stack([np.where(np.arange(60) < count, bright, dark).reshape(SHAPE) for count in (30, 31, 32)])  # sums 0, 2, 4
    values = reference.run(packed, images)
    assert bounds(packed, values).uncertain.tolist() == [False, True, False]


def test_dead_channels_with_huge_scales_are_within_them(packed_of, random_pixels, torch_scores):
    """Weights of a row are rounded to multiples of a share of its largest, here a million times the others."""
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(24)
    norm.running_var[:] = 400
    norm.running_var[0] = 1e-12
    norm.eps = 0
    first = BinaryLinear(60, 24)
    pruned = torch.zeros_like(first.weight, dtype=torch.bool)
    pruned[0] = True
    first.prune(pruned)
    model = nn.Sequential(nn.Flatten(), first, norm, nn.Linear(24, 4)).eval()
    packed = packed_of(model, SHAPE)
    differ, found = by_hand(model, packed, random_pixels(50, SHAPE), torch_scores)
    assert (differ <= found.scores).all()
    assert not found.uncertain.any()


def test_a_sigmoid_is_as_steep_as_it_is_where_it_is_and_never_off_by_more_than_one():
    x = np.array([[0.0, 3.0, 3.0, -40.0]], np.float32)
    error = np.array([[1e-3, 1e-3, 1e9, 1e-3]])
    op, result = Op("sigmoid", "gate", (0,)), Value("real", (4,))
    found = _error(op, result, [x], [error], reference.sigmoid(op, result, x)) - 4 * UNIT
    slope = np.exp(-2.999) / (1 + np.exp(-2.999)) ** 2
    assert found[0, :3] == pytest.approx([0.25e-3, slope * 1e-3, 1.0])
    assert 0 <= found[0, 3] < 1e-18
