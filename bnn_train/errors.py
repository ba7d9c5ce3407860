"""What can end a command, each with its exit code. Everything else is a defect and shows its traceback."""

import signal
import unicodedata


class ConfigError(ValueError):
    """A user's mistake. Reads `key=value: remedy`, one line, whatever signs a file or a user has put into it;
    where no key is to blame the remedy alone."""

    exit_code = 2

    def __init__(self, key: str, value: object, remedy: str) -> None:
        super().__init__(key, value, remedy)
        self.key, self.value, self.remedy = key, value, remedy

    def __str__(self) -> str:
        return plain(f"{self.key}={as_typed(self.value)}: {self.remedy}" if self.key else self.remedy)


class PluginError(ConfigError):
    """A plugin's function raised, or gave what it must not."""


class Busy(ConfigError):
    """Another process is at work where this one was to start."""


class Diverged(ArithmeticError):
    """The loss or a parameter is NaN or infinite."""

    exit_code = 1


class Lost(RuntimeError):
    """Another of the processes that train together has ended. is_told_here: whether this one says so."""

    exit_code = 1

    def __init__(self, said: str, is_told_here: bool = True) -> None:
        super().__init__(said)
        self.is_told_here = is_told_here


class Interrupted(BaseException):
    """The user or the system asked for the end. Not an Exception: nothing on the way may swallow it."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)  # what a pickle makes it of again
        self.exit_code = 128 + signal_number

    def __str__(self) -> str:
        return signal.Signals(self.args[0]).name


def plain(text: str) -> str:
    """With escapes for what would move a terminal's cursor, or end a line where none ends."""
    return "".join(c.encode("unicode_escape").decode() if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text)


def as_typed(value: object) -> str:
    """A value as the user would type it on the command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ",".join(as_typed(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {as_typed(item)}" for key, item in value.items()) + "}"
    return str(value)
