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
    assert lines[1][-5:] == ["best", "mean", "without", "noise", "time"]
    write_job(tmp_path, ["ste=c"], 0.5)
    assert sweep.settings(sweep.read_jobs(tmp_path))[1] == "test_accuracy"


def test_settings_in_stages_say_how_many_epochs_they_trained_in_all(tmp_path):
    write_job(tmp_path, ["method=bnn"], 0.5, epochs=20)
    assert sweep.epochs_in_all(sweep.settings(sweep.read_jobs(tmp_path))[2]) == ""
    write_job(tmp_path, ["method=b"], 0.9, epochs=20, stages=[{"epochs": 20}, {"epochs": 5}])
    write_job(tmp_path, ["method=c"], 0.4, epochs=20)
    said = "rank 1: 25 epochs in all, in 2 stages; ranks 2, 3: 20 epochs"
    assert said in " ".join(sweep.table(sweep.read_jobs(tmp_path), "x").split())


def test_a_key_that_some_jobs_do_not_set_is_a_column(tmp_path):
    write_job(tmp_path, ["ste=clipped"], 0.5)
    write_job(tmp_path, ["ste=clipped", "ste.clip=2"], 0.6)
    keys, _, ranked = sweep.settings(sweep.read_jobs(tmp_path))
    assert (keys, [s.values for s in ranked]) == (["ste.clip"], [("2",), (sweep.ABSENT,)])


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        (["optimizer.lr", "model.hidden", "trainer.batch_size"], ["lr", "hidden", "batch_size"]),
        (["optimizer.lr", "scheduler.lr", "ste"], ["optimizer.lr", "scheduler.lr", "ste"]),
        (["data.mean", "data.std", "rank"], ["data.mean", "data.std", "rank"]),  # mean and std are columns of the table
        (["scheduler", "optimizer.scheduler", "a.b.c", "d.b.c"], ["scheduler", "optimizer.scheduler", "a.b.c", "d.b.c"]),
        (["hydra/x", "sweep.a.b", "sweep.a.c"], ["hydra/x", "b", "c"]),
    ],
)
def test_names_of_keys_are_short_and_told_apart(keys, names):
    assert sweep.short_names(keys) == names


def test_lists_of_words_are_text(tmp_path):
    for value in ("[gamma]", "[threshold]", "[gamma,threshold]", "[/]"):
        write_job(tmp_path, ["a"], 0.5)
        (tmp_path / "a").rename(tmp_path / value.replace("/", "_"))
        (tmp_path / value.replace("/", "_") / ".hydra" / "overrides.yaml").write_text(f"- optimizer.scheduled={value}\n")
    shown = [line.split()[1] for line in sweep.table(sweep.read_jobs(tmp_path), "[b]x[/b]").splitlines()[3:]]
    assert sorted(shown) == ["[/]", "[gamma,threshold]", "[gamma]", "[threshold]"]
    assert "[b]x[/b], by test accuracy" in sweep.table(sweep.read_jobs(tmp_path), "[b]x[/b]")


NINE = [
    *("optimizer.lr", "optimizer.weight_decay", "model.dropout", "trainer.label_smoothing", "scheduler.warmup", "ste.clip"),
    *("trainer.batch_size", "trainer.clip_grad_norm", "edges.rules"),
]


@pytest.mark.parametrize("width", [60, 80, 120, 400])
def test_many_keys_and_long_values_are_whole_at_every_width(tmp_path, columns, width):
    columns(width)
    for job in "ab":
        write_job(tmp_path, [job], 0.6777)
        pairs = [f"{key}=0.0123456789012345{i}{job}" for i, key in enumerate(NINE)]
        pairs[-1] = "edges.rules=[" + ",".join([f"{{layers:{job},density:0.5}}"] * 5) + "]"
        (tmp_path / job / ".hydra" / "overrides.yaml").write_text("".join(f"- '{pair}'\n" for pair in pairs))
    text = sweep.table(sweep.read_jobs(tmp_path), "sweeps/" + "+".join(NINE))
    assert max(map(len, text.splitlines())) <= width
    for job in "ab":
        for i, key in enumerate(NINE[:-1]):
            assert f"0.0123456789012345{i}{job}" in text
            assert key.split(".")[1] in text
        assert ",".join([f"{{layers:{job},density:0.5}}"] * 5) in "".join(text.split())
    assert text.count("67.77%") == 4  # mean and best of both
    assert ("lr=" in text) == (width < 400)  # on its side


def test_a_long_failure_breaks_between_words_and_names_stay_whole(tmp_path, columns):
    columns(60)
    name = ",".join(f"optimizer.weight_decay=0.00{i}" for i in range(3))
    write_job(tmp_path, [name], failure="ValueError: " + "many words of a failure " * 5)
    text = sweep.table(sweep.read_jobs(tmp_path), "x")
    assert f"  {name}:\n    ValueError: many" in text
    assert max(len(line) for line in text.splitlines() if name not in line) <= 60


def test_a_folder_that_one_may_only_read_still_gives_its_table(folder, capsys, monkeypatch):
    def refuse(path, content, **others):
        raise ConfigError("file", path, "no") from PermissionError(13, "Permission denied")

    monkeypatch.setattr(sweep.files, "write", refuse)
    jobs, taken = sweep.show(folder)
    shown = capsys.readouterr()
    assert (len(jobs), taken, "65.00%" in shown.out) == (5, True, True)
    assert shown.err == f"{folder / 'sweep.csv'} was not written (Permission denied); the table above is whole\n"


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
