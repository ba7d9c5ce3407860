"""Networks of random weights and statistics, packed, and compared: torch, the reference, and the runner's steps."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from bnn_train.data.augment import normalise
from bnn_train.deploy import reference
from bnn_train.deploy.bounds import bounds
from bnn_train.deploy.file import decode, encode
from bnn_train.deploy.packing.pack import pack
from bnn_train.deploy.plan import plan
from bnn_train.kernels.products import installed

MEAN, STD = [0.4], [0.3]


def randomised(model, seed=0, spread=4.0):
    """BatchNorms of every kind of channel: either sign of gamma, and of each four one with gamma 0."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean.normal_(0, spread / 2, generator=generator)
            module.running_var.uniform_(0.5, spread**2, generator=generator)
            if module.affine:
                module.weight.data.normal_(0.5, 1, generator=generator)
                module.bias.data.normal_(0, 1, generator=generator)
                module.weight.data[3::4] = 0
    return model.eval()


def pixels(count, shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def scores_of(model, images, mean=MEAN, std=STD):
    with torch.no_grad():
        return model(normalise(torch.from_numpy(images), mean, std)).numpy()


@pytest.fixture(scope="session")
def packed_of():
    """packed_of(model, shape) is the network as the exporter makes it."""
    return lambda model, shape, mean=MEAN, std=STD: pack(model, shape, mean, std, {"classes": []})


@pytest.fixture(scope="session")
def agree(packed_of):
    """agree(model, shape): packs the network and asserts that all ways agree on random images. Returns what is packed."""

    def function(model, shape, count=17, mean=MEAN, std=STD, certain=True):
        packed = packed_of(model, shape, mean, std)
        images = pixels(count, shape)
        values = reference.run(packed, images)
        scores = values[-1].astype(np.float32)
        for engine in (None, *installed()):
            assert np.array_equal(plan(packed, engine).run(images), scores), engine
        named = replace(packed, about={"classes": [str(i) for i in range(scores.shape[1])]})
        again = decode(encode(named))
        assert np.array_equal(plan(again).run(images[:1]), scores[:1])
        found, theirs = bounds(packed, values), scores_of(model, images, mean, std)
        assert theirs.shape == scores.shape
        inside = (np.abs(scores - theirs) <= found.scores).all(axis=1)
        assert (inside | found.uncertain).all()
        if certain:
            assert found.uncertain.mean() < 0.5, "the comparison says little"
        best = np.sort(scores.astype(np.float64), axis=1)
        clear = inside & (best[:, -1] - best[:, -2] > 2 * found.scores.max(axis=1))
        assert np.array_equal(scores.argmax(axis=1)[clear], theirs.argmax(axis=1)[clear])
        return packed

    return function


@pytest.fixture(scope="session")
def random_statistics():
    return randomised


@pytest.fixture(scope="session")
def random_pixels():
    return pixels


@pytest.fixture(scope="session")
def torch_scores():
    return scores_of
