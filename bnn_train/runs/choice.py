"""Which network a run gives: the trained one, its average, or the trained one with BatchNorm's statistics recomputed."""

from pathlib import Path
from typing import Any, NamedTuple

from bnn_train.binary import windows
from bnn_train.runs import checkpoint
from bnn_train.training import selection
from bnn_train.training.recalibration import batches, norms, recalibrate
from bnn_train.training.trainer import Row, Trainer


class Candidate(NamedTuple):
    """A network among which is chosen, and its figures on held-out and test images, under the names of a trained one's."""

    kind: str  # last, best, averaged, recalibrated
    row: Row  # of its epoch
    figures: Row

    def which(self) -> dict[str, Any]:
        """Its kind, "epoch", the finished ones, and "step", those done of the next."""
        return {"kind": self.kind, **reached(self.row)}


def choose(trainer: Trainer, last: Row, run_dir: Path) -> tuple[Candidate, list[Candidate]]:
    """(the network that the run gives, all there are), of a run that has ended with the row `last`. The trainer's model holds it.

    As trainer.result says. With `auto` and held-out images the best epoch counts in place of the last: that in which the trained
    network or the averaged one was best. Of its trained one the recomputed statistics are measured, too.
    """
    config, data = trainer.config, trainer.data
    rows = {row["epoch"]: row for row in [*trainer.history, last]}
    first, result = selection.first_candidate(config, trainer.steps), config.trainer.result
    is_selected = result == "auto" and data.val is not None and last["epoch"] >= first and not windows.unfinished(trainer.model)
    row = rows[selection.best_epoch(list(rows.values()), first)] if is_selected else last
    if row is not last:
        _go_back(trainer, row, run_dir)
    found = [Candidate("best" if is_selected else "last", row, _figures(row, ""))]
    if trainer.average is not None:
        found.append(Candidate("averaged", row, _figures(row, selection.AVERAGED)))
    if config.trainer.recalibrate and norms(trainer.model):
        before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
        recalibrate(trainer.model, batches(data.train, config, row["epoch"] - 1))
        found.append(Candidate("recalibrated", row, trainer.evaluated()))
    if is_selected:
        chosen = max(found, key=lambda candidate: selection.accuracy(candidate.figures))  # of equals the first
    else:
        chosen = next((candidate for candidate in found if candidate.kind == result), found[0])
    if found[-1].kind == "recalibrated" and chosen is not found[-1]:
        trainer.model.load_state_dict(before)
    if chosen.kind == "averaged":
        assert trainer.average is not None
        trainer.average.put()
    return chosen, found


def _go_back(trainer: Trainer, row: Row, run_dir: Path) -> None:
    """Makes the trainer's network that of the epoch of best.pt, which `row` measures."""
    best = checkpoint.load(run_dir / "checkpoints" / "best.pt")["trainer"]
    assert len(best["history"]) == row["epoch"]  # its figures are those of the network that is written
    trainer.model.load_state_dict(best["model"])
    trainer.edges.load_state_dict(best["edges"])
    if trainer.average is not None:
        trainer.average.load_state_dict(best["average"])


def _figures(row: Row, prefix: str) -> Row:
    """Of one network of an epoch, without the prefix."""
    names = tuple(f"{prefix}{split}_" for split in ("val", "test"))
    return {name.removeprefix(prefix): value for name, value in row.items() if name.startswith(names)}


def reached(row: Row) -> dict[str, int]:
    """{"epoch": finished epochs, "step": steps of the next} of the network that a row measures."""
    return {"epoch": row["epoch"] - 1, "step": row["steps"]} if "steps" in row else {"epoch": row["epoch"], "step": 0}
