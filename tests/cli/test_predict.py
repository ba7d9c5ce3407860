"""bnn-predict as it is called, with a stand-in for the runner, or with a run of a moment."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from bnn_train import deploy
from bnn_train.cli import predict
from bnn_train.data import datasets
from bnn_train.runs import saved
from bnn_train.runs.run import run

ROOT = Path(__file__).parent.parent.parent


def dark_or_light(images):
    """Logits of two classes: -1 and 1 where an image is light, the other way round where it is dark."""
    light = np.where(images.mean(axis=(1, 2, 3)) >= 128, 1, -1)
    return np.stack([-light, light], axis=1).astype(np.float32)


STANDIN = SimpleNamespace(
    logits=dark_or_light,
    classes=["dark", "light"],
    image_shape=(1, 2, 2),
    about={"kind": "last", "epoch": 20, "step": 0, "data": {"name": "digits", "image_size": None}},
)
SURE = float(str(np.float32(1 / (1 + np.exp(-2)))))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The current directory: m.bnn, and photos with one dark and one light picture."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(deploy, "load", lambda path: STANDIN, raising=False)
    Path("m.bnn").touch()
    Path("photos").mkdir()
    for name, grey in (("1.png", 0), ("2.png", 255)):
        Image.new("L", (2, 2), grey).save(f"photos/{name}")
    return tmp_path


@pytest.fixture
def call(monkeypatch, capsys):
    """call("m.bnn", "x.png") is (exit code, stdout, stderr)."""

    def function(*arguments):
        monkeypatch.setattr("sys.argv", ["bnn-predict", *arguments])
        code = 0
        try:
            predict.main()
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return function


def test_a_table_that_says_of_which_network(call):
    code, out, err = call("m.bnn", "photos")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "m.bnn, the last, after epoch 20",
        "",
        "file          class  probability",
        "────────────────────────────────────────────────────",
        "photos/1.png  dark        88.08%  ██████████████████",
        "photos/2.png  light       88.08%  ██████████████████",
    ]
    assert len(call("m.bnn", "photos", "--top", "2")[1].splitlines()) == 8


def test_json(call):
    code, out, err = call("m.bnn", "photos/2.png", "--json", "--top", "5")
    assert (code, err) == (0, "")
    best = {"class": "light", "index": 1, "probability": SURE}
    other = {"class": "dark", "index": 0, "probability": float(str(np.float32(1 / (1 + np.exp(2)))))}
    assert json.loads(out) == [{"file": "photos/2.png", **best, "top": [best, other]}]


def test_a_csv_file_beside_the_table(call):
    code, out, _ = call("m.bnn", "photos", "--csv", "found.csv")
    assert (code, "photos/1.png" in out) == (0, True)
    rows = list(csv.DictReader(io.StringIO(Path("found.csv").read_text())))
    assert [(row["file"], row["class"], float(row["probability_light"])) for row in rows][1] == ("photos/2.png", "light", SURE)


def test_what_cannot_be_read_is_named_and_the_others_are_done(call):
    Path("broken.png").write_bytes(b"words")
    Path("empty").mkdir()
    code, out, err = call("m.bnn", "broken.png", "empty", "photos/1.png", "nowhere.png", "--json")
    assert code == 1
    assert [row["file"] for row in json.loads(out)] == ["photos/1.png"]
    assert err.splitlines() == [
        "error: empty: holds no image that Pillow reads",
        "error: broken.png: not a readable image (in no format that Pillow knows)",
        "error: nowhere.png: not a readable image (no such file or directory)",
    ]
    assert call("m.bnn", "broken.png")[:2] == (1, "")
    assert call("m.bnn", "broken.png", "--json")[:2] == (1, "[]\n")


def test_a_resized_image_is_said_once_and_json_stays_json(call):
    for number in range(3):
        Image.new("L", (5, 9 + number), 255).save(f"photos/large{number}.png")
    _, out, err = call("m.bnn", "photos", "--json")
    assert err == "note: 3 images were cropped and resized to 2x2, the size that the network takes\n"
    assert len(json.loads(out)) == 5
    assert call("m.bnn", "photos/large0.png")[2].startswith("note: 1 image was cropped and resized to 2x2")


def test_the_size_of_training_is_not_worth_a_note(call, monkeypatch):
    Image.new("L", (5, 9), 255).save("large.png")
    monkeypatch.setitem(STANDIN.about, "data", {"name": "image_folder", "image_size": 2})
    assert call("m.bnn", "large.png")[2] == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["empty"], "IMAGE=empty: holds no image that Pillow reads"),
        (["photos", "--top", "0"], "--top=0: must be 1 or more"),
        (["photos", "--csv", "nowhere/x.csv"], "--csv=nowhere/x.csv: there is no folder"),
        ([], "the following arguments are required: IMAGE; bnn-predict --help lists the flags"),
    ],
)
def test_a_mistake_is_one_line(call, arguments, said):
    Path("empty").mkdir()
    code, out, err = call("m.bnn", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {said}")
    assert err.count("\n") == 1


def test_a_csv_that_cannot_be_written_loses_no_table(call):
    Path("found.csv").mkdir()
    code, out, err = call("m.bnn", "photos", "--csv", "found.csv")
    assert (code, "photos/1.png" in out) == (2, True)
    assert err.startswith("error: file=found.csv: could not be written")


def test_a_run_gives_the_same_output_by_torch(call, compose):
    config = compose("model.hidden=[16,16]", "trainer.epochs=1")
    run(config, Path("run"))
    test = datasets.load(config.data, torch.device("cpu")).test
    scores = np.load("run/predictions.npz")["scores"]
    assert np.array_equal(saved.logits(saved.load(Path("run")), test.images.numpy()), scores)

    Image.fromarray(test.images[0, 0].numpy()).save("digit.png")
    code, out, err = call("run", "digit.png", "--top", "3", "--json")
    assert (code, err) == (0, "")
    (row,) = json.loads(out)
    assert [best["index"] for best in row["top"]] == np.argsort(-scores[0])[:3].tolist()
    assert row["probability"] == pytest.approx(torch.from_numpy(scores[0]).softmax(0).max().item(), rel=1e-5)
    assert call("run/checkpoints/result.pt", "digit.png", "--top", "3", "--json")[1] == out
    assert call("run", "digit.png")[1].startswith("run/checkpoints/result.pt, the last, after epoch 1\n")
    assert call("nowhere", "digit.png")[2].startswith("error: path=nowhere: there is no such file")


def test_an_exported_network_predicts_without_torch_and_hydra(folder):
    code = """
import sys
from pathlib import Path
from types import SimpleNamespace
import numpy as np
from bnn_train import deploy
from bnn_train.cli.predict import main

about = {"kind": "last", "epoch": 1, "step": 0, "data": {"name": "digits", "image_size": None}}
logits = lambda images: np.zeros((len(images), 2), np.float32)
deploy.load = lambda path: SimpleNamespace(logits=logits, classes=["a", "b"], image_shape=(1, 2, 2), about=about)
sys.argv = ["bnn-predict", "m.bnn", "-", "--json"]
main()
packages = {name.partition(".")[0] for name in sys.modules}
assert not packages & {"torch", "torchvision", "hydra", "omegaconf", "yaml", "tqdm", "matplotlib"}, packages
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    content = (folder / "photos" / "1.png").read_bytes()
    line = [sys.executable, "-c", code]
    result = subprocess.run(line, cwd=folder, env=environment, input=content, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)[0] | {"top": []} == {"file": "-", "class": "a", "index": 0, "probability": 0.5, "top": []}


def test_a_stream_without_the_bars_character_gets_ascii(folder):
    code = """
from bnn_train.report import terminal
terminal.settle()
terminal.write("█")
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    assert subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True).stdout == b"#"
