import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from bnn_train import startup

ROOT = Path(__file__).parent.parent
COUNT = """
import resource, sys
from bnn_train import startup
if sys.argv[1] == "prepared":
    startup.prepare()
import torch
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**25)  # 128 MB, freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(min([faults() for _ in range(10)][5:]))  # others on the machine can only add to it
"""


huge = Path("/sys/kernel/mm/transparent_hugepage/enabled")
measurable = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or (huge.exists() and "[always]" in huge.read_text()),
    reason="settings of glibc, counted in pages of 4 kB",
)


def page_faults(*arguments, **variables):
    """Pages that must be asked for anew when a large block is used for the tenth time."""
    done = subprocess.run([sys.executable, "-c", COUNT, *arguments], capture_output=True, text=True, check=True, env=variables)
    return int(done.stdout)


@measurable
def test_large_blocks_are_kept():
    assert page_faults("prepared") < 1000 < page_faults("not")


@measurable
def test_the_users_own_settings_stay():
    assert page_faults("prepared", MALLOC_MMAP_THRESHOLD_="1000000") > 1000


@pytest.mark.parametrize(
    ("text", "limit"), [("max 100000", None), ("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1), ("", None)]
)
def test_the_processors_of_a_container(tmp_path, text, limit):
    (tmp_path / "cpu.max").write_text(text)
    assert startup.cpu_limit(tmp_path / "cpu.max") == limit
    assert startup.cpu_limit(tmp_path / "nowhere") is None


def test_threads_follow_the_limit_unless_they_are_set(monkeypatch):
    monkeypatch.setattr(startup, "_keep_memory", lambda: None)
    monkeypatch.setattr(startup, "cpu_limit", lambda: 2)
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: range(8), raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    startup.prepare()
    assert os.environ["OMP_NUM_THREADS"] == "7"
    monkeypatch.delenv("OMP_NUM_THREADS")
    startup.prepare()
    assert os.environ["OMP_NUM_THREADS"] == "2"


def test_a_process_that_is_bound_to_fewer_than_its_quota(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: range(3), raising=False)
    for limit, expected in ((8, 3), (2, 2), (None, 3)):
        monkeypatch.setattr(startup, "cpu_limit", lambda limit=limit: limit)
        assert startup.processors() == expected


@pytest.mark.skipif(os.name != "posix", reason="streams are closed by a POSIX shell")
@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", ">&-", "2>&-"])
def test_a_closed_stream_is_no_file_of_the_programs(closed, tmp_path):
    """What a library writes to it must not get into the next file that is opened."""
    code = """
import os, sys
from bnn_train import startup
startup.open_streams()
file = os.open("file", os.O_CREAT | os.O_WRONLY)
os.write(1, b"library")
os.write(2, b"library")
print("stdout"), sys.stderr.write("stderr"), sys.stdin.read()
"""
    (tmp_path / "code.py").write_text(code)
    line = f'"{sys.executable}" code.py {closed} </dev/null' if "<" not in closed else f'"{sys.executable}" code.py {closed}'
    subprocess.run(["sh", "-c", line], cwd=tmp_path, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert (tmp_path / "file").read_bytes() == b""


@pytest.mark.parametrize("others", [0, 3])
@pytest.mark.parametrize("own", [None, "GOMP_SPINCOUNT", "OMP_WAIT_POLICY"])
def test_beside_other_work_waiting_threads_sleep_soon_but_for_a_setting_of_the_users(own, others, monkeypatch):
    monkeypatch.setattr(startup, "others_at_work", lambda: others)
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    if own:
        monkeypatch.setenv(own, "7")
    startup.prepare()
    ours = startup.SPINS if others else None
    assert os.environ.get("GOMP_SPINCOUNT") == {None: ours, "GOMP_SPINCOUNT": "7"}.get(own)


@pytest.mark.parametrize(("text", "others"), [("0.20 0.18 0.12 3/80 11206\n", 2), ("0.20 0.18 0.12 1/80 11206\n", 0), ("", 0)])
def test_who_computes_at_this_moment(tmp_path, text, others):
    (tmp_path / "loadavg").write_text(text)
    assert startup.others_at_work(tmp_path / "loadavg") == others
    assert startup.others_at_work(tmp_path / "nowhere") == 0


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "a", "MASTER_PORT": "1"}, (1, 4)),
        ({"RANK": "1", "WORLD_SIZE": "4"}, (0, 1)),
        ({"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "8"}, (0, 1)),
        ({"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "8", "MASTER_ADDR": "a", "MASTER_PORT": "1"}, (3, 8)),
        ({"SUBMITIT_EXECUTOR": "slurm", "SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, (1, 2)),
        ({"SUBMITIT_EXECUTOR": "local", "SUBMITIT_LOCAL_GLOBALID": "1", "SUBMITIT_LOCAL_NTASKS": "2"}, (1, 2)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, (0, 1)),  # a batch script that starts one process
        ({}, (0, 1)),
    ],
)
def test_who_trains_together_is_said_by_a_launcher(monkeypatch, variables, expected):
    for name in [name for name in os.environ if name.startswith(("SLURM_", "SUBMITIT_", "MASTER_", "RANK", "WORLD_SIZE"))]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert startup.rank() == expected


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (
            {"TORCHELASTIC_RUN_ID": "a", "GROUP_WORLD_SIZE": "1", "WORLD_SIZE": "3"},
            "torchrun --standalone --nproc-per-node 3 -m bnn_train",
        ),
        ({"TORCHELASTIC_RUN_ID": "a", "GROUP_WORLD_SIZE": "2", "WORLD_SIZE": "4"}, "bnn-train"),  # of two machines
        ({"TORCHELASTIC_RUN_ID": "a", "GROUP_WORLD_SIZE": "1", "WORLD_SIZE": "1"}, "bnn-train"),
        ({"WORLD_SIZE": "2"}, "bnn-train"),  # of another launcher
    ],
)
def test_a_run_is_continued_by_what_has_started_it(monkeypatch, variables, expected):
    for name in ("TORCHELASTIC_RUN_ID", "GROUP_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "1", **variables}.items():
        monkeypatch.setenv(name, value)
    assert startup.command() == expected
