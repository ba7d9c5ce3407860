"""`bnn-train`: trains one network, or with -m one for each combination of the swept values."""

import logging
import math
import sys
from contextlib import nullcontext
from pathlib import Path

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from bnn_train import plugins, startup
from bnn_train.cli import beside_resume, compose, help_page, hydra_errors, plug, ranks_apart, searches, side_by_side, stages
from bnn_train.cli.arguments import for_hydra, value_of
from bnn_train.config.root import Config, choices
from bnn_train.errors import Busy, ConfigError
from bnn_train.report import lines, terminal
from bnn_train.runs import directory

log = logging.getLogger(__name__)


def main() -> None:
    terminal.settle()
    if startup.rank()[0] > 0:
        ranks_apart.follow(sys.argv[1:])
        return
    plug.load_of(sys.argv[1:])
    sys.argv[1:] = arguments = for_hydra(sys.argv[1:])
    if arguments == ["--version"]:  # Hydra would answer with its own
        compose.print_version()
    elif {"--help", "-h"} & set(arguments):
        compose.command(lambda: terminal.write(help_page.page("train", arguments)))
    else:
        compose.command(_settle)
        compose.command(lambda: ranks_apart.check(arguments))
        with ranks_apart.leading(arguments):
            compose.compose_and_call("train", _job)


def _settle() -> None:
    sys.argv[1:] = beside_resume.settled(sys.argv[1:])


def _job(composed: DictConfig) -> float:
    """One job: from the composed configuration to the number that a sweeper maximises."""
    settings = HydraConfig.get()
    in_sweep = settings.mode == RunMode.MULTIRUN
    in_search = in_sweep and searches.is_search(settings.sweeper)
    if startup.rank()[0] > 0:  # a task of a job; of a command they have followed in main
        ranks_apart.follow_job()
        return math.nan
    folder = Path(settings.runtime.output_dir)
    score: float = compose.job(lambda: _led(composed, settings, in_sweep, in_search), folder, in_sweep, in_search)
    return score


def _led(composed: DictConfig, settings: HydraConf, in_sweep: bool, in_search: bool) -> float:
    with ranks_apart.leading_job() if in_sweep else nullcontext():
        return _run(composed, settings, in_sweep, in_search)


def _run(composed: DictConfig, settings: HydraConf, in_sweep: bool, in_search: bool) -> float:
    plugins.handed_on()
    config = hydra_errors.typed(composed)
    assert isinstance(config, Config)
    run_dir = _run_dir(settings, config)
    planned = [] if directory.has_stages(run_dir) else stages.composed(config, settings.overrides.task, _folders(settings))
    startup.prepare()
    chosen = choices(settings.runtime.choices)
    if not (in_sweep and directory.is_busy(Path(settings.runtime.output_dir))):  # then the log is another process's
        log.info("%s", lines.first_line(config, chosen))  # before torch loads, for whoever waits
    from bnn_train.deploy.teacher import exported
    from bnn_train.runs.stages import run_all  # loads torch, which takes a while, now that the configuration is known to be sound

    ranks_apart.start()
    if in_sweep:
        _share_threads(settings.launcher.get("n_jobs"))
    try:
        with side_by_side.at_work():
            summary = run_all(config, planned, run_dir, list(settings.overrides.task), chosen, exported)
    except Busy as error:
        if not in_sweep:
            terminal.say(f"error: {error}", "stderr")  # not into the log, which is the other process's
            sys.exit(error.exit_code)
        terminal.write(f"skipped: {error}\n", "stderr")
        return math.nan
    held_out = [summary[key] for key in ("val_ensemble_accuracy", "val_accuracy") if key in summary]
    if in_search and not held_out and not config.dry_run:
        raise ConfigError("data.val_size", config.data.val_size, searches.HELD_OUT)
    return held_out[0] if held_out else math.nan


def _run_dir(settings: HydraConf, config: Config) -> Path:
    """Hydra's output directory; for a dry run, which has a passing one, what was typed."""
    typed = [value_of(override) for override in settings.overrides.hydra if override.startswith("hydra.run.dir=")]
    return Path(typed[-1] if config.dry_run and typed else settings.runtime.output_dir)


def _folders(settings: HydraConf) -> list[str]:
    """Of options of the user's own, wherever this process got them from."""
    return stages.folders(settings.runtime.config_sources)


def _share_threads(jobs: int | None) -> None:
    """Divides the cores between the jobs that a launcher runs side by side (joblib counts -1 as all cores)."""
    if jobs is not None:
        import torch

        cores = startup.processors()
        torch.set_num_threads(max(1, cores // (jobs if jobs > 0 else cores)))


if __name__ == "__main__":
    main()
