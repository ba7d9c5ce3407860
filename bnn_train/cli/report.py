"""`bnn-report`: the table of a sweep, at any time."""

import sys
from pathlib import Path

from bnn_train.cli import compose
from bnn_train.cli.flags import Flags
from bnn_train.report import terminal


def main() -> None:
    terminal.settle()
    parser = Flags(prog="bnn-report", description="Rank the settings of a sweep, and write its sweep.csv.")
    parser.add_argument("path", type=Path, help="the directory of a sweep, as in sweeps/ste+seed")
    folder = parser.parse_args().path
    compose.command(lambda: _report(folder))


def _report(folder: Path) -> None:
    from bnn_train.report import sweep

    if not sweep.show(folder)[1]:
        sys.exit(1)


if __name__ == "__main__":
    main()
