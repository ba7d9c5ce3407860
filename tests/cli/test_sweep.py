"""Sweeps: names, and whole sweeps as a user runs them."""

import csv
import importlib.util
import os
import subprocess
import sys
import time
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
        (["-m", "method=xnor,irnet,bop", "model=resnet20", "seed=0,1"], "method+seed"),
        (["-m", "method=xnor", "seed=0,1"], None),
        (["-m", "method=null", "seed=0,1"], "seed"),
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
    assert names.job_dir(["method=bop", "model=resnet20", "seed=1"]) == "method=bop,model=resnet20,seed=1"
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
    assert "error: the loss became nan" in result.stderr
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
    assert (refused.returncode, refused.stderr.startswith("error: path=")) == (2, True)


def test_a_key_that_one_of_the_swept_options_does_not_take_is_refused_before_any_job(command, tmp_path):
    result = command("-m", "ste=clipped,tanh", "ste.clip=1", *SMALL)
    assert (result.returncode, "error: ste.clip=1: ste=tanh takes ste.stochastic" in result.stderr) == (2, True)
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


def test_the_exit_code_of_a_failed_job_survives_the_output(command, tmp_path):
    """Also where its reader has left, and where Hydra writes nothing into the jobs' folders."""
    jobs = ["-m", "optimizer.lr=0.01,1e30", *SMALL, "hydra.output_subdir=null", "sweep.name=o"]
    line = [sys.executable, "-m", "bnn_train", *jobs]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(line, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read().decode()
    assert (process.returncode, "Traceback" in errors, "Warning" in errors) == (1, False, False), errors
    assert {row["status"] for row in rows(tmp_path / "sweeps" / "o")} == {"finished", "failed"}


def test_what_is_swept_is_part_of_a_jobs_name(command, tmp_path):
    """Also a key that cannot change a result: two values are two jobs."""
    result = command("-m", "device=cpu,auto", *SMALL)
    assert result.returncode == 0, result.stderr
    assert [row["device"] for row in rows(tmp_path / "sweeps" / "device")] == ["auto", "cpu"]


def test_a_sweep_that_does_not_say_which_jobs_to_run_leaves_nothing(command, tmp_path):
    result = command("-m", "seed=0,1", "optimizer.lr=0.1", "seed=2,3", *SMALL)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1), result.stderr
    assert "error: seed=2,3: is typed twice" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_two_processes_on_one_sweep_share_its_jobs(tmp_path):
    """No job is started twice: each log names its run directory once. The processes take themselves to be on two machines."""
    arguments = ["-m", "seed=0,1,2,3", "trainer.epochs=40", "model.hidden=[8,8]", "sweep.name=shared"]
    code = "import socket; socket.gethostname = lambda: {!r}\nfrom bnn_train.cli.train import main; main()"
    lines = [[sys.executable, "-c", code.format(name), *arguments] for name in ("north", "south")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    pair = [subprocess.Popen(line, cwd=tmp_path, env=environment, **pipes) for line in lines]
    errors = [process.communicate(timeout=120)[1].decode() for process in pair]
    told = [path.read_text() for path in (tmp_path / "sweeps" / "shared").glob("*/failure.txt")]
    for process, error in zip(pair, errors, strict=True):
        assert process.returncode == 0, "\n".join([error[-1000:], *told])
    logs = list((tmp_path / "sweeps" / "shared").glob("*/train.log"))
    assert len(logs) == 4
    assert [log.read_text().count("run directory:") for log in logs] == [1] * 4
    assert all(": another process is training in this directory (" in line for error in errors for line in error.splitlines())


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
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_signal_to_a_joblib_sweep_stops_its_jobs_with_what_they_did_saved(tmp_path):
    if importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher") is None:
        pytest.skip("needs the extra [sweep]")
    line = [sys.executable, "-m", "bnn_train", "-m", "seed=0,1", "trainer.epochs=100000", "model.hidden=[8,8]", "sweep.name=j"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([*line, "hydra/launcher=joblib"], cwd=tmp_path, env=environment, start_new_session=True)
    logs = [tmp_path / "sweeps" / "j" / f"model.hidden=[8,8],seed={seed},trainer.epochs=100000" / "metrics.jsonl" for seed in "01"]
    while not all(log.exists() and log.read_text() for log in logs):
        time.sleep(0.1)
    process.terminate()
    assert process.wait(60) == 143
    done = [log.read_text() for log in logs]
    assert all((log.parent / "checkpoints" / "last.pt").exists() for log in logs)
    time.sleep(2)
    assert [log.read_text() for log in logs] == done  # no orphan goes on


@pytest.mark.slow
def test_a_search_goes_on_after_a_failed_trial(command, tmp_path):
    optuna = ("hydra/sweeper=optuna", "hydra.sweeper.n_trials=4", "hydra.sweeper.n_jobs=1", "hydra.sweeper.sampler.seed=0")
    result = command("-m", *optuna, "data.val_size=100", "optimizer.lr=choice(1e30,0.01)", *SMALL)
    assert result.returncode == 1, result.stderr
    assert [row["status"] for row in rows(tmp_path / "sweeps" / "optimizer.lr")] == ["finished", "failed"]
    every = command("-m", *optuna, "data.val_size=100", "optimizer.lr=choice(1e30,1e31)", *SMALL, "sweep.name=none")
    assert (every.returncode, "2 failed (the traceback" in every.stdout) == (1, True), every.stdout
    refused = command("-m", *optuna, "optimizer.lr=choice(0.1,0.01)", *SMALL, "sweep.name=other")
    assert (refused.returncode, "error: data.val_size=0: a search chooses by held-out images" in refused.stderr) == (2, True)
    assert not (tmp_path / "sweeps" / "other").exists()


@pytest.mark.slow
def test_optuna_maximises_held_out_accuracy(command, tmp_path):
    optuna = ("hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=1")
    result = command("-m", *optuna, "data.val_size=100", "optimizer.lr=interval(0.001,0.1)", *SMALL)
    assert result.returncode == 0, result.stderr
    best = max(float(row["val_accuracy"]) for row in rows(tmp_path / "sweeps" / "optimizer.lr"))
    assert f"best_value: {best}" in (tmp_path / "sweeps" / "optimizer.lr" / "optimization_results.yaml").read_text()
