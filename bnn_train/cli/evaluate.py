"""`bnn-eval`: evaluates a saved network on the images that it was not trained on."""

import argparse
import json
import sys
from pathlib import Path

from bnn_train import startup
from bnn_train.cli import compose
from bnn_train.cli.flags import Flags
from bnn_train.report import terminal

OWN = {"data.root": "--data-root", "device": "--device", "eval.samples": "--samples"}


def main() -> None:
    terminal.settle()
    parser = Flags(
        OWN,
        prog="bnn-eval",
        description="Evaluate a saved network on its test set (and its held-out images). Repeats the numbers of summary.json.",
        epilog="Example: bnn-eval outputs/2026-01-31/12-00-00-000000",
    )
    parser.add_argument("path", type=Path, help="a run directory (its result, or what it has reached so far), or a checkpoint")
    parser.add_argument("--data-root", metavar="DIR", help="where the images are now, if not where they were in training")
    parser.add_argument("--device", help="auto, cpu, cuda, cuda:N, mps (default: as in training)")
    parser.add_argument(
        "--samples", metavar="N", type=int, help="also evaluate an ensemble of N networks drawn from a stochastic one"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    arguments = parser.parse_args()
    compose.command(lambda: _evaluate(parser, arguments))


def _evaluate(parser: Flags, arguments: argparse.Namespace) -> None:
    startup.prepare()
    from bnn_train.report.tables import evaluation_table
    from bnn_train.runs.saved import evaluate_saved

    with parser.own_terms():
        result = evaluate_saved(arguments.path, arguments.data_root, arguments.device, arguments.samples)
    if not terminal.write((json.dumps(result) if arguments.json else evaluation_table(result)) + "\n"):
        sys.exit(1)


if __name__ == "__main__":
    main()
