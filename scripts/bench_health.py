"""What the health of the layers costs: epochs with and without it in turns, each as the trainer does it, measured to the end.

    python scripts/bench_health.py                  # three networks; share of a step, and of an epoch with its evaluation
    python scripts/bench_health.py digits --rounds 100

An epoch's health is measured once. So what is printed is its time over that of the epoch's steps: "parts" adds up its own calls,
"turns" is the median over rounds of (epoch with) / (epoch without it) - 1, in which the noise of the machine is much larger. Images
of MNIST's and CIFAR-10's size are random and few: the steps of a whole epoch are computed from those that were timed.
"""

import statistics
import time
from contextlib import nullcontext
from typing import Any

import torch
import usage

from bnn_train import startup
from bnn_train.cli.compose import typed
from bnn_train.data import datasets
from bnn_train.data.splits import Data, Split
from bnn_train.runs.assemble import assemble
from bnn_train.training.health import Health
from bnn_train.training.trainer import Trainer

CPU = torch.device("cpu")
# overrides, shape and number of classes of random images (None: the data themselves), steps in a round, steps in a whole epoch
NETWORKS: dict[str, tuple[list[str], tuple[int, int, int] | None, int, int]] = {
    "digits": ([], None, 14, 14),
    "mnist_mlp": (["experiment=mnist_mlp"], (1, 28, 28), 10, 600),
    "cifar10_cnn": (["experiment=cifar10_cnn"], (3, 32, 32), 2, 390),
}


class Nothing(Health):
    """In its place."""

    def note(self) -> None:
        pass

    def watching(self) -> Any:
        return nullcontext()

    def measure(self, epoch: int, steps: int | None = None) -> dict[str, Any]:
        return self.row

    def state_dict(self) -> dict[str, Any]:
        return {}


class Timed(Health):
    """Adds up the time of its own calls."""

    seconds = 0.0

    def note(self) -> None:
        self._timed(super().note)

    def _look(self, *arguments: Any) -> None:
        self._timed(super()._look, *arguments)

    def measure(self, *arguments: Any) -> dict[str, Any]:
        return self._timed(super().measure, *arguments)

    def state_dict(self) -> dict[str, Any]:
        return self._timed(super().state_dict)

    def _timed(self, call: Any, *arguments: Any) -> Any:
        begin = time.perf_counter()
        result = call(*arguments)
        self.seconds += time.perf_counter() - begin
        return result


def trainer(name: str, kind: type[Health]) -> Trainer:
    overrides, shape, steps, _ = NETWORKS[name]
    config = typed(overrides)
    if shape is None:
        data = datasets.load(config.data, CPU)
    else:
        count, generator = steps * config.trainer.batch_size, torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=generator)
        split = Split(images, torch.randint(0, 10, (count,), generator=generator))
        data = Data(split, None, Split(split.images[:64], split.labels[:64]), [str(i) for i in range(10)])
    made = Trainer(config, *assemble(config, data, CPU), data)
    made.health = kind(made.model, made.edges)
    return made


def epoch(one: Trainer) -> tuple[float, float]:
    """(seconds of the steps, of the whole epoch with its evaluation and what a checkpoint takes of its health)."""
    begin = time.perf_counter()
    one.train_epoch()
    middle = time.perf_counter()
    one.measure()
    one.health.end_epoch()
    one.health.state_dict()
    one.step = 0
    return middle - begin, time.perf_counter() - begin


def main() -> None:
    parser = usage.parser(__doc__)
    parser.add_argument("networks", nargs="*", default=list(NETWORKS), help=", ".join(NETWORKS))
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    startup.prepare()
    for name in arguments.networks:
        steps, whole = NETWORKS[name][2:]
        without, with_it, timed = (trainer(name, kind) for kind in (Nothing, Health, Timed))
        ratios, parts, step_times = [], [], []
        for i in range(arguments.rounds + 1):  # the first is for warming up
            assert isinstance(timed.health, Timed)
            timed.health.seconds = 0.0
            plain = epoch(without)
            ratio = epoch(with_it)[1] / plain[1]
            epoch(timed)
            if i:
                ratios.append(ratio)
                parts.append(timed.health.seconds)
                step_times.append(plain[0] / steps)
        step, part = statistics.median(step_times), statistics.median(parts)
        print(
            f"{name}: a step {1000 * step:.2f} ms, health {1000 * part:.3f} ms an epoch: {part / (whole * step):.2%} of a step "
            f"(over the {whole} steps of an epoch); turns of {steps} steps: {statistics.median(ratios) - 1:+.2%}"
        )


if __name__ == "__main__":
    main()
