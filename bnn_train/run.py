"""One run, from its configuration to its summary: the one place where the parts meet."""

import json
import logging
import platform
import subprocess
import sys
import time
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from bnn_train import checkpoint, device, interrupt, loggers, models
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


def run(config: Config, run_dir: Path) -> Summary:
    """Trains as `config` says, into `run_dir`; returns what summary.json holds.

    Raises ConfigError before any training, Diverged and Interrupted during it; checkpoints already written stay.
    """
    start = time.perf_counter()
    checkpoints = _new_folder(run_dir)
    where = device.choose(config.device)
    data = _load_data(config, where)
    device.make_reproducible(config.seed)
    model = models.build(config, data.image_shape, len(data.classes)).to(where)
    optimizer = optimizers.build(config.optimizer, model)
    outputs = loggers.build(config.logger, run_dir)

    rows = layer_rows(model, next(eval_batches(data.train, config.data, 1))[0])
    log.info("%s\n", tables.network_table(rows))
    log.info("%s", _data_line(config, data))
    log.info("run directory: %s", _for_people(run_dir))

    with interrupt.deferred() as check_interrupt:
        trainer = Trainer(config, model, optimizer, data, after_step=check_interrupt)

        def save(name: str) -> None:
            state = {"config": asdict(config), "classes": data.classes, "image_shape": list(data.image_shape)}
            checkpoint.save({**state, "trainer": trainer.state_dict(), "random": checkpoint.random_state()}, checkpoints / name)

        try:
            for row in trainer.fit():
                for output in outputs:
                    output(row)
                log.info("%s", _epoch_line(row, trainer, config))
                save("last.pt")
                if data.val and best_epoch(trainer.history) == row["epoch"]:
                    save("best.pt")
                check_interrupt()
        except Interrupted as stop:
            trainer.check_finite()  # nothing broken may replace what is saved
            save("last.pt")
            log.info("%s in epoch %d after step %d of %d: saved last.pt", stop, trainer.epoch + 1, trainer.step, trainer.steps)
            raise

    chosen = trainer.history[best_epoch(trainer.history) - 1] if data.val else trainer.history[-1]
    summary = {
        **{key: value for key, value in chosen.items() if key not in ("lr", "epoch")},
        "epoch": chosen["epoch"],
        "chosen": f"epoch {chosen['epoch']}, {'best on the held-out images' if data.val else 'the last'}",
        "checkpoint": "checkpoints/best.pt" if data.val else "checkpoints/last.pt",
        "epochs": config.trainer.epochs,
        "seed": config.seed,
        "seconds": time.perf_counter() - start,
        "images_per_second": len(trainer.seconds) * trainer.steps * config.trainer.batch_size / sum(trainer.seconds),
        "network": tables.network_totals(rows),
        "device": device.describe(where),
        **environment(),
    }
    (run_dir / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    log.info("\n%s\n", tables.result_table(summary, _for_people(run_dir)))
    return summary


def best_epoch(history: list[Row]) -> int:
    """The epoch (from 1) with the highest accuracy on the held-out images, the first of equals. Test numbers choose nothing."""
    return max(history, key=lambda row: (row["val_accuracy"], -row["epoch"]))["epoch"]


def _for_people(path: Path) -> Path:
    """Relative where it lies below the current directory."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _new_folder(run_dir: Path) -> Path:
    folder = run_dir / "checkpoints"
    if (folder / "last.pt").exists():
        raise ConfigError("hydra.run.dir", run_dir, "already holds a run (checkpoints/last.pt); choose another, or move that one")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError("hydra.run.dir", run_dir, f"cannot be written to ({error.strerror})") from error
    return folder


def _load_data(config: Config, where: torch.device) -> Data:
    data = datasets.load(config.data, where)
    if config.trainer.batch_size > len(data.train):
        remedy = f"is larger than the training set, {len(data.train)} images"
        raise ConfigError("trainer.batch_size", config.trainer.batch_size, remedy)
    return data


def _data_line(config: Config, data: Data) -> str:
    held_out = f"{len(data.val):,} held out, " if data.val else ""
    shape = "x".join(str(size) for size in data.image_shape)
    images = f"{len(data.train):,} training images, {held_out}{len(data.test):,} test images"
    return f"{config.data.name}: {images}, {shape}, {len(data.classes)} classes"


def _epoch_line(row: Row, trainer: Trainer, config: Config) -> str:
    """One line per epoch: the record on the terminal and in train.log."""
    accuracies = "  ".join(
        f"{name} {row[f'{name}_accuracy']:.2%}" for name in ("train", "val", "test") if f"{name}_accuracy" in row
    )
    left = tables.duration(sum(trainer.seconds) / len(trainer.seconds) * (config.trainer.epochs - row["epoch"]))
    speed = trainer.steps * config.trainer.batch_size / trainer.seconds[-1]
    width = len(str(config.trainer.epochs))
    return (
        f"epoch {row['epoch']:{width}}/{config.trainer.epochs}  loss {row['train_loss']:.4f}  {accuracies}  "
        f"lr {row['lr']:.2g}  {speed:,.0f} img/s  left {left}"
    )


def environment() -> dict[str, Any]:
    """What a result was made with: versions and, in a checkout, the commit."""
    versions = {"python": platform.python_version(), "platform": sys.platform}
    for package in ("bnn-train", "torch", "torchvision", "hydra-core"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {"versions": versions, "git_commit": git_commit(Path(__file__).parent.parent)}


def git_commit(root: Path) -> str | None:
    """The commit of the checkout at `root`, with "+changes" where files differ from it; None where `root` is no checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != root.resolve():
            return None  # installed somewhere inside a checkout of something else
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return None
