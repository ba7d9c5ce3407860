"""What bnn-study found: figures of each row from its runs, and which methods differ by more than their seeds do. Of plain data.

A study is {"name", "title", "command", "seeds", "held_out", "rows", ...}; a row {"name", "method" (None of a twin), "twin" (its
twin's row, None of a twin), "model", "epochs" (of each stage), "refused" (why it cannot be run, or ""), "runs"}; a run {"seed",
"status" (finished, failed, busy, unfinished, missing), "reason"} and, where it is finished, figures of its summary.json.
"""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bnn_train.report.advice import kinds
from bnn_train.report.jobs import STUDY
from bnn_train.report.welch import Difference, Sample, carried, difference

FORMAT = 1
FILE = STUDY
BEST, TIE, WORSE, UNKNOWN = "best", "tie", "worse", "?"  # UNKNOWN where a single seed, a method's own or the best's, says nothing
ALONE = ""  # of a twin, and of a single method
FEW_HELD_OUT = 100  # images: of fewer one is more than a percent
_SPLITS = ("test_accuracy", "val_accuracy", "train_accuracy", "test_ensemble_accuracy")
_REST = ("chosen", "epoch", "epochs", "ended", "seconds", "images_per_second", "images", "network", "notes")
_MACHINE = ("precision", "device", "versions", "git_commit")


@dataclass(frozen=True)
class Figures:
    """Of a row with at least one finished run."""

    row: Mapping[str, Any]
    sample: Sample
    gap: Difference | None  # to its twin; None of a twin, and where that has no finished run
    standing: str  # among the methods; ALONE of a twin
    seconds: float  # a run's, the mean
    network: Mapping[str, int]  # sums over the layers

    @property
    def name(self) -> str:
        return str(self.row["name"])


def load(folder: Path) -> dict[str, Any] | None:
    """A folder's study.json; None where it is missing, damaged or of another version. bnn-study writes it again then."""
    return load_file(folder / FILE)


def load_file(file: Path) -> dict[str, Any] | None:
    """The same, of a file that may be kept under another name (scripts/results.py)."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        figures(found), selection_line(found), machines(found)
        return dict(found) if found["format"] == FORMAT else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return None


def condensed(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a summary.json that study.json holds."""
    return {key: summary[key] for key in (*_SPLITS, *_REST, *_MACHINE) if key in summary}


