"""Sweeps: names, and whole sweeps as a user runs them."""

import csv
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bnn_train.cli import names

ROOT = Path(__file__).parent.parent.parent
SMALL = ("model.hidden=[8,8]", "trainer.epochs=2")


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["-m", "ste=identity,tanh", "seed=0,1", "trainer.epochs=2"], "ste+seed"),
        (["-m", "optimizer.lr=choice(0.1,0.2)"], "optimizer.lr"),
        (["-m", "seed=range(3)"], "seed"),
        (["-m", "ste=tanh"], None),
        (["-m", "ste=tanh,identity", "sweep.name=mine"], None),
        (["-m", "seed=0,1", "experiment=mnist_mlp"], None),
        (["-m", "experiment=mnist_mlp,mnist_cnn"], "experiment"),
        (["-m", "model.hidden=[8,8]"], None),
        (["-m", "a=[unclosed"], None),
    ],
)
def test_a_sweep_is_named_after_what_it_sweeps(arguments, name):
    assert names.default_name(arguments) == name


def test_a_jobs_directory_is_a_function_of_its_overrides():
    name = names.job_dir(["ste=tanh", "seed=0", "model.hidden=[8,8]", "sweep.name=x", "data.root=/somewhere", "device=cpu"])
    assert name == "model.hidden=[8,8],seed=0,ste=tanh"
    assert name == names.job_dir(["seed=0", "model.hidden=[8,8]", "ste=tanh"])
    assert names.job_dir(["a=b/c"]).startswith("a=b_c-")
    assert len({names.job_dir([f"a=b{c}c"]) for c in "/_: "}) == 4  # what a folder name cannot hold still tells jobs apart
    assert names.job_dir([]) == "defaults"
    long = [f"key{i}={'v' * 10}" for i in range(30)]
    assert len(names.job_dir(long)) == 150
    assert names.job_dir(long) != names.job_dir([*long, "z=1"])


def rows(folder):
    with open(folder / "sweep.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_sweep_skips_what_is_finished_continues_the_rest_and_survives_a_failing_job(command, tmp_path):
    jobs = ("optimizer=sgd", "optimizer.lr=1e+30,0.1")
    result = command("-m", *jobs, *SMALL, "sweep.name=s")
    assert result.returncode == 1
    assert "error: the loss became nan" in result.stdout
    assert "1 failed" in result.stdout
    folder = tmp_path / "sweeps" / "s"
    assert [(row["optimizer.lr"], row["status"]) for row in rows(folder)] == [("0.1", "finished"), ("1e+30", "failed")]
    (failed,) = folder.glob("*1e+30*")
    assert "Traceback" in (failed / "failure.txt").read_text()
    assert "the loss became nan" in (failed / "train.log").read_text()

    (done,) = folder.glob("*lr=0.1*")
    before = {path: path.read_bytes() for path in done.rglob("*.*") if path.is_file() and path.name not in (".lock", "train.log")}
    result = command("-m", "optimizer=sgd", "optimizer.lr=0.1,0.2", *SMALL, "sweep.name=s")  # one of the two is done
    assert result.returncode == 0, result.stdout + result.stderr  # the failure is an earlier command's
    assert "is finished" in result.stdout
    assert before == {path: path.read_bytes() for path in before}
    assert [(row["optimizer.lr"], row["status"]) for row in rows(folder)] == [
        ("0.1", "finished"),
        ("0.2", "finished"),
        ("1e+30", "failed"),
    ]

    code = "from bnn_train.cli.report import main; main()"
    line = [sys.executable, "-c", code, str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    shown = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
    printed, at_the_end = (text[text.index("rank ") :].split() for text in (shown.stdout, result.stdout))
    assert printed == at_the_end
    assert (shown.returncode, "1 failed" in shown.stdout) == (0, True)
    refused = subprocess.run([*line[:-1], str(tmp_path / "none")], env=environment, capture_output=True, text=True)
    assert (refused.returncode, refused.stderr.startswith("error: sweep=")) == (2, True)


def test_a_key_that_one_of_the_swept_options_does_not_take_is_refused_before_any_job(command, tmp_path):
    result = command("-m", "ste=clipped,tanh", "ste.clip=1", *SMALL)
    assert (result.returncode, "error: ste.clip=1: ste=tanh takes ste.stochastic" in result.stderr) == (1, True)
    assert not list(tmp_path.glob("sweeps/*/*/metrics.jsonl"))


def test_a_sweep_is_in_the_folder_that_it_is_told(command, tmp_path):
    result = command("-m", "seed=0,1", "hydra.sweep.dir=elsewhere", *SMALL)
    assert len(list((tmp_path / "elsewhere").glob("*/summary.json"))) == 2, result.stderr


def test_a_dry_run_leaves_nothing(command, tmp_path):
    result = command("dry_run=true", *SMALL)
    assert result.returncode == 0, result.stderr
    shown = " ".join(result.stdout.split())
    assert "dry run: would train to step 28 (2 x 14 steps an epoch); nothing was trained or saved" in shown
    result = command("-m", "dry_run=true", "seed=0,1", *SMALL)
    assert result.stdout.count("dry run: would train to step 28") == 2, result.stderr
    assert list(tmp_path.iterdir()) == []


def test_two_processes_on_one_sweep_share_its_jobs(tmp_path):
    """No job is started twice: each log names its run directory once."""
    line = [sys.executable, "-m", "bnn_train", "-m", "seed=0,1,2,3", "trainer.epochs=40", "model.hidden=[8,8]", "sweep.name=shared"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pair = [subprocess.Popen(line, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in "ab"]
    errors = [process.communicate(timeout=120)[1] for process in pair]
    assert [process.returncode for process in pair] == [0, 0], errors
    logs = list((tmp_path / "sweeps" / "shared").glob("*/train.log"))
    assert len(logs) == 4
    assert [log.read_text().count("run directory:") for log in logs] == [1] * 4


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_launchers_give_the_numbers_of_the_plain_sweep(command, tmp_path, launcher):
    if importlib.util.find_spec(f"hydra_plugins.hydra_{launcher.split('_')[0]}_launcher") is None:
        pytest.skip("needs the extra [sweep]")
    for name, extra in (("plain", ()), ("launched", (f"hydra/launcher={launcher}",))):
        result = command("-m", "ste=clipped,tanh", "seed=0,1", *SMALL, f"sweep.name={name}", *extra)
        assert result.returncode == 0, result.stderr
    times = ("seconds", "images_per_second")
    plain, launched = (
        [{k: v for k, v in row.items() if k not in times} for row in rows(tmp_path / "sweeps" / n)] for n in ("plain", "launched")
    )
    assert plain == launched


@pytest.mark.slow
def test_optuna_maximises_held_out_accuracy(command, tmp_path):
    optuna = ("hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=1", "hydra.sweeper.direction=maximize")
    result = command("-m", *optuna, "data.val_size=100", "optimizer.lr=interval(0.001,0.1)", *SMALL)
    assert result.returncode == 0, result.stderr
    best = max(float(row["val_accuracy"]) for row in rows(tmp_path / "sweeps" / "optimizer.lr"))
    assert f"best_value: {best}" in (tmp_path / "sweeps" / "optimizer.lr" / "optimization_results.yaml").read_text()
