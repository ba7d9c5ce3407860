import json

import pytest

from bnn_train.errors import ConfigError
from bnn_train.report import given, show


def run_of(folder, seed=0, accuracy=0.5, data="digits", **summary):
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text(f"- seed={seed}\n")
    (folder / ".hydra" / "config.yaml").write_text(f"data: {{name: {data}}}\n")
    (folder / "summary.json").write_text(json.dumps({"test_accuracy": accuracy, "seconds": 1.0, **summary}))
    return folder


def study(folder):
    folder.mkdir()
    (folder / "lab.json").write_text(json.dumps({"measured": [{}], "config": {"protocol": {"name": "psa"}}}))
    return folder


def test_a_folder_of_jobs_is_a_sweep_and_a_run_is_itself(tmp_path):
    runs = [run_of(tmp_path / "sweeps" / "s" / f"seed={i}", i) for i in range(2)]
    sweep = given.read([tmp_path / "sweeps" / "s"])
    assert (sweep.sweep, [job.folder for job in sweep.jobs]) == (tmp_path / "sweeps" / "s", runs)
    one = given.read([runs[1]])
    assert (one.sweep, [job.name for job in one.jobs]) == (None, ["seed=1"])


def test_runs_and_sweeps_go_together_and_each_run_is_taken_once(tmp_path):
    runs = [run_of(tmp_path / "s" / f"seed={i}", i) for i in range(2)]
    other = run_of(tmp_path / "o" / "seed=0", 5)
    found = given.read([runs[0], tmp_path / "s", other])
    assert [job.folder for job in found.jobs] == [*runs, other]
    assert [job.name for job in found.jobs] == ["s/seed=0", "s/seed=1", "o/seed=0"]  # as much of a path as tells them apart
    assert (found.title, found.sweep) == ("3 runs", None)


def test_a_title_does_not_say_where_a_folder_lies(tmp_path, monkeypatch):
    run_of(tmp_path / "a" / "b" / "r")
    monkeypatch.chdir(tmp_path)
    assert given.read([tmp_path / "a" / "b" / "r"]).title == "b/r"
    assert given.read([(tmp_path / "a" / "b").relative_to(tmp_path)]).title == "a/b"
    monkeypatch.chdir(tmp_path / "a" / "b" / "r")
    assert given.read([type(tmp_path)(".")]).title == "b/r"


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        (["missing"], "does not exist; give directories of runs or of sweeps"),
        (["r/summary.json"], "is a file; give directories"),
        (["empty"], "holds no job directories"),
        (["study", "r"], "is a study of the laboratory, which is reported alone"),
        (["cut"], "lab.json is cut or damaged"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(tmp_path, paths, said):
    run_of(tmp_path / "r")
    study(tmp_path / "study")
    (tmp_path / "empty").mkdir()
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "lab.json").write_text('{"measured": [')
    with pytest.raises(ConfigError, match=said):
        given.read([tmp_path / path for path in paths])


def test_runs_on_different_data_do_not_compare_but_a_sweep_over_data_is_as_it_was_asked_for(tmp_path):
    runs = [run_of(tmp_path / "s" / data, data=data) for data in ("digits", "mnist")]
    with pytest.raises(ConfigError, match=r"is on mnist, another run on digits, and their accuracies do not compare"):
        given.check_one_data_set(given.read(runs))
    given.check_one_data_set(given.read([tmp_path / "s"]))
    given.check_one_data_set(given.read(runs[:1]))


def test_a_finished_run_shows_its_result_and_one_of_an_old_version_its_accuracy(tmp_path, capsys):
    known = {
        "chosen": "epoch 3, the last",
        "checkpoint": "checkpoints/result.pt",
        "kind": "last",
        "images_per_second": 9.0,
        "device": "cpu",
    }
    assert show.table(given.read([run_of(tmp_path / "new", accuracy=0.75, **known)]))
    out = capsys.readouterr().out
    assert "test accuracy    75.00%" in out
    assert "epoch 3, the last (checkpoints/result.pt)" in out
    assert show.table(given.read([run_of(tmp_path / "old", accuracy=0.25)]))
    assert "25.00%" in capsys.readouterr().out


def test_several_runs_show_a_table_and_write_no_file(tmp_path, capsys):
    runs = [run_of(tmp_path / f"seed={i}", i, accuracy=0.5 + i / 10) for i in range(2)]
    before = sorted(tmp_path.rglob("*"))
    assert show.table(given.read(runs))
    assert ["1", "2", "55.00%", "7.07%", "60.00%", "1.0", "s"] in [line.split() for line in capsys.readouterr().out.splitlines()]
    assert sorted(tmp_path.rglob("*")) == before
    assert show.table(given.read([tmp_path]))  # the sweep of both
    assert (tmp_path / "sweep.csv").exists()


def test_a_run_that_is_not_finished_is_said_to_be_so(tmp_path, capsys):
    run = run_of(tmp_path / "r")
    (run / "summary.json").unlink()
    assert show.table(given.read([run]))
    said = capsys.readouterr().out
    assert "is in training, or was stopped, before the end of its first epoch" in said
    assert f"it goes on with: bnn-train resume={run}" in said
    rows = [{"epoch": 1, "test_accuracy": 0.25}, {"epoch": 2, "val_accuracy": 0.5, "test_accuracy": 0.75}]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert show.table(given.read([run]))
    assert "after epoch 2: val 50.00%, test 75.00%" in capsys.readouterr().out


def test_runs_on_folders_of_other_classes_do_not_compare(tmp_path):
    runs = {"cups": ["cup", "plate"], "again": ["cup", "plate"], "cats": ["cat", "dog"]}
    cups, again, cats = (run_of(tmp_path / name, data="image_folder", classes=classes) for name, classes in runs.items())
    given.check_one_data_set(given.read([cups, again]))
    with pytest.raises(ConfigError, match="is on images of other classes than another run on image_folder"):
        given.check_one_data_set(given.read([cups, cats]))
