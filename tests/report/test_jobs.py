import json
import os
import shlex

import pytest

from bnn_train.errors import ConfigError
from bnn_train.report import jobs as jobs_module
from bnn_train.report import sweep
from bnn_train.report.jobs import read_jobs


@pytest.fixture
def folder(tmp_path):
    """Three finished jobs that differ in their seed."""
    for seed in range(3):
        job = tmp_path / "sweeps" / "seed" / f"seed={seed}"
        (job / ".hydra").mkdir(parents=True)
        (job / ".hydra" / "overrides.yaml").write_text(f"- seed={seed}\n- ste=tanh\n")
        (job / "summary.json").write_text(json.dumps({"test_accuracy": 0.5 + seed / 10, "seconds": 1.0}, indent=2) + "\n")
    return tmp_path / "sweeps" / "seed"


def found(folder):
    return {job.name: (job.status, job.reason) for job in read_jobs(folder)}


@pytest.mark.parametrize(
    "content", [b'{\n  "test_acc', b"", b"\xff\xfe\x00", b"[1]", b"{}", b'{"test_accuracy": NaN, "seconds": 1}']
)
def test_a_damaged_summary_is_named_and_the_others_are_ranked(folder, content):
    (folder / "seed=1" / "summary.json").write_bytes(content)
    status, reason = found(folder)["seed=1"]
    assert (status, reason.split()[0]) == ("damaged", "summary.json")
    text = sweep.table(read_jobs(folder), str(folder))
    assert "60.00%  14.14%  70.00%" in text
    assert "1 damaged or incomplete, and left out of the ranking:\n  seed=1: summary.json is " in text


@pytest.mark.parametrize("content", [b"", b"- seed=1\n- ste=ta", b"- [\n", b"\xff", b"a: b\n", None])
def test_a_job_whose_overrides_are_not_known_is_named_not_ranked_and_makes_no_column(folder, content):
    file = folder / "seed=1" / ".hydra" / "overrides.yaml"
    file.unlink() if content is None else file.write_bytes(content)
    status, reason = found(folder)["seed=1"]
    assert (status, reason.split()[0]) == ("damaged", ".hydra/overrides.yaml")
    keys, _, ranked = sweep.settings(read_jobs(folder))
    assert (keys, [setting.accuracies for setting in ranked]) == ([], [[0.5, 0.7]])
    assert "test accuracy 60.00%" in sweep.table(read_jobs(folder), str(folder))


def test_overrides_that_the_summary_holds_stand_in_for_the_missing_ones(folder):
    (folder / "seed=1" / ".hydra" / "overrides.yaml").unlink()
    summary = {"test_accuracy": 0.9, "seconds": 1.0, "overrides": ["seed=1", "+ste=identity", "sweep.name=x"]}
    (folder / "seed=1" / "summary.json").write_text(json.dumps(summary))
    keys, _, ranked = sweep.settings(read_jobs(folder))
    assert (keys, [setting.values for setting in ranked]) == (["ste"], [("identity",), ("tanh",)])


def test_with_no_overrides_at_all_each_job_has_its_name_for_its_setting(folder):
    for job in folder.iterdir():
        (job / ".hydra" / "overrides.yaml").unlink()
        (job / ".hydra").rmdir()
    text = sweep.table(read_jobs(folder), "x")
    assert [line.split()[:4] for line in text.splitlines()[3:6]] == [
        ["1", "seed=2", "1", "70.00%"],
        ["2", "seed=1", "1", "60.00%"],
        ["3", "seed=0", "1", "50.00%"],
    ]
    assert "names of their directories: .hydra/overrides.yaml is missing" in " ".join(text.split())


def test_a_failure_that_cannot_be_read_is_still_one(folder):
    for seed, content in enumerate((b"", b"\xff\nValueError: \xff", b"Traceback\n  ...\nOSError: no\n")):
        (folder / f"seed={seed}" / "failure.txt").write_bytes(content)
    assert list(found(folder).values()) == [("failed", ""), ("failed", "ValueError: \ufffd"), ("failed", "OSError: no")]


def test_a_job_that_has_only_begun_and_one_that_is_extended(folder):
    (folder / "new" / "checkpoints").mkdir(parents=True)
    (folder / "a b,c=1").mkdir()
    (folder / "a b,c=1" / "summary.json").write_text('{"status": "continued", "test_accuracy": 0.5, "seconds": 1}')
    jobs = {job.name: job for job in read_jobs(folder)}
    assert (jobs["new"].status, jobs["a b,c=1"].status) == ("unfinished", "unfinished")
    command = jobs["a b,c=1"].command
    assert shlex.split(command) == ["bnn-train", f"resume={folder}/a b,c=1"]
    assert f"\n    {command}" in sweep.table(read_jobs(folder), "x")  # whole, on a line of its own


def test_a_job_that_may_not_be_read_is_named(folder, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: path.name != "seed=1")
    assert found(folder)["seed=1"] == ("damaged", "cannot be read (Permission denied)")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("none", "cannot be read (No such file or directory)"),
        ("sweeps/seed/seed=0/summary.json", "cannot be read (Not a directory)"),
        ("sweeps", "holds folders of runs: seed; give one of them, as in "),
        ("", "holds no job directories; give the directory of a sweep"),
    ],
)
def test_a_path_that_is_no_sweep(folder, path, said):
    with pytest.raises(ConfigError) as refusal:
        read_jobs(folder.parent.parent / path)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_folder_of_studies_names_them(tmp_path):
    for name in ("p", "q"):
        (tmp_path / name / "bnn").mkdir(parents=True)
        (tmp_path / name / "study.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"holds studies: p, q; give one of them, as in .*/p$"):
        read_jobs(tmp_path)


def test_a_job_that_was_extended_is_of_the_length_that_it_has():
    assert jobs_module._extended({"ste": "tanh", "trainer.epochs": "2"}, {"epochs": 3, "max_steps": None}) == {
        "ste": "tanh",
        "trainer.epochs": "3",
    }
    assert jobs_module._extended({"trainer.max_steps": "5"}, {"epochs": 3, "max_steps": 9}) == {"trainer.max_steps": "9"}
    assert jobs_module._extended({"trainer.epochs": "2"}, {}) == {"trainer.epochs": "2"}
