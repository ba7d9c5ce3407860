"""wandb and mlflow for real, without a network: what their own files hold of a run that was stopped, killed and continued."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

import bnn_train
from bnn_train.runs.loggers import wandb_file

pytestmark = [pytest.mark.loggers, pytest.mark.filterwarnings("ignore")]

ALL = "logger=[csv,tensorboard,wandb,mlflow]"
SMALL = ("model.hidden=[16,16]", "trainer.epochs=2")


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """In a folder of its own, with no account and no settings of the user's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in [name for name in os.environ if name.startswith(("WANDB_", "MLFLOW_"))]:
        monkeypatch.delenv(name)


def of_wandb(run_dir):
    """(ids, [(step, test accuracy)], the configuration, the last summary) of its files."""
    ids, history, config, summary = set(), [], {}, {}
    for file in sorted(run_dir.glob("wandb/offline-run-*/*.wandb")):
        for record in wandb_file.records(file):
            if record.HasField("run"):
                ids.add(record.run.run_id)
                config |= {each.key: json.loads(each.value_json) for each in record.run.config.update}
            elif record.HasField("history"):
                items = {"/".join(each.nested_key) or each.key: each.value_json for each in record.history.item}
                history.append((record.history.step.num, json.loads(items["test_accuracy"])))
            elif record.HasField("summary"):
                summary |= {"/".join(e.nested_key) or e.key: json.loads(e.value_json) for e in record.summary.update}
    return ids, history, config, summary


def of_mlflow(run_dir):
    """(the run, [(step, test accuracy)], [(step, that of the result)])."""
    import mlflow

    kept = json.loads((run_dir / "mlflow.json").read_text())
    client = mlflow.MlflowClient(kept["uri"])
    histories = [client.get_metric_history(kept["run_id"], name) for name in ("test_accuracy", "result/test_accuracy")]
    return client.get_run(kept["run_id"]), *([(each.step, each.value) for each in history] for history in histories)


def of_tensorboard(run_dir):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run_dir / "tensorboard"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars("accuracy/test")]


def of_csv(run_dir):
    with open(run_dir / "metrics.csv", encoding="utf-8") as file:
        return [(int(row["epoch"]), float(row["test_accuracy"])) for row in csv.DictReader(file)]


def true_rows(run_dir):
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [(row["epoch"], row["test_accuracy"]) for row in rows]


def check_each_epoch_once(run_dir, epochs):
    expected = true_rows(run_dir)
    assert [epoch for epoch, _ in expected] == list(range(1, epochs + 1))
    ids, history, _, _ = of_wandb(run_dir)
    assert len(ids) == 1
    assert history == of_mlflow(run_dir)[1] == of_csv(run_dir) == expected
    assert of_tensorboard(run_dir) == [(epoch, pytest.approx(value)) for epoch, value in expected]


