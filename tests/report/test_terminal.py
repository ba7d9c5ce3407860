import io
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bnn_train.report import terminal

pty = pytest.importorskip("pty")  # no Windows

ROOT = Path(__file__).parent.parent.parent


def python(code, shell="", **variables):
    """Runs Python code in a process of its own, with redirections of the shell."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PROGRAM": f"import sys\nfrom bnn_train.report import terminal\n{code}"}
    line = ["sh", "-c", f'"$0" -c "$PROGRAM" {shell}', sys.executable]
    return subprocess.run(line, env={**environment, **variables}, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("typed", "width"), [("60", 60), ("120", 120), ("5", 40), ("0", 80), ("-1", 80), ("wide", 80), ("", 80), ("1e3", 80)]
)
def test_the_width_is_what_COLUMNS_says_where_that_is_a_number(typed, width, columns):
    columns(typed)
    assert terminal.width() == width


def test_the_width_of_a_terminal_and_of_what_is_none(monkeypatch):
    monkeypatch.delenv("COLUMNS")
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert terminal.width() == 80
    monkeypatch.setattr(sys, "stdout", None)
    assert terminal.width() == 80
    leader, follower = pty.openpty()
    with open(follower, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(os, "get_terminal_size", lambda number: os.terminal_size((97 if number == follower else 0, 24)))
        assert terminal.width() == 97
    os.close(leader)


def test_there_is_no_bar_without_a_terminal_that_can_be_drawn_on(monkeypatch):
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    leader, follower = pty.openpty()
    with open(follower, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        assert terminal.shows_bar()
        for name, value in (("TERM", "dumb"), ("NO_COLOR", "1")):
            with monkeypatch.context() as patch:
                patch.setenv(name, value)
                assert not terminal.shows_bar()
    assert not terminal.shows_bar()  # closed
    os.close(leader)
    for stream in (None, io.StringIO()):
        monkeypatch.setattr(sys, "stderr", stream)
        assert not terminal.shows_bar()


TEXT = r"\u2500\u2500 2 \xd7 3 \u2026 \xe9t\xe9 \u2265 b\udcff"  # a rule, a times, dots, letters, a byte that is no UTF-8


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", r"-- 2 x 3 ... \xe9t\xe9 >= b\xff"),
        ("latin-1", r"-- 2 × 3 ... été >= b\xff"),
        ("cp1252", r"-- 2 × 3 … été >= b\xff"),
        ("utf-8", r"── 2 × 3 … été ≥ b\xff"),
    ],
)
@pytest.mark.parametrize("how", ["terminal.write(text)", "terminal.settle(); sys.stdout.write(text)"])
def test_what_a_stream_cannot_hold_comes_in_ascii_and_nothing_is_lost(encoding, shown, how, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding))
    exec(how, {"terminal": terminal, "sys": sys, "text": eval(f'"{TEXT}"')})
    sys.stdout.flush()
    assert raw.getvalue().decode(encoding) == shown


def test_the_log_on_the_console_goes_the_same_way(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "ascii"))
    settings = yaml.safe_load((ROOT / "configs/hydra/job_logging/bnn_train.yaml").read_text())["handlers"]["console"]
    assert settings["class"] == "bnn_train.report.terminal.ConsoleHandler"
    terminal.ConsoleHandler().emit(logging.LogRecord("x", logging.INFO, "", 0, "%s\nof \xe9", ("──",), None))
    assert raw.getvalue() == b"--\nof \\xe9\n"


GO_ON = "terminal.settle(); first = terminal.write('one\\n'); terminal.write('two\\n'); print(first, file=sys.stderr); sys.exit(3)"


@pytest.mark.parametrize(
    ("shell", "said"),
    [
        (">&-", "True\n"),
        ("<&- >&-", "True\n"),
        ("| true", "True\n"),
        (">/dev/full", "stdout cannot be written to (No space left on device); nothing more is printed\nFalse\n"),
    ],
)
def test_a_stream_that_takes_nothing_ends_nothing(shell, said):
    shell = f"{shell}; exit $?" if "|" not in shell else shell
    code = f"import time; time.sleep(0.5 * {'|' in shell})\n{GO_ON}"  # until the reader has left
    result = python(code, shell)
    assert (result.stderr, result.returncode) == (said, 0 if "|" in shell else 3)


def test_closed_streams_are_opened_before_a_file_gets_their_numbers(tmp_path):
    code = f"terminal.settle(); file = open({str(tmp_path / 'f')!r}, 'w'); import os; os.write(1, b'x'); os.write(2, b'y')"
    result = python(f"{code}; print('z'); print('z', file=sys.stderr)", ">&- 2>&-; exit $?")
    assert (result.returncode, (tmp_path / "f").read_text()) == (0, "")


def test_what_must_be_read_goes_to_stderr_once_the_reader_of_stdout_has_left(tmp_path):
    code = """
import logging, sys, time
from bnn_train.report import terminal
terminal.settle()
log = logging.getLogger()
log.addHandler(terminal.ConsoleHandler())
log.setLevel(logging.INFO)
sys.stdin.read()
log.info("an epoch")
log.warning("continue with: bnn-train resume=r")
log.info("another epoch")
"""
    line = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(line, env=environment, text=True, **pipes) as process:
        process.stdout.close()
        process.stdin.close()
        said = process.stderr.read()
    assert process.returncode == 0
    assert said == "nobody reads stdout any more: train.log has the rest\ncontinue with: bnn-train resume=r\n"


def test_prose_is_broken_at_its_spaces_on_a_terminal_alone(monkeypatch, columns):
    columns(40)
    text = "error: data.root=photos: is not a folder (looked at /home/someone/photos); it must hold one folder per class"
    for terminal_there in (True, False):
        stream = io.StringIO()
        monkeypatch.setattr(stream, "isatty", lambda there=terminal_there: there, raising=False)
        monkeypatch.setattr(sys, "stderr", stream)
        terminal.say(text, "stderr")
        assert " ".join(stream.getvalue().split()) == text
        assert (stream.getvalue().count("\n") > 1) == terminal_there


def test_what_a_stream_lacks_characters_for_is_known_before_it_is_written():
    code = "print(ascii(terminal.as_written('ä…│ü')), terminal.as_written('…', 'stderr') == '…')"
    assert python(code, PYTHONIOENCODING="ascii").stdout == "'\\\\xe4...|\\\\xfc' False\n"
    assert python(code, PYTHONIOENCODING="utf-8").stdout.endswith(" True\n")


def test_a_reader_that_has_left_is_known():
    code = "print(terminal.has_reader(), file=sys.stderr); terminal.write('x'*10**6); print(terminal.has_reader(), file=sys.stderr)"
    assert python(code, shell="| true").stderr == "True\nFalse\n"
    assert python(code, shell="> /dev/null").stderr == "True\nTrue\n"
