"""How much longer a training step takes beside busy processes, with the patience that bnn-train gives waiting threads and without.

    python scripts/bench_busy.py                 # digits' MLP and a small CNN, quiet and beside one busy process
    python scripts/bench_busy.py --busy 2 --rounds 5

Rounds of short trainings in turns, each in a process of its own; the median step of each, and its ratio to the quiet machine's.
"""

import argparse
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
from multiprocessing import Process

SETTINGS = ("default", "bnn-train")  # what the compiler's library does by itself, and with startup.prepare()
JOBS = {
    "mlp": ["trainer.epochs=12", "data.test_limit=1"],
    "cnn": ["model=cnn", "model.stages=[[32,32]]", "model.hidden=[64]", "trainer.epochs=10", "data.test_limit=1"],
}
WORKER = """
import sys, time
from bnn_train import startup
if sys.argv.pop(1) == "bnn-train":
    startup.prepare()
else:
    startup._keep_memory()
import logging, tempfile, statistics
from pathlib import Path
from bnn_train.cli.compose import typed
from bnn_train import device
from bnn_train.runs.assemble import assemble, load_data
from bnn_train.training.trainer import Trainer
config = typed(sys.argv[1:])
times = []
data = load_data(config, device.CPU)
trainer = Trainer(config, *assemble(config, data, device.CPU), data, lambda t: times.append(time.perf_counter()))
list(trainer.fit())
steps = [b - a for a, b in zip(times, times[1:])]
print(statistics.fmean(steps[3:]))
"""


def spin() -> None:
    while True:
        pass


def steps(job: list[str], setting: str) -> float:
    """The mean step of a training, in milliseconds."""
    environment = {key: value for key, value in os.environ.items() if key not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    command = [sys.executable, "-c", WORKER, setting, *job]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return 1000 * float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--busy", type=int, default=1, help="processes that compute beside it (default: 1)")
    parser.add_argument("--rounds", type=int, default=3, help="of each (default: 3)")
    arguments = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, beside {arguments.busy} busy process(es)")
    found: dict[tuple[str, str, bool], list[float]] = {}
    for _ in range(arguments.rounds):
        for busy in (False, True):
            beside = [Process(target=spin, daemon=True) for _ in range(arguments.busy if busy else 0)]
            for process in beside:
                process.start()
            for job, overrides in JOBS.items():
                for name in SETTINGS:
                    found.setdefault((job, name, busy), []).append(steps(overrides, name))
            for process in beside:
                process.kill()
                process.join()
    print(f"{'network':8} {'threads wait as':16} {'quiet ms':>9} {'busy ms':>9} {'busy/quiet':>11} {'quiet/default':>14}")
    for job in JOBS:
        quiet_default = statistics.median(found[job, "default", False])
        for name in SETTINGS:
            quiet, busy_time = (statistics.median(found[job, name, busy]) for busy in (False, True))
            print(f"{job:8} {name:16} {quiet:9.2f} {busy_time:9.2f} {busy_time / quiet:11.2f} {quiet / quiet_default:14.2f}")


if __name__ == "__main__":
    multiprocessing.set_start_method("fork" if sys.platform == "linux" else "spawn")
    main()
