"""From a run to a proven file: one set of figures, and no file where it would give something else."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from bnn_train import deploy
from bnn_train.binary.layers import BinaryConv2d, BinaryLinear
from bnn_train.deploy import export as exporter
from bnn_train.deploy.describe import rows, table
from bnn_train.deploy.evaluate import evaluate_exported
from bnn_train.deploy.export import export, export_run
from bnn_train.deploy.file import encode
from bnn_train.errors import ConfigError
from bnn_train.runs.run import run
from bnn_train.runs.saved import evaluate_saved

FEW = ("data.train_limit=200", "data.test_limit=100")


@pytest.fixture
def trained(small, tmp_path):
    """trained("ste=tanh") is the directory of a run of a moment."""

    def function(*overrides):
        run(small(*FEW, *overrides), tmp_path / "run", list(overrides))
        return tmp_path / "run"

    return function


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("data.val_size=50", "scheduler=exponential", "scheduler.gamma=4"),
        ("model=cnn", "model.stages=[[4]]"),
        ("optimizer=bop",),
        ("optimizer=bayesbinn",),
        ("weights=stochastic",),
        ("trainer.ema=0.7", "trainer.result=averaged", "trainer.batch_size=20"),
        ("trainer.recalibrate=true", "trainer.result=recalibrated", "trainer.batch_size=20"),
        ("weights=stompp", "trainer.batch_size=20"),
        ("weights=stompp", "ste=none", "weights.ste=tanh", "trainer.batch_size=20"),
        ("trainer.max_steps=1",),
        ("edges.rules=[{what: prune, layers: linear2, edges: random, density: 0.5}]",),
    ],
    ids=lambda overrides: " ".join(overrides)[:40] or "mlp",
)
def test_the_file_has_the_figures_of_the_run(trained, tmp_path, overrides):
    folder, output = trained(*overrides), tmp_path / "m.bnn"
    found = export_run(folder, output)
    assert found.proof.images == {"test": 100, "random": 1000}
    assert found.proof.equal == found.proof.images
    assert not found.proof.wrong
    ours, theirs = evaluate_exported(output), evaluate_saved(folder)
    assert {**ours, "checkpoint": ""} == {**theirs, "checkpoint": ""} | {key: ours[key] for key in ours if key.endswith("_loss")}
    assert all(ours[key] == pytest.approx(theirs[key], rel=1e-5) for key in ours if key.endswith("_loss"))
    summary, about = json.loads((folder / "summary.json").read_text()), deploy.load(output).about
    assert {key: about[key] for key in ("kind", "epoch", "step")} == {key: summary[key] for key in ("kind", "epoch", "step")}
    assert about["figures"]["test_accuracy"] == summary["test_accuracy"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("m.bnn")] == ["m.bnn"]


def test_a_checkpoint_in_the_middle_says_what_it_is_and_takes_no_figures_of_the_result(trained, tmp_path):
    folder = trained("trainer.keep=all")
    export_run(folder / "checkpoints" / "last.pt", tmp_path / "m.bnn")
    about = deploy.load(tmp_path / "m.bnn").about
    assert (about["kind"], about["epoch"], about["figures"]) == ("reached", 2, {})
    assert about["run"] == str(folder)


@pytest.mark.parametrize(
    ("output", "remedy"),
    [("m.pth", "must end in one of .bnn, .onnx, .h"), ("nowhere/m.bnn", "there is no folder"), ("folder.bnn", "is a folder")],
)
def test_an_output_that_cannot_be_is_refused_first(tmp_path, output, remedy):
    (tmp_path / "folder.bnn").mkdir()
    with pytest.raises(ConfigError, match=remedy):
        export_run(tmp_path / "no such run", tmp_path / output)


def flipped(op):
    """The operation with one weight's sign turned."""
    weight = op.tensors["weight"].copy()
    weight[0, 0] ^= 0x80
    return replace(op, tensors={**op.tensors, "weight": weight})


def test_a_network_whose_windows_have_not_ended_is_refused(trained, tmp_path):
    folder = trained("weights=stompp", "trainer.batch_size=20", "trainer.max_steps=10")  # half of its steps
    with pytest.raises(ConfigError, match=r"^layer=linear2: is not binary yet, its window of training \(weights=stompp\)"):
        export_run(folder, tmp_path / "m.bnn", random_only=True)
    assert not (tmp_path / "m.bnn").exists()


@pytest.mark.parametrize("changed", [1, 3])
def test_a_file_with_one_wrong_weight_is_not_kept_and_the_old_one_stays(trained, tmp_path, monkeypatch, changed):
    pack = exporter.pack

    def wrong(*arguments):
        packed = pack(*arguments)
        assert packed.ops[changed].kind == "linear"
        ops = [flipped(op) if i == changed else op for i, op in enumerate(packed.ops)]
        return replace(packed, ops=tuple(ops))

    monkeypatch.setattr(exporter, "pack", wrong)
    output = tmp_path / "m.bnn"
    output.write_bytes(b"old")
    with pytest.raises(ConfigError, match="the file would not give what the network gives"):
        export_run(trained(), output)
    assert output.read_bytes() == b"old"
    assert not list(tmp_path.glob("*.part"))


