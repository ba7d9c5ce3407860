"""`bnn-lab`: measures gradient estimators against the exact gradient."""

import logging
import sys
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from bnn_train import plugins, startup
from bnn_train.cli import compose, help_page, hydra_errors, plug
from bnn_train.cli.arguments import for_hydra
from bnn_train.config.lab import LabConfig
from bnn_train.files import for_people
from bnn_train.report import terminal

log = logging.getLogger(__name__)


def main() -> None:
    terminal.settle()
    plug.load_of(sys.argv[1:])
    sys.argv[1:] = arguments = for_hydra(sys.argv[1:])
    if {"--help", "-h"} & set(arguments):
        compose.command(lambda: terminal.write(help_page.page("lab", arguments)), LabConfig)
    else:
        compose.compose_and_call("lab", _job, LabConfig)


def _job(composed: DictConfig) -> None:
    folder = Path(HydraConfig.get().runtime.output_dir)
    compose.job(lambda: _study(composed, folder), folder, in_sweep=False, schema=LabConfig)


def _study(composed: DictConfig, folder: Path) -> None:
    """One study: from the composed configuration to its table and plots."""
    plugins.handed_on()
    config = hydra_errors.typed(composed, LabConfig)
    assert isinstance(config, LabConfig)
    startup.prepare()
    from bnn_train.lab import study  # loads torch, now that the configuration is known to be sound
    from bnn_train.report import laboratory

    try:
        found = study.run(config, folder)
        kind = laboratory.kind(found)
        # To be read while the pictures are drawn, which takes some seconds.
        log.info("%s\n", laboratory.summary(found, for_people(folder)))
        drawn = terminal.over_line("drawing the pictures")
        try:
            files = kind.write_plots(found, folder)
        finally:
            terminal.over_line(" " * drawn)
            terminal.over_line("")
    except KeyboardInterrupt:
        log.info("stopped; what was measured is kept, and the same command goes on")
        raise
    log.info("%s", laboratory.saved_line(found, for_people(folder), files))


if __name__ == "__main__":
    main()
