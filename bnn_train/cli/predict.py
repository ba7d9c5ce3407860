"""`bnn-predict`: the classes of image files, by an exported network, without torch and Hydra, or by a run's."""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bnn_train import startup
from bnn_train.cli import csv_file, endings
from bnn_train.cli.flags import Flags
from bnn_train.errors import ConfigError
from bnn_train.report import terminal

if TYPE_CHECKING:
    import numpy as np

    from bnn_train.deploy.pictures import Found, Wanted
    from bnn_train.deploy.predict import Prediction, Remarks

OWN = {"threads": "--threads", "engine": "--engine"}  # of exported networks
TRAINED = {"plugins": "--plugin"}
EPILOG = """\
Examples:
  bnn-predict m.bnn photos/ --top 3
  bnn-predict m.bnn photos/ --json > found.json
  bnn-predict m.bnn photos/ --csv found.csv

--json gives one array; each element has file, class, index (of the class), probability and top, a list of class, index and
probability, the most probable first.

The CSV file has the columns file, class, probability, and probability_CLASS for each class. One that is there already is replaced;
any other file is not. A pipe or a device gets each row as it comes.

What could not be read is named on stderr, is in none of them, and makes the exit code 1.
"""


class _Network(NamedTuple):
    """What is asked of a network, wherever it comes from."""

    logits: Callable[["np.ndarray"], "np.ndarray"]  # uint8 (N, C, H, W) to float32 (N, classes)
    classes: list[str]
    wanted: "Wanted"
    which: Mapping[str, Any]  # checkpoint, kind, epoch, step


def main() -> None:
    terminal.settle()
    what = "Name the class of image files. They are prepared as the images were in training, and fitted to the network's size."
    parser = Flags({**OWN, **TRAINED}, prog="bnn-predict", description=what, epilog=EPILOG)
    parser.add_argument("path", type=Path, help="an exported network (.bnn), a run directory or a checkpoint")
    whence = "image files, folders (every image below them), - for one image from stdin"
    parser.add_argument("images", metavar="IMAGE", nargs="+", help=whence)
    parser.add_argument("--top", metavar="N", type=int, default=1, help="the N most probable classes of each image (default: 1)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--csv", metavar="FILE", help="also write a CSV file; - prints CSV instead of a table")
    threads = "of an exported network: at most N threads (default: one for each processor)"
    parser.add_argument("--threads", metavar="N", type=int, help=threads)
    engine = "of an exported network: llvm, numkong or numpy (default: the fastest of those installed)"
    parser.add_argument("--engine", metavar="NAME", help=engine)
    whose = "of a run: a module or .py file that it was trained with; again for more of them"
    parser.add_argument("--plugin", metavar="NAME", action="append", help=whose)
    arguments = parser.parse_args()
    endings.command(lambda: _predict(parser, arguments), _ending)


def _ending(error: BaseException) -> endings.Ending:
    if "omegaconf" in sys.modules:  # the configuration in a checkpoint may be at fault
        from bnn_train.cli import compose

        return compose.ending(error)
    return endings.ending(error)


def _predict(parser: Flags, arguments: argparse.Namespace) -> None:
    if arguments.top < 1:
        raise ConfigError("--top", arguments.top, "must be 1 or more")
    from bnn_train.deploy import pictures
    from bnn_train.deploy.predict import Remarks, predict

    _check_order(arguments.path, arguments.images)
    found = pictures.find(arguments.images)
    csv_path = _csv_path(arguments, found)
    with parser.own_terms():
        network = _network(arguments)
    for note in found.notes:
        terminal.say(f"note: {note}", "stderr")
    remarks = Remarks()
    batches = predict(network.logits, found.pictures, network.wanted, remarks, lambda images: _bar(images, len(found.pictures)))
    with ExitStack() as stack:
        if csv_path is not None:
            batches = _recorded(batches, network.classes, stack.enter_context(csv_file.opened(csv_path)))
        written = True
        for text in _shown(arguments, csv_path, network, found, batches):
            with _without_bar():
                written &= terminal.write(text)
            if csv_path is None and not terminal.has_reader():
                break
        _say(found, remarks, network.wanted)
    if found.failures or remarks.failures or not written:
        sys.exit(1)


def _check_order(path: Path, images: Sequence[str]) -> None:
    """Raises ConfigError where the network is not the first argument, and the only one."""
    from bnn_train.deploy.file import is_exported
    from bnn_train.deploy.pictures import is_image

    if not is_exported(path) and is_image(path):
        raise ConfigError("path", path, "is an image; name the network first: bnn-predict NETWORK.bnn IMAGE...")
    for image in map(Path, images):
        if is_exported(image) and image.is_file() and not is_image(image):
            raise ConfigError("IMAGE", image, f"is a network; name it first, and one alone: bnn-predict {image} IMAGE...")


