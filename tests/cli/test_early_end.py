"""One of several processes, told to end before training, in a real process: the first of two, the second of which never comes."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from bnn_train.cli import early_end, start


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def answers(port):
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def waiting(tmp_path):
    """waiting(rank) is a process that waits in torch's C++ for the other of two."""
    started = []

    def function(rank):
        port = free_port()
        names = {"RANK": rank, "WORLD_SIZE": 2, "LOCAL_RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        environment = {**os.environ, **{name: str(value) for name, value in names.items()}, "PYTHONPATH": os.pathsep.join(sys.path)}
        line = [sys.executable, "-m", "bnn_train", "model.hidden=[8,8]", "hydra.run.dir=run"]
        process = subprocess.Popen(
            line, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        while rank == 0 and not answers(port):
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        return process

    yield function
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_says_that_it_was_told_to_end_and_ends_at_once(waiting, number):
    process = waiting(0)
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    why = "Ctrl-C, or another process has ended"
    assert errors == f"error: ended by {number.name} outside training ({why}); what was saved stays: start it again\n"
    assert process.returncode == 128 + number


@pytest.mark.slow
def test_the_others_say_nothing(waiting):
    process = waiting(1)
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20)[1] == ""
    assert process.returncode == 130


def test_a_process_alone_is_as_it_was():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    early_end.watch()
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_ctrl_c_while_a_command_is_loaded_shows_no_traceback(monkeypatch):
    def interrupted(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(start.importlib, "import_module", interrupted)
    with pytest.raises(SystemExit) as end:
        start.report()
    assert end.value.code == 130
