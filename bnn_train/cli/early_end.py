"""What one of several processes does when it is told to end while it loads, waits for the others or reads its data."""

import os
import signal
import sys
import threading
from types import FrameType

from bnn_train import startup


def watch() -> None:
    """From now on Ctrl-C and SIGTERM end this process at once, and the first one says so in a line.

    While steps are made `runs/interrupt.py` has its own handlers. Those that Python has would wait until torch's C++ returns, which
    waits for the other processes for half an hour; torchrun, which tells all to end where one was killed, kills them after 30 s.
    """
    if startup.rank()[1] == 1 or os.name != "posix":  # Windows tells signals to sockets alone
        return
    heard, told = os.pipe()
    os.set_blocking(told, False)
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)  # the system's own handler writes each signal's number there
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _ends)
    threading.Thread(target=_wait, args=(heard,), daemon=True).start()


def _ends(number: int, frame: FrameType | None) -> None:
    """Marks signals that end the process: `_wait` does it, and may do so before Python comes to this."""


def _wait(heard: int) -> None:
    while received := os.read(heard, 1):
        number, rank = received[0], startup.rank()[0]
        if signal.getsignal(number) is _ends:
            name = signal.Signals(number).name
            words = sys.modules.get("bnn_train.training.last_words")
            if leave := getattr(words, "leave", None):  # for one that is at its first step already
                leave("" if rank == 0 else f"process {rank} was told to end ({name})")
            if rank == 0:
                why = "Ctrl-C, or another process has ended"
                sys.stderr.write(f"error: ended by {name} outside training ({why}); what was saved stays: start it again\n")
                sys.stderr.flush()
            os._exit(128 + number)
