"""Curves, differences, predictions and layers, as plain data."""

import json

import numpy as np
import pytest

from bnn_train.report import jobs
from bnn_train.report.page import curves, differences, layers, predicted, read


def read_of(*folders):
    return [jobs.read_job(folder) for folder in folders]


def test_a_setting_s_curve_is_the_mean_of_its_seeds_with_the_smallest_and_the_largest(tmp_path, write_run):
    runs = [write_run(tmp_path / f"{i}", ["ste=a", f"seed={i}"], accuracy=share) for i, share in enumerate((0.3, 0.6, 0.9))]
    runs.append(write_run(tmp_path / "b", ["ste=b", "seed=0"], accuracy=0.1))
    first, second = curves.settings(read_of(*runs))
    assert (first.label, second.label) == ("ste=a", "ste=b")  # as they rank
    assert [point.epoch for point in first.curves["test"]] == [1, 2, 3]
    assert first.curves["test"][-1].accuracy == pytest.approx((0.6, 0.3, 0.9))
    assert first.curves["test"][1].loss == (1.0, 1.0, 1.0)
    assert second.curves["test"][-1].accuracy == pytest.approx((0.1, 0.1, 0.1))


def test_a_run_in_training_has_a_curve_after_those_that_rank(tmp_path, write_run):
    done = write_run(tmp_path / "z", ["ste=z", "seed=0"])
    going = write_run(tmp_path / "a", ["ste=a", "seed=0"], finished=False, epochs=2)
    nothing = write_run(tmp_path / "n", ["ste=n", "seed=0"], finished=False, epochs=0)
    found = curves.settings(read_of(going, done, nothing))
    assert [setting.label for setting in found] == ["ste=z", "ste=a"]
    assert [point.epoch for point in found[1].curves["train"]] == [1, 2]


def test_a_shorter_run_leaves_its_later_epochs_to_the_others(tmp_path, write_run):
    runs = [write_run(tmp_path / f"{n}", ["ste=a", f"seed={n}"], epochs=n, accuracy=1.0) for n in (1, 2)]
    (setting,) = curves.settings(read_of(*runs))
    assert [point.accuracy for point in setting.curves["test"]] == [(0.75, 0.5, 1.0), (1.0, 1.0, 1.0)]


def test_a_number_that_is_none_is_left_out(tmp_path, write_run):
    run = write_run(tmp_path / "r")
    (run / "metrics.jsonl").write_text('{"epoch": 1, "test_loss": NaN, "test_accuracy": 0.5}\n{"epoch": 2, "test_l')
    (setting,) = curves.settings(read_of(run))
    assert setting.curves == {"test": [curves.Point(1, None, (0.5, 0.5, 0.5))]}


def test_of_an_epoch_that_is_there_twice_the_last_counts(tmp_path):
    (tmp_path / "m.jsonl").write_text('{"epoch": 2, "a": 1}\n{"epoch": 1}\nrubbish\n[1]\n{"epoch": 2, "a": 2}\n')
    assert read.rows(tmp_path / "m.jsonl") == [{"epoch": 1}, {"epoch": 2, "a": 2}]
    assert read.rows(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize(("count", "most"), [(1, 10), (10, 10), (11, 10), (1000, 300)])
def test_thinning_keeps_the_first_and_the_last_evenly(count, most):
    kept = list(curves.thinned(range(1, count + 1), most))
    assert len(kept) == min(count, most) == len(set(kept))
    assert (kept[0], kept[-1]) == (1, count)
    gaps = np.diff(kept)
    assert not len(gaps) or gaps.max() - gaps.min() <= 1


def test_keys_that_differ_without_where_things_lie(tmp_path, write_run):
    one, other = (write_run(tmp_path / name, [f"ste={name}", f"seed={i}"]) for i, name in enumerate("ab"))
    for folder in (one, other):
        with open(folder / ".hydra" / "config.yaml", "a") as file:
            file.write(f"sweep: {{name: {folder.name}}}\ntrainer: {{epochs: 2, clip: null, milestones: [1, 2]}}\n")
    assert differences.differing(read_of(one, other)) == (["seed", "ste.name"], [["0", "a"], ["1", "b"]])
    (other / ".hydra" / "config.yaml").write_text("data: [")
    assert differences.differing(read_of(one, other)) == ([], [[], []])  # nothing to differ from


def test_a_confusion_matrix_counts_each_image_once(tmp_path, write_run):
    found = predicted.read(write_run(tmp_path / "r", classes=("x", "y")))
    # 20 images, labels 0 1 0 1 ...; 0, 7, 14 are taken for the other.
    assert found.confusion.tolist() == [[8, 2], [1, 9]]
    assert (found.classes, found.wrong) == (["x", "y"], 3)
    sure = [mistake.probability for mistake in found.mistakes]
    assert sorted(sure, reverse=True) == sure
    assert {(mistake.index, mistake.label, mistake.guess) for mistake in found.mistakes} == {
        (0, "x", "y"),
        (7, "y", "x"),
        (14, "x", "y"),
    }
    assert all(mistake.image.startswith("data:image/png;base64,") and mistake.size == (8, 8) for mistake in found.mistakes)


def test_predictions_of_an_old_version_have_no_images_and_no_names(tmp_path):
    np.savez(tmp_path / "predictions.npz", scores=np.array([[1.0, 2.0], [np.nan, 1.0]]), labels=np.array([0, 1]))
    found = predicted.read(tmp_path)
    assert found.classes == ["0", "1"]
    assert found.confusion.tolist() == [[0, 1], [0, 1]]
    assert found.mistakes == [predicted.Mistake(0, "0", "1", pytest.approx(1 / (1 + np.exp(-1))), None, (0, 0))]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 rubbish"])
def test_damaged_predictions_are_none(tmp_path, content):
    assert predicted.read(tmp_path) is None
    (tmp_path / "predictions.npz").write_bytes(content)
    assert predicted.read(tmp_path) is None


def test_labels_that_no_score_belongs_to_are_none(tmp_path):
    np.savez(tmp_path / "predictions.npz", scores=np.zeros((2, 2)), labels=np.array([0, 2]))
    assert predicted.read(tmp_path) is None


def test_the_layers_table_is_the_one_that_a_run_prints(tmp_path, write_run):
    columns, size = layers.network(write_run(tmp_path / "r"))
    assert columns[0].cells == ["layer1", "layer2", "output", "total"]
    assert "in memory after training" in size
    (tmp_path / "r" / "network.json").write_text('[{"name": "old"}]')
    assert layers.network(tmp_path / "r") is None
    assert layers.network(tmp_path) is None


def test_health_is_thinned_to_what_there_is_room_for(tmp_path, write_run):
    run = write_run(tmp_path / "r", epochs=200, health=2)
    found = layers.of_health(run, 600)  # 2 layers of 3 figures: 100 epochs
    assert (found.layers, found.figures, found.epoch) == (["layer1", "layer2"], ["flipped", "never_moved", "gradient"], 200)
    assert len(found.values) == 600
    assert found.values[0] == layers.Value(1, "layer1", "flipped", 0.5)
    (run / "health.jsonl").write_text(json.dumps({"epoch": 1, "layers": {}}))
    assert layers.of_health(run, 600) is None
