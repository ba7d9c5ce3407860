"""One network, one set of figures: summary, evaluation, predictions and report of a run agree, whatever happened to it."""

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from bnn_train.data import datasets
from bnn_train.errors import ConfigError, Interrupted
from bnn_train.report import lines, sweep
from bnn_train.runs import checkpoint, interrupt
from bnn_train.runs.assemble import assemble
from bnn_train.runs.run import run
from bnn_train.runs.saved import evaluate_saved, load
from bnn_train.runs.summary import best_epoch

GETS_WORSE = ("scheduler=exponential", "scheduler.gamma=4")  # the learning rate rises until nothing is left of the network
FIXTURES = Path(__file__).parent.parent / "fixtures"


def check_one_network(folder):
    """The figures of summary.json are those of result.pt, of predictions.npz and of the table of runs."""
    summary = json.loads((folder / "summary.json").read_text())
    state = checkpoint.load(folder / "checkpoints" / "result.pt")
    with np.load(folder / "predictions.npz") as predictions:
        which = {key: predictions[key].item() for key in ("kind", "epoch", "step")}
        right = predictions["scores"].argmax(axis=1) == predictions["labels"]
        accuracy = right.mean()
        assert len(predictions["wrong"]) == len(predictions["wrong_index"]) == min(24, (~right).sum())
        assert not right[predictions["wrong_index"]].any()
        log_p = torch.log_softmax(torch.from_numpy(predictions["scores"]), dim=1)
        loss = torch.nn.functional.nll_loss(log_p, torch.from_numpy(predictions["labels"])).item()
        numbers, classes = zip(predictions["labels"], predictions["scores"].argmax(axis=1), strict=True), predictions["classes"]
    confusion = np.zeros((len(classes), len(classes)), int)
    for place in numbers:
        confusion[place] += 1
    assert (summary["classes"], summary["confusion"]) == (classes.tolist(), confusion.tolist())
    assert summary["per_class"] == [row[i] / sum(row) if sum(row) else None for i, row in enumerate(confusion.tolist())]
    assert which == state["result"] == {key: summary[key] for key in which}
    assert accuracy == pytest.approx(summary["test_accuracy"])
    assert loss == pytest.approx(summary["test_loss"], rel=1e-5)
    found = evaluate_saved(folder)
    assert (found["kind"], found["epoch"], found["step"]) == (summary["kind"], summary["epoch"], summary["step"])
    assert {key: found[key] for key in found if key.endswith(("accuracy", "loss"))} == {
        key: value for key, value in summary.items() if key.endswith(("accuracy", "loss")) and not key.startswith("train")
    }
    assert {key: found[key] for key in ("classes", "per_class", "confusion")} == {
        key: summary[key] for key in ("classes", "per_class", "confusion")
    }
    model = load(folder).model
    for row in summary.get("edges", []):
        layer = model.get_submodule(row["name"])
        gone = (layer.connected == 0).sum() if getattr(layer, "connected", None) is not None else (layer.weight == 0).sum()
        assert gone == row["pruned"]
    return summary


def stop_after(monkeypatch, steps):
    """SIGTERM after so many steps."""
    left = [steps]

    def check():
        left[0] -= 1
        if left[0] == 0:
            raise Interrupted(15)

    class Deferred:
        def __enter__(self):
            return check

        def __exit__(self, *args):
            return False

    monkeypatch.setattr(interrupt, "deferred", lambda agree: Deferred())


def test_a_finished_run_and_a_selected_one(small, tmp_path):
    run(small(), tmp_path / "last")
    assert check_one_network(tmp_path / "last")["kind"] == "last"
    for name, more in (("best", []), ("ensemble", ["eval=ensemble", "ste=logistic"])):
        run(small("data.val_size=100", "trainer.epochs=8", *GETS_WORSE, *more), tmp_path / name)
        summary = check_one_network(tmp_path / name)
        assert (summary["kind"], summary["epoch"] < summary["epochs"]) == ("best", True)  # not what the run ended with


EVERY_NETWORK = ("trainer.ema=0.9", "trainer.recalibrate=true", "trainer.batch_size=300", "data.crop_padding=1")


