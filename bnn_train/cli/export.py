"""`bnn-export`: writes a trained network as a file of 1 bit a weight, proven equal."""

import argparse
import signal
from pathlib import Path
from typing import NoReturn

from bnn_train import plugins, startup
from bnn_train.cli import compose, plug
from bnn_train.cli.flags import Flags
from bnn_train.errors import Interrupted
from bnn_train.report import terminal
from bnn_train.runs import interrupt

OWN = {"plugins": "--plugin", "data.root": "--data-root"}
EPILOG = """\
Example:
  bnn-export outputs/2026-01-31/12-00-00-000000 --output digits.bnn

Before the file is kept it is read back and run on the whole test set and on 1,000 random images, and compared with the network
that it was made of. bnn-eval and bnn-predict take it, and so does Python, without torch: docs/export.md.
"""


def main() -> None:
    terminal.settle()
    what = "Write a trained network as a file of 1 bit a weight, proven to give what the network gives."
    parser = Flags(OWN, prog="bnn-export", description=what, epilog=EPILOG)
    parser.add_argument("path", type=Path, help="a run directory (its result, or what it has reached so far), or a checkpoint")
    parser.add_argument(
        "--output", "-o", metavar="FILE", type=Path, required=True, help="the file to write: .bnn, .onnx, .h, .html"
    )
    parser.add_argument(
        "--format", metavar="NAME", help="bnn, onnx, qonnx (FINN, hls4ml), c, html (default: as the file's name ends)"
    )
    parser.add_argument("--data-root", metavar="DIR", help="where the images are now, if not where they were in training")
    whose = "a module or .py file that the run was trained with; again for more of them"
    parser.add_argument("--plugin", metavar="NAME", action="append", help=whose)
    parser.add_argument(
        "--random-only", action="store_true", help="compare on random images alone, where the run's images are not here"
    )
    arguments = parser.parse_args()
    for number in interrupt.heeded():
        if number != signal.SIGINT:
            signal.signal(number, _interrupted)  # so that nothing is left half written
    try:
        compose.command(lambda: _export(parser, arguments))
    except SystemExit as ending:
        if isinstance(ending.code, int) and ending.code > 128:
            terminal.say("interrupted: no file was written", "stderr")
        raise


def _interrupted(number: int, frame: object) -> NoReturn:
    raise Interrupted(number)


def _export(parser: Flags, arguments: argparse.Namespace) -> None:
    if terminal.shows_bar():
        terminal.say(f"reading {arguments.path}", "stderr")
    with parser.own_terms():
        plugins.load(plug.flag(arguments.plugin))
    startup.prepare()
    from bnn_train.deploy.describe import table
    from bnn_train.deploy.export import export_run
    from bnn_train.report import grid
    from bnn_train.report.tables import OTHER_IMAGES, size, which_network

    with parser.own_terms():
        packed, proof, which, same_images = export_run(
            arguments.path, arguments.output, arguments.data_root, arguments.random_only, arguments.format
        )
    lines = [table(packed), "", grid.sentence(proof.line(), ""), grid.sentence(f"compared with {which_network(which)}", "")]
    if proof.as_written:
        lines.append(grid.sentence(f"as written: {proof.as_written}; {size(arguments.output.stat().st_size)}", ""))
    if which["kind"] == "reached":
        lines.append(grid.sentence("note: the run has no result yet; this is the network that it had reached", ""))
    if not same_images:
        lines.append(grid.sentence(f"note: {OTHER_IMAGES}", ""))
    lines.append(f"saved as {arguments.output}")
    terminal.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
