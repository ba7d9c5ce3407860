"""A study at work: its runs one after the other, and a line for each. Loads no torch."""

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bnn_train.cli import study_runs
from bnn_train.cli.study_rows import Row, folder_of
from bnn_train.report import grid, terminal
from bnn_train.report.tables import duration


def in_order(rows: Sequence[Row], seeds: Sequence[int]) -> list[tuple[Row, int]]:
    """The runs as they are trained: the twins, then every method with the first seed, with the second ...

    So a study that is stopped in its middle compares equal numbers of runs.
    """
    there = [row for row in rows if not row.refused]
    twins = [(row, seed) for row in there if row.method is None for seed in seeds]
    return [*twins, *((row, seed) for seed in seeds for row in there if row.method is not None)]


def train_all(
    rows: Sequence[Row], seeds: Sequence[int], to_do: Sequence[tuple[Row, int]], folder: Path, save: Callable[[], object]
) -> None:
    """Trains what is to be done, a line for each; what another process trains is skipped."""
    runs = in_order(rows, seeds)
    seconds: dict[str, list[float]] = {}
    for row, seed in runs:
        if (row, seed) not in to_do:
            run = study_runs.read(folder_of(folder, row.name, seed), seed)
            seconds.setdefault(row.name, []).append(run["seconds"])
    refused = [row for row in rows if row.refused]
    counts = [f"{len(runs)} runs, ", f"{len(runs) - len(to_do)} of them finished; " if len(to_do) < len(runs) else "", str(folder)]
    terminal.write(grid.sentence("".join(counts)) + "\n")
    for row in refused:
        terminal.write(grid.sentence(f"{row.name}: refused, {row.refused}") + "\n")
    wide = max(len(_label(row, seed)) for row, seed in runs) if runs else 0
    for number, (row, seed) in enumerate(to_do, start=1):
        label = f"{number:{len(str(len(to_do)))}}/{len(to_do)}  {_label(row, seed):{wide}}"
        began = time.monotonic()
        run = _one(row, seed, folder, label)
        if run["status"] == "finished":
            seconds.setdefault(row.name, []).append(time.monotonic() - began)
        _say(label, run, left(to_do[number:], seconds))
        save()


def _one(row: Row, seed: int, folder: Path, label: str) -> dict[str, Any]:
    place = folder_of(folder, row.name, seed)
    if (found := study_runs.read(place, seed))["status"] == "busy":
        return found
    drawn = 0

    def look(at: Path) -> None:
        nonlocal drawn
        drawn = terminal.over_line(f"{label}  epoch {epochs_done(at)}/{sum(row.epochs)}", drawn)

    run = study_runs.train(row, seed, folder, look=look)
    terminal.over_line(" " * drawn)
    terminal.over_line("")
    return run


def left(to_do: Sequence[tuple[Row, int]], seconds: dict[str, list[float]]) -> float | None:
    """Seconds that these runs will take: each as long as its row's others, or as all; None where none has been seen."""
    known = [each for row in seconds.values() for each in row]
    if not known:
        return None
    return sum(statistics.fmean(seconds.get(row.name) or known) for row, _ in to_do)


def _say(label: str, run: dict[str, Any], remaining: float | None) -> None:
    if run["status"] == "finished":
        text = f"{label}  test {run['test_accuracy']:7.2%}  {duration(run['seconds']):>8}"
        terminal.write(text + (f"  left {duration(remaining)}" if remaining else "") + "\n")
    else:
        reason = f"{run['reason']}: skipped" if run["status"] == "busy" else f"{run['status']}: {run['reason']}"
        terminal.write(grid.fold([f"{label} ", *grid.plain(reason).split()], "    ") + "\n")


def _label(row: Row, seed: int) -> str:
    return f"{row.name}, seed {seed}"


def epochs_done(folder: Path) -> int:
    """That a run has behind it, of all its stages."""
    logs = list(folder.glob("stage*/metrics.jsonl")) or [folder / "metrics.jsonl"]  # of stages, the last one's is at the top, too
    count = 0
    for log in logs:
        try:
            count += log.read_bytes().count(b"\n")
        except OSError:
            continue
    return count