@pytest.mark.parametrize(
    ("result", "more"),
    [
        ("auto", ()),
        ("last", ()),
        ("recalibrated", ("ste=logistic", "ste.stochastic=true", "eval=ensemble")),
        ("averaged", ("optimizer=bop",)),
    ],
)
def test_the_network_that_was_asked_for_is_the_result_and_the_others_are_told(small, tmp_path, result, more):
    """Without held-out images nothing but the question chooses, though its test accuracy be the lowest."""
    run(small(*EVERY_NETWORK, f"trainer.result={result}", *more), tmp_path)
    summary = check_one_network(tmp_path)
    assert summary["kind"] == ("last" if result == "auto" else result)
    found = {each["kind"]: each for each in summary["candidates"]}
    assert list(found) == ["last", "averaged", "recalibrated"]
    last = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    for kind, prefix in (("last", ""), ("averaged", "ema_")):
        assert found[kind]["test_accuracy"] == last[f"{prefix}test_accuracy"]
        assert found[kind]["test_loss"] == last[f"{prefix}test_loss"]
    assert len({each["test_loss"] for each in found.values()}) == 3
    assert all(summary[key] == value for key, value in found[summary["kind"]].items())


def test_held_out_images_choose_among_the_networks_of_the_best_epoch(small, tmp_path):
    """The best epoch of either network, and there the best network; of last.pt nothing is left when the rate has risen."""
    kinds = set()
    for seed in range(2):
        folder = tmp_path / str(seed)
        run(small("data.val_size=180", "trainer.epochs=6", *GETS_WORSE, *EVERY_NETWORK, f"seed={seed}"), folder)
        summary = check_one_network(folder)
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        best = max(max(row["val_accuracy"], row["ema_val_accuracy"]) for row in rows)
        epoch = next(row["epoch"] for row in rows if best in (row["val_accuracy"], row["ema_val_accuracy"]))
        assert summary["epoch"] == epoch < 6
        assert summary["val_accuracy"] == max(each["val_accuracy"] for each in summary["candidates"]) >= best
        kinds.add(summary["kind"])
    assert kinds - {"best"}


def test_a_result_that_was_averaged_starts_a_new_run(small, tmp_path):
    """Bop's weights are -1 and +1 again."""
    run(small("optimizer=bop", "trainer.ema=0.9", "trainer.result=averaged"), tmp_path / "bop")
    model = load(tmp_path / "bop").model
    assert (model.linear2.weight.abs() < 1).any()
    config = small("optimizer=bop", f"init_from={tmp_path / 'bop'}")
    data = datasets.load(config.data, torch.device("cpu"))
    weight = assemble(config, data, torch.device("cpu")).model.linear2.weight
    assert torch.equal(weight, torch.where(model.linear2.weight >= 0, 1.0, -1.0))


def test_stopped_within_an_epoch_then_ended_before_it(small, tmp_path, monkeypatch):
    """No epoch's network is there any more: the result is that of the steps that were done, and says so."""
    stop_after(monkeypatch, 14 + 5 + 1)  # a check a step, and one at the epoch's end
    with pytest.raises(Interrupted):
        run(small("trainer.epochs=9"), tmp_path)
    monkeypatch.undo()
    found = evaluate_saved(tmp_path)
    assert (found["kind"], found["epoch"], found["step"]) == ("reached", 1, 5)
    run(small("trainer.epochs=1"), tmp_path, overrides={"trainer.epochs"})
    summary = check_one_network(tmp_path)
    assert (summary["epoch"], summary["step"]) == (1, 5)
    assert summary["chosen"] == "epoch 1 and 5 steps, the last"
    assert found["test_accuracy"] == summary["test_accuracy"]


def test_extended_then_stopped(small, tmp_path, monkeypatch):
    """summary.json stays that of result.pt, and the run is not called finished until it is."""
    folder = tmp_path / "job"
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text("- plugins=[a.py,b]\n- seed=0\n")
    first = run(small(), folder)
    assert sweep.read_jobs(tmp_path)[0].status == "finished"
    stop_after(monkeypatch, 20)
    with pytest.raises(Interrupted):
        run(small("trainer.epochs=5"), folder, overrides={"trainer.epochs"})
    monkeypatch.undo()
    assert check_one_network(folder) == {**first, "status": "continued"}
    assert sweep.read_jobs(tmp_path)[0].status == "unfinished"
    assert f"  job\n    bnn-train {lines.resume_argument(folder, ['a.py', 'b'])}" in sweep.table(sweep.read_jobs(tmp_path), "x")
    summary = run(small("trainer.epochs=5"), folder, overrides={"trainer.epochs"})
    assert (summary["status"], summary["epoch"]) == ("finished", 5)
    check_one_network(folder)
    assert sweep.read_jobs(tmp_path)[0].status == "finished"


