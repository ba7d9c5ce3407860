"""`torchrun -m bnn_train ...`: several processes, of which the first is the command and the others follow it."""

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bnn_train import startup
from bnn_train.cli import endings, plug
from bnn_train.errors import ConfigError, Diverged, Interrupted, Lost
from bnn_train.report import terminal

SILENT = {"--help", "-h", "--version", "--hydra-help", "--cfg", "-c", "--info", "-i", "-sc", "--shell-completion"}


def check(arguments: Sequence[str]) -> None:
    """Raises ConfigError for what several processes cannot do together."""
    if startup.rank()[1] > 1 and {"-m", "--multirun"} & set(arguments):
        remedy = "a sweep trains its jobs one by one, and torchrun one job with several processes; leave out one of the two"
        raise ConfigError("", "", f"{remedy} (hydra/launcher=joblib runs jobs side by side)")


@contextmanager
def leading(arguments: Sequence[str]) -> Iterator[None]:
    """Of the first process: the others end when this does; where something has gone wrong, because they lose it."""
    if SILENT & set(arguments):
        yield
        return
    try:
        yield
    except SystemExit as end:
        if not end.code:
            _end()
        else:
            _leave_word("process 0 has said why")
        raise
    _end()


def start() -> None:
    """Waits for the other processes, if there are any."""
    if startup.rank()[1] > 1:
        from bnn_train.training import processes

        processes.start()


def _end() -> None:
    if startup.rank()[1] > 1:
        from bnn_train.training import processes

        endings.command(processes.end)


def _leave_word(word: str) -> None:
    if startup.rank()[1] > 1 and "torch" in sys.modules:  # else there is nobody yet to lose this one
        from bnn_train.training import last_words

        last_words.leave(word)


def follow(arguments: Sequence[str]) -> None:
    """What every process but the first does. It says nothing: what goes wrong for all, the first one says."""
    if SILENT & set(arguments):
        return
    logging.disable(logging.CRITICAL)
    startup.prepare()
    from bnn_train.deploy.teacher import exported  # loads torch
    from bnn_train.runs.follow import follow

    try:
        plug.load(arguments)
        follow(exported)
    except Interrupted as stop:  # of all at the same step
        sys.exit(stop.exit_code)
    except Lost as lost:
        if lost.is_told_here:
            terminal.say(f"error: {lost}", "stderr")
        sys.exit(lost.exit_code)
    except (Diverged, ConfigError) as error:  # of which the first process tells when it loses this one
        _leave_word(str(error) if isinstance(error, Diverged) else f"in process {startup.rank()[0]}: {error}")
        sys.exit(error.exit_code)
    except Exception as defect:
        _leave_word(f"process {startup.rank()[0]} has failed ({type(defect).__name__})")
        raise
