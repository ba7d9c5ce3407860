"""What the options of the loop cost: steps of the default network with trainer.ema and data.mixup on and off, in turns.

    python scripts/bench_options.py                       # medians and ratios to all off
    python scripts/bench_options.py --before FOLDER       # also beside another checkout of the package, with all off
    python scripts/bench_options.py --override model=cnn --rounds 10

Epochs are of `--steps` steps on random images. trainer.ema costs forward passes after each epoch, too (training/average.py), which
are part of its evaluation and not measured here; trainer.patience and trainer.recalibrate do nothing within an epoch.
"""

import statistics
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import usage

HERE = Path(__file__).parent.parent
ON = {"trainer.ema": ["trainer.ema=0.999"], "data.mixup": ["data.mixup=0.2"]}


def maker(checkout: Path) -> Callable[[list[str], int], Any]:
    """From overrides and steps to a trainer, by the package in a checkout; the modules of two may be there side by side."""
    for name in [name for name in sys.modules if name.split(".")[0] == "bnn_train"]:
        del sys.modules[name]
    sys.path.insert(0, str(checkout))
    compose, splits, assemble, trainer = (
        import_module(f"bnn_train.{name}") for name in ("cli.compose", "data.splits", "runs.assemble", "training.trainer")
    )
    assert Path(str(trainer.__file__)).is_relative_to(checkout)
    sys.path.pop(0)

    def make(overrides: list[str], steps: int) -> Any:
        config = compose.typed(overrides)
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (steps * config.trainer.batch_size, 1, 8, 8), dtype=torch.uint8, generator=generator)
        split = splits.Split(images, torch.randint(0, 10, (len(images),), generator=generator))
        data = splits.Data(split, None, split, [str(i) for i in range(10)])
        return trainer.Trainer(config, *assemble.assemble(config, data, torch.device("cpu")), data)

    return make


def main() -> None:
    parser = usage.parser(__doc__)
    parser.add_argument("--before", type=Path, help="the root of another checkout")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--override", action="append", default=[], help="for all, as in optimizer=sgd")
    arguments = parser.parse_args()
    trainers = {}
    if arguments.before:
        trainers["before"] = maker(arguments.before.resolve())(arguments.override, arguments.steps)
    make = maker(HERE.resolve())
    import_module("bnn_train.startup").prepare()
    for name, more in {"off": [], **ON}.items():
        trainers[name] = make([*arguments.override, *more], arguments.steps)
    times: dict[str, list[float]] = {name: [] for name in trainers}
    for i in range(arguments.rounds + 1):  # the first is for warming up
        for name in list(trainers)[:: 1 if i % 2 else -1]:
            trainers[name].step = 0
            begin = time.perf_counter()
            trainers[name].train_epoch()
            times[name].append((time.perf_counter() - begin) / arguments.steps)
    for name, values in times.items():
        ratios = [value / off for value, off in zip(values[1:], times["off"][1:], strict=True)]
        print(f"{name}: {1000 * statistics.median(values[1:]):.3f} ms a step, {statistics.median(ratios):.3f} of all off")


if __name__ == "__main__":
    main()
