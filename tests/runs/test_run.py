import json
import logging
import re
from dataclasses import replace

import pytest
import torch

from bnn_train.data import datasets
from bnn_train.data.splits import Split
from bnn_train.errors import ConfigError, Diverged
from bnn_train.runs import checkpoint
from bnn_train.runs import run as run_module
from bnn_train.runs.resume import config_of
from bnn_train.runs.run import run
from bnn_train.runs.saved import evaluate_saved
from bnn_train.runs.summary import best_epoch
from bnn_train.training.trainer import Trainer


def rows(run_dir, name="metrics.jsonl"):
    return [json.loads(line) for line in (run_dir / name).read_text().splitlines()]


def test_a_run_leaves_its_files(small, tmp_path):
    config = small()
    summary = run(config, tmp_path)
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {
        *("metrics.jsonl", "health.jsonl", "times.jsonl", "network.json", "predictions.npz", "summary.json", ".lock"),
        *("checkpoints/last.pt", "checkpoints/result.pt"),
    }
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    history = rows(tmp_path)
    assert summary["test_accuracy"] == history[-1]["test_accuracy"]
    assert (summary["epoch"], summary["epochs"], summary["seed"]) == (2, 2, 0)
    assert summary["chosen"] == "epoch 2, the last"
    assert summary["seconds"] > 0
    assert summary["images_per_second"] > 0
    assert summary["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert summary["device"].startswith(("cpu", "cuda", "mps"))
    assert summary["network"]["binary_weights"] == 64 * 16 + 16 * 16

    state = checkpoint.load(tmp_path / "checkpoints" / "last.pt")
    assert config_of(state) == config
    assert state["trainer"]["history"] == history


def test_best_is_chosen_on_the_held_out_images(small, tmp_path):
    summary = run(
        small("data.val_size=100", "trainer.epochs=8", "scheduler=exponential", "scheduler.gamma=4"), tmp_path
    )  # gets worse
    history = rows(tmp_path)
    best = max(history, key=lambda row: row["val_accuracy"])
    assert best is not history[-1]
    assert summary["epoch"] == best["epoch"] == len(checkpoint.load(tmp_path / "checkpoints" / "best.pt")["trainer"]["history"])
    assert (summary["val_accuracy"], summary["test_accuracy"]) == (best["val_accuracy"], best["test_accuracy"])
    assert (summary["checkpoint"], summary["kind"]) == ("checkpoints/result.pt", "best")


def test_the_first_of_equals_is_the_best_and_test_numbers_choose_nothing():
    history = [{"epoch": n, "val_accuracy": v, "test_accuracy": t} for n, v, t in [(1, 0.5, 0.9), (2, 0.7, 0.1), (3, 0.7, 0.8)]]
    assert best_epoch(history) == 2


@pytest.mark.parametrize("overrides", [(), ("data.val_size=100", "trainer.epochs=4")])
def test_evaluating_a_run_repeats_its_numbers_exactly(small, tmp_path, overrides):
    summary = run(small(*overrides), tmp_path)
    for path in (tmp_path, tmp_path / summary["checkpoint"]):
        result = evaluate_saved(path)
        keys = [key for key in result if key.endswith(("accuracy", "loss"))]
        assert {key: result[key] for key in keys} == {key: summary[key] for key in keys}
        assert "test_accuracy" in keys


VARIANTS = [
    ("ste=tanh", "ste.stochastic=true", "model.dropout=0.5"),
    ("model=cnn", "model.stages=[[4]]", "data.crop_padding=1", "data.flip=true", "data.cutout=2", "optimizer=sgd"),
]


@pytest.mark.parametrize("overrides", VARIANTS)
def test_the_same_command_gives_the_same_metrics_whatever_ran_before(small, tmp_path, overrides):
    config = small(*overrides)
    run(config, tmp_path / "first")
    torch.manual_seed(123)
    torch.use_deterministic_algorithms(False)
    torch.set_default_dtype(torch.float64)
    try:
        run(small("seed=5"), tmp_path / "between")
        torch.rand(17)
        torch.set_default_dtype(torch.float64)
        run(config, tmp_path / "second")
    finally:
        torch.set_default_dtype(torch.float32)
    first, second = ((tmp_path / name / "metrics.jsonl").read_bytes() for name in ("first", "second"))
    assert first == second
    assert first != (tmp_path / "between" / "metrics.jsonl").read_bytes()


def test_a_run_that_diverges_keeps_what_was_saved(small, tmp_path, monkeypatch):
    class Poisoned(Trainer):
        def train_epoch(self):
            if self.epoch == 1:
                self.model.output.weight.data.fill_(float("nan"))
            super().train_epoch()

    monkeypatch.setattr(run_module, "Trainer", Poisoned)
    with pytest.raises(Diverged, match="epoch 2, step 1"):
        run(small("trainer.epochs=3"), tmp_path)
    assert len(checkpoint.load(tmp_path / "checkpoints" / "last.pt")["trainer"]["history"]) == len(rows(tmp_path)) == 1
    assert not (tmp_path / "summary.json").exists()


def test_refusals_come_before_any_training(small, tmp_path):
    with pytest.raises(ConfigError, match=r"trainer\.batch_size=1439: is larger than the training set, 1438 images"):
        run(small("trainer.batch_size=1439"), tmp_path / "a")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match=r"device=cuda: torch finds no CUDA device here"):
            run(small("device=cuda"), tmp_path / "b")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"hydra\.run\.dir=.*cannot be written to"):
        run(small(), tmp_path / "file")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_what_a_run_says_fits_into_the_width(small, tmp_path, caplog, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.chdir(tmp_path)  # a short run directory: a path is never broken
    caplog.set_level(logging.INFO)
    run(small("data.val_size=100", "ste.stochastic=true", "eval=ensemble", "trainer.epochs=1"), tmp_path / "r")
    text = "\n".join(record.getMessage() for record in caplog.records)
    assert max(map(len, text.splitlines())) <= width
    (line,) = (line for line in text.splitlines() if line.startswith("epoch"))
    assert re.match(r"epoch 1\S*  loss [\d.]+ .* val .* test ", line)


def test_the_tables_and_one_line_per_epoch_are_logged(small, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    run(small("data.val_size=100"), tmp_path)
    text = caplog.text
    assert text.count("  left ") == 2
    for piece in ("x as much", "linear2", "digits: 1,338 training images, 100 held out, 359 test images, 1x8x8", "test accuracy"):
        assert piece in text


def test_edges_are_in_the_log_the_rows_and_the_summary_and_evaluation_prunes_them(small, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    rules = (
        "{layers: linear1, edges: magnitude, density: 0.75, largest: false, what: prune, ramp: [0, 1]}",
        "{layers: linear2, edges: rows, index: [0, 1], what: freeze}",
        "{layers: output, what: l1, strength: 0.01}",
    )
    summary = run(small(f"edges.rules=[{', '.join(rules)}]"), tmp_path)
    assert caplog.text.count("chosen edges") == 2  # before training and after
    assert [(row["name"], row["trained"], row["frozen"], row["pruned"], row["penalised"]) for row in summary["edges"]] == [
        ("linear1", 256, 0, 768, 0),
        ("linear2", 224, 32, 0, 0),
        ("output", 160, 0, 0, 160),
    ]
    assert all(row["penalty"] > 0 for row in rows(tmp_path))
    assert evaluate_saved(tmp_path)["test_accuracy"] == summary["test_accuracy"]
    state = checkpoint.load(tmp_path / "checkpoints" / "last.pt")
    state["trainer"]["edges"] = {}
    checkpoint.save(state, tmp_path / "unpruned.pt")
    assert evaluate_saved(tmp_path / "unpruned.pt")["test_loss"] != summary["test_loss"]


def test_a_run_goes_on_without_the_file_of_its_masks(small, tmp_path):
    mask = torch.rand(16, 16) < 0.5
    torch.save(mask, tmp_path / "mask.pt")
    config = small(f"edges.rules=[{{layers: linear2, edges: file, file: {tmp_path / 'mask.pt'}, what: train}}]")
    run(config, tmp_path / "run")
    (tmp_path / "mask.pt").unlink()
    config.trainer.epochs = 3
    assert run(config, tmp_path / "run", ["trainer.epochs"])["edges"][0]["trained"] == int(mask.sum())


def test_tensorboard_gets_every_number(small, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(small("logger=tensorboard"), tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [e.step for e in events.Scalars("accuracy/test")] == [1, 2]
    found = {tag: [event.value for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    expected = {}
    for row in rows(tmp_path):
        for key, value in row.items():
            if key != "epoch":
                expected.setdefault("/".join(reversed(key.split("_", 1))), []).append(value)
    for row in rows(tmp_path, "health.jsonl"):
        for name, figures in row["layers"].items():
            for figure, value in figures.items():
                expected.setdefault(f"{figure}/{name}", []).append(value)
    found = {tag: values for tag, values in found.items() if not tag.startswith("result/")}
    assert found == {tag: pytest.approx(values) for tag, values in expected.items()}


def test_tensorboard_that_is_not_installed(small, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"logger=tensorboard: is not installed: pip install 'bnn-train\[tensorboard\]'"):
        run(small("logger=tensorboard"), tmp_path)


def test_a_dry_run_shows_what_would_be_done(small, tmp_path, caplog):
    """Also of a run that would be continued, or has nothing left to do; mistakes are found as ever."""
    caplog.set_level(logging.INFO)
    assert run(small("dry_run=true"), tmp_path / "none") == {}
    assert not (tmp_path / "none").exists()
    for piece in ("x as much", "digits: 1,438 training images", "dry run: would train to step 28 (2 x 14 steps an epoch)"):
        assert piece in caplog.text
    with pytest.raises(ConfigError, match=r"trainer\.batch_size=1439"):
        run(small("dry_run=true", "trainer.batch_size=1439"), tmp_path / "none")
    run(small(), tmp_path / "r")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "r").rglob("*")}
    run(small("dry_run=true", f"resume={tmp_path / 'r'}"), tmp_path / "none", overrides={"resume"})
    assert "the run is finished, nothing would be done" in caplog.text
    run(small("dry_run=true", "trainer.epochs=5"), tmp_path / "r", overrides={"trainer.epochs"})
    assert "would continue after step 28 and train to step 70" in caplog.text
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "r").rglob("*")}


def test_evaluating_on_other_pixels_is_told(small, tmp_path, monkeypatch):
    run(small(), tmp_path)
    assert evaluate_saved(tmp_path)["same_images"]
    digits = datasets.REGISTRY["digits"]

    def darker(config):
        arrays = digits.read(config)
        return replace(arrays, test=Split(arrays.test.images // 2, arrays.test.labels))

    monkeypatch.setitem(datasets.REGISTRY, "digits", digits._replace(read=darker))
    assert not evaluate_saved(tmp_path)["same_images"]


_COMPILER = type("BackendCompilerFailed", (RuntimeError,), {"__module__": "torch._dynamo.exc"})


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), ConfigError, r"trainer\.batch_size=100: there is not enough memory for it"),
        (_COMPILER("no omp.h\nmore"), ConfigError, r"trainer\.compile=true: torch could not compile the network \(no omp\.h\)"),
        (RuntimeError("a defect"), RuntimeError, "a defect"),
    ],
)
def test_what_the_machine_cannot_do_in_training_is_one_line(small, error, kind, message):
    with pytest.raises(kind, match=message), run_module._naming_what_the_machine_lacks(small("trainer.compile=true")):
        raise error


def test_a_relative_folder_of_images_that_is_not_here_is_asked_for(small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(small(), tmp_path / "run")
    state = checkpoint.load(tmp_path / "run" / "checkpoints" / "result.pt")
    state["config"]["data"] |= {"name": "image_folder", "root": "photos"}
    checkpoint.save(state, tmp_path / "run" / "checkpoints" / "result.pt")
    with pytest.raises(
        ConfigError, match=r"data\.root=photos: is not here .* relative to where the training was started; use data\.root="
    ):
        evaluate_saved(tmp_path / "run")


def test_a_network_without_binary_weights_has_no_health(small, tmp_path):
    summary = run(small("ste=none", "weights=real"), tmp_path)
    assert not any("flips" in note for note in summary["notes"])
    assert not (tmp_path / "health.jsonl").exists()
