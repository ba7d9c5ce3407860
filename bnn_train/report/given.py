"""What `bnn-report PATH...` is of: runs, the jobs of sweeps, or one study of the laboratory."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bnn_train.errors import ConfigError
from bnn_train.report.jobs import Job, is_job, named, read_job, read_jobs
from bnn_train.report.page import read as files
from bnn_train.report.study import figures, load

TAKES = "give directories of runs or of sweeps, or that of one study"


@dataclass(frozen=True)
class Given:
    """The runs that were named, one by one or as the jobs of sweeps; or one study, and no runs."""

    title: str
    jobs: list[Job] = field(default_factory=list)
    sweep: Path | None = None  # the sweep, where one was named and nothing else
    study: dict[str, Any] | None = None  # content of lab.json
    methods: dict[str, Any] | None = None  # content of study.json, where the sweep is a study of methods

    @property
    def rows(self) -> list[str] | None:
        """Of a study of methods the rows: first those of its table, in that order."""
        if self.methods is None:
            return None
        return list(dict.fromkeys([*(each.name for each in figures(self.methods)), *(row["name"] for row in self.methods["rows"])]))


def read(paths: Sequence[Path]) -> Given:
    """What the paths hold, each run once. Raises ConfigError where one holds nothing to report, or they do not go together."""
    studies = [path for path in paths if (path / "lab.json").exists()]
    if studies:
        if len(paths) > 1:
            raise ConfigError("path", studies[0], "is a study of the laboratory, which is reported alone; name no other path")
        return Given(_title(paths[0]), study=_study(paths[0]))
    for path in paths:
        if not path.is_dir():
            raise ConfigError("path", path, f"{'is a file' if path.exists() else 'does not exist'}; {TAKES}")
    if len(paths) == 1 and not is_job(paths[0]):
        return Given(_title(paths[0]), read_jobs(paths[0]), sweep=paths[0], methods=load(paths[0]))
    jobs: dict[Path, Job] = {}
    for path in paths:
        for job in [read_job(path)] if is_job(path) else read_jobs(path):
            jobs.setdefault(job.folder.resolve(), job)
    names = _names(list(jobs))
    title = _title(paths[0]) if len(paths) == 1 else f"{len(jobs)} runs"
    return Given(title, named([replace(job, name=name) for job, name in zip(jobs.values(), names, strict=True)]))


def check_one_data_set(given: Given) -> None:
    """Raises ConfigError where runs that were named one by one are on different data: they do not compare."""
    if given.sweep is not None:
        return
    name = classes = None
    for job in given.jobs:
        its_name, its_classes = (
            data_set(job),
            job.summary.get("classes"),
        )  # folders of images have one name, and classes of their own
        name, classes = name or its_name, classes or its_classes
        what = "" if its_classes in (None, classes) else f"on images of other classes than another run on {name}"
        what = what if its_name in (None, name) else f"on {its_name}, another run on {name}"
        if what:
            raise ConfigError("path", job.folder, f"is {what}, and their accuracies do not compare; name runs on one data set")


def data_set(job: Job) -> str | None:
    """The name of the data that a run is on, where its configuration is there to say it."""
    data = (files.configuration(job.folder) or {}).get("data")
    return str(data["name"]) if isinstance(data, dict) and "name" in data else None


def _study(path: Path) -> dict[str, Any]:
    try:
        study = json.loads((path / "lab.json").read_text(encoding="utf-8"))
        if study["config"]["protocol"]:
            return dict(study)
        reason = "is cut or damaged"
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
    except (ValueError, KeyError, TypeError):
        reason = "is cut or damaged"
    raise ConfigError("study", path, f"lab.json {reason}; run bnn-lab again, which goes on where it was")


def _title(path: Path) -> str:
    """As it was typed; of a path from the root, which says more of a machine than of a run, the last two names."""
    whole = path.absolute()
    typed = Path(os.path.normpath(path))
    return "/".join(whole.parts[-2:]) if path.is_absolute() or typed.parts[:1] in ((), ("..",)) else typed.as_posix()


def _names(folders: Sequence[Path]) -> list[str]:
    """The ends of paths, each with as many names as tell them all apart."""
    most = max(len(folder.parts) for folder in folders)
    for count in range(1, most):
        names = ["/".join(folder.parts[-count:]) for folder in folders]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]
