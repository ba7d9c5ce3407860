"""`torchrun -m bnn_train ...`, or tasks of a job: several processes, of which the first is the command and the others follow it."""

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from bnn_train import plugins, startup
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
            _dismiss()
        raise
    _end()


@contextmanager
def leading_job() -> Iterator[None]:
    """As `leading`, around a job of a sweep of which a launcher has started several tasks."""
    try:
        yield
    except BaseException:
        _dismiss()
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


def _dismiss() -> None:
    """Lets the others end after an error, which this one says."""
    if startup.rank()[1] == 1:
        return
    if "torch" in sys.modules and _have_joined():
        _leave_word("process 0 has said why")
    elif "TORCHELASTIC_RUN_ID" not in os.environ:  # torchrun ends those that wait
        _end()


def _have_joined() -> bool:
    from bnn_train import ranks  # loads torch

    return ranks.count() > 1


def _leave_word(word: str) -> None:
    from bnn_train.training import last_words

    last_words.leave(word)


def follow(arguments: Sequence[str]) -> None:
    """What every process but the first does. It says nothing: what goes wrong for all, the first one says.

    Where something does, it ends without Python's own end: torch's threads, waiting for the others still, would make it an abort.
    """
    if SILENT & set(arguments):
        return
    try:
        _follow(lambda: plug.load(arguments))
    except SystemExit as end:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code if isinstance(end.code, int) else 1)


def follow_job() -> None:
    """As `follow`, of every task but the first of a sweep's job. It ends well, since a launcher asks each for a result."""
    with suppress(SystemExit):
        _follow(plugins.handed_on)


def _follow(load_plugins: Callable[[], object]) -> None:
    logging.disable(logging.CRITICAL)
    startup.prepare()
    from bnn_train.deploy.teacher import exported  # loads torch
    from bnn_train.runs.follow import follow

    try:
        load_plugins()
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
