"""In which keys of their configurations runs differ."""

from collections.abc import Mapping, Sequence
from typing import Any

from bnn_train.report.jobs import Job
from bnn_train.report.page import read

# Where things lie and what a run is called: no part of what it computes, and nobody else's business.
UNSHOWN = (
    "data.root",
    "data.cache_dir",
    "data.memory",
    "sweep",
    "hydra",
    "resume",
    "dry_run",
    "trainer.checkpoint_every",
    "trainer.keep",
    "logger",
)
MISSING = "–"


def differing(jobs: Sequence[Job]) -> tuple[list[str], list[list[str]]]:
    """(keys with more than one value, for each of the jobs its values of them); a job without a configuration has dashes."""
    flats = [_flat(read.configuration(job.folder) or {}) for job in jobs]
    known = [flat for flat in flats if flat]
    keys = dict.fromkeys(key for flat in known for key in flat)
    differ = [key for key in keys if not _unshown(key) and len({flat.get(key, MISSING) for flat in known}) > 1]
    return differ, [[flat.get(key, MISSING) for key in differ] for flat in flats]


def chosen(job: Job) -> list[tuple[str, str]]:
    """What was typed for a run: keys and values, without where things lie."""
    return [(key, value) for key, value in (job.overrides or {}).items() if not _unshown(key)]


def _unshown(key: str) -> bool:
    return any(key == each or key.startswith(f"{each}.") for each in UNSHOWN)


def _flat(content: Mapping[str, Any], before: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            found |= _flat(value, f"{before}{key}.")
        else:
            found[f"{before}{key}"] = _text(value)
    return found


def _text(value: object) -> str:
    """As it would be typed."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{','.join(map(_text, value))}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_text(each)}" for key, each in value.items()) + "}"
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
