"""bnn-study: what is typed, which rows there are, and which runs are trained, skipped, continued."""

import copy
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import time
import types
from dataclasses import asdict
from pathlib import Path

import pytest

import bnn_train
from bnn_train.cli import study as command_module
from bnn_train.cli import study_arguments, study_complete, study_progress, study_rows, study_runs
from bnn_train.errors import ConfigError
from bnn_train.runs import directory

ROOT = Path(__file__).parent.parent.parent
SMALL = ("model=mlp", "model.hidden=[8,8]", "trainer.epochs=1")
NARROW = ("model=mlp", "model.hidden=[8,9]", "trainer.epochs=1")  # no layer is as wide as its inputs, as shortcuts need


_composed = functools.cache(lambda *overrides: study_rows_composed(overrides))  # Hydra takes a sixth of a second
study_rows_composed = study_rows.composed


@pytest.fixture(autouse=True)
def composed_once(monkeypatch):
    monkeypatch.setattr(study_rows, "composed", lambda overrides: copy.deepcopy(_composed(*overrides)))


def rows(*typed, held_out=()):
    return study_rows.rows(study_arguments.read(typed), held_out)


def by_name(found):
    return {row.name: row for row in found}


@pytest.mark.parametrize(
    ("typed", "methods", "seeds", "name"),
    [
        (["methods=bnn"], ["bnn"], [0], "defaults"),
        (["methods=[bnn,xnor]", "seeds=3", "model=mlp"], ["bnn", "xnor"], [0, 1, 2], "model=mlp"),
        (["trainer.epochs=3", "model=mlp", "methods=bnn", "seeds=[3,4]"], ["bnn"], [3, 4], "model=mlp,trainer.epochs=3"),
        (["methods=bnn", "seeds=3,4", "study.name=mine", "model=mlp"], ["bnn"], [3, 4], "mine"),
        (["methods=bnn", "data.root=/somewhere", "device=cpu"], ["bnn"], [0], "defaults"),  # what changes no result
    ],
)
def test_methods_seeds_and_the_name_are_its_own_and_the_rest_bnn_trains(typed, methods, seeds, name):
    found = study_arguments.read(typed)
    assert (found.methods, found.seeds, found.name) == (methods, seeds, name)
    assert not any(each.startswith(("methods", "seeds", "study.")) for each in found.overrides)


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ([], "methods=: needs names, as in methods=bnn,xnor; there are bayesbinn"),
        (["methods=bnn,xnr"], "methods=bnn,xnr: there is no method xnr; did you mean xnor?"),
        (["methods=bnn,bnn"], "methods=bnn,bnn: names bnn twice"),
        (["methods=bnn", "methods=bop"], "methods=bop: is given twice, bnn and bop"),
        (["methods=bnn", "method=xnor"], "method=xnor: a study compares several: methods=bnn,xnor"),
        (["methods=bnn", "seed=3"], "seed=3: a study takes several: seeds=3 for 0, 1 and 2"),
        (["methods=bnn", "seeds=0"], "seeds=0: is how many seeds there are"),
        (["methods=bnn", "seeds=two"], "seeds=two: must be how many"),
        (["methods=bnn", "seeds=[1,1]"], "seeds=[1,1]: names one of them twice"),
        (["methods=bnn", "study.name=a/b"], "study.name=a/b: must be the name of a folder"),
        (["methods=bnn", "hydra.run.dir=x"], "hydra.run.dir=x: each run has its place"),
        (["methods=bnn", "resume=x"], "resume=x: a study goes on by itself"),
        (["methods=bnn", "-m"], "-m: a study has its own runs"),
        (["methods=bnn", "ste=tanh,clipped"], "ste=tanh,clipped: a study compares methods"),
        (["methods=bnn", "trainer.epochs=1", "trainer.epochs=2"], "trainer.epochs=2: trainer.epochs is given twice"),
    ],
)
def test_what_was_typed_wrongly_is_said_in_a_line(typed, line):
    with pytest.raises(ConfigError) as refused:
        study_arguments.read(typed)
    assert str(refused.value).startswith(line)


def test_a_typed_model_is_every_rows_and_has_one_twin():
    twin, bnn, bireal = rows(*SMALL, "methods=bnn,bireal")
    assert (twin.name, twin.twin, bnn.twin, bireal.twin) == ("twin", None, "twin", "twin")
    assert {row.model for row in (twin, bnn, bireal)} == {"mlp"}
    assert (twin.config.ste.name, twin.config.weights.name, twin.config.block.name) == ("none", "real", "plain")
    assert (twin.config.optimizer.name, twin.config.scheduler.name) == ("adam", "cosine")  # the defaults
    assert bireal.config.block.name == "bireal"


