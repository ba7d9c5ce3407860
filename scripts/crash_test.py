"""Kills real bnn-train processes at random instants, continues them until done, and compares with runs that nothing interrupted.

    python scripts/crash_test.py                 # 20 kills of single runs, then a sweep of 6 jobs killed 5 times
    python scripts/crash_test.py --kills 100 --sweep-kills 0 --seed 1
    python scripts/crash_test.py --method real2binary    # 8 kills of runs in its stages, within and between them
    python scripts/crash_test.py --ranks 2       # 12 kills of runs that two processes train: of one of them, of both, of torchrun

Two of three kills are SIGKILL, the others SIGTERM or SIGHUP. After each one every checkpoint must be readable; at the end last.pt,
best.pt and metrics.jsonl must be equal bit for bit; of a method all that its runs leave, but for times. Exit code 1 where anything
differs. The signals are POSIX's.
"""

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import usage

from bnn_train.errors import ConfigError
from bnn_train.runs import checkpoint

PYTHON = [sys.executable, "-m", "bnn_train"]
COMMAND = [
    "model.hidden=[64,64]",
    "model.dropout=0.2",
    "ste.stochastic=true",
    "data.val_size=200",
]
COMMAND += ["data.crop_padding=1", "trainer.checkpoint_every=3"]
SINGLE = [*PYTHON, *COMMAND, "ste=ede", "trainer.epochs=120"]
SWEEP = [*PYTHON, "-m", *COMMAND, "ste=clipped,tanh,ede", "seed=0,1", "sweep.name=crash", "trainer.epochs=25"]
STAGED = [
    *PYTHON,
    "model=cnn",
    "model.stages=[[8,8],[8]]",
    "data.val_size=200",
    "data.crop_padding=1",
    "trainer.checkpoint_every=3",
]
STAGED += ["trainer.epochs=4", "hydra.run.dir=run"]
RANKS = ["SIGKILL of one process", "SIGKILL of all", "SIGTERM of torchrun"]
SIGNALS = [signal.SIGKILL] * 4 + [signal.SIGTERM, signal.SIGHUP]
TIMES = {"seconds", "images_per_second", "share_of_step"}  # columns of sweep.csv and keys of summary.json that no seed determines


Kill = Callable[[list[str], Path, float], tuple[bool, str]]


def start(command: list[str], folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def finish(command: list[str], folder: Path) -> float:
    """Runs to the end; returns the seconds it took."""
    begin = time.perf_counter()
    if (code := start(command, folder).wait()) != 0:
        sys.exit(f"{' '.join(command[3:])} ended with exit code {code} in {folder}")
    return time.perf_counter() - begin


def kill_once(command: list[str], folder: Path, delay: float) -> tuple[bool, str]:
    """Starts, waits, kills. (Whether the process was still running then, the signal's name.)"""
    process = start(command, folder)
    number = random.choice(SIGNALS)
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
        process.wait()
        return True, number.name
    return False, number.name


def kill_a_rank(command: list[str], folder: Path, delay: float) -> tuple[bool, str]:
    """As kill_once, of what torchrun has started: one of its processes, all with it, or torchrun alone by SIGTERM."""
    null = subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=folder, stdout=null, stderr=null)
    try:
        process.wait(delay)
        return False, RANKS[0]
    except subprocess.TimeoutExpired:
        whom = random.choice(RANKS)
    started = [int(number) for number in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    if whom == RANKS[0] and started:
        os.kill(random.choice(started), signal.SIGKILL)
    elif whom == RANKS[1]:  # in this order, so that torchrun sees none of them end
        for number in [process.pid, *started]:
            os.kill(number, signal.SIGKILL)
    else:
        process.terminate()
    process.wait(60)
    return True, whom


def unreadable(folder: Path) -> list[Path]:
    """Checkpoints below `folder` that cannot be loaded."""
    bad = []
    for path in folder.rglob("*.pt"):
        try:
            checkpoint.load(path)
        except ConfigError:
            bad.append(path)
    return bad


def differences(a: Any, b: Any, path: str = "") -> list[str]:
    """Where two checkpoint states are not equal to the last bit."""
    if isinstance(a, dict) and isinstance(b, dict):
        return [d for key in {*a, *b} for d in differences(a.get(key), b.get(key), f"{path}/{key}")]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [d for i, pair in enumerate(zip(a, b, strict=True)) for d in differences(*pair, f"{path}/{i}")]
    same = torch.equal(a, b) if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) else a == b
    return [] if same else [path]


