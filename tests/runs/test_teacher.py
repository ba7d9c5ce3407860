"""A run with a teacher: its copy, its continuation without the teacher's directory, what is refused, what is told."""

import json
import logging
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from bnn_train.cli.compose import typed
from bnn_train.data import datasets
from bnn_train.data.augment import normalise, pixels
from bnn_train.data.batches import eval_batches
from bnn_train.deploy.export import export_run
from bnn_train.deploy.teacher import exported
from bnn_train.errors import ConfigError
from bnn_train.runs import assemble, checkpoint, saved, teacher
from bnn_train.runs import run as run_module
from bnn_train.runs.run import run
from bnn_train.training.trainer import Trainer

CPU = torch.device("cpu")
CNN = ("model=cnn", "model.stages=[[4],[4]]", "model.hidden=[8]", "data.train_limit=400", "trainer.epochs=2")
MLP = ("model.hidden=[8,8]", "data.train_limit=400", "trainer.epochs=2")


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    """A folder with a run, `real`, of a real-valued CNN, and `binary.bnn`, exported of the run `binary` of an MLP with noise."""
    folder = tmp_path_factory.mktemp("teachers")
    run(typed([*CNN, "ste=none", "weights=real"]), folder / "real")
    run(typed([*MLP, "ste.stochastic=true", "ste=tanh"]), folder / "binary")
    export_run(folder / "binary", folder / "binary.bnn")
    return folder


def found_for(config, tmp_path, model=None):
    """The teacher of a new run, ready, and the data."""
    data = datasets.load(config.data, CPU)
    found = teacher.find(config, tmp_path, True, exported)
    model = assemble.assemble(config, data, CPU).model if model is None else model
    return teacher.ready(found, config, model, data), data


