import os
import pickle
import random

import pytest
import torch

from bnn_train.errors import ConfigError
from bnn_train.runs import checkpoint


def test_round_trip_of_plain_types_and_tensors(tmp_path):
    path = tmp_path / "last.pt"
    checkpoint.save({"a": torch.arange(3), "b": [1, {"c": None}]}, path)
    state = checkpoint.load(path)
    assert state["a"].tolist() == [0, 1, 2]
    assert state["b"] == [1, {"c": None}]
    assert os.listdir(tmp_path) == ["last.pt"]


def test_a_failed_write_leaves_the_older_file(tmp_path, monkeypatch):
    path = tmp_path / "last.pt"
    checkpoint.save({"epoch": 1}, path)

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match=r"last\.pt: could not be written \(No space left on device\)"):
        checkpoint.save({"epoch": 2}, path)
    assert checkpoint.load(path)["epoch"] == 1
    assert os.listdir(tmp_path) == ["last.pt"]


class Malice:
    def __reduce__(self):
        return os.mkdir, ("ran",)


@pytest.mark.parametrize("content", ["cut", "empty", "text", "malicious", "foreign"])
def test_a_file_that_is_no_checkpoint_is_refused_and_not_run(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "last.pt"
    checkpoint.save({"a": torch.arange(3)}, path)
    whole = path.read_bytes()
    if content == "foreign":
        torch.save({"weights": torch.ones(2)}, path)
    elif content == "malicious":
        path.write_bytes(pickle.dumps(Malice()))
    else:
        path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "text": b"hello"}[content])
    with pytest.raises(ConfigError, match=r"checkpoint=.*last\.pt"):
        checkpoint.load(path)
    assert not (tmp_path / "ran").exists()


def test_a_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="there is no such file"):
        checkpoint.load(tmp_path / "none.pt")


def test_random_state_round_trip(tmp_path):
    checkpoint.save(checkpoint.random_state(), tmp_path / "random.pt")
    expected = random.random(), torch.rand(3)
    checkpoint.set_random_state(checkpoint.load(tmp_path / "random.pt"))
    assert random.random() == expected[0]
    assert torch.equal(torch.rand(3), expected[1])


def test_a_study_is_no_run_and_says_where_its_runs_are(tmp_path):
    (tmp_path / "study.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"is a study; give one of its runs, .*/ROW/seed=N$"):
        checkpoint.find(tmp_path, "path")