class Own(nn.Module):
    """A user's network: a gate, a shortcut, no product of this package but the layers."""

    def __init__(self):
        super().__init__()
        self.first = BinaryConv2d(3, 8, 3, estimator=None, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.second = BinaryConv2d(8, 8, 3, pad_value=1, padding=1, bias=True)
        self.gate = nn.Conv2d(8, 8, 1)
        self.head = BinaryLinear(8 * 6 * 6, 4)

    def forward(self, x):
        x = self.norm(self.first(x))
        x = x + self.second(x) * torch.sigmoid(self.gate(x.mean(dim=(2, 3), keepdim=True)))
        return self.head(x.flatten(1))


def test_a_network_of_ones_own_is_exported_from_python(tmp_path):
    torch.manual_seed(0)
    model = Own()
    model.norm.running_mean.uniform_(-1, 1)  # else a whole-number sum of pixels is often 0, where torch's is a little off
    images = np.random.default_rng(0).integers(0, 256, (30, 3, 6, 6), dtype=np.uint8)
    about = {"classes": ["a", "b", "c", "d"]}
    _, proof = export(model, (3, 6, 6), [0.5], [0.5], tmp_path / "m.bnn", images, about)
    assert proof.equal == {"test": 30, "random": 1000}
    network = deploy.load(tmp_path / "m.bnn")
    with torch.no_grad():
        theirs = model((torch.from_numpy(images).float() / 255 - 0.5) / 0.5)
    assert np.array_equal(network.predict(images), theirs.argmax(dim=1).numpy())


def test_as_many_classes_as_scores(tmp_path):
    images = np.zeros((1, 3, 6, 6), np.uint8)
    with pytest.raises(ConfigError, match="gives 4 class scores, but there are 2 classes"):
        export(Own(), (3, 6, 6), [0.5], [0.5], tmp_path / "m.bnn", images, {"classes": ["a", "b"]})
    assert not list(tmp_path.iterdir())


def test_the_table_adds_up_to_the_file(trained, tmp_path):
    packed = export_run(trained("model=cnn", "model.stages=[[4]]"), tmp_path / "m.bnn").packed
    content = encode(packed)
    assert content == (tmp_path / "m.bnn").read_bytes()
    tensors = sum(array.nbytes for op in packed.ops for array in op.tensors.values())
    description = int.from_bytes(content[:8], "little") + 8
    assert tensors + description == len(content)
    layers = {row.name: row for row in rows(packed)}
    # 1 channel of 8x8, 9 weights for each of 4 outputs; the head is real.
    assert (layers["conv1"].bits, layers["conv1"].real_macs, layers["conv1"].binary_macs) == ("1x32", 9 * 4 * 64, 0)
    assert layers["linear2"].bits == "1x1"
    assert layers["linear2"].binary_macs == 16 * 16
    assert layers["output"].bits == "32x32"
    assert f"{len(content) / 1000:.1f} kB" in table(packed).splitlines()[-1]


def test_the_command_prints_the_table_and_the_proof(trained, tmp_path):
    folder = trained()
    line = [sys.executable, "-m", "bnn_train.cli.export", str(folder), "--output", "m.bnn"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    assert "equal on 100 of 100 test images and 1,000 of 1,000 random ones" in text
    assert f"compared with {folder}/checkpoints/result.pt, the last, after epoch 2" in text
    assert "saved as m.bnn" in text
    again = [sys.executable, "-m", "bnn_train.cli.export", str(tmp_path / "none"), "-o", "m.bnn"]
    failed = subprocess.run(again, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert (failed.returncode, failed.stderr.count("\n")) == (2, 1)
    assert failed.stderr.startswith("error: path=")


def test_a_network_that_has_diverged_is_named(tmp_path):
    model = Own()
    with torch.no_grad():
        model.norm.weight[0] = torch.nan
    images = np.zeros((1, 3, 6, 6), np.uint8)
    with pytest.raises(ConfigError, match=r"norm\.weight: holds NaN or infinite"):
        export(model, (3, 6, 6), [0.5], [0.5], tmp_path / "m.bnn", images, {"classes": list("abcd")})
    assert not list(tmp_path.iterdir())


def test_without_its_images_a_network_is_proven_on_random_ones_alone(trained, tmp_path):
    found = export_run(trained(), tmp_path / "m.bnn", random_only=True)
    assert found.proof.images == {"test": 0, "random": 1000}
    assert found.proof.line().startswith("equal on 1,000 of 1,000 random images, and compared on no test images;")
    assert evaluate_exported(tmp_path / "m.bnn")["test_images"] == 100


def test_an_exported_file_is_not_exported_again(trained, tmp_path):
    export_run(trained(), tmp_path / "m.bnn")
    with pytest.raises(ConfigError, match="is an exported network already"):
        export_run(tmp_path / "m.bnn", tmp_path / "n.bnn")


def test_a_link_goes_on_pointing_at_its_file(tmp_path):
    (tmp_path / "real.bnn").write_bytes(b"old")
    (tmp_path / "link.bnn").symlink_to("real.bnn")
    torch.manual_seed(0)
    export(Own(), (3, 6, 6), [0.5], [0.5], tmp_path / "link.bnn", np.zeros((1, 3, 6, 6), np.uint8), {"classes": list("abcd")})
    assert (tmp_path / "link.bnn").is_symlink()
    assert deploy.load(tmp_path / "real.bnn").classes == list("abcd")


def test_two_exports_to_one_file_are_both_proven(tmp_path, monkeypatch):
    """What one writes aside is not the other's."""
    images, about = np.zeros((1, 3, 6, 6), np.uint8), {"classes": list("abcd")}
    prove, asides = exporter.prove, []

    def within_another(*arguments):
        asides.append(sorted(path.name for path in tmp_path.iterdir()))
        if len(asides) == 1:
            export(Own(), (3, 6, 6), [0.5], [0.5], tmp_path / "m.bnn", images, about)
        return prove(*arguments)

    monkeypatch.setattr(exporter, "prove", within_another)
    export(Own(), (3, 6, 6), [0.5], [0.5], tmp_path / "m.bnn", images, about)
    assert len(asides[1]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["m.bnn"]
