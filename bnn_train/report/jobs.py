"""The jobs of a sweep, from the files in their directories, whole or not."""

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import OmegaConf

from bnn_train.errors import ConfigError
from bnn_train.report.lines import resume_argument
from bnn_train.report.page import read

MARKS = (".hydra/overrides.yaml", "summary.json", "failure.txt", "metrics.jsonl", "checkpoints")  # of a job's directory
STAGE = "stage"  # no key, but stands with the overrides of a stage that is reported by itself: which one it is
STUDY = "study.json"  # in the folder of a study of methods, whose runs lie two folders down
Content = TypeVar("Content")


@dataclass(frozen=True)
class Job:
    """One job directory.

    status: "finished", "failed", "damaged" (it has ended, but a file that says how is missing or cut), or "unfinished"
    (interrupted, running, or yet to start).
    """

    name: str
    status: str
    overrides: dict[str, str] | None  # None where no file says them
    summary: dict[str, Any] = field(default_factory=dict)  # summary.json, of a finished job
    reason: str = ""  # the last line of failure.txt; what is damaged or missing
    command: str = ""  # that continues a job which was extended by itself
    folder: Path = Path()  # its directory


def read_jobs(sweep_dir: Path) -> list[Job]:
    """The jobs of a sweep directory, by name. Raises ConfigError where there are none."""
    try:
        folders = _folders(sweep_dir)
        if (sweep_dir / STUDY).exists():
            return _of_a_study(sweep_dir, folders)
    except OSError as error:
        raise ConfigError("sweep", sweep_dir, f"cannot be read ({error.strerror}); give the directory of a sweep") from error
    jobs = [read_job(folder) for folder in folders if is_job(folder) or not os.access(folder, os.R_OK | os.X_OK)]
    if not jobs:
        raise ConfigError("sweep", sweep_dir, _instead(folders))
    return named(jobs)


def _folders(of: Path) -> list[Path]:
    return sorted(Path(entry.path) for entry in os.scandir(of) if entry.is_dir())


def _of_a_study(study_dir: Path, rows: list[Path]) -> list[Job]:
    """The runs of bnn-study, ROW/seed=N. Raises ConfigError where there are none."""
    runs = [run for row in rows if os.access(row, os.R_OK | os.X_OK) for run in _folders(row) if is_job(run)]
    if not runs:
        raise ConfigError("study", study_dir, "holds no runs yet; the bnn-study command that made it trains them")
    return named([replace(read_job(run), name=f"{run.parent.name}/{run.name}") for run in runs])


def named(jobs: list[Job]) -> list[Job]:
    """The jobs themselves; where the overrides of none are known, each with its name for its setting."""
    if any(job.status == "finished" for job in jobs):
        return jobs
    return [replace(job, status="finished", overrides={"job": job.name}) if job.summary else job for job in jobs]


def is_job(folder: Path) -> bool:
    """Whether a folder is the directory of a run."""
    return any(os.path.lexists(folder / mark) for mark in MARKS) and not (folder / "lab.json").exists()


def _instead(folders: list[Path]) -> str:
    """What to give in place of a directory that holds no jobs."""
    studies = [folder.name for folder in folders if (folder / STUDY).exists()]
    if studies:
        return f"holds studies: {', '.join(studies)}; give one of them, as in {(folders[0].parent / studies[0]).as_posix()}"
    several = [folder.name for folder in folders if any(map(is_job, folder.glob("*/")))]
    if several:
        return (
            f"holds folders of runs: {', '.join(several)}; give one of them, as in {(folders[0].parent / several[-1]).as_posix()}"
        )
    return "holds no job directories; give the directory of a sweep (sweeps/NAME)"


def read_job(folder: Path) -> Job:
    """The job of a directory, whole or not."""
    return replace(_read_job(folder), folder=folder)


