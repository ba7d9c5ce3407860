"""`bnn-eval`: evaluates a saved network on the images that it was not trained on."""

import argparse
import json
import sys
from pathlib import Path

from bnn_train import plugins, startup
from bnn_train.cli import compose, plug
from bnn_train.cli.flags import Flags
from bnn_train.errors import ConfigError
from bnn_train.report import terminal

OWN = {"plugins": "--plugin", "data.root": "--data-root", "device": "--device", "eval.samples": "--samples"}
_NOT_EXPORTED = {
    "samples": "an exported network draws none; give the run that it was made of, or leave the flag out",
    "device": "an exported network runs on the CPU; leave the flag out",
}


def main() -> None:
    terminal.settle()
    parser = Flags(
        OWN,
        prog="bnn-eval",
        description="Evaluate a saved network on its test set (and its held-out images). Repeats the numbers of summary.json.",
        epilog="Examples:\n  bnn-eval outputs/2026-01-31/12-00-00-000000\n  bnn-eval m.bnn --data-root other/",
    )
    what = "a run directory (its result, or what it has reached so far), a checkpoint, or an exported network (.bnn)"
    parser.add_argument("path", type=Path, help=what)
    whence = "where the images are now, if not where they were in training; or other test images, with a folder for each class"
    parser.add_argument("--data-root", metavar="DIR", help=whence)
    parser.add_argument("--device", help="auto, cpu, cuda, cuda:N, mps (default: as in training)")
    parser.add_argument(
        "--samples", metavar="N", type=int, help="also evaluate an ensemble of N networks drawn from a stochastic one"
    )
    whose = "a module or .py file that the run was trained with; again for more of them"
    parser.add_argument("--plugin", metavar="NAME", action="append", help=whose)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    arguments = parser.parse_args()
    compose.command(lambda: _evaluate(parser, arguments))


def _evaluate(parser: Flags, arguments: argparse.Namespace) -> None:
    with parser.own_terms():
        plugins.load(plug.flag(arguments.plugin))
    startup.prepare()
    from bnn_train.deploy.evaluate import evaluate_exported
    from bnn_train.deploy.file import is_exported
    from bnn_train.report.tables import evaluation_table
    from bnn_train.runs.saved import evaluate_saved

    with parser.own_terms():
        if is_exported(arguments.path):
            for name, remedy in _NOT_EXPORTED.items():
                if (value := getattr(arguments, name)) is not None:
                    raise ConfigError(f"--{name}", value, remedy)
            result = evaluate_exported(arguments.path, arguments.data_root)
        else:
            result = evaluate_saved(arguments.path, arguments.data_root, arguments.device, arguments.samples)
    if not terminal.write((json.dumps(result) if arguments.json else evaluation_table(result)) + "\n"):
        sys.exit(1)


if __name__ == "__main__":
    main()
