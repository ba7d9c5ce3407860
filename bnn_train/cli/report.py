"""`bnn-report`: runs, sweeps and studies as a table, a page and figures; one run's layers; a contact sheet of the images."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bnn_train.cli import compose
from bnn_train.cli.flags import Flags
from bnn_train.errors import ConfigError
from bnn_train.report import terminal

EPILOG = """\
Examples:
  bnn-report sweeps/ste+seed
  bnn-report sweeps/ste+seed --html page.html
  bnn-report --data data=image_folder data.root=photos data.image_size=64
"""


def main() -> None:
    terminal.settle()
    what = "Rank the settings of a sweep, and write its sweep.csv; or show runs, a study, the layers or the images of a run."
    parser = Flags(prog="bnn-report", description=what, epilog=EPILOG)
    which = "directories of sweeps, as in sweeps/ste+seed, and of runs; or that of one study; with --data see there"
    parser.add_argument("path", nargs="+", help=which)
    parser.add_argument("--health", action="store_true", help="show how the binary layers of a run fared in its last epoch")
    page = "write a page with charts, for any browser, without a network"
    parser.add_argument("--html", type=Path, metavar="FILE", help=page)
    parser.add_argument("--png", type=Path, metavar="FOLDER", help="write figures for papers, as PNG and SVG")
    sheet = "a contact sheet: images as they are and as training changes them, of a run or of overrides as of bnn-train"
    parser.add_argument("--data", action="store_true", help=sheet)
    parser.add_argument("--output", type=Path, metavar="FILE", help="of --data: where the sheet is written (default: sheet.png)")
    given = parser.parse_args()
    compose.command(lambda: _show(given))


def _show(given: argparse.Namespace) -> None:
    if given.output is not None and not given.data:
        raise ConfigError("--output", given.output, "is for --data; --html and --png name their files themselves")
    if given.data:
        for flag in ("health", "html", "png"):
            if getattr(given, flag):
                raise ConfigError(f"--{flag}", getattr(given, flag), "and --data show different things; choose one")
        from bnn_train.cli import sheet

        sheet.write(given.path, given.output or Path("sheet.png"))
        return
    (_health if given.health else _report)([Path(path) for path in given.path], given.html, given.png)


def _report(paths: Sequence[Path], html: Path | None, png: Path | None) -> None:
    from bnn_train.report import given, show

    found = given.read(paths)
    if html is not None or png is not None:
        given.check_one_data_set(found)
    if html is not None:
        from bnn_train.report.page import charts

        _check_target(html)
        charts.needed("html", html)  # before anything is printed
    taken = show.table(found)
    if html is not None:
        from bnn_train.report.page import html as page

        page.write(found, html)
        taken &= terminal.say(f"page: {html}")
    if png is not None:
        from bnn_train.report.page import figures

        for path in figures.write(found, png):
            taken &= terminal.say(f"figure: {path}")
    if not taken:
        sys.exit(1)


def _check_target(html: Path) -> None:
    if html.is_dir():
        raise ConfigError("html", html, "is a folder; give the name of a file, as in page.html")
    if not html.absolute().parent.is_dir():
        raise ConfigError("html", html, f"the folder {html.parent} does not exist; make it first")


def _health(paths: Sequence[Path], html: Path | None, png: Path | None) -> None:
    from bnn_train.report import health

    if len(paths) > 1 or html is not None or png is not None:
        raise ConfigError("health", paths[0], "--health shows one run in the terminal; without it --html shows its layers, too")
    if not terminal.write(health.show(paths[0]) + "\n"):
        sys.exit(1)


if __name__ == "__main__":
    main()
