"""Files from anywhere: refused in one way, or networks that run. scripts/fuzz_format.py tries more of them."""

import contextlib
import random
import sys
import time
import tracemalloc

import fuzz_format
import pytest
from fuzz_changes import damaged, enormous
from fuzz_networks import small_networks

from bnn_train.deploy.file import DamagedFile, read


@pytest.fixture
def networks():
    return small_networks()


def test_whatever_a_file_holds_it_is_refused_or_it_runs(networks):
    source, found = random.Random(1), set()
    for _ in range(2000):
        found.add(fuzz_format.judge(damaged(source, networks)))
    assert {"refused", "run"} <= found


@pytest.mark.slow
def test_whatever_many_files_hold_they_are_refused_or_run(networks):
    source = random.Random(2)
    for _ in range(40_000):
        fuzz_format.judge(damaged(source, networks))


def test_the_largest_header_takes_no_long_time():
    for name, content in enormous().items():
        start = time.process_time()
        assert fuzz_format.judge(content) == "refused", name
        assert time.process_time() - start < 5, name  # a hostile text must not take the square of its length


@pytest.mark.slow
def test_the_largest_header_takes_little_memory():
    for name, content in enormous().items():
        tracemalloc.start()
        fuzz_format.judge(content)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < fuzz_format.BYTES, name


def test_a_damaged_file_is_the_users_mistake_and_loads_no_module(tmp_path, networks):
    source = random.Random(3)
    files = [damaged(source, networks) for _ in range(100)]
    before = set(sys.modules)  # making them has loaded encodings
    for content in files:
        (tmp_path / "m.bnn").write_bytes(content)
        with contextlib.suppress(DamagedFile):
            read(tmp_path / "m.bnn")
    assert set(sys.modules) == before
