"""What must be settled in the process before torch starts: streams, how memory is given back, how many threads compute and wait."""

import ctypes
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_MEGABYTE = 2**20

# Variables of the tasks of submitit's jobs, by its executor: the number of a task, from 0, and how many there are.
_SUBMITITS = {"local": ("SUBMITIT_LOCAL_GLOBALID", "SUBMITIT_LOCAL_NTASKS"), "slurm": ("SLURM_PROCID", "SLURM_NTASKS")}

SPINS = "1000"  # looks at the flag that is waited for, some microseconds; GNU's own default is 300,000


def open_streams() -> None:
    """Opens the null device where a standard stream is closed.

    Else the next file that is opened, a checkpoint perhaps, gets the stream's number, and with it what a library writes there.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, number)  # inherited by the processes that are started
            if null != number:
                os.close(null)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))  # noqa: SIM115


def prepare() -> None:
    """Lets a training process keep the memory that it has used, and use no more threads than it has processors, patient ones.

    What the user's environment says about any of them is left as it is.
    """
    _keep_memory()
    _wait_with_patience()
    tasks = rank()[1] if os.environ.get("SUBMITIT_EXECUTOR") == "local" else 1  # torchrun says 1 thread, Slurm binds its tasks
    if processors() // tasks < (os.cpu_count() or 1):
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, processors() // tasks)))


@contextmanager
def environment() -> Iterator[None]:
    """Behind it the environment says of threads, and of cuBLAS (device.py), what it said before."""
    names = ("OMP_NUM_THREADS", "GOMP_SPINCOUNT", "CUBLAS_WORKSPACE_CONFIG")
    before = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _keep_memory() -> None:
    """On Linux with glibc only.

    glibc returns every large block to the system as soon as it is freed; the next step asks for it again, and pays for each of its
    pages anew (PERFORMANCE.md has the figures).
    """
    if sys.platform != "linux" or any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "gnu_get_libc_version"):
        library.mallopt(_M_MMAP_MAX, 0)
        library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        library.mallopt(_M_TOP_PAD, 64 * _MEGABYTE)


def _wait_with_patience() -> None:
    """Beside other work, lets a thread that waits for the others of its product sleep after a moment.

    By default GNU's OpenMP waits busily for milliseconds. The thread that is waited for may have no processor then, which the
    waiting ones take from it. On a quiet machine it would cost small networks a part of a step, so nothing is changed there
    (scripts/bench_busy.py).
    """
    if others_at_work() and not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & set(os.environ):
        os.environ["GOMP_SPINCOUNT"] = SPINS


def end_with_parent() -> None:
    """In a process that another one has started: ends it as soon as that one is gone, killed perhaps.

    A worker of concurrent.futures would wait for work from it for ever.
    """
    from multiprocessing import parent_process  # every command loads this file, and few start processes

    parent = parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)  # whatever it is doing: nobody will have it

    threading.Thread(target=wait, daemon=True).start()


def others_at_work(file: Path = Path("/proc/loadavg")) -> int:
    """How many threads of other processes compute at each of three moments at least; 0 where the system does not tell."""
    counts = []
    for _ in range(3):  # one look may meet what wakes up for a moment
        try:
            counts.append(int(file.read_text(encoding="utf-8").split()[3].partition("/")[0]) - 1)
        except (OSError, ValueError, IndexError):
            return 0
        time.sleep(0.005)
    return max(0, min(counts))


def processors() -> int:
    """How many this process may use: those it is bound to, or fewer where its container has a quota.

    torch counts all processors of the machine; with more threads than may run, each product waits for the slowest of them.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(bound, cpu_limit() or bound)


def threads() -> int:
    """How many torch computes with in a process that `prepare` has made ready: OMP_NUM_THREADS, or one a core that it may use.

    (With MKL torch counts a core that runs two threads once.)
    """
    given = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return int(given) if given.isdecimal() and int(given) > 0 else min(cores(), processors())


def cores(folder: Path = Path("/sys/devices/system/cpu")) -> int:
    """Those behind the processors that this process is bound to; as many as processors where the system does not tell."""
    bound = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    try:
        return len({(folder / f"cpu{i}/topology/thread_siblings_list").read_text(encoding="utf-8") for i in bound})
    except OSError:
        return len(bound)


def cpu_limit(file: Path = Path("/sys/fs/cgroup/cpu.max")) -> int | None:
    """The quota of a container, in processors, rounded up, or None where there is none."""
    try:
        quota, period = file.read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else max(1, -(-int(quota) // int(period)))


def command() -> str:
    """What goes on with a run as it was started: `bnn-train`, or torchrun where that has started all processes on one machine."""
    count = rank()[1]
    if count > 1 and "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("GROUP_WORLD_SIZE") == "1":
        return f"torchrun --standalone --nproc-per-node {count} -m bnn_train"
    return "bnn-train"


def rank() -> tuple[int, int]:
    """(the number of this process, from 0, how many train together), as its launcher says it; (0, 1) where nobody does.

    srun's tasks are several trainings, or machines on one sweep, where MASTER_ADDR and MASTER_PORT do not say where they meet.
    """
    given = (
        [("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS")]
        if {"MASTER_ADDR", "MASTER_PORT"} <= set(os.environ)
        else []
    )
    given += [_SUBMITITS[name]] if (name := os.environ.get("SUBMITIT_EXECUTOR", "")) in _SUBMITITS else []
    for number, count in given:
        if number in os.environ and count in os.environ:
            return int(os.environ[number]), int(os.environ[count])
    return 0, 1
