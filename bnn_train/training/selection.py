"""Which epoch is the best on the held-out images, and whether it is long ago. Test numbers choose nothing."""

from collections.abc import Sequence
from typing import Any

from bnn_train.config.root import Config
from bnn_train.config.weights import StomppConfig

Row = dict[str, Any]  # one line of metrics.jsonl
AVERAGED = "ema_"  # before the names of the averaged network's figures


def accuracy(figures: Row, prefix: str = "") -> float:
    """On the held-out images; with an ensemble, its accuracy."""
    alone: float = figures[f"{prefix}val_accuracy"]
    return float(figures.get(f"{prefix}val_ensemble_accuracy", alone))


def networks(row: Row, result: str = "auto") -> list[str]:
    """The prefixes of the networks of an epoch among which trainer.result=`result` chooses: the trained one, the averaged one."""
    averaged = [AVERAGED] if f"{AVERAGED}val_accuracy" in row else []
    if result == "auto":
        return ["", *averaged]
    return averaged if result == "averaged" else [""]


def best_network(row: Row, result: str = "auto") -> str:
    """The prefix of the network of an epoch that is best on the held-out images, of equals the trained one."""
    return max(networks(row, result), key=lambda prefix: accuracy(row, prefix))


def best_epoch(history: Sequence[Row], first: int = 1, result: str = "auto") -> int:
    """The epoch (from 1) with the highest accuracy on the held-out images, the first of equals.

    Epochs before `first`, whose network is not yet what it will be, are not chosen.
    """
    candidates = [row for row in history if row["epoch"] >= first]
    best = max(candidates, key=lambda row: (accuracy(row, best_network(row, result)), -row["epoch"]))
    epoch: int = best["epoch"]
    return epoch


def first_candidate(config: Config, steps: int) -> int:
    """The first epoch (from 1) of `steps` steps whose network has all the pruning that the rules ask for, and is wholly binary."""
    binary = config.weights.first_binary_epoch(config.trainer.epochs, steps) if isinstance(config.weights, StomppConfig) else 1
    return max(config.edges.complete_after + 1, binary)


def is_out_of_patience(history: Sequence[Row], config: Config, steps: int) -> bool:
    """Whether the best of these finished epochs lies trainer.patience epochs back, or more."""
    patience = config.trainer.patience
    if patience is None:
        return False
    first = first_candidate(config, steps)
    if len(history) < first + patience:
        return False
    return len(history) - best_epoch(history, first, config.trainer.result) >= patience


def end_of_patience(history: Sequence[Row], config: Config, steps: int) -> int | None:
    """After how many of the finished epochs trainer.patience ends the run; None where it does not."""
    return next((n for n in range(1, len(history) + 1) if is_out_of_patience(history[:n], config, steps)), None)