def finished(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The runs of a row that have ended."""
    return [run for run in row["runs"] if run["status"] == "finished"]


def figures(study: Mapping[str, Any]) -> list[Figures]:
    """The twins first; then the methods, from the highest mean to the lowest, equal ones as they were typed.

    Rows without a finished run are left out.
    """
    samples = {row["name"]: _sample(runs) for row in study["rows"] if (runs := finished(row))}
    standings = _standings({row["name"]: samples[row["name"]] for row in study["rows"] if row["twin"] and row["name"] in samples})
    found = []
    for row in study["rows"]:
        if (sample := samples.get(row["name"])) is None:
            continue
        twin = samples.get(row["twin"])
        gap = None if twin is None else difference(sample, twin)
        runs = finished(row)
        seconds = statistics.fmean(run["seconds"] for run in runs)
        found.append(Figures(row, sample, gap, standings.get(row["name"], ALONE), seconds, runs[0]["network"]))
    return sorted(found, key=lambda each: (0, 0.0) if each.row["twin"] is None else (1, -each.sample.mean))  # stable


def _sample(runs: Sequence[Mapping[str, Any]]) -> Sample:
    return Sample([run["test_accuracy"] for run in runs], runs[0]["images"]["test"])


def _standings(methods: Mapping[str, Sample]) -> dict[str, str]:
    """Each method beside the best, the one of the highest mean; tied with it where `carried` does not name their difference."""
    if len(methods) < 2:
        return {}
    best = max(methods, key=lambda name: methods[name].mean)  # the first of several, as in `figures`
    chances = {name: difference(methods[best], sample).chance for name, sample in methods.items() if name != best}
    known = {name: chance for name, chance in chances.items() if chance is not None}
    named = dict(zip(known, carried(list(known.values())), strict=True))
    others = {name: UNKNOWN if name not in named else WORSE if named[name] else TIE for name in chances}
    return {best: BEST if len(methods[best].values) > 1 else UNKNOWN, **others}


def left_out(study: Mapping[str, Any], folder: str = "") -> list[str]:
    """A line for each row of which something is missing, and why. folder: where the study lies, to name files of what failed."""
    lines = []
    for row in study["rows"]:
        if row["refused"]:
            lines.append(f"{row['name']}: refused, {row['refused']}")
            continue
        for run in row["runs"]:
            if run["status"] != "finished":
                reason = run["reason"] or ("not begun" if run["status"] == "missing" else "")
                file = f"{folder}/{row['name']}/seed={run['seed']}/failure.txt" if folder and run["status"] == "failed" else ""
                words = [run["status"], *filter(None, [reason, file and f"see {file}"])]
                lines.append(f"{row['name']}, seed {run['seed']}: {', '.join(words)}")
    return lines


def settings_line(study: Mapping[str, Any]) -> str:
    """What all rows have: what was typed, but for places on this machine, and the data and epochs also where they were not."""
    typed = [each for each in study.get("overrides") or () if "=" in each and not each.startswith("-") and "/" not in each]
    keys = {each.lstrip("+").partition("=")[0] for each in typed}
    epochs = {sum(row["epochs"]) for row in study["rows"] if len(row["epochs"]) == 1}
    known = {"data": study.get("data"), "trainer.epochs": epochs.pop() if len(epochs) == 1 else None}
    also = [f"{key}={value}" for key, value in known.items() if value and key not in keys]
    return f"all rows with {' '.join([*typed, *also])}" if typed or also else ""


def stage_lines(study: Mapping[str, Any]) -> list[str]:
    """How the epochs of a method in stages are divided, and where that is not the budget of the others."""
    lines = []
    budgets = {row["name"]: sum(row["epochs"]) for row in study["rows"]}
    for row in study["rows"]:
        if len(row["epochs"]) > 1:
            count, budget = sum(row["epochs"]), budgets.get(row["twin"]) or 0
            which = "" if count == budget or not budget else "more" if count > budget else "fewer"
            beside = f", {which} than the {budget} of the others" if which else ""
            lines.append(f"{row['name']} trains in {len(row['epochs'])} stages, of {divided(row)}: {count} in all{beside}")
    return lines


def divided(row: Mapping[str, Any]) -> str:
    """The epochs of each stage, in words: 6 + 6 + 8 epochs."""
    return f"{' + '.join(map(str, row['epochs']))} epoch{'s' if sum(row['epochs']) != 1 else ''}"


def note_lines(study: Mapping[str, Any]) -> list[str]:
    """What the runs complain of: a line for each kind, with the rows of which at least one run does."""
    found: dict[str, dict[str, None]] = {}
    for row in study["rows"]:
        for run in finished(row):
            for kind in kinds(run.get("notes") or ()):
                found.setdefault(kind, {})[row["name"]] = None
    return [f"{', '.join(names)}: {kind}" for kind, names in found.items()]


def selection_line(study: Mapping[str, Any]) -> str:
    """What has chosen each run's network."""
    if not study["held_out"]:
        return "nothing is held out: each run's network is that of its last epoch"
    own = study["held_out"] == "own"
    images = {run["images"].get("val") for row in study["rows"] for run in finished(row)} if own else {study["held_out"]}
    few = f", of which one is {1 / min(images):.1%}: too few to choose well" if None not in images and _few(images) else ""
    count = "the data set's own held-out" if own else f"{study['held_out']:,} held-out training"
    return f"each run's network is chosen on {count} images{few}; test images choose nothing"


def _few(images: Iterable[int]) -> bool:
    return 0 < min(images, default=0) < FEW_HELD_OUT


def times(study: Mapping[str, Any]) -> float:
    """Seconds of all finished runs together."""
    return sum(run["seconds"] for row in study["rows"] for run in finished(row))


def machines(study: Mapping[str, Any]) -> list[str]:
    """Each machine that has trained, as its runs say."""
    found = {_machine(run, study.get("processor", "")): None for row in study["rows"] for run in finished(row)}
    return list(found)


def _machine(run: Mapping[str, Any], processor: str) -> str:
    versions = run["versions"]
    device = f"{run['device']} ({processor})" if processor and str(run["device"]).startswith("cpu") else run["device"]
    return f"{device}; torch {versions['torch']}, Python {versions['python']}"
