"""Networks made sick on purpose, whose illness is named, and healthy ones, of which nothing is said."""

import pytest
import torch

from bnn_train.data import datasets
from bnn_train.runs.assemble import assemble
from bnn_train.runs.summary import illnesses
from bnn_train.training.trainer import Trainer

CPU = torch.device("cpu")


def said(t):
    """{illness: line} during the run of a trainer, and at its end."""
    during, row = {}, {}
    for row in t.fit():
        during |= illnesses(t, row, at_end=False)
    return during, illnesses(t, row, at_end=True)


def test_a_learning_rate_of_nothing_flips_nothing(trainer):
    during, end = said(trainer("optimizer.lr=1e-9"))
    assert during == end
    assert end["nothing flips"].endswith("optimizer.lr=1e-09 is too small; try 0.01")


def test_single_flips_do_not_hide_that_nothing_moves(trainer):
    """Of more than 260,000 weights some lie within a billionth of 0."""

    def flip(t):
        if t.step == t.steps:
            t.model.linear2.weight.data[0, t.epoch] *= -1

    t = trainer("optimizer.lr=1e-9", "model.hidden=[64,64]", after_step=flip)
    during, end = said(t)
    assert t.health.row["layers"]["linear2"]["never_moved"] < 1
    assert end["nothing flips"].startswith("next to nothing flips")
    assert during == end


def test_weights_that_ran_away(trainer):
    during, end = said(trainer("weights.clip=null", "optimizer.lr=0.5", "ste.clip=0.3"))
    assert "saturated weights" in during
    assert end["saturated weights"].startswith("linear1 and linear2: ")
    assert "of the latent weights left the window of clipped and get no gradient" in end["saturated weights"]
    assert "weights.clip=0.3 keeps them in" in end["saturated weights"]


def test_a_learning_rate_far_too_large(trainer):
    during, end = said(trainer("optimizer.lr=1e3"))
    assert next(iter(during)) == next(iter(end)) == "absurd loss"
    end = said(trainer("weights.clip=null", "optimizer.lr=10"))[1]
    assert "and in the last epoch none flipped: a lower optimizer.lr (they are" in end["saturated weights"]


def test_activations_of_a_huge_scale(trainer):
    t = trainer()
    t.model.norm_linear1.weight.data.fill_(100)
    during, end = said(t)
    assert during == {}  # it learns all the same
    assert list(end) == ["blocked inputs"]
    assert end["blocked inputs"].startswith("linear2: ")


def test_a_window_of_nothing_lets_no_gradient_through(trainer):
    end = said(trainer("ste.clip=1e-6", "weights.ste=identity"))[1]
    assert list(end) == ["blocked inputs", "vanished gradients"]
    assert end["vanished gradients"].startswith("linear1: the norm of the gradient is 0, it vanishes on its way back")


@pytest.mark.parametrize(("bias", "sign"), [(20.0, "+1"), (-20.0, "-1")])
def test_a_layer_whose_input_is_constant(trainer, bias, sign):
    t = trainer()
    t.model.norm_linear1.bias.data.fill_(bias)
    during, end = said(t)
    assert f"linear2: the inputs are all {sign}, whatever the image" in during["constant inputs"]
    assert "constant inputs" in end


def test_weights_that_flip_back_and_forth(trainer):
    def flip(t):
        if t.step == t.steps:
            t.model.linear2.weight.data[:6] *= -1  # of 16 outputs

    t = trainer("optimizer.lr=1e-4", "trainer.epochs=3", after_step=flip)
    during, end = said(t)
    assert during == {}
    assert list(end) == ["restless weights"]
    share = t.health.row["layers"]["linear2"]["back_and_forth"]
    assert share == pytest.approx(6 / 16, abs=0.01)
    assert end["restless weights"].startswith(f"linear2: {share:.0%} of the weights flip back and forth")


CNN = ("model=cnn", "model.stages=[[8],[8]]", "model.hidden=[32]")
HEALTHY = [
    (),
    ("optimizer=bop", "trainer.epochs=3"),
    (*CNN, "data.train_limit=600", "trainer.epochs=3"),
]
HEALTHY_TOO = [  # of the default size unless they say otherwise
    *(("model.hidden=[512,512,512]", f"trainer.epochs={epochs}") for epochs in (1, 3, 20)),
    ("model.hidden=[512,512,512]", "scheduler=constant"),
    *((f"optimizer={name}", "model.hidden=[256,256]", "trainer.epochs=5") for name in ("sgd", "adamw", "bop", "bayesbinn")),
    ("optimizer=bop", "scheduler=constant", "model.hidden=[256,256]", "trainer.epochs=5"),
    ("ste=none", "weights=sign"),
    *(
        (f"ste={name}", "model.hidden=[128,128]", "trainer.epochs=4")
        for name in ("identity", "clamped_grad", "tanh", "approx_sign")
    ),
    *((f"ste={name}", "model.hidden=[128,128]", "trainer.epochs=6") for name in ("gaussian", "swish_sign", "ede", "reste")),
    ("ste=ede", "weights.prepare=standardise", "weights.scaling=power_of_two", "model.hidden=[128,128]", "trainer.epochs=6"),
    *(
        (f"ste={name}", "ste.stochastic=true", "model.hidden=[128,128]", "trainer.epochs=4")
        for name in ("uniform", "triangular", "logistic", "normal", "reinmax", "gumbel", "hard_st")
    ),
    ("weights=stochastic", "model.hidden=[128,128]", "trainer.epochs=4"),
    *(("weights=stompp", "ste=stompp", "model.hidden=[128,128]", "trainer.epochs=6", *more) for more in ((), ("optimizer=sgd",))),
    *((f"weights.prepare={name}", "weights.scaling=mean", "trainer.epochs=4") for name in ("centre", "standardise")),
    ("weights.prepare=quantile", "weights.ste=identity", "weights.scaling=learned", "trainer.epochs=4"),
    ("weights.clip=null", "model.hidden=[256,256]", "trainer.epochs=20"),
    *(
        (*CNN, "model.stages=[[8,8],[8]]", f"block={name}", "trainer.epochs=3")
        for name in ("bireal", "resnet", "xnor", "reactnet", "recu", "real_to_binary")
    ),
    (*CNN, "optimizer=sgd", "trainer.epochs=3"),
    ("experiment=edges_frozen", "trainer.epochs=4"),
    ("experiment=edges_prune", "edges.rules.0.ramp=[1,3]", "trainer.epochs=6"),
]


@pytest.mark.parametrize("overrides", HEALTHY, ids=" ".join)
def test_of_a_healthy_network_nothing_is_said(trainer, overrides):
    assert said(trainer(*overrides)) == ({}, {})


@pytest.mark.slow
def test_of_a_resnet_nothing_is_said(compose):
    config = compose("model=resnet20", "data.train_limit=400", "trainer.epochs=2")
    data = datasets.load(config.data, CPU)
    assert said(Trainer(config, *assemble(config, data, CPU), data)) == ({}, {})


@pytest.mark.slow
@pytest.mark.parametrize("overrides", HEALTHY_TOO, ids=" ".join)
def test_of_many_healthy_networks_nothing_is_said(trainer, overrides):
    for seed in (0, 1):
        assert said(trainer(*overrides, f"seed={seed}")) == ({}, {})
