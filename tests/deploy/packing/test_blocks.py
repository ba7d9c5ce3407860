"""Every block around every network, with numbers as training leaves them: torch, the reference and the runner's steps agree."""

import pytest
import torch
from torch import nn

from bnn_train import models
from bnn_train.binary.layers import binary_layers
from bnn_train.models.around import Shift

BLOCKS = ("plain", "bireal", "resnet", "xnor", "reactnet", "recu", "real_to_binary")
SMALL = {  # with their smallest images
    "mlp": (("model=mlp", "model.hidden=[20,20]"), (1, 4, 4)),
    "cnn": (("model=cnn", "model.stages=[[12,12],[9,16]]", "model.hidden=[20]"), (1, 6, 5)),
    "lenet": (("model=lenet",), (1, 4, 4)),
    "resnet20": (("model=resnet20",), (3, 5, 4)),
}
SHORTCUTS = ("resnet18", "resnet20")  # which no block without one fits
LARGE = {name: ((f"model={name}",), (3, 8, 8)) for name in ("vgg_small", "binarynet", "resnet18")}
# weights.prepare and weights.scaling, as methods pair them
WEIGHTS = (("none", "none"), ("none", "mean"), ("standardise", "power_of_two"), ("quantile", "mean"), ("none", "learned"))


@pytest.fixture
def build(compose, random_statistics):
    """build(model, block, weights) -> the network and its images' shape. Shifts, slopes and scales are not those of the start."""

    def function(model, block, weights=WEIGHTS[0], seed=0):
        overrides, shape = (SMALL | LARGE)[model]
        config = compose(*overrides)
        config.block = compose(f"block={block}").block
        config.weights.prepare, config.weights.scaling = weights
        if model == "lenet":  # none of its layers can have one
            config.block.shortcut = "none"
        torch.manual_seed(seed)
        return trained(random_statistics(models.build(config, shape, 5), seed)), shape

    return function


def trained(network):
    for module in network.modules():
        if isinstance(module, Shift):
            module.shift.data.normal_(0, 1)
        elif isinstance(module, nn.PReLU):
            module.weight.data.normal_(0.2, 0.3)  # some below 0
    for layer in binary_layers(network):
        if layer.scaling_factor is not None:
            layer.scaling_factor.data[1::3] *= -1
    return network


def pairs(of):
    return [(model, block) for model in of for block in BLOCKS if not (model in SHORTCUTS and block == "plain")]


@pytest.mark.parametrize(("model", "block"), pairs(SMALL))
def test_every_block_agrees_around_every_small_network(build, agree, model, block):
    weights = WEIGHTS[(BLOCKS.index(block) + list(SMALL).index(model)) % len(WEIGHTS)]
    network, shape = build(model, block, weights)
    agree(network, shape, count=5, certain=False)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "block"), pairs(LARGE))
def test_every_block_agrees_around_every_large_network(build, agree, model, block):
    network, shape = build(model, block)
    agree(network, shape, count=2, certain=False)


@pytest.mark.slow
@pytest.mark.parametrize("weights", WEIGHTS, ids=" ".join)
@pytest.mark.parametrize(("model", "block"), pairs(SMALL))
def test_every_block_agrees_with_every_kind_of_weights(build, agree, model, block, weights):
    network, shape = build(model, block, weights, seed=1)
    agree(network, shape, certain=False)