def test_methods_that_bring_their_models_have_a_twin_for_each():
    found = by_name(rows("methods=bnn,bop,xnor"))
    assert list(found) == ["twin_binarynet", "twin_lenet", "bnn", "bop", "xnor"]
    assert [found[name].twin for name in ("bnn", "bop", "xnor")] == ["twin_binarynet", "twin_binarynet", "twin_lenet"]
    assert found["twin_lenet"].config.model.name == "lenet"


def test_an_experiment_compares_methods_on_its_model_with_its_recipe():
    found = by_name(rows("experiment=mnist_mlp", "methods=bnn,binaryconnect"))
    assert list(found) == ["twin", "bnn", "binaryconnect"]
    what = {name: (row.config.ste.name, row.config.weights.name, row.config.optimizer.lr) for name, row in found.items()}
    assert what == {"twin": ("none", "real", 0.003), "bnn": ("clipped", "sign", 0.003), "binaryconnect": ("none", "sign", 0.003)}
    assert {(row.config.model.hidden[0], row.config.scheduler.name) for row in found.values()} == {(2048, "cosine")}


def test_an_experiment_in_stages_has_a_twin_in_one_piece(tmp_path):
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\ndefaults:\n  - override /model: mlp\n  - override /stages: real_start\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(text)
    twin, bnn = rows("experiment=mine", "methods=bnn", "trainer.epochs=5", "-cd", str(tmp_path))
    assert (twin.epochs, bnn.epochs) == ([5], [2, 3])
    assert (twin.config.stages.each, len(bnn.config.stages.each)) == ([], 2)


def test_what_is_typed_of_weights_and_estimator_is_the_methods_alone():
    twin, bnn = rows(*SMALL, "methods=bnn", "ste=tanh", "weights.clip=0.5")
    assert (bnn.config.ste.name, bnn.config.weights.clip) == ("tanh", 0.5)
    assert (twin.config.ste.name, twin.config.weights.name) == ("none", "real")


def test_a_pair_that_is_refused_is_a_row_that_says_so_and_all_refused_are_a_line():
    found = by_name(rows(*SMALL, "methods=bnn,bop", "optimizer=adam"))
    assert not found["bnn"].refused
    assert found["bop"].refused.startswith("weights=binary: weights=binary and optimizer=bop go together")
    assert found["bop"].twin == "twin"
    with pytest.raises(ConfigError, match=r"^trainer.epoch=3: there is no such key; did you mean trainer.epochs"):
        rows(*SMALL, "methods=bnn,bop", "trainer.epoch=3")


def test_an_own_folder_brings_methods(tmp_path):
    (tmp_path / "method").mkdir()
    (tmp_path / "method" / "mine.yaml").write_text("# @package _global_\ndefaults:\n  - override /ste: tanh\n")
    _, mine = rows(*SMALL, "methods=mine", "-cd", str(tmp_path))
    assert mine.config.ste.name == "tanh"
    assert {"-cd", str(tmp_path)} < set(mine.overrides)
    (tmp_path / "method" / "twin.yaml").write_text("# @package _global_\ndefaults:\n  - override /ste: tanh\n")
    with pytest.raises(ConfigError, match="twin is the name of"):
        study_arguments.read(["methods=twin", "-cd", str(tmp_path)])


@pytest.mark.parametrize(
    ("epochs", "stages", "each"), [(20, 1, [20]), (20, 3, [6, 6, 8]), (9, 3, [3, 3, 3]), (3, 4, [1, 1, 1, 1]), (1, 2, [1, 1])]
)
def test_a_budget_of_epochs_is_divided_by_the_stages(epochs, stages, each):
    assert study_rows.divided(epochs, stages) == each


