from itertools import pairwise

import pytest
import torch
from torch import nn

from bnn_train import models
from bnn_train.binary import windows
from bnn_train.binary.layers import BinaryLayer, BinaryLinear
from bnn_train.binary.progressive import Progressive
from bnn_train.binary.weights import Stompp


def windows_of(model):
    """{layer: windows of its weight and, where it has one, its input}."""
    return {
        name: [(part.start, part.end) for part in layer.modules() if isinstance(part, Progressive)]
        for name, layer in model.named_modules()
        if isinstance(layer, BinaryLayer)
    }


def test_windows_follow_each_other_from_the_input_to_the_output(compose):
    model = models.build(compose("weights=stompp", "weights.end=0.75", "model.hidden=[4,4,4]"), (1, 8, 8), 10)
    assert windows_of(model) == {"linear1": [(0, 0.25)], "linear2": [(0.25, 0.5)] * 2, "linear3": [(0.5, 0.75)] * 2}


@pytest.mark.parametrize("end", [0.1, 0.3, 0.7, 0.8, 0.95])
def test_they_cover_the_way_to_the_end_without_gaps_to_the_last_bit(compose, end):
    model = models.build(compose("weights=stompp", f"weights.end={end}", "model=resnet20"), (3, 32, 32), 10)
    found = windows_of(model).values()
    assert all(len(set(parts)) == 1 for parts in found)
    edges = [parts[0] for parts in found]
    assert edges[0][0] == 0
    assert edges[-1][1] == end
    assert all(before[1] == after[0] for before, after in pairwise(edges))


def test_real_activations_leave_the_weights_their_windows(compose):
    model = models.build(compose("weights=stompp", "ste=none", "model.hidden=[4,4]"), (1, 8, 8), 10)
    assert windows_of(model) == {"linear1": [(0, 0.4)], "linear2": [(0.4, 0.8)]}


def test_other_networks_have_no_windows(compose):
    model = models.build(compose("model.hidden=[4,4]"), (1, 8, 8), 10)
    assert windows_of(model) == {"linear1": [], "linear2": []}
    assert windows.unfinished(model) == []
    assert not any("mask" in name for name in model.state_dict())


def test_a_network_of_ones_own_says_which_layers_are_not_binary_yet():
    model = nn.Sequential(*(BinaryLinear(4, 4, Stompp(), Progressive()) for _ in range(2)))
    assert windows_of(model) == {"0": [(0, 1)] * 2, "1": [(0, 1)] * 2}  # each has the whole run, until they are spread
    windows.spread(model, 0.5)
    for progress, unfinished in ((0.0, ["0", "1"]), (0.25, ["1"]), (0.4, ["1"]), (0.5, [])):
        for module in model.modules():
            if isinstance(module, Progressive):
                module.progress = progress
        model(torch.ones(3, 4))
        assert windows.unfinished(model) == unfinished
