import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bnn_train.errors import Busy, ConfigError
from bnn_train.runs import checkpoint
from bnn_train.runs.directory import is_busy, lock, locked, remove_if_nothing_ran, trained_by

ROOT = Path(__file__).parent.parent.parent


def test_one_process_at_a_time(tmp_path):
    code = f"""
from pathlib import Path; import time
from bnn_train.runs.directory import locked
with locked(Path({str(tmp_path)!r})):
    print("locked", flush=True); time.sleep(60)
"""
    holder = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with holder:
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(Busy, match="another process is training in this directory"), locked(tmp_path):
            pass
        holder.kill()
    for _ in range(100):  # the system drops the lock of a dead process
        try:
            with locked(tmp_path):
                break
        except Busy:
            time.sleep(0.05)
    else:
        pytest.fail("a dead process's lock blocks")


def test_the_lock_of_a_machine_that_is_off_is_freed_as_the_message_says(tmp_path, monkeypatch):
    """Another process, which takes itself to be on another machine and whose lock stays, stands for that machine."""
    monkeypatch.chdir(tmp_path)
    code = """
import socket; socket.gethostname = lambda: "north"
from pathlib import Path; import time
from bnn_train.runs.directory import locked
with locked(Path("run")):
    print("locked", flush=True); time.sleep(60)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(Busy) as found:
            lock(Path("run"))
        assert f"({holder.pid} on north); wait for it" in str(found.value)
        assert is_busy(Path("run"))
        also = "where north is off and its lock has stayed, delete run/.lock"
        assert trained_by(Path("run")) == f"another process trains it ({holder.pid} on north; {also})"
        freed = str(found.value).rpartition("where north is off and its lock has stayed, delete ")[2]
        Path(freed).unlink()
        with locked(Path("run")):
            assert not is_busy(Path("run"))
        holder.kill()
    assert os.listdir("run") == [".lock", "checkpoints"] or os.listdir("run") == ["checkpoints", ".lock"]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"hydra\.run\.dir=.*cannot be written to"), locked(tmp_path / "file"):
        pass


def test_a_failure_of_an_earlier_try_is_forgotten(tmp_path):
    (tmp_path / "failure.txt").write_text("x")
    with locked(tmp_path):
        assert not (tmp_path / "failure.txt").exists()


def test_a_second_process_leaves_a_running_one_alone(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    line = [sys.executable, "-m", "bnn_train", "model.hidden=[8,8]", "trainer.epochs=100000", "hydra.run.dir=r"]
    with subprocess.Popen(line, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as first:
        for text in first.stdout:
            if text.startswith("epoch "):
                break
        config = (tmp_path / "r" / ".hydra" / "config.yaml").read_bytes()
        second = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert second.returncode == 2
        assert "another process is training in this directory" in second.stderr
        assert (tmp_path / "r" / ".hydra" / "config.yaml").read_bytes() == config
        assert "another process" not in (tmp_path / "r" / "train.log").read_text()
        assert first.poll() is None
        first.terminate()
        first.stdout.read()
        assert first.wait(timeout=60) == 143


def test_a_full_disk_leaves_the_older_checkpoint(tmp_path):
    """A limit on the size of files stands for the disk: the second save, of a larger file, does not fit."""
    path = tmp_path / "last.pt"
    code = f"""
import resource, signal
from pathlib import Path
import torch
from bnn_train.runs import checkpoint
from bnn_train.errors import ConfigError
path = Path({str(path)!r})
checkpoint.save({{"x": torch.zeros(10)}}, path, keep=path.with_name("previous.pt"))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
try:
    checkpoint.save({{"x": torch.zeros(100_000)}}, path, keep=path.with_name("previous.pt"))
except ConfigError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "last.pt: could not be written ([Errno 27] File too large)" in result.stdout
    assert checkpoint.load(path)["x"].shape == (10,)
    assert os.listdir(tmp_path) == ["last.pt"]


def test_a_read_only_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *arguments: False)  # nothing is read-only for root
    with pytest.raises(ConfigError, match=r"hydra\.run\.dir=.*cannot be written to"), locked(tmp_path):
        pass


def test_a_lock_is_taken_as_often_as_wanted_in_one_process(tmp_path):
    held = lock(tmp_path)
    with locked(tmp_path):
        assert not is_busy(tmp_path)
    held.release()


def test_what_a_refused_command_leaves_is_taken_away_with_the_folders_it_stood_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_dir = Path("outputs/2026-01-31/12-00-00")
    for name in (".hydra/config.yaml", "train.log", ".lock"):
        (run_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (run_dir / name).touch()
    (run_dir / "checkpoints").mkdir()
    remove_if_nothing_ran(run_dir)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["metrics.jsonl", "checkpoints/last.pt", "checkpoints/result.pt", "notes.txt"])
def test_what_a_run_or_a_person_left_stays(tmp_path, name):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / name).touch()
    remove_if_nothing_ran(tmp_path / "run")
    assert (tmp_path / "run" / name).exists()
