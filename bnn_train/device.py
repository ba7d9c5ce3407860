"""Which device to train on, and torch's settings for a result that the seed determines."""

import os
import platform
import random
import re
import shlex
import shutil
import sys

import torch

from bnn_train.errors import ConfigError

CPU = torch.device("cpu")


def choose(name: str) -> torch.device:
    """The device of the configuration's `device`. Raises ConfigError where it is not there."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", 0)
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
        return torch.device("cuda", device.index or 0)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device", name, "torch finds no MPS device here; use device=cpu or device=auto")
    return device


def check_compiler() -> None:
    """Raises ConfigError where torch.compile would find no compiler."""
    compiler = shlex.split(os.environ.get("CXX", {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")))[0]
    if shutil.which(compiler) is None:
        remedy = f"needs a C++ compiler, but there is no {compiler}; install it, set CXX, or leave trainer.compile=false"
        raise ConfigError("trainer.compile", True, remedy)


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
    """The device for people: "cuda:0 NVIDIA H100", "cpu x86_64, threads: 2"."""
    if device.type == "cuda":
        return f"{device} {torch.cuda.get_device_name(device)}"
    return f"{device} {platform.machine()}, threads: {torch.get_num_threads()}"
