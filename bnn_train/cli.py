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
from bnn_train.errors import ConfigError, Diverged, Interrupted

log = logging.getLogger(__name__)

_HERE = Path(__file__).parent
CONFIGS = _HERE / "configs" if (_HERE / "configs").is_dir() else _HERE.parent / "configs"  # in a wheel, in a checkout


def train() -> None:
    """`bnn-train`: trains one network, or with -m one for each combination of the swept values."""
    ConfigStore.instance().store(name="schema", node=Config)
    hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="train")(_train)()


def _train(composed: DictConfig) -> float:
    """One job: from the composed configuration to the number that a sweeper maximises."""
    try:
        config = OmegaConf.to_object(composed)
        assert isinstance(config, Config)
        from bnn_train.run import run  # loads torch, now that the configuration is known to be sound

        summary = run(config, Path(HydraConfig.get().runtime.output_dir))
    except (Interrupted, KeyboardInterrupt) as stop:
        sys.exit(getattr(stop, "exit_code", 130))  # also ends a sweep
    except Exception as error:
        if isinstance(error, ConfigError | Diverged):
            log.error("error: %s", error)
        else:
            log.exception("a defect in bnn-train, please report it")
        if HydraConfig.get().mode == RunMode.MULTIRUN:
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
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    print(json.dumps(result) if arguments.json else evaluation_table(result))  # noqa: T201