@pytest.mark.parametrize(
    ("each", "epochs", "added"),
    [
        ([["ste=none"], []], [10, 10], ["trainer.epochs=10"]),
        (
            [["ste=none"], ["weights=real"], []],
            [6, 6, 8],
            ["trainer.epochs=6", "stages.each=[['ste=none'],['weights=real'],['trainer.epochs=8']]"],
        ),
        ([[], ["trainer.epochs=9"]], [11, 9], ["trainer.epochs=11"]),  # one that says itself how long it is
        ([["trainer.epochs=3"], ["trainer.epochs=4"]], [3, 4], ["trainer.epochs=20"]),
    ],
)
def test_a_method_in_stages_divides_the_epochs(monkeypatch, each, epochs, added):
    plain, asked = study_rows.composed(["method=bnn"])[0], []

    def staged(overrides):
        asked.append(overrides)
        config = copy.copy(plain)
        config.stages = types.SimpleNamespace(each=each)
        return config, "mlp"

    monkeypatch.setattr(study_rows, "composed", staged)
    row = study_rows._row("mine", "mine", ["trainer.epochs=20", "method=mine"])
    assert sorted(row.overrides) == sorted(["method=mine", *added])
    assert row.overrides == asked[-1]
    assert row.epochs == epochs


def test_a_tenth_of_the_training_images_is_held_out_unless_it_is_typed():
    def held_out(*typed):
        given = study_arguments.read([*SMALL, "methods=bnn", *typed])
        return study_rows.to_hold_out(study_rows.rows(given), given)

    assert held_out() == (143, ["data.val_size=143"])  # of 1,438
    assert held_out("data.val_size=0") == (0, [])
    assert held_out("data.val_size=50") == (50, [])


def test_twins_are_trained_first_and_then_every_method_with_each_seed():
    twin, bnn, bop = found = rows(*SMALL, "methods=bnn,bop")
    assert study_progress.in_order(found, [0, 1]) == [(twin, 0), (twin, 1), (bnn, 0), (bop, 0), (bnn, 1), (bop, 1)]


def test_time_left_is_each_rows_own_and_else_that_of_all():
    twin, bnn = rows(*SMALL, "methods=bnn")
    assert study_progress.left([(twin, 1)], {}) is None
    assert study_progress.left([(twin, 1), (bnn, 0)], {"twin": [2.0, 4.0]}) == 6
    assert study_progress.left([(twin, 1), (bnn, 0)], {"twin": [2.0], "bnn": [10.0]}) == 12


def begun(folder, overrides, seed=0):
    """What Hydra writes of a run."""
    (folder / ".hydra").mkdir(parents=True, exist_ok=True)
    config = {**asdict(study_rows.composed(overrides)[0]), "seed": seed}
    (folder / ".hydra" / "config.yaml").write_text(json.dumps(config))
    (folder / ".hydra" / "overrides.yaml").write_text(json.dumps([*overrides, f"seed={seed}"]) + "\n")


class Fake:
    """In place of bnn-train: a run that ends as it is told, without training. fails: exit code and stderr, by place."""

    def __init__(self, fails=()):
        self.fails, self.trained = dict(fails), []

    def __call__(self, arguments, errors):
        *overrides, place = arguments
        folder = Path(place.removeprefix("hydra.run.dir='").removesuffix("'"))
        self.trained.append("/".join(folder.parts[-2:]))
        code, said = self.fails.get(self.trained[-1], (0, ""))
        errors.write(said.encode())
        if not code:
            seed = int(overrides.pop().removeprefix("seed="))
            begun(folder, overrides, seed)
            (folder / "failure.txt").unlink(missing_ok=True)
            accuracy = 0.9 + 0.01 * len(self.trained)
            summary = {"status": "finished", "test_accuracy": accuracy, "seconds": 2.0, "epochs": 1, "images": {"test": 359}}
            network = {"binary_macs": 64, "real_macs": 512, "bytes": 100}
            machine = {"device": "cpu", "versions": {"torch": "2", "python": "3"}}
            directory.write_summary({**summary, "network": network, **machine}, folder)
        return subprocess.Popen([sys.executable, "-c", f"raise SystemExit({code})"])


