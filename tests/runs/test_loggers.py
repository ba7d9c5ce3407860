"""Loggers: any number at once, each epoch once in each, and no failing one ends a run. wandb and mlflow: test_other_loggers.py."""

import csv
import dataclasses
import json
import sys

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import bnn_train
from bnn_train import plugins
from bnn_train.cli import loggers as typed_loggers
from bnn_train.cli.compose import checked
from bnn_train.config.root import typed
from bnn_train.data import datasets
from bnn_train.errors import ConfigError
from bnn_train.runs import loggers
from bnn_train.runs.loggers import wandb_file
from bnn_train.runs.run import run

PLUGIN = """
from bnn_train import register


@register.logger
def flaky(row, run_dir, *, word: str = "epoch", fails: list[int] = register.key([2])):
    with open(run_dir / "calls.txt", "a") as calls:
        calls.write(f"{row['epoch']}\\n")
    if row["epoch"] in fails and (run_dir / "calls.txt").read_text().split().count(str(row["epoch"])) == 1:
        raise OSError("no space left")
    with open(run_dir / "flaky.txt", "a") as file:
        file.write(f"{word} {row['epoch']}\\n")


@register.logger
def hopeless(run_dir, *, word: str = "x"):
    return lambda row: 1 / (row["epoch"] - 1)
"""


def csv_rows(run_dir):
    with open(run_dir / "metrics.csv", encoding="utf-8") as file:
        return [{key: json.loads(value) for key, value in row.items() if value} for row in csv.DictReader(file)]


def json_rows(run_dir):
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def events(run_dir):
    found = EventAccumulator(str(run_dir / "tensorboard"))
    found.Reload()
    return found


def steps(run_dir, tag="loss/train"):
    return [event.step for event in events(run_dir).Scalars(tag)]


def test_several_loggers_have_each_epoch_once_of_a_run_that_was_stopped_within_one(small, tmp_path):
    config = small("logger=[csv,tensorboard]", "trainer.max_steps=20")
    run(config, tmp_path)
    assert csv_rows(tmp_path)[1]["steps"] == 6  # 14 steps an epoch
    config.trainer.max_steps = None
    summary = run(config, tmp_path, ["trainer.max_steps"])
    assert csv_rows(tmp_path) == json_rows(tmp_path)
    assert [row["epoch"] for row in csv_rows(tmp_path)] == steps(tmp_path) == steps(tmp_path, "flipped/linear2") == [1, 2]
    (result,) = [event.value for event in events(tmp_path).Scalars("result/test_accuracy") if event.step == 2]
    assert result == pytest.approx(summary["test_accuracy"])
    (text,) = events(tmp_path).Tensors("configuration/text_summary")
    assert b"optimizer.lr: 0.01" in text.tensor_proto.string_val[0]
    assert "_hparams_/session_start_info" in events(tmp_path).summary_metadata


def test_a_logger_chosen_later_gets_what_it_lacks(small, tmp_path):
    run(small(), tmp_path)
    run(small("logger=[csv,tensorboard]", "trainer.epochs=3"), tmp_path, ["logger", "trainer.epochs"])
    assert [row["epoch"] for row in csv_rows(tmp_path)] == steps(tmp_path) == steps(tmp_path, "flipped/linear2") == [1, 2, 3]
    run(small("logger=files", "trainer.epochs=4"), tmp_path, ["logger", "trainer.epochs"])
    assert len(csv_rows(tmp_path)) == 3


