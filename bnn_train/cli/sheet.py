"""`bnn-report --data`: a contact sheet of a run's images, or of those that a training with the same overrides would see."""

import sys
from collections.abc import Sequence
from pathlib import Path

from bnn_train import files, startup
from bnn_train.cli import compose, hydra_errors, plug
from bnn_train.cli.arguments import for_hydra
from bnn_train.config.root import Config
from bnn_train.errors import ConfigError
from bnn_train.report import terminal


def write(given: Sequence[str], output: Path) -> None:
    """given: overrides as of bnn-train, or one run directory or checkpoint. Raises ConfigError as training on the images would."""
    if output.suffix.lower() != ".png":
        raise ConfigError("--output", output, "must end in .png")
    if not output.absolute().parent.is_dir():
        raise ConfigError("--output", output, f"the folder {output.parent} does not exist; make it first")
    config = _of_overrides(given) if all("=" in each for each in given) else _of_run(given)
    startup.prepare()
    from bnn_train import device
    from bnn_train.data import datasets
    from bnn_train.data.sheet import sheet

    data = datasets.load(config.data, device.CPU)
    image, count = sheet(data, config.data, config.seed)
    files.write(output, lambda file: image.save(file, "PNG"))
    terminal.write(f"{count:,} of {len(data.train):,} training images, {len(data.classes):,} classes: saved as {output}\n")


def _of_overrides(given: Sequence[str]) -> Config:
    plug.load(given)
    sys.argv[1:] = arguments = for_hydra(list(given))  # errors name what was typed
    config = hydra_errors.typed(compose.compose(arguments))
    assert isinstance(config, Config)
    return config


def _of_run(given: Sequence[str]) -> Config:
    if len(given) > 1:
        odd = next(each for each in given if "=" not in each)
        raise ConfigError("--data", odd, "takes overrides such as data=digits data.flip=true, or one run directory alone")
    folder = Path(given[0])
    if folder.is_dir() and not (folder / "checkpoints").is_dir() and not any(folder.glob("*.pt")):
        remedy = f"is no run; for the images of a folder type data=image_folder data.root={folder}"
        raise ConfigError("--data", given[0], remedy)
    startup.prepare()
    from bnn_train.runs import checkpoint
    from bnn_train.runs.resume import config_of

    return config_of(checkpoint.load(checkpoint.find(Path(given[0]), "--data"), "--data"))
