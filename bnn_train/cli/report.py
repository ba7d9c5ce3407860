"""`bnn-report`: the table of a sweep, the health of one run's layers, or a contact sheet of the images, at any time."""

import argparse
import sys
from pathlib import Path

from bnn_train.cli import compose
from bnn_train.cli.flags import Flags
from bnn_train.errors import ConfigError
from bnn_train.report import terminal

EPILOG = """\
Examples:
  bnn-report sweeps/ste+seed
  bnn-report --data data=image_folder data.root=photos data.image_size=64
"""


def main() -> None:
    terminal.settle()
    what = "Rank the settings of a sweep, and write its sweep.csv; or show the layers or the images of a run."
    parser = Flags(prog="bnn-report", description=what, epilog=EPILOG)
    whose = "the directory of a sweep, as in sweeps/ste+seed; with --health that of a run; with --data see there"
    parser.add_argument("path", nargs="+", metavar="PATH", help=whose)
    parser.add_argument("--health", action="store_true", help="show how the binary layers of a run fared in its last epoch")
    sheet = "a contact sheet: images as they are and as training changes them, of a run or of overrides as of bnn-train"
    parser.add_argument("--data", action="store_true", help=sheet)
    parser.add_argument("--output", type=Path, metavar="FILE", help="of --data: where the sheet is written (default: sheet.png)")
    given = parser.parse_args()
    compose.command(lambda: _show(given))


def _show(given: argparse.Namespace) -> None:
    if given.output is not None and not given.data:
        raise ConfigError("--output", given.output, "is for --data")
    if given.data:
        if given.health:
            raise ConfigError("--health", True, "and --data show different things; choose one")
        from bnn_train.cli import sheet

        sheet.write(given.path, given.output or Path("sheet.png"))
        return
    if len(given.path) > 1:
        raise ConfigError("PATH", given.path[1], "takes one directory; with --data overrides follow")
    (_health if given.health else _report)(Path(given.path[0]))


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
