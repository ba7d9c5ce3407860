"""The table of a sweep: its settings ranked over their seeds, and the jobs that are not among them."""

import csv
import io
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bnn_train import files
from bnn_train.errors import ConfigError
from bnn_train.report import grid, terminal
from bnn_train.report.grid import Column
from bnn_train.report.jobs import Job, read_jobs
from bnn_train.report.tables import duration

ABSENT = "-"  # shown where a job does not set a key that others set
HEADINGS = {
    "failed": "failed (the traceback is in failure.txt of each)",
    "damaged": "damaged or incomplete, and left out of the ranking",
    "unfinished": "not finished (run the same command again, or what stands below the job)",
}


def show(sweep_dir: Path) -> tuple[list[Job], bool]:
    """Prints the table and writes sweep.csv, or says why not; returns the jobs, and whether stdout took the table.

    Raises ConfigError where the folder holds no jobs.
    """
    jobs = read_jobs(sweep_dir)
    taken = terminal.write(table(jobs, str(sweep_dir)) + "\n")
    try:
        write_csv(jobs, sweep_dir / "sweep.csv")
    except ConfigError as error:
        reason = getattr(error.__cause__, "strerror", None) or error.__cause__
        terminal.write(f"{error.value} was not written ({reason}); the table above is whole\n", "stderr")
    return jobs, taken


def swept_keys(jobs: list[Job]) -> list[str]:
    """The override keys in which the jobs differ, in the order of the command line; what logs a run is no part of its setting."""
    known = [job.overrides for job in jobs if job.overrides is not None]
    keys = dict.fromkeys(key for overrides in known for key in overrides)
    differ = [key for key in keys if len({overrides.get(key) for overrides in known}) > 1]
    return [key for key in differ if key.partition(".")[0] != "logger"]


def short_names(keys: Sequence[str]) -> list[str]:
    """The last words of each key that no other key or column of the table ends with: lr, but optimizer.lr beside scheduler.lr."""
    taken = ["rank", "runs", "mean", "std", "best", "time", *keys]

    def name(key: str) -> str:
        words = key.split(".")
        ends = [".".join(words[i:]) for i in range(len(words) - 1, 0, -1)]
        others = [other for other in taken if other != key]
        return next((end for end in ends if not any(f".{other}".endswith(f".{end}") for other in others)), key)

    return [name(key) for key in keys]


@dataclass(frozen=True)
class Setting:
    """The finished jobs that differ in their seed alone."""

    values: tuple[str, ...]
    accuracies: list[float]
    without_noise: list[float]  # the same; but where an ensemble ranks, the accuracies of the networks without noise
    seconds: list[float]
    jobs: list[Job] = field(default_factory=list)

    @property
    def mean(self) -> float:
        return statistics.fmean(self.accuracies)


def settings(jobs: list[Job]) -> tuple[list[str], str, list[Setting]]:
    """(swept keys but the seed, the accuracy that ranks, the settings from best to worst mean).

    Held-out accuracy ranks where every finished job has one, else test accuracy; of either, that of the ensemble goes before.
    """
    keys = [key for key in swept_keys(jobs) if key != "seed"]
    finished = [job for job in jobs if job.status == "finished"]
    measures = ("val_ensemble_accuracy", "val_accuracy", "test_ensemble_accuracy", "test_accuracy")
    measure = (
        next((m for m in measures if all(m in job.summary for job in finished)), "test_accuracy") if finished else "test_accuracy"
    )
    groups: dict[tuple[str, ...], list[Job]] = {}
    for job in finished:
        overrides = job.overrides or {}
        groups.setdefault(tuple(overrides.get(key, ABSENT) for key in keys), []).append(job)
    found = []
    for values, group in groups.items():
        accuracies, without_noise, seconds = (
            [job.summary[key] for job in group] for key in (measure, measure.replace("ensemble_", ""), "seconds")
        )
        found.append(Setting(values, accuracies, without_noise, seconds, group))
    return keys, measure, sorted(found, key=lambda setting: (-setting.mean, setting.values))


def table(jobs: list[Job], title: str) -> str:
    """Settings ranked: mean, standard deviation and best over seeds, mean time; then the jobs that are not among them."""
    keys, measure, ranked = settings(jobs)
    blocks = [_ranking(keys, ranked, "ensemble" in measure, f"{title}, by {measure.replace('_', ' ')}")] if ranked else [title]
    if any(ABSENT in setting.values for setting in ranked):
        blocks.append(grid.sentence(f"{ABSENT}: not typed for that job, which had its default or another option's keys"))
    if note := epochs_in_all(ranked):
        blocks.append(grid.sentence(note))
    nameless = sorted({job.reason for job in jobs if job.status == "finished" and job.reason})
    if nameless:
        blocks.append(grid.sentence(f"ranked under the names of their directories: {', '.join(nameless)}"))
    for status, heading in HEADINGS.items():
        named = [job for job in jobs if job.status == status]
        if named:
            blocks.append("\n".join([grid.sentence(f"{len(named)} {heading}:"), *map(_line, named)]))
    return "\n\n".join(blocks)


