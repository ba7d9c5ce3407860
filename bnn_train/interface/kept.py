"""What training and loading change in the process, given back afterwards as it was found: generators, threads, flags, logging."""

import logging
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from bnn_train import startup


@contextmanager
def settings() -> Iterator[None]:
    """Within, torch has the threads that a command would have; behind it every generator, flag and thread is as before."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    drawn, precision, dtype = random.getstate(), torch.get_float32_matmul_precision(), torch.get_default_dtype()
    cudnn = (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark)
    deterministic = torch.get_deterministic_debug_mode()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    workspace, threads = os.environ.get("CUBLAS_WORKSPACE_CONFIG"), torch.get_num_threads()
    torch.set_num_threads(startup.threads())
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(drawn)
        torch.set_float32_matmul_precision(precision)
        torch.set_default_dtype(dtype)
        torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = cudnn
        torch.set_deterministic_debug_mode(deterministic)
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
        if workspace is None:
            os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
        torch.set_num_threads(threads)


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
