"""What the benchmarks of training share: which machine this is, scripts in processes of their own, instruction sets to keep to."""

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bnn_train.data.splits import Data

SCRIPTS = Path(__file__).parent
PIXELS = (1, 28, 28)  # of the random images


def machine(isa: str | None = None) -> str:
    """The processors, their kind, torch's version: one line. isa: what the measured processes are kept to."""
    facts = processor()
    name = facts.get("model name", platform.processor() or platform.machine())
    which = f" (family {facts['cpu family']}, model {facts['model']})" if "cpu family" in facts and "model" in facts else ""
    kept = f", kept to {isa.upper()} in every library" if isa else ""
    return f"{os.cpu_count()} x {name}{which}, {kind(set(facts.get('flags', '').split()))}{kept}, torch {version('torch')}"


def processor(file: Path = Path("/proc/cpuinfo")) -> dict[str, str]:
    """What Linux says of the last processor; nothing elsewhere."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name.strip()}


def kind(flags: set[str]) -> str:
    """What decides which products are fast, by Linux' names of instruction sets."""
    if "avx512_vnni" in flags:
        return "AVX512-VNNI"
    if "avx512f" in flags:
        return "AVX-512 without VNNI"
    return "AVX2 alone" if "avx2" in flags else "neither AVX2 nor AVX-512"


def variables(isa: str | None) -> dict[str, str]:
    """The environment in which every library keeps to an instruction set, "avx2", on a processor that has more. None: as it is.

    Said before a process starts: most libraries look once, as they are loaded. glibc's memcpy is left alone, since with
    GLIBC_TUNABLES in the environment bnn_train keeps no memory (bnn_train/startup.py). Kernels of ours: `keep_to`.
    """
    if isa is None:
        return {}
    assert isa == "avx2"
    import numpy as np

    dispatched = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    return {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
        "NPY_DISABLE_CPU_FEATURES": " ".join(name for name in dispatched if name == "X86_V4" or name.startswith("AVX512")),
    }


def keep_to(isa: str | None) -> None:
    """In a process with the environment `variables(isa)`: our own kernels too, and a look whether the others have followed."""
    if isa is None:
        return
    import torch

    from bnn_train.kernels import compiler

    compiler.CPU = "x86-64-v3"
    found = torch.backends.cpu.get_cpu_capability()
    if found != "AVX2":
        raise SystemExit(f"torch was not kept to AVX2: it says {found}")


def in_process(python: str, script: str, *arguments: str, isa: str | None = None) -> dict[str, Any]:
    """Runs a script in a process of its own; what it prints last is its result."""
    environment = os.environ | variables(isa) | ({"PYTHONPATH": str(SCRIPTS.parent)} if python == sys.executable else {})
    done = subprocess.run([python, str(SCRIPTS / script), *arguments], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{script} failed:\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def random_pixels(count: int) -> "Data":
    """So many training images of MNIST's size and 10 classes, drawn from nothing; a test image, which a trainer asks for."""
    import torch

    from bnn_train.data.splits import Data, Split

    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count + 1, *PIXELS), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 10, (count + 1,), generator=generator)
    train, test = Split(images[:-1], labels[:-1]), Split(images[-1:], labels[-1:])
    return Data(train, None, test, [str(i) for i in range(10)])
