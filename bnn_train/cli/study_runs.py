"""The runs of a study: which are done, and one process of bnn-train for each of the others. Loads no torch.

A process for each run costs its start, some seconds, and gives back all memory; one that dies takes no other with it. What it has
to say is in its train.log; of one that fails stderr is kept in failure.txt, whose last line says why, as for the jobs of a sweep.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any

from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import OmegaConf

from bnn_train import files
from bnn_train.cli.study_rows import Row, folder_of
from bnn_train.config import root
from bnn_train.config.checks import flat, within
from bnn_train.config.root import FREE, Config
from bnn_train.errors import ConfigError, as_typed
from bnn_train.report import study as report
from bnn_train.report.jobs import read_job
from bnn_train.runs import directory

_NOT_COMPARED = (*FREE, "plugins", "resume")  # what is no part of what a run is
_LOOK_EVERY = 0.5  # seconds
# bnn-train without its console script, which may not be installed: the current directory is not on Python's path, as in that.
_BNN_TRAIN = "import sys; sys.path[:1] = []; sys.path.append({!r}); sys.argv[0] = 'bnn-train'; "
_BNN_TRAIN += "from bnn_train.cli.start import train; train()"

Start = Callable[[Sequence[str], IO[bytes]], "subprocess.Popen[bytes]"]  # bnn-train with arguments, and where its stderr goes


def start(arguments: Sequence[str], errors: IO[bytes]) -> "subprocess.Popen[bytes]":
    """bnn-train in a process of its own."""
    code = _BNN_TRAIN.format(str(Path(__file__).resolve().parent.parent.parent))
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors
    )


def read(folder: Path, seed: int) -> dict[str, Any]:
    """The run of a directory, as study.json holds it."""
    run: dict[str, Any] = {"seed": seed, "status": "missing", "reason": ""}
    if not folder.exists():
        return run
    job = read_job(folder)
    if job.status != "finished" and directory.is_busy(folder):
        return {**run, "status": "busy", "reason": directory.trained_by(folder)}
    if job.status == "finished":
        return {**run, "status": "finished", **report.condensed(job.summary)}
    status = "failed" if job.status == "failed" else "unfinished"
    return {**run, "status": status, "reason": job.reason.removeprefix("error: ") if status == "failed" else ""}


def check(row: Row, seed: int, folder: Path) -> bool:
    """Whether a finished run can be taken as it is, of which bnn-train has nothing to check: its images lie where they lay.

    Raises ConfigError where the directory holds a run of another configuration.
    """
    assert row.config is not None
    there = _stored(folder)
    if there is None:
        return False
    stored, asked = flat(asdict(there)), flat(asdict(replace(row.config, seed=seed)))
    summary = directory.read_summary(folder) or {}
    if not summary and not directory.holds_run(folder):
        return False  # of one that was ended before its first step, which bnn-train begins anew
    if "epochs" in summary and summary.get("status") == "finished":
        last = {"trainer.epochs": summary["epochs"], "trainer.max_steps": summary.get("max_steps")}
        stored |= {key: value for key, value in last.items() if not row.epochs[1:]}  # it may have been extended by hand
    differ = [key for key in {**stored, **asked} if stored.get(key) != asked.get(key) and not within(key, _NOT_COMPARED)]
    if differ:
        key = differ[0]
        remedy = f"{files.for_people(folder)} holds a run with {key}={as_typed(stored.get(key))}; "
        remedy += "name another study, study.name=NAME, or delete that folder"
        raise ConfigError(key, asked.get(key), remedy)
    return there.data.name == "digits" or _place(there) == _place(row.config)


def _stored(folder: Path) -> Config | None:
    """The configuration that a run was started with; None where its file is missing or cut, which bnn-train then judges."""
    try:
        text = (folder / ".hydra" / "config.yaml").read_text(encoding="utf-8")
        tree = OmegaConf.to_container(OmegaConf.create(text))
    except Exception:  # whatever the parser of YAML raises for rubbish
        return None
    return root.typed(tree) if isinstance(tree, dict) and tree else None  # type: ignore[arg-type]


def _place(config: Config) -> Path:
    return Path(config.data.root).expanduser().absolute()


def train(
    row: Row, seed: int, study: Path, begin: Start = start, look: Callable[[Path], None] = lambda folder: None
) -> dict[str, Any]:
    """One run, new or continued, to its end; how it ended. look: called while it trains.

    Raises Interrupted and KeyboardInterrupt behind the process's own end.
    """
    folder = folder_of(study, row.name, seed)
    with tempfile.TemporaryFile() as errors:
        place = QuotedString(str(folder), Quote.single).with_quotes()
        process = begin([*row.overrides, f"seed={seed}", f"hydra.run.dir={place}"], errors)
        try:
            while process.poll() is None:
                look(folder)
                time.sleep(_LOOK_EVERY) if process.poll() is None else None
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait()
        if process.returncode == 0:
            return read(folder, seed)
        errors.seek(0)
        said = errors.read().decode("utf-8", "replace").strip().splitlines()
    if directory.is_busy(folder):
        return {"seed": seed, "status": "busy", "reason": directory.trained_by(folder)}
    reason = _reason(process.returncode, said)
    folder.mkdir(parents=True, exist_ok=True)
    whole = [*said, *([] if said[-1:] in ([reason], [f"error: {reason}"]) else [reason])]  # its last line is the reason
    files.write_text("\n".join(whole) + "\n", folder / "failure.txt")
    return read(folder, seed)


def _reason(code: int, said: Sequence[str]) -> str:
    if code < 0:
        return f"its process was ended by signal {-code}" + (", as by a system that is out of memory" if code == -9 else "")
    if code in (129, 130, 143):
        return "it was stopped from outside"
    errors = [line.removeprefix("error: ") for line in said if line.startswith("error: ")]
    return errors[-1] if errors else said[-1] if said else f"exit code {code}"
