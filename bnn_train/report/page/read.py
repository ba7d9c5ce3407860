"""What a run has left in its directory, whole or not: whatever is missing or damaged is None or left out."""

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

Row = dict[str, Any]


def rows(file: Path) -> list[Row]:
    """The whole lines of a .jsonl file by epoch; of an epoch that is there twice the last."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found: dict[int, Row] = {}
    for line in lines:
        with suppress(ValueError):
            row = json.loads(line)
            if isinstance(row, dict) and isinstance(row.get("epoch"), int):
                found[row["epoch"]] = row
    return [found[epoch] for epoch in sorted(found)]


def content(file: Path) -> Any:
    """Of a JSON file."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def stage(run_dir: Path) -> tuple[Path, str]:
    """(the directory of the stage that a run is in, ", in stage 1 of 3"); of one without stages (the run's own, "")."""
    planned = content(run_dir / "stages.json")
    each = planned.get("stages") if isinstance(planned, dict) else None
    count = len(each) if isinstance(each, list) else 0
    ended = sum((run_dir / f"stage{number}" / "summary.json").exists() for number in range(1, count + 1))
    number = min(ended + 1, count)
    return (run_dir / f"stage{number}", f", in stage {number} of {count}") if count else (run_dir, "")


def configuration(run_dir: Path) -> dict[str, Any] | None:
    """The composed configuration as nested dictionaries."""
    try:
        text = (run_dir / ".hydra" / "config.yaml").read_text(encoding="utf-8")
        found = OmegaConf.to_container(OmegaConf.create(text))
    except Exception:  # whatever the parser of YAML raises for rubbish
        return None
    return found if isinstance(found, dict) else None  # type: ignore[return-value]


def number(value: object) -> float | None:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
