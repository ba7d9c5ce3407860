"""The commands. Thin: compose the configuration, make it typed, call the package. Torch loads only when there is work for it."""

import argparse
import json
import logging
import math
import os
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bnn_train import hydra_errors, startup, sweep
from bnn_train.config import Config
from bnn_train.errors import Busy, ConfigError, Diverged, Interrupted
from bnn_train.lab.config import LabConfig
from bnn_train.report import sweep as sweep_report

log = logging.getLogger(__name__)

_HERE = Path(__file__).parent
CONFIGS = _HERE / "configs" if (_HERE / "configs").is_dir() else _HERE.parent / "configs"  # in a wheel, in a checkout


def train() -> None:
    """`bnn-train`: trains one network, or with -m one for each combination of the swept values."""
    if sys.argv[1:] == ["--version"]:  # Hydra would answer with its own
        print_version()
        return
    name = sweep.default_name(sys.argv[1:])
    if name is not None and {"-m", "--multirun"} & set(sys.argv):
        # An override like any other, so that every job agrees on it, wherever it runs; beside another, as argparse wants them.
        sys.argv.insert(next(i for i, argument in enumerate(sys.argv) if i and "=" in argument), f"sweep.name={name}")
    _compose_and_call("train", Config, _train)


def lab() -> None:
    """`bnn-lab`: measures gradient estimators against the exact gradient."""
    _compose_and_call("lab", LabConfig, _lab)


def _compose_and_call(name: str, schema: type, function: Callable[[DictConfig], Any]) -> None:
    """Hydra's main with the configuration configs/<name>.yaml; its errors are one line each."""
    register()
    logging.raiseExceptions = False  # a log file on a full disk: the error that names the file which matters is enough
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come here, not as Hydra's own page about them
    try:
        hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=name)(function)()
    except (HydraException, OmegaConfBaseException) as error:
        sys.stderr.write(f"error: {hydra_errors.one_line(error, schema)}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def print_version() -> None:
    sys.stdout.write(f"bnn-train {version('bnn-train')}\n")


def register() -> None:
    """Makes the schemas and the resolvers that configs/train.yaml and lab.yaml name known to Hydra."""
    ConfigStore.instance().store(name="schema", node=Config)
    ConfigStore.instance().store(name="lab_schema", node=LabConfig)
    OmegaConf.register_new_resolver("lab_dir", lambda *, _root_: sweep.lab_dir(_root_), replace=True)
    OmegaConf.register_new_resolver("run_dir", _run_dir, replace=True)
    OmegaConf.register_new_resolver("output_subdir", _output_subdir, replace=True)
    OmegaConf.register_new_resolver("sweep_dir", lambda *, _root_: sweep.sweep_dir(_root_), replace=True)
    OmegaConf.register_new_resolver("job_dir", lambda *, _root_: sweep.job_dir(_root_.hydra.overrides.task), replace=True)


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
    run_dir = Path(settings.runtime.output_dir)
    in_sweep = settings.mode == RunMode.MULTIRUN
    typed = {override.lstrip("+~").split("=")[0].split("@")[0] for override in settings.overrides.task}
    try:
        hydra_errors.refuse_unknown(composed)
        config = OmegaConf.to_object(composed)
        assert isinstance(config, Config)
        startup.prepare()
        from bnn_train.run import run  # loads torch, now that the configuration is known to be sound

        if in_sweep:
            _share_threads(settings.launcher.get("n_jobs"))
        summary = run(config, run_dir, typed)
    except (Interrupted, KeyboardInterrupt) as stop:
        sys.exit(getattr(stop, "exit_code", 130))  # also ends a sweep
    except Busy as error:
        sys.stderr.write(f"{'skipped' if in_sweep else 'error'}: {error}\n")  # not into the log, which is the other process's
        if in_sweep:
            return math.nan
        sys.exit(error.exit_code)
    except Exception as error:
        if isinstance(error, ConfigError | Diverged):
            log.error("error: %s", error)
        elif isinstance(error, OmegaConfBaseException):
            log.error("error: %s", hydra_errors.one_line(error))
        else:
            log.exception("a defect in bnn-train, please report it")
        if in_sweep:  # goes on with the other jobs; the report at its end lists this one and sets the exit code
            (run_dir / "failure.txt").write_text(traceback.format_exc(), encoding="utf-8")
            return math.nan
        sys.exit(getattr(error, "exit_code", 1))
    # Test numbers choose nothing: without held-out images there is nothing to maximise.
    return next((summary[key] for key in ("val_ensemble_accuracy", "val_accuracy") if key in summary), math.nan)


def _lab(composed: DictConfig) -> None:
    """One study: from the composed configuration to its table and plots."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    try:
        hydra_errors.refuse_unknown(composed, LabConfig)
        config = OmegaConf.to_object(composed)
        assert isinstance(config, LabConfig)
        from bnn_train.lab import study  # loads torch, now that the configuration is known to be sound
        from bnn_train.report import lab as lab_report

        report = study.run(config, folder)
        files = lab_report.write_plots(report, folder)
    except KeyboardInterrupt:
        log.info("stopped; what was measured is kept, and the same command goes on")
        sys.exit(130)
    except (ConfigError, OmegaConfBaseException) as error:
        log.error("error: %s", hydra_errors.one_line(error, LabConfig) if isinstance(error, OmegaConfBaseException) else error)
        sys.exit(getattr(error, "exit_code", 1))
    log.info("%s\n\n%s\n", lab_report.table(report), lab_report.LEGEND)
    log.info("%s", f"{report['seconds']:.0f} s; saved in {_relative(folder)}: lab.json, {', '.join(file.name for file in files)}")


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _share_threads(jobs: int | None) -> None:
    """Divides the cores between the jobs that a launcher runs side by side (joblib counts -1 as all cores)."""
    if jobs is not None:
        import torch

        cores = startup.processors()
        torch.set_num_threads(max(1, cores // (jobs if jobs > 0 else cores)))


def report() -> None:
    """`bnn-report`: the table of a sweep, at any time."""
    parser = argparse.ArgumentParser(prog="bnn-report", description="Rank the settings of a sweep, and write its sweep.csv.")
    parser.add_argument("path", type=Path, help="the directory of a sweep, as in sweeps/ste+seed")
    folder = parser.parse_args().path
    try:
        jobs = sweep_report.read_jobs(folder)
        sweep_report.write_csv(jobs, folder / "sweep.csv")
    except ConfigError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)
    sys.stdout.write(sweep_report.table(jobs, str(folder)) + "\n")


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
    parser.add_argument("--device", help="auto, cpu, cuda, cuda:N, mps (default: as in training)")
    parser.add_argument(
        "--samples", metavar="N", type=int, help="also evaluate an ensemble of N networks drawn from a stochastic one"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    arguments = parser.parse_args()
    startup.prepare()
    try:
        from bnn_train.evaluate import evaluate_checkpoint
        from bnn_train.report.tables import evaluation_table

        result = evaluate_checkpoint(arguments.path, arguments.data_root, arguments.device, arguments.samples)
    except ConfigError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.stdout.write((json.dumps(result) if arguments.json else evaluation_table(result)) + "\n")
