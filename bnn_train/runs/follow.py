"""What every rank but the first does: it trains what rank 0 tells it to, step by step with it, and writes and says nothing.

Rank 0 alone composes, names the directory, locks, saves, measures what is left to measure, and ends the command (runs/run.py). So
there is nothing that two processes could do twice, and a mistake is said once.
"""

from pathlib import Path
from typing import Any

from bnn_train import device, ranks, startup
from bnn_train.config.root import Config
from bnn_train.files import for_people
from bnn_train.report import lines
from bnn_train.runs import assemble, checkpoint, directory, interrupt, teacher
from bnn_train.training import processes
from bnn_train.training.trainer import Trainer

Job = dict[str, Any]


def job(trainer: Trainer, found: teacher.Found | None, run_dir: Path) -> Job:
    """What the others need to train as this trainer will from now on. found: its teacher."""
    taught = None if found is None else {"path": str(found.path), "state": found.state}
    return {
        "config": trainer.config,
        "state": trainer.state_dict(),
        "random": checkpoint.random_state(),
        "teacher": taught,
        "run": run_dir,
    }


def follow(exported: teacher.Reader) -> None:
    """Trains all that rank 0 tells. exported: as in `run`. Raises Lost where another rank has ended."""
    with processes.together():
        processes.start()
        while (told := processes.told()) is not None:
            _train(told, exported)
        processes.leave()


def _train(told: Job, exported: teacher.Reader) -> None:
    config, state = told["config"], told["state"]
    data = assemble.load_data(config, device.choose(config.device))
    model, edges, optimizer = assemble.assemble(config, data, data.train.labels.device, state["edges"])
    with interrupt.deferred(ranks.is_one) as check, processes.together(lambda: go_on(told["run"], config)):
        trainer = Trainer(config, model, edges, optimizer, data, lambda trainer: check())
        taught = teacher.ready(_found(told, exported), config, model, data)
        if taught is not None:
            taught.teach(trainer)
        trainer.load_state_dict(state)
        checkpoint.set_random_state(told["random"])
        for _ in trainer.fit():
            check()


def go_on(run_dir: Path, config: Config) -> str:
    """How the run goes on, for the line that says what has ended it."""
    if not directory.holds_run(run_dir):
        return "nothing was saved yet: start it again"
    resume = lines.resume_argument(for_people(directory.whole(run_dir)), config.plugins)
    return f"what was saved stays, continue with: {startup.command()} {resume}"


def _found(told: Job, exported: teacher.Reader) -> teacher.Found | None:
    if told["teacher"] is None:
        return None
    path, state = Path(told["teacher"]["path"]), told["teacher"]["state"]
    return teacher.Found(path, state, None if state is not None else exported(path))
