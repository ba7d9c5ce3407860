"""What must be settled in the process before torch starts: how memory is asked for and given back."""

import ctypes
import os
import sys

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_MEGABYTE = 2**20


def prepare() -> None:
    """Lets a training process keep the memory that it has used, in large pages. Linux with glibc only; elsewhere does nothing.

    glibc returns every large block to the system as soon as it is freed; the next step asks for it again, and pays for each of its
    pages anew: a tenth of a step's time, and more with convolutions. What the user's own environment says is left as it is.
    """
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"):
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(_M_TOP_PAD, 64 * _MEGABYTE)
