"""Which device to train on, and torch's settings for a result that the seed determines."""

import os
import platform
import random
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from bnn_train import ranks
from bnn_train.errors import ConfigError

CPU = torch.device("cpu")

# How torch and oneDNN say on a processor that there is no memory, and that a size is beyond any.
_NO_MEMORY = (
    r"not enough memory|can't allocate|out of memory|could not create a memory|alloc_cpu|bad_alloc|size calculation overflowed"
)


def choose(name: str) -> torch.device:
    """The device of the configuration's `device`. Raises ConfigError where it is not there."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", _of_this_process())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", name):
        raise ConfigError("device", name, "must be one of auto, cpu, cuda, cuda:N, mps")
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count == 0:
            raise ConfigError("device", name, "torch finds no CUDA device here; use device=cpu or device=auto")
        if (device.index or 0) >= count:
            there = ", ".join(f"cuda:{i}" for i in range(count))
            raise ConfigError("device", name, f"is not there; use one of {there}, cpu")
        return torch.device("cuda", _of_this_process() if device.index is None else device.index)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device", name, "torch finds no MPS device here; use device=cpu or device=auto")
    return device


def _of_this_process() -> int:
    """The number of its CUDA device: where torchrun has started several processes on this machine, each has its own."""
    return int(os.environ.get("LOCAL_RANK", "0")) % max(1, torch.cuda.device_count())


def check_compiler() -> None:
    """Raises ConfigError where torch.compile would find no compiler, or one that does not work."""
    command = shlex.split(os.environ.get("CXX", {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")))
    if shutil.which(command[0]) is None:
        remedy = f"needs a C++ compiler, but there is no {command[0]}; install it, set CXX, or leave trainer.compile=false"
        raise ConfigError("trainer.compile", True, remedy)
    if sys.platform == "win32":
        return  # its compiler takes other flags
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder, "probe.cpp"), Path(folder, "probe.so")
        source.write_text('#include <cmath>\nextern "C" double probe(double x) { return std::sqrt(x); }\n', encoding="utf-8")
        done = subprocess.run([*command, "-shared", "-fPIC", source, "-o", program], capture_output=True, check=False)
        if done.returncode != 0 or not program.exists():
            said = done.stderr.decode(errors="replace").strip().splitlines()
            why = f" ({said[-1]})" if said else ""
            remedy = f"needs a C++ compiler, but {' '.join(command)} does not work{why}; set CXX to one that does, or leave "
            remedy += "trainer.compile=false"
            raise ConfigError("trainer.compile", True, remedy)


@contextmanager
def memory_for(key: str, value: object, remedy: str) -> Iterator[None]:
    """Turns running out of memory, the processor's or a GPU's, into a ConfigError that says what to lower."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch has a type of its own for a GPU's alone
        text = str(error)
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and not re.search(_NO_MEMORY, text, re.IGNORECASE):
            raise
        raise ConfigError(key, value, f"there is not enough memory for it; {remedy}") from error


def memory(device: torch.device, limit_file: Path = Path("/sys/fs/cgroup/memory.max")) -> int | None:
    """The bytes of memory that the device has, or less where its container has a limit; None where that cannot be told."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    try:
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # AttributeError: Windows
        return None
    try:
        return min(machine, int(limit_file.read_text(encoding="utf-8")))
    except (OSError, ValueError):  # no such file, or "max"
        return machine


def make_reproducible(seed: int, device: torch.device = CPU, precision: str = "float32") -> None:
    """Sets every flag and seed that a run depends on, whatever ran before it in the process."""
    torch.set_default_dtype(torch.float32)
    # TF32, float32 with 10 bits after the point, holds -1 and +1 exactly: only real factors are rounded.
    tf32 = device.type == "cuda" and precision == "fast"
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = False
    # On CUDA cuBLAS needs this to repeat its sums, before its first use; an own setting of the user's stays.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # The same flag as use_deterministic_algorithms(True, warn_only=True), which imports torch's compiler for it: over a second.
    torch.set_deterministic_debug_mode("warn")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # finds programs that read such memory; costs 7% of a step
    random.seed(seed)  # nothing here draws from it, but its state is part of a checkpoint
    torch.manual_seed(seed)


def describe(device: torch.device) -> str:
    """The device for people: "cuda:0 NVIDIA H100", "cpu x86_64, threads: 2"; with the processes that share a training."""
    several = f", processes: {ranks.count()}" if ranks.count() > 1 else ""
    if device.type == "cuda":
        return f"{device} {torch.cuda.get_device_name(device)}{several}"
    return f"{device} {platform.machine()}, threads: {torch.get_num_threads()}{several}"
