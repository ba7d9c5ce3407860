"""Channels that are the same for every image are taken out, and nothing changes."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from bnn_train.binary.layers import BinaryConv2d, BinaryLinear
from bnn_train.binary.ste import Ste
from bnn_train.deploy import reference

SHAPE = (2, 6, 6)


def constant(norm, dead):
    """Makes every channel a constant, -1 or +1 in turn, but for each `dead`-th one; 0 makes all of them constant."""
    for channel in range(norm.num_features):
        if not dead or channel % dead:
            norm.weight.data[channel] = 0
            norm.bias.data[channel] = 1.0 if channel % 2 else -1.0


def conv(n_in, n_out, pad_value=0, padding=1, **options):
    return BinaryConv2d(n_in, n_out, 3, pad_value=pad_value, padding=padding, **options)


def network(pad_value=0, padding=1, pool=True, dead=3):
    torch.manual_seed(0)
    norms = [nn.BatchNorm2d(13), nn.BatchNorm2d(11), nn.BatchNorm1d(17)]
    for norm in norms:
        norm.running_var.fill_(9)
        constant(norm, dead)
    places = (6 + 2 * (padding - 1)) // (2 if pool else 1)
    return nn.Sequential(
        *(BinaryConv2d(2, 13, 3, estimator=None, padding=1), norms[0]),
        *(conv(13, 11, pad_value, padding), *([nn.MaxPool2d(2)] if pool else []), norms[1], nn.Flatten()),
        *(BinaryLinear(11 * places**2, 17), norms[2], nn.Linear(17, 4)),
    ).eval()


@pytest.fixture
def both(packed_of, monkeypatch):
    """both(model): what is packed with constant channels, and without."""

    def function(model):
        with monkeypatch.context() as patch:
            patch.setattr("bnn_train.deploy.packing.pack.without_constants", lambda output: output)
            with_them = packed_of(model, SHAPE)
        return with_them, packed_of(model, SHAPE)

    return function


def outputs(packed):
    return [op.settings["outputs"] for op in packed.ops if op.kind in ("linear", "conv2d")]


def bits(packed):
    return sum(tensor.nbytes for op in packed.ops for tensor in op.tensors.values())


@pytest.mark.parametrize(
    ("pad_value", "padding", "pool", "dead"), list(itertools.product([0, 1, -1], [0, 1], [False, True], [0, 3]))
)
def test_nothing_changes_but_the_size(both, agree, random_pixels, pad_value, padding, pool, dead):
    model = network(pad_value, padding, pool, dead)
    with_them, without = both(model)
    images = random_pixels(9, SHAPE)
    assert np.array_equal(reference.run(with_them, images)[-1], reference.run(without, images)[-1])
    assert bits(without) < bits(with_them)
    agree(model, SHAPE, certain=False)


def test_channels_between_whole_sums_go_and_one_stays(both):
    with_them, without = both(network(padding=0, dead=3))
    # The first layer has real inputs here, and the signs before the last real layer are real numbers' too: both stay.
    assert outputs(with_them) == [13, 11, 17, 4]
    assert outputs(without) == [13, 4, 17, 4]
    assert outputs(both(network(padding=0, dead=0))[1]) == [13, 1, 17, 4]


@pytest.mark.parametrize(("pad_value", "left"), [(0, 9), (1, 6), (-1, 6)])
def test_only_channels_that_are_the_pad_value_go_before_a_padded_layer(both, pad_value, left):
    """Of 9 channels 0, 3 and 6 vary; of the others 3 are +1 and 3 are -1."""
    norm = nn.BatchNorm2d(9)
    norm.running_var.fill_(9)
    constant(norm, 3)
    model = nn.Sequential(conv(2, 5), conv(5, 9), norm, conv(9, 4, pad_value), nn.Flatten(), BinaryLinear(144, 3)).eval()
    assert outputs(both(model)[1])[1] == left


def test_outputs_without_any_edge_go(both, random_pixels):
    torch.manual_seed(0)
    first, second, third = BinaryLinear(72, 16), BinaryLinear(16, 12), BinaryLinear(12, 5)
    for layer, every in ((first, 2), (second, 3)):
        pruned = torch.zeros_like(layer.weight, dtype=torch.bool)
        pruned[::every] = True
        layer.prune(pruned)
    with_them, without = both(nn.Sequential(nn.Flatten(), first, second, third).eval())
    assert outputs(without) == [8, 8, 5]
    assert not any("mask" in op.tensors for op in without.ops)
    images = random_pixels(9, SHAPE)
    assert np.array_equal(reference.run(with_them, images)[-1], reference.run(without, images)[-1])


def test_a_constant_makes_constants_behind_it(both, random_pixels):
    """The first layer's channels are constant but for one; no sum of the second then reaches its threshold."""
    norms = [nn.BatchNorm1d(9), nn.BatchNorm1d(6)]
    constant(norms[0], 9)
    norms[1].running_mean.copy_(torch.tensor([8.0, 8.0, 0.0, 0.0, -8.0, -8.0]))
    torch.manual_seed(3)
    second = BinaryLinear(9, 6)
    second.weight.data[:, 1:] = 0.5
    second.weight.data[:, 1::2] *= -1
    model = nn.Sequential(nn.Flatten(), BinaryLinear(72, 9), norms[0], second, norms[1], BinaryLinear(6, 3)).eval()
    with_them, without = both(model)
    sizes = outputs(without)
    assert sizes[0] == 1
    assert sizes[1] <= 2
    images = random_pixels(9, SHAPE)
    assert np.array_equal(reference.run(with_them, images)[-1], reference.run(without, images)[-1])


@pytest.mark.parametrize("groups", [1, 2])
def test_inputs_of_groups_stay(both, random_pixels, groups):
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(8)
    constant(norm, 4)
    layers = [conv(2, 8), conv(8, 8, padding=0), norm, conv(8, 8, padding=0, groups=groups), nn.Flatten(), nn.Linear(32, 3)]
    with_them, without = both(nn.Sequential(*layers).eval())
    assert (outputs(with_them) == outputs(without)) == (groups == 2)
    images = random_pixels(5, SHAPE)
    assert np.array_equal(reference.run(with_them, images)[-1], reference.run(without, images)[-1])


def test_a_sign_that_is_added_too_keeps_its_channels(both):
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.flat, self.first, self.norm, self.sign = nn.Flatten(), BinaryLinear(72, 8), nn.BatchNorm1d(8), Ste()
            self.next, self.head = BinaryLinear(8, 8, estimator=None), nn.Linear(8, 3)
            constant(self.norm, 4)

        def forward(self, x):
            y = self.sign(self.norm(self.first(self.flat(x))))
            return self.head(y + self.next(y))

    with_them, without = both(Shared().eval())
    assert outputs(with_them) == outputs(without)
