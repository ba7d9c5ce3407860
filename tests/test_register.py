"""What each kind of plugin does in a run: its function is called with its keys, and what comes of it is checked."""

import copy
import json
import math

import pytest
import torch

import bnn_train
from bnn_train import models, plugins, register
from bnn_train.binary import ste, weights
from bnn_train.cli.compose import typed
from bnn_train.errors import ConfigError, PluginError
from bnn_train.lab import estimators
from bnn_train.training import losses

EVERYTHING = """
from __future__ import annotations

from typing import TYPE_CHECKING, Optional

import numpy as np

from bnn_train import register
from bnn_train.binary.weights import Binarizer

if TYPE_CHECKING:
    from torch import Tensor


@register.data
def stripes(*, count: int = 40):
    labels = np.arange(count) % 4
    images = np.zeros((count, 8, 8), np.uint8)
    images[np.arange(count), 2 * labels] = 255
    return {"train_images": images, "train_labels": labels, "test_images": images[:8], "test_labels": labels[:8]}


@register.estimator(noise="logistic")
def bump(g: Tensor, a: Tensor, *, scale: float = register.key(2.0, "half width", "(0, inf)")):
    return g * (1 - (a / scale) ** 2).clamp(min=0)


@register.estimator
def late(g, a, *, progress: float):
    return g * progress


@register.weights
def less(latent, mask, *, much: float = 0.5):
    return latent - much


@register.weights
class Flipped(Binarizer):
    def __init__(self, *, factor: float = 3.0):
        super().__init__()
        self.factor = factor

    def prepared(self, latent, mask=None):
        return -self.factor * latent


@register.loss
def distance(inputs, logits, labels, *, power: Optional[int] = 2):
    return (logits.gather(1, labels[:, None]) - 1).abs().pow(power).mean()


@register.logger
def noted(row, run_dir, *, word: str = "epoch"):
    with open(run_dir / "noted.txt", "a") as file:
        file.write(f"{word} {row.pop('epoch')}\\n")


@register.logger
def counted(run_dir):
    rows = []
    return lambda row: rows.append(row) or (run_dir / "counted.txt").write_text(str(len(rows)))


@register.model
def own(image_shape, num_classes):
    from torch import nn

    from bnn_train import BinaryLinear

    return nn.Sequential(nn.Flatten(), BinaryLinear(64, 16, estimator=None), nn.BatchNorm1d(16), nn.Linear(16, num_classes))


@register.model
def real(parts, image_shape, num_classes):
    from torch import nn

    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))


@register.method
def all_of_it():
    return ["model=own", "ste=bump", "ste.scale=3", "weights=less", "loss=distance", "optimizer.lr=0.005"]


@register.method
def as_a_dict():
    return {"ste": "bump", "weights": "less", "optimizer": {"lr": 0.25}}
"""


@pytest.fixture
def everything(plugin):
    plugins.load([plugin(EVERYTHING, "all.py")[len("plugins=[") : -1]])


@pytest.mark.usefixtures("everything")
def test_all_kinds_in_one_run_that_is_resumed(tmp_path):
    given = ["plugins=[all.py]", "data=stripes", "method=all_of_it", "trainer.batch_size=10", "logger=noted", "logger.word=row"]
    run = bnn_train.train([*given, "trainer.epochs=2", "hydra.run.dir=run"])
    stored = torch.load(run.directory / "checkpoints" / "last.pt", weights_only=True)["config"]
    assert (stored["data"]["mean"], stored["data"]["std"]) == ([0.125], [0.330719])  # one row in eight: sqrt(1/8 - 1/64)
    assert (stored["ste"]["scale"], stored["weights"]["much"], stored["optimizer"]["lr"]) == (3.0, 0.5, 0.005)
    note = "note: model=own: makes its layers itself: ste, weights, block and trainer.precision do not change them"
    assert note in " ".join((run.directory / "train.log").read_text().split())
    bnn_train.train([*given[:1], "resume=run", "data=stripes", "trainer.epochs=3", "logger=counted"])
    assert (run.directory / "noted.txt").read_text() == "row 1\nrow 2\n"
    assert (run.directory / "counted.txt").read_text() == "1"
    rows = (run.directory / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in rows] == [1, 2, 3]  # the run's own rows
    assert bnn_train.load("run").evaluate()["test_images"] == 8


