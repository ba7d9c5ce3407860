"""What must be settled in the process before torch starts: how memory is given back, and how many threads compute."""

import ctypes
import os
import sys
from pathlib import Path

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_MEGABYTE = 2**20


def prepare() -> None:
    """Lets a training process keep the memory that it has used, and use no more threads than it has processors.

    What the user's environment says about either is left as it is.
    """
    _keep_memory()
    if processors() < (os.cpu_count() or 1):
        os.environ.setdefault("OMP_NUM_THREADS", str(processors()))


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


def processors() -> int:
    """How many this process may use: those it is bound to, or fewer where its container has a quota.

    torch counts all processors of the machine; with more threads than may run, each product waits for the slowest of them.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(bound, cpu_limit() or bound)


def cpu_limit(file: Path = Path("/sys/fs/cgroup/cpu.max")) -> int | None:
    """The quota of a container, in processors, rounded up, or None where there is none."""
    try:
        quota, period = file.read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else max(1, -(-int(quota) // int(period)))
