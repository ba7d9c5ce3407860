"""Files from anywhere: refused in one way, or networks that run. scripts/fuzz_format.py tries more of them."""

import contextlib
import random
import sys
import time
import tracemalloc

import pytest

from bnn_train.deploy.file import DamagedFile, read


def test_whatever_a_file_holds_it_is_refused_or_it_runs(fuzzer, networks):
    source, found = random.Random(1), set()
    for _ in range(2000):
        found.add(fuzzer.judge(fuzzer.damaged(source, networks)))
    assert {"refused", "run"} <= found


@pytest.mark.slow
def test_whatever_many_files_hold_they_are_refused_or_run(fuzzer, networks):
    source = random.Random(2)
    for _ in range(40_000):
        fuzzer.judge(fuzzer.damaged(source, networks))


def test_the_largest_header_takes_no_long_time(fuzzer):
    for name, content in fuzzer.enormous().items():
        start = time.process_time()
        assert fuzzer.judge(content) == "refused", name
        assert time.process_time() - start < 5, name  # a hostile text must not take the square of its length


@pytest.mark.slow
def test_the_largest_header_takes_little_memory(fuzzer):
    for name, content in fuzzer.enormous().items():
        tracemalloc.start()
        fuzzer.judge(content)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < fuzzer.BYTES, name


def test_a_damaged_file_is_the_users_mistake_and_loads_no_module(tmp_path, fuzzer, networks):
    source, before = random.Random(3), set(sys.modules)
    for _ in range(100):
        (tmp_path / "m.bnn").write_bytes(fuzzer.damaged(source, networks))
        with contextlib.suppress(DamagedFile):
            read(tmp_path / "m.bnn")
    assert set(sys.modules) == before
