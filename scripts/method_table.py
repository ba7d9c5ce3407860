"""What every method gives on the digits: trains each with several seeds, and prints the table of docs/methods.md.

    python scripts/method_table.py                                       # all of them, seeds 0, 1 and 2, as they come
    python scripts/method_table.py --methods xnor bop --seeds 0 1 --override model=resnet20 --override trainer.epochs=5

It runs one sweep, `bnn-train -m method=... seed=...`, and reads its sweep.csv: stopped, the same command continues it, and jobs
that have ended are not run again. The accuracies are those of the test images after the last epoch, by which nothing was chosen.
"""

import csv
import statistics
import subprocess
import sys
from pathlib import Path

import usage

from bnn_train.cli import methods
from bnn_train.cli.keys import CONFIGS, options

NUMBERS = "test_accuracy"  # sweep.csv's first column behind the overrides


def accuracies(folder: Path, seeds: list[int], typed: dict[str, str]) -> dict[str, list[float]]:
    """Of each method, the test accuracies of the finished jobs of these seeds with exactly these overrides besides."""
    with open(folder / "sweep.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    keys = list(rows[0])[2 : list(rows[0]).index(NUMBERS)]
    found: dict[str, list[float]] = {}
    for row in rows:
        given = {key: row[key] for key in keys if row[key] and key not in ("method", "seed")}
        if row["status"] == "finished" and given == typed and int(row["seed"]) in seeds:
            found.setdefault(row["method"], []).append(float(row["test_accuracy"]))
    return found


def figure(values: list[float]) -> str:
    """98.76 +- 0.12 (3): mean and the sample's deviation in percent, and of how many."""
    if not values:
        return "-"
    deviation = f" ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 * statistics.fmean(values):.2f}{deviation} ({len(values)})"


def line(name: str, values: list[float], typed: dict[str, str]) -> str:
    """A row of the table: the method, its paper, bits of weights and activations, the model, the figure."""
    file = CONFIGS / "method" / f"{name}.yaml"
    paper, _, bits = methods.head(file)[0].rpartition(", ")
    return f"| `{name}` | {paper} | {bits} | `{typed.get('model', methods.brings(file)['model'])}` | {figure(values)} |"


def main() -> None:
    every = options("method", [CONFIGS])
    parser = usage.parser(__doc__)
    parser.add_argument("--methods", nargs="+", choices=every, default=every, metavar="NAME", help="by default all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--override", action="append", default=[], help="for all, as in trainer.epochs=5")
    parser.add_argument("--name", default="methods", help="of the sweep, below sweeps/")
    given = parser.parse_args()
    swept = [f"method={','.join(given.methods)}", f"seed={','.join(map(str, given.seeds))}"]
    command = [sys.executable, "-m", "bnn_train", "-m", *swept, *given.override, f"sweep.name={given.name}"]
    code = subprocess.run(command).returncode
    typed = dict(override.split("=", 1) for override in given.override)
    found = accuracies(Path("sweeps") / given.name, given.seeds, typed)
    print("\n| `method=` | paper | | `model=` | digits, % |\n|---|---|---|---|---|")
    for name in given.methods:
        print(line(name, found.get(name, []), typed))
    sys.exit(code)


if __name__ == "__main__":
    main()
