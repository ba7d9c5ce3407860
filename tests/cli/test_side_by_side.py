import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from bnn_train.cli import side_by_side

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

# A command with two jobs in processes of their own, each of which takes a while to save when it is told to stop.
COMMAND = """
import signal, subprocess, sys, time
from bnn_train.cli import compose, side_by_side

def command():
    side_by_side.forward_signals()
    jobs = [subprocess.Popen([sys.executable, "-c", sys.argv[1], str(i)]) for i in range(2)]
    for job in jobs:
        job.wait()

compose.command(command)
"""
JOB = """
import os, sys, time
from bnn_train.cli import side_by_side
from bnn_train.errors import Interrupted
try:
    with side_by_side.at_work():
        try:
            os.write(1, b"at work\\n")
            time.sleep(60)
        except Interrupted:
            time.sleep(0.5)
            os.write(1, b"saved\\n")
            raise
except Interrupted as stop:
    os._exit(stop.exit_code)
"""


@pytest.fixture
def command():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-c", COMMAND, JOB]
    process = subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert [process.stdout.readline() for _ in "ab"] == ["at work\n"] * 2
    yield process
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_to_the_command_reaches_every_job_and_it_waits_for_them(command, number):
    command.send_signal(number)
    assert command.wait(20) == 128 + number
    assert command.stdout.read() == "saved\n" * 2


def test_ctrl_c_in_a_terminal_goes_to_all_and_means_the_same(command):
    os.killpg(command.pid, signal.SIGINT)
    assert command.wait(20) == 130
    assert command.stdout.read() == "saved\n" * 2


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells a process when the one that started it dies")
def test_jobs_of_a_command_that_was_killed_save_and_end(command):
    command.kill()
    assert command.stdout.read() == "saved\n" * 2  # its end: nobody holds it open any more


def test_in_the_commands_own_process_nothing_changes(monkeypatch, tmp_path):
    monkeypatch.setenv(side_by_side.VARIABLE, f"{os.getpid()}:{tmp_path}")
    before = signal.getsignal(signal.SIGTERM)
    with side_by_side.at_work():
        assert signal.getsignal(signal.SIGTERM) == before
        assert list(tmp_path.iterdir()) == []


def test_no_job_begins_once_the_command_stops(monkeypatch, tmp_path):
    (tmp_path / "stop").touch()
    monkeypatch.setenv(side_by_side.VARIABLE, f"1:{tmp_path}")
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(side_by_side.Interrupted), side_by_side.at_work():
        pytest.fail("it has begun")
    assert signal.getsignal(signal.SIGTERM) == before
    assert [file.name for file in tmp_path.iterdir()] == ["stop"]
