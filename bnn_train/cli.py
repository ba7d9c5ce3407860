"""The commands. Thin: compose the configuration, make it typed, call the package. Torch loads only when there is work for it."""

import argparse
import json
import logging
import math
import sys
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from bnn_train.config import Config
from bnn_train.errors import Busy, ConfigError, Diverged, Interrupted

log = logging.getLogger(__name__)

_HERE = Path(__file__).parent
CONFIGS = _HERE / "configs" if (_HERE / "configs").is_dir() else _HERE.parent / "configs"  # in a wheel, in a checkout


def train() -> None:
    """`bnn-train`: trains one network, or with -m one for each combination of the swept values."""
    register()
    hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="train")(_train)()


def register() -> None:
    """Makes the schema and the resolvers that configs/train.yaml names known to Hydra."""
    ConfigStore.instance().store(name="schema", node=Config)
    OmegaConf.register_new_resolver("run_dir", _run_dir, replace=True)
    OmegaConf.register_new_resolver("output_subdir", _output_subdir, replace=True)


def _run_dir(fresh: str, *, _root_: DictConfig) -> str:
    """The directory of the run to continue, or a fresh one (also where `resume` is no run: nothing is made at a mistaken path)."""
    resume = Path(OmegaConf.select(_root_, "resume") or "")
    folder = resume.parent.parent if resume.suffix == ".pt" else resume
    return str(folder) if _holds_run(folder) else fresh


def _output_subdir(*, _root_: DictConfig) -> str | None:
    settings = _root_.hydra
    folder = Path(settings.run.dir)
    if settings.mode == RunMode.MULTIRUN:
        folder = Path(settings.sweep.dir) / str(settings.sweep.subdir)
    return None if _holds_run(folder) else ".hydra"


def _holds_run(folder: Path) -> bool:
    return any((folder / "checkpoints" / name).exists() for name in ("last.pt", "previous.pt"))


def _train(composed: DictConfig) -> float:
    """One job: from the composed configuration to the number that a sweeper maximises."""
    settings = HydraConfig.get()
    typed = {override.lstrip("+~").split("=")[0].split("@")[0] for override in settings.overrides.task}
    try:
        config = OmegaConf.to_object(composed)
        assert isinstance(config, Config)
        from bnn_train.run import run  # loads torch, now that the configuration is known to be sound

        summary = run(config, Path(settings.runtime.output_dir), typed)
    except (Interrupted, KeyboardInterrupt) as stop:
        sys.exit(getattr(stop, "exit_code", 130))  # also ends a sweep
    except Busy as error:
        sys.stderr.write(f"error: {error}\n")  # not into the log, which is the other process's
        sys.exit(error.exit_code)
    except Exception as error:
        if isinstance(error, ConfigError | Diverged):
            log.error("error: %s", error)
        else:
            log.exception("a defect in bnn-train, please report it")
        if settings.mode == RunMode.MULTIRUN:
            raise  # Hydra goes on with the other jobs and fails at the end
        sys.exit(getattr(error, "exit_code", 1))
    # Test numbers choose nothing: without held-out images there is nothing to maximise.
    return summary.get("val_accuracy", math.nan)


def evaluate() -> None:
    """`bnn-eval`: evaluates a saved network on the images that it was not trained on."""
    parser = argparse.ArgumentParser(
        prog="bnn-eval",
        description="Evaluate a saved network on its test set (and its held-out images). Repeats the numbers of summary.json.",
        epilog="Example: bnn-eval outputs/2026-01-31/12-00-00-000000",
    )
    parser.add_argument(
        "path", type=Path, help="a run directory (its best.pt, or last.pt where nothing was held out), or a checkpoint"
    )
    parser.add_argument("--data-root", metavar="DIR", help="where the images are now, if not where they were in training")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N, mps (default: auto)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    arguments = parser.parse_args()
    try:
        from bnn_train.evaluate import evaluate_checkpoint
        from bnn_train.report.tables import evaluation_table

        result = evaluate_checkpoint(arguments.path, arguments.data_root, arguments.device)
    except ConfigError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.stdout.write((json.dumps(result) if arguments.json else evaluation_table(result)) + "\n")
