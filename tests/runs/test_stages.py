"""Runs in stages: what they leave, how they go on, what they refuse."""

import copy
import functools
import json
import logging
import shutil
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from bnn_train import files, plugins
from bnn_train.cli import names
from bnn_train.cli import stages as stages_module
from bnn_train.cli.compose import typed as composed
from bnn_train.config.distill import TeacherConfig
from bnn_train.config.model import MlpConfig
from bnn_train.data import datasets
from bnn_train.deploy.export import export_run
from bnn_train.errors import ConfigError, Interrupted
from bnn_train.report import given, jobs, show, study
from bnn_train.report.page import html
from bnn_train.runs import checkpoint, directory, interrupt, plan
from bnn_train.runs import stages as stages_of_runs
from bnn_train.runs.run import run
from bnn_train.runs.saved import evaluate_saved
from bnn_train.runs.stages import run_all

TINY = ("model.hidden=[8,8]", "trainer.epochs=1", "data.train_limit=300")
TAUGHT = "stages.each=[['ste=none','weights=real'],['distill=logits','distill.teacher=stage1']]"


class Killed(BaseException):
    """As by SIGKILL: nobody saves anything any more."""


one_configuration = functools.cache(lambda *typed: composed(list(typed)))  # Hydra takes a sixth of a second


@functools.cache
def planned(*typed):
    config = composed(list(typed))
    return config, stages_module.composed(config, typed)


def train(*overrides, at="run", kind="stages=two_step"):
    """overrides: of keys that all stages have."""
    config, each = copy.deepcopy(planned(*TINY, kind))
    for one in (config, *(stage.config for stage in each)):
        for override in overrides:
            key, _, value = override.partition("=")
            group, _, name = key.rpartition(".")
            setattr(getattr(one, group) if group else one, name, yaml.safe_load(value))
    return run_all(config, each, Path(at), [*TINY, kind, *overrides])


def go_on(at="run", *overrides):
    typed = [f"resume={at}", *overrides]
    return run_all(replace(one_configuration(*overrides), resume=at), [], names.run_of(at), typed)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def content(folder):
    """All that a run leaves and that times do not change, by file."""
    found = {}
    for file in sorted(Path(folder).rglob("*")):
        name = str(file.relative_to(folder))
        if file.suffix == ".pt":
            found[name] = plain(checkpoint.load(file))
        elif file.name in ("metrics.jsonl", "health.jsonl", "network.json", "stages.json", "predictions.npz"):
            found[name] = file.read_bytes()
        elif file.name == "summary.json":
            found[name] = without_times(json.loads(file.read_text()))
    return found


def without_times(tree):
    if isinstance(tree, dict):
        return {k: without_times(v) for k, v in tree.items() if k not in ("seconds", "images_per_second", "share_of_step")}
    return [without_times(each) for each in tree] if isinstance(tree, list) else tree


def plain(tree):
    """Tensors as what can be compared."""
    if isinstance(tree, dict):
        return {key: plain(value) for key, value in tree.items()}
    return tree.tolist() if isinstance(tree, torch.Tensor) else tree


@pytest.fixture
def stopped(monkeypatch):
    """stopped(n): within, a run ends at the n-th look for a signal, of which there is one after each step and each epoch."""

    @contextmanager
    def function(after, how=Killed):
        left = [after]

        def check():
            left[0] -= 1
            if left[0] == 0:
                raise how

        with monkeypatch.context() as patch:
            patch.setattr(interrupt, "deferred", lambda agree: nullcontext(check))
            with pytest.raises((Killed, Interrupted)):
                yield

    return function


