"""Several ranks train what one does: the same batches, noise and statistics, but for the order of additions."""

import pytest
import several
import torch

MLP = ("model.hidden=[24,24]", "trainer.batch_size=101", "data.train_limit=404")  # which ranks cannot share evenly
CNN = ("model=cnn", "model.stages=[[8],[8]]", "model.hidden=[8]", "trainer.batch_size=60", "data.train_limit=240")
RESNET = ("model=resnet20", "trainer.batch_size=16", "data.train_limit=64")
STEPS = {  # one step from equal weights
    "mlp": (*MLP, "model.dropout=0.3", "ste=tanh", "ste.stochastic=true"),
    "cnn": (*CNN, "data.crop_padding=1", "data.flip=true", "data.cutout=2", "data.mixup=0.4"),
    "resnet20": (*RESNET, "ste=approx_sign"),
    "stochastic weights": (*MLP, "weights=stochastic", "weights.noise=uniform"),
    "edges": (*MLP, "experiment=edges_l1"),
    "clipped norm": (*CNN, "trainer.clip_grad_norm=0.1", "trainer.class_weights=balanced", "loss=squared_hinge"),
}
EPOCHS = {
    "sgd": (*MLP, "optimizer=sgd", "optimizer.lr=0.01", "trainer.epochs=3"),
    "pruned": (
        *MLP,
        "optimizer=sgd",
        "optimizer.lr=0.01",
        "trainer.epochs=3",
        "experiment=edges_prune",
        "edges.rules.0.ramp=[0,1]",
        "trainer.ema=0.9",
    ),
}
SIZES = (2, 3)
# torch's BatchNorm sums images whose channels lie together in float32; that of several ranks in float64.
ROUNDED = {"resnet20": 1e-4}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    cases = {name: (overrides, 1) for name, overrides in STEPS.items()} | {name: (each, None) for name, each in EPOCHS.items()}
    alone = {name: several.train(*case) for name, case in cases.items()}
    return {1: alone} | {size: several.trained(cases, size, tmp_path_factory.mktemp("ranks")) for size in SIZES}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", STEPS)
def test_the_gradient_of_a_step_is_that_of_one_process(found, name, size):
    one, many = (torch.cat([g.flatten() for g in found[count][name]["gradients"]]) for count in (1, size))
    assert (one - many).norm() < ROUNDED.get(name, 1e-5) * one.norm()
    assert found[size][name]["losses"] == pytest.approx(found[1][name]["losses"], rel=1e-5)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", STEPS)
def test_statistics_of_the_whole_batch_are_kept(found, name, size):
    one, many = found[1][name]["model"], found[size][name]["model"]
    kept = [key for key in one if "running" in key or "num_batches" in key]
    assert kept
    for key in kept:
        torch.testing.assert_close(many[key], one[key], rtol=ROUNDED.get(name, 1e-5), atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", EPOCHS)
def test_losses_of_plain_descent_stay_together_over_three_epochs(found, name, size):
    for one, many in zip(found[1][name]["rows"], found[size][name]["rows"], strict=True):
        assert one.keys() == many.keys()
        assert many["train_loss"] == pytest.approx(one["train_loss"], abs=1e-4)
        assert many["test_loss"] == pytest.approx(one["test_loss"], abs=1e-4)
