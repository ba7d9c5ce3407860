import os

import pytest
import torch

from bnn_train.errors import ConfigError
from bnn_train.lab import processes


def note(folder, number, tick):
    (folder / str(number)).write_text(str(os.getpid()))
    tick(0.5)
    tick(0.5)


def refuse(folder, number, tick):
    raise ConfigError("protocol.widths", number, "is odd")


def die(folder, number, tick):
    os._exit(3)


@pytest.mark.slow
def test_every_number_is_worked_on_once_and_ticked(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    ticks = []
    processes.each(note, (tmp_path,), [3, 5, 8], ticks.append)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "5", "8"]
    assert sum(ticks) == 3
    assert str(os.getpid()) not in {path.read_text() for path in tmp_path.iterdir()}


def test_one_number_needs_no_other_process_and_leaves_the_threads_as_they_were(tmp_path):
    before = torch.get_num_threads()
    processes.each(note, (tmp_path,), [3], lambda share: torch.set_num_threads(1))
    assert (tmp_path / "3").read_text() == str(os.getpid())
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("work", "message"),
    [pytest.param(refuse, r"protocol\.widths=\d: is odd", marks=pytest.mark.slow), (die, "with exit code 3; the same command")],
)
def test_what_ends_one_process_is_said_and_ends_all(tmp_path, monkeypatch, work, message):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with pytest.raises(ConfigError, match=message):
        processes.each(work, (tmp_path,), [1, 2], lambda share: None)