def compare(whole: Path, killed: Path) -> list[str]:
    """Differences of two run directories."""
    found = []
    for name in ("checkpoints/last.pt", "checkpoints/best.pt", "checkpoints/result.pt"):
        found += [f"{name}{d}" for d in differences(checkpoint.load(whole / name), checkpoint.load(killed / name))]
    return found + [
        name for name in ("metrics.jsonl", "health.jsonl") if (whole / name).read_bytes() != (killed / name).read_bytes()
    ]


def compare_all(whole: Path, killed: Path) -> list[str]:
    """Differences of all that two runs in stages have left, in each stage and at the top, but for times."""
    found = []
    there, here = ({str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()} for run in (whole, killed))
    for name in sorted(there | here):
        if (name in there) != (name in here):
            found.append(f"{name} is in one alone")
        elif name.endswith(".pt"):
            found += [f"{name}{d}" for d in differences(checkpoint.load(whole / name), checkpoint.load(killed / name))]
        elif name.endswith("summary.json"):
            pair = (without_times(json.loads((run / name).read_text(encoding="utf-8"))) for run in (whole, killed))
            found += [f"{name}{d}" for d in differences(*pair)]
        elif name.endswith((".npz", ".json")) or name.endswith(("metrics.jsonl", "health.jsonl")):
            found += [] if (whole / name).read_bytes() == (killed / name).read_bytes() else [name]
    return found


def without_times(tree: Any) -> Any:
    """And without the commit, which may be another one by now."""
    if isinstance(tree, dict):
        return {key: without_times(value) for key, value in tree.items() if key not in {*TIMES, "git_commit"}}
    return [without_times(each) for each in tree] if isinstance(tree, list) else tree


def table(sweep: Path) -> list[dict[str, str]]:
    with open(sweep / "sweep.csv", newline="", encoding="utf-8") as file:
        return [{key: value for key, value in row.items() if key not in TIMES} for row in csv.DictReader(file)]


