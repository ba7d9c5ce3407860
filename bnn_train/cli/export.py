"""`bnn-export`: writes a trained network as a file of 1 bit a weight, proven equal."""

import argparse
from pathlib import Path

from bnn_train import startup
from bnn_train.cli import compose
from bnn_train.cli.flags import Flags
from bnn_train.report import terminal

OWN = {"data.root": "--data-root"}
EPILOG = """\
Example: bnn-export outputs/2026-01-31/12-00-00-000000 --output digits.bnn

Before the file is kept it is read back and run on the whole test set and on 1,000 random images, and compared with the network
that it was made of. bnn-eval and bnn-predict take it, and so does Python, without torch: docs/export.md.
"""


def main() -> None:
    terminal.settle()
    what = "Write a trained network as a file of 1 bit a weight, proven to give what the network gives."
    parser = Flags(OWN, prog="bnn-export", description=what, epilog=EPILOG)
    parser.add_argument("path", type=Path, help="a run directory (its result, or what it has reached so far), or a checkpoint")
    parser.add_argument("--output", "-o", metavar="FILE", type=Path, required=True, help="the file to write, NAME.bnn")
    parser.add_argument("--data-root", metavar="DIR", help="where the images are now, if not where they were in training")
    arguments = parser.parse_args()
    compose.command(lambda: _export(parser, arguments))


def _export(parser: Flags, arguments: argparse.Namespace) -> None:
    startup.prepare()
    from bnn_train.deploy.describe import table
    from bnn_train.deploy.export import export_run
    from bnn_train.report import grid
    from bnn_train.report.tables import OTHER_IMAGES, which_network

    with parser.own_terms():
        packed, proof, which, same_images = export_run(arguments.path, arguments.output, arguments.data_root)
    lines = [table(packed), ""]
    if not same_images:
        lines.append(grid.sentence(OTHER_IMAGES))
    lines += [grid.sentence(proof.line(), ""), f"compared with {which_network(which)}", f"saved as {arguments.output}"]
    terminal.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
