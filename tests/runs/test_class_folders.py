"""A run on folders of images, and its network on other test images: what is said of the classes, and of which images it is."""

import json
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from bnn_train.cli import evaluate as command
from bnn_train.cli import report
from bnn_train.deploy.evaluate import evaluate_exported
from bnn_train.deploy.export import export_run
from bnn_train.errors import ConfigError
from bnn_train.runs.run import run
from bnn_train.runs.saved import evaluate_saved

OPTIONS = (
    "data=image_folder",
    "data.image_size=[4,6]",
    "data.fit=pad",
    "trainer.batch_size=8",
    "model.hidden=[8,8]",
    "trainer.epochs=1",
)


def paint(folder, counts, seed=0):
    rng = np.random.default_rng(seed)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(rng.integers(0, 256, (7, 5, 3), dtype=np.uint8)).save(folder / name / f"{i}.png")


@pytest.fixture(scope="module")
def place(compose, tmp_path_factory):
    """A folder with photos/{train,test}/, 25 cats and 5 dogs to train on, and with `m`, a run on them, and `m.bnn`, its file."""
    place = tmp_path_factory.mktemp("place")
    paint(place / "photos" / "train", {"cat": 25, "dog": 5})
    paint(place / "photos" / "test", {"cat": 4, "dog": 2}, seed=1)
    run(compose(*OPTIONS, f"data.root={place / 'photos'}", f"data.cache_dir={place / 'cache'}"), place / "m")
    export_run(place / "m", place / "m.bnn")
    return place


def both(place, root):
    """What is found of the run and of its file, which agree."""
    one, two = evaluate_saved(place / "m", str(root)), evaluate_exported(place / "m.bnn", str(root))
    assert one["test_loss"] == pytest.approx(two["test_loss"], rel=1e-5)
    alike = [{key: value for key, value in found.items() if key not in ("checkpoint", "test_loss")} for found in (one, two)]
    assert alike[0] == alike[1]
    return one


def test_the_classes_are_named_and_told_apart_before_and_after(compose, place, tmp_path, caplog):
    caplog.set_level("INFO", "bnn_train")
    config = compose(*OPTIONS, f"data.root={place / 'photos'}", f"data.cache_dir={place / 'cache'}")
    summary = run(config, tmp_path / "run")
    said = " ".join(caplog.text.split())
    assert "training images by class: cat (25), dog (5)" in said
    assert "note: the classes are uneven, 5 training images of dog and 25 of cat; trainer.class_weights=balanced lets" in said
    assert "test images of each class" in said
    assert (summary["classes"], list(map(sum, summary["confusion"]))) == (["cat", "dog"], [4, 2])
    text = (tmp_path / "run" / "summary.json").read_text()
    assert json.loads(text) == summary
    assert f"\n    {summary['confusion'][0]},\n" in text  # a row on a line
    caplog.clear()
    config.trainer.class_weights = "balanced"
    run(config, tmp_path / "balanced")
    assert "uneven" not in caplog.text


def test_built_in_sets_have_it_in_the_summary_alone(small, tmp_path, caplog):
    caplog.set_level("INFO", "bnn_train")
    summary = run(small("trainer.epochs=1"), tmp_path)
    assert (len(summary["confusion"]), len(summary["per_class"])) == (10, 10)
    assert "by class" not in caplog.text
    assert "of each class" not in caplog.text


def test_the_run_s_own_images_moved_or_its_test_images_alone(place, tmp_path):
    shutil.copytree(place / "photos", tmp_path / "moved")
    found = both(place, tmp_path / "moved")
    assert (found["same_images"], found["data"], "missing_classes" in found) == (True, str(tmp_path / "moved"), False)
    alone = both(place, tmp_path / "moved" / "test")
    assert (alone["same_images"], alone["data"], alone["missing_classes"]) == (True, str(tmp_path / "moved" / "test"), [])
    assert alone["confusion"] == found["confusion"]


def test_other_test_images_of_any_number(place, tmp_path):
    paint(tmp_path / "other" / "test", {"cat": 1, "dog": 9}, seed=2)
    found = both(place, tmp_path / "other")
    assert (found["same_images"], found["test_images"], list(map(sum, found["confusion"]))) == (False, 10, [1, 9])
    assert (found["data"], found["missing_classes"]) == (str(tmp_path / "other" / "test"), [])
    shutil.rmtree(tmp_path / "other" / "test" / "cat")
    found = both(place, tmp_path / "other" / "test")
    assert (found["missing_classes"], found["per_class"][0], found["test_images"]) == (["cat"], None, 9)
    (tmp_path / "other" / "test" / "newt").mkdir()
    for evaluate, path in ((evaluate_saved, "m"), (evaluate_exported, "m.bnn")):
        with pytest.raises(ConfigError, match="holds newt, which the network does not know; its classes are cat, dog"):
            evaluate(place / path, str(tmp_path / "other"))


def test_a_changed_copy_is_measured_on_the_copies_of_the_test_images(place, tmp_path):
    shutil.copytree(place / "photos", tmp_path / "dark")
    for file in (tmp_path / "dark").rglob("*.png"):
        Image.open(file).point(lambda value: value // 2).save(file)
    found = both(place, tmp_path / "dark")
    assert (found["same_images"], found["data"], found["test_images"]) == (False, str(tmp_path / "dark"), 6)


def test_the_command_names_the_images_and_shows_each_class(place, tmp_path, monkeypatch, capsys):
    paint(tmp_path / "other", {"dog": 3})
    monkeypatch.setattr(sys, "argv", ["bnn-eval", str(place / "m.bnn"), "--data-root", str(tmp_path / "other")])
    command.main()
    said = " ".join(capsys.readouterr().out.split())
    assert "note: measured on 3 images of " in said
    assert "not the run's own" in said
    assert "note: there is no image of cat" in said
    assert "test images of each class, and what they are taken for" in said


def test_the_images_of_a_run_on_a_sheet(place, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bnn-report", "--data", str(place / "m"), "--output", str(tmp_path / "s.png")])
    report.main()
    assert capsys.readouterr().out.startswith("8 of 30 training images, 2 classes: saved as ")
    with Image.open(tmp_path / "s.png") as image:
        assert image.format == "PNG"
