"""Runs whose images stay on the disk give what those in memory do, bit for bit."""

import json
import signal

import numpy as np
import pytest
from PIL import Image

from bnn_train.data import memory
from bnn_train.deploy.evaluate import evaluate_exported
from bnn_train.deploy.export import export_run
from bnn_train.errors import ConfigError, Interrupted
from bnn_train.runs import run as running
from bnn_train.runs.run import run
from bnn_train.runs.saved import evaluate_saved

OPTIONS = (
    "data=image_folder",
    "data.image_size=8",
    "data.val_size=6",
    "data.cutout=2",
    "data.mixup=0.3",
    "trainer.batch_size=5",
    "model.hidden=[8,8]",
    "trainer.epochs=2",
    "trainer.ema=0.9",
    "trainer.recalibrate=true",
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / "photos" / name).mkdir(parents=True)
        for i in range(20):
            Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)).save(folder / "photos" / name / f"{i}.png")
    return folder


@pytest.fixture
def config(compose, photos):
    return lambda *overrides: compose(*OPTIONS, f"data.root={photos / 'photos'}", f"data.cache_dir={photos / 'cache'}", *overrides)


@pytest.mark.parametrize("crop", ["padded", "random_resized"])
def test_every_file_of_a_run_is_the_same(config, tmp_path, crop):
    summaries = [run(config(f"data.memory={where}", f"data.crop={crop}"), tmp_path / where) for where in ("ram", "disk")]
    for name in ("metrics.jsonl", "health.jsonl", "predictions.npz"):
        assert (tmp_path / "ram" / name).read_bytes() == (tmp_path / "disk" / name).read_bytes()
    ram, disk = summaries
    assert 0 <= disk.pop("share_waited") <= 1
    differ = {key for key in {*ram, *disk} if ram.get(key) != disk.get(key)}
    assert differ <= {"seconds", "images_per_second"}


def test_a_run_goes_on_exactly_within_an_epoch_and_where_its_images_lie_elsewhere(config, tmp_path, monkeypatch):
    run(config("data.memory=ram"), tmp_path / "whole")
    trained = running.Trainer.train_step
    steps = []

    def stop(self, *arguments):
        steps.append(self.step)
        if len(steps) in (4, 8):
            raise Interrupted(signal.SIGINT)
        return trained(self, *arguments)

    monkeypatch.setattr(running.Trainer, "train_step", stop)
    for where in ("disk", "disk"):
        with pytest.raises(Interrupted):
            run(config(f"data.memory={where}"), tmp_path / "parts")
    run(config("data.memory=ram"), tmp_path / "parts")
    for name in ("metrics.jsonl", "predictions.npz"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    times = [json.loads(line) for line in (tmp_path / "parts" / "times.jsonl").read_text().splitlines()]
    assert ["waited_seconds" in time for time in times] == [True, False]


def test_the_network_is_measured_and_exported_from_the_disk(config, tmp_path, monkeypatch):
    summary = run(config("data.memory=disk"), tmp_path / "m")
    found = evaluate_saved(tmp_path / "m")
    assert (found["test_accuracy"], found["same_images"]) == (summary["test_accuracy"], True)
    exported = export_run(tmp_path / "m", tmp_path / "m.bnn")
    assert (exported.same_images, exported.proof.images["test"], exported.proof.equal["test"]) == (True, 8, 8)
    monkeypatch.setattr(memory, "available", lambda: 10)  # so that the file's own data.memory=auto comes to the disk
    assert evaluate_exported(tmp_path / "m.bnn")["test_accuracy"] == summary["test_accuracy"]
    with pytest.raises(ConfigError, match=r"the test images are 1 MB, and are all compared at once; export with --random-only"):
        export_run(tmp_path / "m", tmp_path / "again.bnn")