def are_equal(a, b):
    """To the last bit, of states of checkpoints."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(are_equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(are_equal, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


LOGITS, ATTENTION = "distill=logits", "distill=attention"
CASES = {
    "attention": ("real", *CNN, ATTENTION, "distill.at=[conv2]", "trainer.ema=0.9", "data.mixup=0.3", "data.val_size=100"),
    "plain loss": ("real", *CNN, LOGITS, "loss=squared_hinge", "trainer.precision=fast", "ste=tanh", "ste.stochastic=true"),
    "exported": ("binary.bnn", *MLP, LOGITS, "distill.temperature=4", "data.crop_padding=1", "trainer.label_smoothing=0.1"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_run_goes_on_bit_for_bit_though_its_teacher_is_gone(compose, teachers, tmp_path, monkeypatch, case):
    name, *overrides = CASES[case]
    place = tmp_path / name
    (shutil.copytree if (teachers / name).is_dir() else shutil.copy)(teachers / name, place)
    config = compose(*overrides, f"distill.teacher={place}", "trainer.checkpoint_every=3")
    run(config, tmp_path / "whole", exported=exported)

    class Mortal(Trainer):
        def __init__(self, *args):
            *others, after_step = args

            def step(trainer):
                if trainer.number == 5:
                    raise Killed
                after_step(trainer)

            super().__init__(*others, step)

    monkeypatch.setattr(run_module, "Trainer", Mortal)
    with pytest.raises(Killed):
        run(config, tmp_path / "split", exported=exported)
    monkeypatch.undo()
    place.rename(tmp_path / "elsewhere")
    torch.manual_seed(999)
    run(config, tmp_path / "split", exported=exported)
    for file in ("metrics.jsonl", "health.jsonl"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "split" / file).read_bytes()
    for file in ("last.pt", "result.pt"):
        whole, split = (checkpoint.load(tmp_path / part / "checkpoints" / file) for part in ("whole", "split"))
        assert are_equal(whole, split)
    with pytest.raises(ConfigError, match=r"distill.teacher=.*other: the run was started with distill.teacher="):
        run(compose(*overrides, "distill.teacher=other"), tmp_path / "split", ["distill.teacher=other"], exported=exported)
    assert saved.evaluate_saved(tmp_path / "split")["test_images"] == 359
    for copy in (tmp_path / "split" / "checkpoints").glob("teacher.*"):
        copy.unlink()
    assert saved.evaluate_saved(tmp_path / "split")["test_images"] == 359  # which needs no teacher
    with pytest.raises(ConfigError, match=r"holds no checkpoints/teacher.pt, the copy of its teacher"):
        run(replace(config, trainer=replace(config.trainer, epochs=3)), tmp_path / "split", ["trainer.epochs=3"], exported=exported)


def test_the_copy_is_a_result_and_the_summary_tells_what_it_is_and_costs(compose, teachers, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    place = teachers / "real"
    summary = run(compose(*CNN, LOGITS, f"distill.teacher={place}"), tmp_path)
    theirs = json.loads((place / "summary.json").read_text())
    told = summary["teacher"]
    assert 0 < told.pop("share_of_step") < 3
    macs = theirs["network"]
    assert told == {
        **{"network": str(place), "kind": "last", "epoch": 2, "step": 0, "test_accuracy": theirs["test_accuracy"]},
        **{"bits": "W32A32", "binary_macs": 0, "real_macs": macs["real_macs"]},
    }
    assert f"{theirs['test_accuracy']:.2%}, W32A32, 0 binary and {macs['real_macs']:,}" in " ".join(caplog.text.split())
    copy = saved.evaluate_saved(tmp_path / "checkpoints" / "teacher.pt")
    assert copy["test_accuracy"] == theirs["test_accuracy"]
    assert "optimizer" not in checkpoint.load(tmp_path / "checkpoints" / "teacher.pt")
    assert teacher.find(compose(LOGITS, f"distill.teacher={tmp_path / 'checkpoints' / 'teacher.pt'}"), tmp_path / "x", True, None)


def test_a_run_that_keeps_its_result_alone_keeps_no_teacher(compose, teachers, tmp_path):
    run(compose(*CNN, LOGITS, f"distill.teacher={teachers / 'real'}", "trainer.keep=result", "trainer.epochs=1"), tmp_path)
    assert [file.name for file in (tmp_path / "checkpoints").iterdir()] == ["result.pt"]


def test_a_dry_run_names_the_teacher_and_leaves_nothing(compose, teachers, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    run(compose(*CNN, LOGITS, f"distill.teacher={teachers / 'real'}", "dry_run=true"), tmp_path / "new")
    assert "teacher: " in caplog.text
    assert not (tmp_path / "new").exists()


def test_making_a_teacher_leaves_the_generators_as_they_were(compose, teachers, tmp_path):
    config = compose(*CNN, LOGITS, f"distill.teacher={teachers / 'real'}")
    model = assemble.assemble(config, datasets.load(config.data, CPU), CPU).model
    before = checkpoint.random_state()
    taught, data = found_for(config, tmp_path, model)
    taught._teacher.scores(next(eval_batches(data.train, config.data, 5))[0])
    after = checkpoint.random_state()
    assert torch.equal(before["torch"], after["torch"])
    assert before["python"] == after["python"]


def test_a_stochastic_teacher_has_no_noise_and_is_frozen(compose, teachers, tmp_path):
    config = compose(*MLP, LOGITS, f"distill.teacher={teachers / 'binary'}")
    taught, data = found_for(config, tmp_path)
    inputs = next(eval_batches(data.train, config.data, 50))[0]
    network = taught._teacher.module
    assert torch.equal(taught._teacher.scores(inputs), taught._teacher.scores(inputs))
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert (taught.about["bits"], taught.about["binary_macs"]) == ("W1A1", 8 * 8)


def test_an_exported_teacher_gets_the_pixels_and_gives_what_its_runner_gives(compose, teachers, tmp_path):
    config = compose(*MLP, LOGITS, f"distill.teacher={teachers / 'binary.bnn'}")
    taught, data = found_for(config, tmp_path)
    inputs = next(eval_batches(data.train, config.data, 50))[0]
    expected = exported(teachers / "binary.bnn").logits(data.train.images[:50].numpy())
    assert np.array_equal(taught._teacher.scores(inputs).numpy(), expected)
    assert taught.about["bits"] == "W1A1"
    assert taught.about["binary_macs"] == 8 * 8
    assert taught.about["test_accuracy"] == json.loads((teachers / "binary" / "summary.json").read_text())["test_accuracy"]


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.5, 0.5), (0.1307, 0.3081), (0.4914, 0.2023), (0.99, 3.0), (-2.0, 0.01)])
def test_every_pixel_is_recovered_from_its_normalised_value(mean, std):
    every = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(pixels(normalise(every, [mean], [std]), [mean], [std]), every)


def test_a_teacher_of_another_normalisation_gets_inputs_in_its_own(compose, teachers, tmp_path):
    config = compose(*CNN, LOGITS, f"distill.teacher={teachers / 'real'}", "data.mean=[0.2]", "data.std=[0.7]")
    taught, data = found_for(config, tmp_path)
    network = saved.load(teachers / "real")
    images = data.train.images[:50]
    theirs = normalise(images, network.config.data.mean, network.config.data.std)
    own = normalise(images, [0.2], [0.7])
    with torch.no_grad():
        torch.testing.assert_close(taught._teacher.scores(own), network.model(theirs), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "overrides", "line"),
    [
        ("absent", (), r"distill.teacher=.*absent: is not here \(.*absent\); give a run, a checkpoint or an exported file"),
        (".", (), "holds no checkpoints/result.pt or last.pt"),
        ("binary.bnn", (ATTENTION,), "an exported file has class scores alone"),
        ("binary.bnn", ("data.mixup=0.2",), "data.mixup=0.2: mixes images, and an exported network takes pixels alone"),
    ],
)
def test_a_teacher_that_cannot_teach_is_refused_before_anything_is_left(compose, teachers, tmp_path, name, overrides, line):
    config = compose(*CNN, LOGITS, f"distill.teacher={teachers / name}", *overrides)
    with pytest.raises(ConfigError, match=line):
        run(config, tmp_path, exported=exported)
    assert not any((tmp_path / "checkpoints").iterdir())


def test_a_run_does_not_teach_itself(compose, teachers):
    config = compose(LOGITS, f"distill.teacher={teachers / 'real'}")
    with pytest.raises(ConfigError, match="is this run itself"):
        teacher.find(config, teachers / "real", True, exported)


def test_a_teacher_of_other_classes_or_images_is_refused(compose, teachers, tmp_path):
    config = compose(*CNN, LOGITS, f"distill.teacher={teachers / 'real'}")
    data = datasets.load(config.data, CPU)
    found = teacher.find(config, tmp_path, True, exported)
    model = assemble.assemble(config, data, CPU).model
    with pytest.raises(ConfigError, match=r"knows 10 classes \(0, 1, 2 and 7 more\), and the data have 10 \(1, 2, 3 and 7 more\)"):
        teacher.ready(found, config, model, replace(data, classes=[*data.classes[1:], "0"]))
    narrow = replace(data.train, images=data.train.images[..., 1:])
    with pytest.raises(ConfigError, match="takes images of 1x8x8, and the data are 1x8x7"):
        teacher.ready(found, config, model, replace(data, train=narrow))


def test_a_plugins_network_teaches_where_its_plugin_is_named(plugin, tmp_path):
    text = """\
