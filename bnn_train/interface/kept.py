"""What training and loading change in the process, given back afterwards as it was found: generators, threads, flags, logging."""

import logging
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from bnn_train import device, startup
from bnn_train.runs import turns


@contextmanager
def settings() -> Iterator[None]:
    """Within, torch is as in a process of its own, with the threads that a command would have, and no other thread changes it;
    behind it every generator, flag and thread is as before."""
    with turns.turn(), ExitStack() as stack:
        devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
        stack.enter_context(startup.environment())
        stack.callback(_give_back(), torch.get_num_threads())
        stack.enter_context(torch.random.fork_rng(devices))
        stack.enter_context(usual())
        torch.set_default_dtype(torch.float32)
        torch.set_num_threads(startup.threads())
        yield


@contextmanager
def usual() -> Iterator[None]:
    """Within, of what torch keeps by thread: gradients, new tensors on the CPU, and neither inference mode nor autocast."""
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        if torch.is_autocast_enabled("cpu"):
            stack.enter_context(torch.autocast("cpu", enabled=False))
        if torch.get_default_device() != device.CPU:  # else it would cost a moment at every call of torch
            stack.enter_context(device.CPU)
        yield


def _give_back() -> Callable[[int], None]:
    """What sets the process's flags as they are now, and a number of threads."""
    drawn, precision, dtype = random.getstate(), torch.get_float32_matmul_precision(), torch.get_default_dtype()
    cudnn = (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark)
    deterministic = torch.get_deterministic_debug_mode()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]

    def give_back(threads: int) -> None:
        random.setstate(drawn)
        torch.set_float32_matmul_precision(precision)
        torch.set_default_dtype(dtype)
        torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = cudnn
        torch.set_deterministic_debug_mode(deterministic)
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
        torch.set_num_threads(threads)

    return give_back


@contextmanager
def log_in(file: Path | None) -> Iterator[None]:
    """Within, the package's log goes into `file`, as a command's does; to the program's own handlers goes what they would get."""
    logger = logging.getLogger("bnn_train")
    level, propagate, threshold = logger.level, logger.propagate, logger.getEffectiveLevel()
    handlers: list[logging.Handler] = [_ToThePrograms(threshold)]
    if file is not None:
        handlers.append(logging.FileHandler(file, encoding="utf-8", errors="backslashreplace", delay=True))
        handlers[-1].setFormatter(logging.Formatter("[%(asctime)s][%(levelname)s] %(message)s"))
    logger.setLevel(logging.INFO)
    logger.propagate = False
    for handler in handlers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()
        logger.setLevel(level)
        logger.propagate = propagate


class _ToThePrograms(logging.Handler):
    """Hands records to the handlers that the program has set up; where there are none, nothing is printed."""

    def emit(self, record: logging.LogRecord) -> None:
        root = logging.getLogger()
        if root.handlers:
            root.handle(record)
