"""`logger=wandb`: Weights & Biases, into RUN/wandb/ and, where it is told so, to its server."""

import logging
import os
import secrets

from bnn_train.config.logger import WandbConfig
from bnn_train.errors import ConfigError
from bnn_train.files import for_people
from bnn_train.runs.loggers import start as starting
from bnn_train.runs.loggers import wandb_file
from bnn_train.runs.loggers.start import Logger, Start, Summary
from bnn_train.training.trainer import Row

log = logging.getLogger(__name__)

_PATIENCE = 60  # seconds for a server that does not answer at the end; what it lacks is in the folder, for `wandb sync`


def mode(config: WandbConfig) -> str:
    return config.mode or os.environ.get("WANDB_MODE") or "offline"


def check(config: WandbConfig) -> None:
    wandb = starting.need("wandb", "wandb", "wandb.sdk")  # a folder wandb/ here could be taken for the first
    if mode(config) != "online":
        return
    wandb.setup(settings=wandb.Settings(silent=True))
    if not wandb.login(prompt=False, verify=False):  # else it would ask on the terminal, in the middle of a run
        raise ConfigError("logger.wandb.mode", "online", "needs an account: wandb login, or WANDB_API_KEY; without one use offline")


def start(config: WandbConfig, run: Start) -> Logger:
    """One id for the whole run, kept in wandb/run.json; what the files with this id, or the server, have is not logged again.

    Weights & Biases takes no step twice, so an epoch that a run repeats from an older checkpoint is left as it was.
    """
    wandb = starting.need("wandb", "wandb")
    file = run.run_dir / "wandb" / "run.json"
    project = config.project or os.environ.get("WANDB_PROJECT")
    kept = starting.read(file)
    is_known = bool(kept)
    if project not in (None, kept.get("project")):  # another project knows nothing of this run
        kept = {}
    kept = {"id": secrets.token_hex(4), "project": project or "bnn-train", **kept}
    file.parent.mkdir(exist_ok=True)  # else wandb would look for another place
    opened = wandb.init(
        dir=str(run.run_dir.resolve()),  # its own process may stand in another folder
        id=kept["id"],
        resume="allow",
        project=kept["project"],
        name=starting.title(run.run_dir),
        mode=mode(config),
        config=run.config,
        reinit="create_new",
        settings=wandb.Settings(silent=True, console="off", finish_timeout=_PATIENCE),
    )
    starting.keep(file, kept)
    done = wandb_file.steps(file.parent, kept["id"])
    if done is None:
        log.warning("wandb: this version's files cannot be read here; epochs from before a crash may be missing there")
        done = {row["epoch"] for row, _ in run.rows} if is_known else set()
    done |= set(range(opened.step))

    def write(row: Row, health: Row) -> None:
        if starting.is_whole(row) and row["epoch"] not in done:
            opened.log({"epoch": row["epoch"], **starting.figures(row, health)}, step=row["epoch"], commit=True)
            done.add(row["epoch"])

    def end(status: str, summary: Summary) -> None:
        opened.summary.update({"status": status, **starting.results(summary)})
        opened.finish(exit_code=1 if status == "failed" else 0)
        if mode(config) == "offline":
            log.info("to show it on wandb.ai: wandb sync %s", for_people(run.run_dir) / "wandb" / "offline-run-*")

    for row, health in run.rows:
        write(row, health)
    return Logger(write, end)