def test_a_run_in_stages_leaves_each_of_them_and_at_the_top_what_the_last_one_gave():
    summary = train(kind="stages=real_start")
    for name in ("metrics.jsonl", "health.jsonl", "network.json", "predictions.npz"):
        assert Path("run", name).read_bytes() == Path("run/stage2", name).read_bytes()
    top, last = (checkpoint.load(Path(folder) / "checkpoints/result.pt") for folder in ("run", "run/stage2"))
    assert plain(top["model"]) == plain(last["model"])
    assert (top["stages"], top["overrides"]) == (2, [*TINY, "stages=real_start"])
    own = json.loads(Path("run/stage2/summary.json").read_text())
    assert summary == json.loads(Path("run/summary.json").read_text())
    assert {**summary, "stages": 0, "overrides": 0} == {
        **{**own, "stages": 0, "overrides": 0},
        **directory.total_times(Path("run/stage1"), Path("run/stage2")),
    }
    assert summary["seconds"] == pytest.approx(sum(each["seconds"] for each in summary["stages"]))
    assert [(each["name"], each["overrides"], each["bits"], each.get("init_from")) for each in summary["stages"]] == [
        ("stage1", ["ste=none", "weights=real"], "W32A32", None),
        ("stage2", [], "W1A1", "stage1"),
    ]
    assert [each["test_accuracy"] for each in summary["stages"]] == [
        json.loads(Path(f"run/stage{n}/summary.json").read_text())["test_accuracy"] for n in (1, 2)
    ]
    found = evaluate_saved(Path("run"))
    assert (found["test_accuracy"], found["stages"]) == (summary["test_accuracy"], 2)
    assert "stages" not in evaluate_saved(Path("run/stage1"))


def test_all_that_speaks_of_the_run_has_the_figures_of_the_last_stages_network():
    summary = train("trainer.ema=0.9", "data.val_size=50", kind="stages=real_start")
    own = json.loads(Path("run/stage2/summary.json").read_text())
    earlier = json.loads(Path("run/stage1/summary.json").read_text())
    figures = ("test_accuracy", "test_loss", "val_accuracy", "val_loss", "epoch", "step")
    assert [summary[key] for key in figures] == [own[key] for key in figures] != [earlier[key] for key in figures]
    found = evaluate_saved(Path("run"))
    assert [found[key] for key in figures] == pytest.approx([summary[key] for key in figures], rel=1e-6)
    assert summary["kind"] == found["kind"] == "averaged"
    predicted = np.load("run/predictions.npz")
    assert (predicted["scores"].argmax(1) == predicted["labels"]).mean() == pytest.approx(summary["test_accuracy"])
    assert [predicted[key].item() for key in ("kind", "epoch", "step")] == [summary[key] for key in ("kind", "epoch", "step")]
    about = export_run(Path("run"), Path("run.bnn")).packed.about
    assert (about["figures"]["test_accuracy"], about["kind"], about["stages"]) == (summary["test_accuracy"], "averaged", 2)
    assert study.condensed(jobs.read_job(Path("run")).summary)["test_accuracy"] == summary["test_accuracy"]
    assert f"{summary['test_accuracy']:.2%}" in html.page(given.read([Path("run")]))


def test_the_stages_are_the_runs_that_init_from_and_a_teacher_make_by_hand(compose):
    train("seed=1", kind=TAUGHT)
    run(compose(*TINY, "seed=1", "ste=none", "weights=real"), Path("one"))
    run(compose(*TINY, "seed=1", "init_from=one", "distill=logits", "distill.teacher=one"), Path("two"))
    for by_hand, stage in (("one", "run/stage1"), ("two", "run/stage2")):
        assert Path(by_hand, "metrics.jsonl").read_bytes() == Path(stage, "metrics.jsonl").read_bytes()
        assert content(by_hand)["predictions.npz"] == content(stage)["predictions.npz"]


def test_what_is_the_same_for_all_stages_is_said_once(caplog):
    caplog.set_level(logging.INFO)
    train(kind="stages.each=[['ste=none','weights=real'],['distill=logits','distill.teacher=stage1'],[]]")
    text = "\n".join(record.getMessage() for record in caplog.records)
    for said, times in (("in memory after training", 2), ("training images, ", 1), ("test accuracy  ", 1), ("saved in", 1)):
        assert text.count(said) == times, said
    assert "stage 2 of 3 has ended" in text
    assert "teacher: run/stage1, the last" in text
    assert text.count("note: the run was short") == 1
    assert text.index("note: the run was short") > text.index("saved in run")