def test_a_crash_between_the_result_and_its_summary(small, tmp_path):
    whole = run(small("data.val_size=100"), tmp_path)
    for lost in ("summary.json", "predictions.npz", "checkpoints/result.pt"):
        (tmp_path / "summary.json").unlink(missing_ok=True)
        (tmp_path / lost).unlink(missing_ok=True)
        again = run(small("data.val_size=100"), tmp_path)
        assert {key: again[key] for key in again if key != "seconds"} == {key: whole[key] for key in whole if key != "seconds"}
        check_one_network(tmp_path)


def test_selection_waits_for_the_ramp(small, tmp_path):
    """The most accurate epoch is one before pruning; the network that was asked for has all of it."""
    ramp = "{layers: 'linear*', edges: magnitude, largest: false, density: 0.95, what: prune, ramp: [1, 4]}"
    overrides = (f"edges.rules=[{ramp}]", "data.val_size=180", "trainer.epochs=7", "optimizer.lr=0.001")
    summary = run(small(*overrides), tmp_path)
    assert check_one_network(tmp_path)["epoch"] > 4
    assert [row["pruned"] / row["edges"] for row in summary["edges"]] == pytest.approx([0.95, 0.95], abs=0.01)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert best_epoch(rows) <= 4  # without the wait it would be one of these


def test_a_run_that_ends_within_a_window_says_so_and_the_whole_one_does_not(small, tmp_path, monkeypatch, caplog):
    stompp = ("weights=stompp", "trainer.epochs=4")  # windows of 2 layers, to 80% of 56 steps
    run(small(*stompp, "trainer.max_steps=20"), tmp_path)
    assert check_one_network(tmp_path)["notes"][0] == (
        "this network is not binary yet: of 2 layers 0 are, linear1 is next, and the last window ends at 80% of trainer.epochs=4. "
        "Figures are those of its signs; it is not exported. "
        f"Go on with: bnn-train {lines.resume_argument(tmp_path)} trainer.max_steps=null"
    )
    run(small(*stompp, "trainer.max_steps=30"), tmp_path, overrides={"trainer.max_steps"})
    assert "of 2 layers 1 are, linear2 is next" in check_one_network(tmp_path)["notes"][0]
    stop_after(monkeypatch, 6)
    with pytest.raises(Interrupted):
        run(small(*stompp), tmp_path, overrides={"trainer.max_steps"})
    monkeypatch.undo()
    assert "note: this network is not binary yet: of 2 layers 1 are" in " ".join(caplog.text.split())
    whole = run(small(*stompp), tmp_path)
    assert not any("not binary yet" in note for note in whole["notes"])
    assert check_one_network(tmp_path)["epoch"] == 4


def test_too_few_steps_for_the_last_window_are_told_how_many_epochs_there_must_be(small, tmp_path):
    summary = run(small("weights=stompp", "trainer.epochs=1", "trainer.batch_size=700", "weights.end=0.9"), tmp_path)  # 2 steps
    assert summary["notes"][0].endswith("trainer.epochs=5")
    summary = run(small("weights=stompp", "trainer.epochs=5"), tmp_path, overrides={"trainer.epochs"})
    assert not any("not binary yet" in note for note in summary["notes"])


def test_selection_waits_for_the_end_of_the_last_window(small, tmp_path):
    """The first epochs are the most accurate; at the end of the sixth of eight, the network is binary."""
    overrides = ("weights=stompp", "weights.end=0.74", "data.val_size=100", "trainer.epochs=8", *GETS_WORSE)
    assert run(small(*overrides), tmp_path)["kind"] == "best"
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert best_epoch(rows) < 6
    assert check_one_network(tmp_path)["epoch"] == best_epoch(rows, 6)
    within = run(small(*overrides, "trainer.max_steps=66"), tmp_path / "within")  # of 104; the last is in the sixth epoch
    assert (within["kind"], within["epoch"], within["step"]) == ("last", 5, 1)


