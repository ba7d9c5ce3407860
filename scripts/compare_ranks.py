"""Whether two processes that train together reach the accuracies of one: optimizers whose signs magnify the last bit of a sum.

    python scripts/compare_ranks.py
    python scripts/compare_ranks.py --optimizers adam --seeds 10 --epochs 20

Trains each optimizer with each seed on the digits, by one process and by several; prints the paired difference of the last test
accuracies, with its 95% interval over the seeds (a t-test's). Exit code 1 where an interval leaves out 0.
"""

import statistics
import sys

import launching
import usage

OVERRIDES = ["model.hidden=[64,64]", "ste.stochastic=true"]


def accuracies(optimizers: list[str], seeds: int, epochs: int) -> dict[str, list[float]]:
    """The last test accuracy of each seed, by optimizer."""
    import torch

    from bnn_train.cli.compose import typed
    from bnn_train.data import datasets
    from bnn_train.runs.assemble import assemble
    from bnn_train.training.trainer import Trainer

    cpu = torch.device("cpu")
    found: dict[str, list[float]] = {name: [] for name in optimizers}
    for name in optimizers:
        for seed in range(seeds):
            config = typed([*OVERRIDES, f"optimizer={name}", f"seed={seed}", f"trainer.epochs={epochs}"])
            torch.manual_seed(seed)
            data = datasets.load(config.data, cpu)
            found[name].append(list(Trainer(config, *assemble(config, data, cpu), data).fit())[-1]["test_accuracy"])
    return found


def main() -> None:
    from bnn_train.report import interval

    parser = usage.parser(__doc__)
    parser.add_argument("--optimizers", nargs="+", default=["adam", "bop", "bayesbinn"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--ranks", type=int, default=2)
    arguments = parser.parse_args()
    what = (arguments.optimizers, arguments.seeds, arguments.epochs)
    one, several = launching.results(1, accuracies, *what), launching.results(arguments.ranks, accuracies, *what)
    differ = False
    for name in arguments.optimizers:
        differences = [100 * (b - a) for a, b in zip(one[name], several[name], strict=True)]
        mean, half = statistics.fmean(differences), interval.half_width(differences) or 0.0
        differ |= abs(mean) > half > 0
        changed = sum(each != 0 for each in differences)
        means = [f"{statistics.fmean(values):.2%}" for values in (one[name], several[name])]
        print(
            f"{name}: one process {means[0]}, {arguments.ranks} processes {means[1]}, difference {mean:+.2f} ± {half:.2f} points "
            f"({changed} of {arguments.seeds} seeds differ)"
        )
    sys.exit(int(differ))


if __name__ == "__main__":
    main()
