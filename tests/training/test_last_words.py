"""What those that are left say of those that have ended."""

from types import SimpleNamespace

import pytest
import torch.distributed as dist

from bnn_train import ranks
from bnn_train.training import last_words


@pytest.fixture
def three(monkeypatch):
    """three(rank): from now on this process is that one of three, which share a store."""
    monkeypatch.setattr(ranks, "count", lambda: 3)
    monkeypatch.setattr(last_words, "_store", [])
    monkeypatch.setattr(last_words, "WAIT", 0.2)
    last_words.keep(dist.HashStore())
    return lambda rank: monkeypatch.setattr(ranks, "rank", lambda: rank)


@pytest.mark.parametrize(
    ("killed", "said", "teller"),
    [([1], "process 1 of 3 (from 0) was killed", 0), ([0], "process 0 of 3", 1), ([0, 2], "processes 0, 2 of 3", 1)],
)
def test_who_has_left_no_word_was_killed_and_the_first_that_lives_says_so(three, killed, said, teller):
    alive = [rank for rank in range(3) if rank not in killed]
    for rank in alive:  # each has lost another
        three(rank)
        last_words.leave("")
    for rank in alive:
        three(rank)
        found = last_words.why()
        assert (found.said.startswith(said), found.teller) == (True, teller)


def test_a_reason_is_said_by_process_0(three):
    three(2)
    last_words.leave("the loss became nan")
    for rank in (1, 0):
        three(rank)
        assert last_words.why() == ("the loss became nan", 0)


def test_a_store_that_has_ended_was_process_0s(three, monkeypatch):
    def gone(*_):
        raise dist.DistStoreError("gone")

    three(1)
    monkeypatch.setattr(last_words, "_store", [SimpleNamespace(set=gone, get=gone, check=gone)])
    said, teller = last_words.why()
    assert (said.startswith("process 0 of 3 was killed"), teller) == (True, 1)


def test_a_process_alone_leaves_no_word(monkeypatch):
    store = dist.HashStore()
    monkeypatch.setattr(last_words, "_store", [store])
    last_words.leave("something")
    assert not store.check(["0"])