@pytest.mark.usefixtures("everything")
def test_an_estimator_is_one_as_the_others_are():
    """Factor 1 - (a / scale)^2 in the network and the laboratory; its noise is as wide; its window ends where it falls to 1%."""
    estimator = ste.build(typed(["ste=bump", "ste.stochastic=true"]).ste)
    a = torch.tensor([-3.0, -1.0, 0.0, 1.0], requires_grad=True)
    estimator.eval()(a).sum().backward()
    assert a.grad.tolist() == [0, 0.75, 1, 0.75]
    assert (estimator.estimator.noise, estimator.noise_scale()) == (ste.noise.logistic, 2.0)
    assert math.isclose(estimator.window(), 2 * math.sqrt(0.99), rel_tol=0.02)
    method = estimators.build(register.FOUND["ste"]["bump"].kind(scale=0.5), progress=1.0)
    assert method.noise == ("logistic", 0.5)
    annealed = ste.Ste("late")
    annealed.progress = 0.25
    assert annealed.annealed
    assert annealed.backward()(torch.ones(2), a[:2]).tolist() == [0.25, 0.25]
    assert math.isinf(annealed.window())


@pytest.mark.usefixtures("everything")
def test_prepared_weights_get_a_sign_and_an_estimator():
    config = typed(["weights=less", "weights.ste=bump", "weights.scaling=mean"])
    binarizer = copy.deepcopy(weights.build(config.weights, config.ste))
    latent = torch.tensor([[0.2, 0.6], [1.5, -4.0]], requires_grad=True)
    signs = binarizer(latent)
    assert signs.tolist() == [[-1, 1], [1, -1]]
    assert torch.allclose(binarizer.scale(binarizer.prepared(latent)), torch.tensor([0.2, 2.75]))
    signs.sum().backward()
    expected = [[1 - 0.3**2 / 4, 1 - 0.1**2 / 4], [1 - 1 / 4, 0]]
    assert torch.allclose(latent.grad, torch.tensor(expected))
    own = typed(["weights=Flipped", "weights.factor=2", "weights.clip=0.5"])
    made = weights.build(own.weights, own.ste)
    assert (made.factor, made.bound) == (2.0, 0.5)
    assert made(latent).tolist() == [[-1, -1], [-1, 1]]


@pytest.mark.usefixtures("everything")
def test_a_method_stands_for_options_and_keys():
    config = typed(["method=as_a_dict", "weights.much=0.1"])
    assert (config.ste.name, config.weights.name, config.weights.much, config.optimizer.lr) == ("bump", "less", 0.1, 0.25)
    assert typed(["method=all_of_it", "model=mlp"]).model.name == "mlp"


@pytest.mark.usefixtures("everything")
def test_a_loss_of_ones_own_and_what_does_not_go_with_it():
    loss = losses.build(typed(["loss=distance", "loss.power=1"]))
    assert loss(torch.zeros(2, 1), torch.tensor([[3.0, 0.0], [0.0, -1.0]]), torch.tensor([0, 1])).item() == 2
    with pytest.raises(ConfigError, match=r"label_smoothing=0\.1: is for loss=cross_entropy, and loss=distance does not use it"):
        typed(["loss=distance", "trainer.label_smoothing=0.1"])
    with pytest.raises(
        ConfigError, match=r"class_weights=balanced: is for loss=cross_entropy and squared_hinge, and loss=distance"
    ):
        typed(["loss=distance", "trainer.class_weights=balanced"])


LEARNED = """
import torch
from bnn_train.register import *

T = torch.nn.Parameter(torch.ones(3))


@loss
def learned(inputs, logits, labels):
    return (logits * T).sum()


@loss
def fixed(inputs, logits, labels):
    return (logits * T.detach()).sum()


@loss
def gone(inputs, logits, labels):
    return logits.sum() * float("nan")


@loss
def counted(inputs, logits, labels):
    return (logits.argmax(1) != labels).float().mean()
"""


