"""How much longer a training step takes beside busy processes, with the patience that bnn-train gives waiting threads and without.

    python scripts/bench_busy.py                 # all networks, quiet and beside one busy process
    python scripts/bench_busy.py --network mnist_mlp
    python scripts/bench_busy.py --busy 2 --rounds 5

Networks: the digits' MLP and a small CNN, and experiment=mnist_mlp on random pixels. Rounds of short trainings in turns, each in a
process of its own; the median over rounds of the mean step of each, and its ratio to the quiet machine's.
"""

import json
import multiprocessing
import os
import statistics
import sys
import time
from itertools import pairwise
from multiprocessing import Process

import usage
from benching import in_process, machine, random_pixels

SETTINGS = ("default", "bnn-train")  # what the compiler's library does by itself, and with startup.prepare()
WARM_UP = 3  # steps that are not timed
NETWORKS = {
    "mlp": ["trainer.epochs=12", "data.test_limit=1"],
    "cnn": ["model=cnn", "model.stages=[[32,32]]", "model.hidden=[64]", "trainer.epochs=10", "data.test_limit=1"],
    "mnist_mlp": ["experiment=mnist_mlp", "trainer.epochs=1"],
}
STEPS = 40  # of mnist_mlp


def worker(setting: str, network: str) -> float:
    """Seconds: the mean step of a training."""
    from bnn_train import startup

    if setting == "bnn-train":
        startup.prepare()
    else:
        startup._keep_memory()
    from bnn_train import device
    from bnn_train.cli.compose import typed
    from bnn_train.runs.assemble import assemble, load_data
    from bnn_train.training.trainer import Trainer

    config = typed(NETWORKS[network])
    is_random = config.data.name == "mnist"
    data = random_pixels(STEPS * config.trainer.batch_size) if is_random else load_data(config, device.CPU)
    times: list[float] = []
    trainer = Trainer(config, *assemble(config, data, device.CPU), data, lambda _: times.append(time.perf_counter()))
    list(trainer.fit())
    return statistics.fmean(after - before for before, after in pairwise(times[WARM_UP:]))


def spin() -> None:
    while True:
        pass


def main() -> None:
    parser = usage.parser(__doc__)
    parser.add_argument("--network", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--busy", type=int, default=1, help="processes that compute beside it (default: 1)")
    parser.add_argument("--rounds", type=int, default=3, help="of each (default: 3)")
    arguments = parser.parse_args()
    for variable in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):  # what is measured
        os.environ.pop(variable, None)
    print(f"{machine()}, beside {arguments.busy} busy process(es)")
    found: dict[tuple[str, str, bool], list[float]] = {}
    for _ in range(arguments.rounds):
        for busy in (False, True):
            beside = [Process(target=spin, daemon=True) for _ in range(arguments.busy if busy else 0)]
            for process in beside:
                process.start()
            for network in arguments.network:
                for name in SETTINGS:
                    step = in_process(sys.executable, "bench_busy.py", "--worker", name, network)["step"]
                    found.setdefault((network, name, busy), []).append(1000 * step)
            for process in beside:
                process.kill()
                process.join()
    print(f"{'network':9} {'threads wait as':16} {'quiet ms':>9} {'busy ms':>9} {'busy/quiet':>11} {'quiet/default':>14}")
    for network in arguments.network:
        quiet_default = statistics.median(found[network, "default", False])
        for name in SETTINGS:
            quiet, busy_time = (statistics.median(found[network, name, busy]) for busy in (False, True))
            print(f"{network:9} {name:16} {quiet:9.2f} {busy_time:9.2f} {busy_time / quiet:11.2f} {quiet / quiet_default:14.2f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        print(json.dumps({"step": worker(*sys.argv[2:4])}))
    else:
        multiprocessing.set_start_method("fork" if sys.platform == "linux" else "spawn")
        main()
