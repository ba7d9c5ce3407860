"""What a run has left in its directory, whole or not: whatever is missing or damaged is None or left out."""

import json
import math
import os
import re
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
    count = len(_planned(run_dir))
    ended = sum((run_dir / f"stage{number}" / "summary.json").exists() for number in range(1, count + 1))
    number = min(ended + 1, count)
    return (run_dir / f"stage{number}", f", in stage {number} of {count}") if count else (run_dir, "")


def so_far(run_dir: Path) -> str:
    """How far a run has come that is in training or was stopped: "is in training, or was stopped, in stage 2 of 4, after epoch 5:
    train 91.20%, test 90.10%"."""
    folder, within = stage(run_dir)
    measured = rows(folder / "metrics.jsonl")
    last = measured[-1] if measured else {}
    figures = [f"{split} {last[key]:.2%}" for split in ("train", "val", "test") if (key := f"{split}_accuracy") in last]
    reached = f"after epoch {last['epoch']}: {', '.join(figures)}" if measured else "before the end of its first epoch"
    return f"is in training, or was stopped{within}, {reached}"


def stage_number(run_dir: Path) -> int | None:
    """Which stage of a run in stages a directory is, from 1; None of any other."""
    folder = Path(os.path.abspath(run_dir))
    found = re.fullmatch(r"stage([1-9]\d*)", folder.name)
    return int(found[1]) if found and int(found[1]) <= len(_planned(folder.parent)) else None


def stage_overrides(run_dir: Path) -> list[str] | None:
    """Those of the run and of the stage, of the directory of a stage, whatever has become of it; None of any other."""
    number, whole = stage_number(run_dir), content(Path(os.path.abspath(run_dir)).parent / "stages.json")
    each = None if number is None else [*whole.get("overrides", ()), *whole["stages"][number - 1].get("overrides", ())]
    return None if each is None else [str(override) for override in each]


def _planned(run_dir: Path) -> list[dict[str, Any]]:
    """What stages.json says of each stage; nothing of a run without any."""
    whole = content(run_dir / "stages.json")
    each = whole.get("stages") if isinstance(whole, dict) else None
    return each if isinstance(each, list) and all(isinstance(stage, dict) for stage in each) else []


def configuration(run_dir: Path) -> dict[str, Any] | None:
    """The composed configuration as nested dictionaries. That of a stage stands in the directory of its run."""
    number = stage_number(run_dir)
    if number is not None:
        found = _planned(Path(os.path.abspath(run_dir)).parent)[number - 1].get("config")
        return found if isinstance(found, dict) else None
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
