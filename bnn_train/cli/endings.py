"""How a command ends: what a user did or asked for in a line and an exit code, a defect in its traceback. Loads no Hydra."""

import sys
from collections.abc import Callable

from bnn_train.errors import ConfigError, Diverged, Interrupted, Lost
from bnn_train.report import terminal

Ending = tuple[int | None, str]  # exit code and line for the user; (None, "") for a defect of the program


def ending(error: BaseException) -> Ending:
    """Of an error of this program's own, or of Ctrl-C."""
    if isinstance(error, ConfigError | Diverged | Lost):
        return error.exit_code, str(error)
    if isinstance(error, Interrupted):
        return error.exit_code, ""
    return (130, "") if isinstance(error, KeyboardInterrupt) else (None, "")


def command(function: Callable[[], object], of: Callable[[BaseException], Ending] = ending) -> None:
    """Runs a whole command. of: the ending of an error."""
    try:
        function()
    except (Exception, Interrupted, KeyboardInterrupt) as error:
        code, line = of(error)
        if code is None:
            raise
        if line:
            terminal.say(f"error: {line}", "stderr")
        sys.exit(code)
