"""What frozen edges cost: training steps of the default network on images of MNIST's size, with and without half of them frozen.

    python scripts/bench_edges.py                         # 20 rounds of 200 steps each, in turns; prints medians and the ratio
    python scripts/bench_edges.py --steps 40 --override experiment=mnist_mlp    # the large network
    python scripts/bench_edges.py --override optimizer.weight_decay=0.01        # where values must be put back after each step

The images are random: a step's time does not depend on them.
"""

import statistics
import time

import torch
import usage

from bnn_train import startup
from bnn_train.cli.compose import typed
from bnn_train.data.splits import Data, Split
from bnn_train.runs.assemble import assemble
from bnn_train.training.trainer import Trainer

HALF = "edges.rules=[{layers: '*', edges: random, density: 0.5, what: freeze}]"


def trainer(overrides: list[str], steps: int) -> Trainer:
    """One that trains `steps` steps an epoch on random images of MNIST's size."""
    config = typed(["data=mnist", *overrides])
    count = steps * config.trainer.batch_size
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 1, 28, 28), dtype=torch.uint8, generator=generator)
    split = Split(images, torch.randint(0, 10, (count,), generator=generator))
    data = Data(split, None, split, [str(i) for i in range(10)])
    return Trainer(config, *assemble(config, data, torch.device("cpu")), data)


def main() -> None:
    parser = usage.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--override", action="append", default=[], help="for both, as in optimizer=sgd")
    arguments = parser.parse_args()
    startup.prepare()
    pair = {"all trained": trainer(arguments.override, arguments.steps)}
    pair["half frozen"] = trainer([*arguments.override, HALF], arguments.steps)
    times: dict[str, list[float]] = {name: [] for name in pair}
    for _ in range(arguments.rounds + 1):  # the first is for warming up
        for name, one in pair.items():
            one.step = 0
            begin = time.perf_counter()
            one.train_epoch()
            times[name].append((time.perf_counter() - begin) / arguments.steps)
    ratios = [b / a for a, b in zip(*(values[1:] for values in times.values()), strict=True)]
    for name, values in times.items():
        print(f"{name}: {1000 * statistics.median(values[1:]):.1f} ms a step")
    print(f"ratio: median {statistics.median(ratios):.3f}, from {min(ratios):.3f} to {max(ratios):.3f} in {len(ratios)} rounds")


if __name__ == "__main__":
    main()