def _csv_path(arguments: argparse.Namespace, found: "Found") -> Path | None:
    """The file that CSV goes to; None where it goes to stdout, or is not asked for. Then arguments.csv says which of these."""
    if arguments.csv is None:
        return None
    read_here = [arguments.path, *(picture.file for picture in found.pictures if isinstance(picture.file, Path))]
    path = csv_file.destination(arguments.csv, read_here)
    if path is None and arguments.json:
        raise ConfigError("--csv", arguments.csv, "goes to stdout, where --json goes; name a file, or leave one of them out")
    return path


def _network(arguments: argparse.Namespace) -> _Network:
    from bnn_train.deploy.file import is_exported

    if is_exported(arguments.path):
        if arguments.plugin:
            raise ConfigError("plugins", arguments.plugin, "an exported network needs none; leave it out")
        return _exported(arguments.path, arguments.threads, arguments.engine)
    for name in OWN:
        if (value := getattr(arguments, name)) is not None:
            raise ConfigError(name, value, "is for exported networks; leave it out, or export this one: bnn-export")
    return _trained(arguments.path, arguments.plugin)


def _exported(path: Path, threads: int | None, engine: str | None) -> _Network:
    from bnn_train import deploy
    from bnn_train.deploy import about, pictures

    network = deploy.load(path, threads, engine)
    wanted = pictures.wanted(network.about, network.image_shape)
    return _Network(network.logits, network.classes, wanted, about.which(network.about, path))


def _trained(path: Path, names: Sequence[str] | None) -> _Network:
    from bnn_train import plugins
    from bnn_train.cli import plug

    plugins.load(plug.flag(names))
    startup.prepare()
    from bnn_train.deploy import pictures
    from bnn_train.runs import saved

    network = saved.load(path, "path", "auto")
    channels, height, width = network.data["image_shape"]
    which = network.which()
    wanted = pictures.wanted({"data": vars(network.config.data)}, (channels, height, width))
    return _Network(lambda images: saved.logits(network, images), network.data["classes"], wanted, which)


def _recorded(
    batches: Iterable[list["Prediction"]], classes: list[str], put: Callable[[str], object]
) -> Iterator[list["Prediction"]]:
    """The same batches, on their way through a CSV file."""
    from bnn_train.report import predictions

    put(predictions.csv_header(classes))
    for batch in batches:
        put(predictions.csv_rows(batch, classes))
        yield batch


def _shown(
    arguments: argparse.Namespace, csv_path: Path | None, network: _Network, found: "Found", batches: Iterable[list["Prediction"]]
) -> Iterator[str]:
    """What stdout gets, batch by batch."""
    from bnn_train.report import predictions, tables

    if arguments.json:
        return predictions.as_json(batches, network.classes, arguments.top)
    if arguments.csv is not None and csv_path is None:
        return predictions.as_csv(batches, network.classes)
    names = [picture.name for picture in found.pictures]
    return predictions.table(batches, names, network.classes, arguments.top, tables.which_network(network.which))


def _say(found: "Found", remarks: "Remarks", wanted: "Wanted") -> None:
    """After the predictions, so that it is the last that is seen."""
    from bnn_train.data.words import counted

    _, height, width = wanted.shape
    for failure in (*found.failures, *remarks.failures):
        terminal.say(f"error: {failure.name}: {failure.reason}", "stderr")
    notes = []
    if remarks.resized:
        notes.append(f"{_were(remarks.resized)} cropped and resized to {width}x{height}, the size that the network takes")
    if remarks.made_grey:
        notes.append(f"{_were(remarks.made_grey)} made grey: the network takes one channel")
    if remarks.scale is not None:
        black, white = (f"{value:,g}" for value in remarks.scale)
        deep = f"{counted(remarks.scaled, 'image')} of 32 bits or floats {'was' if remarks.scaled == 1 else 'were'} scaled"
        together = "by itself" if remarks.scaled == 1 else "together"
        notes.append(
            f"{deep} {together}, {black} to black and {white} to white: a prediction depends on the others that are named "
            "with it, and training had a scale of its own"
        )
    for note in notes:
        terminal.say(f"note: {note}", "stderr")


def _were(count: int) -> str:
    return "1 image was" if count == 1 else f"{count:,} images were"


def _bar(images: Iterator[Any], count: int) -> Iterator[Any]:
    """With a bar on a terminal where tqdm is there: an exported network does not need it."""
    if not terminal.shows_bar():
        return images
    try:
        from tqdm import tqdm
    except ImportError:
        return images
    return iter(tqdm(images, "predicting", count, unit="img", leave=False))


def _without_bar() -> AbstractContextManager[None]:
    """While rows are printed on the terminal that the bar is on."""
    tqdm = sys.modules.get("tqdm")
    return nullcontext() if tqdm is None else tqdm.tqdm.external_write_mode()


if __name__ == "__main__":
    main()