def epochs_in_all(ranked: Sequence[Setting]) -> str:
    """Where settings of several lengths are ranked and some are in stages: how many epochs each has trained; else ""."""
    lengths: dict[str, list[int]] = {}
    for rank, setting in enumerate(ranked, start=1):
        summary = setting.jobs[0].summary
        stages = summary.get("stages") or []
        epochs = sum(stage.get("epochs", 0) for stage in stages) if stages else summary.get("epochs", 0)
        trained = f"{epochs} epochs" if epochs != 1 else "1 epoch"
        lengths.setdefault(f"{trained} in all, in {len(stages)} stages" if stages else trained, []).append(rank)
    if len(lengths) < 2 or not any("stages" in setting.jobs[0].summary for setting in ranked):
        return ""
    each = [f"{'ranks' if len(ranks) > 1 else 'rank'} {', '.join(map(str, ranks))}: {length}" for length, ranks in lengths.items()]
    return f"runs in stages trained the epochs of each stage; {'; '.join(each)}"


def columns(keys: list[str], ranked: list[Setting], ensemble: bool) -> tuple[Column, list[Column], list[Column]]:
    """(rank, a column for each key, the figures): what the table and the page show of the settings."""
    rank = Column("rank", [str(i) for i in range(1, len(ranked) + 1)])
    names = short_names(keys)
    values = [
        Column(name, cells, right=False) for name, cells in zip(names, zip(*(s.values for s in ranked), strict=True), strict=True)
    ]
    plain = [f"{statistics.fmean(setting.without_noise):.2%}" for setting in ranked]
    figures = [
        Column("runs", [str(len(setting.accuracies)) for setting in ranked]),
        Column("mean", [f"{setting.mean:.2%}" for setting in ranked]),
        Column("std", [_deviation(setting.accuracies) for setting in ranked]),
        Column("best", [f"{max(setting.accuracies):.2%}" for setting in ranked]),
        *([Column("mean without noise", plain)] if ensemble else []),
        Column("time", [duration(statistics.fmean(setting.seconds)) for setting in ranked]),
    ]
    return rank, values, figures


def _ranking(keys: list[str], ranked: list[Setting], ensemble: bool, title: str) -> str:
    """A column for each key; or, where that is too wide, a setting's keys and values below its figures."""
    rank, values, figures = columns(keys, ranked, ensemble)
    if grid.fits([rank, *values, *figures]):
        return grid.table([rank, *values, *figures], title)
    names = [column.header for column in values]
    lines = grid.table([rank, *figures], title, width=max(terminal.width(), 60)).split("\n")  # 60: room for all of these
    above = len(lines) - len(ranked)
    pairs = [
        grid.padded([f"{name}={grid.plain(cell)}" for cell in column.cells]) for name, column in zip(names, values, strict=True)
    ]
    blocks = [[line, *_below(list(cells)), ""] for line, cells in zip(lines[above:], zip(*pairs, strict=True), strict=True)]
    return "\n".join([*lines[:above], *(line for block in blocks for line in block)]).rstrip("\n")


def _below(pairs: list[str]) -> list[str]:
    """key=value, in lines that are broken within a value only where it is longer than a line, after a comma."""
    indent = " " * 6
    room = terminal.width() - len(indent)
    pieces = [pair if grid.length(pair.rstrip()) <= room else grid.folded(pair, room, ",") for pair in pairs]
    lines = grid.fold(pieces, "", room, gap="  ").split("\n")
    return [(indent + line).rstrip() for line in lines]


def _deviation(accuracies: list[float]) -> str:
    """The sample's."""
    return f"{statistics.stdev(accuracies):.2%}" if len(accuracies) > 1 else ""


def _line(job: Job) -> str:
    """A job that is not ranked, and why; a command below it, whole."""
    measured = f"; test accuracy {job.summary['test_accuracy']:.2%}" if job.summary else ""
    words = grid.plain(job.reason + measured).split()
    line = grid.fold([grid.plain(job.name) + ":" * bool(words), *words], " " * 4, first="  ")
    return line + (f"\n    {job.command}" if job.command else "")


def write_csv(jobs: list[Job], path: Path) -> None:
    """One line per job, finished or not: its name and status, its overrides, the numbers of its summary.

    Raises ConfigError where it cannot be written.
    """
    overrides = list(dict.fromkeys(key for job in jobs for key in job.overrides or {}))
    splits = ("test", "test_ensemble", "val", "val_ensemble", "train")
    numbers = [f"{split}_{kind}" for split in splits for kind in ("accuracy", "loss")]
    numbers += ["kind", "epoch", "epochs", "seconds", "images_per_second"]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["job", "status", *overrides, *numbers])
    for job in jobs:
        given = [(job.overrides or {}).get(key, "") for key in overrides]
        writer.writerow([job.name, job.status, *given, *(job.summary.get(key, "") for key in numbers)])
    content = text.getvalue().encode("utf-8", "look_alike")
    files.write(path, lambda file: file.write(content), shared=True)  # by every process of a sweep