def test_a_note_says_of_which_earlier_stage_it_is(monkeypatch):
    kept = {Path("run/stage1"): ["one", "all"], Path("run/stage2"): ["one", "all", "said"], Path("run/stage3"): ["all"]}
    monkeypatch.setattr(directory, "read_summary", lambda folder: {"notes": kept[folder]})
    each = plan.Plan(None, [], None, [None] * 3)
    assert stages_of_runs._notes(each, Path("run"), [(2, "said"), (3, "one")]) == ["stage 1, 2: one", "all"]


def test_killed_at_its_writes_again_and_again_it_goes_on_to_the_same_files(monkeypatch):
    replace_file, left = files.os.replace, [0]

    def counted(*paths):
        left[0] -= 1
        if left[0] == 0:
            raise Killed
        replace_file(*paths)

    monkeypatch.setattr(files.os, "replace", counted)
    train(kind=TAUGHT)
    whole, kills = content("run"), 0
    shutil.rmtree("run")
    for writes in count(1):
        left[0] = writes
        try:
            train(kind=TAUGHT)  # the same command, as a sweep repeats it
            break
        except Killed:
            kills += 1
    assert content("run") == whole
    assert kills > 3


@pytest.mark.parametrize(("after", "how"), [(2, Interrupted(15)), (7, Killed)])  # of three steps and an end in each stage
def test_stopped_and_moved_it_goes_on_to_the_same_network(stopped, after, how):
    train("trainer.checkpoint_every='1'", kind=TAUGHT)
    shutil.move("run", "whole")
    with stopped(after, how):
        train("trainer.checkpoint_every='1'", kind=TAUGHT)
    shutil.move("run", "moved")
    assert go_on("moved")["test_accuracy"] == json.loads(Path("whole/summary.json").read_text())["test_accuracy"]
    found, whole = content("moved"), content("whole")
    assert found.keys() == whole.keys()
    for name in whole:
        if name.endswith(("metrics.jsonl", "health.jsonl", "predictions.npz")):
            assert found[name] == whole[name], name
        if name.endswith("last.pt"):
            assert found[name]["trainer"] == whole[name]["trainer"], name


def test_results_alone_are_enough_for_the_stages_that_follow(stopped):
    with stopped(6):
        train("trainer.keep=result", kind=TAUGHT)
    assert [file.name for file in Path("run/stage1/checkpoints").iterdir()] == ["result.pt"]
    go_on()
    assert [str(file) for file in sorted(Path("run").rglob("*.pt"))] == [
        *("run/checkpoints/result.pt", "run/stage1/checkpoints/result.pt", "run/stage2/checkpoints/result.pt")
    ]


def test_a_finished_one_says_so_and_needs_its_stages_no_more(caplog):
    caplog.set_level(logging.INFO)
    summary = train()
    shutil.rmtree("run/stage1")
    shutil.rmtree("run/stage2")
    caplog.clear()
    assert go_on() == go_on("run/stage2") == go_on("run/stage2/checkpoints/last.pt") == train() == summary
    assert {record.getMessage() for record in caplog.records} == {"run is finished, all its stages are"}


def test_until_its_last_stage_the_run_is_no_network(stopped, capsys):
    with stopped(6):
        train()
    with pytest.raises(
        ConfigError, match=r"^path=run: is in stage 2 of 2, and its result will be that of the last one; run/stage1"
    ):
        evaluate_saved(Path("run"))
    assert evaluate_saved(Path("run/stage1"))["kind"] == "last"
    assert show.table(given.read([Path("run")]))
    assert capsys.readouterr().out.startswith(
        "run is in training, or was stopped, in stage 2 of 2, before the end of its first epoch"
    )


