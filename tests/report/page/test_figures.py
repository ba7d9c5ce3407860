import json
import xml.etree.ElementTree as ElementTree

import pytest
from PIL import Image

from bnn_train.errors import ConfigError
from bnn_train.report import given
from bnn_train.report.page import figures


def names(files):
    return [file.name for file in files]


def test_a_sweep_has_curves_for_each_split_and_the_best_run_s_classes_and_flips(tmp_path, write_run):
    for i in range(4):
        write_run(tmp_path / "s" / str(i), [f"ste={'ab'[i // 2]}$_{{", f"seed={i % 2}"], accuracy=i / 4, classes=("a$", "b^$"))
    files = figures.write(given.read([tmp_path / "s"]), tmp_path / "out" / "png")
    stems = ["curves_train", "curves_test", "confusion", "flips"]
    assert names(files) == [f"{stem}.{suffix}" for stem in stems for suffix in ("png", "svg")]
    for file in files:
        if file.suffix == ".png":
            with Image.open(file) as image:
                assert min(image.size) > 400
        else:
            assert ElementTree.parse(file).getroot().tag.endswith("svg")


def test_the_same_runs_give_the_same_svg(tmp_path, write_run):
    found = given.read([write_run(tmp_path / "r", health=None, images=None)])
    one, other = (figures.write(found, tmp_path / name) for name in "ab")
    assert names(one) == ["curves.png", "curves.svg", "confusion.png", "confusion.svg"]
    assert [file.read_bytes() for file in one] == [file.read_bytes() for file in other]


def test_a_run_of_one_epoch_and_losses_of_zero_are_drawn(tmp_path, write_run):
    run = write_run(tmp_path / "r", epochs=1, finished=False)
    (run / "metrics.jsonl").write_text(json.dumps({"epoch": 1, "test_loss": 0.0, "test_accuracy": 1.0}) + "\n")
    (run / "health.jsonl").write_text(json.dumps({"epoch": 1, "layers": {"a": {"flipped": 0.0}}}) + "\n")
    assert names(figures.write(given.read([run]), tmp_path / "out")) == ["curves.png", "curves.svg", "flips.png", "flips.svg"]


def test_nothing_to_draw_and_no_folder_are_one_line(tmp_path, write_run):
    run = write_run(tmp_path / "r", epochs=0, finished=False, health=None)
    with pytest.raises(ConfigError, match="nothing to draw"):
        figures.write(given.read([run]), tmp_path / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"png=.*cannot be made"):
        figures.write(given.read([run]), tmp_path / "file")