def _read_job(folder: Path) -> Job:
    if not os.access(folder, os.R_OK | os.X_OK):
        return Job(folder.name, "damaged", None, reason="cannot be read (Permission denied)")
    summary, damage = _read(folder / "summary.json", _summary)
    typed, no_overrides = _read(folder / ".hydra" / "overrides.yaml", _overrides)
    if typed is None:
        typed = (summary or {}).get("overrides") or read.stage_overrides(folder)
    overrides = None if typed is None else _extended(_pairs(typed), summary or {})
    number = read.stage_number(folder)
    if number is not None and overrides is not None:
        overrides = {STAGE: f"stage{number}", **overrides}
    if os.path.lexists(folder / "failure.txt"):
        last, unreadable = _read(folder / "failure.txt", lambda text: text.strip().splitlines()[-1:])
        return Job(folder.name, "failed", overrides, reason=unreadable or "".join(last or []))
    if damage:
        return Job(folder.name, "damaged", overrides, reason=damage)
    if summary is None:
        return Job(folder.name, "unfinished", overrides)
    if summary.get("status", "finished") != "finished":  # the run goes on, and its last end is not its result
        return Job(folder.name, "unfinished", overrides, command=f"bnn-train {resume_argument(folder, _plugins(typed))}")
    if typed is None:
        reason = no_overrides or ".hydra/overrides.yaml is missing"
        return Job(folder.name, "damaged", None, summary, reason)
    return Job(folder.name, "finished", overrides, summary)


def _plugins(overrides: Sequence[str] | None) -> list[str]:
    """That these name."""
    found = [value for key, _, value in (each.partition("=") for each in overrides or ()) if key == "plugins"]
    return plugins_in(found[-1]) if found else []


def plugins_in(value: str) -> list[str]:
    """The names in an override's value, as in [my_net.py,other.py]."""
    return [name for name in value.strip("[]").split(",") if name]


def _read(file: Path, parse: Callable[[str], Content]) -> tuple[Content | None, str]:
    """(content, "") of a file; (None, what is wrong with it) where it is damaged; (None, "") where there is none."""
    if not os.path.lexists(file):
        return None, ""
    name = f"{file.parent.name}/{file.name}" if file.parent.name == ".hydra" else file.name
    try:
        text = file.read_text(encoding="utf-8", errors="strict" if file.suffix != ".txt" else "replace")
    except OSError as error:
        return None, f"{name} cannot be read ({error.strerror})"
    except UnicodeDecodeError:
        return None, f"{name} is damaged"
    try:
        return parse(text), ""
    except Exception:  # whatever the parsers of YAML and JSON raise for rubbish
        return None, f"{name} is {'cut or damaged' if text.strip() else 'empty'}"


def _summary(text: str) -> dict[str, Any]:
    """Raises an error where a figure that the table shows is missing or is no number."""
    summary: dict[str, Any] = json.loads(text)
    figures = [summary["test_accuracy"], summary["seconds"]]
    figures += [value for key, value in summary.items() if key.endswith("_accuracy")]
    if not all(math.isfinite(figure) for figure in figures) or not isinstance(summary.get("overrides", []), list):
        raise ValueError
    return summary


def _overrides(text: str) -> list[str]:
    """Raises an error where the text is no list, or does not end as Hydra ends it."""
    found = OmegaConf.to_container(OmegaConf.create(text))
    if not isinstance(found, list) or not text.endswith("\n"):
        raise ValueError
    return [str(override) for override in found]


def _extended(overrides: dict[str, str], summary: dict[str, Any]) -> dict[str, str]:
    """With the end that the run has had: one that was extended by itself is of another length than its sweep's command says."""
    ends = {"trainer.epochs": summary.get("epochs"), "trainer.max_steps": summary.get("max_steps")}
    return {key: value if ends.get(key) is None else str(ends[key]) for key, value in overrides.items()}


def _pairs(typed: list[str]) -> dict[str, str]:
    pairs = [str(override).lstrip("+").split("=", 1) for override in typed]
    return {pair[0]: pair[-1] for pair in pairs if pair[0] != "sweep.name"}
