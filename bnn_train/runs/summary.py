"""What a run gave: one network, and everything that is said of it, written together at the end.

summary.json, predictions.npz and result.pt are of one network; summary.json comes last and says that the others are whole.
"""

import itertools
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from bnn_train import device, files
from bnn_train.binary import windows
from bnn_train.config.root import Config
from bnn_train.config.weights import StomppConfig
from bnn_train.files import for_people
from bnn_train.report import health, lines, tables
from bnn_train.report.advice import advice
from bnn_train.runs import checkpoint, directory, environment
from bnn_train.training.evaluation import class_scores
from bnn_train.training.trainer import Row, Trainer

Summary = dict[str, Any]  # the content of summary.json


def best_epoch(history: list[Row], first: int = 1) -> int:
    """The epoch (from 1) with the highest accuracy on the held-out images, the first of equals; with an ensemble, by its accuracy.

    Test numbers choose nothing. Epochs before `first`, whose network is not yet what it will be, are not chosen.
    """
    candidates = [row for row in history if row["epoch"] >= first]
    return max(candidates, key=lambda row: (row.get("val_ensemble_accuracy", row["val_accuracy"]), -row["epoch"]))["epoch"]


def first_candidate(config: Config, steps: int) -> int:
    """The first epoch (from 1) of `steps` steps whose network has all the pruning that the rules ask for, and is wholly binary."""
    binary = config.weights.first_binary_epoch(config.trainer.epochs, steps) if isinstance(config.weights, StomppConfig) else 1
    return max(config.edges.complete_after + 1, binary)


def not_binary_yet(trainer: Trainer, run_dir: Path) -> list[str]:
    """A line that says so of a network whose progressive binarization has not come to its end; none for any other."""
    weights, epochs = trainer.config.weights, trainer.config.trainer.epochs
    layers, rest = windows.progressive_layers(trainer.model), windows.unfinished(trainer.model)
    if not (rest and isinstance(weights, StomppConfig)):
        return []
    later = "trainer.max_steps=null"
    if trainer.epoch >= epochs:
        enough = (n for n in itertools.count(epochs + 1) if weights.first_binary_epoch(n, trainer.steps) <= n)
        later = f"trainer.epochs={next(enough)}"
    further = f" {later}" if trainer.is_finished else ""
    return [
        f"this network is not binary yet: of {len(layers)} layers {len(layers) - len(rest)} are, {rest[0]} is next, and the last "
        f"window ends at {weights.end:.0%} of trainer.epochs={epochs}. Figures are those of its signs; it is not exported. "
        f"Go on with: bnn-train {lines.resume_argument(for_people(run_dir))}{further}"
    ]


def illnesses(trainer: Trainer, row: Row, at_end: bool) -> dict[str, str]:
    """{illness: a line} of the binary layers, as `row` has measured them (report/health.py)."""
    return health.illnesses(trainer.health.row, row, trainer.config, len(trainer.data.classes), at_end)


def is_best(trainer: Trainer, row: Row) -> bool:
    """Whether the epoch that `row` measures is the best so far on the held-out images."""
    first = first_candidate(trainer.config, trainer.steps)
    return "val_accuracy" in row and row["epoch"] >= first and best_epoch([*trainer.history, row], first) == row["epoch"]


def write_result(trainer: Trainer, last: Row, layers: list[Any], about: dict[str, Any], run_dir: Path) -> Summary:
    """Writes result.pt, predictions.npz and summary.json of a run that has ended with the row `last`; returns the summary.

    about: what its checkpoints say besides the state of the training.

    The network is that of the best epoch on the held-out images, where there are any, and else the last one. The trainer's model
    holds it afterwards.
    """
    config, data = trainer.config, trainer.data
    rows = {row["epoch"]: row for row in [*trainer.history, last]}
    chosen, kind = last, "last"
    first = first_candidate(config, trainer.steps)
    if data.val is not None and last["epoch"] >= first and not windows.unfinished(trainer.model):
        chosen, kind = rows[best_epoch(list(rows.values()), first)], "best"
    if chosen is not last:
        best = checkpoint.load(run_dir / "checkpoints" / "best.pt")["trainer"]
        assert len(best["history"]) == chosen["epoch"]  # its figures are those of the network that is written
        trainer.model.load_state_dict(best["model"])
        trainer.edges.load_state_dict(best["edges"])
    which: dict[str, Any] = {"kind": kind, **reached(chosen)}
    summary = _summary(trainer, chosen, which, layers, run_dir)
    summary |= {key: about[key] for key in ("choices", "overrides") if key in about}
    largest_class = data.test.labels.bincount().max().item() / len(data.test)
    ill = list(illnesses(trainer, last, at_end=True).values())
    unfinished = not_binary_yet(trainer, run_dir)
    summary["notes"] = advice(summary, list(rows.values()), trainer.number, trainer.steps, largest_class, ill, unfinished)
    scores = class_scores(trainer.model, data.test, config).numpy()
    labels = data.test.labels.cpu().numpy()

    def predictions(file: BinaryIO) -> None:
        np.savez_compressed(file, allow_pickle=False, scores=scores, labels=labels, classes=np.array(data.classes), **which)

    files.write(run_dir / "predictions.npz", predictions)
    checkpoint.save(
        {
            **about,
            "model": trainer.model.state_dict(),
            "edges": trainer.edges.state_dict(),
            "result": which,
        },
        run_dir / "checkpoints" / checkpoint.RESULT,
    )
    directory.write_summary(summary, run_dir)
    return summary


def reached(row: Row) -> dict[str, int]:
    """{"epoch": finished epochs, "step": steps of the next} of the network that a row measures."""
    return {"epoch": row["epoch"] - 1, "step": row["steps"]} if "steps" in row else {"epoch": row["epoch"], "step": 0}


def _summary(trainer: Trainer, chosen: Row, which: dict[str, Any], layers: list[Any], run_dir: Path) -> Summary:
    config, data = trainer.config, trainer.data
    why = "best on the held-out images" if which["kind"] == "best" else "the last"
    summary = {
        "status": "finished",
        **{key: value for key, value in chosen.items() if key not in ("lr", "epoch", "steps")},
        **which,
        "chosen": f"{tables.moment(**reached(chosen))}, {why}",
        "checkpoint": f"checkpoints/{checkpoint.RESULT}",
        "epochs": config.trainer.epochs,
        "max_steps": config.trainer.max_steps,
        "seed": config.seed,
        **directory.total_times(run_dir),
        "images": {"train": len(data.train), "val": len(data.val) if data.val else 0, "test": len(data.test)},
        "limits": {"train": config.data.train_limit, "test": config.data.test_limit},
        "network": tables.network_totals(layers),
        "precision": config.trainer.precision,
        "compile": config.trainer.compile,
        "device": device.describe(data.test.labels.device),
        "versions": environment.versions(),
        "git_commit": environment.git_commit(Path(__file__).parent.parent.parent),
    }
    if trainer.edges.masks:
        summary["edges"] = [asdict(row) for row in trainer.edges.rows()]
    return summary