def test_what_is_typed_beside_resume(stopped):
    with stopped(6):
        train()
    for typed, said in (
        ("trainer.epochs=2", "trainer.epochs=2: a run in stages is not extended"),
        ("weights=real", "weights=real: the run was started with weights=sign"),
        ("stages=real_start", "stages=real_start: the run was started with stages=two_step"),
        ("seed=3", "seed=3: the run was started with seed=0"),
    ):
        before = content("run")
        with pytest.raises(ConfigError) as refused:
            go_on("run", *TINY, typed)
        assert str(refused.value).startswith(said)
        assert content("run") == before
    go_on("run", "trainer.keep=result", "logger=csv", "trainer.epochs=1")
    assert [file.name for file in Path("run/stage2/checkpoints").iterdir()] == ["result.pt"]
    assert Path("run/stage2/metrics.csv").exists()
    assert not Path("run/metrics.csv").exists()


@pytest.mark.parametrize("steps", [3, 6])  # of stage 1, which then goes on; of all of it, so that stage 2 begins anew
def test_other_images_or_another_device_are_no_way_to_go_on(stopped, monkeypatch, steps):
    with stopped(steps):
        train("trainer.checkpoint_every='1'")
    before = content("run")
    load = datasets.load

    def changed(config, where):
        data = load(config, where)
        data.test.images[0] += 1
        return data

    with monkeypatch.context() as patch:
        patch.setattr(datasets, "load", changed)
        with pytest.raises(ConfigError, match="these are other images than the run was started with"):
            go_on("run", "data.root=elsewhere")
    for file in Path("run").rglob("*.pt"):
        checkpoint.save({**checkpoint.load(file), "device": "cuda"}, file)
    with pytest.raises(ConfigError, match=r"^device=cpu: the run was started on cuda, and continues exactly only there"):
        go_on("run", "device=cpu")
    assert content("run")["stages.json"] == before["stages.json"]
    assert content("run").keys() == before.keys()


def test_a_directory_holds_one_kind_of_run(compose):
    run(compose(*TINY), Path("run"))
    with pytest.raises(ConfigError, match=r"^stages=two_step: the run was started with stages=none"):
        train()
    train(at="staged")
    with pytest.raises(ConfigError, match=r"^stages=none: the run was started with stages=two_step"):
        run_all(compose(*TINY), [], Path("staged"), [*TINY, "stages=none"])


def test_a_dry_run_tells_the_plan_of_each_stage_and_leaves_nothing(caplog):
    caplog.set_level(logging.INFO)
    assert train("dry_run=true", kind=TAUGHT) == {}
    assert list(Path().iterdir()) == []
    text = "\n".join(record.getMessage() for record in caplog.records)
    assert "stage 1 of 2: W32A32, ste=none, weights=real, 1 epoch, from new weights" in text
    assert "stage 2 of 2: W1A1, ste=clipped, weights=sign, teacher stage1, 1 epoch," in text
    assert text.count("dry run: would train to step 3") == 2
    train(kind=TAUGHT)
    caplog.clear()
    run_all(replace(one_configuration(), resume="run", dry_run=True), [], Path("passing"), ["resume=run", "dry_run=true"])
    text = "\n".join(record.getMessage() for record in caplog.records)
    assert text.count("dry run: the run is finished, nothing would be done") == 1
    shutil.rmtree("run/stage1")
    shutil.rmtree("run/stage2")
    caplog.clear()
    run_all(replace(one_configuration(), resume="run", dry_run=True), [], Path("passing"), ["resume=run", "dry_run=true"])
    assert "would train" not in caplog.text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": MlpConfig(hidden=[9, 8])}, r"init_from=stage1: does not fit the network: linear1\.weight is \(8, 64\) there"),
        ({"init_from": "nowhere"}, r"init_from=nowhere: there is no such file"),
        ({"distill": TeacherConfig("logits", "nowhere")}, r"distill\.teacher=nowhere: is not here"),
        (
            {"distill": TeacherConfig("attention", "stage1", attention=3.0)},
            r"distill\.attention=3\.0: there is no layer of one name",
        ),
    ],
)
def test_what_a_later_stage_would_refuse_is_refused_before_the_first(changes, said):
    config, (first, last) = planned(*TINY, "stages=two_step")
    other = replace(last, overrides=["a=b"], config=replace(last.config, **changes))
    with pytest.raises(ConfigError, match=r"^stages\.each: stage 2, \[a=b\]: " + said):
        run_all(config, [first, other], Path("run"), [])
    directory.remove_if_nothing_ran(Path("run"))
    assert not Path("run").exists()
    with pytest.raises(ConfigError, match=r"^stages\.each: stage 2, \[a=b\]: " + said):
        run_all(replace(config, dry_run=True), [first, other], Path("run"), [])


