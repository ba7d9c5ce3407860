import csv
import json

import pytest

from bnn_train.errors import ConfigError
from bnn_train.report import sweep


def write_job(folder, overrides, accuracy=None, failure=None, **numbers):
    job = folder / ",".join(overrides)
    (job / ".hydra").mkdir(parents=True)
    (job / ".hydra" / "overrides.yaml").write_text("".join(f"- {o}\n" for o in [*overrides, "sweep.name=x"]))
    if accuracy is not None:
        (job / "summary.json").write_text(json.dumps({"test_accuracy": accuracy, "seconds": 2.0, **numbers}))
    if failure is not None:
        (job / "failure.txt").write_text(f"Traceback\n  ...\n{failure}\n")


@pytest.fixture
def folder(tmp_path):
    write_job(tmp_path, ["ste=tanh", "seed=0", "trainer.epochs=2"], 0.5)
    write_job(tmp_path, ["ste=tanh", "seed=1", "trainer.epochs=2"], 0.7)
    write_job(tmp_path, ["ste=identity", "seed=0", "trainer.epochs=2"], 0.65)
    write_job(tmp_path, ["ste=clipped", "seed=0", "trainer.epochs=2"], failure="ValueError: no")
    write_job(tmp_path, ["ste=clipped", "seed=1", "trainer.epochs=2"])
    return tmp_path


def test_settings_are_ranked_by_their_mean_over_seeds(folder):
    keys, measure, ranked = sweep.settings(sweep.read_jobs(folder))
    assert (keys, measure) == (["ste"], "test_accuracy")
    assert [(s.values, s.mean, sorted(s.accuracies)) for s in ranked] == [
        (("identity",), 0.65, [0.65]),
        (("tanh",), pytest.approx(0.6), [0.5, 0.7]),
    ]


def test_the_table_shows_mean_deviation_best_and_what_is_not_finished(folder):
    lines = [line.split() for line in sweep.table(sweep.read_jobs(folder), "sweeps/x").splitlines()]
    assert ["rank", "ste", "runs", "mean", "std", "best", "time"] in lines
    assert ["1", "identity", "1", "65.00%", "65.00%", "2.0", "s"] in lines
    assert ["2", "tanh", "2", "60.00%", "14.14%", "70.00%", "2.0", "s"] in lines  # the sample's deviation: 0.2 / sqrt 2
    assert ["ste=clipped,seed=0,trainer.epochs=2:", "ValueError:", "no"] in lines
    assert ["ste=clipped,seed=1,trainer.epochs=2"] in lines


def test_held_out_accuracy_ranks_where_every_job_has_it(tmp_path):
    write_job(tmp_path, ["ste=a"], 0.9, val_accuracy=0.1)
    write_job(tmp_path, ["ste=b"], 0.2, val_accuracy=0.3)
    _, measure, ranked = sweep.settings(sweep.read_jobs(tmp_path))
    assert (measure, [s.values for s in ranked]) == ("val_accuracy", [("b",), ("a",)])
    write_job(tmp_path, ["ste=c"], 0.5)
    _, measure, ranked = sweep.settings(sweep.read_jobs(tmp_path))
    assert (measure, ranked[0].values) == ("test_accuracy", ("a",))


def test_ensembles_rank_where_every_job_has_one_beside_the_accuracy_without_noise(tmp_path):
    write_job(tmp_path, ["ste=a"], 0.9, test_ensemble_accuracy=0.1)
    write_job(tmp_path, ["ste=b"], 0.2, test_ensemble_accuracy=0.3)
    lines = [line.split() for line in sweep.table(sweep.read_jobs(tmp_path), "x").splitlines()]
    assert ["1", "b", "1", "30.00%", "30.00%", "20.00%", "2.0", "s"] in lines
    assert ["2", "a", "1", "10.00%", "10.00%", "90.00%", "2.0", "s"] in lines
    assert "noise" in lines[2] or "noise" in lines[3]
    write_job(tmp_path, ["ste=c"], 0.5)
    assert sweep.settings(sweep.read_jobs(tmp_path))[1] == "test_accuracy"


def test_a_key_that_some_jobs_do_not_set_is_a_column(tmp_path):
    write_job(tmp_path, ["ste=clipped"], 0.5)
    write_job(tmp_path, ["ste=clipped", "ste.clip=2"], 0.6)
    keys, _, ranked = sweep.settings(sweep.read_jobs(tmp_path))
    assert (keys, [s.values for s in ranked]) == (["ste.clip"], [("2",), (sweep.ABSENT,)])


def test_csv_holds_every_job(folder):
    sweep.write_csv(sweep.read_jobs(folder), folder / "sweep.csv")
    with open(folder / "sweep.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["ste"], row["seed"], row["status"], row["test_accuracy"]) for row in rows] == [
        ("clipped", "0", "failed", ""),
        ("clipped", "1", "unfinished", ""),
        ("identity", "0", "finished", "0.65"),
        ("tanh", "0", "finished", "0.5"),
        ("tanh", "1", "finished", "0.7"),
    ]
    assert "sweep.name" not in rows[0]


def test_a_directory_without_jobs(tmp_path):
    with pytest.raises(ConfigError, match="holds no job directories"):
        sweep.read_jobs(tmp_path)