def test_a_renamed_directory_is_the_same_run(small, tmp_path):
    run(small("data.val_size=100"), tmp_path / "here")
    summary = check_one_network(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    assert check_one_network(tmp_path / "there") == summary
    assert run(small("data.val_size=100", "trainer.epochs=3"), tmp_path / "there", overrides={"trainer.epochs"})["epochs"] == 3
    check_one_network(tmp_path / "there")
    assert not (tmp_path / "here").exists()


@pytest.mark.parametrize(
    ("keep", "left"), [("result", []), ("last", ["best.pt", "last.pt"]), ("all", ["best.pt", "last.pt", "previous.pt"])]
)
def test_what_stays_after_the_end(small, tmp_path, keep, left):
    config = small("data.val_size=100", f"trainer.keep={keep}")
    summary = run(config, tmp_path)
    assert sorted(os.listdir(tmp_path / "checkpoints")) == [*left, "result.pt"]
    check_one_network(tmp_path)
    assert run(config, tmp_path) == summary
    longer = small("data.val_size=100", "trainer.epochs=3", f"trainer.keep={keep}")
    if left:
        run(longer, tmp_path, overrides={"trainer.epochs"})
        check_one_network(tmp_path)
    else:
        with pytest.raises(ConfigError, match=r"holds a result alone \(trainer\.keep=result\), so the run cannot go on"):
            run(longer, tmp_path, overrides={"trainer.epochs"})
        run(small(f"init_from={tmp_path}"), tmp_path / "new")
    with pytest.raises(ConfigError, match="is a result, from which nothing is continued"):
        run(small(f"resume={tmp_path / 'checkpoints' / 'result.pt'}"), tmp_path)


def test_the_result_can_be_read_as_plain_tables(small, tmp_path):
    run(small("data.train_limit=200", "data.test_limit=50"), tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["limits"] == {"train": 200, "test": 50}
    assert summary["images"] == {"train": 200, "val": 0, "test": 50}
    layers = json.loads((tmp_path / "network.json").read_text())
    assert [layer["name"] for layer in layers] == ["linear1", "norm_linear1", "linear2", "norm_linear2", "output"]
    assert sum(layer["parameters"] for layer in layers) == summary["network"]["parameters"]
    with np.load(tmp_path / "predictions.npz") as predictions:
        assert predictions["scores"].shape == (50, 10)
        assert predictions["classes"].tolist() == [str(digit) for digit in range(10)]


@pytest.mark.parametrize("network", ["last.pt", "best.pt"])
def test_a_run_of_the_version_before_is_evaluated_and_continued(small, tmp_path, network):
    """A small run that it left: its figures are repeated (within what another processor rounds differently)."""
    folder = tmp_path / "old"
    shutil.copytree(FIXTURES / "format1", folder)
    summary = json.loads((folder / "summary.json").read_text())
    found = evaluate_saved(folder if network == "best.pt" else folder / "checkpoints" / network)
    assert found["test_loss"] == pytest.approx(summary["test_loss"], rel=1e-4)
    assert run(small("trainer.epochs=2"), folder, overrides=()) == summary
    config = small("trainer.epochs=3", "model.hidden=[8,8]")
    continued = run(config, folder, overrides={"trainer.epochs"})
    assert continued["epochs"] == 3
    check_one_network(folder)
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 3


def test_what_is_read_of_a_directory_whose_summary_does_not_count(small, tmp_path):
    """A damaged one beside a result; one of the version before, of a run that has gone on since."""
    summary = run(small(), tmp_path / "new")
    (tmp_path / "new" / "summary.json").write_text('{"status": "fin')
    assert evaluate_saved(tmp_path / "new")["test_accuracy"] == summary["test_accuracy"]
    shutil.copytree(FIXTURES / "format1", tmp_path / "old")
    assert checkpoint.find(tmp_path / "old", "path").name == "best.pt"
    file = tmp_path / "old" / "summary.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "status": "continued"}))
    assert checkpoint.find(tmp_path / "old", "path").name == "last.pt"


def test_a_checkpoint_of_a_newer_version_says_so(tmp_path):
    torch.save({"format": 99}, tmp_path / "x.pt")
    with pytest.raises(ConfigError, match=r"has format 99, but this version reads \(1, 2, 3\): use a newer bnn-train"):
        checkpoint.load(tmp_path / "x.pt")


def test_the_table_of_a_sweep_has_the_same_figures(small, tmp_path):
    for seed in (0, 1):
        (tmp_path / f"seed={seed}" / ".hydra").mkdir(parents=True)
        (tmp_path / f"seed={seed}" / ".hydra" / "overrides.yaml").write_text(f"- seed={seed}\n")
        run(small(f"seed={seed}"), tmp_path / f"seed={seed}")
    sweep.write_csv(sweep.read_jobs(tmp_path), tmp_path / "sweep.csv")
    with open(tmp_path / "sweep.csv", newline="") as file:
        for row in csv.DictReader(file):
            assert float(row["test_accuracy"]) == evaluate_saved(tmp_path / row["job"])["test_accuracy"]
