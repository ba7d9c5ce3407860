"""`bnn-predict`: the classes of image files, by an exported network, without torch and Hydra, or by a run's."""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bnn_train import files, startup
from bnn_train.cli import endings
from bnn_train.cli.flags import Flags
from bnn_train.errors import ConfigError
from bnn_train.report import terminal

if TYPE_CHECKING:
    import numpy as np

EPILOG = """\
--json gives one array; each element has file, class, index (of the class), probability and top, a list of class, index and
probability, the most probable first. --csv FILE has the columns file, class, probability, and probability_CLASS for each class.
What could not be read is named on stderr, is in neither, and makes the exit code 1.
"""


class _Network(NamedTuple):
    """What is asked of a network, wherever it comes from."""

    logits: Callable[["np.ndarray"], "np.ndarray"]  # uint8 (N, C, H, W) to float32 (N, classes)
    classes: list[str]
    image_shape: tuple[int, int, int]
    image_size: int | None  # to which its training cropped and resized image files
    which: Mapping[str, Any]  # checkpoint, kind, epoch, step


def main() -> None:
    terminal.settle()
    what = "Name the class of image files. They are prepared as the images were in training, and fitted to the network's size."
    parser = Flags(prog="bnn-predict", description=what, epilog=EPILOG)
    parser.add_argument("path", type=Path, help="an exported network (.bnn), a run directory or a checkpoint")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="image files, folders (every image below them), - for stdin")
    parser.add_argument("--top", metavar="N", type=int, default=1, help="the N most probable classes of each image (default: 1)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--csv", metavar="FILE", type=Path, help="also write a CSV file")
    arguments = parser.parse_args()
    endings.command(lambda: _predict(arguments), _ending)


def _ending(error: BaseException) -> endings.Ending:
    if "omegaconf" in sys.modules:  # the configuration in a checkpoint may be at fault
        from bnn_train.cli import compose

        return compose.ending(error)
    return endings.ending(error)


def _predict(arguments: argparse.Namespace) -> None:
    if arguments.top < 1:
        raise ConfigError("--top", arguments.top, "must be 1 or more")
    if arguments.csv is not None and not arguments.csv.absolute().parent.is_dir():
        raise ConfigError("--csv", arguments.csv, f"there is no folder {arguments.csv.absolute().parent}")
    from bnn_train.deploy import pictures
    from bnn_train.deploy.file import is_exported
    from bnn_train.report import predictions, tables

    found, failures = pictures.find(arguments.images)
    network = _exported(arguments.path) if is_exported(arguments.path) else _trained(arguments.path)
    outcome = pictures.predict(
        network.logits, found, network.image_shape, network.image_size, lambda images: _bar(images, len(found))
    )
    for failure in (*failures, *outcome.failures):
        terminal.say(f"error: {failure.name}: {failure.reason}", "stderr")
    if outcome.resized:
        terminal.say(_resized_line(outcome.resized, network.image_shape), "stderr")
    text = ""
    if arguments.json:
        text = predictions.as_json(outcome.predictions, network.classes, arguments.top) + "\n"
    elif outcome.predictions:
        drawn = predictions.table(outcome.predictions, network.classes, arguments.top)
        text = f"{tables.which_network(network.which)}\n\n{drawn}\n"
    written = terminal.write(text)
    if arguments.csv is not None:
        files.write_text(predictions.as_csv(outcome.predictions, network.classes), arguments.csv)
    if failures or outcome.failures or not written:
        sys.exit(1)


def _resized_line(count: int, image_shape: tuple[int, int, int]) -> str:
    _, height, width = image_shape
    images = "1 image was" if count == 1 else f"{count:,} images were"
    return f"note: {images} cropped and resized to {width}x{height}, the size that the network takes"


def _exported(path: Path) -> _Network:
    from bnn_train import deploy
    from bnn_train.deploy import about

    network = deploy.load(path)
    told, shape = network.about, network.image_shape
    return _Network(network.logits, network.classes, shape, about.image_size(told, shape), about.which(told, path))


def _trained(path: Path) -> _Network:
    startup.prepare()
    from bnn_train.runs import saved

    network = saved.load(path, "path", "auto")
    channels, height, width = network.data["image_shape"]
    which = {"checkpoint": str(network.file), "kind": network.kind, "epoch": network.epoch, "step": network.step}
    return _Network(
        lambda images: saved.logits(network, images),
        network.data["classes"],
        (channels, height, width),
        network.config.data.image_size if network.config.data.name == "image_folder" else None,
        which,
    )


def _bar(images: Iterator[Any], count: int) -> Iterator[Any]:
    """With a bar on a terminal where tqdm is there: an exported network does not need it."""
    if not terminal.shows_bar():
        return images
    try:
        from tqdm import tqdm
    except ImportError:
        return images
    return iter(tqdm(images, "predicting", count, unit="img", leave=False))


if __name__ == "__main__":
    main()
