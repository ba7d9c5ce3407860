"""`bnn-report`: the table of a sweep, or the health of one run's layers, at any time."""

import sys
from pathlib import Path

from bnn_train.cli import compose
from bnn_train.cli.flags import Flags
from bnn_train.report import terminal


def main() -> None:
    terminal.settle()
    parser = Flags(prog="bnn-report", description="Rank the settings of a sweep, and write its sweep.csv.")
    parser.add_argument("path", type=Path, help="the directory of a sweep, as in sweeps/ste+seed; with --health that of a run")
    parser.add_argument("--health", action="store_true", help="show how the binary layers of a run fared in its last epoch")
    given = parser.parse_args()
    compose.command(lambda: (_health if given.health else _report)(given.path))


def _report(folder: Path) -> None:
    from bnn_train.report import sweep

    if not sweep.show(folder)[1]:
        sys.exit(1)


def _health(folder: Path) -> None:
    from bnn_train.report import health

    if not terminal.write(health.show(folder) + "\n"):
        sys.exit(1)


if __name__ == "__main__":
    main()
