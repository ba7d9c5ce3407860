"""An exported network on its images, with a stand-in for the runner: what it computes is tests/deploy/test_runner.py's."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from bnn_train import deploy
from bnn_train.cli import evaluate as command
from bnn_train.config.data import DataConfig
from bnn_train.data import datasets
from bnn_train.data.splits import Split
from bnn_train.deploy.evaluate import evaluate_exported, measure
from bnn_train.errors import ConfigError
from bnn_train.runs.resume import data_signature
from bnn_train.runs.run import run
from bnn_train.runs.saved import evaluate_saved, load


class Standin:
    """Logits as a function of images."""

    def __init__(self, function, **about):
        self.function, self.about = function, about

    def logits(self, images):
        assert images.dtype == np.uint8
        return self.function(images)


def of_run(folder):
    """What an export of the run says and computes, by torch."""
    saved = load(folder)

    def logits(images):
        with torch.no_grad():
            return saved.model((torch.from_numpy(images).float() / 255 - 0.5) / 0.5).numpy()

    about = {"kind": saved.kind, "epoch": saved.epoch, "step": saved.step, "eval_batch_size": 100}
    return Standin(logits, **about, data=asdict(saved.config.data), images=saved.data)


@pytest.fixture(scope="module")
def folder(compose, tmp_path_factory):
    """A run of a moment, of which some images are held out."""
    run_dir = tmp_path_factory.mktemp("run")
    run(compose("model.hidden=[16,16]", "trainer.epochs=2", "data.val_size=100"), run_dir)
    return run_dir


@pytest.fixture
def exported(folder, monkeypatch, tmp_path):
    """The path of an exported network that loads as a stand-in for the run's."""
    network = of_run(folder)
    monkeypatch.setattr(deploy, "load", lambda path: network, raising=False)
    (tmp_path / "m.bnn").touch()
    return tmp_path / "m.bnn"


def test_the_figures_are_those_of_the_run(folder, exported):
    found, expected = evaluate_exported(exported), evaluate_saved(folder)
    assert list(found) == list(expected)
    assert found.pop("checkpoint") == str(exported)
    losses = {name: value for name, value in found.items() if name.endswith("_loss")}
    assert losses == {name: pytest.approx(expected[name], rel=1e-6) for name in ("test_loss", "val_loss")}
    assert found == {name: expected[name] for name in found} | losses


def test_the_table_and_the_object_of_the_command(exported, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["bnn-eval", str(exported), "--json"])
    command.main()
    assert json.loads(capsys.readouterr().out) == evaluate_exported(exported)
    monkeypatch.setattr("sys.argv", ["bnn-eval", str(exported)])
    command.main()
    assert "best on the held-out images" in capsys.readouterr().out


@pytest.mark.parametrize("flag", ["--samples=10", "--device=cpu"])
def test_what_an_exported_network_cannot_do_is_one_line(exported, monkeypatch, capsys, flag):
    monkeypatch.setattr("sys.argv", ["bnn-eval", str(exported), flag])
    with pytest.raises(SystemExit) as caught:
        command.main()
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {flag}: an exported network ")


def test_other_images_are_refused_and_other_pixels_said(exported, monkeypatch):
    about = deploy.load(exported).about
    monkeypatch.setitem(about, "images", {**about["images"], "digest": "another"})
    assert not evaluate_exported(exported)["same_images"]
    monkeypatch.setitem(about, "images", {**about["images"], "test": 3})
    with pytest.raises(ConfigError, match="holds other images than the network was trained with"):
        evaluate_exported(exported)


def test_the_images_may_have_moved(exported, monkeypatch, tmp_path):
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "here" / name).mkdir(parents=True)
        for i in range(4):
            Image.fromarray(rng.integers(0, 256, (4, 4), dtype=np.uint8)).save(tmp_path / "here" / name / f"{i}.png")
    about = deploy.load(exported).about
    data = {**about["data"], "name": "image_folder", "root": "there", "val_size": 0, "cache_dir": str(tmp_path / "cache")}
    monkeypatch.setattr(deploy.load(exported), "function", lambda images: np.float32([[0, 1]] * len(images)))
    monkeypatch.setitem(about, "data", {**data, "a key that is newer than this program": 1})
    with pytest.raises(ConfigError, match=r"data\.root=there: is not here"):
        evaluate_exported(exported)
    there = datasets.load(DataConfig(**{**data, "root": str(tmp_path / "here")}), torch.device("cpu"))
    monkeypatch.setitem(about, "images", data_signature(there))
    found = evaluate_exported(exported, str(tmp_path / "here"))
    assert found["same_images"]
    assert found["test_accuracy"] == 0.5
    assert found["test_loss"] == pytest.approx(np.log1p(np.exp([1, -1])).mean())


def test_measuring_in_batches_by_hand():
    logits = np.float32([[3, 3, 0], [0, 2, 2], [500, -500, 0]])  # the first of two largest is the class
    images = torch.arange(3, dtype=torch.uint8).view(3, 1, 1, 1)
    network = Standin(lambda images: logits[images[:, 0, 0, 0]])
    for labels, accuracy in ([0, 1, 0], 1), ([1, 2, 0], np.float32(1) / np.float32(3)), ([1, 1, 2], np.float32(1) / np.float32(3)):
        for batch_size in (1, 2, 3, 100):
            loss, found, predicted = measure(network, Split(images, torch.tensor(labels)), batch_size)
            assert found == accuracy
            assert predicted.tolist() == [0, 1, 0]
            assert loss == pytest.approx(F.cross_entropy(torch.from_numpy(logits).double(), torch.tensor(labels)).item(), rel=1e-12)


@pytest.mark.parametrize("count", [1, 3, 7, 359, 10_000])
def test_the_accuracy_has_the_digits_of_evaluating_the_run(count):
    labels = torch.arange(count) % 2
    split = Split(torch.zeros(count, 1, 1, 1, dtype=torch.uint8), labels)
    network = Standin(lambda images: np.float32([[1, 0]] * len(images)))
    correct = torch.zeros(2, dtype=torch.int64) + (labels == 0).sum()
    assert measure(network, split, 100)[1] == (correct / len(split)).tolist()[0]


def test_torch_takes_the_first_of_equal_maxima_on_the_cpu_too():
    for classes in (2, 10, 100, 1000):
        values = torch.randint(3, (200, classes), generator=torch.Generator().manual_seed(0)).float()
        assert np.array_equal(values.argmax(dim=1).numpy(), values.numpy().argmax(axis=1))
