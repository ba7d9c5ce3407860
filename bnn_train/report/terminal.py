"""Where text meets the streams: how wide they are, which characters they hold, and that none of them ends the program."""

import atexit
import codecs
import errno
import logging
import os
import sys
import textwrap
from contextlib import suppress

from bnn_train import startup

USUAL, LEAST = 80, 40  # columns: of what has no width of its own; the fewest that anything is laid out for

COPIED = ("continue with", "saved in")  # lines that hold what is copied, and are never broken

_left: set[str] = set()  # streams whose reader has left

# What stands for a character that an encoding lacks, where ASCII has something that reads the same.
_LOOK_ALIKES = {"─": "-", "█": "#", "│": "|", "–": "-", "—": "-", "…": "...", "×": "x", "·": ".", "→": "->", "≤": "<=", "≥": ">="}
_LOOK_ALIKES |= {"‘": "'", "’": "'", "“": '"', "”": '"', "\N{NO-BREAK SPACE}": " ", "\N{MINUS SIGN}": "-"}


def width(name: str = "stdout") -> int:
    """Columns of sys.stdout or sys.stderr: COLUMNS, where it is a number; else the terminal's; 80 for a file or a pipe."""
    typed = os.environ.get("COLUMNS", "")
    columns = int(typed) if typed.isdecimal() else 0
    if not columns:
        with suppress(AttributeError, OSError, ValueError):  # closed; no terminal; no file at all
            columns = os.get_terminal_size(getattr(sys, name).fileno()).columns
    return max(columns or USUAL, LEAST)


def shows_bar() -> bool:
    """Whether stderr is a terminal or a notebook, in which a line can be drawn over, and whose user wants more than plain text."""
    if is_notebook():
        return True
    if os.environ.get("TERM") == "dumb" or os.environ.get("NO_COLOR"):
        return False
    with suppress(AttributeError, ValueError):
        return sys.stderr.isatty()
    return False


def is_notebook() -> bool:
    """Whether what is written to the streams is shown in a notebook: they are then of its kernel."""
    return type(sys.stderr).__module__.startswith("ipykernel.")


def write(text: str, name: str = "stdout") -> bool:
    """Writes to sys.stdout or sys.stderr, in ASCII where the stream lacks a character; whether it could be written.

    A closed stream, and a pipe whose reader has left, want no more: that counts as written. Anything else, such as a full disk, is
    said once on stderr. Either way the program goes on, and keeps its exit code.
    """
    stream = getattr(sys, name)
    if stream is None:
        return True
    try:
        stream.write(as_written(text, name))
        stream.flush()
    except (OSError, ValueError) as error:
        _lead_nowhere(name)
        if not isinstance(error, OSError) or error.errno == errno.EPIPE:
            _left.add(name)
            return True
        if name == "stdout":
            write(f"stdout cannot be written to ({error.strerror}); nothing more is printed\n", "stderr")
        return False
    return True


def as_written(text: str, name: str = "stdout") -> str:
    """A text as sys.stdout or sys.stderr shows it: what it lacks characters for can become longer."""
    encoding = getattr(getattr(sys, name), "encoding", None) or "utf-8"
    return text.encode(encoding, "look_alike").decode(encoding)


def has_reader(name: str = "stdout") -> bool:
    """Whether anybody still takes what is written; False once a pipe's reader has left."""
    return name not in _left


def over_line(text: str, width: int = 0) -> int:
    """Draws over the line that stands on a terminal's stderr; returns its width. Nothing elsewhere."""
    if not shows_bar():
        return 0
    write(f"\r{text.ljust(width)}", "stderr")
    return len(text)


def say(text: str, name: str = "stdout") -> bool:
    """A line of prose: on a terminal broken at its spaces, whole for a program that reads it."""
    stream = getattr(sys, name)
    if stream is not None and not stream.closed and stream.isatty():
        text = "\n".join(textwrap.wrap(text, width(name), subsequent_indent="  ", break_long_words=False, break_on_hyphens=False))
    return write(f"{text}\n", name)


def settle() -> None:
    """For the start of a command: also Hydra, argparse and warnings find both streams open and able to hold every text."""
    startup.open_streams()
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):  # one that a test or a notebook has put there
            stream.reconfigure(errors="look_alike")  # type: ignore[union-attr]
    atexit.register(_finish)


class ConsoleHandler(logging.Handler):
    """Writes each record to stdout through `write`; logging's own handler would drop what the stream cannot take.

    Errors go to stderr, as every command's do; so does what must be read, where the reader of stdout has left.
    """

    def emit(self, record: logging.LogRecord) -> None:
        text, before = self.format(record), set(_left)
        name = "stderr" if record.levelno >= logging.ERROR else "stdout"
        if "\n" in text or text.startswith(COPIED):
            write(f"{text}\n", name)
        else:
            say(text, name)
        if "stdout" in _left - before:
            write("nobody reads stdout any more: train.log has the rest\n", "stderr")
        if "stdout" in _left and name == "stdout" and record.levelno >= logging.WARNING:
            say(text, "stderr")


def _finish() -> None:
    """What Python would do after this, but with exit code 120 where a reader has left."""
    for name in ("stdout", "stderr"):
        write("", name)


def _lead_nowhere(name: str) -> None:
    """Lets a stream that failed take everything, also what it still holds and what others write to it."""
    nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    try:
        os.dup2(nowhere.fileno(), getattr(sys, name).fileno())
    except (AttributeError, OSError, ValueError):
        setattr(sys, name, nowhere)


def _look_alike(error: UnicodeError) -> tuple[str, int]:
    """Codec error handler: ASCII that reads the same, else an escape that names the character, or the byte of a file's name."""
    assert isinstance(error, UnicodeEncodeError)
    return "".join(map(_ascii, error.object[error.start : error.end])), error.end


def _ascii(character: str) -> str:
    if 0xDC80 <= ord(character) <= 0xDCFF:  # a byte that is no UTF-8 (PEP 383)
        return f"\\x{ord(character) - 0xDC00:02x}"
    return _LOOK_ALIKES.get(character) or character.encode("ascii", "backslashreplace").decode()


codecs.register_error("look_alike", _look_alike)
