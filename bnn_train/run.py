"""One run, from its configuration to its summary: the one place where the parts meet."""

import json
import logging
import time
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from bnn_train import checkpoint, device, environment, interrupt, loggers, models, resume, run_folder
from bnn_train.binary.edges import Edges
from bnn_train.config import Config
from bnn_train.data import datasets
from bnn_train.data.batches import eval_batches
from bnn_train.data.splits import Data
from bnn_train.errors import ConfigError, Interrupted
from bnn_train.models.layer_table import layer_rows
from bnn_train.optim import optimizers
from bnn_train.report import tables
from bnn_train.trainer import Row, Trainer

log = logging.getLogger(__name__)

Summary = dict[str, Any]  # the content of summary.json


def run(config: Config, run_dir: Path, typed: Collection[str] | None = None) -> Summary:
    """Trains as `config` says, into `run_dir`; returns what summary.json holds.

    Where `run_dir` holds a checkpoint, continues that run from its own configuration; `typed` names the keys in which `config` was
    meant to differ from it (resume.settle). Raises ConfigError before any training, Diverged and Interrupted during it;
    checkpoints already written stay.
    """
    with run_folder.locked(run_dir):
        state = _state(config, run_dir)
        if state is None:
            return _train(config, run_dir, None)
        config = resume.settle(state, config, typed)
        summary = run_folder.read_summary(run_dir)
        if summary is not None and summary["epochs"] == config.trainer.epochs:
            log.info("%s is finished; trainer.epochs=N with a larger N would extend it", _for_people(run_dir))
            return summary
        return _train(config, run_dir, state)


def _state(config: Config, run_dir: Path) -> dict[str, Any] | None:
    """Where the run in `run_dir` is, or None for a new run. Raises ConfigError where `resume` names no run."""
    file = Path(config.resume or "")
    if file.suffix == ".pt":
        named = checkpoint.load(file, "resume")
        if file.resolve().parent != (run_dir / "checkpoints").resolve():
            raise ConfigError("resume", file, "is not in the checkpoints/ of a run directory; init_from starts a new run from it")
        return named
    state = checkpoint.latest(run_dir / "checkpoints")
    if state is None and config.resume:
        raise ConfigError("resume", config.resume, "holds no checkpoints/last.pt; give the directory of a run")
    return state