import bnn_train
from torch import nn

@bnn_train.register.model
def flat(image_shape, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))
"""
    named = plugin(text)
    from bnn_train import plugins

    plugins.load(["mine.py"])
    short = ("trainer.epochs=1", "data.train_limit=400", "model.hidden=[8,8]")
    run(typed([named, "model=flat", *short[:2]]), tmp_path / "t")
    taught = f"distill.teacher={tmp_path / 't'}"
    assert run(typed([named, *short, LOGITS, taught]), tmp_path / "s")["teacher"]["bits"] == "W32A32"
    plugins._loaded.clear()
    with pytest.raises(ConfigError, match=r"plugins=.*the run needs the plugin mine.py: add plugins=\[mine.py\]"):
        run(typed([*short, LOGITS, taught]), tmp_path / "u")
    assert saved.evaluate_saved(tmp_path / "s")["test_images"] == 359  # what was taught is no plugin's
    assert export_run(tmp_path / "s", tmp_path / "s.bnn")
    with pytest.raises(ConfigError, match=r"the run needs the plugin mine.py"):  # it learns on from the teacher
        run(typed([*short, LOGITS, taught, "trainer.epochs=2"]), tmp_path / "s", ["trainer.epochs=2"])
    with pytest.raises(ConfigError, match=r"the run needs the plugin mine.py"):
        saved.evaluate_saved(tmp_path / "t")