def test_a_loss_that_no_training_could_follow_is_told_at_the_first_batch(plugin):
    plugin(LEARNED)
    plugins.load(["mine.py"])
    network = torch.nn.Linear(2, 3)
    logits, labels = network(torch.ones(4, 2)), torch.zeros(4, dtype=torch.int64)

    def said(name, logits=logits):
        with pytest.raises(PluginError) as caught:
            losses.build(typed([f"loss={name}"]))(torch.ones(4, 2), logits, labels)
        return str(caught.value)

    assert said("learned").startswith("loss=learned: mine.py: has a gradient for a tensor of shape (3,) that is no parameter of")
    assert said("gone") == "loss=gone: mine.py: gives nan for the first batch, whose class scores are finite"
    assert said("counted").startswith("loss=counted: mine.py: gives a number that does not follow from the class scores")
    losses.build(typed(["loss=fixed"]))(torch.ones(4, 2), logits, labels).backward()
    assert network.weight.grad is not None
    broken = losses.build(typed(["loss=gone"]))
    assert broken(torch.ones(4, 2), logits / 0, labels).isnan()  # the network's fault


@pytest.mark.usefixtures("everything")
def test_a_network_without_a_binary_layer_is_told():
    config = typed(["model=real"])
    network = models.build(config, (1, 8, 8), 10)
    assert network.training
    assert models.remarks(config, network) == ["model=real: holds no binary layer: it is trained as it is"]
    assert models.remarks(typed([]), network) == []


BLOCKS = """
from collections import OrderedDict

from torch import nn

from bnn_train import register


@register.model
def alone(parts, image_shape, num_classes):
    return nn.Sequential(nn.Flatten(), parts.linear(64, 64), nn.Linear(64, num_classes))


@register.model
def around(parts, image_shape, num_classes, *, fits: bool = True):
    layers = parts.around("linear1", parts.linear(64, 64), fits=fits)
    return nn.Sequential(OrderedDict([("flat", nn.Flatten()), *layers, ("output", nn.Linear(64, num_classes))]))
"""


def test_what_a_network_leaves_out_of_the_block_is_told(plugin):
    plugin(BLOCKS)
    plugins.load(["mine.py"])

    def said(*overrides):
        config = typed(list(overrides))
        return models.remarks(config, models.build(config, (1, 8, 8), 10))

    line = "has none of block=reactnet's shortcuts or shifts or activations: parts.conv and parts.linear make layers alone"
    more = ", parts.around(name, layer, fits=True) one with its block"
    assert said("model=alone", "block=reactnet") == [f"model=alone: {line}{more}"]
    assert "has none of block=bireal's shortcuts:" in said("model=around", "block=bireal", "model.fits=false")[0]
    assert said("model=alone") == said("model=around", "block=reactnet") == said("block=bireal") == []


BAD = """
from bnn_train.register import *


@estimator
def flat(g, a):
    return g.sum()


@loss
def each(inputs, logits, labels):
    return logits[:, 0]


@weights
def halved(latent, mask):
    return latent[:1]


@method
def empty():
    return 3
"""


def test_what_a_function_must_not_give_is_told(plugin):
    plugin(BAD)
    plugins.load(["mine.py"])
    with pytest.raises(PluginError, match=r"^ste=flat: mine.py: gives torch.float32 \(\) for a gradient of float32 \(2, 3\)"):
        ste.Ste("flat")
    with pytest.raises(PluginError, match=r"^method=empty: mine.py: must give overrides, as in "):
        plugins.overrides_of(register.FOUND["method"]["empty"])
    config = typed(["loss=each", "weights=halved"])
    with pytest.raises(PluginError, match=r"^loss=each: mine.py: gives a tensor of shape \(2,\); a loss is a scalar"):
        losses.build(config)(torch.zeros(2), torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(PluginError, match=r"^weights=halved: mine.py: gives a weight of shape \(1, 3\) for a latent one of"):
        weights.build(config.weights, config.ste)(torch.zeros(2, 3))


def test_an_error_within_a_plugin_is_told_by_its_place(plugin):
    plugin("from bnn_train.register import *\n@loss\ndef raising(inputs, logits, labels):\n    return logits.nothing()")
    plugins.load(["mine.py"])
    with pytest.raises(AttributeError) as caught:
        losses.build(typed(["loss=raising"]))(torch.zeros(1), torch.zeros(1, 2), torch.zeros(1))
    assert register.behind(caught.value) == "mine.py, line 4: AttributeError: 'Tensor' object has no attribute 'nothing'"
    with pytest.raises(ZeroDivisionError) as other:
        _ = 1 / 0
    assert register.behind(other.value) is None
