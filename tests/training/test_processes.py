"""Several ranks train what one does: the same batches, noise and statistics, but for the order of additions."""

import pytest
import several
import torch
from PIL import Image

from bnn_train import ranks
from bnn_train.errors import ConfigError
from bnn_train.training import processes

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
# torch's BatchNorm sums images whose channels lie together in float32; that of several ranks in float64.
ROUNDED = {"resnet20": 1e-4}


# Where BatchNorm takes the statistics of each part, the trainer itself looks after every epoch that the ranks keep one network.
APART = (*MLP, "trainer.epochs=2", "trainer.sync_batchnorm=false")
ALIKE = {name: (*APART, f"optimizer={name}") for name in ("adam", "bop", "bayesbinn")}


@pytest.mark.parametrize(("size", "names"), [(2, [*STEPS, *EPOCHS, *ALIKE, "ram", "disk"]), (3, ["mlp", "sgd"])])
def test_several_ranks_train_what_one_process_does(tmp_path, size, names):
    """In one test for each number of ranks: starting them takes some seconds."""
    places = {where: (*folder_of_images(tmp_path), f"data.memory={where}") for where in ("ram", "disk") if where in names}
    cases = {name: (STEPS[name], 1) if name in STEPS else ((EPOCHS | ALIKE | places)[name], None) for name in names}
    found = several.trained(cases, size, tmp_path)
    for name, many in found.items():
        if name in ALIKE | places:
            assert len(many["rows"]) == 2
        elif name in STEPS:
            check_step(name, several.train(*cases[name]), many)
        else:
            check_epochs(several.train(*cases[name]), many)
    if places:
        assert found["disk"]["rows"] == found["ram"]["rows"]
        assert all(torch.equal(one, found["ram"]["model"][name]) for name, one in found["disk"]["model"].items())


def folder_of_images(place):
    """Overrides that train on some, in batches that two ranks cannot share evenly."""
    for number in range(24):
        file = place / "photos" / "ab"[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(torch.randint(0, 256, (6, 6), dtype=torch.uint8).numpy()).save(file)
    paths = (f"data.root={place / 'photos'}", f"data.cache_dir={place / 'cache'}")
    sizes = ("trainer.batch_size=5", "trainer.eval_batch_size=2", "model.hidden=[8,8]", "trainer.epochs=2")
    return ("data=image_folder", "data.crop=random_resized", *paths, *sizes)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["trainer.batch_size=2"], "each of the 3 processes needs 1 of its images"),
        (["trainer.batch_size=5", "trainer.sync_batchnorm=false"], "each of the 3 processes needs 2 of its images"),
        (["trainer.compile=true"], "for one process"),
    ],
)
def test_what_several_ranks_cannot_train_is_refused(small, monkeypatch, overrides, said):
    trainer = small(*overrides).trainer
    processes.check(trainer)
    monkeypatch.setattr(ranks, "count", lambda: 3)
    with pytest.raises(ConfigError, match=said):
        processes.check(trainer)


def check_step(name, one, many):
    """The gradient of a step, its loss, and BatchNorm's statistics, which are those of the whole batch."""
    gradients = [torch.cat([g.flatten() for g in each["gradients"]]) for each in (one, many)]
    assert (gradients[0] - gradients[1]).norm() < ROUNDED.get(name, 1e-5) * gradients[0].norm(), name
    assert many["losses"] == pytest.approx(one["losses"], rel=1e-5), name
    kept = [key for key in one["model"] if "running" in key or "num_batches" in key]
    assert kept
    for key in kept:
        torch.testing.assert_close(many["model"][key], one["model"][key], rtol=ROUNDED.get(name, 1e-5), atol=1e-6, msg=name)


def check_epochs(one, many):
    """Losses of plain descent stay together over three epochs."""
    assert len(one["rows"]) == len(many["rows"]) == 3
    for alone, together in zip(one["rows"], many["rows"], strict=True):
        assert alone.keys() == together.keys()
        assert together["train_loss"] == pytest.approx(alone["train_loss"], abs=1e-4)
        assert together["test_loss"] == pytest.approx(alone["test_loss"], abs=1e-4)
