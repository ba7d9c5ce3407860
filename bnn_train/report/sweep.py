"""The table of a sweep, from the files in its job directories."""

import csv
import json
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from rich import box
from rich.table import Table

from bnn_train.errors import ConfigError
from bnn_train.report.lines import resume_argument
from bnn_train.report.tables import duration, text

WIDTH = 120  # characters
ABSENT = "-"  # shown where a job does not set a key that others set


@dataclass(frozen=True)
class Job:
    """One job directory. status: "finished", "failed", or "unfinished" (interrupted, running, or yet to start)."""

    name: str
    status: str
    overrides: dict[str, str]
    summary: dict[str, Any] = field(default_factory=dict)  # summary.json, of a finished job
    failure: str = ""  # the last line of failure.txt; or how one that was extended by itself is continued


def read_jobs(sweep_dir: Path) -> list[Job]:
    """The jobs of a sweep directory, by name. Raises ConfigError where there are none."""
    files = sorted(f for f in sweep_dir.glob("*/.hydra/overrides.yaml") if not (f.parent.parent / "lab.json").exists())
    if not files:
        raise ConfigError("sweep", sweep_dir, "holds no job directories; give the directory of a sweep (sweeps/NAME)")
    return [_read_job(file.parent.parent, file) for file in files]


def _read_job(folder: Path, overrides_file: Path) -> Job:
    pairs = [str(override).lstrip("+").split("=", 1) for override in OmegaConf.load(overrides_file)]
    overrides = {pair[0]: pair[-1] for pair in pairs if pair[0] != "sweep.name"}
    if (folder / "failure.txt").exists():
        lines = (folder / "failure.txt").read_text(encoding="utf-8").strip().splitlines()
        return Job(folder.name, "failed", overrides, failure=lines[-1] if lines else "")
    if (folder / "summary.json").exists():
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        if summary.get("status", "finished") == "finished":  # else the run goes on, and its last end is not its result
            return Job(folder.name, "finished", overrides, summary)
        return Job(folder.name, "unfinished", overrides, failure=f"extended; bnn-train {resume_argument(folder)}")
    return Job(folder.name, "unfinished", overrides)


def swept_keys(jobs: list[Job]) -> list[str]:
    """The override keys in which the jobs differ, in the order of the command line."""
    keys = dict.fromkeys(key for job in jobs for key in job.overrides)
    return [key for key in keys if len({job.overrides.get(key) for job in jobs}) > 1]


@dataclass(frozen=True)
class Setting:
    """The finished jobs that differ in their seed alone."""

    values: tuple[str, ...]
    accuracies: list[float]
    without_noise: list[float]  # the same; but where an ensemble ranks, the accuracies of the networks without noise
    seconds: list[float]

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
        groups.setdefault(tuple(job.overrides.get(key, ABSENT) for key in keys), []).append(job)
    found = [
        Setting(values, *([job.summary[key] for job in group] for key in (measure, measure.replace("ensemble_", ""), "seconds")))
        for values, group in groups.items()
    ]
    return keys, measure, sorted(found, key=lambda setting: (-setting.mean, setting.values))


def table(jobs: list[Job], title: str) -> str:
    """Settings ranked, one line each: mean, standard deviation and best over seeds, mean time; then what is not finished."""
    keys, measure, ranked = settings(jobs)
    result = Table("rank", *keys, title=f"{title}, by {measure.replace('_', ' ')}", box=box.SIMPLE_HEAD)
    ensemble = "ensemble" in measure
    for name in ("runs", "mean", "std", "best", *(["mean without noise"] if ensemble else []), "time"):
        result.add_column(name, justify="right")
    for rank, setting in enumerate(ranked, start=1):
        accuracies = setting.accuracies
        std = f"{statistics.stdev(accuracies):.2%}" if len(accuracies) > 1 else ""
        time = duration(statistics.fmean(setting.seconds))
        plain = [f"{statistics.fmean(setting.without_noise):.2%}"] if ensemble else []
        cells = (str(len(accuracies)), f"{setting.mean:.2%}", std, f"{max(accuracies):.2%}", *plain, time)
        result.add_row(str(rank), *setting.values, *cells)
    lines = [text(result, WIDTH)]
    failed = [job for job in jobs if job.status == "failed"]
    unfinished = [job for job in jobs if job.status == "unfinished"]
    if failed:
        lines += [
            "",
            f"{len(failed)} failed (the traceback is in failure.txt of each):",
            *(f"  {j.name}: {j.failure}" for j in failed),
        ]
    if unfinished:
        lines += ["", f"{len(unfinished)} not finished (run the same command again, or what stands beside the job):"]
        lines += [f"  {job.name}" + (f": {job.failure}" if job.failure else "") for job in unfinished]
    return "\n".join(lines)


def write_csv(jobs: list[Job], path: Path) -> None:
    """One line per job, finished or not: its name and status, its overrides, the numbers of its summary."""
    overrides = list(dict.fromkeys(key for job in jobs for key in job.overrides))
    splits = ("test", "test_ensemble", "val", "val_ensemble", "train")
    numbers = [f"{split}_{kind}" for split in splits for kind in ("accuracy", "loss")]
    numbers += ["epoch", "epochs", "seconds", "images_per_second"]
    try:
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["job", "status", *overrides, *numbers])
            for job in jobs:
                given = [job.overrides.get(key, "") for key in overrides]
                writer.writerow([job.name, job.status, *given, *(job.summary.get(key, "") for key in numbers)])
    except OSError as error:
        raise ConfigError("sweep", path, f"could not be written ({error.strerror})") from error