def test_all_at_once_of_a_run_that_was_stopped_within_an_epoch_and_continued(command, tmp_path):
    first = command(ALL, *SMALL, "trainer.max_steps=20", "hydra.run.dir=r")
    assert (first.returncode, first.stderr) == (0, "")
    assert "wandb sync r/wandb/offline-run-*" in first.stdout
    second = command("resume=r", "trainer.max_steps=null")
    assert (second.returncode, second.stderr) == (0, "")
    for noise in ("INFO", "alembic", "wandb:", "WARNING"):
        assert noise not in first.stdout + second.stdout
    run_dir = tmp_path / "r"
    check_each_epoch_once(run_dir, 2)
    summary = json.loads((run_dir / "summary.json").read_text())
    _, _, config, shown = of_wandb(run_dir)
    assert (config["optimizer.lr"], config["model.hidden"]) == (0.01, [16, 16])
    assert (shown["status"], shown["test_accuracy"]) == ("finished", summary["test_accuracy"])
    run, _, results = of_mlflow(run_dir)
    assert (run.info.status, run.data.params["optimizer.lr"]) == ("FINISHED", "0.01")
    assert results[-1] == (2, summary["test_accuracy"])
    plain = command(*SMALL, "hydra.run.dir=plain")
    assert plain.returncode == 0
    for file in ("metrics.jsonl", "health.jsonl"):
        assert (run_dir / file).read_bytes() == (tmp_path / "plain" / file).read_bytes()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_was_killed_or_interrupted_has_each_epoch_once(command, tmp_path, number):
    run_dir, lines = tmp_path / "r", 0
    line = [sys.executable, "-m", "bnn_train", ALL, "model.hidden=[32,32]", "trainer.epochs=2000", "hydra.run.dir=r"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment, start_new_session=True)
    for _ in range(600):
        with suppress(OSError):
            lines = len((run_dir / "metrics.jsonl").read_text().splitlines())
        if lines > 3 or process.poll() is not None:
            break
        time.sleep(0.05)
    os.kill(process.pid, number) if number == signal.SIGKILL else os.killpg(process.pid, number)  # as Ctrl-C does
    process.communicate(timeout=60)
    assert process.returncode == (-number if number == signal.SIGKILL else 130)
    epochs = len((run_dir / "metrics.jsonl").read_text().splitlines()) + 2
    again = command("resume=r", f"trainer.max_steps={14 * epochs}")
    assert again.returncode == 0, again.stderr
    check_each_epoch_once(run_dir, epochs)


def test_runs_in_one_process_are_runs_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/other.db")
    for seed in (0, 1):
        bnn_train.train([*SMALL, ALL, "logger.experiment=trial", f"seed={seed}", f"hydra.run.dir={seed}"])
        check_each_epoch_once(tmp_path / str(seed), 2)
    kept = [json.loads((tmp_path / str(seed) / "wandb" / "run.json").read_text()) for seed in (0, 1)]
    assert {each["project"] for each in kept} == {"mine"}
    assert kept[0]["id"] != kept[1]["id"]
    runs = [of_mlflow(tmp_path / str(seed))[0].info for seed in (0, 1)]
    assert runs[0].run_id != runs[1].run_id
    assert runs[0].experiment_id == runs[1].experiment_id
    assert not (tmp_path / "mlflow.db").exists()


def test_stores_that_fail_in_training_are_told_once_and_filled_later(tmp_path, monkeypatch):
    from mlflow import MlflowClient

    with monkeypatch.context() as broken:
        broken.setattr(MlflowClient, "log_batch", _when_training(MlflowClient.log_batch))
        bnn_train.train([*SMALL, ALL, "hydra.run.dir=r"])
    said = (tmp_path / "r" / "train.log").read_text()
    assert said.count("has failed") == 1
    assert "logger=mlflow has failed (OSError: no such server)" in " ".join(said.split())
    bnn_train.train(["resume=r", "trainer.epochs=3"])
    check_each_epoch_once(tmp_path / "r", 3)


def _when_training(log_batch):
    def function(client, run_id, metrics=(), **others):
        if metrics:
            raise OSError("no such server")
        return log_batch(client, run_id, metrics=metrics, **others)

    return function


def test_what_cannot_start_is_told_in_a_line_and_leaves_nothing(command, tmp_path):
    online = command(*SMALL, "logger=wandb", "logger.mode=online", "hydra.run.dir=r")
    assert online.returncode == 2
    assert online.stderr == (
        "error: logger.wandb.mode=online: needs an account: wandb login, or WANDB_API_KEY; without one use offline\n"
    )
    gone = command(*SMALL, "logger=[csv,wandb,mlflow]", "logger.mlflow.uri=http://127.0.0.1:1", "hydra.run.dir=r")
    assert gone.returncode == 2
    assert gone.stderr.startswith("error: logger=mlflow: cannot start (MlflowException: API request to http://127.0.0.1:1/")
    assert gone.stderr.count("\n") == 1
    assert not (tmp_path / "r").exists()