def test_the_directory_of_a_stage_stands_for_the_whole_run(monkeypatch):
    train()
    for given_path in ("run", "run/stage2", "run/stage1/checkpoints/last.pt", "run/checkpoints/result.pt"):
        assert names.run_of(given_path) == Path("run")
    monkeypatch.chdir("run")
    assert names.run_of("stage1").resolve() == Path().resolve()
    Path("stage1/stage2").mkdir()
    assert names.run_of("stage1/stage2") == Path("stage1/stage2")


def test_a_plugin_that_an_earlier_stage_needs_is_not_asked_for_by_the_last_ones_network(plugin):
    text = "import bnn_train\n\n@bnn_train.register.estimator\ndef tent(g, a):\n    return g * (1 - a.abs()).clamp(min=0)\n"
    named, kind = plugin(text), "stages.each=[['ste=tent','init_from=null'],[]]"
    plugins.load(["mine.py"])
    config = composed([*TINY, named, kind])
    each = stages_module.composed(config, [*TINY, named, kind])
    run_all(config, each, Path("run"), [*TINY, named, kind])
    plugins._loaded.clear()
    assert evaluate_saved(Path("run"))["stages"] == 2
    with pytest.raises(ConfigError, match=r"the run needs the plugin mine.py: add plugins=\[mine.py\]"):
        evaluate_saved(Path("run/stage1"))


def test_a_report_shows_one_run():
    summary = train(at="all/run")
    (job,) = jobs.read_jobs(Path("all"))
    assert (job.name, job.status, job.summary["stages"]) == ("run", "finished", summary["stages"])
    (job,) = given.read([Path("all/run")]).jobs
    assert job.summary["seconds"] == summary["seconds"]


def test_damaged_stages_are_told(stopped):
    with stopped(6):
        train()
    for text in ("", "{}", '{"format": 1, "stages": []}', "[1]"):
        Path("run/stages.json").write_text(text)
        with pytest.raises(ConfigError, match=r"^resume=run/stages\.json: cannot be read"):
            plan.read(Path("run"))
    Path("run/stages.json").write_text('{"format": 99, "config": {"a": 1}, "overrides": [], "stages": []}')
    with pytest.raises(ConfigError, match=r"has format 99, but this version reads \(1, 2\)"):
        go_on()


def test_the_prior_of_stages_of_an_older_version_goes_on_as_it_was(stopped, caplog):
    """In the stage that was reached and in the one after it, with one note for both."""
    drawn = "['weights=stochastic','weights.scale=0.25','weights.kl=2.0']"
    with stopped(2, Interrupted(15)):
        train(kind=f"stages.each=[{drawn},{drawn}]")
    file, last = Path("run/stages.json"), Path("run/stage1/checkpoints/last.pt")
    older, state = json.loads(file.read_text()), checkpoint.load(last)
    for config in (state["config"], *(stage["config"] for stage in older["stages"])):
        config["weights"]["kl"] = 4.0
    file.write_text(json.dumps({**older, "format": 1}))
    checkpoint.save({**state, "format": 2}, last)
    with caplog.at_level("WARNING"):
        go_on()
    assert " ".join(caplog.text.split()).count("weights.kl=4.0 of an older version") == 1
    for number in (1, 2):
        assert checkpoint.load(Path(f"run/stage{number}/checkpoints/result.pt"))["config"]["weights"]["kl"] == 2.0
    assert [stage["config"]["weights"]["kl"] for stage in json.loads(file.read_text())["stages"]] == [2.0, 2.0]