@pytest.fixture
def study(tmp_path, monkeypatch, capsys):
    """study("methods=bnn") runs the command in tmp_path with fake runs: (exit code, runs that were begun, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command_module.side_by_side, "forward_signals", lambda: None)
    monkeypatch.setattr(study_runs, "_LOOK_EVERY", 0.01)

    def function(*typed, fails=(), val_size=0, small=SMALL):
        fake, held_out = Fake(fails), [] if val_size is None else [f"data.val_size={val_size}"]
        monkeypatch.setattr(study_runs.train, "__defaults__", (fake, lambda folder: None))
        monkeypatch.setattr("sys.argv", ["bnn-study", *small, *held_out, "study.name=s", *typed])
        try:
            command_module.main()
            code = 0
        except SystemExit as end:
            code = end.code
        out, err = capsys.readouterr()
        return code, fake.trained, out, err

    return function


def test_the_same_command_trains_nothing_again_and_more_methods_and_seeds_what_is_missing(study, tmp_path):
    code, trained, out, _ = study("methods=bnn", "seeds=2")
    assert (code, trained) == (0, ["twin/seed=0", "twin/seed=1", "bnn/seed=0", "bnn/seed=1"])
    assert out.startswith("4 runs, studies/s\n1/4  twin, seed 0  test  91.00%     2.0 s  left ")
    assert max(map(len, out.splitlines())) <= 80
    before = (tmp_path / "studies/s/study.json").read_text()
    code, trained, out, _ = study("methods=bnn", "seeds=2")
    assert (code, trained) == (0, [])
    assert out.startswith("4 runs, 4 of them finished; studies/s\n")
    after = (tmp_path / "studies/s/study.json").read_text()
    assert json.loads(after)["rows"] == json.loads(before)["rows"]
    assert study("methods=bnn,xnor", "seeds=3")[1] == ["twin/seed=2", "xnor/seed=0", "xnor/seed=1", "bnn/seed=2", "xnor/seed=2"]


def test_what_failed_is_listed_with_its_reason_while_the_others_go_on_and_is_tried_again(study, tmp_path):
    diverged = (1, "note: something\nerror: the loss became nan in epoch 1\n")
    code, trained, out, _ = study("methods=bnn,xnor", fails={"bnn/seed=0": diverged})
    assert (code, trained) == (1, ["twin/seed=0", "bnn/seed=0", "xnor/seed=0"])
    assert "bnn, seed 0   failed: the loss became nan in epoch 1" in out
    assert "not in the table, 1:\n  bnn, seed 0: failed, the loss became nan in epoch 1, see" in out
    assert "studies/s/bnn/seed=0/failure.txt" in out
    (run,) = json.loads((tmp_path / "studies/s/study.json").read_text())["rows"][1]["runs"]
    assert run == {"seed": 0, "status": "failed", "reason": "the loss became nan in epoch 1"}
    assert study("methods=bnn,xnor")[:2] == (0, ["bnn/seed=0"])


def test_patience_looks_at_the_images_that_the_study_holds_out(study, tmp_path):
    code, trained, _, err = study("methods=bnn", "trainer.patience=1")  # with data.val_size=0
    assert (code, trained) == (2, [])
    assert err.startswith("error: trainer.patience=1: needs held-out images")
    assert study("methods=bnn", "trainer.patience=1", val_size=None)[:2] == (0, ["twin/seed=0", "bnn/seed=0"])
    for row in json.loads((tmp_path / "studies/s/study.json").read_text())["rows"]:
        assert {"trainer.patience=1", "data.val_size=143"} < set(row["overrides"])
        assert "trainer.patience=null" not in row["overrides"]


def test_a_refused_pair_is_listed_and_its_exit_code_is_1(study):
    code, trained, out, _ = study("methods=bnn,bop", "optimizer=adam")
    assert (code, trained) == (1, ["twin/seed=0", "bnn/seed=0"])
    assert "bop: refused, weights=binary: weights=binary and optimizer=bop go together" in " ".join(out.split())


def test_a_run_of_another_configuration_in_its_place_is_refused_before_any_work(study):
    study("methods=bnn")
    code, trained, _, err = study("methods=bnn,xnor", "optimizer.lr=0.5")
    assert (code, trained) == (2, [])
    assert err == (
        "error: optimizer.lr=0.5: studies/s/twin/seed=0 holds a run with optimizer.lr=0.01; "
        "name another study, study.name=NAME, or delete that folder\n"
    )


def test_what_an_end_before_the_first_step_has_left_is_no_run(study, tmp_path):
    begun(tmp_path / "studies/s/bnn/seed=0", [*SMALL, "data.val_size=0", "method=bnn", "optimizer.lr=0.5"])
    assert study("methods=bnn")[:2] == (0, ["twin/seed=0", "bnn/seed=0"])


def test_a_run_that_was_extended_by_hand_is_another(study, tmp_path):
    study("methods=bnn")
    folder = tmp_path / "studies/s/bnn/seed=0"
    directory.write_summary({**directory.read_summary(folder), "epochs": 7}, folder)
    assert "trainer.epochs=1: studies/s/bnn/seed=0 holds a run with trainer.epochs=7" in study("methods=bnn")[3]


def test_finished_runs_on_images_that_lie_elsewhere_are_left_to_bnn_train(tmp_path):
    twin, _ = rows("data=mnist", "data.root=here", *SMALL, "methods=bnn")
    begun(tmp_path, twin.overrides)
    directory.write_summary({"status": "finished"}, tmp_path)
    moved, _ = rows("data=mnist", "data.root=there", *SMALL, "methods=bnn")
    assert study_runs.check(twin, 0, tmp_path)
    assert not study_runs.check(moved, 0, tmp_path)


def test_what_another_process_trains_is_skipped_and_named(study, tmp_path):
    place = tmp_path / "studies/s/bnn/seed=0"
    place.mkdir(parents=True)
    hold = "import sys, pathlib; from bnn_train.runs import directory; held = directory.lock(pathlib.Path(sys.argv[1])); "
    hold += "print(1, flush=True); input()"
    other = subprocess.Popen([sys.executable, "-c", hold, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
    try:
        other.stdout.readline()
        code, trained, out, _ = study("methods=bnn,xnor")
    finally:
        other.communicate(b"\n")
    assert (code, trained) == (0, ["twin/seed=0", "xnor/seed=0"])
    who = f"another process trains it ({other.pid} on {socket.gethostname()})"
    assert f"bnn, seed 0   {who}: skipped" in " ".join(out.split("\n    "))
    assert f"bnn, seed 0: busy, {who}" in " ".join(out.split("\n    "))


def test_a_dry_run_shows_the_commands_and_leaves_nothing(study, tmp_path):
    code, trained, out, _ = study("methods=bnn", "seeds=2", "dry_run=true")
    assert (code, trained, list(tmp_path.iterdir())) == (0, [], [])
    assert "dry run: 4 of 4 runs would be trained below studies/s; nothing was" in out
    assert "bnn: seed 0, seed 1\n  bnn-train model=mlp 'model.hidden=[8,8]' trainer.epochs=1 data.val_size=0 method=bnn" in out


def test_a_dry_run_says_how_many_epochs_each_stage_has(study):
    out = study("methods=bireal", "stages=real_start", "dry_run=true")[2]
    assert "\nbireal: seed 0; 1 + 1 epochs\n" in out


def test_a_method_that_cannot_train_this_network_is_refused_before_the_twin_is_trained(study):
    out = study("methods=bnn,bireal", "dry_run=true", small=NARROW)[2]
    assert out.startswith("dry run: 2 of 2 runs would be trained below studies/s; nothing was\n")
    assert "bireal: refused, block.shortcut=per_conv: needs a layer with binary inputs" in " ".join(out.split())
    assert "(method=bireal brings block=bireal)" in out
    code, trained, out, _ = study("methods=bnn,bireal", small=NARROW)
    assert (code, trained) == (1, ["twin/seed=0", "bnn/seed=0"])
    assert out.startswith("2 runs, studies/s\nbireal: refused, block.shortcut=per_conv: ")
    assert max(map(len, out.splitlines())) <= 80


def test_where_every_method_is_refused_nothing_is_begun(study, tmp_path):
    code, trained, _, err = study("methods=bireal", small=NARROW)
    assert (code, trained, list(tmp_path.iterdir())) == (2, [], [])
    assert err.startswith("error: block.shortcut=per_conv: needs a layer")
    code, trained, _, err = study("methods=bireal,bop", "optimizer=adam", small=NARROW)
    assert (code, trained, list(tmp_path.iterdir())) == (2, [], [])
    assert err.startswith("error: methods=bireal,bop: all are refused, bireal for one: block.shortcut=per_conv: needs a layer")


def test_a_stage_that_cannot_be_trained_refuses_its_row(study):
    out = study("methods=bnn,reactnet", "dry_run=true", small=NARROW)[2]
    assert "reactnet: refused, " in out
    assert "\nbnn: seed 0\n" in out


def test_finished_runs_are_not_tried_again(study, monkeypatch):
    study("methods=bnn")
    monkeypatch.setattr("bnn_train.cli.study_checks._check", lambda row: pytest.fail("was tried"))
    assert study("methods=bnn")[:2] == (0, [])


def test_what_a_failed_process_said_is_kept_with_the_reason_last(study, tmp_path):
    for said, kept in (("Traceback:\n  a line\nerror: no\n", "Traceback:\n  a line\nerror: no\n"), ("", "exit code 1\n")):
        study("methods=bnn", fails={"bnn/seed=0": (1, said)})
        assert (tmp_path / "studies/s/bnn/seed=0/failure.txt").read_text() == kept


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("", ["methods=", "seeds=", "study.name="]),
        ("se", ["seeds="]),
        ("methods=bin", ["methods=binaryconnect", "methods=binaryconnect_stochastic"]),
        ("methods=bnn,xn", ["methods=bnn,xnor"]),
        ("methods=bnn,bn", []),
        ("seeds=", []),
        ("model=", []),
    ],
)
def test_tab_offers_its_own_arguments(typed, words):
    assert study_complete.offered(typed) == words


def test_tab_offers_bnn_trains_too(command):
    found = command("-sc", "query=bash", module="bnn_train.cli.study", COMP_LINE="bnn-study methods=bnn mod")
    assert found.stdout.split() == ["model.", "model="], found.stderr


def test_help_fits_into_80_columns(study, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["bnn-study", "--help"])
    command_module.main()
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_what_was_begun_is_continued(study, tmp_path):
    begun(tmp_path / "studies/s/bnn/seed=0", [*SMALL, "data.val_size=0", "method=bnn"])
    assert study("methods=bnn")[:2] == (0, ["twin/seed=0", "bnn/seed=0"])


def test_a_run_of_bnn_train_is_taken_as_done(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, bnn = rows(*SMALL, "data.val_size=143", "methods=bnn")
    run = bnn_train.train([*bnn.overrides, "seed=1", "hydra.run.dir=there"])
    assert study_runs.check(bnn, 1, Path("there"))
    with pytest.raises(ConfigError, match=r"^seed=0: there holds a run with seed=1"):
        study_runs.check(bnn, 0, Path("there"))
    found = study_runs.read(Path("there"), 1)
    assert (found["status"], found["test_accuracy"]) == ("finished", run.summary["test_accuracy"])
    assert found["network"] == run.summary["network"]


def test_a_process_of_its_own_says_why_it_refuses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    row = study_rows.Row("bnn", "bnn", ["trainer.epoch=3"])
    found = study_runs.train(row, 0, Path("studies/s"))
    assert (found["status"], found["reason"]) == ("failed", "trainer.epoch=3: there is no such key; did you mean trainer.epochs?")


@pytest.mark.slow
def test_a_real_run(command, tmp_path):
    typed = ("methods=bnn", *SMALL, "study.name=s")
    found = command(*typed, module="bnn_train.cli.study")
    assert found.returncode == 0, found.stdout + found.stderr
    summary = json.loads((tmp_path / "studies/s/bnn/seed=0/summary.json").read_text())
    assert f"bnn, seed 0   test  {summary['test_accuracy']:.2%}" in found.stdout
    assert summary["images"] == {"train": 1295, "val": 143, "test": 359}
    (_, bnn) = json.loads((tmp_path / "studies/s/study.json").read_text())["rows"]
    assert bnn["runs"][0]["network"] == summary["network"]
    assert "2 runs, 2 of them finished" in command(*typed, module="bnn_train.cli.study").stdout


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_a_killed_study_goes_on_where_it_was(command, tmp_path):
    typed = [*SMALL, "methods=bnn", "trainer.epochs=4000", "study.name=s"]
    typed.remove("trainer.epochs=1")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "bnn_train.cli.study", *typed]
    process = subprocess.Popen(line, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    log = tmp_path / "studies/s/twin/seed=0/metrics.jsonl"
    until = time.monotonic() + 60
    while not (log.exists() and log.read_text().count("\n") > 2) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped; what was trained is kept, and the same command goes on: bnn-study model=mlp" in err
    assert "SIGTERM in epoch" in (log.parent / "train.log").read_text()
    assert not directory.is_busy(log.parent)  # nobody trains on
    (run,) = json.loads((tmp_path / "studies/s/study.json").read_text())["rows"][0]["runs"]
    assert run["status"] == "unfinished"
    epochs = log.read_text().count("\n")
    process = subprocess.Popen(line, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while log.read_text().count("\n") < epochs + 3 and time.monotonic() < until:
        time.sleep(0.05)
    process.kill()  # which its run hears of (on Linux)
    process.communicate(timeout=60)
    text = (log.parent / "train.log").read_text()
    assert "continuing after epoch" in text
    assert [json.loads(row)["epoch"] for row in log.read_text().splitlines()][: epochs + 3] == list(range(1, epochs + 4))
