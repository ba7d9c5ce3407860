"""Repeats a speed run: whole commands, one after the other, each with a seed of its own.

    python scripts/speedrun.py mnist_speedrun --data DATA
    python scripts/speedrun.py mnist_speedrun --data DATA --override data.val_size=5000 --override trainer.result=last

Every run is `bnn-train experiment=NAME data.root=DATA seed=SEED` in a process of its own. Its clock starts before the process and
stops behind it: Python, torch, reading the files, training, every evaluation and every file that is written count. Prints each
run's test accuracy (where images are held out theirs, and nothing of the test images), its seconds and its processor's seconds,
then mean ± deviation, their interval and the machine. docs/speedruns.md has the rules.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import usage

from bnn_train import startup
from bnn_train.report import interval
from bnn_train.runs import environment

SEEDS = 10


class Run(NamedTuple):
    seed: int
    accuracy: float
    seconds: float  # on the wall's clock, of the whole command
    cpu_seconds: float  # of all its threads
    others: int  # threads of other processes that computed as it started


def accuracy(summary: dict[str, Any]) -> float:
    """Of a run's summary: on held-out images where there are any, so that who tries something sees no test image's."""
    return float(summary.get("val_accuracy", summary["test_accuracy"]))


def row(run: Run) -> str:
    return f"{run.seed:4}  {run.accuracy:8.2%}  {run.seconds:7.1f}  {run.cpu_seconds:11.1f}  {run.others:6}"


def figures(runs: Sequence[Run]) -> list[str]:
    """Lines: the accuracy's mean, deviation, number and interval; the seconds; what was beside."""
    found, seconds = [run.accuracy for run in runs], [run.seconds for run in runs]
    half = interval.half_width(found)
    mean, n = statistics.fmean(found), len(found)
    if half is None:
        lines = [f"accuracy  {mean:.2%} (n=1: no deviation)"]
    else:
        within = f"{interval.LEVEL:.0%} interval {mean - half:.2%} to {mean + half:.2%}"
        lines = [f"accuracy  {mean:.2%} ± {statistics.stdev(found):.2%} (n={n}), {within}, lowest {min(found):.2%}"]
    cpu = statistics.fmean(run.cpu_seconds for run in runs)
    lines.append(f"seconds   mean {statistics.fmean(seconds):.1f}, longest {max(seconds):.1f}; of the processor {cpu:.1f}")
    if busy := sum(run.others > 0 for run in runs):
        lines.append(f"busy      other processes computed as {busy} of {n} runs started: on a quiet machine a run is shorter")
    return lines


def run(name: str, data: Path, seed: int, overrides: Sequence[str], run_dir: Path) -> tuple[Run, dict[str, Any]]:
    """One whole command, and what its summary.json says."""
    given = [f"experiment={name}", f"data.root={data}", *overrides, f"seed={seed}", f"hydra.run.dir={run_dir}"]
    others, before, start = startup.others_at_work(), _cpu(), time.perf_counter()
    ended = subprocess.run([sys.executable, "-m", "bnn_train", *given], stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    if ended.returncode:
        sys.exit(ended.returncode)  # it has said why
    summary = json.loads((run_dir / "summary.json").read_text(encoding="utf-8"))
    return Run(seed, accuracy(summary), seconds, _cpu() - before, others), summary


def _cpu() -> float:
    """Seconds that processes started here, and ended, have computed."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(arguments: Sequence[str] | None = None) -> None:
    parser = usage.parser(__doc__)
    parser.add_argument("experiment", help="mnist_speedrun, or another")
    parser.add_argument("--data", type=Path, required=True, help="where the images are: data.root")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many: 0, 1 ...")
    parser.add_argument("--keep", type=Path, help="a new folder for the run directories; without it they are deleted")
    parser.add_argument("--override", action="append", default=[], help="for every run, as in trainer.epochs=3")
    given = parser.parse_args(arguments)
    if given.seeds < 1:
        parser.error("--seeds: at least 1")
    if given.keep is not None and given.keep.exists():  # a run that is there already would not be trained again
        parser.error(f"--keep: {given.keep} is there already")
    runs = []
    with tempfile.TemporaryDirectory() as aside:
        print("seed  accuracy  seconds  CPU seconds  others", flush=True)
        for seed in range(given.seeds):
            found, summary = run(given.experiment, given.data, seed, given.override, (given.keep or Path(aside)) / f"seed={seed}")
            runs.append(found)
            print(row(found), flush=True)
    print("\n".join(["", *figures(runs)]))
    print(
        f"machine   {environment.processor()}, {startup.cores()} cores, {summary['device']}; torch {summary['versions']['torch']}"
    )


if __name__ == "__main__":
    main()