def _train(config: Config, run_dir: Path, state: dict[str, Any] | None) -> Summary:
    where = device.choose(config.device)
    if config.trainer.compile:
        device.check_compiler()
    data = _load_data(config, where)
    if state is not None:
        resume.check_same(state, config, data, where.type)
    device.make_reproducible(config.seed, where, config.trainer.precision)
    model = models.build(config, data.image_shape, len(data.classes), where)
    if config.init_from is not None and state is None:
        resume.load_weights(model, Path(config.init_from))
    edges = Edges(config.edges.rules, model, state["trainer"].get("edges", {}) if state is not None else None)
    optimizer = optimizers.build(config.optimizer, model, len(data.train))

    checkpoints = run_dir / "checkpoints"
    time_to_save = checkpoint.every(config.trainer.checkpoint_every)
    with interrupt.deferred() as check_interrupt:

        def after_step() -> None:
            check_interrupt()
            if time_to_save():
                trainer.check_finite()
                save("last.pt")

        def save(name: str) -> None:
            everything = {
                "config": asdict(config),
                "data": resume.data_signature(data),
                "device": where.type,
                "trainer": trainer.state_dict(),
                "random": checkpoint.random_state(),
            }
            checkpoint.save(everything, checkpoints / name, keep=checkpoints / "previous.pt" if name == "last.pt" else None)

        trainer = Trainer(config, model, optimizer, edges, data, after_step)
        rows = layer_rows(model, next(eval_batches(data.train, config.data, 1))[0])
        log.info("%s\n", tables.network_table(rows))
        if edges.masks and state is None:
            log.info("%s\n", tables.edges_table(edges.rows()))
        log.info("%s", _data_line(config, data))
        log.info("run directory: %s", _for_people(run_dir))
        if state is not None:
            trainer.load_state_dict(state["trainer"])
            log.info("continuing after epoch %d, step %d of %d", trainer.epoch, trainer.step, trainer.steps)
        outputs = loggers.build(config.logger, run_dir, trainer.history)
        if state is not None:
            checkpoint.set_random_state(state["random"])  # last: nothing may draw between here and the next step

        if config.trainer.compile:
            log.info("the first step compiles the network, which takes some seconds")
        try:
            clock = time.perf_counter()
            for row in trainer.fit():
                if data.val and best_epoch(trainer.history) == row["epoch"]:
                    save("best.pt")  # before last.pt: a crash between the two repeats the epoch, and writes the same again
                save("last.pt")
                for output in outputs:
                    output(row)
                images, seconds = trainer.speeds[-1]
                run_folder.add_time(run_dir, row["epoch"], images, seconds, time.perf_counter() - clock)
                clock = time.perf_counter()
                log.info("%s", _epoch_line(row, trainer, config))
                check_interrupt()
        except Interrupted as stop:
            trainer.check_finite()  # nothing broken may replace what is saved
            save("last.pt")
            log.info("%s in epoch %d after step %d of %d: saved last.pt", stop, trainer.epoch + 1, trainer.step, trainer.steps)
            log.info("continue with: bnn-train resume=%s", _for_people(run_dir))
            raise

    chosen = trainer.history[best_epoch(trainer.history) - 1] if data.val else trainer.history[-1]
    summary = {
        **{key: value for key, value in chosen.items() if key not in ("lr", "epoch")},
        "epoch": chosen["epoch"],
        "chosen": f"epoch {chosen['epoch']}, {'best on the held-out images' if data.val else 'the last'}",
        "checkpoint": "checkpoints/best.pt" if data.val else "checkpoints/last.pt",
        "epochs": config.trainer.epochs,
        "seed": config.seed,
        **run_folder.total_times(run_dir),
        "network": tables.network_totals(rows),
        "precision": config.trainer.precision,
        "compile": config.trainer.compile,
        "device": device.describe(where),
        "versions": environment.versions(),
        "git_commit": environment.git_commit(Path(__file__).parent.parent),
    }
    if edges.masks:
        summary["edges"] = [asdict(row) for row in edges.rows()]
        log.info("\n%s", tables.edges_table(edges.rows()))
    checkpoint.write_text(json.dumps(summary, indent=2) + "\n", run_dir / "summary.json")
    log.info("\n%s\n", tables.result_table(summary, _for_people(run_dir)))
    return summary


def best_epoch(history: list[Row]) -> int:
    """The epoch (from 1) with the highest accuracy on the held-out images, the first of equals; with an ensemble, by its accuracy.

    Test numbers choose nothing.
    """
    return max(history, key=lambda row: (row.get("val_ensemble_accuracy", row["val_accuracy"]), -row["epoch"]))["epoch"]


def _for_people(path: Path) -> Path:
    """Relative where it lies below the current directory."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _load_data(config: Config, where: torch.device) -> Data:
    data = datasets.load(config.data, where)
    if config.trainer.batch_size > len(data.train):
        remedy = f"is larger than the training set, {len(data.train)} images; use {max(2, len(data.train) // 4)}, for example"
        raise ConfigError("trainer.batch_size", config.trainer.batch_size, remedy)
    return data


def _data_line(config: Config, data: Data) -> str:
    held_out = f"{len(data.val):,} held out, " if data.val else ""
    shape = "x".join(str(size) for size in data.image_shape)
    images = f"{len(data.train):,} training images, {held_out}{len(data.test):,} test images"
    return f"{config.data.name}: {images}, {shape}, {len(data.classes)} classes"


def _epoch_line(row: Row, trainer: Trainer, config: Config) -> str:
    """One line per epoch: the record on the terminal and in train.log."""
    names = ("train", "val", "val_ensemble", "test", "test_ensemble")
    accuracies = "  ".join(f"{name.replace('_', ' ')} {row[f'{name}_accuracy']:.2%}" for name in names if f"{name}_accuracy" in row)
    images, seconds = (sum(column) for column in zip(*trainer.speeds, strict=True))
    left = (config.trainer.epochs - row["epoch"]) * trainer.steps * config.trainer.batch_size * seconds / max(images, 1)
    speed = trainer.speeds[-1][0] / trainer.speeds[-1][1]
    width = len(str(config.trainer.epochs))
    return (
        f"epoch {row['epoch']:{width}}/{config.trainer.epochs}  loss {row['train_loss']:.4f}  {accuracies}  "
        f"lr {row['lr']:.2g}  {speed:,.0f} img/s  left {tables.duration(left)}"
    )