def test_a_run_is_the_same_whatever_logs_it(small, tmp_path):
    run(small(), tmp_path / "a")
    run(small("logger=[tensorboard,csv]"), tmp_path / "b")
    for file in ("metrics.jsonl", "health.jsonl"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_logger_that_fails_ends_no_run_and_gets_its_rows_again(plugin, tmp_path, monkeypatch):
    plugin(PLUGIN)
    given = ["plugins=[mine.py]", "model.hidden=[16,16]", "trainer.epochs=3", "hydra.run.dir=r"]
    bnn_train.train([*given, "logger=[flaky,hopeless,csv]", "logger.flaky.word=row"])
    state = torch.load(tmp_path / "r" / "checkpoints" / "last.pt", weights_only=True)
    assert state["registered"] == {f"logger={name}": ["plugin", "mine.py"] for name in ("flaky", "hopeless")}
    said = " ".join((tmp_path / "r" / "train.log").read_text().split())
    assert said.count("has failed") == 2
    assert "note: logger=flaky has failed (mine.py, line 10: OSError: no space left); the run goes on" in said
    assert "note: logger=hopeless has failed (mine.py, line 17: ZeroDivisionError: division by zero)" in said
    assert (tmp_path / "r" / "flaky.txt").read_text() == "row 1\nrow 2\nrow 3\n"
    assert (tmp_path / "r" / "calls.txt").read_text().split() == ["1", "2", "2", "3"]  # not at once: at the end
    monkeypatch.setattr(loggers, "AGAIN", 0.0)
    bnn_train.train(["plugins=[mine.py]", "resume=r", "trainer.epochs=6", "logger=flaky", "logger.fails=[4,5]"])
    assert (tmp_path / "r" / "calls.txt").read_text().split()[4:] == ["4", "4", "5", "5", "6"]
    assert (tmp_path / "r" / "flaky.txt").read_text().endswith("row 3\nepoch 4\nepoch 5\nepoch 6\n")


def test_a_logger_that_fails_for_good_is_left_at_the_end():
    calls = []

    def write(row, health):
        calls.append(row["epoch"])
        raise OSError

    guarded = loggers._guarded("server", loggers.Logger(write, lambda status, summary: calls.append(status)))
    for epoch in range(1, 9):
        guarded.write({"epoch": epoch}, {})
    guarded.end("failed", {})
    assert calls == [1, 1, 2, "failed"]


@pytest.mark.parametrize(("name", "module"), [("tensorboard", "torch.utils.tensorboard"), ("wandb", "wandb"), ("mlflow", "mlflow")])
def test_a_library_that_is_missing_is_told_before_images_are_read(small, tmp_path, monkeypatch, name, module):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    monkeypatch.setattr(datasets, "load", lambda *arguments: pytest.fail("has read them"))
    for folder, more in ((tmp_path / "r", ""), (tmp_path / "d", "dry_run=true")):
        with pytest.raises(ConfigError, match=rf"^logger={name}: is not installed: pip install 'bnn-train\[{name}\]'$"):
            run(small(f"logger=[csv,{name}]", *more.split()), folder)


def test_checkpoints_from_before_there_were_several_are_read(small, plugin):
    plugin(PLUGIN)
    plugins.load(["mine.py"])
    tree = dataclasses.asdict(small())

    def chosen(logger):
        return {name: dataclasses.asdict(each) for name, each in typed({**tree, "logger": logger}).logger.items()}

    assert chosen({"name": "files", "tensorboard": False}) == {}
    assert chosen({"name": "tensorboard", "tensorboard": True}) == {"tensorboard": {"name": "tensorboard"}}
    old = {"name": "hopeless", "tensorboard": True, "word": "row"}
    assert chosen(old) == {"tensorboard": {"name": "tensorboard"}, "hopeless": {"name": "hopeless", "word": "row"}}
    with pytest.raises(ConfigError, match=r"^logger\.hopeless\.size=3: is a key of another version"):
        chosen({**old, "size": 3})
    with pytest.raises(ConfigError, match=r"^logger=gone: is a logger of another version of bnn-train"):
        chosen({"gone": {"name": "gone"}})


def test_a_key_is_typed_with_its_loggers_name_or_without_where_it_is_plain(plugin):
    plugin(PLUGIN)
    plugins.load(["mine.py"])

    def full(*arguments):
        return typed_loggers.full_keys(list(arguments))[-1]

    assert full("logger.project=p") == "logger.wandb.project=p"
    assert full("logger.mlflow.uri=u") == "logger.mlflow.uri=u"
    assert full("logger=[csv,flaky]", "logger.word=a") == "logger.flaky.word=a"
    assert full("logger=hopeless", "logger.word=a") == "logger.hopeless.word=a"
    assert full("logger=flaky,[csv,files]", "logger.word=a,b") == "logger.flaky.word=a,b"
    assert full("logger=[flaky,hopeless]", "logger.word=a") == full("logger.word=a") == "logger.word=a"
    assert typed_loggers.remedy("logger.word") == "is a key of flaky and of hopeless; say of which, as in logger.flaky.word"


def test_files_of_the_users_own_choose_loggers_and_set_their_keys(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own" / "experiment").mkdir(parents=True)

    def chosen(text):
        (tmp_path / "own" / "experiment" / "e.yaml").write_text(f"# @package _global_\n{text}\n")
        return checked(["hydra.searchpath=[own]", "experiment=e"])[0].logger

    found = chosen("defaults: [override /logger: [csv, wandb]]\nlogger: {wandb: {project: digits}}")
    assert [(name, getattr(each, "project", None)) for name, each in found.items()] == [("csv", None), ("wandb", "digits")]
    with pytest.raises(ConfigError, match=r"^logger\.project=digits: stands below its logger's name, as in  logger: {wandb: {proj"):
        chosen("logger: {project: digits}")


def test_files_of_another_wandb_are_unknown_and_no_error(tmp_path, monkeypatch):
    assert wandb_file.steps(tmp_path, "abc") == set()
    monkeypatch.setitem(sys.modules, "wandb.proto.wandb_internal_pb2", None)  # moved, or not installed
    (tmp_path / "run-1").mkdir()
    (tmp_path / "run-1" / "run-abc.wandb").write_bytes(b":W&B")
    assert wandb_file.steps(tmp_path, "abc") is None
