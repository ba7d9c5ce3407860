"""Loss and accuracy over the epochs, for each setting, with the range of its seeds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from bnn_train.report import sweep
from bnn_train.report.jobs import STAGE, Job
from bnn_train.report.page import read

SPLITS = ("train", "val", "test", "val_ensemble", "test_ensemble", "ema_val", "ema_test")  # in the order of the choice
MOST_POINTS = 300  # of one curve
MOST_ROWS = 12_000  # of all of them: about 0.7 MB in the page
Range = tuple[float, float, float]  # mean, smallest, largest over the runs


class Point(NamedTuple):
    """One epoch of a setting on one split."""

    epoch: int
    loss: Range | None
    accuracy: Range | None


@dataclass(frozen=True)
class Setting:
    """Runs that differ in their seeds alone, finished or not."""

    label: str
    jobs: list[Job]
    curves: dict[str, list[Point]]  # by split


def settings(jobs: Sequence[Job], rows_of_study: Sequence[str] | None = None) -> list[Setting]:
    """The settings that have measured an epoch, in the order of the ranking and then those without a rank; stages in theirs.

    rows_of_study: where the jobs are the runs of a study, its rows, which are then the settings, in this order.
    """
    if rows_of_study is not None:
        keys: Sequence[str] = []
        groups: dict[tuple[str, ...], list[Job]] = {(name,): [] for name in rows_of_study}
    else:
        keys, _, ranked = sweep.settings(list(jobs))
        groups = {setting.values: [] for setting in ranked}
    measured = {}
    for job in jobs:
        folder = read.stage(job.folder)[0] if job.status == "unfinished" and len(jobs) == 1 else job.folder
        rows = read.rows(folder / "metrics.jsonl") if job.status in ("finished", "unfinished") else []
        if rows:
            measured[job.folder] = rows
            overrides = job.overrides or {}
            values = tuple(overrides.get(key, sweep.ABSENT) for key in keys)
            groups.setdefault(values if rows_of_study is None else (job.folder.parent.name,), []).append(job)
    names, told = sweep.short_names(keys), list(range(len(keys)))
    if STAGE in keys:
        place = keys.index(STAGE)
        groups = dict(sorted(groups.items(), key=lambda group: _number(group[0][place])))
        told = [place] if len({values[place] for values in groups}) == len(groups) else told  # which stage it is then says all
    count = sum(
        len({split for rows in (measured[job.folder] for job in group) for split in _splits(rows)}) for group in groups.values()
    )
    most = max(10, min(MOST_POINTS, MOST_ROWS // max(1, count)))
    found = []
    for values, group in groups.items():
        if group:
            of_sweep = _label([names[i] for i in told], [values[i] for i in told], group) if rows_of_study is None else values[0]
            found.append(Setting(of_sweep, group, _curves([measured[job.folder] for job in group], most)))
    return found


def _label(names: Sequence[str], values: Sequence[str], jobs: Sequence[Job]) -> str:
    if not names:
        return jobs[0].name if len(jobs) == 1 else f"{len(jobs)} runs"
    pairs = [(name, value) for name, value in zip(names, values, strict=True) if value != sweep.ABSENT]
    return ", ".join(value if name == STAGE else f"{name}={value}" for name, value in pairs) or "as configured"


def _number(stage: str) -> int:
    """Of a stage's name, by which stages are in order; what is none comes first."""
    return int(stage.removeprefix(STAGE)) if stage.startswith(STAGE) else 0


def _splits(rows: Sequence[read.Row]) -> list[str]:
    return [split for split in SPLITS if any(f"{split}_accuracy" in row or f"{split}_loss" in row for row in rows)]


def _curves(runs: Sequence[Sequence[read.Row]], most: int) -> dict[str, list[Point]]:
    epochs: dict[int, list[read.Row]] = {}
    for rows in runs:
        for row in rows:
            epochs.setdefault(row["epoch"], []).append(row)
    kept = list(thinned(sorted(epochs), most))
    curves = {}
    for split in _splits([row for rows in runs for row in rows]):
        points = [Point(epoch, *(_range(epochs[epoch], f"{split}_{kind}") for kind in ("loss", "accuracy"))) for epoch in kept]
        curves[split] = [point for point in points if point.loss or point.accuracy]
    return {split: points for split, points in curves.items() if points}


def _range(rows: Sequence[read.Row], key: str) -> Range | None:
    values = [value for row in rows if (value := read.number(row.get(key))) is not None]
    return (fmean(values), min(values), max(values)) if values else None


def thinned(values: Sequence[int], most: int) -> Iterator[int]:
    """At most `most` (2 or more) of them, evenly, with the first and the last."""
    if len(values) <= most:
        yield from values
        return
    yield from (values[round(i * (len(values) - 1) / (most - 1))] for i in range(most))
