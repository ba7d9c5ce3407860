"""What is printed and drawn of a study of the laboratory, by its kind of figures."""

import shlex
from pathlib import Path
from typing import Any, Protocol, cast

from bnn_train.errors import ConfigError
from bnn_train.report import grid


class Kind(Protocol):
    """A module of this folder. One of many tables has also `summary(report)`: what is printed in their place, or None."""

    def text(self, report: dict[str, Any]) -> str:
        """Tables and what they mean."""

    def write_plots(self, report: dict[str, Any], folder: Path) -> list[Path]:
        """Writes the pictures, as PNG and SVG; returns the files."""

    def compared(self, reports: dict[str, dict[str, Any]]) -> str:
        """One table of several studies, by name."""


def kind(report: dict[str, Any]) -> Kind:
    """Of lab.json. Raises ConfigError for a file of an older version."""
    from bnn_train.report import lab, lab_mirror, lab_shortcomings, lab_training  # which load matplotlib

    kinds = {"measured": lab, "mirror": lab_mirror, "shortcoming": lab_shortcomings, "training": lab_training}
    if report.get("kind") not in kinds:
        raise ConfigError(
            "lab.json", report.get("kind"), "is of another version of bnn-lab; delete the folder and run bnn-lab again"
        )
    return cast(Kind, kinds[report["kind"]])


def summary(report: dict[str, Any], folder: Path) -> str:
    """What bnn-lab prints behind a measurement: `text`, or where that is many tables one in their place."""
    module = kind(report)
    short: str | None = getattr(module, "summary", lambda _: None)(report)
    if short is None:
        return module.text(report)
    return f"{short}\n\nevery figure: bnn-report {shlex.quote(str(folder))}"


def saved_line(report: dict[str, Any], folder: Path, plots: list[Path]) -> str:
    names = ["lab.json", *(plot.name for plot in plots)]
    return grid.fold(
        [f"measured in {report['seconds']:.0f} s; saved in {folder}:", *(f"{name}," for name in names[:-1]), names[-1]]
    )


def compared(reports: dict[str, dict[str, Any]]) -> str:
    """One table of at least two studies with the same protocol, by the names of their folders, of which it shows what differs."""
    words = {name: name.split(",") for name in reports}
    common = set.intersection(*map(set, words.values()))
    short = {",".join(word for word in words[name] if word not in common) or name: each for name, each in reports.items()}
    return kind(next(iter(reports.values()))).compared(short)
