"""What the installed commands call: the command, or one line where a package is missing that it needs.

An exported network needs numpy alone, so that the package may be installed without the rest of what it needs (docs/export.md).
"""

import importlib
import sys

from bnn_train.cli import early_end

# Of pyproject.toml's dependencies, by the names that are imported.
_NEEDED = {"torch", "torchvision", "hydra", "omegaconf", "filelock", "matplotlib", "numpy", "PIL", "tqdm"}


def _start(command: str) -> None:
    try:
        importlib.import_module(f"bnn_train.cli.{command}").main()
    except KeyboardInterrupt:  # while it was loaded
        sys.exit(130)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _NEEDED:
            raise
        name = {"PIL": "pillow", "hydra": "hydra-core"}.get(missing, missing)
        sys.stderr.write(
            f"error: this needs {name}, which is not installed here: pip install {name}, or bnn-train with all it needs\n"
        )
        sys.exit(1)


def train() -> None:
    early_end.watch()
    _start("train")


def evaluate() -> None:
    _start("evaluate")


def export() -> None:
    _start("export")


def predict() -> None:
    _start("predict")


def report() -> None:
    _start("report")


def lab() -> None:
    _start("lab")


def study() -> None:
    _start("study")
