"""What a run gave: one network, and everything that is said of it, written together at the end.

summary.json, predictions.npz and result.pt are of one network; summary.json comes last and says that the others are whole.
"""

import itertools
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from bnn_train import device, files, startup
from bnn_train.binary import windows
from bnn_train.config.loss import LOSSES
from bnn_train.config.root import Config
from bnn_train.config.weights import StomppConfig
from bnn_train.data import balance
from bnn_train.files import for_people
from bnn_train.report import classes, health, lines, tables
from bnn_train.report.advice import advice
from bnn_train.runs import checkpoint, directory, environment, mistakes
from bnn_train.runs.choice import Candidate, choose, reached
from bnn_train.training.evaluation import class_scores
from bnn_train.training.selection import best_epoch, first_candidate, is_out_of_patience
from bnn_train.training.trainer import Row, Trainer

Summary = dict[str, Any]  # the content of summary.json


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
    further, whole = f" {later}" if trainer.is_finished else "", directory.whole(run_dir)
    go_on = f" Go on with: {startup.command()} {lines.resume_argument(for_people(whole), trainer.config.plugins)}{further}"
    if whole != run_dir and trainer.is_finished:  # a stage is not extended
        go_on = ""
    return [
        f"this network is not binary yet: of {len(layers)} layers {len(layers) - len(rest)} are, {rest[0]} is next, and the last "
        f"window ends at {weights.end:.0%} of trainer.epochs={epochs}. Figures are those of its signs; it is not exported.{go_on}"
    ]


def illnesses(trainer: Trainer, row: Row, at_end: bool) -> dict[str, str]:
    """{illness: a line} of the binary layers, as `row` has measured them (report/health.py)."""
    return health.illnesses(trainer.health.row, row, trainer.config, len(trainer.data.classes), at_end)


def can_be_balanced(config: Config) -> bool:
    """Whether trainer.class_weights=balanced would change anything."""
    return config.trainer.class_weights == "none" and config.loss.name not in LOSSES


def is_best(trainer: Trainer, row: Row) -> bool:
    """Whether the epoch that `row` measures is the best so far on the held-out images, where these choose."""
    first = first_candidate(trainer.config, trainer.steps)
    if trainer.config.trainer.result != "auto" or "val_accuracy" not in row or row["epoch"] < first:
        return False
    return best_epoch([*trainer.history, row], first) == row["epoch"]


def ended_by_patience(trainer: Trainer) -> bool:
    """Whether the run has ended before its last epoch because trainer.patience was over."""
    if trainer.step or trainer.epoch >= trainer.config.trainer.epochs:
        return False
    return is_out_of_patience(trainer.history, trainer.config, trainer.steps)


def write_result(
    trainer: Trainer, last: Row, layers: list[Any], about: dict[str, Any], run_dir: Path, told: Mapping[str, Any] | None = None
) -> Summary:
    """Writes result.pt, predictions.npz and summary.json of a run that has ended with the row `last`; returns the summary.

    about: what its checkpoints say besides the state of the training. told: what else the summary says.

    The network is the one that `choose` chooses. The trainer's model holds it afterwards.
    """
    config, data = trainer.config, trainer.data
    rows = {row["epoch"]: row for row in [*trainer.history, last]}
    chosen, candidates = choose(trainer, last, run_dir)
    which = chosen.which()
    summary = _summary(trainer, chosen, candidates, layers, run_dir)
    summary |= {key: about[key] for key in ("choices", "overrides") if key in about} | dict(told or {})
    scores, labels = class_scores(trainer.model, data.test, config), data.test.labels.cpu()
    summary |= classes.figures(scores.argmax(dim=1).tolist(), labels.tolist(), data.classes)
    largest_class = data.test.labels.bincount().max().item() / len(data.test)
    ill = list(illnesses(trainer, last, at_end=True).values())
    unfinished = not_binary_yet(trainer, run_dir)
    uneven = balance.uneven(data.train, data.classes) if can_be_balanced(config) else ""
    summary["notes"] = advice(summary, list(rows.values()), trainer.number, trainer.steps, largest_class, ill, unfinished, uneven)
    wrong, places = mistakes.surest(scores, data.test.labels, data.test.images)
    found = {"scores": scores, "labels": labels, "wrong": wrong, "wrong_index": places}
    arrays = {name: tensor.numpy() for name, tensor in found.items()}

    def predictions(file: BinaryIO) -> None:
        np.savez_compressed(file, allow_pickle=False, **arrays, classes=np.array(data.classes), **which)

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


def _summary(trainer: Trainer, chosen: Candidate, candidates: list[Candidate], layers: list[Any], run_dir: Path) -> Summary:
    config, data, row = trainer.config, trainer.data, chosen.row
    summary: Summary = {
        "status": "finished",
        **{key: row[key] for key in ("train_loss", "train_accuracy", "penalty") if key in row},
        **chosen.figures,
        **chosen.which(),
        "chosen": f"{tables.moment(**reached(row))}, {', '.join(_why(chosen, candidates))}",
        "checkpoint": f"checkpoints/{checkpoint.RESULT}",
        "epochs": config.trainer.epochs,
        "max_steps": config.trainer.max_steps,
        "patience": config.trainer.patience,
        "seed": config.seed,
        **directory.total_times(run_dir),
        "images": {"train": len(data.train), "val": len(data.val) if data.val else 0, "test": len(data.test)},
        "limits": {"train": config.data.train_limit, "test": config.data.test_limit},
        "network": tables.network_totals(layers),
        "precision": config.trainer.precision,
        "compile": config.trainer.compile,
        "optimizer_step": trainer.choice.kind,
        "device": device.describe(data.test.labels.device),
        "versions": environment.versions(),
        "git_commit": environment.git_commit(Path(__file__).parent.parent.parent),
    }
    if config.trainer.patience is not None and ended_by_patience(trainer):
        summary["ended"] = lines.patience_line(trainer.epoch, config.trainer.patience)
    if len(candidates) > 1:
        summary["candidates"] = [{**candidate.which(), **candidate.figures} for candidate in candidates]
    if trainer.edges.masks:
        summary["edges"] = [asdict(row) for row in trainer.edges.rows()]
    return summary


def _why(chosen: Candidate, candidates: list[Candidate]) -> list[str]:
    """What the network is, and why it is the result."""
    is_selected = candidates[0].kind == "best"
    what = {"averaged": ["the average"], "recalibrated": ["recalibrated"]}.get(chosen.kind, [])
    return [*what, "best on the held-out images" if is_selected else "the last"]
