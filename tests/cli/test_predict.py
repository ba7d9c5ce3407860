"""bnn-predict as it is called, with a stand-in for the runner, or with a run of a moment."""

import csv
import io
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from bnn_train import deploy, files
from bnn_train.cli import predict
from bnn_train.data import datasets
from bnn_train.deploy import runner
from bnn_train.errors import ConfigError
from bnn_train.report import terminal
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
    monkeypatch.setattr(deploy, "load", lambda path, threads=None, engine=None: STANDIN, raising=False)
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
        "──────────────────────────────────────────────────────",
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


def test_colours_that_one_channel_does_not_see_are_worth_a_note(call, monkeypatch):
    for number in range(2):
        Image.new("RGB", (2, 2), (0, 0, number)).save(f"photos/colour{number}.png")
    assert call("m.bnn", "photos")[2] == "note: 2 images were made grey: the network takes one channel\n"
    Image.new("RGB", (9, 9)).save("photos/colour1.png")
    resized, grey = call("m.bnn", "photos/colour1.png")[2].splitlines()
    assert resized.startswith("note: 1 image was cropped and resized to 2x2")
    assert grey == "note: 1 image was made grey: the network takes one channel"
    monkeypatch.setitem(STANDIN.about, "data", {"name": "image_folder", "image_size": 2, "grayscale": True})
    assert call("m.bnn", "photos")[2] == ""


def test_images_without_a_known_scale_are_worth_a_note(call):
    for number, values in enumerate(([[0.0, 0.5]], [[3.0, -1.0]])):
        Image.fromarray(np.array(values * 2, np.float32)).save(f"{number}.tif")
    rest = "a prediction depends on the others that are named with it, and training had a scale of its own"
    assert call("m.bnn", "0.tif", "photos")[2] == (
        f"note: 1 image of 32 bits or floats was scaled by itself, 0 to black and 1 to white: {rest}\n"
    )
    _, out, err = call("m.bnn", "0.tif", "photos/1.png", "1.tif", "--json")
    assert err == f"note: 2 images of 32 bits or floats were scaled together, -1 to black and 3 to white: {rest}\n"
    assert [row["file"] for row in json.loads(out)] == ["0.tif", "photos/1.png", "1.tif"]


def test_what_a_folder_leaves_out_is_a_note_and_no_error(call):
    Path("photos/notes.txt").write_text("no image")
    code, out, err = call("m.bnn", "photos", "--json")
    assert (code, len(json.loads(out))) == (0, 2)
    assert err == "note: photos: left out: 1 file that Pillow reads no image from (notes.txt)\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["m.bnn", "empty"], "IMAGE=empty: holds no image that Pillow reads"),
        (["m.bnn", "photos", "--top", "0"], "--top=0: must be 1 or more"),
        (["m.bnn", "photos", "--csv", "nowhere/x.csv"], "--csv=nowhere/x.csv: there is no folder"),
        (["m.bnn", "photos", "--csv", "empty"], "--csv=empty: is a folder; name a file in it: empty/predictions.csv"),
        (["m.bnn", "photos", "--csv", "m.bnn"], "--csv=m.bnn: is m.bnn, which is read here; name another file"),
        (["m.bnn", "photos", "--csv", "link.csv"], "--csv=link.csv: is photos/1.png, which is read here; name another file"),
        (["m.bnn", "photos", "--csv", "-", "--json"], "--csv=-: goes to stdout, where --json goes; name a file, or leave one"),
        (["m.bnn"], "the following arguments are required: IMAGE; bnn-predict --help lists the flags"),
        (["photos/1.png", "m.bnn"], "path=photos/1.png: is an image; name the network first: bnn-predict NETWORK.bnn IMAGE..."),
        (["photos", "m.bnn"], "IMAGE=m.bnn: is a network; name it first, and one alone: bnn-predict m.bnn IMAGE..."),
        (["m.bnn", "photos", "m.bnn"], "IMAGE=m.bnn: is a network; name it first, and one alone: bnn-predict m.bnn IMAGE..."),
        (
            ["run", "photos", "--threads", "2"],
            "--threads=2: is for exported networks; leave it out, or export this one: bnn-export",
        ),
        (["run", "photos", "--engine", "numpy"], "--engine=numpy: is for exported networks; leave it out, or export this one"),
    ],
)
def test_a_mistake_is_one_line_before_any_work(call, monkeypatch, arguments, said):
    monkeypatch.setattr(STANDIN, "logits", None)
    Path("empty").mkdir()
    Path("link.csv").symlink_to("photos/1.png")
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {said}")
    assert err.count("\n") == 1
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