def in_words(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def single_runs(folder: Path, kills: int, run: list[str] = SINGLE, kill: Kill = kill_once) -> list[str]:
    duration = finish([*run, "hydra.run.dir=whole"], folder)
    print(f"a whole run takes {duration:.1f} s; killing {kills} times")
    found, counts, rounds = [], dict.fromkeys(RANKS if kill is kill_a_rank else [number.name for number in SIGNALS], 0), 0
    while sum(counts.values()) < kills:
        rounds += 1
        command = [*run, f"hydra.run.dir=killed{rounds}"]
        finished = False
        while not finished and sum(counts.values()) < kills:
            killed, name = kill(command, folder, random.uniform(0.2, 0.9) * duration)
            counts[name] += killed
            finished = not killed
            found += [f"unreadable: {path}" for path in unreadable(folder / f"killed{rounds}")]
        finish(command, folder)
        found += compare(folder / "whole", folder / f"killed{rounds}")
    print(f"{rounds} runs, {in_words(counts)}: {len(found)} differences or unreadable files")
    return found


def methods(folder: Path, name: str, kills: int) -> list[str]:
    command = [*STAGED, f"method={name}"]
    duration = finish(command, folder)
    run = folder / "run"
    run.rename(folder / "whole")  # each in the same directory, which checkpoints name
    stages = len(list((folder / "whole").glob("stage[0-9]*")))
    print(f"a whole run of {stages} stages takes {duration:.1f} s; killing {kills} times")
    found, counts, rounds, where = [], {number.name: 0 for number in SIGNALS}, 0, []
    while sum(counts.values()) < kills:
        rounds += 1
        for stage in sorted(random.choices(range(1, stages + 1), k=min(stages, kills - sum(counts.values())))):
            killed, signal_name = kill_in_a_stage(command, run / f"stage{stage}", duration / stages)
            counts[signal_name] += killed
            where += [place(run)] if killed else []
            found += [f"unreadable: {path}" for path in unreadable(run)]
        finish(command, folder)
        found += compare_all(folder / "whole", run)
        run.rename(folder / f"killed{rounds}")
    print(f"{rounds} runs, {in_words(counts)}, {', '.join(where)}: {len(found)} differences or unreadable files")
    return found


def kill_in_a_stage(command: list[str], stage: Path, duration: float) -> tuple[bool, str]:
    """As kill_once, soon after a stage, which takes about `duration`, has saved something for the first time, or has just ended."""
    sign, most = stage / "checkpoints" / "last.pt", duration / 2
    if random.random() < 0.4:
        sign, most = stage / "summary.json", 0.02  # before the next stage has saved anything
    process, number = start(command, stage.parent.parent), random.choice(SIGNALS)
    while process.poll() is None and not sign.exists():
        time.sleep(0.005)
    try:
        process.wait(random.uniform(0, most))
    except subprocess.TimeoutExpired:
        process.send_signal(number)
        process.wait()
        return True, number.name
    return False, number.name


def place(run: Path) -> str:
    """Where a kill has met a run."""
    begun, ended = (
        len({file.parts[len(run.parts)] for file in run.glob(each)}) for each in ("stage*/checkpoints/*.pt", "stage*/summary.json")
    )
    return f"in stage {begun}" if begun > ended else f"after stage {ended}"


def sweeps(folder: Path, kills: int) -> list[str]:
    duration = finish(SWEEP, folder)
    (folder / "sweeps" / "crash").rename(folder / "whole_sweep")
    print(f"a whole sweep of 6 jobs takes {duration:.1f} s; killing {kills} times")
    found, counts = [], {number.name: 0 for number in SIGNALS}
    for _ in range(kills):
        killed, name = kill_once(SWEEP, folder, random.uniform(0.3, 0.6) * duration)
        counts[name] += killed
        found += [f"unreadable: {path}" for path in unreadable(folder / "sweeps")]
    finish(SWEEP, folder)
    whole, killed_sweep = folder / "whole_sweep", folder / "sweeps" / "crash"
    found += [] if table(whole) == table(killed_sweep) else ["sweep.csv"]
    for job in sorted(path.parent for path in whole.glob("*/metrics.jsonl")):
        found += [f"{job.name}: {d}" for d in compare(job, killed_sweep / job.name)]
    print(f"sweep, {in_words(counts)}: {len(found)} differences or unreadable files")
    return found


def main() -> None:
    parser = usage.parser(__doc__)
    parser.add_argument("--kills", type=int, help="of single runs (default: 20), or of the method's (default: 8)")
    parser.add_argument("--sweep-kills", type=int, default=5, help="of the sweep (default: 5)")
    parser.add_argument("--method", metavar="NAME", help="kill runs of this method, as reactnet, and nothing else")
    parser.add_argument("--ranks", type=int, metavar="N", help="kill runs that N processes train, and nothing else")
    parser.add_argument("--seed", type=int, default=0, help="of the random instants (default: 0)")
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    folder = Path(tempfile.mkdtemp(prefix="crash_test_"))
    if arguments.method is not None:
        found = methods(folder, arguments.method, 8 if arguments.kills is None else arguments.kills)
    elif arguments.ranks is not None:
        several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(arguments.ranks)]
        found = single_runs(folder, arguments.kills or 12, [SINGLE[0], *several, *SINGLE[1:]], kill_a_rank)
    else:
        found = [] if arguments.kills == 0 else single_runs(folder, arguments.kills or 20)
        found += sweeps(folder, arguments.sweep_kills) if arguments.sweep_kills else []
    if found:
        sys.exit("\n".join([f"kept in {folder}", *found]))
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