def test_threads_and_engine_are_the_runners(call, monkeypatch):
    def load(path, threads, engine):
        if engine == "steam":
            raise ConfigError("engine", engine, "one of llvm, numkong, numpy")
        asked.append((threads, engine))
        return STANDIN

    asked = []
    monkeypatch.setattr(deploy, "load", load)
    assert call("m.bnn", "photos")[0] == call("m.bnn", "photos", "--threads", "2", "--engine", "numpy")[0] == 0
    assert asked == [(None, None), (2, "numpy")]
    assert call("m.bnn", "photos", "--engine", "steam") == (2, "", "error: --engine=steam: one of llvm, numkong, numpy\n")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<!DOCTYPE html>\n<html><body>Not Found</body></html>", "is no exported network: it is cut short, damaged or foreign"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
            "is no exported network: it is cut short, damaged",
        ),
        (b"", "is empty"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00{}", "is no exported network: it is cut short, damaged or foreign"),
    ],
)
def test_what_is_no_exported_network_is_one_line(call, monkeypatch, content, said):
    monkeypatch.setattr(deploy, "load", runner.load)
    Path("m.bnn").write_bytes(content)
    code, out, err = call("m.bnn", "photos")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"error: path=m.bnn: {said}")


def test_csv_on_standard_output_stands_there_alone(call):
    code, out, err = call("m.bnn", "photos", "--csv", "-")
    assert (code, err) == (0, "")
    assert call("m.bnn", "photos", "--csv", "found.csv")[0] == 0
    assert out == Path("found.csv").read_text()
    assert out.startswith("file,class,probability,probability_dark,probability_light\nphotos/1.png,dark,0.8807971,")


def test_a_csv_that_cannot_be_written_loses_no_table_and_no_older_file(call, monkeypatch):
    def full(path, content, keep=None):
        raise ConfigError("file", path, "could not be written (no space left on device)")

    Path("found.csv").write_text("older")
    monkeypatch.setattr(files, "write", full)
    code, out, err = call("m.bnn", "photos", "--csv", "found.csv")
    assert (code, "photos/1.png" in out) == (2, True)
    assert err.startswith("error: file=") and err.count("\n") == 1  # noqa: PT018
    assert Path("found.csv").read_text() == "older"


def test_rows_come_with_their_batch_and_end_with_their_reader(folder):
    """The first batch is read from the pipe, which is then closed: the second is computed, and no other."""
    code = """
import sys
from types import SimpleNamespace
import numpy as np
from bnn_train import deploy
from bnn_train.cli.predict import main
from bnn_train.deploy import predict

def logits(images):
    print("batch", file=sys.stderr, flush=True)
    if wait.pop(0):
        sys.stdin.readline()
    return np.zeros((len(images), 2), np.float32)

predict.BATCH = 1
wait = [False, True, False, False]
about = {"data": {"name": "digits"}}
network = SimpleNamespace(logits=logits, classes=["a", "b"], image_shape=(1, 2, 2), about=about)
deploy.load = lambda path, threads, engine: network
sys.argv = ["bnn-predict", "m.bnn", *["photos/1.png"] * 4, *sys.argv[1:]]
main()
"""
    for form, first in ((["--json"], b"[\n"), (["--csv", "-"], b"file,"), ([], b"m.bnn\n")):
        line = [sys.executable, "-c", code, *form]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(line, cwd=folder, env=environment, **pipes) as process:
            text = b""
            while b"photos/1.png" not in text:
                text += process.stdout.read1()
            process.stdout.close()
            process.stdout = None
            assert process.communicate(b"go on\n", timeout=60)[1] == b"batch\nbatch\n"
        assert text.startswith(first)
        assert process.returncode == 0


def test_the_bar_is_taken_away_while_rows_are_printed(call, monkeypatch):
    events = []

    class Bar:
        def __init__(self, images, *arguments, **options):
            self.images = images

        def __iter__(self):
            return self.images

        @staticmethod
        @contextmanager
        def external_write_mode():
            events.append("away")
            yield
            events.append("back")

    monkeypatch.setitem(sys.modules, "tqdm", SimpleNamespace(tqdm=Bar))
    monkeypatch.setattr(terminal, "shows_bar", lambda: True)
    monkeypatch.setattr(terminal, "write", lambda text, name="stdout": events.append(name) or True)
    assert call("m.bnn", "photos")[0] == 0
    assert events == ["away", "stdout", "back"]


@pytest.mark.parametrize("width", [60, 80])
def test_help_fits_and_breaks_no_word_and_no_example(call, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    text = call("--help")[1]
    assert max(map(len, text.splitlines())) <= width
    assert "\n  bnn-predict m.bnn photos/ --csv found.csv\n\n" in text
    assert not [line for line in text.splitlines() if line.endswith("-")]


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
deploy.load = lambda path, threads, engine: SimpleNamespace(logits=logits, classes=["a", "b"], image_shape=(1, 2, 2), about=about)
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
